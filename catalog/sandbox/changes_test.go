package sandbox

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
)

// stocked makes a small root with files to change.
func stocked(t *testing.T) string {
	dir := small(t)
	script := `
		mkdir -p etc/d/sub opt/old/deep var/empty lib2
		echo one > etc/one; echo two > etc/two; echo three > etc/three; ln etc/three etc/d/three
		echo sub > etc/d/sub/f; echo deep > opt/old/deep/f; ln -s one etc/link; ln -s etc/d linkdir
		touch -d @1000 etc/one etc/two etc/three opt/old/deep/f; touch -h -d @1000 etc/link`
	if out, err := run(dir, script); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// TestRootChanges does one thing to each tree and wants it told.
func TestRootChanges(t *testing.T) {
	dir := stocked(t)
	tests := []struct {
		name, script string
		want         []string
	}{
		{"nothing", "cat /etc/one >/dev/null", nil},
		{"opened to be written to", ": >> /etc/one; chmod 644 /etc/two", nil},
		{"made and removed", "touch /new /etc/new; mkdir /dir; rm /new /etc/new; rmdir /dir", nil},
		{"renamed and back", "mv /etc/one /etc/uno; mv /etc/uno /etc/one", nil},
		{"contents", "echo ONE > /etc/one", []string{"create etc/one file 644 0:0 was file"}},
		{"same contents in a new file", "cp /etc/one /x; rm /etc/one; mv /x /etc/one", []string{"attributes etc/one file 644 0:0 was file"}},
		{"mode", "chmod 4750 /etc/one", []string{"attributes etc/one file 4750 0:0 was file"}},
		{"owner", "chown 5:6 /etc/one", []string{"attributes etc/one file 644 5:6 was file"}},
		{"owner of a link", "chown -h 5:6 /etc/link", []string{"attributes etc/link symlink 777 5:6 -> one was symlink"}},
		{"time alone", "touch /etc/one", []string{"attributes etc/one file 644 0:0 was file"}},
		{"mode of a directory", "chmod 700 /etc/d", []string{"attributes etc/d dir 700 0:0 was dir"}},
		{"mode of the top", "chmod 711 /", []string{"attributes . dir 711 0:0 was dir"}},
		{"new file", "echo x > /etc/d/new", []string{"create etc/d/new file 644 0:0"}},
		{"new tree", "mkdir -p /srv/a; echo x > /srv/a/b", []string{"create srv dir 755 0:0", "create srv/a dir 755 0:0", "create srv/a/b file 644 0:0"}},
		{"new link", "ln -s /etc/one /l", []string{"create l symlink 777 0:0 -> /etc/one"}},
		{"link text", "ln -sfn two /etc/link", []string{"create etc/link symlink 777 0:0 -> two was symlink"}},
		{"delete", "rm /etc/one", []string{"delete etc/one was file"}},
		{"delete a tree", "rm -r /opt", []string{"delete opt was dir"}},
		{"rename", "mv /etc/one /etc/uno", []string{"delete etc/one was file", "create etc/uno file 644 0:0"}},
		{"rename a folder", "mv /opt/old /opt/new", []string{
			"create opt/new dir 755 0:0", "create opt/new/deep dir 755 0:0", "create opt/new/deep/f file 644 0:0", "delete opt/old was dir",
		}},
		{"folder made again", "rm -r /etc/d; mkdir /etc/d; echo n > /etc/d/n", []string{
			"create etc/d/n file 644 0:0", "delete etc/d/sub was dir", "delete etc/d/three was file",
		}},
		{"folder made again as it was", "cp -a /opt/old /x; rm -r /opt/old; mv /x /opt/old", nil},
		{"file for a folder", "rm -r /opt; echo x > /opt", []string{"create opt file 644 0:0 was dir"}},
		{"folder for a file", "rm /etc/one; mkdir /etc/one; echo x > /etc/one/y", []string{"create etc/one dir 755 0:0 was file", "create etc/one/y file 644 0:0"}},
		{"folder for a link", "rm /linkdir; mkdir -p /linkdir/sub; cp -a /etc/d/sub/f /linkdir/sub/f", []string{
			"create linkdir dir 755 0:0 was symlink", "create linkdir/sub dir 755 0:0", "create linkdir/sub/f file 644 0:0",
		}},
		{"through a link", "echo x > /linkdir/n", []string{"create etc/d/n file 644 0:0"}},
		{"two names", "echo x > /a; ln /a /etc/b; ln /a /c", []string{"create a file 644 0:0", "hardlink c -> a", "hardlink etc/b -> a"}},
		{"name for a file that is there", "ln /etc/one /a", []string{"hardlink a -> etc/one"}},
		{"name in the place of another", "ln -f /etc/one /etc/two", []string{"hardlink etc/two -> etc/one was file"}},
		{"one of two names", "chmod 600 /etc/three", []string{"attributes etc/three file 600 0:0 was file"}},
		{"names that were one", "ln -f /etc/three /etc/d/three", nil},
		{"names that were one, and their mode", "ln -f /etc/three /etc/d/three; chmod 600 /etc/three", []string{
			"attributes etc/d/three file 600 0:0 was file", "hardlink etc/three -> etc/d/three was file",
		}},
		{"name before the one that it is made of", "ln /etc/one /etc/a; chmod 600 /etc/one", []string{
			"hardlink etc/a -> etc/one", "attributes etc/one file 600 0:0 was file",
		}},
		{"character before the slash", "mkdir /a /a-b; touch /a/x /a-b/x", []string{
			"create a dir 755 0:0", "create a/x file 644 0:0", "create a-b dir 755 0:0", "create a-b/x file 644 0:0",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := over(t, dir)
			sh(t, o, tt.script)
			same(t, changes(t, o), tt.want...)
		})
	}
}

// listen makes a socket in the folder var of a root.
func listen(t *testing.T, r *root.Root, name string) {
	t.Helper()
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	p, err := r.Parent("var/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := unix.Bind(s, &unix.SockaddrUnix{Name: inProc(p.File) + "/" + name}); err != nil {
		t.Fatal(err)
	}
}

// TestRootChangesSpecial: named pipes are refused by name, sockets are left
// out, whether a program made them or only changed them.
func TestRootChangesSpecial(t *testing.T) {
	dir := small(t)
	r, err := root.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	listen(t, r, "old")
	listen(t, r, "older")
	if err := unix.Mknod(filepath.Join(dir, "var/null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	o := over(t, dir)
	listen(t, o.Root(), "socket")
	sh(t, o, "chown 5:6 /var/old; chmod 700 /var/old")
	same(t, changes(t, o))
	sh(t, o, "rm /var/older /var/null")
	same(t, changes(t, o), "delete var/null was char", "delete var/older was socket")
	sh(t, o, "mkfifo /etc/pipe")
	if _, err := o.Changes(t.Context()); !errors.Is(err, ErrSpecial) || !strings.Contains(err.Error(), "etc/pipe") {
		t.Errorf("Changes = %v, want %v that names etc/pipe", err, ErrSpecial)
	}
}

// TestRootChangeContents opens what was created, with its attributes.
func TestRootChangeContents(t *testing.T) {
	dir := small(t)
	capability := []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00") // VFS_CAP_REVISION_2, net_bind_service
	for name, attribute := range map[string]string{"etc/kept": "user.kept", "etc/changed": "user.old"} {
		place := filepath.Join(dir, name)
		if err := os.WriteFile(place, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setxattr(place, attribute, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	o := over(t, dir)
	sh(t, o, ": >> /etc/kept; echo text > /etc/new; touch -d @77 /etc/new")
	set := func(path string, list ...root.Xattr) {
		p, err := o.Root().Parent(path)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.SetXattrs(list); err != nil {
			t.Fatal(err)
		}
	}
	set("etc/changed", root.Xattr{Name: "user.new", Value: []byte("2")})
	set("etc/new", root.Xattr{Name: "security.capability", Value: capability})
	list, err := o.Changes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Path != "etc/changed" || list[1].Path != "etc/new" {
		t.Fatalf("changes are %+v, want etc/changed and etc/new", list)
	}
	if x := list[0].Xattrs; list[0].Kind != Attributes || len(x) != 1 || x[0].Name != "user.new" {
		t.Errorf("etc/changed: %s of %v, want attributes, user.new alone", list[0].Kind, x)
	}
	x := list[1].Xattrs
	if len(x) != 1 || x[0].Name != "security.capability" || !bytes.Equal(x[0].Value, capability) || list[1].Stat.ModTime != (root.Time{Sec: 77}) {
		t.Errorf("etc/new: attributes %q, time %v; want the capability and 77", x, list[1].Stat.ModTime)
	}
	f, err := o.Open(list[1])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); string(text) != "text\n" || err != nil {
		t.Errorf("contents are %q, %v; want text", text, err)
	}
}

// The label of SELinux is no change, wherever it comes from: a kernel with a policy labels each new file and the
// scratch folder, as its own system would have it.
func TestRootChangesLabels(t *testing.T) {
	dir := small(t)
	label := func(path, value string) {
		if err := unix.Lsetxattr(path, root.Label, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	label(dir, "system_u:object_r:root_t:s0")
	label(filepath.Join(dir, "etc"), "system_u:object_r:etc_t:s0")
	if err := os.WriteFile(filepath.Join(dir, "etc/kept"), []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	label(filepath.Join(dir, "etc/kept"), "system_u:object_r:etc_t:s0")
	o := over(t, dir)
	sh(t, o, ": >> /etc/kept; echo text > /etc/new")
	for _, path := range []string{".", "etc", "etc/kept", "etc/new"} {
		p, err := o.Root().Parent(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SetXattrs([]root.Xattr{{Name: root.Label, Value: []byte("system_u:object_r:tmp_t:s0")}}); err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
	list, err := o.Changes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Path != "etc/new" || len(list[0].Xattrs) > 0 {
		t.Errorf("changes are %+v, want etc/new without attributes", list)
	}
}

// withTmpfs mounts a tmpfs with two files and a folder at fat.
func withTmpfs(t *testing.T) string {
	dir := small(t)
	if err := os.Mkdir(filepath.Join(dir, "fat"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("fat", filepath.Join(dir, "fat"), "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(filepath.Join(dir, "fat"), 0) })
	script := "mkdir -p fat/d; echo one > fat/one; echo two > fat/two; echo f > fat/d/f; touch -d @1000 fat/one fat/two fat/d/f"
	if out, err := run(dir, script); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// overCopy is an overlay that treats fat as a file system that overlayfs does
// not take, which this kernel may not have.
func overCopy(t *testing.T, dir string) *Overlay {
	t.Helper()
	r, err := root.Open(dir, "fat")
	if err != nil {
		t.Fatal(err)
	}
	o, err := newOverlay(t.Context(), r, t.TempDir(), Options{}, func(fs *root.Filesystem) bool { return fs.Path == "fat" })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(o.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	})
	return o
}

// TestRootChangesOfCopy: what programs do to a copy is found by comparison.
func TestRootChangesOfCopy(t *testing.T) {
	dir := withTmpfs(t)
	tests := []struct {
		name, script string
		want         []string
	}{
		{"nothing", "chmod 600 /fat/one; chown 5 /fat/two; mkdir /fat/x; rmdir /fat/x", nil},
		{"files", "echo 2 > /fat/one; rm /fat/two; echo n > /fat/d/n", []string{
			"create fat/d/n file 644 0:0", "create fat/one file 644 0:0 was file", "delete fat/two was file",
		}},
		{"time", "touch -d @5 /fat/one", []string{"attributes fat/one file 644 0:0 was file"}},
		{"folder", "rm -r /fat/d; mkdir /fat/n; touch /fat/n/f", []string{"delete fat/d was dir", "create fat/n dir 755 0:0", "create fat/n/f file 644 0:0"}},
		{"outside of it", "echo x > /etc/x", []string{"create etc/x file 644 0:0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := overCopy(t, dir)
			sh(t, o, tt.script)
			same(t, changes(t, o), tt.want...)
		})
	}
	for _, script := range []string{"ln -s one /fat/l", "ln /fat/one /fat/uno", "mkfifo /fat/p"} {
		o := overCopy(t, dir)
		sh(t, o, script)
		if list, err := o.Changes(t.Context()); err == nil {
			t.Errorf("%s: changes are %+v, want it refused", script, list)
		}
	}
}

// TestRootHidden: a file system that is too large to be copied is not there.
func TestRootHidden(t *testing.T) {
	dir := withTmpfs(t)
	if err := unix.Mount("fat", filepath.Join(dir, "fat"), "tmpfs", unix.MS_REMOUNT, "size=3g"); err != nil {
		t.Fatal(err)
	}
	large, err := os.Create(filepath.Join(dir, "fat/large"))
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	if err := unix.Fallocate(int(large.Fd()), 0, 0, maxCopy); err != nil {
		t.Fatal(err)
	}
	o := overCopy(t, dir)
	if got := sh(t, o, "ls -A /fat; touch /fat/x 2>/dev/null || echo refused"); got != "refused\n" {
		t.Errorf("programs see %q, want an empty folder that cannot be written to", got)
	}
	same(t, changes(t, o))
}

// TestRootMounts: file systems inside of the root have a layer each.
func TestRootMounts(t *testing.T) {
	dir := stocked(t)
	if err := unix.Mount("opt", filepath.Join(dir, "opt"), "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(filepath.Join(dir, "opt"), 0) })
	if err := os.WriteFile(filepath.Join(dir, "opt/f"), []byte("on it"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := over(t, dir, "opt")
	if got := sh(t, o, "cat /opt/f; rm /opt/f; echo x > /opt/g; echo y > /etc/g"); got != "on it" {
		t.Errorf("the file on the other file system has %q, want %q", got, "on it")
	}
	same(t, changes(t, o), "create etc/g file 644 0:0", "delete opt/f was file", "create opt/g file 644 0:0")
	if list := o.Root().Filesystems(); len(list) != 2 || list[1].Path != "opt" {
		t.Errorf("%d file systems, want the root's and opt", len(list))
	}
	if slices.ContainsFunc(mountsOf(t), func(l string) bool { return strings.Contains(l, o.scratch) }) {
		t.Error("the overlay is seen from outside, want it in a namespace of its own")
	}
}
