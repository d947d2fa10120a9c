package apply

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
	"slipcast/internal/lab"
)

// busybox makes a system in a folder in which programs run.
func busybox(t testing.TB, dir string) {
	t.Helper()
	lab.Tools(t, "busybox", "ldd")
	populate(t, dir)
	for _, name := range []string{"dev", "proc", "sys", "run", "tmp", "root", "usr/sbin", "usr/lib/systemd"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	lab.Install(t, dir, program, "usr/bin/busybox")
	lab.Install(t, dir, "/bin/true", "usr/lib/systemd/systemd")
	for _, name := range []string{"sh", "cat", "cp", "rm", "mkdir", "touch", "echo", "chmod", "ln", "timeout", "sync"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "usr/bin", name)); err != nil {
			t.Fatal(err)
		}
	}
}

const programYAML = `schema: 1
name: corpus
version: 1.0.0
scheme: semver
params: {who: {default: "it's me"}}
payload:
  - overlay: {from: files, to: /}
run:
  - {phase: pre, exec: [/bin/sh, -c, 'test ! -e /etc/laid'], timeout: 60s}
  - {phase: post, exec: [post.sh, "{{who}}"], scripts: [scripts/post.sh], timeout: 60s}
  - {phase: firstboot, exec: [first.sh, "{{who}}"], scripts: [scripts/first.sh], timeout: 60s}
`

