package main

import "slipcast/image"

// An imageSource is an image that a session sends: source frame n is the frame
// of data chunk n. It implements multicast.Source.
type imageSource struct {
	im      *image.Image
	preface []byte
}

func newImageSource(im *image.Image) (*imageSource, error) {
	preface, err := im.Preface()
	return &imageSource{im, preface}, err
}

// Preface implements multicast.Source.
func (s *imageSource) Preface() []byte { return s.preface }

// Frames implements multicast.Source.
func (s *imageSource) Frames() int { return s.im.ChunkCount() }

// FrameSize implements multicast.Source.
func (s *imageSource) FrameSize(n int) int { return int(s.im.FrameSize(s.im.Chunk(n))) }

// ReadFrame implements multicast.Source. What the frame holds is checked by
// those who receive it.
func (s *imageSource) ReadFrame(n int, buf []byte) ([]byte, error) {
	f := s.im.Chunk(n)
	p, err := s.im.ReadFrame(f, buf)
	if err != nil {
		return p, &image.ChunkError{Index: f.Chunk, Offset: f.Start, Err: err}
	}
	return p, nil
}
