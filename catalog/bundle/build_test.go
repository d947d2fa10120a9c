package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What bundle init writes can be built as it is.
func TestInitBuilds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	if err := Init(dir, "greeting"); err != nil {
		t.Fatal(err)
	}
	file, m := built(t, dir)
	if got, want := m.ID(), "greeting@1.0.0-1"; got != want {
		t.Errorf("ID = %s, want %s", got, want)
	}
	if err := check(t, file); err != nil {
		t.Error(err)
	}
	if err := Init(dir, "greeting"); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("Init of a folder with files: %v, want ErrNotEmpty", err)
	}
	if err := Init(filepath.Join(dir, "x"), "No Name"); err == nil {
		t.Error("Init takes a name that no bundle can have")
	}
}

// Every line of the example that is commented out is right, too.
func TestExampleComments(t *testing.T) {
	dir := t.TempDir()
	if err := Init(dir, "greeting"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, yamlName))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.SplitSeq(string(text), "\n") {
		if bare := strings.TrimLeft(line, " "); strings.HasPrefix(bare, "#") && !strings.HasPrefix(bare, "# ") {
			line = strings.Replace(line, "#", "", 1)
		}
		lines = append(lines, line)
	}
	recipe := strings.Join(lines, "\n")
	if _, err := readRecipe([]byte(recipe)); err != nil {
		t.Errorf("%v in\n%s", err, recipe)
	}
	if strings.Contains(recipe, "\n#  ") || !strings.Contains(recipe, "\n  - ini:") {
		t.Errorf("not all comments are looked at:\n%s", recipe)
	}
}

// tree is a folder with all that a folder can have.
func tree() map[string]string {
	return map[string]string{
		"bundle.yaml":            head + "payload:\n  - overlay: {from: files, attributes: [{path: srv, mode: 0750}]}\nrun:\n  - {phase: post, exec: [scripts/post.sh]}\n",
		"files/usr/bin/reader":   "program",
		"files/usr/bin/reader-9": "= files/usr/bin/reader",
		"files/usr/bin/r":        "-> reader",
		"files/etc/reader.conf":  "a = b\n",
		"files/etc/empty":        "",
		"files/etc/also-empty":   "",
		"files/srv/data":         strings.Repeat("data", 700_000),
		"files/srv/data.old":     strings.Repeat("data", 700_000),
		"files/srv/new/":         "",
		"scripts/post.sh":        "#!/bin/sh\n",
	}
}

