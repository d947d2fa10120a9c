package bake

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"slipcast/partition"
)

// blockSize is the unit, in bytes, in which a Cow keeps what was written. It is
// that of most file systems and of the page cache: so hardly any write needs the bytes
// around it from the parent, which would have to be decompressed.
const blockSize = 4096

// A Cow is a disk that can be written to over one that cannot: copy on write.
// What was written lies in a scratch file, everything else comes from the
// parent. Memory is a bit for each block of 4 KiB in any 16 MiB that were
// written to, and eight bytes for each 16 MiB of the disk.
//
// All methods but Close are safe for concurrent use. Of writes to the same
// bytes at the same time, as of any two disks, either may win.
type Cow struct {
	parent  io.ReaderAt
	size    int64
	scratch *os.File

	// fill is held to bring a block from the parent into the scratch file,
	// and shared by all that reads or writes.
	fill    sync.RWMutex
	written bitmap

	errLock sync.Mutex
	err     error // the first one
}

// errPastEnd reports a write behind the end of a disk.
var errPastEnd = errors.New("past the end")

// NewCow returns a copy of the disk of size bytes behind parent. scratch is an
// empty file; it takes as much room as is written. The Cow closes it, but not the parent.
func NewCow(parent io.ReaderAt, size int64, scratch *os.File) (*Cow, error) {
	if err := scratch.Truncate(size); err != nil {
		return nil, err
	}
	return &Cow{parent: parent, size: size, scratch: scratch, written: newBitmap((size + blockSize - 1) / blockSize)}, nil
}

// Close closes the scratch file.
func (c *Cow) Close() error { return c.scratch.Close() }

// Size returns the size of the disk in bytes.
func (c *Cow) Size() int64 { return c.size }

// Written returns how many bytes the scratch file holds, in whole blocks.
func (c *Cow) Written() int64 { return c.written.count.Load() * blockSize }

// Changed reports whether any block that e touches was written to.
func (c *Cow) Changed(e partition.Extent) bool {
	first, end := c.blocks(e)
	return c.written.next(first, end, true) < end
}

// Err returns the first error that a read or a write met. Who mounted the disk
// must ask: a file system tells nobody of what it could not write behind.
func (c *Cow) Err() error {
	c.errLock.Lock()
	defer c.errLock.Unlock()
	return c.err
}

func (c *Cow) fail(err error) error {
	c.errLock.Lock()
	defer c.errLock.Unlock()
	if c.err == nil {
		c.err = err
	}
	return err
}

// blocks returns the numbers of the first block that e touches and of the one behind the last.
func (c *Cow) blocks(e partition.Extent) (first, end int64) {
	if e.Length <= 0 {
		return 0, 0
	}
	return e.Start / blockSize, min((e.End()+blockSize-1)/blockSize, c.written.size)
}

// ReadAt implements io.ReaderAt.
func (c *Cow) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off >= c.size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), c.size-off)]
	c.fill.RLock()
	defer c.fill.RUnlock()
	for n < len(p) {
		m, err := c.readRun(p[n:], off+int64(n))
		if n += m; err != nil {
			return n, c.fail(err)
		}
	}
	if n < want {
		return n, io.EOF
	}
	return n, nil
}

// readRun reads the start of p, all of it from the same place.
func (c *Cow) readRun(p []byte, off int64) (int, error) {
	first, end := c.blocks(partition.Extent{Start: off, Length: int64(len(p))})
	src, written := c.parent, c.written.has(first)
	if written {
		src = c.scratch
	}
	runEnd := c.written.next(first, end, !written) * blockSize
	p = p[:min(int64(len(p)), runEnd-off)]
	n, err := src.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("reading %d bytes at offset %d: %w", len(p), off, err)
}

// WriteAt implements io.WriterAt. Nothing is written behind the end.
func (c *Cow) WriteAt(p []byte, off int64) (int, error) {
	e := partition.Extent{Start: off, Length: int64(len(p))}
	err := c.change(e, func() error {
		_, err := c.scratch.WriteAt(p, off)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Zero makes the bytes of e zeros and gives their room in the scratch file back.
func (c *Cow) Zero(e partition.Extent) error {
	return c.change(e, func() error {
		const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		err := unix.Fallocate(int(c.scratch.Fd()), mode, e.Start, e.Length)
		if errors.Is(err, unix.EOPNOTSUPP) {
			_, err = io.Copy(io.NewOffsetWriter(c.scratch, e.Start), io.LimitReader(zeros{}, e.Length))
		}
		return err
	})
}

// zeros is an endless stream of them.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// change does something to the bytes of e in the scratch file, which has the
// rest of the blocks that they lie in beforehand.
func (c *Cow) change(e partition.Extent, do func() error) error {
	if e.Start < 0 || e.Length < 0 || e.Length > c.size-e.Start {
		return fmt.Errorf("writing %d bytes at offset %d: %w", e.Length, e.Start, errPastEnd)
	}
	if e.Length == 0 {
		return nil
	}
	first, end := c.blocks(e)
	for _, block := range []int64{first, end - 1} {
		if place := c.place(block); place.Intersect(e) != place {
			if err := c.fetch(block); err != nil {
				return c.fail(err)
			}
		}
	}
	c.fill.RLock()
	defer c.fill.RUnlock()
	if err := do(); err != nil {
		return c.fail(fmt.Errorf("writing %d bytes at offset %d: %w", e.Length, e.Start, err))
	}
	c.written.set(first, end)
	return nil
}

// place returns where a block lies.
func (c *Cow) place(block int64) partition.Extent {
	start := block * blockSize
	return partition.Extent{Start: start, Length: min(blockSize, c.size-start)}
}

// fetch brings a block from the parent into the scratch file, unless it is there.
func (c *Cow) fetch(block int64) error {
	if c.written.has(block) {
		return nil
	}
	c.fill.Lock()
	defer c.fill.Unlock()
	if c.written.has(block) {
		return nil
	}
	place := c.place(block)
	p := make([]byte, place.Length)
	if _, err := c.readRun(p, place.Start); err != nil {
		return err
	}
	if _, err := c.scratch.WriteAt(p, place.Start); err != nil {
		return fmt.Errorf("writing %d bytes at offset %d: %w", len(p), place.Start, err)
	}
	c.written.set(block, block+1)
	return nil
}
