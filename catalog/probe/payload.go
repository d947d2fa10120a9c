package probe

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
	"slipcast/catalog/root"
	"slipcast/catalog/version"
)

// PayloadOptions say what a bundle is compared with besides its manifest.
type PayloadOptions struct {
	// Expanded returns the SHA-256, in hexadecimal, of the contents of an entry
	// in which parameters are filled in. Without it, such contents are unknown.
	Expanded func(ctx context.Context, e bundle.Entry) (digest string, err error)
}

// Payload tells whether the root is as a bundle would leave it, as section 9.7
// of docs/bundles.md says, and, unless it is, why: the first thing that is not
// as it should be, or else the first that cannot be read. A bundle without a
// payload is unknown.
func (p *Probes) Payload(ctx context.Context, m *bundle.Manifest, opt PayloadOptions) (verdict condition.Verdict, reason string) {
	c := comparison{p: p, ctx: ctx, manifest: m, opt: opt}
	if len(m.Payload) == 0 {
		return condition.Unknown, "the bundle has no payload to compare"
	}
	for _, payload := range m.Payload {
		c.payload(payload)
		if c.different != "" {
			return condition.No, c.different
		}
	}
	if c.unreadable != "" {
		return condition.Unknown, c.unreadable
	}
	return condition.Yes, ""
}

// A comparison of a root with a payload keeps the first of each.
type comparison struct {
	p          *Probes
	ctx        context.Context
	manifest   *bundle.Manifest
	opt        PayloadOptions
	different  string
	unreadable string
}

// differs is an error that says what is not as it should be.
type differs string

func (d differs) Error() string { return string(d) }

// note takes down what a comparison of one thing has found.
func (c *comparison) note(thing string, err error) {
	if err == nil {
		return
	}
	reason := fmt.Sprintf("%s: %v", thing, err)
	var d differs
	if errors.As(err, &d) {
		c.different = cmp.Or(c.different, reason)
		return
	}
	c.unreadable = cmp.Or(c.unreadable, reason)
}

// payload compares one set of changes, until something differs.
func (c *comparison) payload(payload bundle.Payload) {
	switch {
	case payload.Overlay != nil:
		c.overlay(payload.Overlay)
	case payload.Line != nil:
		line := payload.Line
		c.note(line.Path, c.edit(line.Path, line.Absent, func(p []byte) ([]byte, error) { return EditLine(p, *line) }))
	case payload.Ini != nil:
		ini := payload.Ini
		c.note(ini.Path, c.edit(ini.Path, ini.Absent, func(p []byte) ([]byte, error) { return EditIni(p, *ini) }))
	}
	for _, pkg := range payload.Deb {
		c.note("package "+pkg.Name, c.pkg("deb", pkg))
	}
	for _, pkg := range payload.RPM {
		c.note("package "+pkg.Name, c.pkg("rpm", pkg))
	}
}

func (c *comparison) overlay(o *bundle.Overlay) {
	for _, e := range o.Entries {
		if c.different != "" {
			return
		}
		c.note(e.Path, c.entry(e))
	}
	for _, path := range o.Delete {
		_, err := c.p.root.Lstat(path)
		switch {
		case err == nil:
			c.note(path, differs("is there"))
		case !missing(err):
			c.note(path, err)
		}
	}
}

// entry compares one entry of an overlay with what lies there.
func (c *comparison) entry(e bundle.Entry) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	folder, st, err := c.at(e.Path)
	if err != nil {
		return err
	}
	defer folder.Close()
	if e.Type == bundle.Hardlink {
		return c.hardlink(e, st, folder)
	}
	if string(st.Type) != string(e.Type) {
		return differs(fmt.Sprintf("is of type %s, not %s", st.Type, e.Type))
	}
	if folder.FS.Owners {
		if err := owned(e, st); err != nil {
			return err
		}
	}
	if folder.FS.Xattrs {
		if err := attributed(e, folder); err != nil {
			return err
		}
	}
	switch e.Type {
	case bundle.Symlink:
		return linked(e, folder)
	case bundle.RegularFile:
		return c.contents(e, st, folder)
	}
	return nil
}

// at returns the folder of what lies at a path, which the caller closes, and
// what it is. A thing that is not there differs.
func (c *comparison) at(path string) (*root.Parent, root.Stat, error) {
	folder, err := c.p.root.Parent(path)
	if missing(err) {
		return nil, root.Stat{}, differs("is not there")
	}
	if err != nil {
		return nil, root.Stat{}, err
	}
	st, err := folder.Lstat()
	if err == nil {
		return folder, st, nil
	}
	folder.Close()
	if missing(err) {
		err = differs("is not there")
	}
	return nil, root.Stat{}, err
}

// owned compares owner and mode. A symbolic link has no mode of its own.
func owned(e bundle.Entry, st root.Stat) error {
	if st.UID != e.UID || st.GID != e.GID {
		return differs(fmt.Sprintf("belongs to %d:%d, not %d:%d", st.UID, st.GID, e.UID, e.GID))
	}
	if e.Type != bundle.Symlink && st.Mode != e.Mode {
		return differs(fmt.Sprintf("has mode %04o, not %04o", st.Mode, e.Mode))
	}
	return nil
}

