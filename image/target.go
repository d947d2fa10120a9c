package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"slipcast/partition"
)

// A Target is what an image is restored to. All methods are safe for
// concurrent use. It may have more abilities, which are used if it does:
//
//	Zero(offset, length int64) error     // make a range read as zeros
//	Discard(offset, length int64) error  // tell the device that a range is free
//	DropCache() error                    // make the next reads come from the device
type Target interface {
	io.ReaderAt
	io.WriterAt
	Size() int64 // bytes
	Sync() error
}

type zeroer interface {
	Zero(offset, length int64) error
}

type discarder interface {
	Discard(offset, length int64) error
}

type cacheDropper interface {
	DropCache() error
}

// vitalSize is how much of either end of a target is kept back until all else
// is on it, section 11, in bytes.
const vitalSize = 1 << 20

// signSize is how many bytes at the start of a target are wiped before all
// others, and without a table written after all others: what tells a disk from
// an empty one.
const signSize = 4096

// A piece is a run of bytes and its place on the target.
type piece struct {
	partition.Extent
	data  []byte
	table bool // sectors of a table: all of them count, in use or not
}

// part returns the part of p that lies in e.
func (p *piece) part(e partition.Extent) piece {
	e = p.Intersect(e)
	return piece{Extent: e, data: p.data[e.Start-p.Start : e.End()-p.Start], table: p.table}
}

// A canvas is a target that is being written. It keeps back the vital bytes,
// and makes sure that nothing is written before the old ones are wiped.
type canvas struct {
	Target
	blank  bool // the target holds nothing but zeros
	delta  bool // compare before writing
	vital  []piece
	used   partition.Extents // of the disk; only these count when bytes are compared. nil for all
	offset int64             // of the target's first byte on the disk
	unused func() error      // called once, after the wipe
	mark   piece             // in the first vital bytes, until they are written; empty for none
	marked bool              // the target bears the mark already

	mu     sync.Mutex
	beyond []piece // bytes behind the end of the target: a table's backup

	wipe    sync.Once
	wipeErr error
	touched atomic.Bool  // something was written
	written atomic.Int64 // bytes
}

// newCanvas returns a canvas on dst. ends tells that the last bytes are vital,
// too: where dst is a whole disk, an old backup GPT may be there.
func newCanvas(dst Target, ends bool) *canvas {
	c := &canvas{Target: dst, unused: func() error { return nil }}
	size := dst.Size()
	c.keep(partition.Extent{Start: 0, Length: min(vitalSize, size)})
	if at := max(vitalSize, size-vitalSize); ends && at < size {
		c.keep(partition.Extent{Start: at, Length: size - at})
	}
	return c
}

func (c *canvas) keep(e partition.Extent) {
	c.vital = append(c.vital, piece{Extent: e, data: make([]byte, e.Length)})
}

// put writes data at offset at, except vital bytes and those behind the end,
// which it keeps.
func (c *canvas) put(data []byte, at int64) error {
	if over := min(at+int64(len(data))-c.Size(), int64(len(data))); over > 0 {
		cut := int64(len(data)) - over
		c.mu.Lock()
		c.beyond = append(c.beyond, piece{Extent: partition.Extent{Start: at + cut, Length: over}, data: slices.Clone(data[cut:])})
		c.mu.Unlock()
		data = data[:cut]
	}
	if len(data) == 0 {
		return nil
	}
	e := partition.Extent{Start: at, Length: int64(len(data))}
	rest := partition.Extents{e}
	for _, v := range c.vital {
		if both := v.Intersect(e); both.Length > 0 {
			copy(v.data[both.Start-v.Start:], data[both.Start-at:both.End()-at])
			rest = rest.Minus(partition.Extents{v.Extent})
		}
	}
	for _, r := range rest {
		if err := c.write(data[r.Start-at:r.End()-at], r.Start); err != nil {
			return err
		}
	}
	return nil
}

// retain keeps the vital ones among the bytes at offset at, which the target
// holds, so that Finish can write them again.
func (c *canvas) retain(data []byte, at int64) {
	e := partition.Extent{Start: at, Length: int64(len(data))}
	for _, v := range c.vital {
		if both := v.Intersect(e); both.Length > 0 {
			copy(v.data[both.Start-v.Start:], data[both.Start-at:both.End()-at])
		}
	}
}

// diffSize is the unit in which a delta compares and writes, and in which
// zeros are left out of a new file, in bytes.
const diffSize = 64 << 10

