package bake

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipcast/image"
	"slipcast/internal/lab"
)

// leftOver returns what is left of copies on this machine: loop devices and mounts.
func leftOver(t testing.TB) []string {
	t.Helper()
	var list []string
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.Contains(string(text), "/"+diskName) && len(strings.TrimSpace(string(text))) < 10 {
			list = append(list, f)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "slipcast-bake") {
			list = append(list, line)
		}
	}
	return list
}

// What a job writes is in the child image: its file system is whole, all files
// are there, and only chunks that changed are not the parent's.
func TestRootCopy(t *testing.T) {
	lab.Root(t)
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			lab.Tools(t, k.mkfs[0], k.check[0])
			disk := makeRoot(t, k, 20<<20)
			parent := capture(t, disk)
			dir := lab.Mount(t, disk, "-o", "loop,ro")
			before := lab.Tree(t, dir)
			lab.Unmount(t, dir)
			c, err := NewCopy(parent, CopyOptions{Scratch: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			files := map[string][]byte{"a": noise(3<<20, 1), "b/c": []byte("small"), "b/d": noise(70000, 2)}
			var n int
			var lines []string
			var bytesDone int64
			task := Task{Job: "fill", Input: files, Log: func(s string) { lines = append(lines, s) }, Progress: func(n int64) { bytesDone += n }}
			if err := c.Run(t.Context(), task, &n); err != nil {
				t.Fatal(err)
			}
			slices.Sort(lines)
			if want := []string{"writing a", "writing b/c", "writing b/d"}; n != len(files) || bytesDone != 3<<20+70005 || !slices.Equal(lines, want) {
				t.Errorf("the job said %d, %d bytes, %q", n, bytesDone, lines)
			}
			var out bytes.Buffer
			_, stats, err := c.Capture(t.Context(), &out, image.CaptureOptions{Origin: image.Origin{Time: time.Unix(1, 0)}})
			if err != nil {
				t.Fatal(err)
			}
			child := open(t, out.Bytes())
			checkChild(t, k, child, before, files)
			if child.Origin.Parent != parent.Digest.String() || stats.Reused == 0 {
				t.Errorf("parent %s, %+v", child.Origin.Parent, stats)
			}
			if err := parent.Verify(t.Context(), image.VerifyOptions{}); err != nil {
				t.Errorf("the parent: %v", err)
			}
			if left := leftOver(t); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
		})
	}
}

// checkChild unpacks an image onto garbage, checks its file system with the system's own
// program, and compares the tree.
func checkChild(t *testing.T, k kind, child *image.Image, before map[string]string, files map[string][]byte) {
	t.Helper()
	if err := child.Verify(t.Context(), image.VerifyOptions{}); err != nil {
		t.Error(err)
	}
	disk := unpack(t, child)
	lab.Run(t, k.check[0], append(k.check[1:], disk)...)
	dir := lab.Mount(t, disk, "-o", "loop,ro")
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, "new", name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
	after := lab.Tree(t, dir)
	for name := range after {
		if name == "new" || strings.HasPrefix(name, "new/") {
			delete(after, name)
		}
	}
	lab.SameTree(t, after, before)
	lab.Unmount(t, dir)
}

// A job that fails, panics, is unknown, or whose context ends is an error that
// says so, and leaves nothing behind.
func TestRootCopyFails(t *testing.T) {
	lab.Root(t)
	k := kinds()[0]
	lab.Tools(t, k.mkfs[0])
	parent := capture(t, makeRoot(t, k, 1<<20))
	for _, tt := range []struct {
		job  string
		kind error
		want string
	}{
		{"fail", context.DeadlineExceeded, "a job that fails: context deadline exceeded"},
		{"panic", nil, "a job that panics"},
		{"no such job", nil, `this program knows no job "no such job"`},
		{"hang", context.Canceled, "context canceled"},
	} {
		scratch := t.TempDir()
		c, err := NewCopy(parent, CopyOptions{Scratch: scratch})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = c.Run(ctx, Task{Job: tt.job, Log: func(string) { cancel() }}, nil)
		cancel()
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.kind != nil && !errors.Is(err, tt.kind) {
			t.Errorf("%s: got %v, want %s", tt.job, err, tt.want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if list, _ := os.ReadDir(scratch); len(list) > 0 {
			t.Errorf("%s: %v is left over", tt.job, list)
		}
		if left := leftOver(t); len(left) > 0 {
			t.Errorf("%s: left over: %q", tt.job, left)
		}
	}
}
