package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"slipcast/image"
	"slipcast/internal/durable"
)

// An Image is an image in a store that is open for reading, and the image file
// as well: ReadAt gives the bytes of an ordinary .img.zst, Size says how many. It is
// safe for concurrent use, keeps at most a few dozen files open, and cannot be removed
// from the store until it is closed.
type Image struct {
	*image.Assembled
	Entry
	ETag string // names the very bytes of the file: digest of the image, and of what does not count for that

	frames *frameFiles
	lock   *os.File
}

// OpenImage opens the image that r names. An error wraps [ErrNotFound] if there
// is none. What it returns must be closed.
func (s *Store) OpenImage(r Ref) (*Image, error) {
	for {
		e, err := s.Resolve(r)
		if err != nil {
			return nil, err
		}
		im, err := s.openVersion(e.Ref)
		if errors.Is(err, ErrNotFound) && r.Version == "" {
			continue // it was removed just now; the one before it is the newest
		}
		return im, err
	}
}

func (s *Store) openVersion(r Ref) (*Image, error) {
	f, err := s.hold(r, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	im, err := s.assemble(r, f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%v: %w", r, err)
	}
	return im, nil
}

// hold opens a version file and locks it, shared by readers or alone to remove
// it. The error wraps [ErrNotFound] or [ErrInUse].
func (s *Store) hold(r Ref, how int) (*os.File, error) {
	f, err := os.Open(s.versionPath(r))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%v: %w", r, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	got, err := tryLock(f, how)
	if err == nil && !got && how == unix.LOCK_EX {
		err = fmt.Errorf("%v: %w", r, ErrInUse)
	}
	there := got
	if err == nil && got {
		there, err = linked(f)
	}
	if err == nil && !there { // it is being removed, or was between Open and the lock
		err = fmt.Errorf("%v: %w", r, ErrNotFound)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// assemble reads the version file f, and keeps it.
func (s *Store) assemble(r Ref, f *os.File) (*Image, error) {
	v, err := readVersion(f)
	if err != nil {
		return nil, err
	}
	frames := newFrameFiles(s)
	a, err := image.Assemble(v.preface, frames)
	if err != nil {
		return nil, err
	}
	frames.chunkSize = a.ChunkSize
	return &Image{Assembled: a, Entry: v.entry(r, a.Image), ETag: etag(a.Digest, v.preface), frames: frames, lock: f}, nil
}

// Size returns the length of the image file in bytes.
func (i *Image) Size() int64 { return i.ImageSize }

// Close frees what i holds. It must not be used afterwards.
func (i *Image) Close() error {
	i.frames.close()
	return i.lock.Close()
}

// Remove forgets the version that r names, which must have one. Its frames stay until
// GC. An error wraps [ErrNotFound], or [ErrInUse] if somebody reads it.
func (s *Store) Remove(ctx context.Context, r Ref) error {
	if err := r.check(); err != nil {
		return err
	}
	if r.Version == "" {
		return fmt.Errorf("%w: %s is without a version", ErrName, r.Name)
	}
	l, err := s.lock(ctx, imageLock, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := s.hold(r, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(s.versionPath(r)); err != nil {
		return err
	}
	dir := s.path(imagesName, r.Name)
	if err := os.Remove(dir); err == nil {
		dir = s.path(imagesName)
	} else if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return durable.SyncDir(dir)
}