// write writes data at offset at: all of it, or what differs from the target.
// Then bytes that are not in use stay as the target has them, in data too.
func (c *canvas) write(data []byte, at int64) error {
	if c.delta {
		have := make([]byte, len(data))
		if n, err := c.ReadAt(have, at); n < len(have) {
			return fmt.Errorf("reading the target at offset %d: %w", at, err)
		}
		e := partition.Extent{Start: at, Length: int64(len(data))}
		for _, gap := range c.inUse(e).Gaps(e) {
			copy(data[gap.Start-at:gap.End()-at], have[gap.Start-at:])
		}
		return c.writeIf(data, at, func(i, end int) bool { return !bytes.Equal(data[i:end], have[i:end]) })
	}
	if c.blank {
		return c.writeIf(data, at, func(i, end int) bool { return !isZero(data[i:end]) })
	}
	if isZero(data) {
		return c.zero(at, int64(len(data)))
	}
	return c.writeNow(data, at)
}

// writeIf writes those parts of data for which need says so.
func (c *canvas) writeIf(data []byte, at int64, need func(i, end int) bool) error {
	start := -1
	for i := 0; i < len(data); i += diffSize {
		end := min(i+diffSize, len(data))
		if need(i, end) {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			if err := c.writeNow(data[start:i], at+int64(start)); err != nil {
				return err
			}
			start = -1
		}
	}
	if start < 0 {
		return nil
	}
	return c.writeNow(data[start:], at+int64(start))
}

// writeNow writes data at offset at. The old vital bytes are gone before.
func (c *canvas) writeNow(data []byte, at int64) error {
	if err := c.begin(); err != nil {
		return err
	}
	return c.writeRaw(data, at)
}

func (c *canvas) writeRaw(data []byte, at int64) error {
	c.written.Add(int64(len(data)))
	if _, err := c.WriteAt(data, at); err != nil {
		return fmt.Errorf("writing %d bytes at offset %d: %w", len(data), at, err)
	}
	return nil
}

// zero makes length bytes from offset at read as zeros.
func (c *canvas) zero(at, length int64) error {
	if err := c.begin(); err != nil {
		return err
	}
	if z, ok := c.Target.(zeroer); ok {
		c.written.Add(length)
		if err := z.Zero(at, length); err != nil {
			return fmt.Errorf("writing zeros at offset %d: %w", at, err)
		}
		return nil
	}
	buf := make([]byte, min(length, vitalSize))
	for length > 0 {
		n := min(length, int64(len(buf)))
		if err := c.writeRaw(buf[:n], at); err != nil {
			return err
		}
		at, length = at+n, length-n
	}
	return nil
}

// begin wipes the vital bytes of the target before the first write, so that
// what is restored in part does not look like a good disk.
func (c *canvas) begin() error {
	c.wipe.Do(func() {
		c.touched.Store(true)
		if c.blank {
			c.wipeErr = c.writeMark()
		} else {
			c.wipeErr = c.wipeVital()
		}
		if c.wipeErr == nil {
			c.wipeErr = c.unused()
		}
	})
	return c.wipeErr
}

// writeMark writes the mark, if there is one, onto a blank target.
func (c *canvas) writeMark() error {
	if c.mark.Length == 0 {
		return nil
	}
	return c.writeSteps([]piece{c.mark})
}

// wipeVital writes zeros over the vital bytes. The sign goes first, so that
// nothing finds the old table once a byte behind it is gone. The mark comes
// with the zeros around it, so that one that is there stays.
func (c *canvas) wipeVital() error {
	sign := c.vital[0].part(partition.Extent{Length: signSize})
	for _, places := range [][]piece{{sign}, c.vital} {
		for _, v := range places {
			if err := c.writeRaw(c.wiped(v.Extent), v.Start); err != nil {
				return err
			}
		}
		if err := c.Sync(); err != nil {
			return fmt.Errorf("flushing: %w", err)
		}
	}
	return nil
}

// wiped returns what the wipe leaves of e: zeros, and the mark.
func (c *canvas) wiped(e partition.Extent) []byte {
	p := make([]byte, e.Length)
	if m := c.mark.Intersect(e); m.Length > 0 {
		copy(p[m.Start-e.Start:], c.mark.part(m).data)
	}
	return p
}

// end tells where the target ends, if that was not known before.
func (c *canvas) end(size int64) {
	for i := range c.vital {
		v := &c.vital[i]
		v.Extent = v.Intersect(partition.Extent{Length: size})
		v.data = v.data[:v.Length]
	}
}

// content returns a reader of what the target will hold: the vital bytes that
// were kept, and the rest from the target. Behind its end are zeros.
func (c *canvas) content() io.ReaderAt {
	return &overlay{c.Target, c.Size(), slices.Concat(c.vital, c.beyond)}
}

