// Package lab builds the disks that tests need: loop devices, file systems by
// their own mkfs, trees of files and their digests. It is imported by tests
// alone.
//
// A test that needs root calls [Root] and has a name that starts with
// TestRoot. It is skipped for other users, except under make e2e-root, which
// sets SLIPCAST_LAB=root: there a skipped test is a failed test.
package lab

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/partition"
)

// Root skips the test unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("SLIPCAST_LAB") != "" {
		t.Fatal("this test needs root")
	}
	t.Skip("needs root")
}

// Tools skips the test if one of the programs is not installed. In the
// laboratory (SLIPCAST_LAB set) that is a failure.
func Tools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("SLIPCAST_LAB") != "" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
}

// Run runs a program and returns what it printed. The test fails if the
// program does.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// File makes a sparse file of size bytes that is removed with the test.
func File(t testing.TB, size int64) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "disk-*.raw")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// Mount mounts source and returns the directory. The mount ends with the
// test, or earlier by [Unmount]. args go to mount(8) before the source.
func Mount(t testing.TB, source string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	Run(t, "mount", append(args, source, dir)...)
	t.Cleanup(func() { _ = exec.Command("umount", "--quiet", dir).Run() })
	return dir
}

// Unmount ends a mount; on return the file system is clean.
func Unmount(t testing.TB, dir string) {
	t.Helper()
	Run(t, "umount", dir)
}

// Fill writes about size bytes of files under dir: large and small, some that
// compress, some that do not, some with holes, in nested directories; every
// third one is deleted again and others grow in turns, so that the free space
// is in pieces. The same seed gives the same tree. All of it is on the disk on
// return.
func Fill(t testing.TB, dir string, size int64, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var written int64
	var names []string
	for i := 0; written < size; i++ {
		sub := filepath.Join(dir, fmt.Sprintf("d%d", i%7), fmt.Sprintf("e%d", i%3))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(sub, fmt.Sprintf("file-%04d", i))
		n := 1 + rng.Int64N(min(size/20+2, 1<<20))
		if i%4 == 0 {
			n = 1 + rng.Int64N(3000)
		}
		if err := os.WriteFile(name, content(rng, n, i%2 == 0), 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		written += n
		if i%3 == 2 { // room in the middle
			if err := os.Remove(names[i-1]); err != nil {
				t.Fatal(err)
			}
		}
		if i%5 == 4 { // growth in turns
			appendTo(t, names[i-4], content(rng, 1+rng.Int64N(20000), true), i%3 == 0)
		}
	}
	Sync(t, dir)
}

// Sync puts the file system that dir lies on onto its disk, and no other one.
func Sync(t testing.TB, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		t.Fatalf("syncfs %s: %v", dir, err)
	}
}

// appendTo appends p to the file at name if it still exists, behind a hole if
// hole is true.
func appendTo(t testing.TB, name string, p []byte, hole bool) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return // it was deleted
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	if hole {
		end += 70000
	}
	if _, err := f.WriteAt(p, end); err != nil {
		t.Fatal(err)
	}
}

// content returns n bytes, as random as rng or like text.
func content(rng *rand.Rand, n int64, text bool) []byte {
	p := make([]byte, n)
	if !text {
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		return p
	}
	words := strings.Fields("the disk of a good machine is captured once and many become it")
	for i := 0; i < len(p); {
		i += copy(p[i:], words[rng.IntN(len(words))]+" ")
	}
	return p
}

// Tree returns the digest of every file under dir (of the destination, for a
// symbolic link) by its path.
func Tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			tree[rel] = "-> " + to
			return err
		case d.IsDir():
			tree[rel] = "directory"
			return nil
		case !d.Type().IsRegular():
			tree[rel] = d.Type().String()
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		_, err = io.Copy(h, f)
		tree[rel] = fmt.Sprintf("%x", h.Sum(nil))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// SameTree fails the test for every path whose digest differs.
func SameTree(t testing.TB, got, want map[string]string) {
	t.Helper()
	for path, digest := range want {
		if got[path] != digest {
			t.Errorf("%s: got %q, want %q", path, got[path], digest)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: not expected", path)
		}
	}
}

// Garbage overwrites every byte of the file (or device) at path that lies
// within size and outside keep. The bytes repeat a random pattern without
// zeros.
func Garbage(t testing.TB, path string, size int64, keep partition.Extents) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pattern := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range pattern {
		pattern[i] = byte(1 + rng.IntN(255))
	}
	for _, gap := range keep.Gaps(partition.Extent{Start: 0, Length: size}) {
		for at := gap.Start; at < gap.End(); {
			n, err := f.WriteAt(pattern[:min(int64(len(pattern)), gap.End()-at)], at)
			if err != nil {
				t.Fatal(err)
			}
			at += int64(n)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}
