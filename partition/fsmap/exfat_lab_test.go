package fsmap

import (
	"os/exec"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// An exfatVariant is one way to make an exFAT volume.
type exfatVariant struct {
	name  string
	size  int64 // of the volume in bytes
	fill  int64 // about how many bytes of files
	flags string
}

func exfatVariants() []exfatVariant {
	return []exfatVariant{
		{"default", 64 << 20, 16 << 20, "-L LAB"},
		{"clusters of 512 bytes", 64 << 20, 16 << 20, "-c 512"},
		{"clusters of 1 KiB, aligned to 64 KiB", 48<<20 + 512, 12 << 20, "-c 1024 -b 64K"},
		{"clusters of 32 KiB", 100 << 20, 20 << 20, "-c 32K -b 4M"},
		{"clusters of 128 KiB", 150 << 20, 24 << 20, "-c 128K"},
		{"clusters of 1 MiB, odd size", 150<<20 + 7*512, 12 << 20, "-c 1M -L Пример"},
		{"bitmap before the boundary", 128 << 20, 16 << 20, "-c 4K --pack-bitmap"},
	}
}

// makeExFAT makes an exFAT volume, fills it through FUSE and returns its path
// and its files.
func makeExFAT(t testing.TB, v exfatVariant) (path string, tree map[string]string) {
	t.Helper()
	lab.Tools(t, "mkfs.exfat", "fsck.exfat", "dump.exfat", "mount.exfat-fuse")
	path = lab.File(t, v.size)
	lab.Run(t, "mkfs.exfat", append(strings.Fields(v.flags), path)...)
	dev := lab.Loop(t, path, 512)
	dir := mountExFAT(t, dev)
	lab.Fill(t, dir, v.fill, 3)
	tree = lab.Tree(t, dir)
	lab.Unmount(t, dir)
	return path, tree
}

// mountExFAT mounts a device until the test ends or [lab.Unmount].
func mountExFAT(t testing.TB, dev string) string {
	t.Helper()
	dir := t.TempDir()
	lab.Run(t, "mount.exfat-fuse", dev, dir)
	t.Cleanup(func() { _ = exec.Command("umount", "--quiet", dir).Run() })
	return dir
}

// wantExFATClusters fails the test if fsck.exfat finds a fault in the volume
// at path, or dump.exfat another count of free clusters than m leaves out.
func wantExFATClusters(t testing.TB, m *Map, path string) {
	t.Helper()
	lab.Run(t, "fsck.exfat", "-n", path)
	free := numberIn(t, lab.Run(t, "dump.exfat", path), `Free Clusters:\s+(\d+)`)
	if got, want := m.Used.Size(), m.Size-free*m.BlockSize; got != want {
		t.Errorf("got %d bytes in use, want %d with %d clusters free", got, want, free)
	}
}

func TestRootExFATGarbage(t *testing.T) {
	lab.Root(t)
	t.Parallel()
	for _, v := range exfatVariants() {
		t.Run(v.name, func(t *testing.T) {
			path, before := makeExFAT(t, v)
			m := mapPath(t, path)
			wantMap(t, m, path)
			wantExFATClusters(t, m, path)
			garbageAround(t, m, path)
			wantExFATClusters(t, m, path)
			dir := mountExFAT(t, lab.Loop(t, path, 512))
			lab.SameTree(t, lab.Tree(t, dir), before)
		})
	}
}

// A volume that is mounted is marked as such; its copy is captured whole.
func TestRootExFATDirty(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.exfat", "mount.exfat-fuse")
	path := lab.File(t, 64<<20)
	lab.Run(t, "mkfs.exfat", path)
	dev := lab.Loop(t, path, 512)
	dir := mountExFAT(t, dev)
	lab.Fill(t, dir, 2<<20, 3)
	m := mapPath(t, path)
	wantCaptured(t, m, "exfat", "not cleanly unmounted")
	if !m.Dirty {
		t.Error("not dirty")
	}
	lab.Unmount(t, dir)
	if m := mapPath(t, path); m.Whole || m.Dirty {
		t.Errorf("after the unmount: whole %v, dirty %v, notes %q", m.Whole, m.Dirty, m.Notes)
	}
}

// Partclone counts two clusters that do not exist, because the first one has
// the number two; it copies the same sectors as we do, but for the part of a
// cluster behind the last one.
func TestRootExFATPartclone(t *testing.T) {
	lab.Root(t)
	t.Parallel()
	for _, v := range exfatVariants()[:4] {
		t.Run(v.name, func(t *testing.T) {
			path, _ := makeExFAT(t, v)
			m := mapPath(t, path)
			theirs := partcloneUsed(t, "partclone.exfat", path) - 2*m.BlockSize
			if ours := m.Used.Size(); ours < theirs || ours >= theirs+m.BlockSize {
				t.Errorf("got %d bytes, want %d to %d", ours, theirs, theirs+m.BlockSize)
			}
		})
	}
}
