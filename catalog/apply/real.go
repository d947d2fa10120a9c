package apply

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"slipcast/catalog/bundle"
	"slipcast/catalog/root"
)

// A tree is the disk that a root is. Every path goes through the root, which
// lets none out of it; no link in it is followed.
type tree struct {
	r    *root.Root
	kept *folders // nil: none
}

// A folders keeps the folders that were used last open: most operations are in
// the one of the operation before, and to look it up takes as long as all else.
// Nobody else may change directories of the root meanwhile.
type folders struct {
	list   []keptFolder // the one used last is the first
	buffer []byte       // that files are copied through
}

type keptFolder struct {
	dir string
	p   *root.Parent
}

// mostFolders is how many are open at most: an operation needs two.
const mostFolders = 8

// parent returns the folder of a path, which ends with the next call but one.
func (k *folders) parent(r *root.Root, name string) (*root.Parent, error) {
	dir := path.Dir(name)
	for i, f := range k.list {
		if f.dir == dir {
			copy(k.list[1:i+1], k.list[:i])
			k.list[0] = f
			return f.p.Sibling(path.Base(name))
		}
	}
	p, err := r.Straight(name)
	if err != nil {
		return nil, err
	}
	if len(k.list) == mostFolders {
		last := k.list[mostFolders-1]
		k.list = k.list[:mostFolders-1]
		_ = last.p.Close() // only for looking: nothing can be lost
	}
	k.list = slices.Insert(k.list, 0, keptFolder{dir, p})
	return p, nil
}

// close closes all of them.
func (k *folders) close() {
	for _, f := range k.list {
		_ = f.p.Close()
	}
	k.list = nil
}

func (t tree) volumes() []volume {
	var list []volume
	for _, f := range t.r.Filesystems() {
		v := volume{top: f.Path, kind: f.Type, links: f.Links, owners: f.Owners, xattrs: f.Xattrs, readOnly: f.ReadOnly}
		if v.top == "." {
			v.top = ""
		}
		list = append(list, v)
	}
	return list
}

// absence makes an error that says that there is nothing one that is
// fs.ErrNotExist, as disk wants it.
func absence(err error) error {
	if errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	}
	return err
}

// in calls f with the folder of a path. In a Windows, none is kept: the same
// folder may have many names there.
func (t tree) in(name string, f func(p *root.Parent, fd int) error) error {
	if t.kept != nil && name != "." && t.r.Family() != root.Windows {
		p, err := t.kept.parent(t.r, name)
		if err != nil {
			return absence(err)
		}
		return absence(f(p, int(p.File.Fd())))
	}
	p, err := t.r.Straight(name)
	if err != nil {
		return absence(err)
	}
	defer p.Close()
	return absence(f(p, int(p.File.Fd())))
}

func (t tree) stat(path string) (st stat, err error) {
	err = t.in(path, func(p *root.Parent, _ int) (err error) {
		st, err = describe(p)
		return err
	})
	return st, err
}

// describe returns all that is known of what a folder has under a name.
func describe(p *root.Parent) (stat, error) {
	s, err := p.Lstat()
	if err != nil {
		return stat{}, err
	}
	st := stat{id: fileID{s.Dev, s.Ino}, links: int(s.Links)}
	st.Node = Node{Type: typeOf(s.Type), Time: Time{Sec: s.ModTime.Sec, Nsec: s.ModTime.Nsec}, Size: s.Size}
	if p.FS.Owners {
		st.Mode, st.UID, st.GID = s.Mode, s.UID, s.GID
	}
	if st.Type == Symlink {
		st.Mode = 0 // 0777 on Linux, whoever made it
		link, err := p.Readlink()
		if err != nil {
			return stat{}, err
		}
		st.Link = Name(link)
	}
	if !p.FS.Xattrs {
		return st, nil
	}
	list, err := p.Xattrs()
	for _, x := range list {
		st.Xattrs = append(st.Xattrs, bundle.Xattr{Name: x.Name, Value: x.Value})
	}
	return st, err
}

func typeOf(t root.Type) Type {
	switch t {
	case root.File:
		return File
	case root.Directory:
		return Dir
	case root.Symlink:
		return Symlink
	}
	return Special
}

func (t tree) names(path string) (names []string, err error) {
	err = t.in(path, func(p *root.Parent, _ int) (err error) {
		names, err = p.ReadDir()
		return err
	})
	return names, err
}

func (t tree) open(path string) (r io.ReadCloser, err error) {
	err = t.in(path, func(p *root.Parent, _ int) error {
		f, err := p.Open()
		if err == nil {
			r = f
		}
		return err
	})
	return r, err
}

func (t tree) space(volume int) (space, error) {
	var st unix.Statfs_t
	f := t.r.Filesystems()[volume]
	if err := unix.Fstatfs(int(f.Dir().Fd()), &st); err != nil {
		return space{}, at(f.Path, err)
	}
	// ext4 gives the last ones to nobody: 2 %, of more than Blocks says, and at
	// most 4096 ("reserved_clusters" in its sysfs).
	own := min(st.Blocks/25, 4096)
	return space{
		free: int64(st.Bavail) * st.Frsize, total: int64(st.Blocks) * st.Frsize, block: st.Frsize,
		reserved:   (int64(st.Bfree) - int64(min(st.Bfree, st.Bavail+own))) * st.Frsize,
		freeInodes: int64(st.Ffree), totalInodes: int64(st.Files),
	}, nil
}

