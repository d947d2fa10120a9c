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
