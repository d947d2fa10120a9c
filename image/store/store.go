package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"

	"slipcast/image"
	"slipcast/internal/durable"
)

// Parts of a store's folder, section 16.1.
const (
	markerName = "slipcast-store"
	framesName = "frames"
	imagesName = "images"
	addingName = "adding"
	frameLock  = "frames.lock" // shared by who brings frames, alone by who removes them
	imageLock  = "images.lock" // alone by who adds or removes a version
)

// marker is what the marker file holds.
const marker = "slipcast store 1\n"

var (
	// ErrNotStore reports a folder that is no store, or one of a newer
	// slipcast.
	ErrNotStore = errors.New("not a slipcast store")

	// ErrNotFound reports an image that is not in the store.
	ErrNotFound = errors.New("not in the store")

	// ErrExists reports a version that is there already. Versions do not
	// change.
	ErrExists = errors.New("is in the store already")

	// ErrInUse reports a version that somebody reads.
	ErrInUse = errors.New("somebody reads it")
)

// A Store is a folder of images. It holds nothing open, needs no Close, and is
// safe for concurrent use by any number of goroutines and processes.
type Store struct{ dir string }

// Init makes a store of the folder dir, which is made if it is not there and must be
// empty if it is. Its file system must know hard links.
func Init(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir}
	if _, err := os.Stat(s.path(markerName)); err == nil {
		return nil, fmt.Errorf("%s is a store already", dir)
	}
	for _, e := range list {
		if e.Name() != "lost+found" { // of a file system made for the store
			return nil, fmt.Errorf("%s is not empty: it holds %s", dir, e.Name())
		}
	}
	for _, name := range []string{framesName, imagesName, addingName} {
		if err := os.Mkdir(s.path(name), 0o777); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{frameLock, imageLock} {
		if err := os.WriteFile(s.path(name), nil, 0o666); err != nil {
			return nil, err
		}
	}
	return s, s.mark()
}

// mark writes the marker, last of all.
func (s *Store) mark() error {
	partial := s.path(markerName + ".partial")
	if err := writeSynced(partial, []byte(marker)); err != nil {
		return err
	}
	if err := os.Link(partial, s.path(markerName)); err != nil {
		return fmt.Errorf("a store needs a file system with hard links: %w", err)
	}
	if err := os.Remove(partial); err != nil {
		return err
	}
	return durable.SyncDir(s.dir)
}

// Open opens the store in the folder dir. An error wraps [ErrNotStore] if there
// is none, or one that this version does not know.
func Open(dir string) (*Store, error) {
	s := &Store{dir}
	have, err := readSmall(s.path(markerName), int64(len(marker)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", dir, ErrNotStore)
	case err != nil:
		return nil, err
	case string(have) != marker:
		return nil, fmt.Errorf("%s: %w that this version knows: its marker is %q", dir, ErrNotStore, have)
	}
	return s, nil
}

// Dir returns the folder of the store.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// framePath returns where the frame of the chunk with digest d lies. Images
// with chunks of another size have other frames.
func (s *Store) framePath(d image.Digest, chunkSize int64) string {
	name := d.String()
	return s.path(framesName, shiftName(chunkSize), name[:2], name)
}

// shiftName names the folder for frames of chunks of that many bytes.
func shiftName(chunkSize int64) string { return strconv.Itoa(bits.TrailingZeros64(uint64(chunkSize))) }

// versionPath returns where the version of an image lies.
func (s *Store) versionPath(r Ref) string { return s.path(imagesName, r.Name, r.Version) }