// The entries are what lies in the folder; the same contents are there once.
func TestOverlay(t *testing.T) {
	file, m := built(t, folderOf(t, tree()))
	var got []string
	for _, e := range m.Payload[0].Overlay.Entries {
		got = append(got, fmt.Sprintf("%s %s %o %d %s", e.Path, e.Type, e.Mode, e.Data, e.Link))
	}
	want := []string{
		"etc/also-empty file 644 0 ", "etc/empty file 644 0 ", "etc/reader.conf file 644 1 ",
		"srv dir 750 0 ", "srv/data file 644 2 ", "srv/data.old file 644 2 ", "srv/new dir 755 0 ",
		"usr/bin/r symlink 0 0 reader", "usr/bin/reader file 755 3 ", "usr/bin/reader-9 hardlink 0 0 usr/bin/reader",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("entries:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"", "a = b\n", strings.Repeat("data", 700_000), "program", "#!/bin/sh\n"} {
		if got := read(t, b, n); got != want {
			t.Errorf("contents %d: %d bytes, want %d", n, len(got), len(want))
		}
	}
}

// read returns contents.
func read(t testing.TB, b *Bundle, n int) string {
	t.Helper()
	r, err := b.Data(n)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// The same folder gives the same bytes, whatever owners, times, umask,
// language and number of processors are.
func TestDeterministic(t *testing.T) {
	want, _ := built(t, folderOf(t, tree()))
	t.Setenv("LC_ALL", "tr_TR.UTF-8")
	t.Setenv("TZ", "Asia/Kathmandu")
	old := syscall.Umask(0o077)
	dir := folderOf(t, tree())
	syscall.Umask(old)
	when := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() == fs.ModeSymlink {
			return err
		}
		if os.Geteuid() == 0 {
			err = os.Chown(path, 1234, 1234)
		}
		return errors.Join(err, os.Chtimes(path, when, when))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, workers := range []int{1, 2, 7} {
		var out bytes.Buffer
		if _, err := Build(t.Context(), dir, &out, BuildOptions{Workers: workers}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%d workers: other bytes from %d on", workers, common(out.Bytes(), want))
		}
	}
}

// What cannot be in a bundle is refused by name.
func TestBuildRefuses(t *testing.T) {
	pipe := folderOf(t, tree())
	if err := syscall.Mkfifo(filepath.Join(pipe, "files/etc/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	pipeScript := folderOf(t, tree())
	if err := errors.Join(os.Remove(filepath.Join(pipeScript, "scripts/post.sh")), syscall.Mkfifo(filepath.Join(pipeScript, "scripts/post.sh"), 0o755)); err != nil {
		t.Fatal(err)
	}
	outside := tree()
	outside["scripts/post.sh"] = "-> /etc/passwd"
	name := tree()
	name["files/etc/\xff"] = "x"
	climbs := tree()
	climbs["files/etc/link"] = "-> ../../etc/shadow"
	missing := tree()
	delete(missing, "bundle.yaml")
	for _, tt := range []struct{ name, dir, want string }{
		{"pipe", pipe, "files/etc/pipe: a device, pipe or socket"},
		{"pipe for a script", pipeScript, "scripts/post.sh is not a regular file"},
		{"script outside", folderOf(t, outside), "scripts/post.sh"},
		{"name that is not UTF-8", folderOf(t, name), "is not UTF-8"},
		{"link that climbs out", folderOf(t, climbs), "leads out of the root"},
		{"no bundle.yaml", folderOf(t, missing), "bundle.yaml: no such file"},
		{"no folder", filepath.Join(t.TempDir(), "none"), "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := build(t, tt.dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want one with %q", err, tt.want)
			}
		})
	}
}

// A file that changes while the bundle is built makes no bundle.
func TestBuildOfChangingFile(t *testing.T) {
	for _, text := range []string{strings.Repeat("date", 700_000), "short", strings.Repeat("data", 800_000)} {
		dir := folderOf(t, tree())
		changed := false
		progress := func(int64) { // the first contents have been written
			if !changed {
				changed = true
				if err := os.WriteFile(filepath.Join(dir, "files/srv/data"), []byte(text), 0o644); err != nil {
					t.Error(err)
				}
			}
		}
		_, err := Build(t.Context(), dir, io.Discard, BuildOptions{Progress: progress})
		if len(text) <= 2_800_000 && !errors.Is(err, errChanged) {
			t.Errorf("%d bytes: %v, want errChanged", len(text), err)
		}
		if len(text) > 2_800_000 && err != nil {
			t.Errorf("bytes that came after the digest was made: %v, want none of it in the bundle", err)
		}
	}
}

// A disk that is full, and an interruption, end a build with that.
func TestBuildStops(t *testing.T) {
	dir := folderOf(t, tree())
	full := errors.New("no space left on device")
	if _, err := Build(t.Context(), dir, &fullDisk{left: 100, err: full}, BuildOptions{}); !errors.Is(err, full) {
		t.Errorf("full disk: %v, want %v", err, full)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, dir, io.Discard, BuildOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v, want %v", err, context.Canceled)
	}
	ctx, cancel = context.WithCancel(t.Context())
	_, err := Build(ctx, dir, io.Discard, BuildOptions{Progress: func(int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted while writing: %v, want %v", err, context.Canceled)
	}
}

// A fullDisk takes so many bytes and no more.
type fullDisk struct {
	left int
	err  error
}

// Write implements io.Writer.
func (f *fullDisk) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func TestIDs(t *testing.T) {
	for _, text := range []string{"reader@9.3-1", "reader/stable@1:2.0-3~rc1-12", "a@1-2147483647"} {
		id, err := ParseID(text)
		if err != nil || id.String() != text {
			t.Errorf("ParseID(%q) = %v, %v", text, id, err)
		}
	}
	for _, text := range []string{
		"", "reader", "reader@9", "reader@-1", "@9-1", "reader@9-0", "reader@9-01", "reader@9-+1", "reader@9-2147483648",
		"Reader@9-1", "reader/@9-1", "reader/a/b@9-1", "reader@9 1-1", "reader@../9-1", "reader@9-1\n",
	} {
		if id, err := ParseID(text); err == nil {
			t.Errorf("ParseID(%q) = %v, want an error", text, id)
		}
	}
	id := ID{Name: "reader", Track: "stable", Version: "1:2.0", Release: 3}
	if got, want := id.FileName(), "reader+stable@1%3a2.0-3.slb"; got != want {
		t.Errorf("FileName = %s, want %s", got, want)
	}
}
