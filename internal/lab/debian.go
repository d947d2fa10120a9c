package lab

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Debian returns the tree of a small Debian with dpkg and rpm, which is made
// once and kept in the user's cache. It must not be changed.
func Debian(t testing.TB) string {
	t.Helper()
	Root(t)
	Tools(t, "debootstrap", "dpkg-deb")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "slipcast", "lab")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(cache, "tree.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "tree-bookworm")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	making := dir + ".partial"
	if err := os.RemoveAll(making); err != nil {
		t.Fatal(err)
	}
	Run(t, "debootstrap", "--variant=minbase", "--include=rpm", "bookworm", making)
	if err := os.Rename(making, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