func (t tree) write(path string, r io.Reader, n *Node) error {
	return t.in(path, func(p *root.Parent, fd int) error {
		h, err := unix.Openat(fd, p.Base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return &fs.PathError{Op: "creating", Path: path, Err: err}
		}
		f := os.NewFile(uintptr(h), path)
		if n.Size > 1<<20 {
			_ = unix.Fallocate(h, 0, 0, n.Size) // so that it lies in one piece; not every file system can
		}
		_, err = io.CopyBuffer(onlyWriter{f}, r, t.buffer(n.Size))
		if err == nil {
			err = setAttributes(p, h, n)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, unix.Unlinkat(fd, p.Base, 0)) // its part may be what the way back needs
		}
		return err
	})
}

// copyBuffer is how many bytes are copied at once.
const copyBuffer = 256 << 10

// buffer returns what a file of size bytes is copied through.
func (t tree) buffer(size int64) []byte {
	if t.kept == nil {
		return make([]byte, min(size+1, copyBuffer))
	}
	if t.kept.buffer == nil {
		t.kept.buffer = make([]byte, copyBuffer)
	}
	return t.kept.buffer
}

// An onlyWriter hides that a file could read by itself, which would not use the
// buffer.
type onlyWriter struct{ io.Writer }

// setAttributes gives the open file, which is the last name of p, the
// attributes of n. The order is not free: a change of owner takes capabilities
// and the setuid bit away, and everything changes times.
func setAttributes(p *root.Parent, fd int, n *Node) error {
	if p.FS.Owners {
		if err := unix.Fchown(fd, int(n.UID), int(n.GID)); err != nil {
			return fmt.Errorf("setting the owner: %w", err)
		}
		if err := unix.Fchmod(fd, n.Mode); err != nil {
			return fmt.Errorf("setting the mode: %w", err)
		}
	}
	if p.FS.Xattrs {
		if err := p.SetXattrs(xattrsOf(n)); err != nil {
			return err
		}
	}
	return setTimes(fd, n.Time)
}

func xattrsOf(n *Node) []root.Xattr {
	var list []root.Xattr
	for _, x := range n.Xattrs {
		list = append(list, root.Xattr{Name: x.Name, Value: x.Value})
	}
	return list
}

// setTimes changes the time of last change of an open file.
func setTimes(fd int, t Time) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Sec, Nsec: t.Nsec}}
	if err := unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("setting the time: %w", err)
	}
	return nil
}

func (t tree) mkdir(path string) error {
	return t.in(path, func(p *root.Parent, fd int) error {
		return wrap("making", path, unix.Mkdirat(fd, p.Base, 0o700))
	})
}

func (t tree) symlink(path string, n *Node) error {
	return t.in(path, func(p *root.Parent, fd int) error {
		if err := unix.Symlinkat(string(n.Link), fd, p.Base); err != nil {
			return wrap("linking", path, err)
		}
		if err := unix.Fchownat(fd, p.Base, int(n.UID), int(n.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return wrap("setting the owner of", path, err)
		}
		if len(n.Xattrs) > 0 {
			if err := p.SetXattrs(xattrsOf(n)); err != nil {
				return err
			}
		}
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: n.Time.Sec, Nsec: n.Time.Nsec}}
		return wrap("setting the time of", path, unix.UtimesNanoAt(fd, p.Base, times, unix.AT_SYMLINK_NOFOLLOW))
	})
}

func (t tree) link(old, path string) error {
	return t.both(old, path, func(p, q *root.Parent) error {
		return wrap("linking", path, unix.Linkat(int(p.File.Fd()), p.Base, int(q.File.Fd()), q.Base, 0))
	})
}

func (t tree) rename(old, path string) error {
	return t.both(old, path, func(p, q *root.Parent) error {
		return wrap("renaming to", path, unix.Renameat(int(p.File.Fd()), p.Base, int(q.File.Fd()), q.Base))
	})
}

// both calls f with the folders of two paths.
func (t tree) both(a, b string, f func(p, q *root.Parent) error) error {
	return t.in(a, func(p *root.Parent, _ int) error {
		return t.in(b, func(q *root.Parent, _ int) error { return f(p, q) })
	})
}

func (t tree) remove(path string, dir bool) error {
	if dir && t.kept != nil {
		t.kept.close() // one of them may be the one that goes
	}
	return t.in(path, func(p *root.Parent, fd int) error {
		flags := 0
		if dir {
			flags = unix.AT_REMOVEDIR
		}
		err := unix.Unlinkat(fd, p.Base, flags)
		if errors.Is(err, unix.EISDIR) {
			err = errIsDir
		}
		return wrap("removing", path, err)
	})
}

func (t tree) attributes(path string, n *Node) error {
	return t.opened(path, func(p *root.Parent, fd int) error { return setAttributes(p, fd, n) })
}

func (t tree) setTime(path string, when Time) error {
	return t.opened(path, func(_ *root.Parent, fd int) error { return setTimes(fd, when) })
}

// opened calls f with the directory or file at path open. A device is never
// opened.
func (t tree) opened(path string, f func(p *root.Parent, fd int) error) error {
	return t.in(path, func(p *root.Parent, dir int) error {
		st, err := p.Lstat()
		if err != nil {
			return err
		}
		if st.Type != root.File && st.Type != root.Directory {
			return at(path, fmt.Errorf("it is %s", st.Type))
		}
		fd, err := unix.Openat(dir, p.Base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return wrap("opening", path, err)
		}
		defer unix.Close(fd)
		return wrap("changing", path, f(p, fd))
	})
}

func (t tree) barrier(_ int, volumes []int) error {
	for _, v := range volumes {
		if err := t.r.Filesystems()[v].Sync(); err != nil {
			return err
		}
	}
	return nil
}

// wrap says what was being done to which path; nil stays nil.
func wrap(what, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: what, Path: path, Err: err}
}

var _ disk = tree{}
