package bootenv

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// ErrDamaged reports a boot folder that is not what was built.
var ErrDamaged = errors.New("the boot folder is damaged")

// A Report is what [Check] found in a boot folder that is in order.
type Report struct {
	Manifest *Manifest
	Findings map[string]*Finding // by file
	Foreign  []string            // files that no build wrote
}

// Check reads the boot folder at dir and compares every file with what the
// manifest says of it. It reads signatures, the GRUB's version and its modules,
// and that kernel, modules and agent belong together. An error that is not one
// of reading wraps [ErrDamaged].
func Check(ctx context.Context, dir string) (*Report, error) {
	m, err := ReadManifest(dir)
	if errors.Is(err, ErrMalformed) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	r := &Report{Manifest: m, Findings: map[string]*Finding{}}
	if r.Foreign, err = foreign(dir, m); err != nil {
		return nil, err
	}
	files := map[string]bootFile{}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, err := checkedFile(dir, name, m.Files[name])
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(name, ".img") {
			files[name] = bootFile{data: data}
		}
	}
	for arch, env := range m.Arch {
		findings, err := checkArch(arch, env, files)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		maps.Copy(r.Findings, findings)
	}
	return r, nil
}

// checkedFile reads a file and compares it with the manifest.
func checkedFile(dir, name string, want File) ([]byte, error) {
	data, err := readFile(filepath.Join(dir, filepath.FromSlash(name)), maxBootFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is not there", ErrDamaged, name)
	}
	if err != nil {
		return nil, err
	}
	if got := describe(data, origin{}); got.Size != want.Size || got.SHA256 != want.SHA256 {
		return nil, fmt.Errorf("%w: %s has %d bytes with SHA-256 %s, built were %d bytes with %s",
			ErrDamaged, name, got.Size, got.SHA256, want.Size, want.SHA256)
	}
	return data, nil
}

// checkArch looks into the files of one architecture.
func checkArch(arch Arch, env Environment, files map[string]bootFile) (map[string]*Finding, error) {
	findings, err := examine(arch, files)
	if err != nil {
		return nil, err
	}
	dir := string(arch) + "/"
	version, err := KernelVersion(files[dir+"linux"].data)
	if err != nil {
		return nil, fmt.Errorf("%slinux: %w", dir, err)
	}
	if version != env.Kernel {
		return nil, fmt.Errorf("%slinux: %w: it is %s, the manifest says %s", dir, ErrMismatch, version, env.Kernel)
	}
	if err := checkInitrd(files[dir+"initrd"].data, version, arch); err != nil {
		return nil, fmt.Errorf("%sinitrd: %w", dir, err)
	}
	return findings, nil
}

// checkInitrd reads an initramfs: its modules must be the kernel's, and its
// agent must run on arch.
func checkInitrd(packed []byte, version string, arch Arch) error {
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(initrdWindow))
	if err != nil {
		return err
	}
	defer z.Close()
	agent, index := false, false
	err = ReadCPIO(z, func(e Entry) error {
		switch {
		case e.Name == "init":
			agent = true
			return checkInit(e.Data, arch)
		case e.Name == "lib/modules/"+version+"/modules.dep":
			index = true
		case strings.HasSuffix(e.Name, ".ko"):
			return checkModule(e, version)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !agent:
		return fmt.Errorf("%w: there is no /init", ErrMalformed)
	case !index:
		return fmt.Errorf("%w: it has no modules of kernel %s", ErrMismatch, version)
	}
	return nil
}

// checkInit tells whether the agent is a program for arch.
func checkInit(data []byte, arch Arch) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotAgent, err)
	}
	_, err = loadedEnd(f, int64(len(data)))
	if err == nil && f.Machine != machine(arch) {
		err = fmt.Errorf("%w: it is for %v", ErrNotAgent, f.Machine)
	}
	return err
}

// checkModule tells whether a module is of a kernel.
func checkModule(e Entry, version string) error {
	if !strings.HasPrefix(e.Name, "lib/modules/"+version+"/") {
		return fmt.Errorf("%w: there is %s, the kernel is %s", ErrMismatch, e.Name, version)
	}
	info, err := modinfo(e.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	if !strings.Contains("\x00"+info, "\x00vermagic="+version+" ") {
		return fmt.Errorf("%w: %s is not for kernel %s", ErrMismatch, e.Name, version)
	}
	return nil
}
