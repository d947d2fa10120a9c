package main

import (
	"context"
	"errors"
	"io"
	"slices"

	"slipcast/fleet"
	"slipcast/image/store"
)

// storeImages is a store as the fleet sees it.
type storeImages struct{ store *store.Store }

var _ fleet.Images = storeImages{}

// Resolve implements fleet.Images.
func (s storeImages) Resolve(_ context.Context, text string) (fleet.Image, error) {
	ref, err := store.ParseRef(text)
	if err != nil {
		return fleet.Image{}, err
	}
	file, err := s.store.OpenImage(ref)
	if errors.Is(err, store.ErrNotFound) {
		return fleet.Image{}, absent{err}
	}
	if err != nil {
		return fleet.Image{}, err
	}
	defer file.Close()
	return fleet.Image{Ref: file.Ref.String(), Digest: file.Digest.String(), Need: file.Assembled.Image.MinSize(0)}, nil
}

// An absent error is one of the store that the fleet knows, too.
type absent struct{ error }

func (a absent) Unwrap() error        { return a.error }
func (a absent) Is(target error) bool { return target == fleet.ErrNotFound }

// Put implements fleet.Images.
func (s storeImages) Put(ctx context.Context, name string, r io.Reader) (fleet.Image, error) {
	added, err := s.store.AddStream(ctx, r, name, store.AddOptions{})
	if err != nil {
		return fleet.Image{}, err
	}
	return s.Resolve(ctx, added.Ref.String())
}

// List implements fleet.Images. What is damaged is left out: verify tells.
func (s storeImages) List(context.Context) ([]fleet.Image, error) {
	entries, err := s.store.List()
	if len(entries) == 0 && err != nil {
		return nil, err
	}
	slices.SortStableFunc(entries, func(a, b store.Entry) int { return b.Added.Compare(a.Added) })
	list := []fleet.Image{}
	for _, e := range entries {
		list = append(list, fleet.Image{Ref: e.Ref.String(), Digest: e.Digest.String(), Need: e.DiskSize})
	}
	return list, nil
}
