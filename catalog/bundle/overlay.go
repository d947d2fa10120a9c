package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
)

// overlay makes the overlay of a folder.
func (b *builder) overlay(r *recipeOverlay) (*Overlay, error) {
	o := new(Overlay)
	for _, name := range r.remove {
		o.Delete = append(o.Delete, strings.TrimPrefix(name, "/"))
	}
	slices.Sort(o.Delete)
	o.Delete = slices.Compact(o.Delete)
	if r.from == "" {
		if r.to != "" || len(r.attributes) > 0 || len(r.expand) > 0 {
			return nil, errors.New("to, attributes and expand need from")
		}
		return o, nil
	}
	w := &overlayWalker{b: b, from: path.Clean(r.from), to: strings.Trim(path.Clean("/"+r.to), "/"), inodes: map[inode]string{}}
	if err := w.walk(); err != nil {
		return nil, at("from", err)
	}
	if err := w.decorate(r); err != nil {
		return nil, err
	}
	var err error
	o.Entries, err = w.finish()
	return o, err
}

// An overlayWalker collects the entries of a folder.
type overlayWalker struct {
	b        *builder
	from, to string
	found    []foundEntry
	inodes   map[inode]string // files with more than one name → the path of the first
}

// A foundEntry is what lies in the folder.
type foundEntry struct {
	Entry
	source string
	parent bool // a directory with something in it: no entry unless attributes say something of it
}

// An inode says which names are one file.
type inode struct{ dev, ino uint64 }

// walk collects what lies in the folder, ordered by path.
func (w *overlayWalker) walk() error {
	info, err := w.b.root.Lstat(w.from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", w.from)
	}
	err = fs.WalkDir(w.b.root.FS(), w.from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == w.from {
			return err
		}
		if len(w.found) >= mostEntries {
			return fmt.Errorf("more than %d files", mostEntries)
		}
		return cmp.Or(w.b.ctx.Err(), w.add(name))
	})
	if err != nil {
		return err
	}
	slices.SortFunc(w.found, func(a, b foundEntry) int { return strings.Compare(a.Path, b.Path) })
	w.link()
	return nil
}

// add collects one file.
func (w *overlayWalker) add(name string) error {
	info, err := w.b.root.Lstat(name)
	if err != nil {
		return err
	}
	e := foundEntry{source: name}
	e.Path = path.Join(w.to, strings.TrimPrefix(strings.TrimPrefix(name, w.from), "/"))
	switch info.Mode().Type() {
	case 0:
		e.Type, e.Mode = RegularFile, uint32(plainMode(info.Mode()))
	case fs.ModeDir:
		e.Type, e.Mode = Directory, 0o755
		e.parent, err = w.hasFiles(name)
	case fs.ModeSymlink:
		e.Type = Symlink
		e.Link, err = w.b.root.Readlink(name)
	default:
		return fmt.Errorf("%s: a device, pipe or socket cannot be in a bundle", name)
	}
	w.found = append(w.found, e)
	return err
}

// hasFiles tells whether something is in a directory.
func (w *overlayWalker) hasFiles(name string) (bool, error) {
	f, err := w.b.root.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if err == io.EOF {
		err = nil
	}
	return len(names) > 0, err
}

// plainMode returns the mode of a file whatever the umask was: 0755 of a
// program, 0644 of anything else.
func plainMode(mode fs.FileMode) fs.FileMode {
	if mode&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

// link makes the second and later names of a file hard links to the first.
func (w *overlayWalker) link() {
	for i := range w.found {
		e := &w.found[i]
		if e.Type != RegularFile {
			continue
		}
		info, err := w.b.root.Lstat(e.source)
		if err != nil {
			continue // reading it will tell
		}
		s, ok := info.Sys().(*syscall.Stat_t)
		if !ok || s.Nlink < 2 {
			continue
		}
		key := inode{uint64(s.Dev), s.Ino}
		if first, ok := w.inodes[key]; ok {
			e.Entry = Entry{Path: e.Path, Type: Hardlink, Link: first}
			continue
		}
		w.inodes[key] = e.Path
	}
}

// decorate does what attributes and expand say.
func (w *overlayWalker) decorate(r *recipeOverlay) error {
	for i := range r.attributes {
		a := &r.attributes[i]
		err := w.each(a.glob, func(e *foundEntry) {
			e.parent = false
			a.change(&e.Entry)
		})
		if err != nil {
			return at(fmt.Sprintf("attributes[%d]", i), err)
		}
	}
	for i, glob := range r.expand {
		if err := w.each(glob, func(e *foundEntry) { e.Expand = e.Type == RegularFile }); err != nil {
			return at(fmt.Sprintf("expand[%d]", i), err)
		}
	}
	return nil
}

// each calls use for everything that a glob matches, which must be something.
// Instead of a hard link it gets the file.
func (w *overlayWalker) each(glob string, use func(*foundEntry)) error {
	matched := false
	for i := range w.found {
		ok, err := matchPath(glob, w.found[i].Path)
		if err != nil {
			return fmt.Errorf("%q: %w", glob, err)
		}
		if !ok {
			continue
		}
		matched = true
		use(w.file(i))
	}
	if !matched {
		return fmt.Errorf("%q matches nothing", glob)
	}
	return nil
}

// file returns the entry with number i, or the file that it is a hard link to.
func (w *overlayWalker) file(i int) *foundEntry {
	e := &w.found[i]
	if e.Type == Hardlink {
		i, _ = slices.BinarySearchFunc(w.found, e.Link, func(e foundEntry, path string) int { return strings.Compare(e.Path, path) })
		e = &w.found[i]
	}
	return e
}

// finish returns the entries with the numbers of their contents.
func (w *overlayWalker) finish() ([]Entry, error) {
	var entries []Entry
	for i := range w.found {
		e := &w.found[i]
		if e.parent {
			continue
		}
		if e.Type == RegularFile {
			var err error
			if e.Data, err = w.b.add(e.source); err != nil {
				return nil, err
			}
		}
		entries = append(entries, e.Entry)
	}
	return entries, nil
}

// checkExpanded checks that parameters in the files that expand are ones of the
// bundle.
func (b *builder) checkExpanded() error {
	for i, p := range b.m.Payload {
		if p.Overlay == nil {
			continue
		}
		for _, e := range p.Overlay.Entries {
			if !e.Expand {
				continue
			}
			text, err := b.readSmall(b.sources[e.Data], longestExpand)
			if err == nil {
				err = b.m.checkHolders(string(text))
			}
			if err != nil {
				return at(fmt.Sprintf("payload[%d].overlay.expand", i), fmt.Errorf("%s: %w", e.Path, err))
			}
		}
	}
	return nil
}
