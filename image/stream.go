package image

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
)

// A Stream is an image that is read from front to back. The digests are known
// only at its end: [Stream.Finish].
type Stream struct {
	Manifest
	r      *bufio.Reader
	sum    hash.Hash // what counts for the digest of the image so far
	frames *frameCursor
	read   int // data frames that were read
	seek   *seekSum
	zeros  zeros
	kept   *keptFrames // nil unless head and tail are kept
}

// OpenStream reads the head of an image from r. It returns an error that wraps
// [ErrNotImage] or [ErrDamaged], or one of r.
func OpenStream(r io.Reader) (*Stream, error) { return openStream(r, nil) }

func openStream(r io.Reader, kept *keptFrames) (*Stream, error) {
	s := &Stream{r: bufio.NewReaderSize(r, 256<<10), sum: sha256.New(), seek: newSeekSum(), kept: kept}
	m, size, err := readHead(s.keepHead(), s.sum)
	if err != nil {
		return nil, err
	}
	s.Manifest = *m
	s.frames = newFrameCursor(&s.Manifest)
	s.seek.add(seekEntry{packed: size, sum: sumOfNothing})
	return s, nil
}

// Next reads the next data chunk's frame into buf, which it grows as needed,
// passing over holes. Behind the last chunk it returns io.EOF. The frame's
// form has been checked, its contents have not.
func (s *Stream) Next(buf []byte) (Frame, []byte, error) {
	for s.read < s.FrameCount() {
		f := s.frames.next()
		s.read++
		buf, err := s.readFrame(f, buf)
		if err != nil {
			return f, buf, &FrameError{Offset: f.Start, Err: err}
		}
		s.seek.add(seekEntry{int64(len(buf)), f.Length, frameChecksum(buf)})
		if !f.Hole {
			return f, buf, nil
		}
	}
	return Frame{}, buf, io.EOF
}

func (s *Stream) readFrame(f Frame, buf []byte) ([]byte, error) {
	if !f.Hole {
		return readFrame(s.r, buf, f.Length, s.ChunkSize)
	}
	want := s.zeros.appendFrame(nil, f.Length)
	buf, err := readMore(s.r, buf[:0], len(want))
	if err == nil && !bytes.Equal(buf, want) {
		err = damaged("not the frame of a hole")
	}
	return buf, err
}

// Finish reads what follows the data and checks it: now the digests are
// known. It must be called after Next has returned io.EOF.
func (s *Stream) Finish() error {
	size, err := s.readTail(s.keepTail(), s.sum)
	if err != nil {
		return in("tail", err)
	}
	s.seek.add(seekEntry{packed: size, sum: sumOfNothing})
	table := newSeekSum()
	err = readSeekTable(s.r, s.FrameCount()+2, func(e seekEntry) error { table.add(e); return nil })
	if err == nil && table.h.Sum64() != s.seek.h.Sum64() {
		err = damaged("does not tell what the frames are")
	}
	if err == nil {
		if _, err = s.r.ReadByte(); err == nil {
			err = damaged("something follows it")
		} else if err == io.EOF {
			err = nil
		}
	}
	return in("seek table", err)
}
