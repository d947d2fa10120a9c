package bake

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"slipcast/catalog/root"
	"slipcast/catalog/sandbox"
	"slipcast/image"
	"slipcast/internal/lab"

	"golang.org/x/sys/unix"
)

// TestMain is the process of a job or of a program, where it is started as one.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case Arg0:
		unix.Exit(Main(testJobs())) // at once: the race detector sleeps a second at the end, and its variable is not handed on
	case killArg0:
		os.Exit(toBeKilled())
	case sandbox.Arg0:
		unix.Exit(sandbox.Main()) // at once: the race detector sleeps a second at the end, and its variable is not handed on
	}
	os.Exit(m.Run())
}

// testJobs are jobs that only tests know.
func testJobs() map[string]Job {
	return map[string]Job{
		"fill":   fillJob,
		"hang":   hangJob,
		"digest": digestJob,
		"panic":  func(context.Context, *root.Root, *Work) (any, error) { panic("a job that panics") },
		"fail": func(context.Context, *root.Root, *Work) (any, error) {
			return nil, fmt.Errorf("a job that fails: %w", context.DeadlineExceeded)
		},
	}
}

// fillJob writes files below the root's folder new: their names and contents
// are the input.
func fillJob(_ context.Context, r *root.Root, w *Work) (any, error) {
	var files map[string][]byte
	if err := w.Input(&files); err != nil {
		return nil, err
	}
	return len(files), r.Within(func() error {
		for name, p := range files {
			w.Log("writing " + name)
			path := filepath.Join(r.Dir(), "new", name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, p, 0o644); err != nil {
				return err
			}
			w.Progress(int64(len(p)))
		}
		return nil
	})
}

// hangJob writes without end, and says so when it has begun.
func hangJob(ctx context.Context, r *root.Root, w *Work) (any, error) {
	return nil, r.Within(func() error {
		p := noise(1<<20, 1)
		for i := 0; ctx.Err() == nil; i++ {
			if err := os.WriteFile(filepath.Join(r.Dir(), fmt.Sprintf("file-%d", i%20)), p, 0o644); err != nil {
				return err
			}
			if i == 30 {
				w.Log("begun")
			}
		}
		return ctx.Err()
	})
}

// A kind of file system that images are made of.
type kind struct {
	name  string
	size  int64
	mkfs  []string
	check []string // program and arguments before the device
}

func kinds() []kind {
	return []kind{
		{"ext4", 64 << 20, []string{"mkfs.ext4", "-q", "-F"}, []string{"e2fsck", "-fn"}},
		{"xfs", 320 << 20, []string{"mkfs.xfs", "-q"}, []string{"xfs_repair", "-n"}},
		{"btrfs", 160 << 20, []string{"mkfs.btrfs", "-q"}, []string{"btrfs", "check"}},
	}
}

// makeRoot makes a raw disk, one volume without a table, with a small Linux on it.
func makeRoot(t testing.TB, k kind, size int64) string {
	t.Helper()
	disk := lab.File(t, k.size)
	lab.Run(t, k.mkfs[0], append(k.mkfs[1:], disk)...)
	dir := lab.Mount(t, disk, "-o", "loop")
	for name, text := range map[string]string{
		"etc/fstab": "/dev/sda1 / " + k.name + " defaults 0 1\n", "usr/lib/os-release": "ID=debian\nVERSION_ID=12\n",
		"sbin/init": "", "etc/hostname": "room-12\n", "var/lib/misc/empty": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lab.Fill(t, filepath.Join(dir, "home"), size, 1)
	lab.Unmount(t, dir)
	return disk
}

// capture returns an image of the disk at path.
func capture(t testing.TB, path string) *image.Image {
	t.Helper()
	return open(t, captureBytes(t, path))
}

// captureBytes returns the file of that image.
func captureBytes(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	layout, err := image.Scan(t.Context(), f, image.ScanOptions{Size: info.Size()})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, _, err := image.Capture(t.Context(), &out, f, layout, image.CaptureOptions{}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func open(t testing.TB, p []byte) *image.Image {
	t.Helper()
	im, err := image.Open(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// unpack writes the disk in im to a file, unused bytes as garbage.
func unpack(t testing.TB, im *image.Image) string {
	t.Helper()
	path := lab.File(t, im.Manifest.Size)
	lab.Garbage(t, path, im.Manifest.Size, im.Used)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := image.NewReader(im)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, u := range im.Used {
		p := make([]byte, u.Length)
		if _, err := r.ReadAt(p, u.Start); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(p, u.Start); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// freshChunks returns how many chunks of the child its parent does not have
// anywhere, and the bytes of their frames: what a store keeps of the child.
func freshChunks(child, parent *image.Image) (n int, size int64) {
	known := map[image.Digest]bool{}
	for i := range parent.ChunkCount() {
		known[parent.ChunkDigest(i)] = true
	}
	for c := range child.Frames() {
		if !c.Hole && !known[child.ChunkDigest(c.Chunk)] {
			n++
			size += child.FrameSize(c)
		}
	}
	return n, size
}
