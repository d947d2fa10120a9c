package apply

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"slipcast/catalog/bundle"
	"slipcast/catalog/probe"
)

// A compiler lays the payload of a bundle into a draft.
type compiler struct {
	*draft
	manifest *bundle.Manifest
	data     func(n int) (io.ReadCloser, error)
	params   map[string]string
	claims   map[Name]claim // by the path that they lead to, as spelled has it
}

// A claim is what a bundle does at a path.
type claim struct {
	path string // as the bundle has it
	kind string // lays, deletes, edits
	real string // the path that it leads to
}

func newCompiler(d *draft, m *bundle.Manifest, data func(int) (io.ReadCloser, error), params map[string]string) *compiler {
	return &compiler{draft: d, manifest: m, data: data, params: params, claims: map[Name]claim{}}
}

// payload lays one set of changes, none of packages, into the draft.
func (c *compiler) payload(p *bundle.Payload) error {
	switch {
	case p.Overlay != nil:
		return c.overlay(p.Overlay)
	case p.Line != nil:
		l := *p.Line
		return c.edit(l.Path, l.Create, l.Absent, func(p []byte) ([]byte, error) { return probe.EditLine(p, l) })
	case p.Ini != nil:
		i := *p.Ini
		return c.edit(i.Path, i.Create, i.Absent, func(p []byte) ([]byte, error) { return probe.EditIni(p, i) })
	}
	return nil
}

// claim notes what the bundle does at a path. Two names of one path, as links
// on the root make them, must not contradict each other; two spellings of one,
// in a Windows, cannot both be steps.
func (c *compiler) claim(real, path, kind string) error {
	key := spelled(c.manifest.Family, Name(real))
	other, ok := c.claims[key]
	if ok && other.path != path && (kind != "edits" || other.kind != "edits" || other.real != real) {
		return at(path, fmt.Errorf("%w: the bundle %s it, and %s %s, which is the same file on this root", ErrConflict, kind, other.kind, other.path))
	}
	c.claims[key] = claim{path, kind, real}
	return nil
}

func (c *compiler) overlay(o *bundle.Overlay) error {
	reals := map[string]string{}
	for i := range o.Entries {
		if err := c.entry(&o.Entries[i], reals); err != nil {
			return at(o.Entries[i].Path, err)
		}
	}
	for _, p := range o.Delete {
		real, err := c.remove(p, "deleting "+p)
		if err == nil {
			err = c.claim(real, p, "deletes")
		}
		if err != nil {
			return at(p, err)
		}
	}
	return nil
}

// entry lays one entry. reals has the paths that those before it have on the
// root.
func (c *compiler) entry(e *bundle.Entry, reals map[string]string) error {
	w := &want{origin: e.Path, own: e.Type != bundle.Directory}
	w.node = &Node{Mode: e.Mode, UID: e.UID, GID: e.GID, Xattrs: e.Xattrs}
	switch e.Type {
	case bundle.Directory:
		w.node.Type = Dir
	case bundle.Symlink:
		w.node.Type, w.node.Link, w.node.Mode = Symlink, Name(e.Link), 0
	case bundle.Hardlink:
		first, ok := reals[e.Link]
		if !ok || c.wants[first] == nil || c.wants[first].node == nil {
			return fmt.Errorf("%w: hard link to %s, which is not laid", ErrConflict, e.Link)
		}
		w.node, w.same = c.wants[first].node, first
		if s := c.wants[first].same; s != "" {
			w.same = s
		}
	case bundle.RegularFile:
		if err := c.contents(w, e); err != nil {
			return err
		}
	default:
		return fmt.Errorf("type %q", e.Type)
	}
	real, err := c.put(e.Path, w)
	if err != nil {
		return err
	}
	reals[e.Path] = real
	if e.Type == bundle.Directory {
		return nil
	}
	return c.claim(real, e.Path, "lays")
}

// contents says where the contents of an entry come from.
func (c *compiler) contents(w *want, e *bundle.Entry) error {
	if e.Data < 0 || e.Data >= len(c.manifest.Files) {
		return fmt.Errorf("file %d of the bundle: there is none", e.Data)
	}
	f := c.manifest.Files[e.Data]
	w.node.Type = File
	if !e.Expand {
		w.node.Size, w.node.SHA256 = f.Size, f.SHA256
		w.src = source{open: func() (io.ReadCloser, error) { return c.data(e.Data) }, checked: true}
		return nil
	}
	if f.Size > maxExpanded {
		return fmt.Errorf("%d bytes, at most %d can have parameters", f.Size, maxExpanded)
	}
	p, err := c.read(e.Data)
	if err != nil {
		return err
	}
	w.fill(expand(p, c.params))
	return nil
}

// read returns the contents of file n of the bundle.
func (c *compiler) read(n int) ([]byte, error) {
	r, err := c.data(n)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(r)
	return p, errors.Join(err, r.Close())
}

// fill makes p the contents of w.
func (w *want) fill(p []byte) {
	w.node.Size, w.node.SHA256 = int64(len(p)), digest(p)
	w.src = source{open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(p)), nil }}
}

// edit changes a text file. It keeps its mode, owner and attributes. A link is
// followed: it is the file that is meant.
func (c *compiler) edit(p string, create, absent bool, f func([]byte) ([]byte, error)) error {
	real, err := c.resolve(p, true)
	if err != nil {
		return at(p, err)
	}
	if err := c.claim(real, p, "edits"); err != nil {
		return err
	}
	now, err := c.node(real)
	if err != nil {
		return at(p, err)
	}
	var old []byte
	there := now != nil
	switch {
	case now == nil && absent:
		return nil // it has no such line
	case now == nil && !create:
		return at(p, errors.New("not there, and the bundle does not say create"))
	case now == nil:
		now = &Node{Type: File, Mode: 0o644}
	case now.Type != File:
		return at(p, fmt.Errorf("it is %s", now.name()))
	case now.Size > probe.MaxEdit:
		return at(p, fmt.Errorf("%d bytes, at most %d can be edited", now.Size, probe.MaxEdit))
	default:
		if old, err = c.text(real); err != nil {
			return at(p, err)
		}
	}
	text, err := f(old)
	if err != nil {
		return at(p, err)
	}
	w := &want{node: copyNode(now), origin: "editing " + p}
	if there && bytes.Equal(text, old) {
		return nil
	}
	w.node.Time = Time{}
	w.fill(text)
	_, err = c.put(real, w)
	return at(p, err)
}

// text returns the contents of a file of the draft.
func (c *compiler) text(real string) ([]byte, error) {
	open := func() (io.ReadCloser, error) { return c.d.open(real) }
	if w := c.wants[real]; w != nil {
		open = w.src.open
	}
	r, err := open()
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(io.LimitReader(r, probe.MaxEdit+1))
	return p, errors.Join(err, r.Close())
}
