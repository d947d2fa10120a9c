package fsmap

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"slipcast/internal/lab"
)

// extDirtyVariants differ in everything that changes the form of a journal.
func extDirtyVariants() []extVariant {
	const m = 1 << 20
	return []extVariant{
		{name: "4k", mkfs: "mkfs.ext4 -b 4096", size: 64 * m},
		{name: "1k", mkfs: "mkfs.ext4 -b 1024", size: 64 * m},
		{name: "4k without sums", mkfs: "mkfs.ext4 -b 4096 -O ^metadata_csum", size: 64 * m},
		{name: "1k without sums", mkfs: "mkfs.ext4 -b 1024 -O ^metadata_csum,^64bit", size: 64 * m},
		{name: "4k uninit_bg", mkfs: "mkfs.ext4 -b 4096 -g 2048 -O uninit_bg,^metadata_csum,^flex_bg", size: 64 * m},
		{name: "4k small groups", mkfs: "mkfs.ext4 -b 4096 -g 1024", size: 64 * m},
		{name: "4k data journal", mkfs: "mkfs.ext4 -b 4096", size: 64 * m, mount: "data=journal"},
		{name: "1k data journal", mkfs: "mkfs.ext4 -b 1024", size: 64 * m, mount: "data=journal"},
		{name: "4k writeback", mkfs: "mkfs.ext4 -b 4096", size: 64 * m, mount: "data=writeback"},
		{name: "old journal sums", mkfs: "mkfs.ext4 -b 4096 -O ^metadata_csum", size: 64 * m, mount: "journal_checksum"},
		{name: "async commit", mkfs: "mkfs.ext4 -b 4096", size: 64 * m, mount: "journal_async_commit,data=writeback"},
		{name: "ext3", mkfs: "mkfs.ext3", size: 64 * m},
		{name: "ext3 1k", mkfs: "mkfs.ext3 -b 1024", size: 48 * m},
		{name: "bigalloc", mkfs: "mkfs.ext4 -O bigalloc -C 16384", size: 64 * m},
		{name: "meta_bg 1k", mkfs: "mkfs.ext4 -b 1024 -O meta_bg,^resize_inode", size: 64 * m},
		{name: "orphan file", mkfs: "mkfs.ext4 -b 4096 -O orphan_file", size: 64 * m},
		{name: "small journal", mkfs: "mkfs.ext4 -b 1024 -J size=1", size: 48 * m},
	}
}

// TestRootExtDirty copies a file system that is in use, maps the copy, and
// shows that a replay of its journal finds everything that was on the disk.
//
// The copy is made of the file behind the loop device: it holds what has
// reached the disk. A direct read of the device itself first makes the kernel
// write out its cache of the bitmaps, so that the journal adds little; it is
// tested less. A file system that is shut down stops between two writes, as
// with a power failure.
func TestRootExtDirty(t *testing.T) {
	lab.Root(t)
	t.Parallel()
	lab.Tools(t, "mkfs.ext3", "mkfs.ext4", "e2fsck", "dumpe2fs", "mount", "dd", "cp")
	for i, v := range extDirtyVariants() {
		t.Run(v.name, func(t *testing.T) {
			v.requireFeature(t)
			image, marked := extDirty(t, v, uint64(i), extCopyFile)
			if n := extFromJournal(t, image); n < 4096 {
				t.Errorf("the journal adds %d bytes to the map: nothing is tested", n)
			}
			checkExtReplay(t, image, marked)
		})
	}
	for i, v := range extDirtyVariants()[:4] {
		t.Run(v.name+" read directly", func(t *testing.T) {
			image, marked := extDirty(t, v, uint64(50+i), extCopyDevice)
			checkExtReplay(t, image, marked)
		})
		t.Run(v.name+" shut down", func(t *testing.T) {
			image, marked := extDirty(t, v, uint64(100+i), func(t testing.TB, path, dev, dir string) string {
				extShutdown(t, dir)
				return extCopyFile(t, path, dev, dir)
			})
			checkExtReplay(t, image, marked)
		})
	}
}

