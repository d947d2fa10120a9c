package root

import (
	"cmp"
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// Errors of paths.
var (
	ErrPath       = errors.New("not a path inside of a root")
	ErrNotRegular = errors.New("not a regular file")
	ErrForeign    = errors.New("on a file system that is not part of the root")
)

// maxPath is how long a path may be, as the kernel has it (PATH_MAX).
const maxPath = 4095

// clean returns the names of a path, which is counted from the root with or
// without a slash before it. It has no "..", which would mean two things where
// there are links; those in the texts of links are resolved inside the root.
func clean(name string) ([]string, error) {
	if name == "" || len(name) > maxPath || strings.ContainsRune(name, 0) {
		return nil, ErrPath
	}
	var names []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return nil, ErrPath
		default:
			names = append(names, part)
		}
	}
	return names, nil
}

// A Parent is the folder of a path, open. Whatever is renamed meanwhile, it
// stays the folder that it was. It is safe for concurrent use.
type Parent struct {
	File *os.File    // the folder, open with O_PATH: for *at() system calls alone
	Base string      // the last name of the path; "." for the root itself
	FS   *Filesystem // that the folder lies on

	path string
	root *Root
}

// Parent opens the folder that path lies in. Symbolic links on the way are
// followed inside of the root, the last name never. The caller closes it. In a
// Windows, names are looked for in any case.
func (r *Root) Parent(name string) (*Parent, error) { return r.parent(name, r.lookup) }

// Straight is Parent for a path that has no symbolic links on the way. One that
// is there is like a file there: the error wraps [unix.ENOTDIR].
func (r *Root) Straight(name string) (*Parent, error) { return r.parent(name, r.straight) }

// parent opens the folder that path lies in by lookup.
func (r *Root) parent(name string, lookup func(string) (*os.File, error)) (*Parent, error) {
	names, err := clean(name)
	if err != nil {
		return nil, pathError("opening the folder of", name, err)
	}
	if r.family == Windows {
		names = r.folded(names)
	}
	p := &Parent{Base: ".", path: path.Join(names...), root: r}
	folder := "."
	if n := len(names); n > 0 {
		folder, p.Base = path.Join(names[:n-1]...), names[n-1]
	}
	if p.File, err = lookup(folder); err != nil {
		return nil, pathError("opening the folder of", name, err)
	}
	if err := p.identify(); err != nil {
		p.File.Close()
		return nil, pathError("opening the folder of", name, err)
	}
	return p, nil
}

// Sibling returns another name in the same open folder, for which the folder
// need not be looked up again. It must not be closed, and ends with p. base is
// one name, in the case in which it is on the disk.
func (p *Parent) Sibling(base string) (*Parent, error) {
	name := path.Join(path.Dir(p.path), base)
	if names, err := clean(base); err != nil || len(names) != 1 || names[0] != base {
		return nil, pathError("opening the folder of", name, ErrPath)
	}
	q := *p
	q.Base, q.path = base, name
	return &q, nil
}

// lookup opens what lies at a path, with O_PATH. All links are followed inside
// of the root.
func (r *Root) lookup(name string) (*os.File, error) {
	if name == "" {
		name = "."
	}
	return pathrs.OpenatInRoot(r.top, name)
}

// straight is lookup for a path in which no link is followed.
func (r *Root) straight(name string) (*os.File, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(int(r.top.Fd()), cmp.Or(name, "."), how)
	if errors.Is(err, unix.ELOOP) {
		err = unix.ENOTDIR
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// identify finds out which file system the folder lies on.
func (p *Parent) identify() error {
	st, id, err := lstat(int(p.File.Fd()), "")
	if err != nil {
		return err
	}
	if st.Type != Directory {
		return unix.ENOTDIR
	}
	p.FS = p.root.byID[id]
	if volume, ok := p.root.absent[id]; ok {
		return &AbsentError{volume}
	}
	if p.FS == nil {
		return ErrForeign
	}
	return nil
}

// Close closes the folder.
func (p *Parent) Close() error { return p.File.Close() }

// Lstat describes what has the name Base in the folder.
func (p *Parent) Lstat() (Stat, error) {
	st, _, err := lstat(int(p.File.Fd()), p.Base)
	if err != nil {
		return Stat{}, pathError("looking at", p.path, err)
	}
	return st, nil
}

// Open opens the regular file Base in the folder for reading. For anything
// else the error wraps [ErrNotRegular], and nothing was done to it: a device is
// not opened.
func (p *Parent) Open() (*os.File, error) {
	f, err := p.open()
	if err != nil {
		return nil, pathError("opening", p.path, err)
	}
	return f, nil
}

func (p *Parent) open() (*os.File, error) {
	fd, err := unix.Openat(int(p.File.Fd()), p.Base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	handle := os.NewFile(uintptr(fd), p.path)
	defer handle.Close()
	st, _, err := lstat(fd, "")
	if err != nil {
		return nil, err
	}
	if st.Type != File {
		return nil, ErrNotRegular
	}
	return pathrs.Reopen(handle, unix.O_RDONLY)
}

// Readlink returns the text of the symbolic link Base.
func (p *Parent) Readlink() (string, error) {
	text, err := readlink(int(p.File.Fd()), p.Base)
	if err != nil {
		return "", pathError("reading the link", p.path, err)
	}
	return text, nil
}

// readlink returns the text of a symbolic link in a folder.
func readlink(folder int, name string) (string, error) {
	text := make([]byte, maxPath+1)
	n, err := unix.Readlinkat(folder, name, text)
	if err != nil {
		return "", err
	}
	return string(text[:n]), nil
}

// ReadDir returns the names in the directory Base, ordered by bytes.
func (p *Parent) ReadDir() ([]string, error) {
	fd, err := unix.Openat(int(p.File.Fd()), p.Base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, pathError("reading the directory", p.path, err)
	}
	f := os.NewFile(uintptr(fd), p.path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, pathError("reading the directory", p.path, err)
	}
	slices.Sort(names)
	return names, nil
}

// with calls f with the folder of a path.
func with[T any](r *Root, name string, f func(*Parent) (T, error)) (T, error) {
	p, err := r.Parent(name)
	if err != nil {
		var none T
		return none, err
	}
	defer p.Close()
	return f(p)
}

// Lstat describes what lies at path; a link is not followed.
func (r *Root) Lstat(path string) (Stat, error) { return with(r, path, (*Parent).Lstat) }

// Open opens the regular file at path for reading. For anything else, a
// symbolic link too, the error wraps [ErrNotRegular].
func (r *Root) Open(path string) (*os.File, error) { return with(r, path, (*Parent).Open) }

// Readlink returns the text of the symbolic link at path.
func (r *Root) Readlink(path string) (string, error) { return with(r, path, (*Parent).Readlink) }

// ReadDir returns the names in the directory at path, ordered by bytes.
func (r *Root) ReadDir(path string) ([]string, error) { return with(r, path, (*Parent).ReadDir) }

// Xattrs returns the extended attributes of what lies at path, ordered by name.
func (r *Root) Xattrs(path string) ([]Xattr, error) { return with(r, path, (*Parent).Xattrs) }
