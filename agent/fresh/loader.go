package fresh

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"slipcast/partition"
)

// espType is the type of an EFI system partition, UEFI 2.10, table 5.7.
const espType = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"

// loaderOn finds the loader on a volume, if it is the first EFI system
// partition of a GPT that has one.
func (r *run) loaderOn(v volume) error {
	t := r.opt.Table
	if r.result.Loader != nil || t.Kind != partition.GPT || !strings.EqualFold(v.part.Type, espType) {
		return nil
	}
	err := r.withMount(v, fat, false, [][]string{nil}, func(roots []*os.File) error {
		files, err := loaders(&folder{roots[0], ""}, r.opt.Arch)
		if err != nil || len(files) == 0 {
			return err
		}
		r.result.Loader = &Loader{
			Partition: v.part.Number,
			Start:     v.part.Start / int64(t.SectorSize),
			Size:      v.part.Size / int64(t.SectorSize),
			GUID:      strings.ToLower(v.part.UUID),
			File:      files[0],
		}
		if len(files) > 1 {
			r.note(v.name, "starts %s; there are also %s", files[0], strings.Join(files[1:], ", "))
		}
		return nil
	})
	if errors.Is(err, errMount) || errors.As(err, new(*leftError)) {
		r.note(v.name, "the loader is not known: %v", err)
		return nil
	}
	return err
}

// loaders returns the loaders on an EFI system partition, the one to start
// first, as paths with backslashes:
//
//  1. shim of a distribution, in the order of their folders: it is what starts
//     under Secure Boot, and the GRUB behind it has entries for other systems
//  2. Windows
//  3. GRUB or systemd-boot by itself
//  4. the loader for removable media, UEFI 2.10, section 3.5.1.1, which may be
//     any of them and is listed only if there is no other
func loaders(top *folder, arch string) ([]string, error) {
	suffix := map[string]string{"x64": "x64", "arm64": "aa64"}[arch]
	efi, err := top.sub("EFI")
	if errors.Is(err, fs.ErrNotExist) || suffix == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer efi.Close()
	vendors, err := efi.vendors()
	if err != nil {
		return nil, err
	}
	var files []string
	look := func(folders []string, names ...string) {
		for _, dir := range folders {
			for _, name := range names {
				if file := efi.loader(dir, name); file != "" {
					files = append(files, file)
				}
			}
		}
	}
	look(vendors, "shim"+suffix+".efi")
	look([]string{"Microsoft/Boot"}, "bootmgfw.efi")
	if len(files) == 0 {
		look(vendors, "grub"+suffix+".efi", "systemd-boot"+suffix+".efi")
	}
	if len(files) == 0 {
		look([]string{"BOOT"}, "BOOT"+strings.ToUpper(suffix)+".EFI")
	}
	return files, nil
}

// vendors returns the folders of an EFI folder that are not Microsoft's nor the
// one for removable media.
func (d *folder) vendors() ([]string, error) {
	names, err := d.names()
	names = slices.DeleteFunc(names, func(n string) bool {
		return strings.EqualFold(n, "BOOT") || strings.EqualFold(n, "Microsoft")
	})
	slices.Sort(names)
	return names, err
}

// loader returns the path of a loader in a folder below d, from the root of the
// file system. It is empty if there is no such file, or nothing in it.
func (d *folder) loader(dir, name string) string {
	at := d
	for part := range strings.SplitSeq(dir, "/") {
		next, err := at.sub(part)
		if at != d {
			at.Close()
		}
		if err != nil {
			return ""
		}
		at = next
	}
	defer at.Close()
	file, err := at.find(name)
	if err != nil || file == "" {
		return ""
	}
	if st, err := at.regular(file); err != nil || st.Size == 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return ""
	}
	return `\` + strings.ReplaceAll(at.path+"/"+file, "/", `\`)
}
