package blockdev

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// directAlign is what a direct read or write is aligned to in memory and on
// the device, in bytes: a page at least, so that no two of them, nor one of
// them and the page cache, ever share one. It is also enough for every sector.
func directAlign() int { return max(4096, os.Getpagesize()) }

// directMin is the shortest piece in bytes that bypasses the page cache. For
// shorter ones, which are those of tables and maps of file systems, the read
// ahead of the kernel is worth more.
const directMin = 64 << 10

// openDirect opens the device once more, past the page cache. A driver that
// knows no such thing costs speed, nothing else.
func (d *Device) openDirect() {
	flags := os.O_RDONLY
	if d.writable {
		flags = os.O_RDWR
	}
	_ = d.control(func(fd int) error {
		again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		if err == nil {
			d.direct = os.NewFile(uintptr(again), d.info.Path)
		}
		return err
	})
}

// route returns the file for a transfer of p at off, and how many of its
// bytes to do there.
func (d *Device) route(p []byte, off int64) (f *os.File, n int) {
	align := directAlign()
	n = len(p) &^ (align - 1)
	if d.direct == nil || d.slow.Load() || n < directMin || address(p)&(align-1) != 0 || off&int64(align-1) != 0 {
		return d.file, len(p)
	}
	return d.direct, n
}

// ReadAt implements [io.ReaderAt]. A piece of 64 KiB or more, aligned to 4096
// bytes (a page, where pages are larger) on the device and in memory, comes
// past the page cache.
func (d *Device) ReadAt(p []byte, off int64) (int, error) {
	left := d.Size() - off
	if off < 0 {
		return 0, fmt.Errorf("reading %s: negative offset %d", d.info.Path, off)
	}
	if left <= 0 {
		return 0, io.EOF
	}
	n, err := d.transfer(p[:min(int64(len(p)), left)], off, (*os.File).ReadAt)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// WriteAt implements [io.WriterAt]. Nothing is written if p does not lie
// within the device; a plain file gets its size by [Device.SetSize] first.
// Pieces as for ReadAt go past the page cache, others wait for each other.
func (d *Device) WriteAt(p []byte, off int64) (int, error) {
	if err := d.within(off, int64(len(p))); err != nil {
		return 0, fmt.Errorf("writing to %s: %w", d.info.Path, err)
	}
	return d.transfer(p, off, d.writeTo)
}

// within returns an error unless the device may be changed from off over n
// bytes.
func (d *Device) within(off, n int64) error {
	if !d.writable {
		return errSource
	}
	if size := d.Size(); off < 0 || n < 0 || n > size || off > size-n {
		return fmt.Errorf("%w: %d bytes at offset %d of %d", ErrPastEnd, n, off, size)
	}
	return nil
}

// writeTo writes p through f. Writes through the page cache have it for
// themselves: those of a plain file the kernel does one by one anyway, and
// its waiting costs more processor time than waiting here.
func (d *Device) writeTo(f *os.File, p []byte, off int64) (int, error) {
	if f == d.file {
		d.edge.Lock()
		defer d.edge.Unlock()
		return f.WriteAt(p, off)
	}
	d.edge.RLock()
	defer d.edge.RUnlock()
	return f.WriteAt(p, off)
}

// transfer moves all of p by do, in pieces as route tells. Where a driver
// rejects a direct piece, it and all that follow go through the page cache.
func (d *Device) transfer(p []byte, off int64, do func(*os.File, []byte, int64) (int, error)) (int, error) {
	done := 0
	for done < len(p) {
		f, want := d.route(p[done:], off+int64(done))
		n, err := do(f, p[done:done+want], off+int64(done))
		done += n
		switch {
		case err == nil:
		case f == d.direct && errors.Is(err, unix.EINVAL):
			d.slow.Store(true)
		case errors.Is(err, io.EOF):
			return done, fmt.Errorf("%s ended at offset %d: %w", d.info.Path, off+int64(done), io.ErrUnexpectedEOF)
		default:
			return done, fmt.Errorf("offset %d: %w", off+int64(done), err)
		}
	}
	return done, nil
}
