package lab

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Debian returns the folder of a small Debian 12 with dpkg and rpm, which must
// not be changed: lay something over it. It is made once, which takes a minute
// or two and Debian's packages, and is kept in the user's cache. The test needs
// root.
func Debian(t testing.TB) string {
	t.Helper()
	Root(t)
	Tools(t, "mmdebstrap", "dpkg-deb")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "slipcast", "lab", "tree-bookworm")
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	defer locked(t, dir+".lock")()
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	making := dir + ".partial"
	if err := os.RemoveAll(making); err != nil {
		t.Fatal(err)
	}
	Run(t, "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory", "--include=rpm",
		"bookworm", making, "http://deb.debian.org/debian")
	if err := os.Rename(making, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// locked waits for the lock on a file, which other processes may hold, and
// returns what ends it.
func locked(t testing.TB, name string) (unlock func()) {
	t.Helper()
	lock, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { lock.Close() }
}
