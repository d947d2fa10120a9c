package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// A FrameSum is what the volatile parts of an image say of the frame of a data
// chunk, sections 7 and 8.
type FrameSum struct {
	Size  int64  // of the frame in bytes
	Sum   uint64 // the XXH64 (seed 0) of the frame
	Check uint32 // the frame's own checksum, its last 4 bytes
}

// SumFrame returns the sums of a frame, which must have been checked.
func SumFrame(frame []byte) FrameSum {
	return FrameSum{Size: int64(len(frame)), Sum: xxhash.Sum64(frame), Check: frameChecksum(frame)}
}

// Reframe returns the preface of the image that im becomes if the frame of data
// chunk n is the one that frames[n] tells of: tail and seek table are written
// anew where they speak of frames. The digest stays, and so do sections
// that this version does not know.
func (im *Image) Reframe(frames []FrameSum) ([]byte, error) {
	head, tailAt := make([]byte, im.offsets[0]), im.offsets[len(im.offsets)-1]
	tail := make([]byte, im.size-seekTableSize(im.FrameCount()+2)-tailAt)
	if n, err := im.r.ReadAt(head, 0); n < len(head) {
		return nil, fmt.Errorf("reading the head: %w", streamError(err))
	}
	if n, err := im.r.ReadAt(tail, tailAt); n < len(tail) {
		return nil, fmt.Errorf("reading the tail: %w", streamError(err))
	}
	return im.reframe(head, tail, frames)
}

// keptFrames are the frames of a stream that are no data.
type keptFrames struct{ head, tail bytes.Buffer }

// OpenKept is like [OpenStream], for a stream of which [Stream.Reframe] is
// wanted: head and tail are kept, which takes 56 bytes more for each data chunk.
func OpenKept(r io.Reader) (*Stream, error) { return openStream(r, &keptFrames{}) }

// Reframe is [Image.Reframe] for a stream that [OpenKept] opened and that
// Finish has found to be right. It is called once: it gives away what was kept.
func (s *Stream) Reframe(frames []FrameSum) ([]byte, error) {
	kept := s.kept
	s.kept = nil
	return s.reframe(kept.head.Bytes(), kept.tail.Bytes(), frames)
}

// keepHead returns the stream as the head is read from it.
func (s *Stream) keepHead() io.Reader {
	if s.kept == nil {
		return s.r
	}
	return io.TeeReader(s.r, &s.kept.head)
}

// keepTail returns the stream as the tail is read from it.
func (s *Stream) keepTail() io.Reader {
	if s.kept == nil {
		return s.r
	}
	return io.TeeReader(s.r, &s.kept.tail)
}

// reframe returns the preface of an image with the given head and frames, and
// with tail but for its frame sums. Both have been checked.
func (m *Manifest) reframe(head, tail []byte, frames []FrameSum) ([]byte, error) {
	if len(frames) != m.ChunkCount() {
		return nil, fmt.Errorf("%d frames for %d data chunks", len(frames), m.ChunkCount())
	}
	n := m.FrameCount() + 2
	room := prefaceStart + int64(len(head)+len(tail)+len(frames)*8+sectionHeaderSize) + seekTableSize(n)
	p := make([]byte, prefaceStart, room)
	p = append(p, head...)
	p = appendTail(p, tail, frames)
	size := seekTableSize(n) + int64(len(p)-prefaceStart)
	tailSize := int64(len(p) - prefaceStart - len(head))
	p = appendSeekHeader(p, n)
	p = seekEntry{packed: int64(len(head)), sum: sumOfNothing}.append(p)
	var z zeros
	for f := range m.Frames() {
		e := seekEntry{length: f.Length}
		if f.Hole {
			e.packed, e.sum = zeroFrameSize(f.Length), z.sum(f.Length)
		} else {
			e.packed, e.sum = frames[f.Chunk].Size, frames[f.Chunk].Check
		}
		size += e.packed
		p = e.append(p)
	}
	p = seekEntry{packed: tailSize, sum: sumOfNothing}.append(p)
	binary.LittleEndian.PutUint64(p, uint64(size))
	return appendSeekFooter(p, n), nil
}

// appendTail appends the tail frame with other frame sums. It has been checked,
// so its sections are all there.
func appendTail(dst, tail []byte, frames []FrameSum) []byte {
	const start = skippableSize + tailFixedSize
	e := &encoder{dst}
	at := len(e.b)
	e.b = append(e.b, tail[:start]...)
	d := &decoder{b: tail[start:]}
	done := false
	for len(d.b) > 0 {
		section := d.b
		tag, _, size := d.u16(), d.u16(), d.u32()
		d.take(int(size))
		if tag >= tagFrameSums && !done {
			e.frameSums(frames)
			done = true
		}
		if tag != tagFrameSums {
			e.b = append(e.b, section[:sectionHeaderSize+size]...)
		}
	}
	if !done {
		e.frameSums(frames)
	}
	binary.LittleEndian.PutUint32(e.b[at+4:], uint32(len(e.b)-at-skippableSize))
	return e.b
}

// frameSums appends the section of that name.
func (e *encoder) frameSums(frames []FrameSum) {
	flags, _ := flagsOf(tagFrameSums)
	e.u16(tagFrameSums)
	e.u16(flags)
	e.u32(int64(len(frames)) * 8)
	for _, f := range frames {
		e.u64(f.Sum)
	}
}
