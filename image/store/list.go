package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"slipcast/image"
)

// An Entry is a version of an image in a store.
type Entry struct {
	Ref       // with its version
	Added     time.Time
	Digest    image.Digest
	DiskSize  int64 // of the disk in the image, in bytes
	ImageSize int64 // of the image as a file, in bytes

	order uint64
}

// List returns all versions of all images, ordered by name and then from the
// oldest to the newest. Of each file only a few bytes are read, so it does not tell
// what is damaged further on. What is damaged there is an error that names it;
// the list is complete but for that.
func (s *Store) List() ([]Entry, error) {
	names, err := s.Names()
	var list []Entry
	for _, name := range names {
		some, someErr := s.versions(name)
		list, err = append(list, some...), errors.Join(err, someErr)
	}
	return list, err
}

// Names returns the names of all images, in order.
func (s *Store) Names() ([]string, error) {
	folders, err := os.ReadDir(s.path(imagesName))
	var names []string
	for _, f := range folders {
		if f.IsDir() && checkName(f.Name()) == nil {
			names = append(names, f.Name())
		}
	}
	return names, err
}

// versions returns the versions of an image, from the oldest to the newest.
func (s *Store) versions(name string) ([]Entry, error) {
	files, err := os.ReadDir(s.path(imagesName, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []Entry
	for _, f := range files {
		r := Ref{name, f.Name()}
		if checkName(r.Version) != nil {
			continue
		}
		e, peekErr := s.peek(r)
		switch {
		case peekErr == nil:
			list = append(list, e)
		case !errors.Is(peekErr, fs.ErrNotExist): // it was removed just now
			err = errors.Join(err, fmt.Errorf("%v: %w", r, peekErr))
		}
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Version, b.Version))
	})
	return list, err
}

// peek reads a few bytes of a version file.
func (s *Store) peek(r Ref) (Entry, error) {
	f, err := os.Open(s.versionPath(r))
	if err != nil {
		return Entry{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Entry{}, err
	}
	start := make([]byte, versionHeader)
	if n, err := f.ReadAt(start, 0); n < len(start) && err != io.EOF {
		return Entry{}, err
	}
	v, err := parseVersionHeader(start[:min(int64(len(start)), info.Size())])
	if err != nil {
		return Entry{}, err
	}
	p, err := image.PeekPreface(io.NewSectionReader(f, versionHeader, info.Size()-versionHeader))
	return Entry{
		Ref: r, Added: time.Unix(v.added, 0).UTC(), Digest: p.Digest,
		DiskSize: p.DiskSize, ImageSize: p.ImageSize, order: v.order,
	}, err
}

// Resolve finds the version that r names; without a version that is the newest.
// An error wraps [ErrNotFound] if there is none.
func (s *Store) Resolve(r Ref) (Entry, error) {
	if err := r.check(); err != nil {
		return Entry{}, err
	}
	if r.Version != "" {
		e, err := s.peek(r)
		if errors.Is(err, fs.ErrNotExist) {
			return e, fmt.Errorf("%v: %w", r, ErrNotFound)
		}
		return e, err
	}
	list, err := s.versions(r.Name)
	if err != nil {
		return Entry{}, err // the damaged one may be the newest
	}
	if len(list) == 0 {
		return Entry{}, fmt.Errorf("%v: %w", r, ErrNotFound)
	}
	return list[len(list)-1], nil
}

// check refuses a Ref that was not made by ParseRef and would lead out of the
// store.
func (r Ref) check() error {
	if err := checkName(r.Name); err != nil {
		return err
	}
	if r.Version == "" {
		return nil
	}
	return checkName(r.Version)
}
