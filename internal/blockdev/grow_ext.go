package blockdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// extResize is EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64) in linux/ext4.h: the
// argument is the new size in blocks.
const extResize = 0x40086610

// Fields of the ext superblock and their values (kernel documentation,
// filesystems/ext4/super).
const (
	extSuper      = 1024 // where it starts on the device
	extMagicAt    = 0x38
	extMagic      = 0xef53
	extStateAt    = 0x3a
	extStateClean = 1 // unmounted, or with a journal that makes it so
	extStateError = 2 // the driver has met damage
)

// extState returns the state in the superblock of the device.
func extState(dev *os.File) (uint16, error) {
	super := make([]byte, 1024)
	if _, err := dev.ReadAt(super, extSuper); err != nil {
		return 0, fmt.Errorf("reading the superblock: %w", err)
	}
	if magic := binary.LittleEndian.Uint16(super[extMagicAt:]); magic != extMagic {
		return 0, fmt.Errorf("magic %#x in the superblock, want %#x", magic, extMagic)
	}
	return binary.LittleEndian.Uint16(super[extStateAt:]), nil
}

// checkExt refuses a file system that the driver would mount but not enlarge.
// A journal that has not been replayed is no obstacle.
func checkExt(dev *os.File) error {
	state, err := extState(dev)
	if err != nil {
		return err
	}
	if state&extStateError != 0 {
		return fmt.Errorf("%w: errors were found in it", ErrNeedsCheck)
	}
	if state&extStateClean == 0 {
		return fmt.Errorf("%w: it was not unmounted", ErrNeedsCheck)
	}
	return nil
}

// growExt enlarges a mounted ext file system to size bytes, rounded down to
// whole blocks. The driver wants CAP_SYS_RESOURCE and, with the same error, a
// file system in which the journal brought up no damage.
func growExt(root, dev *os.File, size int64) error {
	var st unix.Statfs_t
	if err := control(root, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return err
	}
	if st.Bsize <= 0 {
		return fmt.Errorf("block size %d", st.Bsize)
	}
	blocks := uint64(size / st.Bsize)
	err := ioctl(root, extResize, &blocks)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	if state, stateErr := extState(dev); stateErr == nil && state&extStateError != 0 {
		return fmt.Errorf("%w: errors were found in it", ErrNeedsCheck)
	}
	return fmt.Errorf("without CAP_SYS_RESOURCE: %w", err)
}
