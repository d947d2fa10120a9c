package apply

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/catalog/bundle"
	"slipcast/catalog/root"
	"slipcast/catalog/sandbox"
	"slipcast/internal/lab"
)

// killAt is the variable by which this program is a child that applies a
// bundle and kills itself: "OPERATION APPLY|UNDO DIR BUNDLE".
const killAt = "SLIPCAST_APPLY_TEST"

func TestMain(m *testing.M) {
	if os.Args[0] == sandbox.Arg0 {
		unix.Exit(sandbox.Main()) // at once: the race detector sleeps a second at the end, and its variable is not handed on
	}
	if job := os.Getenv(killAt); job != "" {
		os.Exit(child(strings.Fields(job)))
	}
	os.Exit(m.Run())
}

// child does a job on a root until an operation at which it kills itself.
func child(words []string) int {
	n, err := strconv.Atoi(words[0])
	switch {
	case err != nil:
	case words[1] == "hold":
		err = hold(words[2])
	default:
		err = work(words[1], words[2], words[3], func(d disk) disk {
			return &hooked{disk: d, hook: func(call int) {
				if call == n {
					_ = unix.Kill(os.Getpid(), unix.SIGKILL)
					select {}
				}
			}}
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// hold takes the lock of a root, says so, and keeps it.
func hold(dir string) error {
	r, err := root.Open(dir)
	if err != nil {
		return err
	}
	if _, _, err := open(r, Options{}, true); err != nil {
		return err
	}
	fmt.Println("held")
	select {}
}

// work applies or undoes a bundle, or only recovers, through a disk that a
// test has made of the root.
func work(job, dir, file string, through func(disk) disk) error {
	r, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, opt := context.Background(), Options{Time: time.Unix(1e9, 5)}
	d := tree{r, new(folders)}
	defer d.kept.close()
	e := newEngine(through(d), stateFolder(r))
	e.verify = func(context.Context, *transaction) error { return nil }
	if err := e.recover(ctx); err != nil {
		return err
	}
	switch job {
	case "undo":
		return e.undo(ctx, []string{"corpus"}, false)
	case "apply":
		b, err := openBundle(file)
		if err != nil {
			return err
		}
		_, err = (&application{e: e, r: r, b: b, opt: opt}).run(ctx)
		return err
	}
	return nil
}

// A hooked disk calls a hook before each operation that changes something.
type hooked struct {
	disk
	calls int
	hook  func(call int)
}

func (h *hooked) tick() {
	h.calls++
	h.hook(h.calls)
}

func (h *hooked) write(p string, r io.Reader, n *Node) error { h.tick(); return h.disk.write(p, r, n) }
func (h *hooked) mkdir(p string) error                       { h.tick(); return h.disk.mkdir(p) }
func (h *hooked) symlink(p string, n *Node) error            { h.tick(); return h.disk.symlink(p, n) }
func (h *hooked) link(o, p string) error                     { h.tick(); return h.disk.link(o, p) }
func (h *hooked) rename(o, p string) error                   { h.tick(); return h.disk.rename(o, p) }
func (h *hooked) remove(p string, dir bool) error            { h.tick(); return h.disk.remove(p, dir) }
func (h *hooked) attributes(p string, n *Node) error         { h.tick(); return h.disk.attributes(p, n) }
func (h *hooked) setTime(p string, t Time) error             { h.tick(); return h.disk.setTime(p, t) }
func (h *hooked) barrier(n int, v []int) error               { h.tick(); return h.disk.barrier(n, v) }

// openBundle opens a bundle file, which stays open.
func openBundle(file string) (*bundle.Bundle, error) {
	p, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return bundle.Open(bytes.NewReader(p), int64(len(p)))
}

// build makes a bundle of a bundle.yaml and files ("PATH" or "PATH MODE"), and
// returns the path of its file.
func build(t testing.TB, yaml string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	names := slices.SortedFunc(maps.Keys(files), func(a, b string) int { // links last
		return cmp.Or(strings.Count(a, " -> ")-strings.Count(b, " -> "), strings.Compare(a, b))
	})
	for _, name := range names {
		text := files[name]
		name, link, isLink := strings.Cut(name, " -> ")
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink && text == "hard":
			err = os.Link(filepath.Join(dir, link), file)
		case isLink:
			err = os.Symlink(link, file)
		default:
			err = os.WriteFile(file, []byte(text), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return buildAt(t, dir, yaml)
}

// buildAt makes a bundle of a folder, which gets a bundle.yaml.
func buildAt(t testing.TB, dir, yaml string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "bundle.yaml"), []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "test.slb")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := bundle.Build(t.Context(), dir, f, bundle.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	return out
}

// A filesystem is a file system in a file, mounted.
type filesystem struct {
	file, dev, dir string
}

// kinds are the file systems on which a root may lie, with their size and how
// they are made and mounted. Nothing is written back by itself for long.
var kinds = map[string]struct {
	size  int64
	mkfs  []string
	mount []string
}{
	"ext4":  {64 << 20, []string{"mkfs.ext4", "-q", "-F"}, []string{"-o", "commit=300"}},
	"xfs":   {320 << 20, []string{"mkfs.xfs", "-q", "-f"}, []string{"-o", "nouuid"}},
	"btrfs": {256 << 20, []string{"mkfs.btrfs", "-q", "-f"}, []string{"-o", "commit=300"}},
}

func newFilesystem(t testing.TB, kind string, size int64) filesystem {
	t.Helper()
	lab.Root(t)
	k := kinds[kind]
	lab.Tools(t, k.mkfs[0])
	file := lab.File(t, max(size, k.size))
	lab.Run(t, k.mkfs[0], append(slices.Clone(k.mkfs[1:]), file)...)
	dev := lab.Loop(t, file, 512)
	return filesystem{file, dev, lab.Mount(t, dev, k.mount...)}
}

// populate makes a small system in a folder.
func populate(t testing.TB, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"usr/bin", "usr/lib/os", "etc/app.d", "var/lib", "opt/old/deep", "opt/app/bin", "srv/swap", "srv/doc/bar", "srv/doc/foo", "home"} {
		must(os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	for name, text := range map[string]string{
		"usr/bin/tool": "old tool", "etc/hosts": "127.0.0.1 localhost\n", "etc/app.ini": "[main]\nserver = old\n",
		"etc/app.d/one": "1", "opt/old/x": "x", "opt/old/deep/y": "y", "srv/swap/in": "was in a directory", "srv/plain": "was a file",
		"usr/lib/os-release": "ID=test\n", "home/same": "the same text",
		"opt/app/bin/run": "old run", "srv/doc/bar/copyright": "of bar", "srv/doc/foo/copyright": "of foo",
	} {
		must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	must(os.Symlink("usr/bin", filepath.Join(dir, "bin")))
	must(os.Symlink("../opt/old", filepath.Join(dir, "srv/link")))
	must(os.Link(filepath.Join(dir, "etc/hosts"), filepath.Join(dir, "home/hosts")))
	must(unix.Mkfifo(filepath.Join(dir, "opt/old/fifo"), 0o640))
	must(unix.Mknod(filepath.Join(dir, "opt/old/null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	must(os.Lchown(filepath.Join(dir, "srv/link"), 12, 34))
	must(unix.Setxattr(filepath.Join(dir, "usr/bin/tool"), "user.old", []byte("yes"), 0))
	must(unix.Setxattr(filepath.Join(dir, "usr/bin/tool"), "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	old := []unix.Timespec{{Sec: 1}, {Sec: 7e8, Nsec: 123456789}}
	must(filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Base(p) == "lost+found" {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, old, unix.AT_SYMLINK_NOFOLLOW)
	}))
	lab.Sync(t, dir)
}

// corpusYAML is a bundle with all that a bundle without programs can do.
const corpusYAML = `schema: 1
name: corpus
version: 1.0.0
scheme: semver
params:
  server: {default: licence.example}
payload:
  - overlay:
      from: files
      to: /
      expand: [etc/expanded]
      delete: [/opt/old, /home/same, /not/there]
      attributes:
        - {path: usr/bin/tool, mode: 0750, owner: "1:2", xattrs: {user.new: fresh}}
        - {path: etc/app.d, mode: 0711, owner: "7:8"}
        - {path: srv/plain, mode: 01777}
  - line: {path: /etc/hosts, match: '^127', line: 127.0.0.1 localhost me}
  - ini: {path: /etc/app.ini, section: main, key: server, value: new}
  - line: {path: /etc/fresh.conf, line: created, create: true}
`

func corpusFiles() map[string]string {
	return map[string]string{
		"files/usr/bin/tool": "new tool, longer than before", "files/bin/through": "lands in usr/bin", "files/etc/app.d/one": "1",
		"files/etc/expanded": "server={{server}} {x}}", "files/srv/swap": "now a file", "files/srv/plain/in": "now in a directory",
		"files/opt/app-2/bin/run": "new run", "files/opt/app -> app-2": "", "files/srv/doc/foo -> bar": "", // directories before
		"files/srv/link -> ../usr/bin": "", "files/usr/share/new/tree/a": strings.Repeat("a", 100000), "files/usr/share/new/tree/empty": "",
		"files/usr/share/new/twin -> files/usr/share/new/tree/a": "hard",
	}
}

// digestOf returns the tree digest of the root at dir.
func digestOf(t testing.TB, dir string) string {
	t.Helper()
	r, err := root.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	digest, err := r.TreeDigest(t.Context(), root.TreeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// folderTimes returns when each directory of a root was changed, but for those
// of slipcast and where they lie.
func folderTimes(t testing.TB, dir string) map[string]string {
	t.Helper()
	times := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		if err == nil && (rel == "var/lib/slipcast" || d.Name() == ".slipcast") {
			return fs.SkipDir
		}
		if err != nil || !d.IsDir() || rel == "." {
			return err
		}
		info, err := d.Info()
		times[rel] = info.ModTime().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return times
}

// applyTo applies a bundle to the root at dir by the exported way.
func applyTo(t testing.TB, dir string, b *bundle.Bundle, opt Options) error {
	t.Helper()
	r, err := root.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = Apply(t.Context(), r, b, opt)
	return err
}
