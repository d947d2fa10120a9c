package image

import (
	"context"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"
)

// sideBySide calls do for every item from workers goroutines, in the items'
// order as far as that goes, and returns the first error. An item waits for no
// goroutine to start: at less than half a millisecond for a chunk, that would
// leave a processor idle for a third of the time.
func sideBySide[T any](ctx context.Context, workers int, items iter.Seq[T], do func(T) error) error {
	next, stop := iter.Pull(items)
	defer stop()
	var mu sync.Mutex
	take := func() (T, bool) {
		mu.Lock()
		defer mu.Unlock()
		return next()
	}
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			for ctx.Err() == nil {
				item, ok := take()
				if !ok {
					return nil
				}
				if err := do(item); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}
