package root

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
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
	mountErr := attach(p.Node, d.name, append(options, d.options...), point)
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

// attach mounts a file system on an open directory.
func attach(node, fsType string, options []string, point *os.File) error {
	fs, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("fsopen %s: %w", fsType, err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", node); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	attributes := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOATIME
	for _, option := range options {
		if option == "ro" {
			attributes |= unix.MOUNT_ATTR_RDONLY
		}
		if err := configure(fs, option); err != nil {
			return fmt.Errorf("option %s: %w%s", option, err, complaint(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("%w%s", err, complaint(fs))
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return fmt.Errorf("fsmount: %w", err)
	}
	defer unix.Close(mnt)
	if err := claimed(node); err != nil {
		return err
	}
	return unix.MoveMount(mnt, "", int(point.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

func configure(fs int, option string) error {
	if name, value, ok := strings.Cut(option, "="); ok {
		return unix.FsconfigSetString(fs, name, value)
	}
	return unix.FsconfigSetFlag(fs, option)
}

// complaint returns what the driver says about a mount that failed: a letter
// for its weight, a blank and the text.
func complaint(fs int) string {
	text := make([]byte, 1024)
	n, err := unix.Read(fs, text)
	if err != nil || n <= 2 {
		return ""
	}
	return " (" + strings.TrimSpace(string(text[2:n])) + ")"
}

// claimed makes sure that what was mounted is on this device: btrfs goes by
// the identity that is written on the disk, and a clone has its original's.
func claimed(node string) error {
	f, err := os.OpenFile(node, os.O_RDONLY|unix.O_EXCL, 0)
	if err == nil {
		f.Close()
		return errors.New("the driver mounted another device with the same identity")
	}
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}
