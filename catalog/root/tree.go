package root

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// treeQueue is how many entries wait for the one whose contents are being
// read. Each of them may be an open file.
const treeQueue = 128

// TreeOptions say what a tree is made of. The zero value is what the tree
// digest is made of.
type TreeOptions struct {
	NoTimes    bool // times are left out
	NoContents bool // contents of files are left out: nothing is read but folders
}

// An Entry is one name in a tree. A further name of a file that stands before
// it has no more than Path, Stat and Same.
type Entry struct {
	Path string // "." is the top
	Stat
	Xattrs []Xattr
	Link   string // text of a symbolic link
	SHA256 string // of the contents of a file, in hexadecimal
	Same   string // the first path, in the order of the tree, that names the same file; else empty
}

// Tree returns the entries of the root, a directory before what is in it and
// the names in a directory ordered by bytes. Slipcast's own files (section 9.6)
// and what is not on a file system of the root are left out. A file that
// changes while it is read is an error.
func (r *Root) Tree(ctx context.Context, opt TreeOptions) ([]Entry, error) {
	var entries []Entry
	err := r.walk(ctx, opt, func(e *Entry) error {
		entries = append(entries, *e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// walk calls visit with each entry in order, from one goroutine. Files are
// read side by side.
func (r *Root) walk(ctx context.Context, opt TreeOptions, visit func(*Entry) error) error {
	g, gctx := errgroup.WithContext(ctx)
	w := &walker{
		r: r, opt: opt, ctx: gctx, seen: make(map[fileID]string),
		work: make(chan *visited), queue: make(chan *visited, treeQueue),
	}
	g.Go(w.run)
	for range runtime.GOMAXPROCS(0) {
		g.Go(w.read)
	}
	g.Go(func() error { return w.inOrder(visit) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("reading the tree: %w", err)
	}
	return nil
}

// A fileID tells files apart.
type fileID struct{ dev, ino uint64 }

// A visited entry is on its way to the one who asked for it.
type visited struct {
	Entry
	file *os.File // whose contents and attributes are still to be read; else nil
	done chan error
}

// A walker goes through a tree.
type walker struct {
	r     *Root
	opt   TreeOptions
	ctx   context.Context
	seen  map[fileID]string // the first path of files with several
	work  chan *visited     // to those who read
	queue chan *visited     // to the one who puts them in order
}

// run goes through all of the tree.
func (w *walker) run() error {
	defer close(w.queue)
	defer close(w.work)
	top, err := reopenDir(w.r.top)
	if err != nil {
		return err
	}
	return w.folder(".", top)
}

// folder takes a directory and what is in it, and closes it.
func (w *walker) folder(path string, dir *os.File) error {
	defer dir.Close()
	st, id, err := lstat(int(dir.Fd()), "")
	if err != nil {
		return pathError("looking at", path, err)
	}
	fs := w.r.byID[id]
	if fs == nil {
		return nil
	}
	st.ModTime = Time{}
	e := &visited{Entry: Entry{Path: path, Stat: st}}
	if e.Xattrs, err = xattrs(byDescriptor(int(dir.Fd()))); err != nil {
		return pathError("reading the attributes of", path, err)
	}
	if err := w.send(e); err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return pathError("reading the directory", path, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := w.name(dir, join(path, name), name, fs); err != nil {
			return err
		}
	}
	return nil
}

// name takes a name in a directory.
func (w *walker) name(dir *os.File, path, name string, fs *Filesystem) error {
	if w.r.isOwn(path, name, fs) {
		return nil
	}
	if len(path) > maxPath {
		return pathError("reading the tree", path, ErrPath)
	}
	st, id, err := lstat(int(dir.Fd()), name)
	if err != nil {
		return pathError("looking at", path, err)
	}
	if st.Type == Directory {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return pathError("opening", path, err)
		}
		return w.folder(path, os.NewFile(uintptr(fd), path))
	}
	if w.r.byID[id] == nil {
		return nil
	}
	e := &visited{Entry: Entry{Path: path, Stat: st}}
	if w.opt.NoTimes || st.Type != File && st.Type != Symlink {
		e.ModTime = Time{}
	}
	if st.Links > 1 && w.again(e) {
		return w.send(e)
	}
	if err := w.details(dir, name, e); err != nil {
		return pathError("reading", path, err)
	}
	return w.send(e)
}

// again tells whether a file was there under another name.
func (w *walker) again(e *visited) bool {
	id := fileID{e.Dev, e.Ino}
	e.Same = w.seen[id]
	if e.Same == "" {
		w.seen[id] = e.Path
	}
	return e.Same != ""
}

// details adds what the folder does not tell of an entry; what takes longer is
// left to those who read.
func (w *walker) details(dir *os.File, name string, e *visited) (err error) {
	if e.Type == Symlink {
		if e.Link, err = readlink(int(dir.Fd()), name); err != nil {
			return err
		}
	}
	if e.Type != File || w.opt.NoContents {
		e.Xattrs, err = xattrs(byPath(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)))
		return err
	}
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // only the owner may ask not to be noticed
		fd, err = unix.Openat(int(dir.Fd()), name, flags, 0)
	}
	if err != nil {
		return err
	}
	e.file = os.NewFile(uintptr(fd), e.Path)
	return nil
}

// send gives an entry to the one who puts them in order, and before to those
// who read, if there is something to read.
func (w *walker) send(e *visited) error {
	e.done = make(chan error, 1)
	if e.file == nil {
		e.done <- nil
	} else {
		select {
		case w.work <- e:
		case <-w.ctx.Done():
			e.file.Close()
			return w.ctx.Err()
		}
	}
	select {
	case w.queue <- e:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// read reads files until there are no more. After somebody else has failed it
// only closes them.
func (w *walker) read() error {
	buffer := make([]byte, 128<<10)
	for e := range w.work {
		err := w.ctx.Err()
		if err == nil {
			err = e.read(buffer)
		}
		e.file.Close()
		if err != nil {
			err = pathError("reading", e.Path, err)
		}
		e.done <- err
	}
	return nil
}

// errChanging reports a file that was not the same from begin to end.
var errChanging = errors.New("it changed while it was read")

// read reads the attributes and the contents of a file.
func (e *visited) read(buffer []byte) (err error) {
	fd := int(e.file.Fd())
	if e.Xattrs, err = xattrs(byDescriptor(fd)); err != nil {
		return err
	}
	hash, size := sha256.New(), int64(0)
	for {
		n, err := unix.Read(fd, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		size += int64(n)
		hash.Write(buffer[:n])
	}
	st, _, err := lstat(fd, "")
	if err != nil {
		return err
	}
	if st.Dev != e.Dev || st.Ino != e.Ino || size != e.Size || st.Size != e.Size {
		return errChanging
	}
	e.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return nil
}

// inOrder calls visit with the entries as they were found.
func (w *walker) inOrder(visit func(*Entry) error) error {
	for e := range w.queue {
		select {
		case err := <-e.done:
			if err != nil {
				return err
			}
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
		if err := visit(&e.Entry); err != nil {
			return err
		}
	}
	return nil
}

// join returns the path of a name in a directory.
func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// Where slipcast keeps its own files on a root: section 9.6.
const (
	StateLinux      = "var/lib/slipcast"
	StateWindows    = "ProgramData/slipcast"
	StateFilesystem = ".slipcast" // at the top of every file system but the root's own
)

// StateDir returns where slipcast keeps its own files on this root.
func (r *Root) StateDir() string {
	if r.family == Windows {
		return StateWindows
	}
	return StateLinux
}

// isOwn tells slipcast's own files, which are not part of the tree.
func (r *Root) isOwn(path, name string, fs *Filesystem) bool {
	if r.family == Windows && strings.EqualFold(path, StateWindows) || path == r.StateDir() {
		return true
	}
	return name == StateFilesystem && fs.Path != "." && path == join(fs.Path, name)
}
