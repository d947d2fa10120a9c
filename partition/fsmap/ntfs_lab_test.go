package fsmap

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// mountNTFS mounts the image at path with ntfs-3g.
func mountNTFS(t testing.TB, path string) string {
	t.Helper()
	lab.Tools(t, "ntfs-3g")
	dir := t.TempDir()
	lab.Run(t, "ntfs-3g", "-o", "compression,streams_interface=windows", path, dir)
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// unmountNTFS unmounts the image at path from dir. The mount of a file ends
// before its daemon has written everything; its lock on the file tells when.
func unmountNTFS(t testing.TB, path, dir string) {
	t.Helper()
	lab.Unmount(t, dir)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLKW, &lock); err != nil {
		t.Fatal(err)
	}
}

// checkNTFS fails the test unless the programs of ntfs-3g find the image
// consistent. ntfsresize compares $Bitmap with the run lists of all files.
func checkNTFS(t testing.TB, path string) {
	t.Helper()
	lab.Tools(t, "ntfsresize", "ntfsfix", "ntfsinfo")
	lab.Run(t, "ntfsresize", "--info", "--force", "--no-progress-bar", path)
	lab.Run(t, "ntfsfix", "--no-action", path)
	lab.Run(t, "ntfsinfo", "--mft", path)
}

// ntfsSpaceInUse returns how many clusters partclone counts.
func ntfsSpaceInUse(t testing.TB, path string) int64 {
	t.Helper()
	lab.Tools(t, "partclone.ntfs")
	log := filepath.Join(t.TempDir(), "log")
	out := lab.Run(t, "partclone.ntfs", "-c", "-F", "-s", path, "-o", "/dev/null", "-L", log)
	match := regexp.MustCompile(`Space in use:.*= (\d+) Blocks`).FindStringSubmatch(out)
	if match == nil {
		t.Fatalf("partclone.ntfs printed %q", out)
	}
	n, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRootNTFSGarbage(t *testing.T) {
	tests := []struct {
		name string
		size int64
		fill int64
		args []string
	}{
		{"clusters of 512 bytes", 64 << 20, 8 << 20, []string{"-c", "512"}},
		{"clusters of 1 KiB", 64 << 20, 8 << 20, []string{"-c", "1024"}},
		{"default", 64 << 20, 8 << 20, nil},
		{"clusters of 64 KiB", 96 << 20, 8 << 20, []string{"-c", "65536"}},
		{"clusters of 128 KiB", 128 << 20, 8 << 20, []string{"-c", "131072"}},
		{"clusters of 2 MiB", 192 << 20, 1 << 19, []string{"-c", "2097152"}},
		{"sectors of 1 KiB", 64 << 20, 8 << 20, []string{"-s", "1024"}},
		{"sectors of 4 KiB", 64 << 20, 8 << 20, []string{"-s", "4096"}},
		{"sectors of 4 KiB, clusters of 64 KiB", 96 << 20, 8 << 20, []string{"-s", "4096", "-c", "65536"}},
		{"odd size", 64<<20 + 61*512, 8 << 20, []string{"-c", "32768"}},
		{"compression", 64 << 20, 8 << 20, []string{"-C"}},
		{"large $Bitmap", 256 << 20, 8 << 20, []string{"-c", "512"}},
	}
	lab.Root(t)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // partclone waits for its own display
			path := makeNTFS(t, tt.size, tt.args...)
			dir := mountNTFS(t, path)
			lab.Fill(t, dir, tt.fill, uint64(i))
			if tt.fill > 1<<20 { // else there are few clusters
				addNTFSOddities(t, dir)
			}
			tree := ntfsTree(t, dir)
			unmountNTFS(t, path, dir)
			garbageNTFS(t, path, tt.size, tree)
		})
	}
}

// garbageNTFS maps the image, overwrites the rest, and checks that nothing
// was lost.
func garbageNTFS(t *testing.T, path string, size int64, tree map[string]string) {
	t.Helper()
	checkNTFS(t, path)
	m := readNTFSFile(t, path, Options{})
	wantNTFSMapped(t, m)
	wantNTFSPartclone(t, m, path)
	lab.Garbage(t, path, size, m.Used)
	checkNTFS(t, path)
	dir := mountNTFS(t, path)
	lab.SameTree(t, ntfsTree(t, dir), tree)
	unmountNTFS(t, path, dir)
}

// wantNTFSPartclone compares m with partclone's count. We have more: what lies
// behind the last whole cluster, and the boot area where clusters are small.
func wantNTFSPartclone(t *testing.T, m *Map, path string) {
	t.Helper()
	theirs := ntfsSpaceInUse(t, path) * m.BlockSize
	if ours := m.Used.Size(); ours < theirs || ours > theirs+m.BlockSize+4096 {
		t.Errorf("got %d bytes in use, partclone has %d", ours, theirs)
	}
}

