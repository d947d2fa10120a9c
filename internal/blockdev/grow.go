package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrCannotGrow reports a kind of file system that the kernel cannot enlarge.
var ErrCannotGrow = errors.New("this file system cannot be grown")

// ErrNeedsCheck reports a file system that its own fsck has to repair first.
var ErrNeedsCheck = errors.New("the file system must be checked first")

// A grower enlarges one kind of file system.
type grower struct {
	fsType  string                                     // as the kernel calls it
	options []string                                   // for the mount
	check   func(dev *os.File) error                   // before the mount; may be nil
	grow    func(root, dev *os.File, size int64) error // to size bytes, that of dev
}

// growers returns how each file system is grown, by its name in blkid.
func growers() map[string]grower {
	ext := grower{fsType: "ext4", check: checkExt, grow: growExt}
	return map[string]grower{
		"ext2": ext, "ext3": ext, "ext4": ext, // the ext4 driver serves all three
		"xfs":   {fsType: "xfs", options: []string{"nouuid"}, grow: growXFS},
		"btrfs": {fsType: "btrfs", grow: growBtrfs},
	}
}

// GrowFilesystem enlarges the file system on the block device dev until it
// fills the device, by the kernel's own driver. fsType is ext2, ext3, ext4,
// xfs or btrfs; for others the error wraps [ErrCannotGrow]. A file system that
// fills its device already is left as it is.
//
// The driver wants the file system mounted. The mount is a detached one
// (fsmount(2), Linux 5.2): it has no place in any directory or namespace and
// ends with its descriptor, also when the process is killed. The device must
// not be open as a [Device]: the driver claims it. ctx is asked before each
// step; the one that enlarges is not interrupted.
func GrowFilesystem(ctx context.Context, dev, fsType string) error {
	g, ok := growers()[fsType]
	if !ok {
		return fmt.Errorf("growing %s on %s: %w", fsType, dev, ErrCannotGrow)
	}
	size, err := g.inspect(dev)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = errors.Join(g.onMount(ctx, dev, size), released(dev))
	}
	if err != nil {
		return fmt.Errorf("growing %s on %s: %w", fsType, dev, err)
	}
	return nil
}

// inspect claims the device for a moment, so that nobody else has it mounted,
// looks at the file system and returns the size of the device in bytes.
func (g grower) inspect(dev string) (int64, error) {
	id, err := statPath(dev)
	if err != nil {
		return 0, err
	}
	if !id.isDevice() {
		return 0, &RefusedError{Path: dev, Reason: WrongKind, Detail: "not a block device"}
	}
	r := claim(dev, os.O_RDONLY)
	if r.err != nil {
		return 0, refusal(dev, r.err)
	}
	defer r.file.Close()
	var size uint64
	if err := ioctl(r.file, unix.BLKGETSIZE64, &size); err != nil {
		return 0, fmt.Errorf("asking for the size: %w", err)
	}
	if g.check != nil {
		err = g.check(r.file)
	}
	return int64(size), err
}

// onMount mounts the file system and grows it. When it returns, no descriptor
// of the mount is open.
func (g grower) onMount(ctx context.Context, dev string, size int64) error {
	root, err := g.mount(dev)
	if err != nil {
		return fmt.Errorf("mounting: %w", err)
	}
	defer root.Close()
	if err := mine(dev); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	device, err := os.Open(dev)
	if err != nil {
		return err
	}
	defer device.Close()
	if err := g.grow(root, device, size); err != nil {
		return fmt.Errorf("enlarging to %d bytes: %w", size, err)
	}
	if err := control(root, unix.Syncfs); err != nil {
		return fmt.Errorf("flushing: %w", err)
	}
	return nil
}

// mount makes a detached mount of dev and returns its root directory, whose
// descriptor alone keeps the mount.
func (g grower) mount(dev string) (*os.File, error) {
	fs, err := unix.Fsopen(g.fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen %s: %w", g.fsType, err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", dev); err != nil {
		return nil, fmt.Errorf("fsconfig source: %w", err)
	}
	for _, option := range g.options {
		if err := unix.FsconfigSetFlag(fs, option); err != nil {
			return nil, fmt.Errorf("fsconfig %s: %w", option, err)
		}
	}
	if err := retry(func() error { return unix.FsconfigCreate(fs) }); err != nil {
		return nil, fmt.Errorf("fsconfig create: %w%s", err, complaint(fs))
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC,
		unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsmount: %w", err)
	}
	defer unix.Close(mnt)
	root, err := unix.Openat(mnt, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the root directory: %w", err)
	}
	return os.NewFile(uintptr(root), "/"), nil
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

// released waits until the driver has let go of the device, for claimWait at
// most. A process that another goroutine starts can hold the mount until it
// runs its program.
func released(dev string) error {
	r := claim(dev, os.O_RDONLY)
	if r.err != nil {
		return fmt.Errorf("unmounting: %w", refusal(dev, r.err))
	}
	return r.file.Close()
}
