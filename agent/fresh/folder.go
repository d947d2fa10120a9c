package fresh

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds for what is on a disk.
const (
	maxFile  = 1 << 20 // bytes of a file that is read
	maxNames = 1 << 14 // names in a folder that is listed
	maxDepth = 32      // folders in each other that are removed
	attempts = 64      // to open what somebody renames elsewhere in the kernel
)

// A leftError is why something on the disk was left as it is.
type leftError struct{ path, why string }

func (e *leftError) Error() string { return e.path + " is left as it is: " + e.why }

// How paths are looked up, openat2(2).
const (
	// plainly follows no symbolic link: for everything that is changed.
	plainly = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV
	// inside follows links, with the file system's own root as /.
	inside = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
)

// open opens a path below a directory. openat2 is called as it is: the boot
// environment brings its kernel along, so that the fallbacks of pathrs-lite
// would never run, and a flag of ours decides about links.
func open(dir *os.File, name string, flags, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	fd := -1
	err := control(dir, func(at int) (err error) {
		for range attempts {
			fd, err = unix.Openat2(at, name, &how)
			if err != unix.EAGAIN && err != unix.EINTR {
				break
			}
		}
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "opening", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// exists tells whether there is something of a type (unix.S_IFREG, S_IFDIR)
// at a path, links followed inside.
func exists(dir *os.File, name string, format uint32) bool {
	f, err := open(dir, name, unix.O_PATH, inside)
	if err != nil {
		return false
	}
	defer f.Close()
	var st unix.Stat_t
	err = control(f, func(fd int) error { return unix.Fstat(fd, &st) })
	return err == nil && st.Mode&unix.S_IFMT == format
}

// A folder is an open directory of a file system.
type folder struct {
	*os.File
	path string // from the root of the system, for people
}

// openFolder opens a folder without following links. The error is a leftError
// if something else is in its place, and wraps [fs.ErrNotExist] if nothing is.
func openFolder(dir *os.File, name string) (*folder, error) {
	f, err := open(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, plainly)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, &leftError{name, "there is a symbolic link on the way"}
	case errors.Is(err, unix.ENOTDIR):
		return nil, &leftError{name, "no folder"}
	case err != nil:
		return nil, err
	}
	return &folder{f, name}, nil
}

// stat describes an entry of d itself, even if it is a link.
func (d *folder) stat(name string) (st unix.Stat_t, err error) {
	err = control(d.File, func(fd int) error { return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		err = &fs.PathError{Op: "looking at", Path: path.Join(d.path, name), Err: err}
	}
	return st, err
}

// regular is stat for what must be a plain file; else the error is a leftError.
func (d *folder) regular(name string) (unix.Stat_t, error) {
	st, err := d.stat(name)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = &leftError{path.Join(d.path, name), "no plain file"}
	}
	return st, err
}

// read returns the contents of a plain file of at most maxFile bytes.
func (d *folder) read(name string) ([]byte, error) {
	st, err := d.regular(name)
	if err != nil {
		return nil, err
	}
	if st.Size > maxFile {
		return nil, &leftError{path.Join(d.path, name), fmt.Sprintf("%d bytes, more than the %d that are read", st.Size, maxFile)}
	}
	f, err := open(d.File, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, plainly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// names lists d, in no order.
func (d *folder) names() ([]string, error) {
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(maxNames)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(names) == maxNames {
		return nil, &leftError{d.path, fmt.Sprintf("%d names or more", maxNames)}
	}
	return names, nil
}

// find returns the name of an entry as it is on the disk, where upper and lower
// case count as the same. The exact name comes first. It is empty if there is
// none.
func (d *folder) find(name string) (string, error) {
	names, err := d.names()
	found := ""
	for _, n := range names {
		if n == name {
			return n, nil
		}
		if strings.EqualFold(n, name) && (found == "" || n < found) {
			found = n
		}
	}
	return found, err
}

// sub opens the folder of a name within d, see find.
func (d *folder) sub(name string) (*folder, error) {
	n, err := d.find(name)
	if err != nil {
		return nil, err
	}
	if n == "" {
		return nil, &fs.PathError{Op: "opening", Path: path.Join(d.path, name), Err: fs.ErrNotExist}
	}
	s, err := openFolder(d.File, n)
	if s != nil {
		s.path = path.Join(d.path, n)
	}
	return s, err
}

// unlink removes an entry that is no folder. It is on the disk after flush.
func (d *folder) unlink(name string) error {
	err := control(d.File, func(fd int) error { return unix.Unlinkat(fd, name, 0) })
	if err != nil {
		return &fs.PathError{Op: "removing", Path: path.Join(d.path, name), Err: err}
	}
	return nil
}

// flush brings the entries of d onto the disk.
func (d *folder) flush() error { return d.Sync() }

// removeAll removes an entry and all that is in it. Links are removed, not
// followed.
func (d *folder) removeAll(name string, depth int) error {
	st, err := d.stat(name)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return d.unlink(name)
	}
	if depth == 0 {
		return &leftError{path.Join(d.path, name), "folders too deep in each other"}
	}
	s, err := openFolder(d.File, name)
	if err != nil {
		return err
	}
	defer s.Close()
	s.path = path.Join(d.path, name)
	names, err := s.names()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := s.removeAll(n, depth-1); err != nil {
			return err
		}
	}
	return control(d.File, func(fd int) error { return unix.Unlinkat(fd, name, unix.AT_REMOVEDIR) })
}
