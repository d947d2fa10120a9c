package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// mirrorName is the folder of what is on its way into the store from elsewhere,
// section 16.6.
const mirrorName = "mirror"

// mirrorLife is how long what lies there waits for who goes on with it.
const mirrorLife = 7 * 24 * time.Hour

// Mirror gives the folder for what is on its way into the store to one who
// mirrors or imports, until the Closer is closed. What was left there before is
// still there, unless nobody touched it for a week and [Store.GC] has run since. An
// error wraps [ErrInUse] while another has the folder.
func (s *Store) Mirror() (dir string, release io.Closer, err error) {
	dir = s.path(mirrorName)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFileName), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return "", nil, err
	}
	got, err := tryLock(f, unix.LOCK_EX)
	if err == nil && !got {
		err = fmt.Errorf("%s: %w: another mirror or import is at work", dir, ErrInUse)
	}
	if err != nil {
		f.Close()
		return "", nil, err
	}
	return dir, f, nil
}

// reapMirror removes what nobody has touched for a week, and returns how many
// files and bytes that were. While somebody mirrors, nothing is removed.
func (s *Store) reapMirror(ctx context.Context) (files int, bytes int64, err error) {
	if _, err := os.Stat(s.path(mirrorName)); errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	dir, release, err := s.Mirror()
	if errors.Is(err, ErrInUse) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer release.Close()
	oldest := time.Now().Add(-mirrorLife)
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || path == filepath.Join(dir, lockFileName) {
			return errors.Join(err, ctx.Err())
		}
		info, err := e.Info()
		if err != nil || info.ModTime().After(oldest) {
			return err
		}
		files, bytes = files+1, bytes+info.Size()
		return os.Remove(path)
	})
	return files, bytes, err
}
