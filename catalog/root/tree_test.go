package root

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// digest returns the tree digest of a folder.
func digest(t *testing.T, dir string) string {
	t.Helper()
	d, err := mustOpen(t, dir).TreeDigest(t.Context(), TreeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestTreeDigestVector compares with the vector of docs/bundles.md.
func TestTreeDigestVector(t *testing.T) {
	doc, err := os.ReadFile("../../docs/bundles.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("Its tree digest is `([0-9a-f]{64})`").FindSubmatch(doc)
	if m == nil {
		t.Fatal("docs/bundles.md has no vector of a tree")
	}
	d := newDigester()
	for _, e := range []Entry{
		{Path: ".", Stat: Stat{Type: Directory, Mode: 0o755}},
		{
			Path: "a", Stat: Stat{Type: File, Mode: 0o4755, UID: 1, GID: 2, Size: 6, ModTime: Time{1700000000, 5}},
			SHA256: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
			Xattrs: []Xattr{{"user.a", []byte{0, 255}}},
		},
		{Path: "b", Stat: Stat{Type: File}, Same: "a"},
		{Path: "c", Stat: Stat{Type: Symlink, Mode: 0o777, ModTime: Time{-1, 999999999}}, Link: "a"},
		{Path: "d", Stat: Stat{Type: CharDevice, Mode: 0o600, Rdev: unix.Mkdev(1, 3)}},
	} {
		d.entry(&e)
	}
	if got := d.sum(); got != string(m[1]) {
		t.Errorf("the digest is %s, the specification says %s", got, m[1])
	}
}

// TestTreeOrder: names in a directory are ordered by bytes, and what is in a
// directory comes right behind it.
func TestTreeOrder(t *testing.T) {
	r := mustOpen(t, tree(t, map[string]string{"a/b": "1", "a-b": "2", "a/Z/x": "3", "B": "4", "a/l": "-> b"}))
	entries, err := r.Tree(t.Context(), TreeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%s:%s", e.Path, e.Type))
	}
	want := ".:dir B:file a:dir a/Z:dir a/Z/x:file a/b:file a/l:symlink a-b:file"
	if strings.Join(got, " ") != want {
		t.Errorf("tree is %s\nwant    %s", strings.Join(got, " "), want)
	}
}

// TestTreeDigestTells changes one thing after another. Each must change the
// digest, and undoing it must bring the old one back.
func TestTreeDigestTells(t *testing.T) {
	dir := tree(t, map[string]string{"d/f": "text", "d/g": "text", "l": "-> d/f", "e/": ""})
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	old := []unix.Timespec{{Sec: 1000}, {Sec: 1000, Nsec: 1}}
	stamp := func(name string) { must(unix.UtimesNanoAt(unix.AT_FDCWD, at(name), old, unix.AT_SYMLINK_NOFOLLOW)) }
	put := func(text string) { must(os.WriteFile(at("d/f"), []byte(text), 0o644)); stamp("d/f") }
	relink := func(text string) { must(os.Remove(at("l"))); must(os.Symlink(text, at("l"))); stamp("l") }
	regular := func() { must(os.Remove(at("d/g"))); must(os.WriteFile(at("d/g"), []byte("text"), 0o644)); stamp("d/g") }
	put("text")
	relink("d/f")
	regular()
	before := digest(t, dir)
	changes := []struct {
		name     string
		do, undo func()
	}{
		{"contents", func() { put("tex!") }, func() { put("text") }},
		{"mode of a file", func() { must(os.Chmod(at("d/f"), 0o600)) }, func() { must(os.Chmod(at("d/f"), 0o644)) }},
		{"mode of a directory", func() { must(os.Chmod(at("e"), 0o700)) }, func() { must(os.Chmod(at("e"), 0o755)) }},
		{"time", func() { must(os.Chtimes(at("d/f"), old0(), old0())) }, func() { stamp("d/f") }},
		{"link text", func() { relink("d/g") }, func() { relink("d/f") }},
		{"new file", func() { must(os.WriteFile(at("n"), nil, 0o644)) }, func() { must(os.Remove(at("n"))) }},
		{"new directory", func() { must(os.Mkdir(at("n"), 0o755)) }, func() { must(os.Remove(at("n"))) }},
		{"attribute", func() { must(unix.Setxattr(at("d/f"), "user.x", []byte("1"), 0)) }, func() { must(unix.Removexattr(at("d/f"), "user.x")) }},
		{
			"one file with two names",
			func() { must(os.Remove(at("d/g"))); must(os.Link(at("d/f"), at("d/g"))) },
			func() { regular() },
		},
		{"fifo", func() { must(unix.Mkfifo(at("n"), 0o644)) }, func() { must(os.Remove(at("n"))) }},
	}
	for _, c := range changes {
		c.do()
		if digest(t, dir) == before {
			t.Errorf("%s: the digest is as before", c.name)
		}
		c.undo()
		if got := digest(t, dir); got != before {
			t.Errorf("%s, undone: the digest is %s, want %s as before", c.name, got, before)
		}
	}
}

// TestTreeLeavesOut: what slipcast keeps on a root is not part of it, and the
// times of directories are not.
func TestTreeLeavesOut(t *testing.T) {
	dir := tree(t, map[string]string{"var/lib/x": "", "etc/": ""})
	before := digest(t, dir)
	for _, name := range []string{"var/lib/slipcast/receipts/a.json", "var/lib/slipcast/tx/00000001/undo/f"} {
		place := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(place, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filepath.Join(dir, "etc"), old0(), old0()); err != nil {
		t.Fatal(err)
	}
	if got := digest(t, dir); got != before {
		t.Errorf("the digest is %s, want %s as before", got, before)
	}
	if err := os.Mkdir(filepath.Join(dir, ".slipcast"), 0o700); err != nil {
		t.Fatal(err)
	}
	if digest(t, dir) == before {
		t.Error(".slipcast on the root's own file system is left out, want it counted")
	}
}

// TestTreeHardLinks: further names refer to the first one.
func TestTreeHardLinks(t *testing.T) {
	dir := tree(t, map[string]string{"b/first": "one"})
	for _, name := range []string{"c", "b/second"} {
		if err := os.Link(filepath.Join(dir, "b/first"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := mustOpen(t, dir).Tree(t.Context(), TreeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same := map[string]string{}
	for _, e := range entries {
		same[e.Path] = e.Same
		if e.Type == File && (e.Same == "") != (e.SHA256 != "") {
			t.Errorf("%s: Same is %q and SHA256 %q, want exactly one", e.Path, e.Same, e.SHA256)
		}
	}
	if same["b/first"] != "" || same["b/second"] != "b/first" || same["c"] != "b/first" {
		t.Errorf("names of one file are %v, want b/first for all others", same)
	}
}

// TestTreeEnds: neither a cancelled context nor a consumer that fails leaves
// goroutines that wait.
func TestTreeEnds(t *testing.T) {
	files := map[string]string{}
	for i := range 1000 {
		files[fmt.Sprintf("d%d/f%d", i%10, i)] = "text"
	}
	r := mustOpen(t, tree(t, files))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.TreeDigest(ctx, TreeOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, want %v", err, context.Canceled)
	}
	stop := errors.New("enough")
	n := 0
	err := r.walk(t.Context(), TreeOptions{}, func(*Entry) error {
		if n++; n == 500 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 500 {
		t.Errorf("walk = %v after %d entries, want %v after 500", err, n, stop)
	}
}

func TestTreeWithoutContents(t *testing.T) {
	r := mustOpen(t, tree(t, map[string]string{"f": "text"}))
	entries, err := r.Tree(t.Context(), TreeOptions{NoContents: true, NoTimes: true})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Path == "f" })
	if i < 0 || entries[i].SHA256 != "" || entries[i].ModTime != (Time{}) || entries[i].Size != 4 {
		t.Errorf("entries are %+v, want f with its size and neither contents nor time", entries)
	}
}

// BenchmarkTreeDigest reads 20,000 small files.
func BenchmarkTreeDigest(b *testing.B) {
	dir := b.TempDir()
	text := []byte(strings.Repeat("some text\n", 200))
	for i := range 20000 {
		d := filepath.Join(dir, fmt.Sprintf("d%03d", i%200))
		if err := os.MkdirAll(d, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("f%d", i)), text, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	r, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.SetBytes(int64(20000 * len(text)))
	for b.Loop() {
		if _, err := r.TreeDigest(b.Context(), TreeOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
