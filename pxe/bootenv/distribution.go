package bootenv

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"slipcast/pxe/debian"
)

// A distribution gives the files of Debian's packages.
type distribution struct {
	archive *debian.Archive
	arch    string // in Debian's words
}

// loader is a file of the boot folder and where Debian has it. Vendors sign
// each for the other, so shim, GRUB and kernel must come from one.
type loader struct {
	name, pkg, file string
}

// loaders returns the loaders of an architecture; names are those of
// docs/boot.md, section 2.
func loaders(arch Arch) []loader {
	const shim, grub, ipxe = "usr/lib/shim/", "usr/lib/grub/", "usr/lib/ipxe/"
	if arch == ARM64 {
		return []loader{
			{"arm64/shim.efi", "shim-signed", shim + "shimaa64.efi.signed"},
			{"arm64/mm.efi", "shim-helpers-arm64-signed", shim + "mmaa64.efi.signed"},
			{"arm64/grub.efi", "grub-efi-arm64-signed", grub + "arm64-efi-signed/grubnetaa64.efi.signed"},
			{"arm64/ipxe.efi", "ipxe", ipxe + "ipxe-arm64.efi"},
		}
	}
	return []loader{
		{"x64/shim.efi", "shim-signed", shim + "shimx64.efi.signed"},
		{"x64/mm.efi", "shim-helpers-amd64-signed", shim + "mmx64.efi.signed"},
		{"x64/grub.efi", "grub-efi-amd64-signed", grub + "x86_64-efi-signed/grubnetx64.efi.signed"},
		{"x64/ipxe.efi", "ipxe", ipxe + "snponly.efi"},
		{"bios/undionly.kpxe", "ipxe", ipxe + "undionly.kpxe"},
	}
}

// debianArch returns an architecture in Debian's words.
func debianArch(arch Arch) string {
	if arch == ARM64 {
		return "arm64"
	}
	return "amd64"
}

// fetch downloads a package and returns where it is and where it came from.
func (d *distribution) fetch(ctx context.Context, p debian.Package) (string, origin, error) {
	file, err := d.archive.Fetch(ctx, p)
	return file, origin{p.Name, p.Version.String(), p.Suite}, err
}

// loaders returns the loaders by their names in the boot folder.
func (d *distribution) loaders(ctx context.Context, arch Arch) (map[string]bootFile, error) {
	found := map[string]bootFile{}
	for _, l := range loaders(arch) {
		p, err := d.archive.Package(l.pkg)
		if err != nil {
			return nil, err
		}
		file, from, err := d.fetch(ctx, p)
		if err != nil {
			return nil, err
		}
		data, err := fileOf(file, l.file)
		if err != nil {
			return nil, err
		}
		found[l.name] = bootFile{data, from}
	}
	return found, nil
}

// fileOf returns one file of the package at a path.
func fileOf(pkg, name string) ([]byte, error) {
	var data []byte
	err := debian.Unpack(pkg, func(f debian.File) error {
		if f.Name != name || !f.Mode.IsRegular() || f.Link != "" {
			return nil
		}
		var err error
		if data, err = contentOf(f, maxKernel); err != nil {
			return err
		}
		return fs.SkipAll
	})
	if err == nil && data == nil {
		err = fmt.Errorf("package %s: there is no file %s", path.Base(pkg), name)
	}
	return data, err
}

// contentOf returns the content of a file of at most limit bytes.
func contentOf(f debian.File, limit int64) ([]byte, error) {
	if f.Size > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes", f.Name, ErrMalformed, f.Size)
	}
	data := make([]byte, f.Size)
	_, err := io.ReadFull(f, data)
	return data, err
}

// kernel returns Debian's newest kernel. Its modules stay in memory as they
// are packed, a hundred megabytes.
func (d *distribution) kernel(ctx context.Context) (*kernel, error) {
	p, err := d.archive.Resolve("linux-image-"+d.arch, "linux-image-")
	if err != nil {
		return nil, err
	}
	file, from, err := d.fetch(ctx, p)
	if err != nil {
		return nil, err
	}
	k := &kernel{origin: from}
	packed, err := k.unpack(file)
	if err != nil {
		return nil, err
	}
	return k, k.take(ctx, packed)
}

// unpack reads image and modules of a kernel's package.
func (k *kernel) unpack(pkg string) ([]packedModule, error) {
	var packed []packedModule
	err := debian.Unpack(pkg, func(f debian.File) error {
		below := belowModules(f.Name)
		isImage := strings.HasPrefix(f.Name, "boot/vmlinu")
		if !f.Mode.IsRegular() || !isImage && below != "modules.builtin" && !isModule(below) {
			return nil
		}
		data, err := contentOf(f, maxKernel)
		switch {
		case err != nil:
			return err
		case isImage:
			k.image = data
		case below == "modules.builtin":
			k.builtin = data
		default:
			packed = append(packed, packedModule{below, func() ([]byte, error) { return data, nil }})
		}
		return nil
	})
	return packed, err
}

// firmware returns the wanted files of firmware from the packages that have
// them.
func (d *distribution) firmware(ctx context.Context, wanted []string) (*firmware, error) {
	fw := &firmware{files: map[string][]byte{}}
	for _, name := range firmwarePackages(wanted) {
		p, err := d.archive.Package(name)
		if err != nil {
			return nil, err
		}
		file, _, err := d.fetch(ctx, p)
		if err != nil {
			return nil, err
		}
		if err := fw.unpack(file, wanted); err != nil {
			return nil, err
		}
	}
	return fw, nil
}

// unpack takes what is wanted from a package. It reads the package twice:
// links stand before what they lead to, or after it.
func (f *firmware) unpack(pkg string, wanted []string) error {
	leads := links{}
	err := debian.Unpack(pkg, func(f debian.File) error {
		if f.Link != "" && f.Mode.IsRegular() {
			leads[f.Name] = f.Link
		} else if f.Link != "" {
			leads.add(f.Name, f.Link)
		}
		return nil
	})
	if err != nil {
		return err
	}
	names := map[string][]string{} // by the file that they stand for
	for _, name := range wanted {
		for _, prefix := range []string{"usr/lib/firmware/", "lib/firmware/"} {
			file := leads.follow(prefix + name)
			names[file] = append(names[file], name)
		}
	}
	return debian.Unpack(pkg, func(file debian.File) error {
		if names[file.Name] == nil || !file.Mode.IsRegular() || file.Link != "" {
			return nil
		}
		data, err := contentOf(file, maxFirmware)
		for _, name := range names[file.Name] {
			f.files[name] = data
		}
		return err
	})
}
