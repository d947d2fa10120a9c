package main

import "slipcast/image"

// An imageSource is an image that a session sends: source frame n is the frame
// of data chunk n. Files may follow. It implements multicast.Source.
type imageSource struct {
	im      *image.Image
	preface []byte
	annex   *imageAnnex // nil for none
}

func newImageSource(im *image.Image) (*imageSource, error) {
	preface, err := im.Preface()
	return &imageSource{im: im, preface: preface}, err
}

// Preface implements multicast.Source.
func (s *imageSource) Preface() []byte { return s.preface }

// Frames implements multicast.Source.
func (s *imageSource) Frames() int {
	if s.annex == nil {
		return s.im.ChunkCount()
	}
	return s.im.ChunkCount() + s.annex.frames()
}

// FrameSize implements multicast.Source.
func (s *imageSource) FrameSize(n int) int {
	if chunks := s.im.ChunkCount(); n >= chunks {
		return s.annex.size(n - chunks)
	}
	return int(s.im.FrameSize(s.im.Chunk(n)))
}

// ReadFrame implements multicast.Source. What the frame holds is checked by
// those who receive it.
func (s *imageSource) ReadFrame(n int, buf []byte) ([]byte, error) {
	if chunks := s.im.ChunkCount(); n >= chunks {
		return s.annex.read(n-chunks, buf), nil
	}
	f := s.im.Chunk(n)
	p, err := s.im.ReadFrame(f, buf)
	if err != nil {
		return p, &image.ChunkError{Index: f.Chunk, Offset: f.Start, Err: err}
	}
	return p, nil
}
