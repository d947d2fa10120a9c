package blockdev

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// backingFile returns a file of size bytes in which every sector begins with
// its number.
func backingFile(t *testing.T, size int) *os.File {
	t.Helper()
	f, err := os.OpenFile(lab.File(t, int64(size)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for at := 0; at < size; at += 512 {
		if _, err := f.WriteAt([]byte{byte(at / 512), byte(at / 512 >> 8)}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// attached reports whether a loop device shows a file, by sysfs.
func attached(t *testing.T, node string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join("/sys/block", filepath.Base(node), "loop/backing_file"))
	return err == nil
}

// shows reports whether a loop device shows the file, which has a name of its own.
func shows(t *testing.T, node string, f *os.File) bool {
	t.Helper()
	text, _ := os.ReadFile(filepath.Join("/sys/block", filepath.Base(node), "loop/backing_file"))
	return strings.TrimSpace(string(text)) == f.Name()
}

// A loop device shows its part of the file, writes reach the file, and it is
// gone when it was closed.
func TestRootLoop(t *testing.T) {
	lab.Root(t)
	const offset, size = 1 << 20, 512 << 10
	for _, direct := range []bool{false, true} {
		f := backingFile(t, 4<<20)
		l, err := AttachLoop(f, LoopOptions{Offset: offset, Size: size, Direct: direct})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := l.Direct(); err != nil || got != direct {
			t.Errorf("Direct() = %v, %v, want %v", got, err, direct)
		}
		dev, err := os.OpenFile(l.Path(), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := unix.IoctlGetInt(int(dev.Fd()), unix.BLKSSZGET); err != nil || n != 512 {
			t.Errorf("sectors of %d bytes, %v", n, err)
		}
		if end, err := dev.Seek(0, 2); err != nil || end != size {
			t.Errorf("%d bytes, %v, want %d", end, err, size)
		}
		var first [2]byte
		if _, err := dev.ReadAt(first[:], 0); err != nil || first != [2]byte{byte(offset / 512 & 0xff), byte(offset / 512 >> 8)} {
			t.Errorf("the first sector begins with %v, %v", first, err)
		}
		want := bytes.Repeat([]byte("written"), 100)
		if _, err := dev.WriteAt(want, 4096); err != nil {
			t.Fatal(err)
		}
		dev.Close()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, offset+4096); err != nil || !bytes.Equal(got, want) {
			t.Errorf("direct %v: the file has %q, %v", direct, got[:20], err)
		}
		if shows(t, l.Path(), f) {
			t.Errorf("%s is still attached", l.Path())
		}
	}
}

// A read-only device refuses writes, and sectors have the size that was asked for.
func TestRootLoopReadOnly(t *testing.T) {
	lab.Root(t)
	f := backingFile(t, 1<<20)
	l, err := AttachLoop(f, LoopOptions{ReadOnly: true, SectorSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if n, err := unix.IoctlGetInt(int(l.file.Fd()), unix.BLKSSZGET); err != nil || n != 4096 {
		t.Errorf("sectors of %d bytes, %v, want 4096", n, err)
	}
	dev, err := os.OpenFile(l.Path(), os.O_RDWR, 0)
	if err == nil {
		_, err = dev.WriteAt(make([]byte, 4096), 0)
		dev.Close()
	}
	if err == nil {
		t.Error("it could be written to")
	}
}

// Many at once get different devices.
func TestRootLoopMany(t *testing.T) {
	lab.Root(t)
	f := backingFile(t, 1<<20)
	type result struct {
		l   *Loop
		err error
	}
	results := make(chan result)
	const n = 6
	for range n {
		go func() {
			l, err := AttachLoop(f, LoopOptions{})
			results <- result{l, err}
		}()
	}
	paths := map[string]bool{}
	for range n {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
			continue
		}
		defer r.l.Close()
		paths[r.l.Path()] = true
		if !attached(t, r.l.Path()) {
			t.Errorf("%s is not attached", r.l.Path())
		}
	}
	if len(paths) != n {
		t.Errorf("%d devices, want %d", len(paths), n)
	}
}

// What cannot be shown is refused and leaves nothing behind.
func TestRootLoopRefused(t *testing.T) {
	lab.Root(t)
	f := backingFile(t, 1<<20)
	for name, opt := range map[string]LoopOptions{
		"sectors of 1000 bytes": {SectorSize: 1000},
		"sectors of 256 bytes":  {SectorSize: 256},
	} {
		if l, err := AttachLoop(f, opt); err == nil {
			l.Close()
			t.Errorf("%s: attached as %s", name, l.Path())
		}
	}
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer w.Close()
	if l, err := AttachLoop(pipe, LoopOptions{}); err == nil {
		l.Close()
		t.Errorf("a pipe is attached as %s", l.Path())
	}
}
