package bundle

import (
	"fmt"
	"iter"
	"regexp"
)

// longestExpand is how many bytes a file may have in which parameters are put.
const longestExpand = 1 << 20

// maxContents is how many bytes the tar stream may have behind the manifest.
const maxContents = 1 << 40

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// A mention is a place of a manifest that names contents by number.
type mention struct {
	name   string // of the file there
	data   *int
	expand bool
}

// mentions gives everything in m that names contents, in its order.
func (m *Manifest) mentions() iter.Seq[mention] {
	return func(yield func(mention) bool) {
		for _, p := range m.Payload {
			if !p.mentions(yield) {
				return
			}
		}
		for _, r := range m.Run {
			for i := range r.Scripts {
				s := &r.Scripts[i]
				if !yield(mention{s.Name, &s.Data, false}) {
					return
				}
			}
		}
	}
}

// mentions is that of one payload. It tells whether to go on.
func (p *Payload) mentions(yield func(mention) bool) bool {
	if p.Overlay != nil {
		for i := range p.Overlay.Entries {
			e := &p.Overlay.Entries[i]
			if e.Type == RegularFile && !yield(mention{e.Path, &e.Data, e.Expand}) {
				return false
			}
		}
	}
	for _, list := range [][]Package{p.Deb, p.RPM} {
		for i := range list {
			if !yield(mention{list[i].File, &list[i].Data, false}) {
				return false
			}
		}
	}
	return true
}

// checkFiles checks the contents: each is there once, in the order in which it
// is mentioned first, where it must lie.
func (m *Manifest) checkFiles() error {
	next := 0
	for u := range m.mentions() {
		n := *u.data
		switch {
		case n < 0 || n > next || n >= len(m.Files):
			return at("files", fmt.Errorf("%q has the contents %d, but only %d of %d come before", u.name, n, next, len(m.Files)))
		case u.expand && m.Files[n].Size > longestExpand:
			return at("files", fmt.Errorf("%q: expand of %d bytes, at most %d are allowed", u.name, m.Files[n].Size, longestExpand))
		case n == next:
			next++
		}
	}
	if next != len(m.Files) {
		return at("files", fmt.Errorf("%d of them, but %d are mentioned", len(m.Files), next))
	}
	return m.checkContents()
}

// checkContents checks sizes, digests and offsets.
func (m *Manifest) checkContents() error {
	seen := make(map[string]bool, len(m.Files))
	var l layout
	return each("files", mostFiles, m.Files, func(f *File) error {
		switch {
		case f.Size < 0 || f.Size > maxContents-l.end:
			return fmt.Errorf("size %d, at most %d bytes are allowed in all", f.Size, int64(maxContents))
		case !digestPattern.MatchString(f.SHA256):
			return fmt.Errorf("sha256 %q, want 64 hexadecimal digits in lower case", f.SHA256)
		case seen[f.SHA256]:
			return fmt.Errorf("contents %s twice", f.SHA256)
		}
		seen[f.SHA256] = true
		if offset := l.add(len(seen)-1, f.Size); offset != f.Offset {
			return fmt.Errorf("offset %d, want %d", f.Offset, offset)
		}
		return nil
	})
}
