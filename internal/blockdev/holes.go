package blockdev

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// NextData returns the first range of data at or behind off, so that holes in
// a plain file need not be read: from start up to end, all bytes from off to
// start are zeros. It returns [io.EOF] if only a hole is left. A device, and
// a file whose file system knows no holes, is data from end to end.
func (d *Device) NextData(off int64) (start, end int64, err error) {
	size := d.Size()
	if off < 0 {
		return 0, 0, fmt.Errorf("looking for data in %s: negative offset %d", d.info.Path, off)
	}
	if off >= size {
		return 0, 0, io.EOF
	}
	if !d.isFile() {
		return off, size, nil
	}
	start, err = d.seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return 0, 0, io.EOF
	case errors.Is(err, unix.EINVAL) || errors.Is(err, errors.ErrUnsupported):
		return off, size, nil
	case err == nil && start < size:
		end, err = d.seek(start, unix.SEEK_HOLE)
	case err == nil:
		return 0, 0, io.EOF
	}
	if err != nil {
		return 0, 0, fmt.Errorf("looking for data in %s: %w", d.info.Path, err)
	}
	return start, min(end, size), nil
}

// seek is lseek(2). It moves the offset of the descriptor, which nothing uses.
func (d *Device) seek(off int64, whence int) (int64, error) {
	var at int64
	err := d.control(func(fd int) error {
		var err error
		at, err = unix.Seek(fd, off, whence)
		return err
	})
	return at, err
}
