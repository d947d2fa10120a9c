package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"slipcast/image"
	"slipcast/multicast"
)

// An imageSink writes the image that a session brings to a target. It
// implements multicast.Sink; Close follows whatever the session came to.
type imageSink struct {
	*overwrite
	digest  []byte // of the image that was offered
	annex   multicast.Annex
	bundles *bundleSink // that keeps the annex; nil for nobody
	view    *receiveView

	im       *image.Image
	restorer *image.Restorer // nil before Prepare
	stats    image.RestoreStats
	part     error // what was not done though the image is on the target
}

var (
	_ multicast.Source = (*imageSource)(nil)
	_ multicast.Sink   = (*imageSink)(nil)
)

// Prepare implements multicast.Sink. Nothing is written yet; a file without a
// size gets one.
func (s *imageSink) Prepare(ctx context.Context, preface []byte) (multicast.Plan, error) {
	var err error
	if s.im, err = image.OpenPreface(preface); err != nil {
		return multicast.Plan{}, err
	}
	if !bytes.Equal(s.im.Digest[:], s.digest) {
		return multicast.Plan{}, fmt.Errorf("%w: its digest is %s, the sender offered %x", image.ErrDamaged, s.im.Digest, s.digest)
	}
	s.m = &s.im.Manifest
	if err := s.checkFit(); err != nil {
		return multicast.Plan{}, err
	}
	if err := s.compare(ctx); err != nil {
		return multicast.Plan{}, err
	}
	return s.annexed(multicast.Plan{
		Sizes: func(n int) int { return int(s.im.FrameSize(s.im.Chunk(n))) },
		Lacks: s.restorer.Lacks,
		Name:  s.im.Digest[:],
	}), nil
}

// annexed adds to the plan of an image what is wanted of the annex.
func (s *imageSink) annexed(p multicast.Plan) multicast.Plan {
	if s.bundles == nil || s.annex.Frames == 0 {
		return p
	}
	if err := s.bundles.prepare(s.annex); err != nil {
		s.view.warn("bundles", fmt.Sprintf("none comes with the image: %v", err))
		s.bundles.Close()
		s.bundles = nil
		return p
	}
	s.view.expect(s.bundles.lacking())
	chunks, image := s.im.ChunkCount(), p
	p.Annex = true
	p.Sizes = func(n int) int {
		if n >= chunks {
			return s.bundles.list.size(n - chunks)
		}
		return image.Sizes(n)
	}
	p.Lacks = func(n int) bool {
		if n >= chunks {
			return s.bundles.lacks(n - chunks)
		}
		return image.Lacks(n)
	}
	return p
}

// compare finds out what the target lacks.
func (s *imageSink) compare(ctx context.Context) error {
	opt := s.options()
	opt.Resume = true
	opt.Progress, opt.Stage = s.view.add, s.view.stage
	if err := s.overwrite.prepare(&opt); err != nil {
		return err
	}
	var err error
	if s.restorer, err = image.NewRestorer(s.m, s.target, opt); err != nil {
		return err
	}
	if err := s.restorer.Compare(ctx); err != nil {
		return err
	}
	chunks, bytes := s.restorer.Left()
	if s.restorer.Resumed() {
		s.view.say("%s: goes on where it was cut short: %d of %s are there", s.dst, s.m.ChunkCount()-chunks, count(s.m.ChunkCount(), "chunk"))
	}
	s.view.receive(bytes)
	return nil
}

// PutFrame implements multicast.Sink.
func (s *imageSink) PutFrame(ctx context.Context, n int, frame []byte) error {
	if chunks := s.m.ChunkCount(); s.bundles != nil && n >= chunks && n < chunks+s.annex.Frames {
		s.bundles.put(ctx, n-chunks, frame)
		s.view.add(int64(len(frame)))
		return nil
	}
	if n < 0 || n >= s.m.ChunkCount() {
		return fmt.Errorf("%w: frame %d of %d", multicast.ErrBadFrame, n, s.m.ChunkCount())
	}
	err := s.restorer.PutChunk(ctx, s.m.Chunk(n), frame)
	if errors.Is(err, image.ErrDamaged) {
		return fmt.Errorf("%w: %w", multicast.ErrBadFrame, err)
	}
	return err
}

// Finish implements multicast.Sink. What cannot be done once the image is on
// the target, such as growing a file system, does not make the session fail.
func (s *imageSink) Finish(ctx context.Context) error {
	err := s.target.begin()
	if err != nil {
		return err
	}
	if s.stats, err = s.restorer.Finish(ctx); err != nil {
		return err
	}
	s.restored = true
	s.view.finish()
	s.noteCut(s.stats)
	s.part = s.after(ctx, s.stats)
	return nil
}

// Close frees what Prepare took. No other method may be running.
func (s *imageSink) Close() {
	s.bundles.Close()
	if s.restorer != nil {
		s.restorer.Close()
	}
}
