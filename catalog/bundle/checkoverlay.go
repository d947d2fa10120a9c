package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of extended attributes: XATTR_NAME_MAX and XATTR_SIZE_MAX of Linux
// (linux/limits.h), and how many an entry may have.
const (
	longestXattrName = 255
	longestXattr     = 65536
	mostXattrs       = 100
)

// Bits of Entry.Mode.
const (
	modeSetID = 0o6000 // setuid and setgid
	modeAll   = 0o7777
)

// noOwner is what chown(2) takes for the owner that the file has.
const noOwner = 1<<32 - 1

// checkOverlay returns which rule o, which may be nil, breaks.
func (m *Manifest) checkOverlay(o *Overlay) error {
	if o == nil {
		return nil
	}
	if len(o.Entries)+len(o.Delete) == 0 {
		return errors.New("neither lays nor deletes anything")
	}
	path := func(s *string) error { return checkPath(m.Family, *s) }
	if err := cmp.Or(
		each("entries", mostEntries, o.Entries, m.checkEntry),
		each("delete", mostEntries, o.Delete, path),
	); err != nil {
		return err
	}
	if i := firstUnordered(o.Delete, func(s string) string { return s }); i > 0 {
		return at("delete", fmt.Errorf("%q after %q, want them in order, each once", o.Delete[i], o.Delete[i-1]))
	}
	if i := firstUnordered(o.Entries, func(e Entry) string { return e.Path }); i > 0 {
		return at("entries", fmt.Errorf("%q after %q, want them in order, each once", o.Entries[i].Path, o.Entries[i-1].Path))
	}
	return at("entries", checkHardlinks(o.Entries))
}

// firstUnordered returns the number of the first element whose key is not
// higher than that of the element before it, or 0.
func firstUnordered[T any](list []T, key func(T) string) int {
	for i := 1; i < len(list); i++ {
		if key(list[i-1]) >= key(list[i]) {
			return i
		}
	}
	return 0
}

// checkHardlinks checks that hard links are names of files that stand before them.
// The entries are ordered.
func checkHardlinks(entries []Entry) error {
	for i, e := range entries {
		if e.Type != Hardlink {
			continue
		}
		j, ok := slices.BinarySearchFunc(entries[:i], e.Link, func(e Entry, path string) int { return strings.Compare(e.Path, path) })
		if !ok || entries[j].Type != RegularFile {
			return fmt.Errorf("%q is a hard link to %q, which is no file before it in this overlay", e.Path, e.Link)
		}
	}
	return nil
}

// checkEntry checks one entry alone.
func (m *Manifest) checkEntry(e *Entry) error {
	if err := at("path", checkPath(m.Family, e.Path)); err != nil {
		return err
	}
	if err := cmp.Or(checkFields(e), m.checkMode(e), m.checkXattrs(e)); err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	return nil
}

// checkFields checks that e has what its type has, and nothing else.
func checkFields(e *Entry) error {
	extra := e.Data != 0 || e.Expand
	switch e.Type {
	case RegularFile:
		extra = e.Link != ""
	case Directory:
		extra = extra || e.Link != ""
	case Symlink:
		extra = extra || e.Mode != 0 || len(e.Xattrs) > 0
		if err := checkLink(e.Path, e.Link); err != nil {
			return err
		}
	case Hardlink:
		extra = extra || e.Mode != 0 || e.UID != 0 || e.GID != 0 || len(e.Xattrs) > 0
	default:
		return fmt.Errorf("type %q, want file, dir, symlink or hardlink", string(e.Type))
	}
	if extra || e.Data < 0 {
		return fmt.Errorf("has fields that a %s does not have", e.Type)
	}
	return nil
}

// checkMode checks mode and owner.
func (m *Manifest) checkMode(e *Entry) error {
	switch {
	case e.Mode&^modeAll != 0:
		return fmt.Errorf("mode %#o, want at most 7777", e.Mode)
	case e.Mode&modeSetID != 0 && !m.allows(SetUID):
		return fmt.Errorf("mode %#o: setuid and setgid need allow: [setuid]", e.Mode)
	case e.UID == noOwner || e.GID == noOwner:
		return fmt.Errorf("owner %d:%d, want numbers below %d, which no file can have", e.UID, e.GID, uint32(noOwner))
	case m.Family != Windows:
		return nil
	case e.Type == Symlink:
		return errors.New("a symbolic link, which Windows does not have offline")
	case e.UID != 0 || e.GID != 0 || e.Mode&^0o777 != 0:
		return errors.New("owner or mode that Windows does not have")
	}
	return nil
}

func (m *Manifest) allows(what string) bool { return slices.Contains(m.Allow, what) }

// checkXattrs checks the extended attributes.
func (m *Manifest) checkXattrs(e *Entry) error {
	if m.Family == Windows && len(e.Xattrs) > 0 {
		return errors.New("extended attributes, which Windows does not have")
	}
	if i := firstUnordered(e.Xattrs, func(x Xattr) string { return x.Name }); i > 0 {
		return fmt.Errorf("attribute %q after %q, want them in order, each once", e.Xattrs[i].Name, e.Xattrs[i-1].Name)
	}
	return each("xattrs", mostXattrs, e.Xattrs, m.checkXattr)
}

// checkXattr checks one attribute: its namespace is one of xattr(7).
func (m *Manifest) checkXattr(x *Xattr) error {
	space, rest, _ := strings.Cut(x.Name, ".")
	switch {
	case !slices.Contains([]string{"user", "trusted", "security", "system"}, space) || rest == "":
		return fmt.Errorf("name %q, want one that begins with user., trusted., security. or system. and goes on", x.Name)
	case x.Name == "security.capability" && !m.allows(SetUID):
		return errors.New("capabilities need allow: [setuid]")
	case len(x.Value) > longestXattr:
		return fmt.Errorf("%s: %d bytes, at most %d are allowed", x.Name, len(x.Value), longestXattr)
	}
	return checkOneLine(x.Name, longestXattrName)
}