// extDirty makes a dirty file system and returns the file that it is in, and
// what extChurn returned. take makes the copy while the file system in the
// file at path is mounted from dev at dir.
func extDirty(t testing.TB, v extVariant, seed uint64, take func(t testing.TB, path, dev, dir string) string) (string, map[string]string) {
	t.Helper()
	path := v.make(t)
	dev := lab.Loop(t, path, 512)
	opt := "noatime," + v.mount
	if !strings.Contains(v.mkfs, "ext2") {
		opt += ",commit=600" // no commit while the copy is made
	}
	dir := lab.Mount(t, dev, "-o", strings.Replace(opt, ",,", ",", 1))
	marked := extChurn(t, dir, v.size, seed)
	image := take(t, path, dev, dir)
	lab.Unmount(t, dir)
	return image, marked
}

// extCopyFile copies the file behind the device.
func extCopyFile(t testing.TB, path, _, _ string) string {
	t.Helper()
	image := lab.File(t, extFileSize(t, path))
	lab.Run(t, "cp", "--sparse=always", path, image)
	return image
}

// extCopyDevice copies the device past the kernel's cache.
func extCopyDevice(t testing.TB, path, dev, _ string) string {
	t.Helper()
	image := lab.File(t, extFileSize(t, path))
	lab.Run(t, "dd", "if="+dev, "of="+image, "bs=1M", "iflag=direct", "conv=notrunc,sparse", "status=none")
	return image
}

