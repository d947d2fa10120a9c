package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"slipcast/image"
)

// AddOptions say how an image comes into a store. The zero value is the default.
type AddOptions struct {
	Version string // empty for the next whole number
	Workers int    // chunks that are worked on side by side; 0 is one for each processor

	// Near is a folder in the file system of the store with frames that lie there
	// as FrameName says. What the store lacks and is there is not written once more,
	// but becomes the store's: nobody may write to these files any more. Empty for none.
	Near string

	// Progress is told how many of the bytes in use have been dealt with
	// since the last call. It may be called from several goroutines.
	Progress func(bytes int64)
}

// An Added tells what an Add did.
type Added struct {
	Entry
	Chunks  int   // data chunks of the image
	New     int   // frames that the store did not have
	Written int64 // bytes of these
}

// Add brings im into the store as a new version of name. Every chunk is checked
// against its digests and the table against the data before the version is
// there; frames that the store has are read and compared, but not
// written again. Then the version is there as a whole and on the disk. An error leaves
// the store as it was, as does the end of the process at any moment.
//
// An error wraps [ErrExists] if the version is there, [image.ErrDamaged] if im
// is not good. At most two frames and a chunk for each worker are in memory, and 48
// bytes for each data chunk.
func (s *Store) Add(ctx context.Context, im *image.Image, name string, opt AddOptions) (Added, error) {
	ad, err := s.newAdder(ctx, &im.Manifest, name, opt)
	if err != nil {
		return Added{}, err
	}
	defer ad.end()
	if err := ad.read(ctx, im); err != nil {
		return Added{}, err
	}
	return ad.commit(ctx, im.Reframe)
}

// AddStream is Add for an image that is read from front to back. Nothing of it is
// kept twice, and it needs no room besides. Who wants to call off a Read of r does
// that there: ctx is looked at between frames.
func (s *Store) AddStream(ctx context.Context, r io.Reader, name string, opt AddOptions) (Added, error) {
	stream, err := image.OpenKept(r)
	if err != nil {
		return Added{}, err
	}
	ad, err := s.newAdder(ctx, &stream.Manifest, name, opt)
	if err != nil {
		return Added{}, err
	}
	defer ad.end()
	if err := ad.pour(ctx, stream); err != nil {
		return Added{}, err
	}
	if err := stream.Finish(); err != nil {
		return Added{}, err
	}
	if err := ad.checkAll(); err != nil {
		return Added{}, err
	}
	return ad.commit(ctx, stream.Reframe)
}

// An adder is one Add under way.
type adder struct {
	*adding
	m    *image.Manifest
	ref  Ref
	opt  AddOptions
	pool chan *hand

	sums    []image.FrameSum  // by data chunk
	chunks  []image.ChunkSums // by data chunk, of a stream
	fresh   atomic.Int64
	written atomic.Int64
}

func (s *Store) newAdder(ctx context.Context, m *image.Manifest, name string, opt AddOptions) (*adder, error) {
	ad := &adder{m: m, ref: Ref{name, opt.Version}, opt: opt, sums: make([]image.FrameSum, m.ChunkCount())}
	if err := ad.ref.check(); err != nil {
		return nil, err
	}
	if ad.opt.Workers <= 0 {
		ad.opt.Workers = runtime.GOMAXPROCS(0)
	}
	if ad.opt.Progress == nil {
		ad.opt.Progress = func(int64) {}
	}
	if opt.Version != "" { // before hours of work; commit asks again
		if _, err := s.peek(ad.ref); err == nil {
			return nil, fmt.Errorf("%v: %w", ad.ref, ErrExists)
		}
	}
	var err error
	if ad.adding, err = s.begin(ctx, m.ChunkSize); err != nil {
		return nil, err
	}
	ad.near = opt.Near
	ad.pool = make(chan *hand, ad.opt.Workers)
	for range ad.opt.Workers {
		h, err := newHand(m.ChunkSize)
		if err != nil {
			ad.end()
			return nil, err
		}
		ad.pool <- h
	}
	return ad, nil
}

// end frees what the adder holds, when no worker is left.
func (ad *adder) end() {
	for range len(ad.pool) {
		(<-ad.pool).Close()
	}
	ad.adding.end()
}

