package image

import (
	"crypto/sha256"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"slipcast/partition"
)

// maxGap is the longest unused gap within a chunk that is read and written
// along with its neighbours, in bytes: a system call costs more.
const maxGap = 64 << 10

// A packer turns chunks into frames. It is used by one goroutine.
type packer struct {
	*capturer
	enc *zstd.Encoder
	raw []byte
}

func newPacker(c *capturer) (*packer, error) {
	enc, err := newEncoder(c.opt.Level, c.m.ChunkSize)
	return &packer{c, enc, make([]byte, c.m.ChunkSize)}, err
}

func (p *packer) close() { _ = p.enc.Close() } // it has no writer to flush

// pack sets the frame of j and its digests, from the disk or from the parent.
func (p *packer) pack(j *job) error {
	if f, ok := p.parentFrame(j.Frame); ok && p.unchanged(j.Extent) {
		return p.inherit(j, f)
	}
	raw := p.raw[:j.Length]
	if err := p.read(raw, j.Start); err != nil {
		return err
	}
	m := p.m
	if isZero(raw) {
		p.packZeros(j, raw)
	} else {
		m.quick[j.Chunk] = quickSum(raw)
		if err := p.packData(j, raw); err != nil {
			return err
		}
	}
	m.frameSums[j.Chunk] = xxhash.Sum64(j.packed)
	return nil
}

// packZeros packs a chunk that is in use but holds nothing but zeros.
func (p *packer) packZeros(j *job, raw []byte) {
	j.kind = zeroChunk
	if j.Length == p.m.ChunkSize {
		p.m.digests[j.Chunk], p.m.quick[j.Chunk] = p.blank.digest, p.blank.quick
		j.packed = append(j.packed[:0], p.blank.frame...)
		return
	}
	p.m.digests[j.Chunk], p.m.quick[j.Chunk] = sha256.Sum256(raw), quickSum(raw)
	var z zeros
	j.packed = z.appendFrame(j.packed[:0], j.Length)
}

func (p *packer) packData(j *job, raw []byte) error {
	ok, err := p.reuse(j)
	if ok || err != nil {
		return err
	}
	p.m.digests[j.Chunk] = sha256.Sum256(raw)
	if cap(j.packed) == 0 {
		j.packed = make([]byte, 0, maxFrameSize(p.m.ChunkSize, p.m.ChunkSize))
	}
	j.kind = compressed
	j.packed = p.enc.EncodeAll(raw, j.packed[:0])
	if len(j.packed) >= len(raw) {
		j.kind = stored
		j.packed = appendStored(j.packed[:0], raw)
	}
	return nil
}

// parentFrame returns the frame of the chunk that the parent has in the place of
// f, if it has one that can be checked without its content.
func (p *packer) parentFrame(f Frame) (Frame, bool) {
	parent := p.opt.Parent
	if parent == nil || parent.frameSums == nil || f.Start >= parent.Manifest.Size {
		return Frame{}, false
	}
	old := parent.FrameAt(f.Start)
	return old, !old.Hole && old.Extent == f.Extent
}

// unchanged reports whether the caller of Capture knows that e is as it is in
// the parent, which has all of it.
func (p *packer) unchanged(e partition.Extent) bool {
	parent := p.opt.Parent
	return p.opt.Changed != nil && !parent.ReadErrors.Touches(e) && sameWithin(p.m.Used, parent.Used, e) && !p.opt.Changed(e)
}

// inherit takes the chunk of j unread from the parent, where it is f.
func (p *packer) inherit(j *job, f Frame) error {
	parent, m := p.opt.Parent, p.m
	m.quick[j.Chunk], m.frameSums[j.Chunk] = parent.quick[f.Chunk], parent.frameSums[f.Chunk]
	if j.Length == m.ChunkSize && parent.digests[f.Chunk] == p.blank.digest {
		p.packZeros(j, nil)
		m.frameSums[j.Chunk] = xxhash.Sum64(j.packed)
		return nil
	}
	return p.copyFrame(j, f)
}

// reuse takes the frame of j, which was read, from the parent if the parent has
// the same chunk in the same place.
func (p *packer) reuse(j *job) (bool, error) {
	f, ok := p.parentFrame(j.Frame)
	if !ok || p.opt.Parent.quick[f.Chunk] != p.m.quick[j.Chunk] {
		return false, nil
	}
	return true, p.copyFrame(j, f)
}

// copyFrame takes the frame of j from the parent, where its chunk is f, if it
// is intact there.
func (p *packer) copyFrame(j *job, f Frame) error {
	parent := p.opt.Parent
	var err error
	if j.packed, err = parent.ReadFrame(f, j.packed); err == nil {
		err = checkFrame(j.packed, f.Length, parent.ChunkSize)
	}
	if err == nil && xxhash.Sum64(j.packed) != parent.frameSums[f.Chunk] {
		err = ErrDigest
	}
	if err != nil {
		return fmt.Errorf("reading the parent image: %w", &ChunkError{f.Chunk, f.Start, err})
	}
	p.m.digests[j.Chunk] = parent.digests[f.Chunk]
	j.kind = reused
	return nil
}

// read fills raw with the chunk at offset start, unused bytes as zeros.
func (p *packer) read(raw []byte, start int64) error {
	place := partition.Extent{Start: start, Length: int64(len(raw))}
	at := start
	for span := range spans(p.m.Used, place) {
		clear(raw[at-start : span.Start-start])
		if err := p.readSpan(raw[span.Start-start:span.End()-start], span.Start); err != nil {
			return err
		}
		at = span.End()
	}
	clear(raw[at-start:])
	clearUnused(raw, start, p.m.Used)
	return nil
}

// readSpan fills buf from offset off; holes of a sparse source are zeros.
func (p *packer) readSpan(buf []byte, off int64) error {
	if p.holes.cover(partition.Extent{Start: off, Length: int64(len(buf))}) {
		clear(buf)
		return nil
	}
	if n, _ := p.src.ReadAt(buf, off); n == len(buf) {
		return nil
	}
	for _, u := range p.m.Used.Within(partition.Extent{Start: off, Length: int64(len(buf))}) {
		if err := p.readPieces(buf[u.Start-off:u.End()-off], u.Start); err != nil {
			return err
		}
	}
	return nil
}

// retrySize is how many bytes are given up at once where a disk cannot be
// read: the physical sector of today's disks.
const retrySize = 4096

// readPieces reads buf, which is in use, piece by piece. Where one cannot be
// read, that is an error, or zeros stand for it.
func (p *packer) readPieces(buf []byte, off int64) error {
	for len(buf) > 0 {
		piece := buf[:min(len(buf), retrySize-int(off%retrySize))]
		if n, err := p.src.ReadAt(piece, off); n < len(piece) {
			if !p.opt.SkipReadErrors {
				return fmt.Errorf("reading %d bytes at offset %d: %w", len(piece), off, err)
			}
			clear(piece)
			p.mu.Lock()
			p.readErrors.Add(off, int64(len(piece)))
			p.mu.Unlock()
		}
		buf, off = buf[len(piece):], off+int64(len(piece))
	}
	return nil
}
