package multicast

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// fetchers is how many frames are fetched at a time, and how many more wait
// until they are put.
const fetchers = 3

// fetchAll fetches what must be fetched, until ctx ends.
func (v *visit) fetchAll(ctx context.Context) error {
	x := v.x
	f := newFetcher(x.ports.connect, v.from, v.print[:], v.offer.token)
	defer f.close()
	g, gctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(gctx, func() { // that of ctx could be called before gctx ends
		x.mu.Lock()
		defer x.mu.Unlock()
		x.wanted.Broadcast()
	})
	defer stop()
	for range fetchers {
		g.Go(func() error {
			for {
				frame, size, ok := x.toFetch(gctx)
				if !ok {
					return nil
				}
				data, err := f.fetch(gctx, frame, size, nil)
				x.bring(frame, data)
				if err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// toFetch waits for a frame that must be fetched. It returns false when ctx
// has ended or the reception has.
func (x *reception) toFetch(ctx context.Context) (frame, size int, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		if ctx.Err() != nil || x.stopped {
			return 0, 0, false
		}
		if x.brought < fetchers {
			if frame := x.nextFetch(); frame >= 0 {
				x.fetching[frame] = true
				return frame, x.asm.size(frame), true
			}
		}
		x.wanted.Wait()
	}
}

// nextFetch returns the next frame that must be fetched and is not, -1 if there
// is none. x.mu is held.
func (x *reception) nextFetch() int {
	if !x.byHTTPS {
		for f := range x.failures {
			if x.isMistrusted(f) && x.asm.lacks.has(f) && !x.fetching[f] {
				return f
			}
		}
		return -1
	}
	for f := x.asm.lacks.next(0); f >= 0; f = x.asm.lacks.next(f + 1) {
		if !x.fetching[f] && f < x.asm.known {
			return f
		}
	}
	return -1
}

// isMistrusted tells whether a frame has come wrong so often that it must be
// fetched. x.mu is held.
func (x *reception) isMistrusted(frame int) bool { return x.failures[frame] >= mistrust }

// bring gives a frame that was fetched to the workers, unless it is nil, or has
// come by multicast meanwhile.
func (x *reception) bring(frame int, data []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.fetching, frame)
	if data == nil || !x.asm.lacks.remove(frame) {
		return
	}
	if s := x.asm.open[uint32(frame)]; s != nil {
		x.asm.drop(s)
	}
	x.brought++
	x.enqueue(&parcel{frame: frame, data: data})
}
