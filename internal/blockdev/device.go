package blockdev

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Device is a disk, partition or plain file that is open as a source or as
// a target. All methods but Close are safe for concurrent use.
type Device struct {
	info     Info
	file     *os.File
	direct   *os.File   // the same device past the page cache; nil if there is none
	claims   []*os.File // held in place of the device's own
	writable bool
	size     atomic.Int64
	slow     atomic.Bool // direct turned out not to work

	// edge is held to write through the page cache, and shared by all other
	// changes. The kernel keeps the cache and direct writes coherent, except
	// where both touch one page at the same time.
	edge sync.RWMutex

	syncLock sync.Mutex
	syncErr  error // the first error of Sync, which the kernel reports only once
}

// ErrPastEnd reports a write, or another change, that does not lie within the
// device.
var ErrPastEnd = errors.New("past the end")

// errSource reports a change to a Device that was opened as a source.
var errSource = errors.New("opened for reading only")

// Info returns a description of the device as it was opened.
func (d *Device) Info() *Info {
	info := d.info
	info.Size = d.Size()
	return &info
}

// Size returns the size in bytes.
func (d *Device) Size() int64 { return d.size.Load() }

// isFile reports whether the device is a plain file.
func (d *Device) isFile() bool { return d.info.Kind == File }

// SetSize makes a plain file n bytes long; bytes that are added are zeros in
// a hole. A block device has the size that it has: any other is an error.
func (d *Device) SetSize(n int64) error {
	if n == d.Size() {
		return nil
	}
	if !d.writable {
		return fmt.Errorf("setting the size of %s: %w", d.info.Path, errSource)
	}
	if !d.isFile() {
		return fmt.Errorf("setting the size of %s to %d bytes: a device has a fixed size of %d", d.info.Path, n, d.Size())
	}
	if err := d.file.Truncate(n); err != nil {
		return err
	}
	d.size.Store(n)
	return nil
}

// Sync returns when everything that was written is on the medium, or an error
// if any of it is not. Once it has failed it fails for good: the kernel tells
// of a failed write a single time and then forgets the data.
func (d *Device) Sync() error {
	d.syncLock.Lock()
	defer d.syncLock.Unlock()
	if d.syncErr == nil {
		d.syncErr = d.file.Sync()
	}
	return d.syncErr
}

// DropCache makes the next reads come from the medium instead of from memory.
// It implies Sync. What the kernel holds of the partitions of a disk is apart
// from the disk's, and goes with [Device.RereadTable]. Without root, what the kernel holds of a block device is
// dropped only as far as nobody else uses it.
func (d *Device) DropCache() error {
	if d.writable {
		if err := d.Sync(); err != nil {
			return err
		}
	}
	if !d.isFile() {
		err := d.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.BLKFLSBUF, 0) })
		if err != nil && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("dropping the cache of %s: %w", d.info.Path, err)
		}
	}
	if err := d.control(func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) }); err != nil {
		return fmt.Errorf("dropping the cache of %s: %w", d.info.Path, err)
	}
	return nil
}

// Close gives the device back. It does not flush: what Sync has not confirmed
// may still be lost. No other method may run or be called afterwards.
func (d *Device) Close() error {
	closeAll(d.claims)
	var direct error
	if d.direct != nil {
		direct = d.direct.Close()
	}
	return errors.Join(direct, d.file.Close())
}

// control calls f with the device's descriptor.
func (d *Device) control(f func(fd int) error) error {
	return control(d.file, f)
}

// control calls f with the descriptor of file, which stays open meanwhile.
func control(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := conn.Control(func(fd uintptr) { result = retry(func() error { return f(int(fd)) }) }); err != nil {
		return err
	}
	return result
}

// ioctl calls ioctl(2) with a pointer to what the request takes or gives.
func ioctl[T any](file *os.File, request uint, arg *T) error {
	return control(file, func(fd int) error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(arg)))
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// retry repeats a system call that a signal interrupted.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
