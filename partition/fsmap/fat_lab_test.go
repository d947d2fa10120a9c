package fsmap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// A fatVariant is one way to make a FAT volume.
type fatVariant struct {
	name  string
	size  int64 // of the volume in bytes
	fill  int64 // about how many bytes of files
	flags string
}

func fatVariants() []fatVariant {
	return []fatVariant{
		{"FAT12 floppy", 1440 << 10, 600 << 10, ""},
		{"FAT12 small clusters", 2000 << 10, 600 << 10, "-F 12 -s 1"},
		{"FAT12 large clusters", 60 << 20, 3 << 20, "-F 12 -s 128 -r 512 -n LAB"},
		{"FAT12 odd", 3<<20 + 77*512, 600 << 10, "-F 12 -f 1 -h 63 -R 5 -r 224"},
		{"FAT16", 40 << 20, 9 << 20, "-F 16 -n ROOM12"},
		{"FAT16 one FAT, small clusters", 16 << 20, 3 << 20, "-F 16 -s 1 -f 1 -R 64"},
		{"FAT16 four FATs, odd size", 24<<20 + 13*512, 3 << 20, "-F 16 -s 2 -f 4 -r 1008"},
		{"FAT16 sectors of 4 KiB", 64 << 20, 9 << 20, "-F 16 -S 4096 -s 1"},
		{"FAT16 clusters of 64 KiB", 300 << 20, 9 << 20, "-F 16 -s 128"},
		{"FAT32", 64 << 20, 9 << 20, "-F 32 -s 1 -n EFI"},
		{"FAT32 backup elsewhere", 64<<20 + 512, 9 << 20, "-F 32 -s 1 -R 64 -b 40"},
		{"FAT32 sectors of 2 KiB", 150 << 20, 9 << 20, "-F 32 -S 2048 -s 1 -n TWO"},
		{"FAT32 sectors of 4 KiB", 300 << 20, 9 << 20, "-F 32 -S 4096 -s 1"},
		{"FAT32 clusters of 4 KiB", 300 << 20, 9 << 20, "-F 32 -s 8 -f 1"},
		{"FAT32 clusters of 32 KiB", 2200 << 20, 9 << 20, "-F 32 -s 64 -R 8"},
	}
}

// makeFAT makes a FAT volume and fills it: two trees, of which the first loses
// a directory before the second comes.
func makeFAT(t testing.TB, v fatVariant, from *trees) string {
	t.Helper()
	lab.Tools(t, "mkfs.fat", "fsck.fat", "mcopy", "mmd", "mdeltree")
	path := lab.File(t, v.size)
	lab.Run(t, "mkfs.fat", append(strings.Fields(v.flags), path)...)
	lab.Run(t, "mmd", "-i", path, "::first", "::second")
	lab.Run(t, "mcopy", append([]string{"-s", "-Q", "-i", path}, append(inDir(t, from.tree(t, v.fill/2, 1)), "::first")...)...)
	lab.Run(t, "mdeltree", "-i", path, "::/first/d2", "::/first/d5")
	lab.Run(t, "mcopy", append([]string{"-s", "-Q", "-i", path}, append(inDir(t, from.tree(t, v.fill/2, 2)), "::second")...)...)
	lab.Run(t, "mdeltree", "-i", path, "::/second/d1")
	return path
}

// inDir returns the paths of what is in dir.
func inDir(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// fatTree returns what is on a FAT volume.
func fatTree(t testing.TB, path string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	lab.Run(t, "mcopy", "-s", "-n", "-i", path, "::/first", "::/second", dir)
	return lab.Tree(t, dir)
}

// fatMaxGarbage keeps the test from writing for minutes: larger volumes stay
// sparse, and their clusters are only counted.
const fatMaxGarbage = 160 << 20

// Fsck.fat counts the clusters in use; with what is before the first and
// behind the last they must be the map to the byte.
func TestFATGarbage(t *testing.T) {
	t.Setenv("MTOOLS_SKIP_CHECK", "1") // mtools mistrusts odd geometries
	from := newTrees(t)
	for _, v := range fatVariants() {
		t.Run(v.name, func(t *testing.T) {
			path := makeFAT(t, v, from)
			before := fatTree(t, path)
			if len(before) < 10 {
				t.Fatalf("only %d files on the volume", len(before))
			}
			m := mapPath(t, path)
			wantMap(t, m, path)
			wantFATClusters(t, m, path)
			if v.size > fatMaxGarbage {
				return
			}
			garbageAround(t, m, path)
			wantFATClusters(t, m, path)
			lab.SameTree(t, fatTree(t, path), before)
		})
	}
}

// wantFATClusters fails the test if fsck.fat finds a fault in the volume at
// path, or another count of clusters than m. It does not know volumes with
// more than two FATs.
func wantFATClusters(t testing.TB, m *Map, path string) {
	t.Helper()
	boot := fatBootOf(t, openOverlay(t, path))
	if boot.fats > 2 {
		return
	}
	clusters := numberIn(t, lab.Run(t, "fsck.fat", "-n", path), `files, (\d+)/\d+ clusters`)
	outside := boot.size - boot.clusters()*boot.clusterSize
	if got, want := m.Used.Size(), outside+clusters*boot.clusterSize; got != want {
		t.Errorf("got %d bytes in use, want %d: %d clusters and %d bytes outside", got, want, clusters, outside)
	}
}

// A FAT32 with fewer clusters than the specification allows is one all the
// same: Linux, Windows and fsck.fat go by the form of the boot sector. (Mtools
// does not, so nothing is copied to it.)
func TestFATFewClusters(t *testing.T) {
	lab.Tools(t, "mkfs.fat", "fsck.fat")
	path := lab.File(t, 4<<20)
	lab.Run(t, "mkfs.fat", "-F", "32", "-s", "8", "-n", "SMALL", path)
	m := mapPath(t, path)
	wantMap(t, m, path)
	garbageAround(t, m, path)
	wantFATClusters(t, m, path)
}

// Clusters that mkfs marks bad stay marked, and count as in use.
func TestFATBadClusters(t *testing.T) {
	lab.Tools(t, "mkfs.fat", "fsck.fat")
	list := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(list, []byte("6000\n6001\n9000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := lab.File(t, 16<<20)
	lab.Run(t, "mkfs.fat", "-F", "16", "-s", "1", "-l", list, path)
	m := mapPath(t, path)
	wantMap(t, m, path)
	for _, block := range []int64{6000, 9000} { // of 1 KiB
		if !m.Used.Covers(partition.Extent{Start: block << 10, Length: 1 << 10}) {
			t.Errorf("bad block %d is not in the map", block)
		}
	}
	garbageAround(t, m, path)
	lab.Run(t, "fsck.fat", "-n", path)
}

// Partclone counts the same clusters and the same sectors before them. We keep
// what is behind the last cluster as well, less than a cluster. Partclone is
// wrong about FAT12, where the count of fsck.fat in the other test speaks for
// ours.
func TestFATPartclone(t *testing.T) {
	t.Setenv("MTOOLS_SKIP_CHECK", "1")
	from := newTrees(t)
	for _, v := range fatVariants() {
		switch v.name {
		case "FAT16", "FAT16 sectors of 4 KiB", "FAT32", "FAT32 clusters of 32 KiB":
		default:
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			path := makeFAT(t, v, from)
			theirs := partcloneUsed(t, "partclone.fat", path)
			m := mapPath(t, path)
			ours := m.Used.Size()
			if ours < theirs || ours >= theirs+m.BlockSize {
				t.Errorf("got %d bytes, want %d to %d", ours, theirs, theirs+m.BlockSize)
			}
		})
	}
}
