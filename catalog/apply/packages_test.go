package apply

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/catalog/root"
	"slipcast/catalog/sandbox"
	"slipcast/internal/lab"
)

// debian makes a copy of the small Debian that may be changed.
func debian(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	lab.Run(t, "cp", "-a", "--reflink=auto", lab.Debian(t), dir)
	return dir
}

// chroot runs a shell script in a root.
func chroot(t testing.TB, dir, script string) string {
	t.Helper()
	return lab.Run(t, "chroot", dir, "sh", "-ec", script)
}

// deb builds a package in the folder dir. files are of the package, those in
// DEBIAN besides its control file among them; scripts begin with #!.
func deb(t testing.TB, dir, name, version, control string, files map[string]string) string {
	t.Helper()
	tree := t.TempDir()
	all := map[string]string{
		"DEBIAN/control": fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: lab <lab@example.invalid>\nDescription: for a test\n%s", name, version, control),
	}
	maps.Copy(all, files)
	for name, text := range all {
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		plant(t, filepath.Join(tree, name), text, mode)
	}
	file := filepath.Join(dir, name+"_"+version+"_all.deb")
	lab.Run(t, "dpkg-deb", "--root-owner-group", "--build", tree, file)
	return file
}

// plant writes a file with the folders that it lies in.
func plant(t testing.TB, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// oldDaemon installs the first version of a package by the root's own dpkg, and
// one that waits for plugins of it. It changes the configuration as an
// administrator does.
func oldDaemon(t testing.TB, dir string) {
	t.Helper()
	old := deb(t, t.TempDir(), "lab-daemon", "1.9", "", map[string]string{
		"DEBIAN/conffiles": "/etc/lab.conf\n", "etc/lab.conf": "first\n", "usr/share/lab/daemon": "old\n", "usr/share/lab/dropped": "goes\n",
	})
	index := deb(t, t.TempDir(), "lab-index", "1", "", map[string]string{
		"DEBIAN/triggers": "interest-noawait /usr/share/lab-plugins\n",
		"DEBIAN/postinst": "#!/bin/sh\n[ \"$1\" != triggered ] || ls /usr/share/lab-plugins >/usr/share/lab/plugins\n",
	})
	lab.Run(t, "cp", old, index, filepath.Join(dir, "tmp"))
	chroot(t, dir, "dpkg --install /tmp/*.deb; rm /tmp/*.deb; echo ours >/etc/lab.conf")
}

// newDaemon puts the next version of it into a folder, and a plugin that pulls
// its trigger.
func newDaemon(t testing.TB, dir string) {
	t.Helper()
	deb(t, dir, "lab-daemon", "1.10", "", map[string]string{
		"DEBIAN/conffiles": "/etc/lab.conf\n", "etc/lab.conf": "second\n", "usr/share/lab/daemon": "new\n",
		"DEBIAN/preinst": "#!/bin/sh\nset -e\n[ \"$1\" = upgrade ] && [ \"$2\" = 1.9 ]\n",
		"DEBIAN/postinst": `#!/bin/sh
set -e
useradd --system --no-create-home lab
chown lab /usr/share/lab/daemon
chmod 4750 /usr/share/lab/daemon
mkdir -p /var/lib/lab
echo "$1 $2" >/var/lib/lab/configured
`,
	})
	deb(t, dir, "lab-plugin", "1:2.0-1", "Depends: lab-daemon (>= 1.10)\n", map[string]string{"usr/share/lab-plugins/plugin": "plugin\n"})
}

const debYAML = "schema: 1\nname: corpus\nversion: 1.0.0\nscheme: semver\npayload:\n  - deb: '*.deb'\n  - line: {path: /etc/lab.conf, line: and a line}\n"

// Packages that are put over an older version are there as dpkg would have
// them, and undone they leave nothing, not in dpkg's own files either.
func TestRootPackagesAreUndone(t *testing.T) {
	dir := debian(t)
	oldDaemon(t, dir)
	before, times := digestOf(t, dir), folderTimes(t, dir)
	src := t.TempDir()
	newDaemon(t, src)
	b, err := openBundle(buildAt(t, src, debYAML))
	if err != nil {
		t.Fatal(err)
	}
	if err := applyTo(t, dir, b, Options{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etc/lab.conf": "ours\nand a line\n", "usr/share/lab/daemon": "new\n", "usr/share/lab/plugins": "plugin\n",
		"var/lib/lab/configured": "configure 1.9\n", "usr/share/lab/dropped": "",
	} {
		if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	const script = "dpkg --audit; dpkg-query -W -f '${db:Status-Abbrev}${Version} ' lab-daemon lab-plugin; stat -c '%U %a' /usr/share/lab/daemon"
	if got, want := chroot(t, dir, script), "ii 1.10 ii 1:2.0-1 lab 4750\n"; got != want {
		t.Errorf("the root says %q, want %q", got, want)
	}
	if _, err := os.Lstat(filepath.Join(dir, "usr/sbin/policy-rc.d")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("policy-rc.d: %v, want nothing of it", err)
	}
	undoAt(t, dir)
	sameRoot(t, dir, before, times)
	if got, want := chroot(t, dir, "dpkg --audit; dpkg-query -W -f '${Version}' lab-daemon; id -u lab 2>&1 || true"), "1.9id: 'lab': no such user\n"; strings.NewReplacer("‘", "'", "’", "'").Replace(got) != want {
		t.Errorf("undone, the root says %q, want %q", got, want)
	}
}

// sameRoot compares a root with what it was.
func sameRoot(t *testing.T, dir, digest string, times map[string]string) {
	t.Helper()
	if got := digestOf(t, dir); got != digest {
		t.Errorf("tree digest %s, want %s as before", got, digest)
	}
	if list := difference(times, folderTimes(t, dir)); len(list) > 0 {
		t.Errorf("times of directories: %v", list)
	}
}

// A package that cannot be installed, or is lower than what is there, leaves
// the root as it is.
func TestRootPackagesRefused(t *testing.T) {
	dir := debian(t)
	oldDaemon(t, dir)
	before, times := digestOf(t, dir), folderTimes(t, dir)
	tests := []struct {
		name  string
		files map[string]string
		pack  [3]string // name, version, more of the control file
		is    error
		text  string
	}{
		{"its script fails", map[string]string{
			"usr/share/lab/broken": "x", "DEBIAN/postinst": "#!/bin/sh\nrm -r /usr/share/doc\nexit 3\n",
		}, [3]string{"lab-broken", "1"}, nil, "exit status 3"},
		{"a downgrade", map[string]string{"usr/share/lab/daemon": "older"}, [3]string{"lab-daemon", "1.8"}, sandbox.ErrDowngrade, "lab-daemon 1.9, and not 1.8"},
		{"it lacks what it needs", nil, [3]string{"lab-lone", "1", "Depends: lab-none\n"}, nil, "dependency problems"},
		{"a file of another package", map[string]string{"usr/share/lab/daemon": "mine"}, [3]string{"lab-thief", "1"}, nil, "lab-daemon"},
		{"a named pipe", map[string]string{"DEBIAN/postinst": "#!/bin/sh\nmkfifo /etc/pipe\n"}, [3]string{"lab-pipe", "1"}, nil, "etc/pipe (fifo)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := t.TempDir()
			deb(t, src, tt.pack[0], tt.pack[1], tt.pack[2], tt.files)
			b, err := openBundle(buildAt(t, src, "schema: 1\nname: corpus\nversion: 1.0.0\nscheme: semver\npayload:\n  - deb: '*.deb'\n"))
			if err != nil {
				t.Fatal(err)
			}
			scratch := t.TempDir()
			err = applyTo(t, dir, b, Options{Scratch: scratch})
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v with %q", err, tt.is, tt.text)
			}
			if left, _ := os.ReadDir(scratch); len(left) > 0 {
				t.Errorf("left in the scratch folder: %v", left)
			}
			r, err := root.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if list, err := Receipts(r); err != nil || len(list) > 0 {
				t.Errorf("receipts %v, %v, want none", list, err)
			}
		})
	}
	sameRoot(t, dir, before, times)
}

// A package that makes a directory of a link, and a link of a directory, in the
// way that dpkg has for it, leaves the files of others alone.
func TestRootPackageTurnsLinks(t *testing.T) {
	dir := debian(t)
	src := t.TempDir()
	bar := deb(t, src, "lab-bar", "1", "", map[string]string{"usr/share/lab/bar/copyright": "of bar\n"})
	foo := deb(t, src, "lab-foo", "1", "Depends: lab-bar\n", map[string]string{
		"usr/share/lab/foo2/copyright": "of foo\n",
		"DEBIAN/postinst":              "#!/bin/sh\nset -e\nln -sfn bar /usr/share/lab/foo\n",
	})
	lab.Run(t, "cp", bar, foo, filepath.Join(dir, "tmp"))
	chroot(t, dir, "dpkg --install /tmp/*.deb; rm /tmp/*.deb")
	before, times := digestOf(t, dir), folderTimes(t, dir)
	src = t.TempDir()
	helper := `#!/bin/sh
set -e
dpkg-maintscript-helper symlink_to_dir /usr/share/lab/foo bar 2~ -- "$@"
dpkg-maintscript-helper dir_to_symlink /usr/share/lab/foo2 bar 2~ -- "$@"
`
	deb(t, src, "lab-foo", "2", "", map[string]string{
		"usr/share/lab/foo/copyright": "of foo 2\n",
		"DEBIAN/preinst":              helper, "DEBIAN/postinst": helper, "DEBIAN/postrm": helper,
	})
	b, err := openBundle(buildAt(t, src, "schema: 1\nname: corpus\nversion: 1.0.0\nscheme: semver\npayload:\n  - deb: '*.deb'\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := applyTo(t, dir, b, Options{}); err != nil {
		t.Fatal(err)
	}
	const script = "cd /usr/share/lab; cat foo/copyright foo2/copyright bar/copyright; readlink foo foo2 || true; dpkg --verify lab-bar lab-foo"
	if got, want := chroot(t, dir, script), "of foo 2\nof bar\nof bar\nbar\n"; got != want {
		t.Errorf("the root says %q, want %q", got, want)
	}
	undoAt(t, dir)
	sameRoot(t, dir, before, times)
}

// rpm builds a package by rpmbuild into the folder dir.
func rpm(t testing.TB, dir, version string) string {
	t.Helper()
	top := t.TempDir()
	spec := filepath.Join(top, "lab.spec")
	plant(t, spec, strings.ReplaceAll(`Name: lab-rpm
Version: VERSION
Release: 1
Summary: for a test
License: none
BuildArch: noarch
AutoReqProv: no
%description
none
%install
mkdir -p %{buildroot}/usr/share %{buildroot}/etc
echo VERSION >%{buildroot}/usr/share/lab-rpm
echo VERSION >%{buildroot}/etc/lab-rpm.conf
%post -p <lua>
local f = io.open('/usr/share/lab-rpm.script', 'w')
f:write('VERSION\n')
f:close()
%files
/usr/share/lab-rpm
%config(noreplace) /etc/lab-rpm.conf
`, "VERSION", version), 0o644)
	lab.Run(t, "rpmbuild", "--quiet", "-bb", "--define", "_topdir "+top, "--define", "_build_id_links none", spec)
	file := filepath.Join(dir, "lab-rpm-"+version+"-1.noarch.rpm")
	if err := os.Rename(filepath.Join(top, "RPMS/noarch", filepath.Base(file)), file); err != nil {
		t.Fatal(err)
	}
	return file
}

// The same with rpm.
func TestRootRPMsAreUndone(t *testing.T) {
	lab.Tools(t, "rpmbuild")
	dir := debian(t)
	plant(t, filepath.Join(dir, "etc/rpm/macros"), "%_dbpath /var/lib/rpm\n", 0o644) // Debian's own is in /root
	old := rpm(t, filepath.Join(dir, "tmp"), "1.0")
	chroot(t, dir, "rpm --install /tmp/"+filepath.Base(old)+"; rm /tmp/*.rpm; echo ours >/etc/lab-rpm.conf")
	before, times := digestOf(t, dir), folderTimes(t, dir)
	yaml := func(version string) string {
		return "schema: 1\nname: corpus\nversion: " + version + "\nscheme: semver\ndetect: {version: 'pkg(\"lab-rpm\")'}\npayload:\n  - rpm: '*.rpm'\n"
	}
	src := t.TempDir()
	rpm(t, src, "1.1")
	b, err := openBundle(buildAt(t, src, strings.Replace(yaml("1.1-1"), "semver", "rpm", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := applyTo(t, dir, b, Options{}); err != nil {
		t.Fatal(err)
	}
	const script = "rpm -q lab-rpm; cat /usr/share/lab-rpm /usr/share/lab-rpm.script /etc/lab-rpm.conf"
	if got, want := chroot(t, dir, script), "lab-rpm-1.1-1.noarch\n1.1\n1.1\nours\n"; got != want {
		t.Errorf("the root says %q, want %q", got, want)
	}
	lower := t.TempDir()
	rpm(t, lower, "1.0")
	b, err = openBundle(buildAt(t, lower, strings.Replace(yaml("1.2-1"), "semver", "rpm", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := applyTo(t, dir, b, Options{}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a lower package: %v, want that a newer one is there", err)
	}
	undoAt(t, dir)
	sameRoot(t, dir, before, times)
	out, err := exec.Command("chroot", dir, "rpm", "-q", "lab-rpm").CombinedOutput()
	if err != nil || string(out) != "lab-rpm-1.0-1.noarch\n" {
		t.Errorf("undone, rpm says %q, %v", out, err)
	}
}
