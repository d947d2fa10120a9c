package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/image"
)

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "store")
	if _, err := Open(dir); !errors.Is(err, ErrNotStore) {
		t.Errorf("Open of nothing: %v, want ErrNotStore", err)
	}
	if _, err := Init(dir); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir)
	if err != nil || s.Dir() != dir {
		t.Errorf("Open: %+v, %v", s, err)
	}
	if _, err := Init(dir); err == nil || !strings.Contains(err.Error(), "store already") {
		t.Errorf("Init of a store: %v, want an error", err)
	}
	if err := os.WriteFile(filepath.Join(dir, markerName), []byte("slipcast store 2\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrNotStore) {
		t.Errorf("Open of version 2: %v, want ErrNotStore", err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis.txt"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(full); err == nil || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("Init of a folder in use: %v, want an error that names thesis.txt", err)
	}
}

// What comes out of a store is what went in, to the byte, and by whatever way.
func TestRoundTrip(t *testing.T) {
	disks := map[string][]int{
		"one chunk": {1}, "zeros": {0, 0, 0}, "repeats": {1, 2, 1, 1, 2},
		"holes": {-1, 1, -1, -1, 2, 0, -1}, "nothing in use": {-1, -1},
	}
	ways := map[string]func(*testing.T, *Store, []byte) error{
		"file": func(t *testing.T, s *Store, p []byte) error {
			_, err := s.Add(t.Context(), openBytes(t, p), "lab", AddOptions{})
			return err
		},
		"stream": func(t *testing.T, s *Store, p []byte) error {
			_, err := s.AddStream(t.Context(), io.MultiReader(bytes.NewReader(p)), "lab", AddOptions{})
			return err
		},
	}
	for name, numbers := range disks {
		for way, add := range ways {
			t.Run(name+" by "+way, func(t *testing.T) {
				s, want := newStore(t), capture(t, image.LevelDefault, numbers...)
				if err := add(t, s, want); err != nil {
					t.Fatal(err)
				}
				im := mustOpen(t, s, "lab")
				if got := whole(t, im); !bytes.Equal(got, want) {
					t.Errorf("%d bytes come back, want the %d that went in", len(got), len(want))
				}
				again, err := image.Open(im, im.Size())
				if err != nil {
					t.Fatal(err)
				}
				if err := again.Verify(t.Context(), image.VerifyOptions{}); err != nil {
					t.Errorf("verifying what comes back: %v", err)
				}
				mustVerify(t, s)
			})
		}
	}
}

// A frame lies in the store once, whatever image it came with, and in whatever
// compression.
func TestFramesAreShared(t *testing.T) {
	s := newStore(t)
	first := mustAdd(t, s, capture(t, image.LevelDefault, 1, 2, 3, 1), "monday")
	if first.New != 3 || first.Chunks != 4 {
		t.Errorf("first image: %d new of %d chunks, want 3 of 4", first.New, first.Chunks)
	}
	other := capture(t, image.LevelBest, 1, 2, 3, 4)
	second := mustAdd(t, s, other, "tuesday")
	if second.New != 1 {
		t.Errorf("second image: %d new frames, want 1", second.New)
	}
	im := mustOpen(t, s, "tuesday")
	if got := whole(t, im); bytes.Equal(got, other) {
		t.Error("the frames of another level came back; this test shows nothing")
	}
	if im.Digest != openBytes(t, other).Digest {
		t.Errorf("digest %v, want that of the image that was added, %v", im.Digest, openBytes(t, other).Digest)
	}
	again := openBytes(t, whole(t, im))
	if err := again.Verify(t.Context(), image.VerifyOptions{}); err != nil {
		t.Errorf("verifying what comes back: %v", err)
	}
	if v := mustVerify(t, s); v.Frames != 4 || v.Images != 2 {
		t.Errorf("%d frames of %d images, want 4 of 2", v.Frames, v.Images)
	}
}

func TestVersions(t *testing.T) {
	s := newStore(t)
	add := func(version string, number int) (Added, error) {
		return s.Add(t.Context(), openBytes(t, capture(t, image.LevelFast, number)), "lab", AddOptions{Version: version})
	}
	for i, want := range []string{"1", "rc-7", "2", "9", "10"} {
		given := want
		if want == "1" || want == "2" || want == "10" {
			given = ""
		}
		a, err := add(given, i+1)
		if err != nil || a.Version != want || a.Name != "lab" {
			t.Fatalf("version %q became %v, %v, want %s", given, a.Ref, err, want)
		}
		newest, err := s.Resolve(Ref{Name: "lab"})
		if err != nil || newest.Version != want || newest.Digest != a.Digest {
			t.Errorf("the newest is %v, %v, want %s", newest.Ref, err, want)
		}
	}
	if _, err := add("9", 9); !errors.Is(err, ErrExists) {
		t.Errorf("version 9 again: %v, want ErrExists", err)
	}
	list, err := s.List()
	var got []string
	for _, e := range list {
		got = append(got, e.Ref.String())
		full := mustOpen(t, s, e.Ref.String())
		if full.Entry != e {
			t.Errorf("listed as %+v, opened as %+v", e, full.Entry)
		}
	}
	if text := strings.Join(got, " "); err != nil || text != "lab@1 lab@rc-7 lab@2 lab@9 lab@10" {
		t.Errorf("List = %s, %v", text, err)
	}
	for _, ref := range []Ref{{Name: "lab", Version: "3"}, {Name: "none"}, {Name: "none", Version: "1"}} {
		if _, err := s.Resolve(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("Resolve(%v): %v, want ErrNotFound", ref, err)
		}
		if _, err := s.OpenImage(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("OpenImage(%v): %v, want ErrNotFound", ref, err)
		}
	}
}

// What is not good does not get in, and leaves nothing behind.
func TestAddRefuses(t *testing.T) {
	good := capture(t, image.LevelDefault, 1, 2, 3, -1, 4)
	im := openBytes(t, good)
	frame := bytes.Index(good, []byte{0x28, 0xb5, 0x2f, 0xfd}) // of the head's body
	data := frame + bytes.Index(good[frame+4:], []byte{0x28, 0xb5, 0x2f, 0xfd}) + 4
	damage := map[string]int{
		"a chunk": data + 5000, "a frame's checksum": data + int(im.FrameSize(im.Chunk(0))) - 2,
		"the head": 100, "the tail": len(good) - 500, "the seek table": len(good) - 30,
	}
	for name, at := range damage {
		t.Run(name, func(t *testing.T) {
			s, bad := newStore(t), bytes.Clone(good)
			bad[at] ^= 1
			if im, err := image.Open(bytes.NewReader(bad), int64(len(bad))); err == nil {
				if _, err := s.Add(t.Context(), im, "lab", AddOptions{}); !errors.Is(err, image.ErrDamaged) {
					t.Errorf("Add: %v, want ErrDamaged", err)
				}
			}
			if _, err := s.AddStream(t.Context(), bytes.NewReader(bad), "lab", AddOptions{}); !errors.Is(err, image.ErrDamaged) {
				t.Errorf("AddStream: %v, want ErrDamaged", err)
			}
			checkEmpty(t, s)
		})
	}
	t.Run("cut short", func(t *testing.T) {
		s := newStore(t)
		for n := 0; n < len(good); n += len(good)/50 + 1 {
			_, err := s.AddStream(t.Context(), bytes.NewReader(good[:n]), "lab", AddOptions{})
			if !errors.Is(err, image.ErrDamaged) && !errors.Is(err, image.ErrNotImage) {
				t.Errorf("AddStream of the first %d bytes: %v, want ErrDamaged", n, err)
			}
		}
		checkEmpty(t, s)
	})
	for _, name := range []string{"", "..", ".", "a/b", "-x", "a b", "x.zst", "a@1", strings.Repeat("x", 64)} {
		if _, err := newStore(t).Add(t.Context(), im, name, AddOptions{}); !errors.Is(err, ErrName) {
			t.Errorf("Add as %q: %v, want ErrName", name, err)
		}
		if name == "" {
			continue
		}
		if _, err := newStore(t).Add(t.Context(), im, "lab", AddOptions{Version: name}); !errors.Is(err, ErrName) {
			t.Errorf("Add as version %q: %v, want ErrName", name, err)
		}
	}
}

// checkEmpty fails if there is an image, a frame, or the folder of an add.
func checkEmpty(t *testing.T, s *Store) {
	t.Helper()
	if list, err := s.List(); len(list) > 0 || err != nil {
		t.Errorf("List = %v, %v, want nothing", list, err)
	}
	if left, err := os.ReadDir(s.path(addingName)); len(left) > 0 || err != nil {
		t.Errorf("%d adds left their folders, %v", len(left), err)
	}
	if v := mustVerify(t, s); v.Frames > 0 {
		t.Errorf("%d frames, want none", v.Frames)
	}
}

// Remove and GC take away what nobody needs, and nothing else.
func TestRemove(t *testing.T) {
	s := newStore(t)
	mustAdd(t, s, capture(t, image.LevelDefault, 1, 2, 3), "a")
	want := capture(t, image.LevelDefault, 3, 4)
	mustAdd(t, s, want, "b")
	im := mustOpen(t, s, "a")
	if err := s.Remove(t.Context(), Ref{"a", "1"}); !errors.Is(err, ErrInUse) {
		t.Errorf("removing what is open: %v, want ErrInUse", err)
	}
	im.Close()
	if err := s.Remove(t.Context(), Ref{"a", "1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), Ref{"a", "1"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing it again: %v, want ErrNotFound", err)
	}
	if err := s.Remove(t.Context(), Ref{Name: "b"}); !errors.Is(err, ErrName) {
		t.Errorf("removing without a version: %v, want ErrName", err)
	}
	if names, err := s.Names(); len(names) != 1 || err != nil {
		t.Errorf("Names = %q, %v, want only b", names, err)
	}
	c, err := s.GC(t.Context())
	if err != nil || c.Removed != 2 || c.Kept != 2 || c.Freed == 0 {
		t.Errorf("GC = %+v, %v, want 2 removed and 2 kept", c, err)
	}
	if got := whole(t, mustOpen(t, s, "b")); !bytes.Equal(got, want) {
		t.Error("b is another one now")
	}
	mustVerify(t, s)
}

// GC removes nothing while it cannot know what is needed.
func TestGCStopsAtDamage(t *testing.T) {
	s := newStore(t)
	mustAdd(t, s, capture(t, image.LevelDefault, 1, 2), "a")
	path := s.versionPath(Ref{"a", "1"})
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p[len(p)/2] ^= 1
	if err := os.WriteFile(path, p, 0o666); err != nil {
		t.Fatal(err)
	}
	if c, err := s.GC(t.Context()); !errors.Is(err, image.ErrDamaged) || c.Removed > 0 || !strings.Contains(err.Error(), "a@1") {
		t.Errorf("GC = %+v, %v, want an error that names a@1", c, err)
	}
	p[len(p)/2] ^= 1
	if err := os.WriteFile(path, p, 0o666); err != nil {
		t.Fatal(err)
	}
	if v := mustVerify(t, s); v.Frames != 2 {
		t.Errorf("%d frames, want 2", v.Frames)
	}
}

// Verify names the frame that is damaged and the images that need it; adding one
// of these again heals all.
func TestVerifyAndHeal(t *testing.T) {
	faults := map[string]func(path string) error{
		"a bit":     func(path string) error { return flip(path) },
		"no frame":  os.Remove,
		"cut short": func(path string) error { return os.Truncate(path, 1000) },
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"too long":  func(path string) error { return os.Truncate(path, 1<<20) },
	}
	for name, damage := range faults {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			p := capture(t, image.LevelDefault, 1, 2)
			mustAdd(t, s, p, "a")
			mustAdd(t, s, capture(t, image.LevelDefault, 2, 3), "b")
			mustAdd(t, s, capture(t, image.LevelDefault, 3, 4), "c")
			path := s.framePath(openBytes(t, p).ChunkDigest(1), 256*kiB)
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			var told []string
			v, err := s.Verify(t.Context(), VerifyOptions{Found: func(f Fault) { told = append(told, f.Error()) }})
			text := strings.Join(told, "\n")
			if err != nil || v.Faults != len(told) || !strings.Contains(text, path) ||
				!strings.Contains(text, "a@1: 1 of 2 chunks, the first is chunk 1") || !strings.Contains(text, "b@1: 1 of 2 chunks") || strings.Contains(text, "c@1") {
				t.Errorf("Verify = %+v, %v:\n%s", v, err, text)
			}
			if _, err := mustOpen(t, s, "a").ReadAt(make([]byte, len(p)), 0); name != "a bit" && !errors.Is(err, image.ErrDamaged) {
				t.Errorf("reading a: %v, want ErrDamaged", err)
			}
			if a := mustAdd(t, s, p, "a"); a.New != 1 {
				t.Errorf("adding a again wrote %d frames, want 1", a.New)
			}
			mustVerify(t, s)
		})
	}
}

