package image

import (
	"errors"
	"io"
	"sort"
	"sync"
)

// A FrameSource has the frames of data chunks, by the digests of the chunks. It
// is safe for concurrent use.
type FrameSource interface {
	// ReadFrame fills p with what lies at offset off of the frame of the
	// chunk with digest d. The frame has size bytes, and p ends within it; a
	// source whose frame has another size returns an error.
	ReadFrame(d Digest, size int64, p []byte, off int64) error
}

// An Assembled is an image whose data frames lie elsewhere than its preface. It
// is the image file as well: ReadAt gives the very bytes of the .img.zst,
// [Image.Size] of them. It is safe for concurrent use.
type Assembled struct {
	*Image
	around *gapped
	frames FrameSource

	mu    sync.Mutex
	zeros zeros
}

// Assemble returns the image whose preface is p and whose data frames are those
// of src. The preface is checked like [OpenPreface] does. Assemble keeps p, which must not be
// changed; it holds nothing that must be closed.
func Assemble(p []byte, src FrameSource) (*Assembled, error) {
	bare, err := OpenPreface(p)
	if err != nil {
		return nil, err
	}
	a := &Assembled{around: bare.r.(*gapped), frames: src}
	im := *bare
	im.r = a
	a.Image = &im
	return a, nil
}

// ReadAt implements io.ReaderAt.
func (a *Assembled) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("an offset before the start")
	}
	for n < len(p) && off+int64(n) < a.size {
		m, err := a.readSome(p[n:], off+int64(n))
		if err != nil {
			return n, err // who reads a frame adds which
		}
		n += m
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readSome reads what lies at off, which is in the file, and behind it up to the
// end of the frame.
func (a *Assembled) readSome(p []byte, off int64) (int, error) {
	gap := a.around.gap
	if off < gap.Start {
		p = p[:min(int64(len(p)), gap.Start-off)]
		return a.around.ReadAt(p, off)
	}
	if off >= gap.End() {
		p = p[:min(int64(len(p)), a.size-off)]
		return a.around.ReadAt(p, off)
	}
	f := a.frameAtOffset(off)
	size, skip := a.FrameSize(f), off-a.offsets[f.Number]
	p = p[:min(int64(len(p)), size-skip)]
	if f.Hole {
		return copy(p, a.holeFrame(f.Length)[skip:]), nil
	}
	return len(p), a.frames.ReadFrame(a.digests[f.Chunk], size, p, skip)
}

// holeFrame returns the frame of a piece of a hole.
func (a *Assembled) holeFrame(length int64) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.zeros.appendFrame(nil, length)
}

// frameAtOffset returns the data frame that lies at off of the file, which must
// be where data frames lie.
func (im *Image) frameAtOffset(off int64) Frame {
	number := sort.Search(len(im.offsets), func(i int) bool { return im.offsets[i] > off }) - 1
	r := &im.runs[im.runOf(number)]
	return r.at(number-r.frame, im.ChunkSize)
}