// extFromJournal returns how many bytes of the map of the dirty file system
// at path only its journal knows of. It fails the test if the map lacks
// anything that the disk says is in use.
func extFromJournal(t testing.TB, path string) int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v := &volume{ctx: t.Context(), r: f, size: extFileSize(t, path)}
	raw, err := readExtSuper(v)
	if err != nil {
		t.Fatal(err)
	}
	sb := decodeExtSuper(raw)
	fs := &extFS{v: v, extLayout: sb.extLayout}
	fs.add(&fs.used, 0, fs.superBlock()+1)
	buf := make([]byte, fs.blockSize)
	err = fs.eachGroup(func(g extGroup) error {
		fs.addMetadata(&fs.used, g)
		if g.uninitialised {
			return nil
		}
		err := fs.readDisk(buf, g.blockBitmap)
		fs.addBits(g, buf)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	with, without := extFile(t, path, Options{}).Used, fs.used.Extents()
	if lost := without.Minus(with).Size(); lost != 0 {
		t.Errorf("the map lacks %d bytes that the disk says are in use", lost)
	}
	return with.Minus(without).Size()
}

// requireFeature skips the test if mke2fs does not know a feature of v.
func (v extVariant) requireFeature(t testing.TB) {
	t.Helper()
	args := append(strings.Fields(v.mkfs)[1:], "-n", "-q", "-F", lab.File(t, v.size))
	if out, err := exec.Command("mke2fs", args...).CombinedOutput(); strings.Contains(string(out), "Invalid filesystem option") {
		t.Skipf("%v: %s", err, out)
	}
}

// extChurn fills the file system at dir, lets it settle, and then makes
// changes that only the journal knows: it returns the digests of files that
// were flushed to the disk, empty ones for files that were deleted.
func extChurn(t testing.TB, dir string, size int64, seed uint64) map[string]string {
	t.Helper()
	lab.Fill(t, dir, size/5, seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	old := slices.Sorted(func(yield func(string) bool) {
		for path, digest := range lab.Tree(t, dir) {
			if digest != "directory" && !strings.HasPrefix(path, "lost+found") && !yield(path) {
				return
			}
		}
	})
	for _, path := range old[:len(old)/3] {
		if err := os.Remove(filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	syscall.Sync()
	var marked []string
	for i := range 60 {
		path := filepath.Join("d1", fmt.Sprintf("new-%d-%03d", seed, i))
		if i%4 == 3 { // what was there already, in part or in full
			path = old[len(old)/3+rng.IntN(len(old)/3)]
		}
		extWrite(t, filepath.Join(dir, path), rng, 1+rng.IntN(60000))
		marked = append(marked, path)
	}
	for _, path := range old[len(old)*3/4:] {
		if err := os.Remove(filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		path := filepath.Join("d2", fmt.Sprintf("last-%d-%02d", seed, i))
		extWrite(t, filepath.Join(dir, path), rng, 1+rng.IntN(200000))
		marked = append(marked, path)
	}
	extFlush(t, filepath.Join(dir, "d2"))
	all := lab.Tree(t, dir)
	want := map[string]string{}
	for _, path := range marked {
		want[path] = all[path]
	}
	for _, path := range old {
		if _, ok := all[path]; !ok {
			want[path] = ""
		}
	}
	return want
}

// extWrite writes n random bytes to the file at path and flushes it.
func extWrite(t testing.TB, path string, rng *rand.Rand, n int) {
	t.Helper()
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	if n > 8 && n%5 == 0 { // so that a journal of data must escape it
		copy(p, "\xc0\x3b\x39\x98")
	}
	if err := os.WriteFile(path, p, 0o644); err != nil {
		t.Fatal(err)
	}
	extFlush(t, path)
}

// extFlush calls fsync on the file or directory at path.
func extFlush(t testing.TB, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// extShutdown makes the file system at dir stop writing at once, without
// flushing its journal (EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH in
// the kernel's include/uapi/linux/ext4.h).
func extShutdown(t testing.TB, dir string) {
	t.Helper()
	const request, noLogFlush = 0x8004587d, uint32(2)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags := noLogFlush
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Fatalf("shutting down %s: %v", dir, errno)
	}
}

// checkExtReplay maps the dirty file system in the file at path and shows
// that nothing outside of the map is missed: after a replay by the kernel all
// marked files are there, and the deleted ones are not.
func checkExtReplay(t testing.TB, path string, marked map[string]string) {
	t.Helper()
	if out := lab.Run(t, "dumpe2fs", "-h", path); !strings.Contains(out, "needs_recovery") {
		t.Fatal("the copy is clean: nothing is tested")
	}
	m := extFile(t, path, Options{SkipSwapfiles: true})
	if m.Whole || !m.Dirty || !slices.Equal(m.Notes, []string{"not cleanly unmounted: its journal was consulted"}) {
		t.Fatalf("whole %v, dirty %v, notes %q", m.Whole, m.Dirty, m.Notes)
	}
	size := extFileSize(t, path)
	if used := m.Used.Size(); used > size*3/4 {
		t.Errorf("%d of %d bytes in use", used, size)
	}
	lab.Garbage(t, path, size, m.Used)
	dir := lab.Mount(t, path, "-o", "loop")
	got := lab.Tree(t, dir)
	for name, digest := range marked {
		if got[name] != digest {
			t.Errorf("%s: got %q, want %q", name, got[name], digest)
		}
	}
	lab.Unmount(t, dir)
	lab.Run(t, "e2fsck", "-fn", path)
	if after := extFile(t, path, Options{}); after.Whole || after.Dirty {
		t.Errorf("after the replay: whole %v, dirty %v, notes %q", after.Whole, after.Dirty, after.Notes)
	}
}

// TestRootExtFastCommit captures a dirty file system with fast commits whole.
func TestRootExtFastCommit(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4", "mount")
	v := extVariant{mkfs: "mkfs.ext4 -O fast_commit", size: 64 << 20}
	path, _ := extDirty(t, v, 3, extCopyFile)
	m := extFile(t, path, Options{})
	want := "captured whole: not cleanly unmounted, and its journal may hold fast commits"
	if !m.Whole || !m.Dirty || !slices.Contains(m.Notes, want) {
		t.Errorf("whole %v, dirty %v, notes %q", m.Whole, m.Dirty, m.Notes)
	}
}

// TestRootExtNoJournalDirty captures a file system whole that was not cleanly
// unmounted and has no journal.
func TestRootExtNoJournalDirty(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext2", "mount", "dd")
	image, _ := extDirty(t, extVariant{mkfs: "mkfs.ext2", size: 48 << 20}, 4, extCopyFile)
	m := extFile(t, image, Options{})
	if !m.Whole || !m.Dirty || !slices.Contains(m.Notes, "captured whole: "+errExtState.Error()) {
		t.Errorf("whole %v, dirty %v, notes %q", m.Whole, m.Dirty, m.Notes)
	}
}