// addNTFSOddities writes a compressed directory, a sparse file, and streams
// beside the contents of a file.
func addNTFSOddities(t *testing.T, dir string) {
	t.Helper()
	packed := filepath.Join(dir, "packed")
	if err := os.Mkdir(packed, 0o755); err != nil {
		t.Fatal(err)
	}
	// FILE_ATTRIBUTE_COMPRESSED; refused where clusters are too large for it.
	_ = syscall.Setxattr(packed, "system.ntfs_attrib_be", []byte{0, 0, 8, 0}, 0)
	lab.Fill(t, packed, 1<<20, 99)
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	for i := range int64(20) {
		if _, err := sparse.WriteAt([]byte("here"), i*i<<20); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		name := filepath.Join(dir, fmt.Sprintf("sparse:stream %d", i))
		if err := os.WriteFile(name, make([]byte, 10000*i), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+"x", []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// ntfsTree is lab.Tree with the streams of addOddities, which no directory
// lists.
func ntfsTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree := lab.Tree(t, dir)
	for i := range 5 {
		for _, suffix := range []string{"", "x"} {
			name := fmt.Sprintf("sparse:stream %d%s", i, suffix)
			if p, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				tree[name] = string(p)
			}
		}
	}
	return tree
}

// TestRootNTFSFull fills a volume in a way that leaves the MFT in many
// pieces. ntfs-3g is not up to every such volume: it may see an error where
// there is none. Then another one is made.
func TestRootNTFSFull(t *testing.T) {
	lab.Root(t)
	const size, tries = 18 << 20, 6
	for range tries {
		path := makeNTFS(t, size, "-c", "512")
		dir := mountNTFS(t, path)
		if err := scatterNTFS(t, dir); err != nil {
			t.Logf("ntfs-3g: %v", err)
			continue
		}
		tree := ntfsTree(t, dir)
		unmountNTFS(t, path, dir)
		mft := loadNTFS(t, path).fs().mft
		if len(mft.runs) < 100 || mft.parts < 2 {
			t.Errorf("the MFT is in %d pieces and %d records, want more for this test", len(mft.runs), mft.parts)
		}
		garbageNTFS(t, path, size, tree)
		return
	}
	t.Errorf("none of %d volumes was good", tries)
}

// scatterNTFS leaves the MFT of the volume below dir in many pieces.
func scatterNTFS(t *testing.T, dir string) error {
	t.Helper()
	count, err := fillNTFS(dir, "big", 1500, math.MaxInt)
	if err != nil {
		return err
	}
	for i := 0; i < count; i += 2 {
		if err := os.Remove(filepath.Join(dir, fmt.Sprintf("big-%d", i))); err != nil {
			return err
		}
	}
	if _, err := fillNTFS(dir, "small", 100, 4500); err != nil {
		return err
	}
	_, err = os.ReadDir(dir)
	return err
}

// fillNTFS writes up to most files of n bytes, or until a twentieth of the
// volume is free, and returns how many it wrote.
func fillNTFS(dir, prefix string, n, most int) (int, error) {
	for i := range most {
		var volume unix.Statfs_t
		if err := unix.Statfs(dir, &volume); err != nil {
			return i, err
		}
		if volume.Bfree < volume.Blocks/20 {
			return i, nil
		}
		name := filepath.Join(dir, fmt.Sprintf("%s-%d", prefix, i))
		if err := os.WriteFile(name, make([]byte, n), 0o644); err != nil {
			return i, err
		}
	}
	return most, nil
}

// TestRootNTFSPagefile leaves out a page file that is in many pieces and so
// has an attribute list.
func TestRootNTFSPagefile(t *testing.T) {
	lab.Root(t)
	const size = 24 << 20
	path := makeNTFS(t, size, "-c", "512")
	dir := mountNTFS(t, path)
	count, err := fillNTFS(dir, "f", 4000, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < count; i += 2 {
		if err := os.Remove(filepath.Join(dir, fmt.Sprintf("f-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "pagefile.sys"), make([]byte, 6<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	tree := lab.Tree(t, dir)
	unmountNTFS(t, path, dir)
	swap, err := loadNTFS(t, path).fs().findSwapfiles()
	if err != nil || len(swap) != 1 || swap[0].data.parts < 2 {
		t.Fatalf("got %v, %v, want a page file in several records", swap, err)
	}
	m := readNTFSFile(t, path, Options{SkipSwapfiles: true})
	wantNTFSMapped(t, m)
	if all := readNTFSFile(t, path, Options{}); all.Used.Size()-m.Used.Size() != 6<<20-ntfsSwapHead {
		t.Errorf("left out %d bytes, want %d", all.Used.Size()-m.Used.Size(), 6<<20-ntfsSwapHead)
	}
	lab.Garbage(t, path, size, m.Used)
	checkNTFS(t, path)
	dir = mountNTFS(t, path)
	got := lab.Tree(t, dir)
	unmountNTFS(t, path, dir)
	maps.DeleteFunc(got, func(name, _ string) bool { return name == "pagefile.sys" })
	delete(tree, "pagefile.sys")
	lab.SameTree(t, got, tree)
}
