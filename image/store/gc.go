package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"slipcast/image"
)

// A Collected tells what a GC removed.
type Collected struct {
	Kept    int   // frames that versions name
	Removed int   // frames that none names
	Freed   int64 // bytes of these, and of what lay aside
	Folders int   // of adds that did not end
	Aside   int   // files in the folder mirror that nobody came back for
}

// GC removes the frames that no version names, what adds left that were cut
// short, and what mirrors left that nobody has gone on with for a week. Adds may be in progress: they lose nothing, but wait with their end while
// GC runs. A version that cannot be read is an error before anything is removed:
// what it needs is not known then. It takes 40 bytes of memory for each frame in use.
func (s *Store) GC(ctx context.Context) (Collected, error) {
	l, err := s.lock(ctx, frameLock, unix.LOCK_EX)
	if err != nil {
		return Collected{}, err
	}
	defer l.Close()
	live, err := s.live(ctx)
	if err != nil {
		return Collected{}, err
	}
	var c Collected
	if c.Folders, err = s.reap(); err != nil {
		return c, err
	}
	if c.Aside, c.Freed, err = s.reapMirror(ctx); err != nil {
		return c, err
	}
	err = s.eachFrame(func(f storedFrame) error {
		if _, ok := live[f.key]; ok {
			c.Kept++
			return ctx.Err()
		}
		info, err := os.Lstat(f.path)
		if err == nil {
			err = os.Remove(f.path)
		}
		if err == nil {
			c.Removed++
			c.Freed += info.Size()
			err = ctx.Err()
		}
		return err
	})
	return c, err
}

// A frameKey names a frame of the store.
type frameKey struct {
	digest    image.Digest
	chunkSize int64
}

// live returns the frames that versions name.
func (s *Store) live(ctx context.Context) (map[frameKey]struct{}, error) {
	live := map[frameKey]struct{}{}
	err := s.eachVersion(func(r Ref, f *os.File) error {
		v, err := readVersion(f)
		if err != nil {
			return fmt.Errorf("%v: %w", r, err)
		}
		im, err := image.OpenPreface(v.preface)
		if err != nil {
			return fmt.Errorf("%v: %w", r, err)
		}
		for n := range im.ChunkCount() {
			live[frameKey{im.ChunkDigest(n), im.ChunkSize}] = struct{}{}
		}
		return ctx.Err()
	})
	return live, err
}

// eachVersion calls use for every version file. Everything in the folders counts
// that is not a folder: what has a strange name is a version to nobody but GC.
func (s *Store) eachVersion(use func(r Ref, f *os.File) error) error {
	folders, err := os.ReadDir(s.path(imagesName))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		files, err := os.ReadDir(s.path(imagesName, folder.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, file := range files {
			r := Ref{folder.Name(), file.Name()}
			f, err := os.Open(s.versionPath(r))
			if errors.Is(err, fs.ErrNotExist) { // removed just now
				continue
			}
			if err != nil {
				return err
			}
			err = use(r, f)
			f.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// A storedFrame is a file of the folder frames.
type storedFrame struct {
	key  frameKey
	path string
}

// eachFrame calls use for every frame of the store, ordered by digest for each
// size of chunks. Who calls it holds the frames' lock.
func (s *Store) eachFrame(use func(storedFrame) error) error {
	for shift := 18; shift <= 24; shift++ { // section 4
		size := int64(1) << shift
		top := s.path(framesName, shiftName(size))
		for first := range 256 {
			dir := filepath.Join(top, fmt.Sprintf("%02x", first))
			files, err := os.ReadDir(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			for _, file := range files {
				d, ok := parseDigest(file.Name())
				if !ok || int(d[0]) != first {
					continue // not ours
				}
				if err := use(storedFrame{frameKey{d, size}, filepath.Join(dir, file.Name())}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// reap removes the folders of adds that did not end.
func (s *Store) reap() (int, error) {
	folders, err := os.ReadDir(s.path(addingName))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, folder := range folders {
		dir := s.path(addingName, folder.Name())
		alive, err := inUse(filepath.Join(dir, lockFileName))
		if err != nil {
			return n, err
		}
		if alive {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// inUse tells whether somebody holds the lock of an add. Without a file nobody
// does: no add begins while GC runs.
func inUse(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	got, err := tryLock(f, unix.LOCK_EX)
	return !got, err
}
