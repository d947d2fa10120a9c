package bundle

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// A place is a path that a bundle changes, and what it does there.
type place struct {
	path string
	key  string // path in the order of checkPlaces
	kind placeKind
}

// A placeKind is what a bundle does at a path.
type placeKind int

const (
	folder  placeKind = iota // makes a directory
	leaf                     // makes a file or a link
	removed                  // deletes it
	edited                   // sets lines or keys of it
)

// newPlace returns a place in a root of that family. The key puts a folder
// right before what is in it, and makes names alike that the family takes for
// the same.
func newPlace(family, path string, kind placeKind) place {
	key := strings.ReplaceAll(path, "/", "\x00")
	if family == Windows {
		key = strings.Map(unicode.ToUpper, key)
	}
	return place{path, key, kind}
}

// checkPlaces checks that no path is changed twice or differs from another only
// by the case of its letters where that is the same file, and that nothing lies
// below what is no folder. It sorts list.
func checkPlaces(list []place) error {
	slices.SortStableFunc(list, func(a, b place) int { return strings.Compare(a.key, b.key) })
	var above []place // the places that the path lies below, at most deepestPath
	for i, p := range list {
		if i > 0 {
			if err := checkSpelling(list[i-1], p); err != nil {
				return err
			}
		}
		for len(above) > 0 && !below(p.key, above[len(above)-1].key) {
			above = above[:len(above)-1]
		}
		if len(above) > 0 && above[len(above)-1].kind != folder {
			return fmt.Errorf("%q lies below %q, which this bundle deletes or makes a file", p.path, above[len(above)-1].path)
		}
		above = append(above, p)
	}
	return nil
}

// below tells whether the path of key a lies below that of key b.
func below(a, b string) bool { return strings.HasPrefix(a, b) && len(a) > len(b) && a[len(b)] == 0 }

// checkSpelling compares two places that follow each other.
func checkSpelling(a, b place) error {
	if a.key == b.key && a.path == b.path {
		if a.kind == edited && b.kind == edited {
			return nil
		}
		return fmt.Errorf("%q is there twice", a.path)
	}
	as, bs := strings.Split(a.path, "/"), strings.Split(b.path, "/")
	ak, bk := strings.Split(a.key, "\x00"), strings.Split(b.key, "\x00")
	for i := range min(len(ak), len(bk)) {
		if ak[i] != bk[i] {
			return nil
		}
		if as[i] != bs[i] {
			return fmt.Errorf("%q and %q differ only by the case of their letters, and Windows takes them for one", a.path, b.path)
		}
	}
	return nil
}
