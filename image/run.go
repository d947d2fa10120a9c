package image

import (
	"context"
	"io"

	"golang.org/x/sync/errgroup"
)

// Restore writes im, or one partition of it, to dst. Chunks are checked before
// they are written, and dst has no valid partition table before all else is on
// it. Stats are meaningful with an error, too.
func Restore(ctx context.Context, im *Image, dst Target, opt RestoreOptions) (RestoreStats, error) {
	r, err := NewRestorer(&im.Manifest, dst, opt)
	if err != nil {
		return RestoreStats{}, err
	}
	defer r.Close()
	if err := r.readImageTable(im); err != nil {
		return RestoreStats{}, err
	}
	err = r.each(ctx, func(h *hand, f Frame) error {
		if r.comparable(f) {
			same, err := r.keep(h, f)
			if err != nil {
				return err
			}
			if same {
				r.progress(f)
				return nil
			}
		}
		var err error
		if h.packed, err = im.ReadFrame(f, h.packed); err != nil {
			return &ChunkError{f.Chunk, f.Start, err}
		}
		return r.put(h, f, h.packed)
	})
	if err != nil {
		return RestoreStats{Written: r.canvas.written.Load()}, err
	}
	return r.Finish(ctx)
}

// readImageTable is ReadTable for an image at hand.
func (r *Restorer) readImageTable(im *Image) error {
	disk, err := NewReader(im)
	if err != nil {
		return err
	}
	defer disk.Close()
	return r.ReadTable(disk)
}

// RestoreStream writes the image that s reads, or one partition of it, to dst.
// A chunk is checked by its frame's checksum before it is written, all of
// them by their digests before dst becomes valid.
func RestoreStream(ctx context.Context, s *Stream, dst Target, opt RestoreOptions) (RestoreStats, error) {
	r, err := NewRestorer(&s.Manifest, dst, opt)
	if err != nil {
		return RestoreStats{}, err
	}
	defer r.Close()
	if err := r.pour(ctx, s); err != nil {
		return RestoreStats{Written: r.canvas.written.Load()}, err
	}
	if err := s.Finish(); err != nil {
		return RestoreStats{Written: r.canvas.written.Load()}, err
	}
	return r.Finish(ctx)
}

// pour puts all chunks of s. The frames are read one after the other and
// unpacked side by side; at most two for each worker are in memory.
func (r *Restorer) pour(ctx context.Context, s *Stream) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(r.opt.Workers)
	free := make(chan []byte, 2*r.opt.Workers)
	for range cap(free) {
		free <- nil
	}
	for gctx.Err() == nil {
		var buf []byte
		select {
		case buf = <-free:
		case <-gctx.Done():
			continue
		}
		f, frame, err := s.Next(buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			g.Go(func() error { return err })
			break
		}
		g.Go(func() error {
			defer func() { free <- frame }()
			if f.Intersect(r.window).Length == 0 {
				return nil
			}
			return r.PutChunk(gctx, f, frame)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