// A damaged frame of a chunk that an image has several times is replaced once.
func TestHealRepeated(t *testing.T) {
	s := newStore(t)
	p := capture(t, image.LevelDefault, 1, 1, 2, 1)
	mustAdd(t, s, p, "a")
	if err := flip(s.framePath(openBytes(t, p).ChunkDigest(0), 256*kiB)); err != nil {
		t.Fatal(err)
	}
	if a := mustAdd(t, s, p, "a"); a.New != 1 {
		t.Errorf("adding it again wrote %d frames, want 1", a.New)
	}
	mustVerify(t, s)
}

// flip inverts a bit in the middle of a file, without a change of the files that
// share its contents.
func flip(path string) error {
	p, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	p[len(p)/2] ^= 1
	return os.WriteFile(path, p, 0o666)
}

// An image that is open can be read by many at once, with few files open.
func TestReadAtEverywhere(t *testing.T) {
	s := newStore(t)
	numbers := make([]int, 3*openFrames)
	for i := range numbers {
		numbers[i] = i - 5
	}
	want := capture(t, image.LevelFast, numbers...)
	mustAdd(t, s, want, "lab")
	im := mustOpen(t, s, "lab")
	errs := make(chan error)
	const readers = 8
	for r := range readers {
		go func() { errs <- readPieces(im, want, r) }() // awaited below
	}
	for range readers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := im.frames.recent.Len(); n > openFrames {
		t.Errorf("%d files are open, want at most %d", n, openFrames)
	}
	for _, tt := range []struct {
		off  int64
		n    int
		want int
	}{{im.Size() - 3, 10, 3}, {im.Size(), 1, 0}, {im.Size() + 100, 1, 0}} {
		n, err := im.ReadAt(make([]byte, tt.n), tt.off)
		if n != tt.want || err != io.EOF {
			t.Errorf("ReadAt(%d bytes, %d of %d) = %d, %v, want %d, EOF", tt.n, tt.off, im.Size(), n, err, tt.want)
		}
	}
	if _, err := im.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("ReadAt before the start: no error")
	}
}

