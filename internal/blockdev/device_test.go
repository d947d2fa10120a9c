package blockdev

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

// openTarget opens a target that is closed with the test.
func openTarget(t testing.TB, path string) *Device {
	t.Helper()
	d, err := OpenTarget(path, TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestTargetFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.raw")
	d := openTarget(t, path)
	if err := d.SetSize(1 << 20); err != nil {
		t.Fatal(err)
	}
	if n, err := d.WriteAt([]byte("hello"), 1<<20-5); n != 5 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	if n, err := d.WriteAt([]byte("hello"), 1<<20-4); n != 0 || !errors.Is(err, ErrPastEnd) {
		t.Errorf("past the end: got %d, %v, want 0, %v", n, err, ErrPastEnd)
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
	if err := d.DropCache(); err != nil {
		t.Error(err)
	}
	if err := d.RereadTable(); err != nil {
		t.Error(err)
	}
	got := make([]byte, 10)
	if n, err := d.ReadAt(got, 1<<20-5); n != 5 || err != io.EOF || string(got[:5]) != "hello" {
		t.Errorf("got %d, %v, %q", n, err, got[:n])
	}
	if n, err := d.ReadAt(got, 1<<20); n != 0 || err != io.EOF {
		t.Errorf("at the end: got %d, %v", n, err)
	}
	if _, err := d.ReadAt(got, -1); err == nil {
		t.Error("negative offset: got no error")
	}
	info := d.Info()
	if info.Kind != File || info.Size != 1<<20 || info.LogicalSector != 512 || d.Size() != 1<<20 {
		t.Errorf("got %+v", info)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&^0o644 != 0 || st.Size() != 1<<20 {
		t.Errorf("got %v, %v", st, err)
	}
}

func TestTargetFileKeepsContents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.raw")
	if err := os.WriteFile(path, []byte("old contents"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := openTarget(t, path)
	if d.Size() != 12 {
		t.Errorf("got size %d, want 12", d.Size())
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "old contents" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRefusedFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.raw")
	hard := filepath.Join(dir, "b.raw")
	readOnly := filepath.Join(dir, "readonly.raw")
	pipe := filepath.Join(dir, "pipe")
	for _, err := range []error{
		os.WriteFile(file, []byte("a"), 0o644), os.Link(file, hard),
		os.WriteFile(readOnly, []byte("a"), 0o444), syscall.Mkfifo(pipe, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		keep       []string
		want       Reason
	}{
		{"missing device", "/dev/slipcast-no-such-disk", nil, Missing},
		{"directory", dir, nil, WrongKind},
		{"character device", "/dev/null", nil, WrongKind},
		{"pipe", pipe, nil, WrongKind},
		{"read-only file", readOnly, nil, ReadOnly},
		{"the image itself", file, []string{file}, SameFile},
		{"the image under another name", hard, []string{readOnly, file}, SameFile},
		{"the program", exe, nil, SameFile},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := OpenTarget(tt.path, TargetOptions{Keep: tt.keep})
			if err == nil {
				d.Close()
			}
			if got := reasonOf(t, err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := os.Lstat("/dev/slipcast-no-such-disk"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was created in /dev")
	}
}

func TestTargetOpenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.raw")
	openTarget(t, path)
	d, err := OpenTarget(path, TargetOptions{})
	if err == nil {
		d.Close()
	}
	if got := reasonOf(t, err); got != Busy {
		t.Errorf("got %q, want %q", got, Busy)
	}
}

// A dangling link is not followed: it may lead to where only devices belong.
func TestTargetDanglingLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/dev/slipcast-no-such-disk", path); err != nil {
		t.Fatal(err)
	}
	if d, err := OpenTarget(path, TargetOptions{}); err == nil {
		d.Close()
		os.Remove("/dev/slipcast-no-such-disk")
		t.Error("got no error")
	}
}

func TestSourceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.raw")
	if err := os.WriteFile(path, []byte("contents"), 0o400); err != nil {
		t.Fatal(err)
	}
	d, err := OpenSource(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := io.ReadAll(io.NewSectionReader(d, 0, d.Size()))
	if err != nil || string(got) != "contents" {
		t.Errorf("got %q, %v", got, err)
	}
	for name, change := range map[string]func() error{
		"write":    func() error { _, err := d.WriteAt([]byte("x"), 0); return err },
		"zero":     func() error { return d.Zero(0, 1) },
		"discard":  func() error { return d.Discard(0, 1) },
		"set size": func() error { return d.SetSize(1) },
	} {
		if err := change(); !errors.Is(err, errSource) {
			t.Errorf("%s: got %v, want %v", name, err, errSource)
		}
	}
	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadAt(make([]byte, 8), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that shrank: got %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if _, err := OpenSource(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestNextData(t *testing.T) {
	d := openTarget(t, filepath.Join(t.TempDir(), "a.raw"))
	const size = 8 << 20
	if err := d.SetSize(size); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.NextData(0); err != io.EOF {
		t.Errorf("only a hole: got %v, want %v", err, io.EOF)
	}
	for _, at := range []int64{1 << 20, size - 4096} {
		if _, err := d.WriteAt(bytes.Repeat([]byte{1}, 4096), at); err != nil {
			t.Fatal(err)
		}
	}
	type piece struct{ start, end int64 }
	for off, want := range map[int64]piece{
		0:         {1 << 20, 1<<20 + 4096},
		1<<20 + 9: {1<<20 + 9, 1<<20 + 4096},
		2 << 20:   {size - 4096, size},
		size - 1:  {size - 1, size},
	} {
		if start, end, err := d.NextData(off); err != nil || (piece{start, end}) != want {
			t.Errorf("from %d: got %d to %d, %v, want %+v", off, start, end, err, want)
		}
	}
	for _, off := range []int64{size, size + 1} {
		if _, _, err := d.NextData(off); err != io.EOF {
			t.Errorf("from %d: got %v, want %v", off, err, io.EOF)
		}
	}
	if _, _, err := d.NextData(-1); err == nil || err == io.EOF {
		t.Errorf("negative offset: got %v", err)
	}
}

// checkZero writes a pattern, zeroes a range and compares.
func checkZero(t *testing.T, d *Device, off, n int64) {
	t.Helper()
	want := make([]byte, d.Size())
	fillRandom(want, uint64(off+n))
	if _, err := d.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Zero(off, n); err != nil {
		t.Fatal(err)
	}
	clear(want[off : off+n])
	got := AlignedBuffer(len(want))
	if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after Zero(%d, %d): contents differ, %v", off, n, err)
	}
}

func fillRandom(p []byte, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range p {
		p[i] = byte(1 + rng.UintN(255))
	}
}

func TestZeroAndDiscardFile(t *testing.T) {
	d := openTarget(t, filepath.Join(t.TempDir(), "a.raw"))
	if err := d.SetSize(1<<20 + 77); err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int64{{0, 1<<20 + 77}, {5, 9}, {4096, 8192}, {100, 300000}, {1 << 20, 77}, {9, 0}} {
		checkZero(t, d, r[0], r[1])
	}
	if err := d.Discard(0, 1<<20); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	for _, r := range [][2]int64{{-1, 5}, {0, 1<<20 + 78}, {1<<20 + 77, 1}, {5, -1}, {1 << 62, 1 << 62}} {
		if err := d.Zero(r[0], r[1]); !errors.Is(err, ErrPastEnd) {
			t.Errorf("Zero(%d, %d): got %v, want %v", r[0], r[1], err, ErrPastEnd)
		}
		if err := d.Discard(r[0], r[1]); !errors.Is(err, ErrPastEnd) {
			t.Errorf("Discard(%d, %d): got %v, want %v", r[0], r[1], err, ErrPastEnd)
		}
	}
	if d.Size() != 1<<20+77 {
		t.Errorf("got size %d", d.Size())
	}
}

// Once Sync has failed it must not succeed later: what was lost stays lost.
func TestSyncErrorStays(t *testing.T) {
	d := openTarget(t, filepath.Join(t.TempDir(), "a.raw"))
	lost := errors.New("lost")
	d.syncErr = lost
	for range 2 {
		if err := d.Sync(); !errors.Is(err, lost) {
			t.Errorf("got %v, want %v", err, lost)
		}
	}
}

func TestAlignedBuffer(t *testing.T) {
	for _, n := range []int{0, 1, 511, 4096, 1 << 20} {
		p := AlignedBuffer(n)
		if len(p) != n || cap(p) != n || uintptr(unsafe.Pointer(unsafe.SliceData(p)))%uintptr(os.Getpagesize()) != 0 {
			t.Errorf("AlignedBuffer(%d): length %d, capacity %d, at %p", n, len(p), cap(p), unsafe.SliceData(p))
		}
	}
}

func TestStat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.raw")
	if err := os.WriteFile(path, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := Stat(path)
	if err != nil || info.Kind != File || info.Size != 1000 || info.Path != path || info.Device != "" {
		t.Errorf("got %+v, %v", info, err)
	}
	if _, err := Stat(filepath.Dir(path)); reasonOf(t, err) != WrongKind {
		t.Errorf("a directory: got %v", err)
	}
	if _, err := Stat(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestList(t *testing.T) {
	disks, err := List()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range disks {
		if d.Kind != Disk || d.Size == 0 || d.Path != d.Device {
			t.Errorf("got %+v", d)
		}
	}
}
