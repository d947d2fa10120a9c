package root

import (
	"path"
	"strings"
	"unicode"
)

// Fold returns what tells whether two names, or paths, are one in a Windows:
// they have the same fold, and are the same but for the case of letters.
func Fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return least
	}, name)
}

// folded returns names as they are on the disk of a Windows, where File and
// file are one name and the driver of the kernel takes them for two. Names from
// the first on that is not there stay as they are.
func (r *Root) folded(names []string) []string {
	if p, err := r.lookup(path.Join(names...)); err == nil {
		p.Close()
		return names
	}
	out := make([]string, 0, len(names))
	for i, name := range names {
		found, ok := r.foldName(path.Join(out...), name)
		if !ok {
			return append(out, names[i:]...)
		}
		out = append(out, found)
	}
	return out
}

// fold is folded for a path that must be there.
func (r *Root) fold(names []string) (string, bool) {
	out := path.Join(r.folded(names)...)
	p, err := r.lookup(out)
	if err != nil {
		return "", false
	}
	p.Close()
	return out, true
}

// foldName finds a name in a folder: itself, or else the first that is the
// same but for its case.
func (r *Root) foldName(folder, name string) (string, bool) {
	f, err := r.lookup(folder)
	if err != nil {
		return "", false
	}
	defer f.Close()
	p := &Parent{File: f, Base: name, root: r}
	if _, err := p.Lstat(); err == nil {
		return name, true
	}
	p.Base = "."
	names, err := p.ReadDir()
	if err != nil {
		return "", false
	}
	want := Fold(name)
	for _, other := range names {
		if Fold(other) == want {
			return other, true
		}
	}
	return "", false
}
