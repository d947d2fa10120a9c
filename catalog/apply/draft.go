package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// maxLinks is how many symbolic links a path may lead through, as in the
// kernel: path_resolution(7).
const maxLinks = 40

// A draft is a tree as it is to be: what a disk has, with changes over it. All
// paths that it keeps are free of symbolic links, but for the last name.
type draft struct {
	d       look
	volumes []volume
	wants   map[string]*want
	below   map[string][]string // names in wants by their directory
}

// A want is what a path is to be.
type want struct {
	node   *Node // nil: nothing
	src    source
	same   string // for a hard link: the path of the first name
	origin string // who wants it, for messages
	own    bool
	keep   bool // it is needed even if it is there already
	fresh  bool // of a directory: what was there is no directory
	inside bool // of a file: its contents are those that it has
}

func newDraft(d look) *draft {
	return &draft{d: d, volumes: d.volumes(), wants: map[string]*want{}, below: map[string][]string{}}
}

// want notes what path, which has no links in it, is to be.
func (t *draft) want(p string, w *want) {
	if t.wants[p] == nil && p != "." {
		t.below[path.Dir(p)] = append(t.below[path.Dir(p)], path.Base(p))
	}
	t.wants[p] = w
}

// node returns what path is in the draft, nil for nothing. The path must be
// free of links in its parents.
func (t *draft) node(p string) (*Node, error) {
	if p == "." {
		return &Node{Type: Dir}, nil
	}
	if w := t.wants[p]; w != nil {
		return w.node, nil
	}
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if w := t.wants[dir]; w != nil && (!w.node.dir() || w.fresh) {
			return nil, nil
		}
	}
	return nodeAt(t.d, p)
}

func nodeAt(d look, p string) (*Node, error) {
	st, err := d.stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &st.Node, nil
}

// resolve returns p with the symbolic links in its parents followed inside the
// root. With last, one at its end is followed, too. Names that are not there
// are taken as they are.
func (t *draft) resolve(p string, last bool) (string, error) {
	done, rest := ".", strings.Split(p, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, name)
		n, err := t.node(next)
		if err != nil {
			return "", err
		}
		if n.kind() != Symlink || len(rest) == 0 && !last {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", at(p, errors.New("too many symbolic links"))
		}
		if strings.HasPrefix(string(n.Link), "/") {
			done = "."
		}
		rest = append(strings.Split(string(n.Link), "/"), rest...)
	}
	return done, nil
}

// put makes path what w says, with the directories that it lies in. It returns
// the path without links. A directory that is wanted where a link leads to one
// is the one that it leads to.
func (t *draft) put(p string, w *want) (string, error) {
	real, err := t.resolve(p, false)
	if err != nil {
		return "", err
	}
	if err := t.parents(real, w.origin); err != nil {
		return "", err
	}
	now, err := t.node(real)
	if err != nil {
		return "", err
	}
	if w.node.dir() && now.kind() == Symlink {
		if to, err := t.resolve(p, true); err == nil {
			if n, err := t.node(to); err == nil && n.dir() {
				return to, nil // as dpkg has it: a distribution may have moved the directory
			}
		}
	}
	return real, t.set(real, now, w)
}

// place is put for a path that has no links in its parents and is to be what w
// says itself, whatever lies there.
func (t *draft) place(p string, w *want) error {
	if err := t.parents(p, w.origin); err != nil {
		return err
	}
	now, err := t.node(p)
	if err != nil {
		return err
	}
	return t.set(p, now, w)
}

// set is place for a path whose directory is there and that is now.
func (t *draft) set(real string, now *Node, w *want) error {
	if now.dir() && !w.node.dir() {
		if err := t.drop(real, w.origin); err != nil {
			return err
		}
	}
	if w.node.dir() {
		old := t.wants[real]
		w.fresh = now != nil && !now.dir() || old != nil && (old.fresh || !old.node.dir())
	}
	t.want(real, w)
	return nil
}

// parents makes sure of the directories that path lies in.
func (t *draft) parents(p, origin string) error {
	dir := path.Dir(p)
	if dir == "." {
		return nil
	}
	n, err := t.node(dir)
	if err != nil || n.dir() {
		return err
	}
	if n != nil {
		if w := t.wants[dir]; w != nil {
			return at(p, fmt.Errorf("%w: %s wants %s to be %s, and %s wants something in it", ErrConflict, w.origin, dir, n.name(), origin))
		}
		return at(p, fmt.Errorf("%w: %s is %s", ErrConflict, dir, n.name()))
	}
	if err := t.parents(dir, origin); err != nil {
		return err
	}
	t.want(dir, &want{node: &Node{Type: Dir, Mode: 0o755}, origin: origin})
	return nil
}

// remove makes path nothing. That it is nothing already is fine.
func (t *draft) remove(p, origin string) (string, error) {
	real, err := t.resolve(p, false)
	if err != nil {
		return "", err
	}
	n, err := t.node(real)
	if err != nil || n == nil {
		return real, err
	}
	return real, t.drop(real, origin)
}

// drop makes path, which has no links in it, and all that is below it nothing.
func (t *draft) drop(p, origin string) error {
	for _, v := range t.volumes {
		if v.top == p {
			return at(p, fmt.Errorf("%w: %s takes away the place of a file system", ErrConflict, origin))
		}
	}
	n, err := t.node(p)
	if err != nil {
		return err
	}
	if n.dir() {
		names, err := t.names(p)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := t.drop(path.Join(p, name), origin); err != nil {
				return err
			}
		}
	}
	t.want(p, &want{origin: origin})
	return nil
}

// names returns the names in the directory at p, which has no links in it, of
// the draft.
func (t *draft) names(p string) ([]string, error) {
	set := map[string]bool{}
	if w := t.wants[p]; w == nil || !w.fresh {
		names, err := t.d.names(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, name := range names {
			set[name] = true
		}
	}
	for _, name := range t.below[p] {
		set[name] = true
	}
	maps.DeleteFunc(set, func(name string, _ bool) bool {
		w := t.wants[path.Join(p, name)]
		return w != nil && w.node == nil
	})
	return slices.Sorted(maps.Keys(set)), nil
}