// attributed looks for the entry's extended attributes; there may be others,
// as a system labels its files by itself.
func attributed(e bundle.Entry, folder *root.Parent) error {
	if len(e.Xattrs) == 0 {
		return nil
	}
	there, err := folder.Xattrs()
	if err != nil {
		return err
	}
	values := map[string][]byte{}
	for _, x := range there {
		values[x.Name] = x.Value
	}
	for _, x := range e.Xattrs {
		if value, ok := values[x.Name]; !ok || !bytes.Equal(value, x.Value) && !(x.Name == root.Label && root.SameLabel(value, x.Value)) {
			return differs("has another attribute " + x.Name)
		}
	}
	return nil
}

func linked(e bundle.Entry, folder *root.Parent) error {
	to, err := folder.Readlink()
	if err != nil {
		return err
	}
	if to != e.Link {
		return differs(fmt.Sprintf("leads to %s, not %s", to, e.Link))
	}
	return nil
}

// hardlink compares with the entry that this is another name of. Where there
// are no hard links it is a file of its own with the same contents.
func (c *comparison) hardlink(e bundle.Entry, st root.Stat, folder *root.Parent) error {
	other, otherSt, err := c.at(e.Link)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Link, err)
	}
	defer other.Close()
	if st.Dev == otherSt.Dev && st.Ino == otherSt.Ino {
		return nil
	}
	if folder.FS.Links {
		return differs("is not the same file as " + e.Link)
	}
	original, ok := c.find(e.Link)
	if !ok {
		return fmt.Errorf("no entry %s", e.Link)
	}
	if st.Type != root.File {
		return differs(fmt.Sprintf("is of type %s, not %s", st.Type, root.File))
	}
	return c.contents(original, st, folder)
}

// find returns the entry of a file in the overlays of the bundle.
func (c *comparison) find(path string) (bundle.Entry, bool) {
	for _, payload := range c.manifest.Payload {
		if payload.Overlay == nil {
			continue
		}
		for _, e := range payload.Overlay.Entries {
			if e.Path == path && e.Type == bundle.RegularFile {
				return e, true
			}
		}
	}
	return bundle.Entry{}, false
}

// contents compares what is in a file, first by its size.
func (c *comparison) contents(e bundle.Entry, st root.Stat, folder *root.Parent) error {
	want, err := c.digest(e, st)
	if err != nil {
		return err
	}
	f, err := folder.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := digest(c.ctx, f)
	if err != nil {
		return err
	}
	if got != want {
		return differs("has other contents")
	}
	return nil
}

// digest returns the digest of an entry's contents. Those of another size than
// the file's differ already.
func (c *comparison) digest(e bundle.Entry, st root.Stat) (string, error) {
	if e.Expand {
		if c.opt.Expanded == nil {
			return "", errors.New("its contents depend on parameters that are not known here")
		}
		return c.opt.Expanded(c.ctx, e)
	}
	if e.Data < 0 || e.Data >= len(c.manifest.Files) {
		return "", fmt.Errorf("no contents with the number %d", e.Data)
	}
	file := c.manifest.Files[e.Data]
	if file.Size != st.Size {
		return "", differs(fmt.Sprintf("has %d bytes, not %d", st.Size, file.Size))
	}
	return file.SHA256, nil
}

// edit tells whether an edit of a file would change it. A file that is not
// there lacks what is to be in it.
func (c *comparison) edit(path string, absent bool, edit func(p []byte) ([]byte, error)) error {
	p, found, err := c.p.read(path, MaxEdit)
	if err != nil {
		return err
	}
	if !found && !absent {
		return differs("is not there")
	}
	edited, err := edit(p)
	if err != nil {
		return err
	}
	if !bytes.Equal(p, edited) {
		return differs("does not have the lines that it should have")
	}
	return nil
}

// pkg compares the version of a package; a higher one will do.
func (c *comparison) pkg(scheme string, want bundle.Package) error {
	c.p.mu.Lock()
	all := c.p.installed(c.ctx)
	c.p.mu.Unlock()
	if all.err != nil {
		return all.err
	}
	have, err := highest(scheme, all.of(scheme), nameOf(want))
	if err != nil {
		return err
	}
	if have == "" {
		return differs("is not installed")
	}
	r, err := version.ParseRange(scheme, ">="+want.Version)
	if err != nil {
		return err
	}
	v, err := version.Parse(scheme, have)
	if err != nil {
		return err
	}
	enough, err := r.Has(v)
	if err == nil && !enough {
		return differs(fmt.Sprintf("%s is installed, older than %s", have, want.Version))
	}
	return err
}

// nameOf returns the name of a package with its architecture, unless it is for
// all of them.
func nameOf(p bundle.Package) string {
	if p.Arch == "" || p.Arch == "all" || p.Arch == "noarch" {
		return p.Name
	}
	return p.Name + ":" + p.Arch
}