// read takes all chunks of im.
func (ad *adder) read(ctx context.Context, im *image.Image) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(ad.opt.Workers)
	for f := range im.Frames() {
		if f.Hole {
			continue
		}
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error { return ad.readChunk(im, f) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (ad *adder) readChunk(im *image.Image, f image.Frame) (err error) {
	h := <-ad.pool
	defer func() { ad.pool <- h }()
	if h.packed, err = im.ReadFrame(f, h.packed); err != nil {
		return &image.ChunkError{Index: f.Chunk, Offset: f.Start, Err: err}
	}
	c, err := h.Check(ad.m, f, h.packed)
	if err != nil {
		return err
	}
	if !ad.m.HasChunk(f.Chunk, c) {
		return &image.ChunkError{Index: f.Chunk, Offset: f.Start, Err: image.ErrDigest}
	}
	return ad.take(h, f, c.Digest, h.packed)
}

// take keeps the frame of the chunk f, which has been checked.
func (ad *adder) take(h *hand, f image.Frame, d image.Digest, frame []byte) error {
	sum, written, err := ad.keep(h, d, frame)
	if err != nil {
		return &image.ChunkError{Index: f.Chunk, Offset: f.Start, Err: err}
	}
	ad.sums[f.Chunk] = sum
	if written {
		ad.fresh.Add(1)
		ad.written.Add(int64(len(frame)))
	}
	ad.opt.Progress(ad.m.UsedIn(f.Extent))
	return nil
}

// pour takes all chunks of a stream. Frames are read one after the other and
// dealt with side by side; at most two for each worker are in memory.
func (ad *adder) pour(ctx context.Context, s *image.Stream) error {
	ad.chunks = make([]image.ChunkSums, ad.m.ChunkCount())
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(ad.opt.Workers)
	free := make(chan []byte, 2*ad.opt.Workers)
	for range cap(free) {
		free <- nil
	}
	var readErr error
	for gctx.Err() == nil && readErr == nil {
		var f image.Frame
		var frame []byte
		if f, frame, readErr = s.Next(<-free); readErr != nil { // whoever has a frame gives it back
			break
		}
		g.Go(func() error {
			defer func() { free <- frame }()
			return ad.pourChunk(f, frame)
		})
	}
	err := g.Wait()
	switch {
	case err != nil:
		return err
	case readErr != nil && !errors.Is(readErr, io.EOF):
		return readErr
	}
	return ctx.Err()
}

func (ad *adder) pourChunk(f image.Frame, frame []byte) error {
	h := <-ad.pool
	defer func() { ad.pool <- h }()
	c, err := h.Check(ad.m, f, frame)
	if err != nil {
		return err
	}
	ad.chunks[f.Chunk] = c
	return ad.take(h, f, c.Digest, frame)
}

// checkAll compares the chunks of a stream with its digests, which are known
// now.
func (ad *adder) checkAll() error {
	for n, c := range ad.chunks {
		if !ad.m.HasChunk(n, c) {
			return &image.ChunkError{Index: n, Offset: ad.m.Chunk(n).Start, Err: image.ErrDigest}
		}
	}
	return nil
}

// commit makes the version. First the frames are on the disk, then their names,
// then the version. reframe gives the preface for the frames that are there.
func (ad *adder) commit(ctx context.Context, reframe func([]image.FrameSum) ([]byte, error)) (Added, error) {
	if err := ad.s.flush(); err != nil {
		return Added{}, err
	}
	l, err := ad.s.lock(ctx, frameLock, unix.LOCK_SH) // from here on no frame goes away
	if err != nil {
		return Added{}, err
	}
	defer l.Close()
	if err := ad.publish(ctx, ad.m, ad.sums); err != nil {
		return Added{}, err
	}
	if err := ad.s.flush(); err != nil {
		return Added{}, err
	}
	preface, err := reframe(ad.sums)
	if err != nil {
		return Added{}, err
	}
	im, err := ad.s.checkPreface(preface)
	if err != nil {
		return Added{}, err
	}
	e, err := ad.enter(ctx, preface, im)
	return Added{e, len(ad.sums), int(ad.fresh.Load()), ad.written.Load()}, err
}

// checkPreface reads the image as it is in the store, and its table.
func (s *Store) checkPreface(preface []byte) (*image.Image, error) {
	frames := newFrameFiles(s)
	defer frames.close()
	im, err := image.Assemble(preface, frames)
	if err != nil {
		return nil, err
	}
	frames.chunkSize = im.ChunkSize
	return im.Image, im.CheckTable()
}
