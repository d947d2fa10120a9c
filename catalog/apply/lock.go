package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

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
func open(r *root.Root, opt Options, create bool) (e *engine, done func() error, err error) {
	d := tree{r, new(folders)}
	defer func() {
		if done == nil {
			d.kept.close()
		}
	}()
	state, err := newDraft(d).resolve(stateFolder(r), false)
	if err != nil {
		return nil, nil, err
	}
	e = newEngine(d, state)
	if opt.Log != nil {
		e.log = opt.Log
	}
	if e.volumes[e.at].readOnly && create {
		return nil, nil, at("/"+e.volumes[e.at].top, ErrReadOnly)
	}
	if _, err := d.stat(state); errors.Is(err, fs.ErrNotExist) && !create {
		return nil, nil, nil
	}
	if err := e.sound(); err != nil {
		return nil, nil, err
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
	return e, func() error {
		d.kept.close()
		return unlock()
	}, nil
}

// sound reports folders of the state that are not what they were made as: the
// disk is not trusted. A link would lead what is written there to somewhere
// else, and a file system that is mounted there would not be the one that the
// barriers are for.
func (e *engine) sound() error {
	folders := []string{e.state}
	for _, name := range []string{"tx", "receipts", "queue"} {
		folders = append(folders, path.Join(e.state, name))
	}
	for v := range e.volumes {
		if v != e.at {
			folders = append(folders, path.Dir(e.side(v, "0")))
		}
	}
	for _, dir := range folders {
		if err := e.folderOrNothing(dir); err != nil {
			return err
		}
		if dir == e.state {
			continue // it may be a file system of its own
		}
		if err := e.sameDevice(dir); err != nil {
			return err
		}
	}
	return nil
}

// sameDevice reports a folder on which something is mounted.
func (e *engine) sameDevice(dir string) error {
	inner, err := e.d.stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	outer, err := e.d.stat(path.Dir(dir))
	if err == nil && inner.id.dev != outer.id.dev {
		err = at(dir, damaged("a file system is mounted there"))
	}
	return err
}

// folderOrNothing reports something at a path that is no directory.
func (e *engine) folderOrNothing(dir string) error {
	st, err := e.d.stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !st.dir() {
		err = at(dir, damaged("it is %s", st.name()))
	}
	return err
}

// lock takes the lock of a root, or says that somebody has it. It ends with the
// process, however that ends.
func lock(r *root.Root, name string) (unlock func() error, err error) {
	p, err := r.Parent(name)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if st, err := p.Lstat(); err == nil && st.Type != root.File { // opening a device does things
		return nil, at(name, damaged("it is %s", st.Type))
	}
	fd, err := unix.Openat(int(p.File.Fd()), p.Base, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, wrap("opening", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", name, err), f.Close())
	}
	return f.Close, nil
}
