package trust

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Goal: whatever byte of whatever file is changed, the catalog is refused, whatever
// the clock says.
func TestTamper(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	s.rotateOnline()
	s.offer("room@2") // which the old key has not signed as well
	opt := s.ask(s.online, nil)
	opt.Root = s.root
	src := files(t, s.dir)
	c, err := Load(t.Context(), src, opt)
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]bool{ // the others are of older versions, or the root that the machine has
		"2.root.json": true, timestampFile: true,
		fileName("snapshot", c.Versions.Snapshot): true, fileName("targets", c.Versions.Targets): true,
	}
	for name, clock := range clocks() {
		opt.Time = clock
		for file := range read {
			if accepted := flips(src[file], func(p []byte) bool {
				_, err := Load(t.Context(), src.with(file, p), opt)
				return err == nil
			}); accepted != nil {
				t.Errorf("clock %s: %s is taken with changed bytes %v", name, file, accepted)
			}
		}
	}
	if accepted := flips(s.root, func(p []byte) bool { _, err := ParseRoot(p); return err == nil }); accepted != nil {
		t.Errorf("a root is taken with changed bytes %v", accepted)
	}
	if accepted := flips(opt.Ticket, func(p []byte) bool {
		o := opt
		o.Ticket = p
		_, err := Load(t.Context(), src, o)
		return err == nil
	}); accepted != nil {
		t.Errorf("a ticket is taken with changed bytes %v", accepted)
	}
}

// flips changes bytes of p, one at a time, and returns the places where try takes
// the result. Changing 0x20 makes capitals of small letters: JSON in Go does not
// tell them apart in keys.
func flips(p []byte, try func([]byte) bool) (accepted []int) {
	for i := 0; i < len(p); i += 3 {
		q := bytes.Clone(p)
		q[i] ^= [...]byte{0x20, 0x01, 0x80}[i/3%3]
		if try(q) {
			accepted = append(accepted, i)
		}
	}
	return accepted
}

// The switch of TestTamper: go-tuf alone takes a timestamp that differs in what its
// signature does not cover.
func TestTamperNeedsWrittenForm(t *testing.T) {
	s := newShop(t, 1, 1)
	src := files(t, s.dir)
	changed := bytes.Replace(src[timestampFile], []byte(`"keyid"`), []byte(`"Keyid"`), 1)
	if _, err := decode[metadata.TimestampType](changed); err != nil {
		t.Fatalf("go-tuf does not take it any more: %v", err)
	}
	if _, err := Load(t.Context(), src.with(timestampFile, changed), LoadOptions{Root: s.root}); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
}

// Metadata of two catalogs with the same keys do not mix.
func TestMix(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	a := files(t, s.dir)
	b := s.forge(func(f *forgery) { // the same versions, other contents
		for name, target := range f.targets.Signed.Targets {
			target.Length++
			f.targets.Signed.Targets[name] = target
		}
	})
	b["1.root.json"] = s.root
	if _, err := Load(t.Context(), b, LoadOptions{Root: s.root}); err != nil {
		t.Fatalf("the other catalog is not good itself: %v", err)
	}
	for _, name := range []string{"2.targets.json", "2.snapshot.json"} {
		if _, err := Load(t.Context(), a.with(name, b[name]), LoadOptions{Root: s.root}); !errors.Is(err, ErrMismatch) {
			t.Errorf("with another %s: %v, want ErrMismatch", name, err)
		}
	}
	both := a.with("2.targets.json", b["2.targets.json"]).with("2.snapshot.json", b["2.snapshot.json"])
	if _, err := Load(t.Context(), both, LoadOptions{Root: s.root}); !errors.Is(err, ErrMismatch) {
		t.Errorf("with other targets and snapshot: %v, want ErrMismatch", err)
	}
}

// What is not what the snapshot names is not even parsed.
func TestTargetsAreHashedFirst(t *testing.T) {
	s := newShop(t, 1, 1)
	src := files(t, s.dir)
	junk := bytes.Repeat([]byte("["), len(src["1.targets.json"]))
	if _, err := Load(t.Context(), src.with("1.targets.json", junk), LoadOptions{Root: s.root}); !errors.Is(err, ErrMismatch) || errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
}

// A file that is not there is an error that names it.
func TestMissing(t *testing.T) {
	s := newShop(t, 1, 1)
	for _, name := range []string{timestampFile, "1.snapshot.json", "1.targets.json"} {
		src := files(t, s.dir)
		delete(src, name)
		if _, err := Load(t.Context(), src, LoadOptions{Root: s.root}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v, want an error that names it", name, err)
		}
	}
}