// What programs do is part of the transaction, and undone with it.
func TestRootProgramsAreUndone(t *testing.T) {
	lab.Root(t)
	dir := t.TempDir()
	busybox(t, dir)
	before, times := digestOf(t, dir), folderTimes(t, dir)
	yaml := strings.ReplaceAll(strings.ReplaceAll(programYAML, "[post.sh", "[scripts/post.sh"), "[first.sh", "[scripts/first.sh")
	b, err := openBundle(build(t, yaml, map[string]string{
		"files/etc/laid": "laid",
		"scripts/post.sh": `#!/bin/sh
set -e
cp /etc/laid /etc/copied
echo "$1" >>/etc/hosts
rm -r /opt/old
mkdir -p /usr/share/made
ln /etc/copied /usr/share/made/twin
chmod 700 /etc/app.d
chmod 600 /etc/app.d/one
echo "$SLIPCAST_PARAM_who" >/usr/share/made/who
`,
		"scripts/first.sh": "#!/bin/sh\n[ \"$1\" = \"it's me\" ]\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := applyTo(t, dir, b, Options{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etc/copied": "laid", "etc/hosts": "127.0.0.1 localhost\nit's me\n", "usr/share/made/who": "it's me\n", "home/hosts": "127.0.0.1 localhost\n",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	a, err := os.Stat(filepath.Join(dir, "etc/copied"))
	if err != nil {
		t.Fatal(err)
	}
	if twin, err := os.Stat(filepath.Join(dir, "usr/share/made/twin")); err != nil || !os.SameFile(a, twin) {
		t.Errorf("twin: %v, want another name of etc/copied", err)
	}
	checkQueue(t, dir)
	undoAt(t, dir)
	if after := digestOf(t, dir); after != before {
		t.Errorf("tree digest after undo %s, want %s", after, before)
	}
	if after := folderTimes(t, dir); strings.Join(difference(times, after), "") != "" {
		t.Errorf("times of directories: %v", difference(times, after))
	}
}

// checkQueue looks at the queue of a root and runs it on this system.
func checkQueue(t *testing.T, dir string) {
	t.Helper()
	r, err := root.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	list, err := Queue(r)
	if err != nil || len(list) != 1 || list[0] != (Queued{Name: "0001-corpus"}) {
		t.Errorf("queue: %+v, %v", list, err)
	}
	link, err := filepath.EvalSymlinks(filepath.Join(dir, unitLink))
	if err != nil || link != filepath.Join(dir, unitPath) {
		t.Errorf("the unit is not wanted by anything: %s, %v", link, err)
	}
}

// The root itself is a path like others, and so are names that are no text.
func TestRootTopAndRawNames(t *testing.T) {
	lab.Root(t)
	dir := t.TempDir()
	busybox(t, dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	plant(t, filepath.Join(dir, "etc/old\xfc"), "old", 0o644)
	before, times := digestOf(t, dir), folderTimes(t, dir)
	first := build(t, `schema: 1
name: corpus
version: 1.0.0
scheme: semver
detect: {present: 'exists("/etc/app.d/one")'}
run:
  - {phase: post, exec: [scripts/post.sh], scripts: [scripts/post.sh], timeout: 60s}
`, map[string]string{"scripts/post.sh": "#!/bin/sh -e\nchmod 711 /\nrm '/etc/old\xfc'\nmkdir '/opt/\xff'\necho new > '/opt/\xff/na\xefve'\nln -s 'na\xefve' '/opt/\xff/link'\n"})
	if err := tryApply(t, dir, first); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o711 {
		t.Errorf("the root has %v, %v, want mode 0711", st.Mode(), err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "opt/\xff/link")); err != nil || string(got) != "new\n" {
		t.Errorf("the file in a folder without a text for a name: %q, %v", got, err)
	}
	if err := tryApply(t, dir, simple(t, "second", "", map[string]string{"etc/x": "x"})); err != nil {
		t.Errorf("the next bundle: %v", err)
	}
	undoProducts(t, dir, "second", "corpus")
	sameRoot(t, dir, before, times)
}

// An extended attribute whose name is no text is refused by name.
func TestRootRawXattr(t *testing.T) {
	f := newFilesystem(t, "ext4", 0)
	populate(t, f.dir)
	if err := unix.Setxattr(filepath.Join(f.dir, "etc/app.d/one"), "user.\xfc", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	before, times := digestOf(t, f.dir), folderTimes(t, f.dir)
	err := tryApply(t, f.dir, simple(t, "corpus", "", map[string]string{"etc/app.d/one": "new"}))
	if err == nil || !strings.Contains(err.Error(), `etc/app.d/one: extended attribute "user.\xfc"`) {
		t.Errorf("got %v, want an error that names it", err)
	}
	sameRoot(t, f.dir, before, times)
	if err := tryApply(t, f.dir, simple(t, "corpus", "", map[string]string{"etc/app.d/two": "new"})); err != nil {
		t.Errorf("another file: %v", err)
	}
}

func undoAt(t *testing.T, dir string) {
	t.Helper()
	undoProducts(t, dir, "corpus")
}

// undoProducts takes products off the root at dir.
func undoProducts(t *testing.T, dir string, products ...string) {
	t.Helper()
	if err := undoOf(t, dir, products...); err != nil {
		t.Error(err)
	}
}

// undoRefused wants that a product is not taken off.
func undoRefused(t *testing.T, dir, product string, want error) {
	t.Helper()
	if err := undoOf(t, dir, product); !errors.Is(err, want) {
		t.Errorf("undoing %s: %v, want %v", product, err, want)
	}
}

func undoOf(t *testing.T, dir string, products ...string) error {
	t.Helper()
	r, err := root.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return Undo(t.Context(), r, products, Options{})
}

// What programs make of links and names comes onto the root as they left it,
// and touches nothing else.
func TestRootProgramsTurnLinks(t *testing.T) {
	lab.Root(t)
	dir := t.TempDir()
	busybox(t, dir)
	for link, to := range map[string]string{"srv/own": "doc/bar", "srv/deep": "/srv"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	before, times := digestOf(t, dir), folderTimes(t, dir)
	b, err := openBundle(build(t, `schema: 1
name: corpus
version: 1.0.0
scheme: semver
detect: {present: 'exists("/srv/own/copyright")'}
run:
  - {phase: post, exec: [post.sh], scripts: [post.sh], timeout: 60s}
`, map[string]string{"post.sh": `#!/bin/sh
set -e
rm /srv/own /srv/deep
mkdir -p /srv/own /srv/deep/doc/bar
echo own >/srv/own/copyright
echo deep >/srv/deep/doc/bar/copyright
rm -r /srv/doc/foo
ln -s bar /srv/doc/foo
ln /usr/bin/tool /usr/bin/afool
chmod 4755 /usr/bin/tool
`}))
	if err != nil {
		t.Fatal(err)
	}
	if err := applyTo(t, dir, b, Options{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"srv/own/copyright": "own\n", "srv/deep/doc/bar/copyright": "deep\n", "srv/doc/foo/copyright": "of bar", "srv/doc/bar/copyright": "of bar",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	a, err := os.Stat(filepath.Join(dir, "usr/bin/afool"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.Stat(filepath.Join(dir, "usr/bin/tool")); err != nil || !os.SameFile(a, b) || a.Mode() != os.ModeSetuid|0o755 {
		t.Errorf("afool: %v, %v, want another name of tool, mode 4755", a.Mode(), err)
	}
	undoAt(t, dir)
	sameRoot(t, dir, before, times)
}

// A file with two names stays one, or is divided, as in the overlay.
func TestRootProgramsAndNames(t *testing.T) {
	lab.Root(t)
	for name, tt := range map[string]struct {
		script string
		one    bool
		modes  [2]os.FileMode // of etc/hosts and home/hosts
	}{
		"mode of one":          {"chmod 600 /etc/hosts", false, [2]os.FileMode{0o600, 0o644}},
		"modes of both":        {"chmod 600 /etc/hosts; chmod 640 /home/hosts", false, [2]os.FileMode{0o600, 0o640}},
		"time of one":          {"touch /etc/hosts", true, [2]os.FileMode{0o644, 0o644}},
		"joined, then mode":    {"ln -f /etc/hosts /home/hosts; chmod 600 /etc/hosts", true, [2]os.FileMode{0o600, 0o600}},
		"joined, then time":    {"ln -f /etc/hosts /home/hosts; touch /etc/hosts", true, [2]os.FileMode{0o644, 0o644}},
		"joined, then written": {"ln -f /etc/hosts /home/hosts; echo x >>/etc/hosts", true, [2]os.FileMode{0o644, 0o644}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			busybox(t, dir)
			before, times := digestOf(t, dir), folderTimes(t, dir)
			yaml := "schema: 1\nname: corpus\nversion: 1.0.0\nscheme: semver\ndetect: {present: 'exists(\"/etc/hosts\")'}\n" +
				"run:\n  - {phase: post, exec: [/bin/sh, -ec, '" + tt.script + "'], timeout: 60s}\n"
			b, err := openBundle(build(t, yaml, nil))
			if err != nil {
				t.Fatal(err)
			}
			if err := applyTo(t, dir, b, Options{}); err != nil {
				t.Fatal(err)
			}
			etc, err := os.Stat(filepath.Join(dir, "etc/hosts"))
			if err != nil {
				t.Fatal(err)
			}
			home, err := os.Stat(filepath.Join(dir, "home/hosts"))
			if err != nil {
				t.Fatal(err)
			}
			if got := [2]os.FileMode{etc.Mode(), home.Mode()}; got != tt.modes || os.SameFile(etc, home) != tt.one {
				t.Errorf("modes %v, one file: %v; want %v, %v", got, os.SameFile(etc, home), tt.modes, tt.one)
			}
			undoAt(t, dir)
			sameRoot(t, dir, before, times)
		})
	}
}

// A program that fails has changed nothing.
func TestRootProgramThatFailsChangesNothing(t *testing.T) {
	lab.Root(t)
	dir := t.TempDir()
	busybox(t, dir)
	before := digestOf(t, dir)
	b, err := openBundle(build(t, `schema: 1
name: corpus
version: 1.0.0
scheme: semver
payload:
  - overlay: {from: files, to: /}
run:
  - {phase: post, exec: [/bin/sh, -c, 'rm -r /opt; exit 3'], timeout: 60s}
`, map[string]string{"files/etc/laid": "laid"}))
	if err != nil {
		t.Fatal(err)
	}
	err = applyTo(t, dir, b, Options{})
	if err == nil || !strings.Contains(err.Error(), "post program /bin/sh: exit code 3") {
		t.Errorf("got %v, want the exit code", err)
	}
	if after := digestOf(t, dir); after != before {
		t.Error("the root was changed")
	}
}
