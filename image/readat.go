package image

import (
	"errors"
	"io"
	"sync"

	"slipcast/partition"
)

// decode returns the raw data of a data chunk after checking its quick digest. It
// is decoded into buf; packed is room for the frame, which is returned for
// the next call.
func (im *Image) decode(u *unpacker, f Frame, packed, buf []byte) (raw, room []byte, err error) {
	packed, err = im.ReadFrame(f, packed)
	var quick [quickSize]byte
	if err == nil {
		raw, quick, err = u.decode(packed, f.Length, buf)
	}
	if err == nil && quick != im.quick[f.Chunk] {
		err = ErrDigest
	}
	if err != nil {
		return nil, packed, &ChunkError{f.Chunk, f.Start, err}
	}
	return raw, packed, nil
}

// A Reader gives the disk in an image as raw bytes, unused ones as zeros.
// Every chunk is checked against its quick digest. It keeps the last few chunks in
// memory and is safe for concurrent use.
type Reader struct {
	im *Image

	mu     sync.Mutex
	slots  []slot // the most recently used first
	u      *unpacker
	packed []byte
}

// A slot holds one decoded chunk.
type slot struct {
	chunk int
	raw   []byte
	buf   []byte
}

// readerSlots is how many chunks a Reader keeps.
const readerSlots = 8

// NewReader returns a Reader of the disk in im. Close frees its decoder.
func NewReader(im *Image) (*Reader, error) {
	u, err := newUnpacker(im.ChunkSize, false)
	return &Reader{im: im, u: u}, err
}

// Close frees what the Reader holds. It must not be used afterwards.
func (r *Reader) Close() error {
	r.u.close()
	return nil
}

// Size returns the size of the disk in bytes.
func (r *Reader) Size() int64 { return r.im.Manifest.Size }

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (n int, err error) {
	size := r.Size()
	if off < 0 || off >= size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), size-off)]
	for n < len(p) {
		f := r.im.FrameAt(off + int64(n))
		skip := off + int64(n) - f.Start
		m := int(min(f.Length-skip, int64(len(p)-n)))
		if f.Hole {
			clear(p[n : n+m])
		} else if err := r.copyChunk(f, p[n:n+m], skip); err != nil {
			return n, err
		}
		n += m
	}
	if n < want {
		return n, io.EOF
	}
	return n, nil
}

// copyChunk copies a part of the chunk of f, from skip bytes behind its start.
func (r *Reader) copyChunk(f Frame, p []byte, skip int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.slots {
		if s := r.slots[i]; s.chunk == f.Chunk {
			copy(r.slots[1:i+1], r.slots[:i])
			r.slots[0] = s
			copy(p, s.raw[skip:])
			return nil
		}
	}
	var s slot
	if len(r.slots) < readerSlots {
		s.buf = make([]byte, r.im.ChunkSize)
		r.slots = append(r.slots, slot{})
	} else {
		s = r.slots[readerSlots-1]
	}
	var err error
	s.raw, r.packed, err = r.im.decode(r.u, f, r.packed, s.buf)
	if err != nil {
		r.slots = r.slots[:len(r.slots)-1]
		return err
	}
	s.chunk = f.Chunk
	copy(r.slots[1:], r.slots)
	r.slots[0] = s
	copy(p, s.raw[skip:])
	return nil
}

// readTable reads the partition table from the data and compares it with the
// one that the head describes.
func (m *Manifest) readTable(r io.ReaderAt) (*partition.Table, error) {
	t, err := partition.Read(r, m.Size, m.LogicalSector)
	var bad *ChunkError
	if errors.As(err, &bad) {
		return nil, bad
	}
	if err != nil {
		return nil, damaged("the table in the data: %v", err)
	}
	if !sameTable(m.Table, Table{t.Kind, t.ID, t.Partitions}) {
		return nil, damaged("the table in the data is not the one that the head describes")
	}
	return t, nil
}

func sameTable(a, b Table) bool {
	if a.Kind != b.Kind || a.ID != b.ID || len(a.Partitions) != len(b.Partitions) {
		return false
	}
	for i := range a.Partitions {
		if a.Partitions[i] != b.Partitions[i] {
			return false
		}
	}
	return true
}
