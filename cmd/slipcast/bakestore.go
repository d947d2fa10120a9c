package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"slipcast/catalog/bake"
	"slipcast/image/store"
	"slipcast/internal/progress"
)

// once bakes, unless the store has an image of that recipe.
func (b *baking) once(ctx context.Context, how bake.Options) error {
	recipe, digest, err := b.recipe(how)
	if err != nil {
		return err
	}
	book := newRecipeBook(b.store)
	lock, err := book.lock(ctx, b.env)
	if err != nil {
		return err
	}
	defer lock.Close()
	record, err := book.find(digest)
	if err != nil {
		return err
	}
	if record != nil {
		switch added, found, err := b.known(ctx, record); {
		case err != nil:
			return err
		case found:
			b.tell(digest, added, nil)
			return nil
		}
	}
	added, baked, err := b.bake(ctx, how)
	if err != nil {
		return err
	}
	if err := book.put(digest, bake.NewRecord(recipe, added.Name, added.Version, added.Digest.String())); err != nil {
		return fmt.Errorf("%v is in the store, but not in its book of recipes: %w", added.Ref, err)
	}
	b.tell(digest, added, baked)
	return nil
}

// known finds the image of a record in the store. If it has another name there, it gets
// this one as well, without being written again.
func (b *baking) known(ctx context.Context, r *bake.Record) (added store.Added, found bool, err error) {
	list, err := b.store.List()
	if err != nil {
		return added, false, err
	}
	var other *store.Entry
	for i := len(list) - 1; i >= 0; i-- {
		e := &list[i]
		switch {
		case e.Digest.String() != r.Digest:
		case e.Name == b.name:
			return store.Added{Entry: *e}, true, nil
		default:
			other = e
		}
	}
	if other == nil {
		return added, false, nil
	}
	im, err := b.store.OpenImage(other.Ref)
	if err != nil {
		return added, false, err
	}
	defer im.Close()
	added, err = b.store.Add(ctx, im.Assembled.Image, b.name, store.AddOptions{})
	return added, err == nil, err
}

// bake bakes straight into the store.
func (b *baking) bake(ctx context.Context, how bake.Options) (added store.Added, baked *bake.Baked, err error) {
	meters := &bakeMeters{env: b.env, totals: map[bake.Stage]int64{bake.Applying: b.payload, bake.Capturing: b.parent.Used.Size()}}
	how.Progress = meters.add
	r, w := io.Pipe()
	gctx, cancel := context.WithCancelCause(ctx) // the first error is the cause of the other one
	var g sync.WaitGroup
	g.Go(func() {
		var err error
		if baked, err = bake.Bake(gctx, w, b.parent.Image, b.steps, how); err != nil {
			cancel(err)
		}
		w.CloseWithError(err) // without one, the image ends
	})
	g.Go(func() {
		var err error
		if added, err = b.store.AddStream(gctx, r, b.name, store.AddOptions{}); err != nil {
			cancel(err)
		}
		r.CloseWithError(err)
	})
	g.Wait()
	err = context.Cause(gctx)
	cancel(nil)
	meters.done(err)
	return added, baked, err
}

// tell tells what was baked; baked is nil if the image was there already.
func (b *baking) tell(recipe string, added store.Added, baked *bake.Baked) {
	var ids []string
	for _, s := range b.plan.Steps {
		ids = append(ids, s.Bundle)
	}
	title := fmt.Sprintf("baked %s into %s as %v in %s", count(len(ids), "bundle"), b.source, added.Ref, progress.Duration(time.Since(b.began)))
	if baked == nil {
		title = fmt.Sprintf("%v is that already: the same bundles in the same image", added.Ref)
	}
	b.env.sum(title, fact{"new", fmt.Sprintf("%s, %s", count(added.New, "chunk"), progress.Bytes(added.Written))}, fact{"digest", added.Digest.String()})
	o := map[string]any{
		"type": "baked", "source": b.source, "parent": b.parent.Digest.String(), "bundles": list(ids), "digest": added.Digest.String(), "new": baked != nil,
		"name": added.Name, "version": added.Version, "recipe": recipe, "new_chunks": added.New, "written_bytes": added.Written,
		"seconds": time.Since(b.began).Seconds(),
	}
	b.env.result(o, false)
}

// bakeMeters show the stages of a bake, one after the other. It is safe for concurrent use.
type bakeMeters struct {
	env    *env
	totals map[bake.Stage]int64

	mu    sync.Mutex
	stage bake.Stage
	meter *progress.Meter
}

// add adds bytes that were done.
func (m *bakeMeters) add(stage bake.Stage, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.meter == nil || stage != m.stage {
		m.end(nil)
		m.stage, m.meter = stage, m.env.meter(string(stage), map[bake.Stage]string{bake.Applying: "apply", bake.Capturing: "capture"}[stage], m.totals[stage])
	}
	m.meter.Add(bytes)
}

// done ends the last stage.
func (m *bakeMeters) done(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(err)
}

func (m *bakeMeters) end(err error) {
	if m.meter != nil {
		m.meter.Done(err)
		m.meter = nil
	}
}
