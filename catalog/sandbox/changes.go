package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"slipcast/catalog/root"
)

// A Kind is what becomes of a path.
type Kind string

// The kinds of changes.
const (
	// Create puts a file, a directory or a symbolic link in the place of
	// whatever is there. A directory is created only where none is.
	Create Kind = "create"
	// Hardlink puts another name for the file Link in the place of whatever is there.
	Hardlink Kind = "hardlink"
	// Attributes sets mode, owner, extended attributes and, but for
	// directories, time. The contents stay.
	Attributes Kind = "attributes"
	// Delete removes a name, a directory with all that is below it.
	Delete Kind = "delete"
)

// A Change is one difference between the root and the overlay.
type Change struct {
	Kind   Kind
	Path   string       // inside of the root
	Stat   root.Stat    // as it is in the overlay; not of Hardlink and Delete
	Xattrs []root.Xattr // likewise, all of them but root.Label, ordered by name
	Link   string       // of a Create of a symbolic link: its text; of Hardlink: the path of the other name
	Was    root.Type    // what the root has there; empty if nothing

	layer *layer
	inner string // path in the layer
}

// ErrSpecial reports a device or a named pipe that a program made: no bundle
// brings one.
var ErrSpecial = errors.New("a device or named pipe was made")

// Changes lists what is different from the root, ordered by path as in a tree,
// a directory before what is in it; a Hardlink may come before what it names.
// Paths have no symbolic links in their parents, neither on the root with the
// changes before them nor in the overlay.
//
// Times of directories do not count. A file that was written to with what it
// had before is not changed; one that was written to a new file of the same
// contents has another time, which is a change of attributes. Sockets are left
// out: nobody listens any more.
func (o *Overlay) Changes(ctx context.Context) ([]Change, error) {
	c := &comparison{o: o, ctx: ctx, groups: make(map[inode][]*difference)}
	for _, l := range o.layers {
		if l.way == hidden {
			continue
		}
		if err := errors.Join(c.top(l), c.folder(l, ".", false)); err != nil {
			return nil, fmt.Errorf("looking for changes: %w", err)
		}
	}
	c.join()
	var changes []Change
	for _, d := range c.list {
		if d.Kind != "" {
			changes = append(changes, d.Change)
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return comparePaths(a.Path, b.Path) })
	return changes, nil
}

// comparePaths orders paths as a tree: names by bytes, and what is in a folder
// right behind it.
func comparePaths(a, b string) int {
	return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
}

// Open opens the contents of a file that a change creates.
func (o *Overlay) Open(c Change) (io.ReadCloser, error) { return c.layer.upper.Open(c.inner) }

// An inode tells files of the scratch folder apart.
type inode struct{ dev, ino uint64 }

// A difference is a name in a layer, and what is different about it.
type difference struct {
	Change           // Kind is empty if nothing is different
	below  root.Stat // what the root has there; Type is empty if nothing
	kept   bool      // the file has the contents that the root has there
	attrs  bool      // something else is different
}

// A comparison collects differences.
type comparison struct {
	o      *Overlay
	ctx    context.Context
	list   []*difference
	groups map[inode][]*difference // names of files that have several
}

// top compares the top directory of a layer itself.
func (c *comparison) top(l *layer) error {
	below, err := c.o.root.Lstat(l.fs.Path)
	if err != nil {
		return err
	}
	d := &difference{Change: c.change(l, ".", "", below.Type), below: below}
	if d.Stat, err = l.upper.Lstat("."); err != nil {
		return err
	}
	c.list = append(c.list, d)
	return c.compare(l, d)
}

// folder compares a folder of a layer with the root. If bare, the root has
// nothing there.
func (c *comparison) folder(l *layer, path string, bare bool) error {
	names, err := l.upper.ReadDir(path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.name(l, join(path, name), bare); err != nil {
			return err
		}
	}
	if bare {
		return nil
	}
	whole, err := l.isWhole(path)
	if !whole || err != nil {
		return err
	}
	return c.missing(l, path, names)
}

// isWhole tells whether a folder of a layer hides what the root has there: a
// copy does, and a folder that was removed and made again.
func (l *layer) isWhole(path string) (bool, error) {
	if l.way == copied {
		return true, nil
	}
	xattrs, err := l.upper.Xattrs(path)
	opaque := slices.ContainsFunc(xattrs, func(x root.Xattr) bool {
		return x.Name == overlayPrefix+"opaque" && string(x.Value) == "y"
	})
	return opaque, err
}

// missing adds what the root has in a folder and the layer has not.
func (c *comparison) missing(l *layer, path string, names []string) error {
	below, err := c.o.root.ReadDir(l.rootPath(path))
	if err != nil {
		return err
	}
	for _, name := range below {
		if _, found := slices.BinarySearch(names, name); found || l.isMount(c.o, join(path, name)) {
			continue
		}
		was, err := c.o.root.Lstat(l.rootPath(join(path, name)))
		if err != nil {
			return err
		}
		c.list = append(c.list, &difference{Change: c.change(l, join(path, name), Delete, was.Type)})
	}
	return nil
}

// isMount tells whether another file system of the root is mounted at a path.
func (l *layer) isMount(o *Overlay, path string) bool {
	return slices.ContainsFunc(o.layers, func(other *layer) bool { return other != l && other.fs.Path == l.rootPath(path) })
}

func (c *comparison) change(l *layer, path string, kind Kind, was root.Type) Change {
	return Change{Kind: kind, Path: l.rootPath(path), Was: was, layer: l, inner: path}
}

// name compares a name in a layer with the root.
func (c *comparison) name(l *layer, path string, bare bool) error {
	st, err := l.upper.Lstat(path)
	if err != nil {
		return err
	}
	var below root.Stat
	if !bare {
		below, err = c.o.root.Lstat(l.rootPath(path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	whiteout := st.Type == root.CharDevice && st.Rdev == 0 && l.way == overlaid
	if whiteout || st.Type == root.Socket {
		if below.Type != "" && (whiteout || below.Type != root.Socket) {
			c.list = append(c.list, &difference{Change: c.change(l, path, Delete, below.Type)})
		}
		return nil
	}
	d := &difference{Change: c.change(l, path, "", below.Type), below: below}
	d.Stat = st
	if err := c.compare(l, d); err != nil {
		return err
	}
	c.list = append(c.list, d)
	if st.Type == root.File && st.Links > 1 {
		id := inode{st.Dev, st.Ino}
		c.groups[id] = append(c.groups[id], d)
	}
	if st.Type == root.Directory {
		return c.folder(l, path, below.Type != root.Directory)
	}
	return nil
}

// join makes hard links of the names of one file: all but one, which is one
// that the root has already if there is any.
func (c *comparison) join() {
	for _, names := range c.groups {
		if len(names) < 2 {
			continue
		}
		first := names[0]
		if i := slices.IndexFunc(names, func(d *difference) bool { return d.kept }); i >= 0 {
			first = names[i]
		}
		for _, d := range names {
			if d == first {
				continue
			}
			if first.kept && !first.attrs && d.kept && d.below.Dev == first.below.Dev && d.below.Ino == first.below.Ino {
				d.Kind = "" // they are one file already
				continue
			}
			d.Change = c.change(d.layer, d.inner, Hardlink, d.below.Type)
			d.Link = first.Path
		}
	}
}

// join returns the path of a name in a folder.
func join(folder, name string) string {
	if folder == "." {
		return name
	}
	return folder + "/" + name
}
