package root

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// tree makes a root in a folder, see [lab.Plant].
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	lab.Plant(t, dir, files)
	return dir
}

// mustOpen opens a root that is closed with the test.
func mustOpen(t *testing.T, dir string, mounts ...string) *Root {
	t.Helper()
	r, err := Open(dir, mounts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// contents returns what is in a file of a root, or why it is not read.
func contents(r *Root, path string) (string, error) {
	f, err := r.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	p, err := io.ReadAll(f)
	return string(p), err
}

// TestLinksStayInside reads through links of every hostile kind. The same
// names lie inside and outside of the root, with other contents.
func TestLinksStayInside(t *testing.T) {
	outside := tree(t, map[string]string{"secret": "outside", "etc/passwd": "outside"})
	dir := tree(t, map[string]string{
		"etc/passwd": "inside", "run/lock": "inside", "secret": "inside", "deep/er/still/": "",
		"var/run":                   "-> /run", // as in Debian
		"rel":                       "-> etc",
		"up":                        "-> ../../../../../../etc",
		"deep/er/still/up":          "-> ../../../../../../../etc",
		"abs":                       "-> " + outside,
		"proc/self/root/etc/passwd": "inside", // no magic: the root's own folder
		"magic":                     "-> /proc/self/root",
		"hostproc":                  "-> /proc/1/root/etc",
		"loop/a":                    "-> b", "loop/b": "-> a",
		"self":     "-> self",
		"last":     "-> /etc/passwd",
		"dangling": "-> /nowhere/at/all",
		"fifo":     "",
	})
	if err := os.Remove(filepath.Join(dir, "fifo")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := mustOpen(t, dir)
	tests := []struct {
		path string
		want string
		err  error
	}{
		{"etc/passwd", "inside", nil},
		{"/etc/passwd", "inside", nil},
		{"etc//./passwd", "inside", nil},
		{"var/run/lock", "inside", nil},
		{"rel/passwd", "inside", nil},
		{"up/passwd", "inside", nil},
		{"deep/er/still/up/passwd", "inside", nil},
		{"abs/secret", "", fs.ErrNotExist},
		{"abs/etc/passwd", "", fs.ErrNotExist},
		{"magic/etc/passwd", "inside", nil},
		{"hostproc/passwd", "", fs.ErrNotExist},
		{"loop/a/x", "", unix.ELOOP},
		{"self/x", "", unix.ELOOP},
		{"last", "", ErrNotRegular},
		{"fifo", "", ErrNotRegular},
		{"etc", "", ErrNotRegular},
		{"dangling/x", "", fs.ErrNotExist},
		{"etc/passwd/x", "", unix.ENOTDIR},
		{"../etc/passwd", "", ErrPath},
		{"etc/../secret", "", ErrPath},
		{"etc/..", "", ErrPath},
		{"", "", ErrPath},
		{"etc\x00/passwd", "", ErrPath},
		{strings.Repeat("a/", 3000), "", ErrPath},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%.40s", tt.path), func(t *testing.T) {
			got, err := contents(r, tt.path)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Open(%.60q) reads %q, %v; want %q, %v", tt.path, got, err, tt.want, tt.err)
			}
		})
	}
}

// TestStraight follows no link, wherever it stands and leads.
func TestStraight(t *testing.T) {
	r := mustOpen(t, tree(t, map[string]string{"etc/d/a": "a", "link": "-> etc", "etc/self": "-> self", "etc/up": "-> ../etc/d"}))
	for path, want := range map[string]error{
		"etc/d/a": nil, "/etc/d/a": nil, ".": nil, "etc": nil, "link": nil, "etc/up": nil, "etc/self": nil,
		"link/d": unix.ENOTDIR, "link/d/a": unix.ENOTDIR, "etc/up/a": unix.ENOTDIR, "etc/self/a": unix.ENOTDIR, "etc/d/a/b": unix.ENOTDIR,
		"etc/none/a": fs.ErrNotExist, "etc/../etc": ErrPath,
	} {
		p, err := r.Straight(path)
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("Straight(%s): %v, want %v", path, err, want)
		}
		if err == nil {
			if _, err := p.Lstat(); err != nil {
				t.Error(err)
			}
			p.Close()
		}
	}
}

