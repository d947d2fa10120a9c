package image

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"slipcast/partition"
	"slipcast/partition/fsmap"
)

// A Foreign is a disk image that another program made: the raw bytes of a
// disk, maybe compressed. What is in use is unknown, and there are no digests.
type Foreign struct {
	Kind string // "raw", "zstd", "gzip" or "xz"
	Size int64  // of the disk in bytes; -1 if it is known only at the end
	r    *bufio.Reader
	done func() // frees what unpacks it
}

// foreignWindow is the largest window of a zstd stream that is accepted, in
// bytes: that of zstd --long.
const foreignWindow = 128 << 20

// OpenForeign finds out by its first bytes how the image behind r is packed.
// size is its length in bytes, -1 if that is unknown. Raw bytes are taken for a disk
// only if they begin like one; anything else is an error, and so are
// images of partclone, which hold no raw disk. What it returns is used by
// Restore, once.
func OpenForeign(r io.Reader, size int64) (*Foreign, error) {
	in := bufio.NewReaderSize(r, vitalSize)
	start, peekErr := in.Peek(16)
	if peekErr != nil && peekErr != io.EOF {
		return nil, peekErr
	}
	if len(start) == 0 {
		return nil, fmt.Errorf("%w, there is nothing in it", ErrNotImage)
	}
	f := &Foreign{Size: -1, done: func() {}}
	var plain io.Reader
	var err error
	switch {
	case len(start) >= 4 && binary.LittleEndian.Uint32(start) == zstdMagic, isSkippable(start):
		f.Kind = "zstd"
		var dec *zstd.Decoder
		if dec, err = zstd.NewReader(in, zstd.WithDecoderMaxWindow(foreignWindow)); err == nil {
			plain, f.done = dec, dec.Close
		}
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}): // RFC 1952 section 2.3.1
		f.Kind = "gzip"
		plain, err = gzip.NewReader(in)
	case bytes.HasPrefix(start, []byte("\xfd7zXZ\x00")): // xz-file-format.txt section 2.1.1.1
		f.Kind = "xz"
		plain, err = xz.NewReader(in)
	default:
		f.Kind, f.Size, f.r = "raw", size, in
	}
	if err != nil {
		return nil, damaged("%s: %v", f.Kind, err)
	}
	if f.r == nil {
		f.r = bufio.NewReaderSize(plain, vitalSize)
	}
	if err := f.check(); err != nil {
		f.done()
		return nil, err
	}
	return f, nil
}

// readError tells where the data could not be read. If it is packed, that is
// damage.
func (f *Foreign) readError(at int64, err error) error {
	if f.Kind == "raw" {
		return fmt.Errorf("reading at offset %d: %w", at, err)
	}
	return damaged("%s data behind offset %d: %v", f.Kind, at, err)
}

func isSkippable(p []byte) bool {
	return len(p) >= 4 && binary.LittleEndian.Uint32(p)&^0xf == headMagic&^0xf
}

// check refuses contents that do not begin like a disk.
func (f *Foreign) check() error {
	head, err := f.r.Peek(vitalSize)
	if err != nil && err != io.EOF {
		return f.readError(int64(len(head)), err)
	}
	if bytes.HasPrefix(head, []byte("partclone-image")) {
		return fmt.Errorf("%w, but one of partclone, which only partclone can restore", ErrNotImage)
	}
	if len(head) >= 512 && head[510] == 0x55 && head[511] == 0xaa {
		return nil
	}
	m, err := fsmap.Read(context.Background(), bytes.NewReader(head), int64(len(head)), fsmap.Options{})
	if err == nil && m.Type != "" {
		return nil
	}
	return fmt.Errorf("%w, and not the raw bytes of a disk", ErrNotImage)
}

