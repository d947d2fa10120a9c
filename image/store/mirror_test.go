package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipcast/image"
)

// TestGCMirror shows that a collection removes what waited for a week, and
// nothing while somebody mirrors.
func TestGCMirror(t *testing.T) {
	s := newStore(t)
	dir, release, err := s.Mirror()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Mirror(); !errors.Is(err, ErrInUse) {
		t.Errorf("a second Mirror = %v, want ErrInUse", err)
	}
	old, young := filepath.Join(dir, "a", "old"), filepath.Join(dir, "a", "young")
	if err := os.Mkdir(filepath.Dir(old), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, []byte("four"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	ago := time.Now().Add(-8 * 24 * time.Hour)
	if err := os.Chtimes(old, ago, ago); err != nil {
		t.Fatal(err)
	}
	if c, err := s.GC(t.Context()); err != nil || c.Aside != 0 {
		t.Errorf("GC while somebody mirrors = %+v, %v, want that nothing goes", c, err)
	}
	release.Close()
	if c, err := s.GC(t.Context()); err != nil || c.Aside != 1 || c.Freed != 4 {
		t.Errorf("GC = %+v, %v, want 1 file aside of 4 bytes", c, err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old file: %v, want that it is gone", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young file: %v", err)
	}
}

// TestAddNear shows that frames near the store become the store's, that those
// that are damaged do not, and that the image is whole either way.
func TestAddNear(t *testing.T) {
	p := capture(t, image.LevelDefault, 1, 2, 3)
	im := openBytes(t, p)
	s := newStore(t)
	near := filepath.Join(s.Dir(), "near")
	for f := range im.Frames() {
		frame, err := im.ReadFrame(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		if f.Chunk == 1 {
			frame[len(frame)/2]++
		}
		if f.Chunk == 2 {
			continue
		}
		path := filepath.Join(near, FrameName(im.ChunkDigest(f.Chunk), im.ChunkSize))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, frame, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	a, err := s.Add(t.Context(), im, "room", AddOptions{Near: near})
	if err != nil || a.New != 3 {
		t.Fatalf("Add = %+v, %v, want 3 new frames", a, err)
	}
	mustVerify(t, s)
	for n, want := range []bool{true, false} { // the third was not near
		name := FrameName(im.ChunkDigest(n), im.ChunkSize)
		same, err := sameInode(filepath.Join(near, name), filepath.Join(s.Dir(), "frames", name))
		if err != nil || same != want {
			t.Errorf("frame %d is the one near: %v, %v, want %v", n, same, err, want)
		}
	}
}

// TestDecodeVersion shows that a version file tells what it holds.
func TestDecodeVersion(t *testing.T) {
	s := newStore(t)
	mustAdd(t, s, capture(t, image.LevelDefault, 1, 2), "room")
	p, err := os.ReadFile(filepath.Join(s.Dir(), "images", "room", "1"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := DecodeVersion(p)
	if err != nil || v.Order != 1 || v.Added.IsZero() {
		t.Errorf("DecodeVersion = %d, %v, %v, want order 1", v.Order, v.Added, err)
	}
	if _, err := image.OpenPreface(v.Preface); err != nil {
		t.Errorf("its preface: %v", err)
	}
	p[len(p)-1]++
	if _, err := DecodeVersion(p); !errors.Is(err, image.ErrDamaged) {
		t.Errorf("a damaged version file: %v, want ErrDamaged", err)
	}
}
