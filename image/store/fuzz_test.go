package store

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/image"
)

// A name that is accepted stays in its folder, and is written as it was read.
func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{"lab", "lab@1", "lab@", "@1", "a.b_c-d@rc-1", "../x", "a/b", ".x", "lab.img.zst", "a@b@c", "-v", "ä"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRef(text)
		if err != nil {
			if !errors.Is(err, ErrName) {
				t.Errorf("ParseRef(%q): %v, want ErrName", text, err)
			}
			return
		}
		if r.String() != text || r.check() != nil {
			t.Errorf("ParseRef(%q) = %+v, which is written %q", text, r, r)
		}
		s := &Store{"/store"}
		path := s.versionPath(Ref{r.Name, "1"})
		if filepath.Dir(filepath.Dir(path)) != "/store/images" || filepath.Base(filepath.Dir(path)) != r.Name {
			t.Errorf("ParseRef(%q) leads to %s", text, path)
		}
		if strings.HasPrefix(text, "-") || IsFileName(r.Name) {
			t.Errorf("ParseRef(%q) takes a flag or a file for a name", text)
		}
	})
}

// A version file that is accepted is the one that its contents are written as.
func FuzzParseVersion(f *testing.F) {
	s := newStore(f)
	im := openBytes(f, capture(f, image.LevelFast, 1, -1, 0))
	preface, err := im.Preface()
	if err != nil {
		f.Fatal(err)
	}
	v := version{order: 7, added: 1795305600, preface: preface}
	f.Add(v.append(nil))
	f.Add([]byte(versionMagic))
	f.Fuzz(func(t *testing.T, p []byte) {
		v, err := parseVersion(p)
		if err != nil {
			if !errors.Is(err, image.ErrDamaged) {
				t.Errorf("%v, want ErrDamaged", err)
			}
			v = version{order: 1, preface: p[min(len(p), versionHeader):]} // the digest is beyond a fuzzer
		} else if again := v.append(nil); !bytes.Equal(again, p) {
			t.Errorf("%x is written as %x", p, again)
		}
		a, err := image.Assemble(v.preface, newFrameFiles(s))
		if err != nil {
			return
		}
		peek, err := image.PeekPreface(bytes.NewReader(v.preface))
		if err != nil || peek.Digest != a.Digest || peek.ImageSize != a.Size() || peek.DiskSize != a.Layout.Size {
			t.Errorf("a peek tells %+v, %v of an image of %d bytes", peek, err, a.Size())
		}
		_, err = a.ReadAt(make([]byte, min(a.Size(), 1<<20)), 0)
		if err != nil && !errors.Is(err, image.ErrDamaged) {
			t.Errorf("reading what has no frames: %v, want ErrDamaged", err)
		}
	})
}