// TestLastIsNotFollowed asks about links themselves.
func TestLastIsNotFollowed(t *testing.T) {
	r := mustOpen(t, tree(t, map[string]string{"etc/a": "a", "etc/link": "-> /etc/a", "etc/loop": "-> loop"}))
	for path, want := range map[string]string{"etc/link": "/etc/a", "etc/loop": "loop"} {
		st, err := r.Lstat(path)
		if err != nil || st.Type != Symlink {
			t.Errorf("Lstat(%s) = %s, %v; want a symlink", path, st.Type, err)
		}
		if text, err := r.Readlink(path); text != want || err != nil {
			t.Errorf("Readlink(%s) = %q, %v; want %q", path, text, err, want)
		}
	}
	if _, err := r.Readlink("etc/a"); err == nil {
		t.Error("Readlink of a file succeeds, want an error")
	}
	if _, err := r.ReadDir("etc/link"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("ReadDir of a link: %v, want %v", err, unix.ENOTDIR)
	}
	names, err := r.ReadDir("/etc")
	if got := strings.Join(names, " "); got != "a link loop" || err != nil {
		t.Errorf("ReadDir(/etc) = %q, %v; want the three names in order", got, err)
	}
	top, err := r.Parent("/")
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	if st, err := top.Lstat(); top.Base != "." || st.Type != Directory || err != nil {
		t.Errorf("Parent(/) has Base %q, a %s, %v; want ., a dir", top.Base, st.Type, err)
	}
}

// TestErrorsNameThePath: an error must not tell of folders that the one who
// reads it does not know.
func TestErrorsNameThePath(t *testing.T) {
	dir := tree(t, map[string]string{"etc/a": ""})
	r := mustOpen(t, dir)
	_, err := r.Lstat("etc/none/x")
	if err == nil || strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "etc/none/x") {
		t.Errorf("error %q, want one with etc/none/x and without %s", err, dir)
	}
}

// TestRace swaps a folder with a link that leads out while files are made and
// removed through it; whatever happens, it happens inside.
func TestRace(t *testing.T) {
	outside := tree(t, map[string]string{"f": "outside", "g/h": "outside"})
	before := sum(t, outside)
	dir := tree(t, map[string]string{"a/b/f": "inside", "a/swap": "-> " + outside})
	r := mustOpen(t, dir)
	stop := make(chan struct{})
	swapped := make(chan int)
	go func() { swapped <- swap(filepath.Join(dir, "a/b"), filepath.Join(dir, "a/swap"), stop) }()
	inside, refused := 0, 0
	for i := range 10000 {
		text, err := contents(r, "a/b/f")
		if text == "outside" {
			t.Fatalf("operation %d read what lies outside", i)
		}
		if err == nil {
			inside++
		} else {
			refused++
		}
		write(t, r, "a/b/f")
	}
	close(stop)
	if n := <-swapped; n < 100 || inside == 0 || refused == 0 {
		t.Errorf("%d swaps, %d operations inside, %d refused: this was no race", n, inside, refused)
	}
	if after := sum(t, outside); after != before {
		t.Errorf("outside is %s, want %s as before", after, before)
	}
}

// swap exchanges two names until it is stopped.
func swap(a, b string, stop chan struct{}) (n int) {
	for {
		select {
		case <-stop:
			return n
		default:
		}
		if unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) == nil {
			n++
		}
	}
}

