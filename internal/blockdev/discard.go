package blockdev

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// zeroStep is how many bytes one request to zero or discard covers, so that
// none takes the kernel for minutes.
const zeroStep = 256 << 20

// Discard tells the device that n bytes from off are not needed any more;
// what they read afterwards is not defined. On a block device the range is
// narrowed to whole sectors. In a plain file it becomes a hole. The error
// wraps [errors.ErrUnsupported] where a device has no such ability, which
// usually is no reason to stop.
func (d *Device) Discard(off, n int64) error {
	if err := d.within(off, n); err != nil {
		return fmt.Errorf("discarding on %s: %w", d.info.Path, err)
	}
	request := d.punch
	if !d.isFile() {
		end := roundDown(off+n, d.info.LogicalSector)
		off = roundUp(off, d.info.LogicalSector)
		n = end - off
		request = func(off, n int64) error { return ioctl(d.file, unix.BLKDISCARD, &[2]uint64{uint64(off), uint64(n)}) }
	}
	if _, err := d.steps(off, n, request); err != nil {
		return fmt.Errorf("discarding %d bytes at offset %d of %s: %w", n, off, d.info.Path, err)
	}
	return nil
}

// Zero makes n bytes from off read as zeros, without sending the zeros where
// the device or the file system can do without.
func (d *Device) Zero(off, n int64) error {
	if err := d.within(off, n); err != nil {
		return fmt.Errorf("zeroing on %s: %w", d.info.Path, err)
	}
	if d.isFile() {
		return d.zeroBy(d.punch, off, n)
	}
	start, end := roundUp(off, d.info.LogicalSector), roundDown(off+n, d.info.LogicalSector)
	if end <= start {
		return d.writeZeros(off, n)
	}
	if err := d.writeZeros(off, start-off); err != nil {
		return err
	}
	zero := func(off, n int64) error { return ioctl(d.file, unix.BLKZEROOUT, &[2]uint64{uint64(off), uint64(n)}) }
	if err := d.zeroBy(zero, start, end-start); err != nil {
		return err
	}
	return d.writeZeros(end, off+n-end)
}

// zeroBy zeroes a range by request, and from where that is not supported by
// writing zeros.
func (d *Device) zeroBy(request func(off, n int64) error, off, n int64) error {
	done, err := d.steps(off, n, request)
	if err == nil {
		return nil
	}
	if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("zeroing %d bytes at offset %d of %s: %w", n, off, d.info.Path, err)
	}
	return d.writeZeros(off+done, n-done)
}

// steps calls request for pieces of the range and returns how many bytes were
// done. The kernel drops these pieces from the page cache, so no write through
// the cache may run beside it.
func (d *Device) steps(off, n int64, request func(off, n int64) error) (int64, error) {
	var done int64
	for done < n {
		step := min(n-done, zeroStep)
		d.edge.RLock()
		err := request(off+done, step)
		d.edge.RUnlock()
		if err != nil {
			return done, err
		}
		done += step
	}
	return done, nil
}

// punch makes a hole in a plain file and leaves its size alone.
func (d *Device) punch(off, n int64) error {
	return d.control(func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// writeZeros zeroes a range in the slow way.
func (d *Device) writeZeros(off, n int64) error {
	if n <= 0 {
		return nil
	}
	zeros := AlignedBuffer(int(min(n, 1<<20)))
	for end := off + n; off < end; {
		k, err := d.WriteAt(zeros[:min(int64(len(zeros)), end-off)], off)
		if err != nil {
			return err
		}
		off += int64(k)
	}
	return nil
}

func roundDown(n int64, unit int) int64 { return n / int64(unit) * int64(unit) }

func roundUp(n int64, unit int) int64 { return roundDown(n+int64(unit)-1, unit) }
