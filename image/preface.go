package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"slipcast/partition"
)

// prefaceStart is the length of what is before the head in a preface.
const prefaceStart = 8

// ErrNoData reports that data was asked for of an image that is known by its
// preface alone.
var ErrNoData = errors.New("the preface of an image holds no data")

// Preface returns the image without its data frames, section 13: about 68
// bytes for each data chunk, and the head. [OpenPreface] reads it.
func (im *Image) Preface() ([]byte, error) {
	head, end := im.offsets[0], im.offsets[len(im.offsets)-1]
	p := make([]byte, prefaceStart+head+im.size-end)
	binary.LittleEndian.PutUint64(p, uint64(im.size))
	start, rest := p[prefaceStart:prefaceStart+head], p[prefaceStart+head:]
	if n, err := im.r.ReadAt(start, 0); n < len(start) {
		return nil, fmt.Errorf("reading the head: %w", streamError(err))
	}
	if n, err := im.r.ReadAt(rest, end); n < len(rest) {
		return nil, fmt.Errorf("reading the tail: %w", streamError(err))
	}
	return p, nil
}

// OpenPreface returns the image whose preface is p. All is checked that [Open]
// checks, with its errors and its bound on memory. The image knows what Open
// tells, but whoever reads data from it gets an error that wraps [ErrNoData].
// It keeps p, which must not be changed.
func OpenPreface(p []byte) (*Image, error) {
	g, err := newGapped(p)
	if err != nil {
		return nil, in("preface", err)
	}
	im, err := Open(g, g.size)
	if errors.Is(err, ErrNoData) {
		err = damaged("tail and seek table are not all there")
	}
	if err != nil {
		return nil, in("preface", err)
	}
	if end := im.offsets[len(im.offsets)-1]; end != g.gap.End() {
		return nil, in("preface", damaged("%d bytes behind the head, want %d", len(g.rest), g.size-end))
	}
	return im, nil
}

// A gapped is an image file of which all is there but a gap: its data.
type gapped struct {
	head, rest []byte
	gap        partition.Extent
	size       int64 // bytes
}

// newGapped divides a preface. Whether the gap is where the data is, only Open
// can tell.
func newGapped(p []byte) (*gapped, error) {
	if len(p) < prefaceStart || !isHead(p[prefaceStart:]) {
		return nil, ErrNotImage
	}
	size, frames := binary.LittleEndian.Uint64(p), p[prefaceStart:]
	if size > math.MaxInt64 || size < uint64(len(frames)) {
		return nil, damaged("%d bytes of an image of %d", len(frames), size)
	}
	head := skippableSize + int64(binary.LittleEndian.Uint32(frames[4:]))
	if head > int64(len(frames)) {
		return nil, damaged("the head is not all there")
	}
	g := &gapped{head: frames[:head], rest: frames[head:], size: int64(size)}
	g.gap = partition.Extent{Start: head, Length: g.size - int64(len(frames))}
	return g, nil
}

// ReadAt implements io.ReaderAt. Of the gap it reads nothing: the error is
// ErrNoData.
func (g *gapped) ReadAt(p []byte, off int64) (n int, err error) {
	if off < g.gap.Start {
		n = copy(p, g.head[off:])
		off += int64(n)
	}
	if n < len(p) && off < g.gap.End() {
		return n, ErrNoData
	}
	if n < len(p) && off < g.size {
		n += copy(p[n:], g.rest[off-g.gap.End():])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
