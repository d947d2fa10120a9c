package depot

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"slipcast/image/store"
	"slipcast/internal/durable"
)

// A yard is a store and its folder mirror, where what comes waits until it has its
// place. One process has it at a time.
type yard struct {
	store *store.Store
	aside string // the folder mirror
	lock  io.Closer
}

// openYard takes the folder mirror of a store. It must be closed.
func openYard(s *store.Store) (*yard, error) {
	aside, lock, err := s.Mirror()
	if err != nil {
		return nil, err
	}
	return &yard{s, aside, lock}, nil
}

// Close lets others have the folder.
func (y *yard) Close() error { return y.lock.Close() }

// place returns where a path of section 12.1 lies in the store.
func (y *yard) place(path string) string {
	return filepath.Join(y.store.Dir(), filepath.FromSlash(path))
}

// waiting returns where it lies until then.
func (y *yard) waiting(path string) string { return filepath.Join(y.aside, filepath.FromSlash(path)) }

// forget removes what waits at a path.
func (y *yard) forget(path string) error {
	if err := os.Remove(y.waiting(path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keep puts a file aside: it is there whole or not at all. It may be lost, or
// damaged, if the power fails; who uses it looks.
func (y *yard) keep(path string, p []byte) error {
	at := y.waiting(path)
	err := os.WriteFile(at+newEnding, p, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
			return err
		}
		err = os.WriteFile(at+newEnding, p, 0o666)
	}
	if err != nil {
		return err
	}
	return os.Rename(at+newEnding, at)
}

// settle gives a file that lies at from its place in the store, once it is on the
// disk.
func (y *yard) settle(from, path string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	to := y.place(path)
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	return durable.Rename(from, to)
}

// sizeOf returns the length of the plain file at path, -1 if there is none.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return -1
	}
	return info.Size()
}

// readBounded reads the plain file at path, which may have most bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // opening a pipe might take for ever
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, wrong("%s is not a plain file of at most %d bytes", path, most)
	}
	p := make([]byte, info.Size())
	_, err = io.ReadFull(f, p)
	return p, err
}
