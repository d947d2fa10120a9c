package depot

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"slipcast/catalog/trust"
	"slipcast/image"
)

// fetchImage brings an image. The catalog says nothing of how its frames are
// compressed: if they do not fit the version file, that may be the one of an origin
// that made it up, and is fetched once more.
func (m *mirror) fetchImage(ctx context.Context, i *trust.ImageTarget) error {
	err := m.tryImage(ctx, i)
	if !isWrong(err) {
		return err
	}
	path := imagePath(refOf(i))
	if err := m.forget(path); err != nil {
		return err
	}
	if _, err := m.versionFile(ctx, i); err != nil {
		return err
	}
	if err = m.tryImage(ctx, i); isWrong(err) {
		err = errors.Join(err, m.forget(path))
	}
	return err
}

// tryImage brings the frames that an image lacks, and adds it. If a frame that
// lay here turns out not to be good, all are looked at and fetched as needed, once.
func (m *mirror) tryImage(ctx context.Context, i *trust.ImageTarget) error {
	a, err := m.arrive(i)
	if err != nil {
		return err
	}
	g, err := newGatherer(m, a)
	if err != nil {
		return err
	}
	defer g.Close()
	if err := g.run(ctx); err != nil {
		return err
	}
	if err = m.add(ctx, a); !isWrong(err) {
		return err
	}
	g.careful = true
	if err := g.run(ctx); err != nil {
		return err
	}
	return m.add(ctx, a)
}

// A gatherer brings the frames of one image. Its buffers are as many as requests
// at a time; frames are unpacked by as many as there are processors.
type gatherer struct {
	m        *mirror
	a        *arriving
	careful  bool // frames that are here are looked at
	checkers chan *image.Checker
	buffers  chan []byte
}

func newGatherer(m *mirror, a *arriving) (*gatherer, error) {
	n := runtime.GOMAXPROCS(0)
	g := &gatherer{m: m, a: a, checkers: make(chan *image.Checker, n), buffers: make(chan []byte, requests)}
	for range n {
		c, err := image.NewChecker(a.ChunkSize)
		if err != nil {
			g.Close()
			return nil, err
		}
		g.checkers <- c
	}
	for range requests {
		g.buffers <- nil
	}
	return g, nil
}

// Close frees what g holds, when nobody works any more.
func (g *gatherer) Close() {
	for range len(g.checkers) {
		(<-g.checkers).Close()
	}
}

// run brings the frames that are not here, each once.
func (g *gatherer) run(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(requests)
	asked := map[image.Digest]struct{}{}
	for f := range g.a.Frames() {
		if f.Hole || !g.careful && g.m.hasFrame(g.a, f) {
			continue
		}
		d := g.a.ChunkDigest(f.Chunk)
		if _, again := asked[d]; again {
			continue
		}
		if gctx.Err() != nil {
			break
		}
		asked[d] = struct{}{}
		group.Go(func() error { return g.frame(gctx, f) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// frame brings one frame.
func (g *gatherer) frame(ctx context.Context, f image.Frame) error {
	if g.careful {
		var good bool
		err := g.checked(func(c *image.Checker) (err error) { good, err = g.m.checkFrame(c, g.a, f); return err })
		if err != nil || good {
			return err
		}
	}
	to := &memorySink{p: <-g.buffers, tell: g.m.came}
	defer func() { g.buffers <- to.p }()
	to.p = slices.Grow(to.p[:0], int(g.a.FrameSize(f)))
	path := framePath(g.a.ChunkDigest(f.Chunk), g.a.ChunkSize)
	err := g.fetch(ctx, f, path, to)
	if isWrong(err) && ctx.Err() == nil { // on the way, maybe
		g.m.opt.lost(to.Len())
		to.p = to.p[:0]
		err = g.fetch(ctx, f, path, to)
	}
	if err != nil {
		return err
	}
	g.m.frames.Add(1)
	return g.m.keep(path, to.p)
}

// fetch fetches a frame and checks it: by the sum that the version file has, and
// adding the image does the rest. If that has found fault, frames are checked by their
// digests here, too, which tells which one it is.
func (g *gatherer) fetch(ctx context.Context, f image.Frame, path string, to *memorySink) error {
	if err := g.m.origin.fetch(ctx, wanted{path: path, size: g.a.FrameSize(f)}, to); err != nil {
		return err
	}
	if want, ok := g.a.FrameSumOf(f); ok && !g.careful {
		if have := image.SumFrame(to.p); have.Sum != want.Sum {
			return wrong("%s: its sum is another one", path)
		}
		return nil
	}
	err := g.checked(func(c *image.Checker) error { return g.a.check(c, f, to.p) })
	if err != nil && !errors.Is(err, ErrWrong) {
		err = wrong("%v", err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// checked lends a Checker.
func (g *gatherer) checked(use func(*image.Checker) error) error {
	c := <-g.checkers
	defer func() { g.checkers <- c }()
	return use(c)
}
