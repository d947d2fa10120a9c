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

// pack reads the chunk of j and sets its frame and its digests.
func (p *packer) pack(j *job) error {
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

// reuse takes the frame of j from the parent if the parent has the same chunk
// in the same place and its frame is intact.
func (p *packer) reuse(j *job) (bool, error) {
	parent := p.opt.Parent
	if parent == nil || j.Start >= parent.Manifest.Size {
		return false, nil
	}
	f := parent.FrameAt(j.Start)
	if f.Hole || f.Extent != j.Extent || parent.quick[f.Chunk] != p.m.quick[j.Chunk] || parent.frameSums == nil {
		return false, nil
	}
	var err error
	if j.packed, err = parent.ReadFrame(f, j.packed); err != nil {
		return false, fmt.Errorf("reading the parent image: %w", &ChunkError{f.Chunk, f.Start, err})
	}
	if err = checkFrame(j.packed, f.Length, parent.ChunkSize); err == nil && xxhash.Sum64(j.packed) != parent.frameSums[f.Chunk] {
		err = ErrDigest
	}
	if err != nil {
		return false, fmt.Errorf("reading the parent image: %w", &ChunkError{f.Chunk, f.Start, err})
	}
	p.m.digests[j.Chunk] = parent.digests[f.Chunk]
	j.kind = reused
	return true, nil
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
