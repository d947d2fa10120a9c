package trust

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// On a disk that is full at whatever moment of a release, the catalog stays
// whole, and the same release goes through once there is room.
func TestRootDiskFull(t *testing.T) {
	lab.Root(t)
	s := newShop(t, 1, 1)
	disk := t.TempDir()
	if err := unix.Mount("full", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(disk, "catalog")
	if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	repo, err := OpenRepository(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.repo, s.dir = repo, dir
	opt := ReleaseOptions{Bundles: []string{makeBundle(t, "reader", "9.3", "hello")}, Images: []ImageTarget{testImage("room@1")}, Keys: s.release, Online: s.online}
	failed := 0
	for pages := range 12 {
		fill := filepath.Join(disk, "fill")
		leave(t, fill, int64(pages)*4096)
		before := s.load().Versions.Targets
		_, err := repo.Release(t.Context(), opt)
		if err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Errorf("with room for %d pages: %v, want ENOSPC", pages, err)
		}
		if err != nil {
			failed++
		}
		if err := os.Remove(fill); err != nil {
			t.Fatal(err)
		}
		if _, found := s.faults(VerifyOptions{}); found != nil {
			t.Errorf("with room for %d pages the catalog is damaged: %v", pages, found)
		}
		mustRefresh(t, s)
		if now := s.load().Versions.Targets; err != nil && now != before {
			t.Errorf("with room for %d pages the release failed, and a refresh turns version %d of the list into %d", pages, before, now)
		}
	}
	if failed == 0 {
		t.Error("no release found the disk full")
	}
	if _, err := repo.Release(t.Context(), opt); err != nil {
		t.Fatal(err)
	}
	if c := s.load(); len(c.Bundles) != 1 || len(c.Images) != 1 {
		t.Errorf("released are %d bundles and %d images, want 1 and 1", len(c.Bundles), len(c.Images))
	}
}

// leave fills the disk that path is on, but for so many bytes.
func leave(t *testing.T, path string, free int64) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, max(int64(st.Bfree)*st.Bsize-free, 0)), 0o666); err != nil {
		t.Fatal(err)
	}
}
