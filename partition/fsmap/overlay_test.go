package fsmap

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// An overlay is a disk whose changes stay in memory.
type overlay struct {
	base  io.ReaderAt
	size  int64
	pages map[int64][]byte
}

const overlayPage = 4096

func newOverlay(base io.ReaderAt, size int64) *overlay {
	return &overlay{base: base, size: size, pages: map[int64][]byte{}}
}

func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.base.ReadAt(p, off)
	for at := off &^ (overlayPage - 1); at < off+int64(n); at += overlayPage {
		page, ok := o.pages[at]
		if !ok {
			continue
		}
		if at < off {
			copy(p, page[off-at:])
			continue
		}
		copy(p[at-off:n], page)
	}
	return n, err
}

// write changes the disk; what lies beyond its end is dropped.
func (o *overlay) write(off int64, p []byte) {
	for len(p) > 0 && off < o.size {
		at := off &^ (overlayPage - 1)
		page, ok := o.pages[at]
		if !ok {
			page = make([]byte, overlayPage)
			_, _ = o.base.ReadAt(page, at)
			o.pages[at] = page
		}
		n := copy(page[off-at:], p)
		p, off = p[n:], off+int64(n)
	}
}

// bytes returns n bytes at off, zeros beyond the end.
func (o *overlay) bytes(off, n int64) []byte {
	p := make([]byte, n)
	_, _ = o.ReadAt(p, off)
	return p
}

// patch applies changes that a fuzzer made up: an offset of 32 bits, a length
// of 8 bits, and the bytes, again and again.
func (o *overlay) patch(changes []byte) {
	for len(changes) > 5 {
		off := int64(binary.LittleEndian.Uint32(changes)) % o.size
		n := min(1+int(changes[4]), len(changes)-5)
		o.write(off, changes[5:5+n])
		changes = changes[5+n:]
	}
}

// change returns one change in the form that patch takes.
func change(off uint32, p string) []byte {
	return append(append(binary.LittleEndian.AppendUint32(nil, off), byte(len(p)-1)), p...)
}

// openOverlay opens the file at path under an overlay.
func openOverlay(t testing.TB, path string) *overlay {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return newOverlay(f, info.Size())
}

// mapOverlay maps what is on o and checks what every map promises.
func mapOverlay(t testing.TB, o *overlay) *Map {
	t.Helper()
	m, err := Read(context.Background(), o, o.size, Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkPromises(t, m, o.size)
	return m
}

// checkPromises fails the test if m is not what Read promises for a volume of
// size bytes.
func checkPromises(t testing.TB, m *Map, size int64) {
	t.Helper()
	end := int64(-1)
	for _, e := range m.Used {
		if e.Length <= 0 || e.Start <= end || e.End() > size {
			t.Fatalf("extent %v behind %d on a volume of %d bytes", e, end, size)
		}
		end = e.End()
	}
	if m.Whole && m.Used.Size() != size {
		t.Fatalf("whole, with %d of %d bytes", m.Used.Size(), size)
	}
	if m.Whole && len(m.Notes) == 0 {
		t.Fatal("whole without a note")
	}
	if m.Size <= 0 && size > 0 || m.Size > size {
		t.Fatalf("a file system of %d bytes on a volume of %d", m.Size, size)
	}
}

// mapPath maps the file at path.
func mapPath(t testing.TB, path string) *Map {
	t.Helper()
	return mapOverlay(t, openOverlay(t, path))
}

// wantMap fails the test unless m has a map and agrees with blkid about the
// file at path.
func wantMap(t testing.TB, m *Map, path string) {
	t.Helper()
	if m.Whole {
		t.Fatalf("captured whole: %q", m.Notes)
	}
	blkid := func(tag string) string {
		return strings.TrimSpace(lab.Run(t, "blkid", "-p", "-o", "value", "-s", tag, path))
	}
	got := [3]string{m.Type, m.Label, m.UUID}
	if want := [3]string{blkid("TYPE"), blkid("LABEL"), blkid("UUID")}; got != want {
		t.Errorf("got %q, want %q as blkid says", got, want)
	}
}

// wantCaptured fails the test unless m is whole with a note that contains text.
func wantCaptured(t testing.TB, m *Map, kind, text string) {
	t.Helper()
	if !m.Whole || m.Type != kind || !strings.Contains(strings.Join(m.Notes, "; "), text) {
		t.Errorf("got whole %v, type %q, notes %q, want whole, %q, %q", m.Whole, m.Type, m.Notes, kind, text)
	}
}

// garbageAround fills everything that m leaves out of the file at path. A test
// that leaves nothing out shows nothing.
func garbageAround(t testing.TB, m *Map, path string) {
	t.Helper()
	size := openOverlay(t, path).size
	if m.Used.Covers(partition.Extent{Length: size}) {
		t.Error("all of the volume is in use")
	}
	lab.Garbage(t, path, size, m.Used)
}

// partcloneUsed returns how many bytes the given member of the partclone
// family finds in use.
func partcloneUsed(t testing.TB, program, path string) int64 {
	t.Helper()
	lab.Tools(t, program, "partclone.info")
	image := filepath.Join(t.TempDir(), "image")
	lab.Run(t, program, "-c", "-q", "-s", path, "-O", image, "-L", image+".log")
	info := lab.Run(t, "partclone.info", "-L", image+".log", "-s", image)
	return numberIn(t, info, `Space in use:.*= (\d+) Blocks`) * numberIn(t, info, `Block size:\s+(\d+)`)
}

// numberIn returns the number that the group of pattern matches in text.
func numberIn(t testing.TB, text, pattern string) int64 {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %q in %s", pattern, text)
	}
	n, err := strconv.ParseInt(found[1], 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// trees makes trees of files by [lab.Fill], each of them once.
type trees struct {
	dir  string
	made map[string]bool
}

// newTrees returns a maker whose trees last as long as the test.
func newTrees(t testing.TB) *trees {
	t.Helper()
	return &trees{dir: t.TempDir(), made: map[string]bool{}}
}

// tree returns the tree of about size bytes that seed gives. Nobody may
// change it.
func (s *trees) tree(t testing.TB, size int64, seed uint64) string {
	t.Helper()
	dir := filepath.Join(s.dir, fmt.Sprintf("%d-%d", size, seed))
	if !s.made[dir] {
		lab.Fill(t, dir, size, seed)
		s.made[dir] = true
	}
	return dir
}
