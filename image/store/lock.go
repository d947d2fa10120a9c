package store

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockStep is how long who waits for a lock sleeps before the next try. A wait
// in flock itself could not be called off.
const lockStep = 20 * time.Millisecond

// lock takes the lock on one of the store's lock files, shared or alone, and
// waits for it until ctx ends. Closing the file gives it back.
func (s *Store) lock(ctx context.Context, name string, how int) (*os.File, error) {
	f, err := os.OpenFile(s.path(name), os.O_RDWR, 0)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) { // who only reads may still lock
		f, err = os.Open(s.path(name))
	}
	if err != nil {
		return nil, err
	}
	for {
		got, err := tryLock(f, how)
		if got {
			return f, nil
		}
		if err == nil {
			err = sleep(ctx, lockStep)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
	}
}

// tryLock takes a lock on f if nobody is in the way.
func tryLock(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
