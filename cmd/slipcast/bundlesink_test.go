package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipcast/catalog/trust"
	"slipcast/multicast"
)

// A bundleBench is a workbench with three files behind the image.
type bundleBench struct {
	*workbench
	files []trust.File
	log   bytes.Buffer
	room  int64
	left  int64 // bytes that the view expects

	mu    sync.Mutex
	warns []string
}

func newBundleBench(t *testing.T) *bundleBench {
	t.Helper()
	b := &bundleBench{workbench: newWorkbench(t), room: math.MaxInt64}
	for i, size := range []int{2*usualPiece + 5, 7, 2 * usualPiece} {
		p := bytes.Repeat([]byte{byte('a' + i)}, size)
		sum := sha256.Sum256(p)
		f := trust.File{SHA256: hex.EncodeToString(sum[:]), Size: int64(size)}
		b.files = append(b.files, f)
		if err := os.WriteFile(b.stored(f), p, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.openAll()
	return b
}

// stored returns where the sender has a file.
func (b *bundleBench) stored(f trust.File) string { return filepath.Join(b.dir, f.SHA256) }

// held returns what the receiver has of a file, empty if that is not there.
func (b *bundleBench) held(f trust.File) string {
	p, err := os.ReadFile(heldPath(b.folder(), f))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Error(err)
	}
	return string(p)
}

func (b *bundleBench) folder() string { return filepath.Join(b.dir, "bundles") }

func (b *bundleBench) warn(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.warns = append(b.warns, text)
}

func (b *bundleBench) openAll() {
	b.t.Helper()
	annex, err := openAnnex(b.files, b.stored, slog.New(slog.NewTextHandler(&b.log, nil)))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { annex.Close() })
	b.source.annex = annex
}

// session brings all to a target and a folder, as a session does; change may
// change the sink before.
func (b *bundleBench) session(change func(s *imageSink)) (put int, err error) {
	b.t.Helper()
	err = b.receive("target.raw", restoreOptions{}, func(s *imageSink) (err error) {
		s.annex = b.source.annex.about()
		s.bundles = &bundleSink{
			dir: b.folder(), room: func() (int64, error) { return b.room, nil },
			warn: b.warn,
		}
		if change != nil {
			change(s)
		}
		plan, err := s.Prepare(b.t.Context(), b.source.Preface())
		if err != nil {
			return err
		}
		b.left = s.view.left
		numbers := b.numbers()
		if !plan.Annex {
			numbers = numbers[:8]
		}
		if put, err = b.pass(s, plan, numbers); err != nil {
			return err
		}
		return s.Finish(b.t.Context())
	})
	return put, err
}

// want checks that the target is right, and which of the files are there; no
// part of another one is.
func (b *bundleBench) want(files ...int) {
	b.t.Helper()
	b.wantDisk("target.raw")
	entries, err := os.ReadDir(b.folder())
	if err != nil && !errors.Is(err, os.ErrNotExist) || len(entries) != len(files) {
		b.t.Errorf("the folder has %v, %v; want files %v", entries, err, files)
	}
	for _, i := range files {
		p, err := os.ReadFile(b.stored(b.files[i]))
		if err != nil || b.held(b.files[i]) != string(p) {
			b.t.Errorf("file %d: %d bytes are there, %v; want %d that are right", i, len(b.held(b.files[i])), err, len(p))
		}
	}
}

// The files behind an image come into their folder, each checked; what there is
// no room for, or what was not asked for, does not come.
func TestImageBundles(t *testing.T) {
	tests := []struct {
		name   string
		change func(b *bundleBench, s *imageSink)
		put    int // frames: 8 of the image, 3, 1 and 2 of the files
		files  []int
	}{
		{"all", func(*bundleBench, *imageSink) {}, 14, []int{0, 1, 2}},
		{"no folder", func(_ *bundleBench, s *imageSink) { s.bundles = nil }, 8, nil},
		{"an old sender", func(_ *bundleBench, s *imageSink) { s.annex = multicast.Annex{} }, 8, nil},
		{"a malformed list", func(_ *bundleBench, s *imageSink) { s.annex.About = []byte("x") }, 8, nil},
		{"room for one", func(b *bundleBench, _ *imageSink) { b.room = 10 }, 9, []int{1}},
		{"room for two", func(b *bundleBench, _ *imageSink) { b.room = b.files[0].Size + 7 }, 12, []int{0, 1}},
		{"a folder that cannot be", func(b *bundleBench, s *imageSink) { s.bundles.dir = filepath.Join(b.dir, "disk.raw") }, 8, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBundleBench(t)
			put, err := b.session(func(s *imageSink) { tt.change(b, s) })
			if err != nil || put != tt.put {
				t.Errorf("%d frames came, %v; want %d", put, err, tt.put)
			}
			b.want(tt.files...)
			want := int64(8 << 20)
			for _, i := range tt.files {
				want += b.files[i].Size
			}
			if b.left != want {
				t.Errorf("%d bytes are shown to come, want %d", b.left, want)
			}
		})
	}
}

