package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/image"
	"slipcast/internal/lab"
)

// A labMounted is an image that a process of its own has mounted: a process
// that uses its own file system may never end.
type labMounted struct {
	dir    string
	cmd    *exec.Cmd
	stderr io.Reader
}

// labMountImage mounts an image until the test ends, if not before.
func labMountImage(t testing.TB, program, image string) *labMounted {
	t.Helper()
	m := &labMounted{dir: t.TempDir()}
	m.cmd = exec.Command(program, "mount", "--json", image, m.dir)
	stdout, err1 := m.cmd.StdoutPipe()
	stderr, err2 := m.cmd.StderrPipe()
	if err := errors.Join(err1, err2, m.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	m.stderr = stderr
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill() // it may be gone, and its mount
		_ = m.cmd.Wait()
		_ = exec.Command("umount", "--quiet", "--lazy", m.dir).Run()
	})
	if _, err := stdout.Read(make([]byte, 1024)); err != nil { // that it is mounted
		text, _ := io.ReadAll(stderr)
		t.Fatalf("slipcast mount: %s", text)
	}
	return m
}

// wantEnd fails the test unless the process ends well and leaves no mount. It
// returns what the process wrote to stderr.
func (m *labMounted) wantEnd(t testing.TB) string {
	t.Helper()
	text, _ := io.ReadAll(m.stderr)
	if err := m.cmd.Wait(); err != nil {
		t.Errorf("slipcast mount: %v\n%s", err, text)
	}
	if names, err := os.ReadDir(m.dir); err != nil || len(names) > 0 {
		t.Errorf("got %v, %v, want it unmounted", names, err)
	}
	return string(text)
}

// A mounted image is what zstd makes of it, anywhere; a partition in it can be
// mounted; and nothing can be written.
func TestRootLabMount(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "zstd", "mkfs.ext4", "mkfs.fat", "mount", "umount")
	l := labLayouts()[0]
	path, trees := l.make(t)
	image := labCapture(t, path)
	raw := filepath.Join(t.TempDir(), "raw")
	lab.Run(t, "zstd", "--decompress", "--quiet", image, "-o", raw)
	m := labMountImage(t, labBinary(t), image)
	dir := m.dir
	lab.Run(t, "cmp", raw, filepath.Join(dir, "disk.img"))
	labWantAnywhere(t, filepath.Join(dir, "disk.img"), raw)
	at := lab.Mount(t, filepath.Join(dir, "p2.img"), "-o", "ro,loop")
	lab.SameTree(t, lab.Tree(t, at), trees[2])
	lab.Unmount(t, at)
	lab.SameTree(t, labTools().tree(t, filepath.Join(dir, "p1.img")), trees[1])

	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 4 {
		t.Errorf("got %v, %v, want disk.img and three partitions", names, err)
	}
	for _, name := range names {
		if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
			f.Close()
			t.Errorf("%s can be written to", name)
		}
		if os.Truncate(name, 0) == nil || os.Remove(name) == nil || os.Chmod(name, 0o666) == nil {
			t.Errorf("%s can be changed", name)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("making a file: got %v, want %v", err, unix.EROFS)
	}
	lab.Unmount(t, dir)
	m.wantEnd(t)
}

// labWantAnywhere compares pieces of two files, from random places and beyond
// the end, read side by side.
func labWantAnywhere(t *testing.T, got, want string) {
	t.Helper()
	a, b := labOpen(t, got), labOpen(t, want)
	defer a.Close()
	size, err := b.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	for worker := range uint64(4) {
		go func() { // all of them are received
			rng := rand.New(rand.NewPCG(worker, 0))
			same := true
			for range 60 {
				at, n := rng.Int64N(size+1000), rng.IntN(200000)
				p, q := make([]byte, n), make([]byte, n)
				got, err1 := a.ReadAt(p, at)
				want, err2 := b.ReadAt(q, at)
				if got != want || (err1 == nil) != (err2 == nil) || !bytes.Equal(p, q) {
					t.Errorf("%d bytes at %d: got %d, %v, want %d, %v", n, at, got, err1, want, err2)
					same = false
				}
			}
			done <- same
		}()
	}
	for range 4 {
		<-done
	}
}

// Ctrl-C unmounts, at once or when nobody has a file open any more.
func TestRootLabMountInterrupted(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "umount")
	program, source := labBinary(t), lab.File(t, 3*mib)
	labRandom(t, source, 3*mib)
	image := labCapture(t, source)
	for _, busy := range []bool{false, true} {
		m := labMountImage(t, program, image)
		name := filepath.Join(m.dir, "disk.img")
		lab.Run(t, "cmp", source, name)
		f := labOpen(t, name)
		if !busy {
			f.Close()
		}
		if err := m.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if busy {
			if _, err := m.stderr.Read(make([]byte, 1024)); err != nil { // it says so
				t.Error(err)
			}
			f.Close()
		}
		m.wantEnd(t)
	}
}

// A damaged chunk cannot be read, and everything else can.
func TestRootLabMountDamaged(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "umount")
	const size, chunk, damaged = 6 * mib, mib, 3
	source := lab.File(t, size)
	labRandom(t, source, size)
	path := labCapture(t, source)
	labDamage(t, path, damaged)
	m := labMountImage(t, labBinary(t), path)
	f, want := labOpen(t, filepath.Join(m.dir, "disk.img")), labOpen(t, source)
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		t.Fatal(err)
	}
	const step = 64 << 10
	for at := int64(0); at < size; at += step {
		p, q := make([]byte, step), make([]byte, step)
		_, err := f.ReadAt(p, at)
		if at/chunk == damaged {
			if !errors.Is(err, unix.EIO) {
				t.Errorf("offset %d: got %v, want %v", at, err, unix.EIO)
			}
			continue
		}
		if _, err2 := want.ReadAt(q, at); err != nil || err2 != nil || !bytes.Equal(p, q) {
			t.Errorf("offset %d: %v, %v, or other bytes", at, err, err2)
		}
	}
	f.Close()
	lab.Unmount(t, m.dir)
	told := m.wantEnd(t)
	if n := strings.Count(told, "chunk 3 at offset 3145728: damaged image"); n != 1 || strings.Count(told, "chunk ") != 1 {
		t.Errorf("the chunk is named %d times, want once and no other:\n%s", n, told)
	}
}

// labDamage inverts a byte in the middle of the frame of a chunk.
func labDamage(t testing.TB, path string, chunk int) {
	t.Helper()
	im, err := openImageFile(t.Context(), path, &imageFlags{})
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	for f := range im.Frames() {
		if f.Chunk != chunk || f.Hole {
			continue
		}
		labInvert(t, path, im.Image, f)
	}
}

// labInvert inverts a byte in the middle of a frame.
func labInvert(t testing.TB, path string, im *image.Image, f image.Frame) {
	t.Helper()
	packed, err := im.ReadFrame(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all[bytes.Index(all, packed)+len(packed)/2] ^= 0xff
	if err := os.WriteFile(path, all, 0o644); err != nil {
		t.Fatal(err)
	}
}
