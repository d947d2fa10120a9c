package bake

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// scratchPattern is what the folders are called that a process may leave when it is killed.
const scratchPattern = "slipcast-bake-*"

// A scratch is a folder for a copy. A lock says that it is in use; those of
// processes that were killed are removed by the next one.
type scratch struct {
	path string
	lock *os.File
}

// newScratch makes a folder below dir.
func newScratch(dir string) (*scratch, error) {
	sweep(dir)
	for {
		path, err := os.MkdirTemp(dir, scratchPattern)
		if err != nil {
			return nil, err
		}
		lock, err := lockDir(path)
		if err != nil {
			return nil, err
		}
		if lock == nil {
			continue // another process swept it away before it was locked
		}
		s := &scratch{path, lock}
		return s, errors.Join(os.Mkdir(s.mountDir(), 0o700), os.Mkdir(s.programs(), 0o700))
	}
}

// mountDir is where the root is mounted, in the process that does a job alone.
func (s *scratch) mountDir() string { return filepath.Join(s.path, "root") }

// programs is for what a job needs.
func (s *scratch) programs() string { return filepath.Join(s.path, "programs") }

// file returns a file without a name in the folder.
func (s *scratch) file() (*os.File, error) {
	f, err := os.CreateTemp(s.path, "disk-*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// remove removes the folder.
func (s *scratch) remove() error {
	return errors.Join(os.RemoveAll(s.path), s.lock.Close())
}

// sweep removes the folders below dir that nobody uses. What stands in the way
// of it stands in nobody else's.
func sweep(dir string) {
	list, _ := filepath.Glob(filepath.Join(dir, scratchPattern))
	for _, path := range list {
		if lock, _ := lockDir(path); lock != nil {
			_ = os.RemoveAll(path)
			lock.Close()
		}
	}
}

// lockDir locks the folder at path: nil if it is locked, or not there any more.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		if _, err = os.Stat(path); err == nil {
			return f, nil
		}
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return nil, err
}
