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
// The driver wants the file system mounted, which [Mount] does. The device must
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
		err = errors.Join(g.onMount(ctx, dev, size), Unmounted(dev))
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
	root, err := Mount(dev, g.fsType, g.options...)
	if err != nil {
		return fmt.Errorf("mounting: %w", err)
	}
	defer root.Close()
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
