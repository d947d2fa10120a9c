package fresh

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"slipcast/internal/blockdev"
)

// A driver is how the kernel mounts one kind of file system.
type driver struct {
	name    string   // as the kernel calls it
	modules []string // the driver's, and those that it would ask modprobe for
	options []string // NAME or NAME=VALUE
}

// driverOf returns the driver of a kind.
func driverOf(k kind) driver {
	switch k {
	case xfs:
		return driver{"xfs", []string{"xfs"}, []string{"nouuid"}} // a clone has the UUID of its original
	case btrfs:
		return driver{"btrfs", []string{"btrfs"}, nil}
	case ntfs:
		return driver{"ntfs3", []string{"ntfs3"}, []string{"iocharset=utf8"}} // which it knows by itself
	case fat:
		// The names that we look for are ASCII, and the default character set
		// is another in each kernel.
		return driver{"vfat", []string{"nls_cp437", "nls_ascii", "vfat"}, []string{"codepage=437", "iocharset=ascii"}}
	}
	return driver{"ext4", []string{"ext4"}, nil}
}

// errMount reports a file system that the kernel does not mount.
var errMount = errors.New("mounting")

// withMount calls f with the root directories of detached mounts of a volume,
// one for each set of options beyond the driver's own, and returns when the
// kernel has let go of the device. f must close all that it opens. An error of
// the mount wraps [errMount].
func (r *run) withMount(v volume, k kind, write bool, more [][]string, f func(roots []*os.File) error) error {
	err := func() error {
		var roots []*os.File
		defer func() {
			for _, root := range roots {
				root.Close()
			}
		}()
		d := driverOf(k)
		loading := r.load(d.modules)
		for _, options := range more {
			if !write {
				options = append([]string{"ro"}, options...)
			}
			root, err := blockdev.Mount(v.node, d.name, append(d.options, options...)...)
			if err != nil {
				return fmt.Errorf("%w: %w", errMount, errors.Join(err, loading))
			}
			roots = append(roots, root)
		}
		err := f(roots)
		if write {
			err = errors.Join(err, control(roots[0], unix.Syncfs))
		}
		return err
	}()
	return errors.Join(err, blockdev.Unmounted(v.node))
}

// load loads modules.
func (r *run) load(modules []string) error {
	if r.opt.Load == nil {
		return nil
	}
	var errs []error
	for _, name := range modules {
		if err := r.opt.Load(name); err != nil {
			errs = append(errs, fmt.Errorf("loading module %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// control calls f with the descriptor of a file.
func control(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	if err := raw.Control(func(fd uintptr) { callErr = f(int(fd)) }); err != nil {
		return err
	}
	return callErr
}
