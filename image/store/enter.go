package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/image"
	"slipcast/internal/durable"
)

// enter gives the image with that preface its name and version. All that it
// needs is in the store.
func (ad *adder) enter(ctx context.Context, preface []byte, im *image.Image) (Entry, error) {
	l, err := ad.s.lock(ctx, imageLock, unix.LOCK_EX)
	if err != nil {
		return Entry{}, err
	}
	defer l.Close()
	r, order, err := ad.s.next(ad.ref)
	if err != nil {
		return Entry{}, err
	}
	v := version{order: order, added: max(time.Now().Unix(), 0), preface: preface}
	own := filepath.Join(ad.dir, "version")
	if err := writeSynced(own, v.append(nil)); err != nil {
		return Entry{}, err
	}
	place := ad.s.versionPath(r)
	if err := os.MkdirAll(filepath.Dir(place), 0o777); err != nil {
		return Entry{}, err
	}
	if err := os.Link(own, place); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%v: %w", r, ErrExists)
		}
		return Entry{}, err
	}
	for _, dir := range []string{filepath.Dir(place), ad.s.path(imagesName)} {
		if err := durable.SyncDir(dir); err != nil {
			return Entry{}, err
		}
	}
	return v.entry(r, im), nil
}

// next returns r with a version, and the order of it.
func (s *Store) next(r Ref) (Ref, uint64, error) {
	files, err := os.ReadDir(s.path(imagesName, r.Name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, 0, err
	}
	var number, order uint64
	for _, f := range files {
		if n, err := strconv.ParseUint(f.Name(), 10, 32); err == nil {
			number = max(number, n)
		}
		e, err := s.peek(Ref{r.Name, f.Name()})
		if err == nil { // one that is damaged has no place in the order
			order = max(order, e.order)
		}
	}
	if order == math.MaxUint64 {
		return r, 0, damaged("a version of %s has the highest order there is", r.Name)
	}
	if r.Version == "" {
		r.Version = strconv.FormatUint(number+1, 10)
	}
	return r, order + 1, nil
}
