package apply

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
	"slipcast/internal/lab"
)

// setLabel gives a file of a root a label, as a policy would.
func setLabel(t *testing.T, path, label string) {
	t.Helper()
	if err := unix.Lsetxattr(path, root.Label, []byte(label+"\x00"), 0); err != nil {
		t.Fatal(err)
	}
}

// getLabel returns it, empty for none.
func getLabel(t *testing.T, path string) string {
	t.Helper()
	p := make([]byte, 256)
	n, err := unix.Lgetxattr(path, root.Label, p)
	if err != nil && !errors.Is(err, unix.ENODATA) {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(p[:max(n, 0)]), "\x00")
}

// labelledRoot makes a root on a file system of its own; with labels, if it is to have any.
func labelledRoot(t *testing.T, labels map[string]string) string {
	t.Helper()
	lab.Tools(t, "mkfs.ext4")
	file := lab.File(t, 64<<20)
	lab.Run(t, "mkfs.ext4", "-q", "-F", file)
	dir := lab.Mount(t, file, "-o", "loop")
	t.Cleanup(func() { lab.Unmount(t, dir) })
	lab.Plant(t, dir, map[string]string{
		"etc/hosts": "old", "etc/same": "same", "etc/link": "-> hosts", "etc/app.conf": "a=1\n", "usr/bin/": "", "etc/os-release": "ID=x\n", "sbin/init": "", "opt/tool": "tool",
	})
	busybox(t, dir)
	for path, label := range labels {
		setLabel(t, filepath.Join(dir, path), label)
	}
	return dir
}

// labelsOf returns the labels of all that lies below dir but the state of slipcast and the program of the test.
func labelsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	labels := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			labels[strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")] = getLabel(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return labels
}

const labelsYAML = `schema: 1
name: labelled
version: 1.0.0
scheme: semver
release: 1
family: linux
payload:
  - overlay:
      from: files
      to: /
      attributes:
        - {path: srv/web, xattrs: {security.selinux: web_t}}
        - {path: opt/tool, xattrs: {security.selinux: tool_t}}
  - line: {path: /etc/app.conf, line: b=2}
`

// A file that is replaced or edited keeps its label, a new one has that of its folder, and one that the bundle names has
// what it says; a program in the bundle makes no difference. A system that labels its files anew at its next boot can
// still be undone, and has its old files with their old labels then.
func TestRootLabels(t *testing.T) {
	lab.Root(t)
	old := map[string]string{".": "root_t", "etc": "etc_t", "etc/hosts": "net_conf_t", "etc/same": "same_t", "etc/link": "etc_t", "etc/app.conf": "app_t", "usr": "usr_t", "usr/bin": "bin_t", "opt": "usr_t", "opt/tool": "usr_t", "sbin": "bin_t", "var": "var_t", "var/lib": "var_lib_t", "srv": "srv_t"}
	files := map[string]string{
		"files/etc/hosts": "new", "files/etc/same": "same", "files/usr/bin/new": "new", "files/usr/share/made/deep": "deep",
		"files/srv/web/index": "hello", "files/opt/tool": "tool", "scripts/post": "#!/bin/sh\nset -e\necho made >/etc/made\nrm /etc/hosts\necho new >/etc/hosts\n",
	}
	want := map[string]string{
		"etc/hosts": "net_conf_t", "etc/same": "same_t", "etc/app.conf": "app_t", "usr/bin/new": "bin_t", "usr/share": "usr_t", "usr/share/made/deep": "usr_t",
		"srv/web": "web_t", "srv/web/index": "web_t", "opt/tool": "tool_t", "var/lib/slipcast": "var_lib_t", "var/lib/slipcast/receipts": "var_lib_t", "etc": "etc_t", "": "root_t",
	}
	for name, yaml := range map[string]string{"files": labelsYAML, "programs": labelsYAML + "run:\n  - {phase: post, exec: [scripts/post]}\n"} {
		t.Run(name, func(t *testing.T) {
			dir := labelledRoot(t, old)
			before := digestOf(t, dir)
			b, err := openBundle(build(t, yaml, files))
			if err != nil {
				t.Fatal(err)
			}
			if err := applyTo(t, dir, b, Options{}); err != nil {
				t.Fatal(err)
			}
			got := labelsOf(t, dir)
			for path, label := range want {
				if got[path] != label {
					t.Errorf("/%s: label %q, want %q", path, got[path], label)
				}
			}
			if name == "programs" && got["etc/made"] != "etc_t" {
				t.Errorf("etc/made: label %q, want etc_t", got["etc/made"])
			}
			for path := range got { // as restorecon does
				if strings.HasPrefix(path, "var/lib/slipcast") || path == "usr/bin/new" || path == "etc/hosts" || path == "srv/web" {
					setLabel(t, filepath.Join(dir, path), "relabelled_t")
				}
			}
			undoProducts(t, dir, "labelled")
			if after := digestOf(t, dir); after != before {
				t.Errorf("tree digest after undo %s, want %s; labels %v", after, before, labelsOf(t, dir))
			}
		})
	}
}

// A label that the bundle asks for is a difference; one that it does not ask for is none.
func TestRootLabelsAgain(t *testing.T) {
	lab.Root(t)
	dir := labelledRoot(t, map[string]string{".": "root_t", "opt/tool": "other_t", "etc/same": "same_t"})
	b, err := openBundle(build(t, labelsYAML, map[string]string{"files/opt/tool": "tool", "files/etc/same": "same", "files/srv/web/index": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := applyTo(t, dir, b, Options{}); err != nil {
			t.Fatal(err)
		}
		if tool, same := getLabel(t, filepath.Join(dir, "opt/tool")), getLabel(t, filepath.Join(dir, "etc/same")); tool != "tool_t" || same != "same_t" {
			t.Errorf("labels %s and %s, want tool_t and same_t", tool, same)
		}
	}
}

// A root without labels gets none.
func TestRootNoLabels(t *testing.T) {
	lab.Root(t)
	dir := labelledRoot(t, nil)
	if err := tryApply(t, dir, simple(t, "plain", "release: 1\nfamily: linux\n", map[string]string{"etc/hosts": "new", "usr/share/made/deep": "deep"})); err != nil {
		t.Fatal(err)
	}
	for path, label := range labelsOf(t, dir) {
		if label != "" {
			t.Errorf("/%s: label %q", path, label)
		}
	}
}