// Restore writes the disk to dst, front to back. Only Blank, Delta, Grow,
// TargetSector and Progress of opt have a meaning. If the size is unknown, dst
// is Blank and has a method SetSize(int64) error, it becomes as large as the disk.
func (f *Foreign) Restore(ctx context.Context, dst Target, opt RestoreOptions) (RestoreStats, error) {
	var stats RestoreStats
	defer f.done()
	if f.Size > dst.Size() && !f.grows(dst, opt) {
		return stats, &TooSmallError{Need: f.Size, Have: dst.Size()}
	}
	if err := f.checkSectors(opt.TargetSector); err != nil {
		return stats, err
	}
	c := newCanvas(dst, true)
	if f.grows(dst, opt) {
		c = newCanvas(endless{dst}, false)
	}
	c.blank, c.delta = opt.Blank, opt.Delta
	size, err := f.copy(ctx, c, opt)
	if err == nil && f.grows(dst, opt) {
		err = dst.(resizer).SetSize(size)
		c.Target = dst
		c.end(size)
	}
	if err == nil {
		err = finishForeign(c, size, opt, &stats)
	}
	stats.Written = c.written.Load()
	return stats, err
}

// checkSectors refuses a GPT for sectors of another size than the target's,
// which nobody would find there.
func (f *Foreign) checkSectors(size int) error {
	head, _ := f.r.Peek(vitalSize)
	const unknown = maxDisk // of the disk, as far as Read needs it
	t, err := partition.Read(&overlay{r: bytes.NewReader(head), size: int64(len(head))}, unknown, 0)
	if err == nil && size != 0 && t.Kind == partition.GPT && t.SectorSize != size {
		return fmt.Errorf("%w: the image is of a disk with sectors of %d bytes, the target has %d", ErrSectorSize, t.SectorSize, size)
	}
	return nil // a table that is not understood is written as it is
}

type resizer interface{ SetSize(int64) error }

// grows tells whether the target becomes as large as the disk turns out to be.
func (f *Foreign) grows(dst Target, opt RestoreOptions) bool {
	_, ok := dst.(resizer)
	return ok && opt.Blank && f.Size < 0
}

// endless is a target with room for everything.
type endless struct{ Target }

func (endless) Size() int64 { return math.MaxInt64 }

// copy copies the whole disk and returns its size in bytes.
func (f *Foreign) copy(ctx context.Context, c *canvas, opt RestoreOptions) (size int64, err error) {
	buf := make([]byte, vitalSize)
	for {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		n, err := fillFrom(f.r, buf)
		end := err == io.EOF
		if err != nil && !end {
			return size, f.readError(size+int64(n), err)
		}
		if size+int64(n) > c.Size() {
			return size, &TooSmallError{Need: size + int64(n), Have: c.Size()}
		}
		if err := c.put(buf[:n], size); err != nil {
			return size, err
		}
		size += int64(n)
		if opt.Progress != nil {
			opt.Progress(int64(n))
		}
		if end {
			return size, nil
		}
	}
}

// fillFrom reads from r until buf is full or there is an error. It is not
// io.ReadFull, because io.ErrUnexpectedEOF must remain what it is: the word of
// a decoder for data that was cut short.
func fillFrom(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var got int
		got, err = r.Read(buf[n:])
		n += got
	}
	return n, err
}

// finishForeign writes what was kept back. If there is a table that can be
// trusted, its backup goes to the end of the target.
func finishForeign(c *canvas, size int64, opt RestoreOptions, stats *RestoreStats) error {
	table, err := partition.Read(c.content(), size, opt.TargetSector)
	if err != nil && !errors.Is(err, partition.ErrDamaged) {
		return err
	}
	if err != nil || table.Kind == partition.None {
		return c.finish(nil, nil)
	}
	place, err := table.Place(partition.PlaceOptions{Size: c.Size(), Grow: opt.Grow})
	if err != nil {
		return err
	}
	stats.Moved, stats.Grown = c.Size() != size, place.Grown
	return c.finish(place.Writes, table.Sectors())
}