// write replaces a file as package apply does: by names in an open folder.
func write(t *testing.T, r *Root, path string) {
	p, err := r.Parent(path)
	if err != nil {
		return // the link leads nowhere inside
	}
	defer p.Close()
	at := int(p.File.Fd())
	fd, err := unix.Openat(at, "new", unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	unix.Write(fd, []byte("inside"))
	unix.Close(fd)
	if err := unix.Renameat(at, "new", at, p.Base); err != nil {
		t.Fatal(err)
	}
}

// sum digests the names and contents below a folder.
func sum(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(h, path, info.Mode(), info.ModTime())
		if err == nil && d.Type().IsRegular() {
			p, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			h.Write(p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestClean(t *testing.T) {
	for path, want := range map[string]string{"/": "", ".": "", "a/./b//": "a/b", "/x": "x", "..x/...": "..x/..."} {
		names, err := clean(path)
		if got := strings.Join(names, "/"); got != want || err != nil {
			t.Errorf("clean(%q) = %q, %v; want %q", path, got, err, want)
		}
	}
}

// TestFold finds files of a Windows in any case.
func TestFold(t *testing.T) {
	r := mustOpen(t, tree(t, map[string]string{
		"WINDOWS/system32/config/SOFTWARE": "hive", "Program Files/App/app.exe": "exe", "program files/": "",
	}))
	if r.Family() != Windows {
		t.Errorf("family %s, want windows", r.Family())
	}
	for path, want := range map[string]string{
		"Windows/System32/Config/software": "hive",
		"WINDOWS/system32/config/SOFTWARE": "hive",
		"Program Files/APP/App.exe":        "exe",
	} {
		if got, err := contents(r, path); got != want || err != nil {
			t.Errorf("Open(%s) reads %q, %v; want %q", path, got, err, want)
		}
	}
	p, err := r.Parent("windows/SYSTEM32/New.dll")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Base != "New.dll" {
		t.Errorf("Base of a new file is %q, want it as it was given", p.Base)
	}
}

// Two names have the same fold if they are the same but for their case.
func TestFoldIsEqualFold(t *testing.T) {
	names := []string{"", "a", "A", "b", "k", "K", "\u212a", "s", "\u017f", "ß", "ẞ", "ä", "Ä", "σ", "ς", "Σ", "i", "I", "İ", "ı", "\u01c4", "\u01c5", "\u01c6", "1", "_", "\xff"}
	for _, a := range names {
		for _, b := range names {
			if got, want := Fold("x/"+a) == Fold("X/"+b), strings.EqualFold(a, b); got != want {
				t.Errorf("%q and %q have the same fold: %v, want %v", a, b, got, want)
			}
		}
	}
}

func TestCheckName(t *testing.T) {
	ntfs := &Filesystem{Type: "ntfs3"}
	for _, name := range []string{"a.txt", "Com", "COM10", "console", "com1x.txt", ".slipcast", "für", "LPT", "a b.c"} {
		if err := ntfs.CheckName(name); err != nil {
			t.Errorf("CheckName(%q) = %v, want nil", name, err)
		}
	}
	bad := []string{
		"", ".", "..", "a:b", "a\\b", "a/b", "a*", "a?", "a|b", "<", ">", "\"", "a.", "a ", "con", "NUL.txt", "Aux.", "com1", "COM9.tar.gz", "lpt²",
		"CONIN$", "a\tb", "\xff", strings.Repeat("a", 256), "prn .txt",
	}
	for _, name := range bad {
		if err := ntfs.CheckName(name); !errors.Is(err, ErrName) {
			t.Errorf("CheckName(%q) = %v, want %v", name, err, ErrName)
		}
	}
	if err := (&Filesystem{Type: "ext4"}).CheckName("con"); err != nil {
		t.Errorf("CheckName(con) on ext4 = %v, want nil", err)
	}
}

// A sibling is another name in the same folder, and nothing else.
func TestSibling(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"sub/a": "a", "sub/b": "b", "c": "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.Parent("sub/a")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	q, err := p.Sibling("b")
	if err != nil {
		t.Fatal(err)
	}
	f, err := q.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "b" {
		t.Errorf("got %q, %v, want b", text, err)
	}
	for _, base := range []string{"", ".", "..", "../c", "/c", "b/", "x\x00"} {
		if _, err := p.Sibling(base); !errors.Is(err, ErrPath) {
			t.Errorf("%q: %v, want ErrPath", base, err)
		}
	}
	if q, err = p.Sibling("none"); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Lstat(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "sub/none") {
		t.Errorf("got %v, want that sub/none is not there", err)
	}
}
