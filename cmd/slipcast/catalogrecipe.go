package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/catalog/bake"
	"slipcast/catalog/trust"
	"slipcast/image/store"
	"slipcast/internal/durable"
)

// A recipeBook is the folder of a store that says which image was baked by
// which recipe: docs/bundles.md, section 10.3.
type recipeBook struct{ dir string }

func newRecipeBook(s *store.Store) recipeBook {
	return recipeBook{filepath.Join(s.Dir(), catalogFolder, "recipes")}
}

// find returns the record of the recipe with this digest, nil if there is none. One that
// cannot be read is none: it is replaced.
func (b recipeBook) find(recipe string) (*bake.Record, error) {
	if recipe == "" {
		return nil, nil
	}
	text, err := readBoundedFile(filepath.Join(b.dir, recipe), bake.MaxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := bake.DecodeRecord(text)
	if errors.Is(err, bake.ErrRecord) {
		return nil, nil
	}
	return r, err
}

// put writes the record of a recipe: it is there whole and on the disk, or not at
// all. Who calls it has the lock.
func (b recipeBook) put(recipe string, r *bake.Record) error {
	text, err := r.Encode()
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(b.dir, recipe), 0o666, text)
}

// lock waits until nobody else bakes for this store, so that a recipe is not baked
// twice at once. Closing the file lets go.
func (b recipeBook) lock(ctx context.Context, env *env) (*os.File, error) {
	if err := os.MkdirAll(b.dir, 0o777); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(filepath.Dir(b.dir)); err != nil {
		return nil, err
	}
	f, err := os.Open(b.dir)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("%s: flock: %w", b.dir, err), f.Close())
		}
		if !told {
			env.say("waiting: another slipcast bakes for this store")
		}
		select {
		case <-time.After(lockStep):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		}
	}
}

// lockStep is how long who waits for the lock sleeps before the next try.
const lockStep = 200 * time.Millisecond

// baked returns what the image in the store was baked from, if it was and there is a
// record of it: the digest of its parent, and the IDs of bundles that the catalog has.
func (b recipeBook) baked(im *store.Image, known []trust.BundleTarget) (parent string, ids []string, err error) {
	origin := im.Assembled.Image.Origin
	r, err := b.find(bake.RecipeOf(origin))
	if err != nil || r == nil || !r.Of(im.Entry.Digest, origin) {
		return "", nil, err
	}
	for _, digest := range r.Bundles {
		i := slices.IndexFunc(known, func(t trust.BundleTarget) bool { return t.Digest == digest })
		if i < 0 {
			return "", nil, fmt.Errorf("%v has a bundle baked in that this catalog does not have, of the digest %s", im.Ref, digest)
		}
		ids = append(ids, known[i].ID())
	}
	return r.Parent, ids, nil
}
