package bundle

import (
	"encoding/base64"
	"encoding/hex"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// attribute reads one element of attributes.
func (y *yamlReader) attribute(n ast.Node, where string) (recipeAttribute, error) {
	a := recipeAttribute{where: where}
	err := y.mapping(n, where, keys{
		"path": text(&a.glob),
		"mode": func(n ast.Node, where string) error {
			a.mode = new(uint32)
			return octal(a.mode)(n, where)
		},
		"owner": func(n ast.Node, _ string) error { return a.readOwner(n) },
		"xattrs": func(n ast.Node, where string) error {
			return y.named(n, where, func(name string, n ast.Node, _ string) error { return a.readXattr(name, n) })
		},
	})
	if err == nil && a.glob == "" {
		err = wrong(n, "path is missing")
	}
	slices.SortFunc(a.xattrs, func(x, y Xattr) int { return strings.Compare(x.Name, y.Name) })
	return a, err
}

// readOwner reads UID:GID.
func (a *recipeAttribute) readOwner(n ast.Node) error {
	s, err := textOf(n)
	if err != nil {
		return err
	}
	u, g, ok := strings.Cut(s, ":")
	uid, err1 := strconv.ParseUint(u, 10, 32)
	gid, err2 := strconv.ParseUint(g, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return wrong(n, "owner %q, want UID:GID in numbers, like 1000:1000", s)
	}
	a.uid, a.gid = new(uint32), new(uint32)
	*a.uid, *a.gid = uint32(uid), uint32(gid)
	return nil
}

// readXattr reads the value of an attribute: as it stands, or behind 0x in
// hexadecimal, or behind 0s in base64, as getfattr(1) prints values.
func (a *recipeAttribute) readXattr(name string, n ast.Node) error {
	s, err := textOf(n)
	if err != nil {
		return err
	}
	value := []byte(s)
	switch {
	case strings.HasPrefix(s, "0x"):
		value, err = hex.DecodeString(s[2:])
	case strings.HasPrefix(s, "0s"):
		value, err = base64.StdEncoding.DecodeString(s[2:])
	}
	if err != nil {
		return wrong(n, "attribute %s: %v", name, err)
	}
	a.xattrs = append(a.xattrs, Xattr{name, value})
	return nil
}

// change gives e what a says.
func (a *recipeAttribute) change(e *Entry) {
	if a.mode != nil && e.Type != Symlink && e.Type != Hardlink {
		e.Mode = *a.mode
	}
	if a.uid != nil && e.Type != Hardlink {
		e.UID, e.GID = *a.uid, *a.gid
	}
	if e.Type == Symlink || e.Type == Hardlink {
		return
	}
	for _, x := range a.xattrs {
		i, there := slices.BinarySearchFunc(e.Xattrs, x.Name, func(x Xattr, name string) int { return strings.Compare(x.Name, name) })
		if there {
			e.Xattrs[i] = x
			continue
		}
		e.Xattrs = slices.Insert(e.Xattrs, i, x)
	}
}

// matchPath tells whether a path matches a glob: path.Match for each name, and
// ** for any number of names, also none.
func matchPath(glob, name string) (bool, error) {
	return matchParts(strings.Split(strings.Trim(glob, "/"), "/"), strings.Split(name, "/"))
}

// matchParts matches the names of a path, from the last one that ** has left.
func matchParts(glob, names []string) (bool, error) {
	// reach[i] tells whether the part of the glob that was looked at matches the
	// first i names.
	reach := make([]bool, len(names)+1)
	reach[0] = true
	for _, g := range glob {
		next := make([]bool, len(names)+1)
		for i := range reach {
			if g == "**" {
				next[i] = reach[i] || i > 0 && next[i-1]
				continue
			}
			if i == 0 || !reach[i-1] {
				continue
			}
			ok, err := path.Match(g, names[i-1])
			if err != nil {
				return false, err
			}
			next[i] = ok
		}
		reach = next
	}
	return reach[len(names)], nil
}