// finish writes the vital bytes: first those that are no part of the table,
// then the table, step by step, each on the disk before the next. All of them
// are written, in use or not, so that no mark remains. Then they are read
// again. Nothing is written if the target is as it should be already.
func (c *canvas) finish(writes []partition.Write, stale partition.Extents) error {
	first, steps := c.lastSteps(writes, stale)
	if !c.touched.Load() && !c.marked && c.holds(first) == nil && c.holds(steps) == nil {
		return nil
	}
	if err := c.begin(); err != nil {
		return err
	}
	if err := c.Sync(); err != nil {
		return fmt.Errorf("flushing: %w", err)
	}
	for _, p := range first {
		if err := c.writeRaw(p.data, p.Start); err != nil {
			return err
		}
	}
	if err := c.writeSteps(steps); err != nil {
		return err
	}
	if d, ok := c.Target.(cacheDropper); ok {
		if err := d.DropCache(); err != nil {
			return fmt.Errorf("reading again: %w", err)
		}
	}
	return errors.Join(c.holds(first), c.holds(steps))
}

// writeSteps writes pieces, each on the disk before the next.
func (c *canvas) writeSteps(steps []piece) error {
	for _, p := range steps {
		if err := c.Sync(); err != nil {
			return fmt.Errorf("flushing: %w", err)
		}
		if err := c.writeRaw(p.data, p.Start); err != nil {
			return err
		}
	}
	if err := c.Sync(); err != nil {
		return fmt.Errorf("flushing: %w", err)
	}
	return nil
}

// lastSteps divides what is left to be written into what may be written at
// once, and the table's sectors in their order. Sectors of the table that are
// stale on a target of this size become zeros. Without a table, the sign is
// the last step.
func (c *canvas) lastSteps(writes []partition.Write, stale partition.Extents) (first, steps []piece) {
	var table partition.Extents
	for _, w := range writes {
		e := partition.Extent{Start: w.Offset, Length: int64(len(w.Data))}
		table = append(table, e)
		steps = append(steps, piece{e, w.Data, true})
	}
	if len(writes) == 0 {
		sign := c.vital[0].part(partition.Extent{Length: signSize})
		table, steps = partition.Extents{sign.Extent}, []piece{sign}
	}
	table = partition.Normalize(table)
	stale = stale.Minus(table).Within(partition.Extent{Length: c.Size()})
	for _, v := range c.vital {
		for _, s := range stale.Within(v.Extent) {
			clear(v.data[s.Start-v.Start : s.End()-v.Start])
		}
		for _, e := range table.Gaps(v.Extent) {
			first = append(first, v.part(e))
		}
		stale = stale.Minus(partition.Extents{v.Extent})
	}
	for _, s := range stale {
		first = append(first, piece{s, make([]byte, s.Length), true})
	}
	return first, steps
}

// holds compares the target with pieces, but for bytes that are not in use.
func (c *canvas) holds(pieces []piece) error {
	for _, p := range pieces {
		have := make([]byte, p.Length)
		if n, err := c.ReadAt(have, p.Start); n < len(have) {
			return fmt.Errorf("reading %d bytes at offset %d again: %w", p.Length, p.Start, err)
		}
		counts := partition.Extents{p.Extent}
		if !p.table {
			counts = c.inUse(p.Extent)
		}
		for _, u := range counts {
			if i, end := u.Start-p.Start, u.End()-p.Start; !bytes.Equal(have[i:end], p.data[i:end]) {
				return fmt.Errorf("reading %d bytes at offset %d again: they are not what was written", u.Length, u.Start)
			}
		}
	}
	return nil
}

// inUse returns which bytes of e, a part of the target, are in use.
func (c *canvas) inUse(e partition.Extent) partition.Extents {
	if c.used == nil {
		return partition.Extents{e}
	}
	e.Start += c.offset
	return c.used.Within(e).Shift(-c.offset)
}

// discard tells the target which of its bytes are free.
func (c *canvas) discard(free partition.Extents) error {
	d, ok := c.Target.(discarder)
	if !ok {
		return nil
	}
	const align = 4096 // no device discards less
	for _, v := range c.vital {
		free = free.Minus(partition.Extents{v.Extent})
	}
	for _, e := range free {
		start, end := (e.Start+align-1)&^(align-1), e.End()&^(align-1)
		if start >= end {
			continue
		}
		if err := d.Discard(start, end-start); errors.Is(err, errors.ErrUnsupported) {
			return nil // nothing is lost but a hint
		} else if err != nil {
			return fmt.Errorf("discarding %d bytes at offset %d: %w", end-start, start, err)
		}
	}
	return nil
}

// An overlay is a reader with other bytes in some places.
type overlay struct {
	r      io.ReaderAt
	size   int64 // of r in bytes; zeros follow
	pieces []piece
}

// ReadAt implements io.ReaderAt; it always fills p unless r fails.
func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	n := max(0, min(int64(len(p)), o.size-off))
	if got, err := o.r.ReadAt(p[:n], off); int64(got) < n {
		return got, err
	}
	clear(p[n:])
	e := partition.Extent{Start: off, Length: int64(len(p))}
	for _, q := range o.pieces {
		if both := q.Intersect(e); both.Length > 0 {
			copy(p[both.Start-off:both.End()-off], q.data[both.Start-q.Start:])
		}
	}
	return len(p), nil
}
