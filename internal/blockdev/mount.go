package blockdev

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Mount mounts the file system on the block device dev by the kernel's driver
// fsType and returns its root directory. Options are NAME or NAME=VALUE, as for
// mount(8); nosuid, nodev, noexec and noatime are always there.
//
// The mount is a detached one (fsmount(2), Linux 5.2): it has no place in any
// directory or namespace and ends with the last descriptor of what is in it,
// also when the process is killed. After that, [Unmounted] waits for the kernel.
// The device must not be open as a [Device]: the driver claims it.
func Mount(dev, fsType string, options ...string) (*os.File, error) {
	mnt, err := detached(dev, fsType, options)
	if err != nil {
		return nil, err
	}
	defer unix.Close(mnt)
	root, err := unix.Openat(mnt, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the root directory: %w", err)
	}
	return os.NewFile(uintptr(root), "/"), nil
}

// MountAt mounts like [Mount], on the directory point, in the mount namespace of
// the thread that calls.
func MountAt(point *os.File, dev, fsType string, options ...string) error {
	mnt, err := detached(dev, fsType, options)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	return unix.MoveMount(mnt, "", int(point.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// detached returns the descriptor of a mount that has no place, and is of this
// device.
func detached(dev, fsType string, options []string) (mnt int, err error) {
	fs, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen %s: %w", fsType, err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", dev); err != nil {
		return -1, fmt.Errorf("%s: source %s: %w", fsType, dev, err)
	}
	attributes := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOATIME
	for _, option := range options {
		if option == "ro" { // of the file system; of the mount, too
			attributes |= unix.MOUNT_ATTR_RDONLY
		}
		if err := configure(fs, option); err != nil {
			return -1, fmt.Errorf("%s: option %s: %w%s", fsType, option, err, complaint(fs))
		}
	}
	if err := retry(func() error { return unix.FsconfigCreate(fs) }); err != nil {
		return -1, fmt.Errorf("%s: %w%s", fsType, err, complaint(fs))
	}
	if mnt, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes); err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	if err := mine(dev); err != nil {
		unix.Close(mnt)
		return -1, err
	}
	return mnt, nil
}

func configure(fs int, option string) error {
	if name, value, ok := strings.Cut(option, "="); ok {
		return unix.FsconfigSetString(fs, name, value)
	}
	return unix.FsconfigSetFlag(fs, option)
}

// complaint returns what the driver says about a mount that failed: one
// message for each read of the descriptor, where the driver writes any.
func complaint(fs int) string {
	text := make([]byte, 1024)
	n, err := unix.Read(fs, text)
	if err != nil || n <= 2 {
		return ""
	}
	return " (" + clean(string(text[2:n])) + ")" // behind a letter for its weight
}

// mine makes sure that the mount is one of this device. btrfs goes by the
// identity that is written on the disk, and a clone has that of its original.
func mine(dev string) error {
	f, err := os.OpenFile(dev, os.O_RDONLY|os.O_EXCL, 0)
	if err == nil {
		f.Close()
		return errors.New("the driver mounted another device with the same identity")
	}
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}

// unmountWait is how long the kernel may take to let go of a device.
const unmountWait = 30 * time.Second

// Unmounted waits until the kernel has let go of a device whose mounts were
// closed, for half a minute at most. The end of a namespace unmounts in the
// background, and a process that another goroutine starts can hold a mount until
// it runs its program; both take seconds where there is more to do than
// processors.
func Unmounted(dev string) error {
	r := claimWithin(dev, os.O_RDONLY, unmountWait)
	if r.err != nil {
		return fmt.Errorf("unmounting: %w", refusal(dev, r.err))
	}
	return r.file.Close()
}
