package blockdev

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// LoopOptions say what of a file a loop device shows. The zero value shows all
// of it, writable, in sectors of 512 bytes.
type LoopOptions struct {
	Offset     int64 // bytes of the file before the device
	Size       int64 // bytes of the device; 0 is up to the end of the file
	SectorSize int   // bytes, a power of two from 512 to 4096; 0 is 512
	ReadOnly   bool

	// Direct passes the page cache of the file by. Offset must be a multiple
	// of what the file asks for; where the kernel finds it cannot, it goes
	// through the cache.
	Direct bool
}

// A Loop is a loop device. The kernel detaches it when nobody has it open or
// mounted any more, also when the processes that did were killed.
type Loop struct {
	path string
	file *os.File
}

// loopTries is how often a free loop device may be taken by somebody else
// between the question for one and its answer.
const loopTries = 64

// AttachLoop shows a part of backing, a file or a block device, as a block
// device (LOOP_CONFIGURE, Linux 5.8). The device does not need backing to stay
// open. The kernel does not look for partitions on it: it may know no tables.
func AttachLoop(backing *os.File, opt LoopOptions) (*Loop, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	config := opt.config(backing)
	for range loopTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("looking for a free loop device: %w", err)
		}
		l, err := configureLoop(fmt.Sprintf("/dev/loop%d", n), config, opt.ReadOnly)
		if !errors.Is(err, unix.EBUSY) {
			return l, err
		}
	}
	return nil, fmt.Errorf("attaching a loop device to %s: %d were taken by others", backing.Name(), loopTries)
}

func (o LoopOptions) config(backing *os.File) *unix.LoopConfig {
	c := &unix.LoopConfig{Fd: uint32(backing.Fd()), Size: uint32(o.SectorSize)}
	c.Info.Offset, c.Info.Sizelimit = uint64(o.Offset), uint64(o.Size)
	c.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	if o.ReadOnly {
		c.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	if o.Direct {
		c.Info.Flags |= unix.LO_FLAGS_DIRECT_IO
	}
	copy(c.Info.File_name[:len(c.Info.File_name)-1], backing.Name())
	return c
}

// configureLoop makes the free loop device at path what config says.
func configureLoop(path string, config *unix.LoopConfig, readOnly bool) (*Loop, error) {
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlLoopConfigure(int(f.Fd()), config); err != nil {
		f.Close()
		return nil, fmt.Errorf("attaching %s: %w", path, err)
	}
	return &Loop{path, f}, nil
}

// Path returns the device's node, as /dev/loop3. After Close it may be somebody
// else's, unless it is mounted.
func (l *Loop) Path() string { return l.path }

// Direct reports whether the page cache of the file is passed by.
func (l *Loop) Direct() (bool, error) {
	info, err := unix.IoctlLoopGetStatus64(int(l.file.Fd()))
	if err != nil {
		return false, fmt.Errorf("%s: %w", l.path, err)
	}
	return info.Flags&unix.LO_FLAGS_DIRECT_IO != 0, nil
}

// Close lets go of the device. If it is neither mounted nor open elsewhere,
// what was written is in the file, and the device is detached, on return.
func (l *Loop) Close() error { return l.file.Close() }
