package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
	"slipcast/internal/lab"
)

// TestMain lets this program be the first process of its own sandboxes.
func TestMain(m *testing.M) {
	if os.Args[0] == Arg0 {
		unix.Exit(Main()) // at once: the race detector sleeps a second at the end, and its variable is not handed on
	}
	os.Exit(m.Run())
}

// small makes a root with nothing but busybox in it.
func small(t testing.TB) string {
	t.Helper()
	lab.Root(t)
	lab.Tools(t, "busybox", "ldd")
	dir := t.TempDir()
	for _, name := range []string{"bin", "usr/sbin", "etc", "dev", "proc", "sys", "run", "tmp", "root", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	lab.Install(t, dir, busybox, "bin/busybox")
	for name := range strings.Lines(lab.Run(t, "busybox", "--list")) {
		name = strings.TrimSpace(name)
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	return dir
}

// over lays an overlay over a folder. It ends with the test, which fails if
// the folder was touched.
func over(t testing.TB, dir string, mounts ...string) *Overlay {
	t.Helper()
	r, err := root.Open(dir, mounts...)
	if err != nil {
		t.Fatal(err)
	}
	before, err := r.TreeDigest(t.Context(), root.TreeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := New(t.Context(), r, t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		after, err := r.TreeDigest(context.Background(), root.TreeOptions{}) // the test's context has ended
		if err != nil || after != before {
			t.Errorf("the root is %s, %v; want %s, untouched", after, err, before)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// sh runs a script and returns what it said. The test fails if it does.
func sh(t testing.TB, o *Overlay, script string) string {
	t.Helper()
	r, err := o.Run(t.Context(), Program{Exec: []string{"sh", "-ec", script}, Timeout: time.Minute})
	if err != nil || r.Code != 0 {
		t.Fatalf("%s: exit code %d, %v\n%s", script, r.Code, err, r.Output)
	}
	return r.Output
}

// changes returns the changes of an overlay, one line for each.
func changes(t testing.TB, o *Overlay) []string {
	t.Helper()
	list, err := o.Changes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range list {
		line := fmt.Sprintf("%s %s", c.Kind, c.Path)
		switch c.Kind {
		case Create, Attributes:
			line += fmt.Sprintf(" %s %o %d:%d", c.Stat.Type, c.Stat.Mode, c.Stat.UID, c.Stat.GID)
		}
		if c.Link != "" {
			line += " -> " + c.Link
		}
		if c.Was != "" {
			line += " was " + string(c.Was)
		}
		lines = append(lines, line)
	}
	return lines
}

// same fails the test if lines differ from what is wanted.
func same(t testing.TB, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// run runs a script of the machine's own shell in a folder.
func run(dir, script string) (string, error) {
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mountsOf returns the mounts that this process sees.
func mountsOf(t *testing.T) []string {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(table), "\n")
}