// What has come is not asked for again, and what was left by a process that was
// killed is no bundle.
func TestImageBundlesAgain(t *testing.T) {
	b := newBundleBench(t)
	if _, err := b.session(nil); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(os.Remove(heldPath(b.folder(), b.files[1])), os.WriteFile(heldPath(b.folder(), b.files[1])+".part", []byte("longer than all"), 0o600),
		os.Truncate(heldPath(b.folder(), b.files[2]), 5))
	if err != nil {
		t.Fatal(err)
	}
	if put, err := b.session(nil); err != nil || put != 8+1+2 {
		t.Errorf("%d frames came, %v; want 11", put, err)
	}
	b.want(0, 1, 2)
}

// A file that comes wrong, or cannot be read or written, costs nothing but
// itself.
func TestImageBundlesDamaged(t *testing.T) {
	tests := []struct {
		name   string
		damage func(b *bundleBench) error
		files  []int
	}{
		{"another byte", func(b *bundleBench) error {
			return os.WriteFile(b.stored(b.files[0]), bytes.Repeat([]byte{'x'}, int(b.files[0].Size)), 0o644)
		}, []int{1, 2}},
		{"it became shorter", func(b *bundleBench) error { return os.Truncate(b.stored(b.files[2]), usualPiece) }, []int{0, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBundleBench(t)
			good := map[int][]byte{}
			for i, f := range b.files {
				good[i], _ = os.ReadFile(b.stored(f))
			}
			if err := tt.damage(b); err != nil {
				t.Fatal(err)
			}
			if put, err := b.session(nil); err != nil || put != 14 {
				t.Errorf("%d frames came, %v; want 14", put, err)
			}
			for i, f := range b.files {
				if err := os.WriteFile(b.stored(f), good[i], 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b.want(tt.files...)
			if len(b.warns) != 1 || !strings.Contains(b.warns[0], "does not come with the image") {
				t.Errorf("warned %q, want of one file", b.warns)
			}
		})
	}
}

// A session that ends in the middle leaves no half of a file.
func TestImageBundlesCutShort(t *testing.T) {
	b := newBundleBench(t)
	unplugged := errors.New("unplugged")
	err := b.receive("target.raw", restoreOptions{}, func(s *imageSink) error {
		s.annex = b.source.annex.about()
		s.bundles = &bundleSink{dir: b.folder(), room: func() (int64, error) { return b.room, nil }, warn: b.warn}
		plan, err := s.Prepare(t.Context(), b.source.Preface())
		if err == nil {
			_, err = b.pass(s, plan, []int{8, 9, 11, 12})
		}
		return errors.Join(err, unplugged)
	})
	if !errors.Is(err, unplugged) {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(b.folder())
	if err != nil || len(entries) != 1 || entries[0].Name() != b.files[1].SHA256+".slb" {
		t.Errorf("the folder has %v, %v; want the one file that is whole", entries, err)
	}
}

// A piece that cannot be kept costs its file, and the others come.
func TestImageBundlesUnwritable(t *testing.T) {
	b := newBundleBench(t)
	_, err := b.session(func(s *imageSink) {
		if err := s.bundles.prepare(s.annex); err != nil {
			t.Fatal(err)
		}
		s.bundles.files[0].part.Close() // as a folder that is full
		s.bundles.put(t.Context(), 0, make([]byte, usualPiece))
		s.bundles.put(t.Context(), 1, make([]byte, usualPiece)) // is of no use any more
		s.bundles.put(t.Context(), 4, make([]byte, 5))
		for i := range 2 { // the last one had a piece of another length
			if wanted := s.bundles.part(2*i) != nil; wanted {
				t.Errorf("file %d is still wanted", 2*i)
			}
		}
		s.bundles.Close()
		s.annex = multicast.Annex{}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.want()
	if len(b.warns) != 3 {
		t.Errorf("warned %q, want of three files", b.warns)
	}
}

// The sender leaves out what is not there, and opens nothing for nobody.
func TestOpenAnnex(t *testing.T) {
	b := newBundleBench(t)
	if err := errors.Join(os.Remove(b.stored(b.files[0])), os.Truncate(b.stored(b.files[1]), 6)); err != nil {
		t.Fatal(err)
	}
	b.openAll()
	if got := b.source.annex; !slices.Equal(got.files, b.files[2:]) || b.source.Frames() != 10 || strings.Count(b.log.String(), "does not come with the image") != 2 {
		t.Errorf("files %+v in %d frames, log %s; want the last one in 10, and why", got.files, b.source.Frames(), &b.log)
	}
	none, err := openAnnex(b.files[:1], b.stored, slog.New(slog.DiscardHandler))
	if none != nil || err != nil || none.about().Frames != 0 || none.Close() != nil {
		t.Errorf("openAnnex = %+v, %v; want none", none, err)
	}
}

func TestMemoryFor(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal: 100 kB\nMemAvailable:     50 kB\n": 50 << 10, "": -1, "MemAvailable: 5\n": -1, "MemAvailable: 9999999999999999 kB\n": -1,
	} {
		if got, err := availableMemory([]byte(text)); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("availableMemory(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	if got, err := memoryFor(t.TempDir(), 0); err != nil || got < 1 {
		t.Errorf("memoryFor = %d, %v; want some", got, err)
	}
	if _, err := memoryFor(filepath.Join(t.TempDir(), "none"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no folder: %v, want that it is not there", err)
	}
	all, err := memoryFor("/dev/shm", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := memoryFor("/dev/shm", math.MaxInt64); err != nil || got != 0 || all < 1 {
		t.Errorf("where all memory is spoken for %d, %v, else %d; want nothing, and some", got, err, all)
	}
}
