package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
)

// stateFolder returns the folder with receipts and transactions of a root.
func stateFolder(r *root.Root) string {
	if r.Family() == root.Windows {
		return "ProgramData/slipcast"
	}
	return "var/lib/slipcast"
}

// open returns the engine of a root, and a function that lets others have the
// root. With create, the folders of the state are made; else the engine is nil
// if nothing was ever applied.
func open(r *root.Root, opt Options, create bool) (*engine, func() error, error) {
	d := tree{r}
	state, err := newDraft(d).resolve(stateFolder(r), false)
	if err != nil {
		return nil, nil, err
	}
	e := newEngine(d, state)
	if opt.Log != nil {
		e.log = opt.Log
	}
	if e.volumes[e.at].readOnly && create {
		return nil, nil, at("/"+e.volumes[e.at].top, ErrReadOnly)
	}
	if _, err := d.stat(state); errors.Is(err, fs.ErrNotExist) && !create {
		return nil, nil, nil
	}
	if create {
		if err := e.prepare(); err != nil {
			return nil, nil, err
		}
	}
	unlock, err := lock(r, state+"/lock")
	if err != nil {
		return nil, nil, err
	}
	return e, unlock, nil
}

// lock takes the lock of a root, or says that somebody has it. It ends with the
// process, however that ends.
func lock(r *root.Root, path string) (unlock func() error, err error) {
	p, err := r.Parent(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	fd, err := unix.Openat(int(p.File.Fd()), p.Base, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, wrap("opening", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return f.Close, nil
}
