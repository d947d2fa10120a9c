package bundle

import (
	"context"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// A packer writes a stream in the zstd seekable format. Frames are compressed
// side by side; at most workers+2 are in memory. It is used by one goroutine,
// which must call finish.
type packer struct {
	enc    *zstd.Encoder
	g      *errgroup.Group
	ctx    context.Context // ends when something has failed
	queue  chan chan packed
	raw    []byte // not a whole frame yet
	frames []frame
	w      io.Writer
}

// packed is a frame that is ready to be written.
type packed struct {
	frame
	data []byte
}

func newPacker(ctx context.Context, w io.Writer, workers int) (*packer, error) {
	enc, err := newEncoder(workers)
	if err != nil {
		return nil, err
	}
	p := &packer{enc: enc, queue: make(chan chan packed, workers), w: w}
	p.g, p.ctx = errgroup.WithContext(ctx)
	p.g.Go(p.writeInOrder)
	return p, nil
}

// Write implements io.Writer.
func (p *packer) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if p.raw == nil {
			p.raw = make([]byte, 0, frameSize)
		}
		part := b[:min(len(b), frameSize-len(p.raw))]
		p.raw = append(p.raw, part...)
		b = b[len(part):]
		if len(p.raw) == frameSize {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush has what is in p.raw compressed and written.
func (p *packer) flush() error {
	raw, done := p.raw, make(chan packed, 1)
	p.raw = nil
	select {
	case p.queue <- done:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	p.g.Go(func() error {
		data := p.enc.EncodeAll(raw, nil)
		done <- packed{frame{uint32(len(data)), uint32(len(raw)), checksum(raw)}, data}
		return nil
	})
	return nil
}

// writeInOrder writes the frames as they become ready.
func (p *packer) writeInOrder() error {
	for done := range p.queue {
		var f packed
		select {
		case f = <-done:
		case <-p.ctx.Done():
			return context.Cause(p.ctx)
		}
		if _, err := p.w.Write(f.data); err != nil {
			return err
		}
		p.frames = append(p.frames, f.frame)
	}
	return nil
}

// finish ends the stream, which has failed if cause is not nil, and writes the
// seek table. It returns the first error that there was.
func (p *packer) finish(cause error) error {
	if cause == nil && len(p.raw) > 0 {
		cause = p.flush()
	}
	close(p.queue)
	err := p.g.Wait()
	if err == nil {
		err = cause
	}
	if e := p.enc.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	_, err = p.w.Write(appendSeekTable(nil, p.frames))
	return err
}
