package root

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"slipcast/internal/blockdev"
)

// A driver is how the kernel mounts one kind of file system.
type driver struct {
	name    string   // as the kernel calls it; empty: it is not mounted
	modules []string // the driver's, and those that it would ask modprobe for
	options []string // NAME or NAME=VALUE
	asIs    []string // with ro: the journal is not replayed, so nothing at all is written
}

// driverOf returns the driver for what fsmap calls a kind of file system.
func driverOf(kind string) driver {
	switch kind {
	case "ext2", "ext3", "ext4":
		return driver{"ext4", []string{"ext4"}, nil, []string{"norecovery"}}
	case "xfs":
		return driver{"xfs", []string{"xfs"}, []string{"nouuid"}, []string{"norecovery"}} // a clone has the UUID of its original
	case "btrfs":
		return driver{"btrfs", []string{"btrfs"}, nil, []string{"rescue=nologreplay"}}
	case "f2fs":
		return driver{"f2fs", []string{"f2fs"}, nil, []string{"norecovery"}}
	case "ntfs":
		return driver{"ntfs3", []string{"ntfs3"}, []string{"iocharset=utf8"}, nil}
	case "vfat":
		// The default character set is another in each kernel; names are
		// translated as UTF-8 whatever it is.
		return driver{"vfat", []string{"nls_cp437", "nls_ascii", "vfat"}, []string{"codepage=437", "iocharset=ascii", "utf8"}, nil}
	}
	return driver{}
}

// mountAt mounts a volume of the root on an open directory of this thread's
// mount namespace. Options go beyond the driver's own.
func (p *probed) mountAt(point *os.File, opt MountOptions, options ...string) error {
	d := driverOf(p.fs)
	err := opt.load(d.modules)
	if opt.ReadOnly {
		options = append(append([]string{"ro"}, d.asIs...), options...)
	}
	mountErr := blockdev.MountAt(point, p.Node, d.name, append(options, d.options...)...)
	switch {
	case mountErr == nil:
		return nil
	case errors.Is(mountErr, unix.ENODEV):
		return &RefusedError{p.name(), NoDriver, fmt.Sprintf("this kernel has no driver for %s", d.name), errors.Join(mountErr, err)}
	}
	return &RefusedError{p.name(), Unmounted, fmt.Sprintf("mounting: %v", errors.Join(mountErr, err)), mountErr}
}

// load loads modules. What cannot be loaded may be built in.
func (opt MountOptions) load(modules []string) error {
	if opt.Load == nil {
		return nil
	}
	var errs []error
	for _, name := range modules {
		if err := opt.Load(name); err != nil {
			errs = append(errs, fmt.Errorf("loading module %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
