package fresh

import (
	"errors"
	"fmt"
	"os"
	"strings"

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
			root, err := d.mount(v.node, write, options)
			if err != nil {
				return fmt.Errorf("%w: %w", errMount, errors.Join(err, loading))
			}
			roots = append(roots, root)
		}
		if err := mine(v.node); err != nil {
			return fmt.Errorf("%w: %w", errMount, err)
		}
		err := f(roots)
		if write {
			err = errors.Join(err, control(roots[0], unix.Syncfs))
		}
		return err
	}()
	return errors.Join(err, released(v.node))
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

// mount makes a detached mount (fsmount(2)) and returns its root directory,
// whose descriptor alone keeps it.
func (d driver) mount(node string, write bool, options []string) (*os.File, error) {
	fs, err := unix.Fsopen(d.name, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen %s: %w", d.name, err)
	}
	defer unix.Close(fs)
	options = append(append([]string{"source=" + node}, d.options...), options...)
	if !write {
		options = append(options, "ro")
	}
	for _, option := range options {
		if err := configure(fs, option); err != nil {
			return nil, fmt.Errorf("%s: option %s: %w", d.name, option, err)
		}
	}
	if err := interrupted(func() error { return unix.FsconfigCreate(fs) }); err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	attributes := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOATIME
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, fmt.Errorf("fsmount: %w", err)
	}
	defer unix.Close(mnt)
	root, err := unix.Openat(mnt, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the root directory: %w", err)
	}
	return os.NewFile(uintptr(root), "."), nil
}

func configure(fs int, option string) error {
	name, value, ok := strings.Cut(option, "=")
	if ok {
		return unix.FsconfigSetString(fs, name, value)
	}
	return unix.FsconfigSetFlag(fs, name)
}

// interrupted calls f again as long as a signal interrupts it.
func interrupted(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
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

// mine makes sure that the mount is one of this device: btrfs goes by the
// identity on the disk, and another disk may have the same one.
func mine(node string) error {
	f, err := os.OpenFile(node, os.O_RDONLY|os.O_EXCL, 0)
	if err == nil {
		f.Close()
		return errors.New("the driver mounted another device with the same identity")
	}
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}

// released waits until the kernel has let go of a device, for as long as
// package blockdev waits for a claim.
func released(node string) error {
	d, err := blockdev.OpenSource(node)
	if err != nil {
		return fmt.Errorf("unmounting: %w", err)
	}
	return d.Close()
}
