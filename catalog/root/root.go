package root

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"slipcast/internal/blockdev"
)

// A Family is a kind of operating system.
type Family string

// The families.
const (
	Linux   Family = "linux"
	Windows Family = "windows"
)

// A Root is an open root. Its methods are safe for concurrent use, except
// Close, which must be the last.
type Root struct {
	dir    string
	family Family
	top    *os.File // of the root, open for reading
	ns     *os.File // the mount namespace that dir is looked up in
	mounts []*Filesystem
	byID   map[uint64]*Filesystem // by the number of the mount
	absent map[uint64]string      // likewise, what lies over folders of volumes that are not on the disk, and what etc/fstab calls these
	nodes  []string               // block devices that Mount has mounted
}

// Open opens the tree at the directory dir, in which it is mounted already;
// "/" is the running system. It is looked up in the mount namespace of the
// thread that calls, and stays there.
//
// Part of the root are the file system that dir lies on and those that are
// mounted at the given paths inside of it. Without any they are those that the
// root's own etc/fstab names, and boot, boot/efi and efi, as far as they keep
// anything. Whatever else is mounted below dir is not part of the root: proc, a
// share, a stick.
func Open(dir string, mounts ...string) (*Root, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread() // a mount namespace belongs to a thread
	defer runtime.UnlockOSThread()
	return open(dir, mounts)
}

// open is Open on a thread that stays the same.
func open(dir string, paths []string) (*Root, error) {
	top, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	r := &Root{dir: dir, top: top, family: Linux, byID: make(map[uint64]*Filesystem)}
	if err := r.open(paths); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the root at %s: %w", dir, err), r.release())
	}
	return r, nil
}

func (r *Root) open(paths []string) (err error) {
	if r.ns, err = os.Open("/proc/thread-self/ns/mnt"); err != nil {
		return err
	}
	table, err := readMounts()
	if err != nil {
		return err
	}
	if err := r.add(".", r.top, table); err != nil {
		return err
	}
	if _, err := r.Lstat(fold("Windows/System32", r)); err == nil {
		r.family = Windows
	}
	if len(paths) > 0 {
		return r.addBelow(paths, func(string) bool { return true }, table)
	}
	keeps := func(fsType string) bool { return !isVirtual(fsType) }
	return r.addBelow(append(r.fstabPaths(), "boot", "boot/efi", "efi"), keeps, table)
}

// Close gives the root back. What Mount has mounted is written to its disks
// and unmounted; an error means that it may not be on them.
func (r *Root) Close() error {
	var errs []error
	if len(r.nodes) > 0 {
		for _, f := range r.mounts {
			errs = append(errs, f.syncWritten())
		}
	}
	errs = append(errs, r.release())
	for _, node := range r.nodes {
		errs = append(errs, blockdev.Unmounted(node))
	}
	return errors.Join(errs...)
}

// release closes all that is open.
func (r *Root) release() error {
	var errs []error
	for _, f := range r.mounts {
		if f.dir != r.top {
			errs = append(errs, f.dir.Close())
		}
	}
	if r.ns != nil {
		errs = append(errs, r.ns.Close())
	}
	return errors.Join(append(errs, r.top.Close())...)
}

// Dir returns the directory of the root, as it is called where Within runs.
func (r *Root) Dir() string { return r.dir }

// Family tells what kind of system it is: a Windows has Windows/System32.
func (r *Root) Family() Family { return r.family }

// Filesystems returns the file systems of the root, its own first, the others
// ordered by path. The caller must not change them.
func (r *Root) Filesystems() []*Filesystem { return r.mounts }

// Within calls f on a thread whose mount namespace is a private copy of the
// one that the root is mounted in; in it, the root lies at Dir. What f mounts
// there ends with the thread, unless something keeps it open. f must not hand
// work to other goroutines that depends on it. A process that f starts with a
// signal for the death of its parent dies with the thread, when f returns.
func (r *Root) Within(f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Setns(int(r.ns.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("entering the mounts of the root: %w", err)
		}
		if err := privateMounts(); err != nil {
			return err
		}
		return f()
	})
}

// fstabPaths returns where the root's own etc/fstab mounts something. One that
// is not there or cannot be read mounts nothing here.
func (r *Root) fstabPaths() []string {
	lines, err := r.fstab()
	if err != nil {
		return nil
	}
	var paths []string
	for _, l := range lines {
		paths = append(paths, l.path)
	}
	return paths
}

// fold returns path in the case in which it is on the disk.
func fold(path string, r *Root) string {
	if folded, ok := r.fold(strings.Split(path, "/")); ok {
		return folded
	}
	return path
}

// pathError says which path of the root something went wrong with.
func pathError(op, path string, err error) error {
	var inner *fs.PathError
	for errors.As(err, &inner) {
		err = inner.Err // it names the folder outside of the root
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