// readPieces reads all of im in pieces of odd sizes.
func readPieces(im io.ReaderAt, want []byte, r int) error {
	step := 99991 + 1000*r
	for at := 0; at < len(want); at += step {
		piece := want[at:min(at+step, len(want))]
		got := make([]byte, len(piece))
		if _, err := im.ReadAt(got, int64(at)); err != nil {
			return err
		}
		if !bytes.Equal(got, piece) {
			return errors.New("other bytes than were added")
		}
	}
	return nil
}

// The vector of section 16.2 is what the code writes.
func TestVector(t *testing.T) {
	doc, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "\nVector: the preface of the image in section 15:\n\n```\n")
	digits, _, found := strings.Cut(text, "```")
	preface, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	if !found || err != nil {
		t.Fatalf("the preface in docs/format.md: %v", err)
	}
	_, text, _ = strings.Cut(string(doc), "\nVector: the version file")
	line, _, found := strings.Cut(text, "\n")
	if !found {
		t.Fatal("docs/format.md has no version file")
	}
	_, line, _ = strings.Cut(line, " is ")
	want := strings.NewReplacer("`", "", " ", "", ".", "").Replace(line)
	v := version{order: 7, added: 1795305600, preface: preface}
	file := v.append(nil)
	if got := hex.EncodeToString(file[:versionHeader]); got != want {
		t.Errorf("version file begins with\n%s, want\n%s", got, want)
	}
	if _, err := parseVersion(file); err != nil {
		t.Errorf("parseVersion: %v", err)
	}
}

// Version files that are not as section 16.2 wants them are refused.
func TestParseVersionRejects(t *testing.T) {
	v := version{order: 7, added: 1795305600, preface: []byte("preface")}
	good := v.append(nil)
	tests := map[string]func(p []byte) []byte{
		"empty":           func([]byte) []byte { return nil },
		"cut short":       func(p []byte) []byte { return p[:versionHeader-1] },
		"magic":           func(p []byte) []byte { p[0] = 'T'; return p },
		"version":         func(p []byte) []byte { p[8] = 2; return p },
		"reserved":        func(p []byte) []byte { p[15] = 1; return p },
		"another order":   func(p []byte) []byte { p[16]++; return p },
		"order 0":         func([]byte) []byte { return (&version{added: 1}).append(nil) },
		"added too late":  func([]byte) []byte { return (&version{order: 1, added: -1}).append(nil) },
		"another preface": func(p []byte) []byte { p[len(p)-1]++; return p },
		"longer":          func(p []byte) []byte { return append(p, 0) },
	}
	for name, change := range tests {
		if _, err := parseVersion(change(bytes.Clone(good))); !errors.Is(err, image.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}
