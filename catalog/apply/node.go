package apply

import (
	"bytes"
	"fmt"
	"slices"

	"slipcast/catalog/bundle"
	"slipcast/catalog/root"
)

// A Type is what lies at a path.
type Type string

// The types. Everything that is not a file, a directory or a symbolic link is
// Special: it can be removed and put back, and never be made.
const (
	File    Type = "file"
	Dir     Type = "dir"
	Symlink Type = "symlink"
	Special Type = "special"
)

// A Node is everything of a file but its name and contents. On a file system
// without owners Mode, UID and GID are 0.
type Node struct {
	Type   Type           `json:"type"`
	Mode   uint32         `json:"mode,omitempty"` // permission, sticky, setuid and setgid bits
	UID    uint32         `json:"uid,omitempty"`
	GID    uint32         `json:"gid,omitempty"`
	Time   Time           `json:"time,omitzero"`    // of the last change of the contents
	Xattrs []bundle.Xattr `json:"xattrs,omitempty"` // ordered by name
	Link   Name           `json:"link,omitempty"`   // of a symlink: its text
	Size   int64          `json:"size,omitempty"`   // of a file
	SHA256 string         `json:"sha256,omitempty"` // of a file that was laid: of its contents
	Data   int            `json:"data,omitempty"`   // its number in stage/ or undo/, from 1; 0 if it has none there
}

// A Time is a point in time as file systems keep it, which is more than a
// time.Time can be made of without loss: seconds since 1970 and nanoseconds.
type Time struct {
	Sec  int64 `json:"sec"`
	Nsec int64 `json:"nsec,omitempty"`
}

// is reports whether t is what a file says that was given the time asked, on a
// file system that may keep times in steps: of 100 ns (NTFS), 10 ms (exFAT),
// 1 s (ext with inodes of 128 bytes, and others that are old) or 2 s (FAT).
func (t Time) is(asked Time) bool {
	switch t {
	case asked, Time{asked.Sec, asked.Nsec / 100 * 100}, Time{asked.Sec, asked.Nsec / 1e7 * 1e7}, Time{Sec: asked.Sec}, Time{Sec: asked.Sec &^ 1}:
		return true
	}
	return false
}

// kind returns the type of n, empty for nothing at all.
func (n *Node) kind() Type {
	if n == nil {
		return ""
	}
	return n.Type
}

// dir reports whether n is a directory.
func (n *Node) dir() bool { return n.kind() == Dir }

// differs says in which way the file n is not as want says, times and contents
// aside; empty if it is.
func (n *Node) differs(want *Node) string {
	switch {
	case n.kind() != want.kind():
		return fmt.Sprintf("is %s, not %s", n.name(), want.name())
	case n == nil:
		return ""
	case n.Type == Symlink && n.Link != want.Link:
		return fmt.Sprintf("leads to %q, not %q", n.Link, want.Link)
	case n.Type == File && n.Size != want.Size:
		return fmt.Sprintf("has %d bytes, not %d", n.Size, want.Size)
	}
	return n.attributesDiffer(want)
}

// attributesDiffer is differs for mode, owner and extended attributes, but for
// the label, which the system may change when it likes.
func (n *Node) attributesDiffer(want *Node) string {
	switch {
	case n.Mode != want.Mode && n.Type != Symlink: // that of a symlink means nothing
		return fmt.Sprintf("has mode %04o, not %04o", n.Mode, want.Mode)
	case n.UID != want.UID || n.GID != want.GID:
		return fmt.Sprintf("belongs to %d:%d, not %d:%d", n.UID, n.GID, want.UID, want.GID)
	case !sameXattrs(n.Xattrs, want.Xattrs):
		return "has other extended attributes"
	}
	return ""
}

// name is what n is called in messages.
func (n *Node) name() string {
	switch n.kind() {
	case "":
		return "not there"
	case Dir:
		return "a directory"
	case Symlink:
		return "a symbolic link"
	case Special:
		return "a special file"
	}
	return "a file"
}

// sameXattrs compares attributes other than the label.
func sameXattrs(a, b []bundle.Xattr) bool {
	label := func(x bundle.Xattr) bool { return x.Name == root.Label }
	a, b = slices.DeleteFunc(slices.Clone(a), label), slices.DeleteFunc(slices.Clone(b), label)
	return slices.EqualFunc(a, b, func(x, y bundle.Xattr) bool { return x.Name == y.Name && bytes.Equal(x.Value, y.Value) })
}
