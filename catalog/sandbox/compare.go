package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
)

// compare fills in what is different about a name that is there.
func (c *comparison) compare(l *layer, d *difference) (err error) {
	if d.Xattrs, err = l.xattrs(d.inner); err != nil {
		return err
	}
	if d.Stat.Type == root.Symlink {
		if d.Link, err = l.upper.Readlink(d.inner); err != nil {
			return err
		}
	}
	if d.kept, err = c.sameContents(l, d); err != nil {
		return err
	}
	if !d.kept {
		d.Kind = Create
		return l.mayCreate(d)
	}
	if d.attrs, err = c.attributesDiffer(l, d); err != nil {
		return err
	}
	if d.attrs {
		d.Kind = Attributes
	}
	return nil
}

// mayCreate refuses what no change can bring.
func (l *layer) mayCreate(d *difference) error {
	plain := d.Stat.Type == root.File || d.Stat.Type == root.Directory
	if plain && (l.way != copied || d.Stat.Links < 2 || d.Stat.Type == root.Directory) || d.Stat.Type == root.Symlink && l.way != copied {
		return nil
	}
	if d.Stat.Type == root.File || d.Stat.Type == root.Symlink {
		return fmt.Errorf("%s: a link was made on a file system without links (%s)", d.Path, l.fs.Type)
	}
	return fmt.Errorf("%w: %s (%s)", ErrSpecial, d.Path, d.Stat.Type)
}

// sameContents tells whether the root has the same at a path, but for
// attributes.
func (c *comparison) sameContents(l *layer, d *difference) (bool, error) {
	if d.Stat.Type != d.below.Type || d.Stat.Size != d.below.Size || d.Stat.Rdev != d.below.Rdev {
		return false, nil
	}
	switch d.Stat.Type {
	case root.Symlink:
		below, err := c.o.root.Readlink(d.Path)
		return d.Link == below, err
	case root.File:
		return c.sameBytes(l, d)
	}
	return true, nil
}

// sameBytes compares the contents of two files of one size.
func (c *comparison) sameBytes(l *layer, d *difference) (bool, error) {
	a, err := l.upper.Open(d.inner)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := c.o.root.Open(d.Path)
	if err != nil {
		return false, err
	}
	defer b.Close()
	return sameStreams(a, b)
}

func sameStreams(a, b io.Reader) (bool, error) {
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(a, p)
		m, err2 := io.ReadFull(b, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		ended := func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
		if ended(err) && ended(err2) {
			return true, nil
		}
		if err = errors.Join(err, err2); err != nil {
			return false, err
		}
	}
}

// attributesDiffer compares all but contents. On a copy, owner and mode are
// what the driver of the original says about all files, and do not count.
func (c *comparison) attributesDiffer(l *layer, d *difference) (bool, error) {
	a, b := d.Stat, d.below
	if a.ModTime != b.ModTime && a.Type != root.Directory {
		return true, nil
	}
	if l.way == copied {
		return false, nil
	}
	if a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID {
		return true, nil
	}
	below, err := c.o.root.Xattrs(d.Path)
	below = slices.DeleteFunc(below, func(x root.Xattr) bool { return x.Name == root.Label })
	same := slices.EqualFunc(d.Xattrs, below, func(x, y root.Xattr) bool { return x.Name == y.Name && bytes.Equal(x.Value, y.Value) })
	return !same, err
}

// overlayPrefix begins the names of the attributes that overlayfs keeps for
// itself in the upper folder.
const overlayPrefix = "trusted.overlay."

// xattrs returns the attributes of a name in a layer as programs see them, but
// for its label: that comes from the policy of this kernel, if it has one.
func (l *layer) xattrs(path string) ([]root.Xattr, error) {
	all, err := l.upper.Xattrs(path)
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		if x.Name == overlayPrefix+"redirect" || x.Name == overlayPrefix+"metacopy" {
			return nil, fmt.Errorf("%s: overlayfs left %s, %w", path, x.Name, unix.ENOTSUP)
		}
	}
	return slices.DeleteFunc(all, func(x root.Xattr) bool { return x.Name == root.Label || strings.HasPrefix(x.Name, overlayPrefix) }), nil
}
