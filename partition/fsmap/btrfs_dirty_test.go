package fsmap

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"slipcast/internal/lab"
)

// A copy taken while the file system is mounted, with fsynced data that only
// the log trees know of, restores to what a crash would have left.
func TestRootBtrfsDirty(t *testing.T) {
	lab.Root(t)
	t.Parallel()
	lab.Tools(t, "mkfs.btrfs", "btrfs", "blkid", "mount", "losetup", "dd")
	tests := []struct{ name, mkfs, mount string }{
		{"default", "", ""},
		{"zstd", "", "compress-force=zstd"},
		{"mixed", "--mixed", ""},
		{"small nodes", "-n 4096 --csum sha256 -m single", ""},
		{"explicit holes", "-O ^no-holes -R ^free-space-tree", ""},
		{"nodatasum", "-n 4096 --csum blake2", "nodatasum"},
		{"no skinny metadata", "-O ^skinny-metadata", "flushoncommit"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := lab.File(t, 300<<20)
			lab.Run(t, "mkfs.btrfs", append(strings.Fields(tt.mkfs), "-q", path)...)
			dev := lab.Loop(t, path, 512)
			dir := lab.Mount(t, dev, "-o", strings.TrimSuffix("commit=600,"+tt.mount, ","))
			d := &btrfsDirtyTree{t: t, dir: dir, rng: rand.New(rand.NewPCG(uint64(i), 2))}
			d.commit()
			crashed, want := d.crash(dev)
			lab.Unmount(t, dir) // before a copy with the same UUID is mounted
			m := btrfsFile(t, crashed)
			wantBtrfs(t, m, crashed)
			note := "not cleanly unmounted: its log trees were consulted"
			if !m.Dirty || !slices.Equal(m.Notes, []string{note}) {
				t.Errorf("dirty %v, notes %q, want the note %q", m.Dirty, m.Notes, note)
			}
			btrfsGarbage(t, m, crashed)
			d.replay(crashed, want)
		})
	}
}

// A btrfsDirtyTree makes files under dir whose fate after a crash is known.
type btrfsDirtyTree struct {
	t     testing.TB
	dir   string
	rng   *rand.Rand
	tries int
	loses []string // paths that need not survive
}

// crash logs changes and returns a copy of the device, taken while it was
// mounted, and the tree that must be on it. A sync from elsewhere ends log
// trees, and a copy over whose making one came is of two minds; so it tries
// until the superblock has a log tree and is the same before and after.
func (d *btrfsDirtyTree) crash(dev string) (path string, want map[string]string) {
	d.t.Helper()
	path = filepath.Join(d.t.TempDir(), "crashed.raw")
	for d.tries = range 20 {
		d.log()
		want = lab.Tree(d.t, d.dir)
		d.lose()
		lab.Run(d.t, "dd", "if="+dev, "of="+path, "bs=1M", "iflag=direct", "conv=sparse", "status=none")
		lab.Run(d.t, "dd", "if="+dev, "of="+path+".after", "bs=64k", "skip=1", "count=1", "iflag=direct", "status=none")
		if before := d.super(path, btrfsSuperOffsets[0]); before == d.super(path+".after", 0) && [8]byte(before[96:]) != [8]byte{} {
			return path, want
		}
	}
	d.t.Fatal("no copy with a log tree")
	return "", nil
}

// super returns the superblock at an offset of a file; the eight bytes at 96
// are the address of the log root.
func (d *btrfsDirtyTree) super(path string, at int64) (block [btrfsSuperSize]byte) {
	d.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(block[:], at); err != nil {
		d.t.Fatal(err)
	}
	return block
}

// commit makes the tree that the last transaction holds.
func (d *btrfsDirtyTree) commit() {
	d.t.Helper()
	lab.Run(d.t, "btrfs", "subvolume", "create", filepath.Join(d.dir, "sub"))
	lab.Fill(d.t, d.dir, 12<<20, d.rng.Uint64())
	for _, name := range []string{"overwritten", "truncated", "renamed-0", "sub/appended", "punched"} {
		d.write(name, 0, 700_000)
	}
	lab.Run(d.t, "btrfs", "filesystem", "sync", d.dir)
}

// log changes files and flushes each of them by fsync: large ones with many
// extents, ones with room allocated ahead, and changes to committed ones.
func (d *btrfsDirtyTree) log() {
	d.t.Helper()
	for i := range int64(24) {
		d.write("pieces", i*300_000, 200_000)
		d.write("sub/pieces", i*50_000, 50_000)
	}
	for i := range 40 {
		d.write(fmt.Sprintf("small-%d", i), 0, 1+d.rng.Int64N(6000))
	}
	d.write("large", 0, 9<<20)
	d.write("overwritten", 123_456, 300_000)
	d.write("sub/appended", 700_000, 400_000)
	d.change("allocated", func(f *os.File) error {
		return syscall.Fallocate(int(f.Fd()), 0, 0, 5<<20)
	})
	d.write("allocated", 1<<20, 600_000)
	d.change("truncated", func(f *os.File) error { return f.Truncate(99_999) })
	const keepSize, punchHole = 1, 2 // FALLOC_FL_*, linux/falloc.h
	d.change("punched", func(f *os.File) error {
		return syscall.Fallocate(int(f.Fd()), keepSize|punchHole, 100_000, 300_000)
	})
	before, after := fmt.Sprintf("renamed-%d", d.tries), fmt.Sprintf("renamed-%d", d.tries+1)
	if err := os.Rename(filepath.Join(d.dir, before), filepath.Join(d.dir, after)); err != nil {
		d.t.Fatal(err)
	}
	d.write(after, 200_000, 10_000)
	d.write("last", 0, 3<<20)
}

// lose makes changes that no fsync follows.
func (d *btrfsDirtyTree) lose() {
	d.t.Helper()
	for i := range 5 {
		name := fmt.Sprintf("lost-%d-%d", d.tries, i)
		d.loses = append(d.loses, name)
		if err := os.WriteFile(filepath.Join(d.dir, name), make([]byte, 100_000), 0o644); err != nil {
			d.t.Fatal(err)
		}
	}
}

// write puts n random bytes into a file at offset at and flushes it.
func (d *btrfsDirtyTree) write(name string, at, n int64) {
	d.t.Helper()
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(d.rng.Uint32()) & 0x7f // so that zstd gains something
	}
	d.change(name, func(f *os.File) error {
		_, err := f.WriteAt(p, at)
		return err
	})
}

// change calls fn with a file, which is made if need be, and flushes it.
func (d *btrfsDirtyTree) change(name string, fn func(*os.File) error) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if err := fn(f); err != nil {
		d.t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		d.t.Fatal(err)
	}
}

// replay mounts the image at path, which replays its log trees, and checks
// that the tree is the wanted one.
func (d *btrfsDirtyTree) replay(path string, want map[string]string) {
	d.t.Helper()
	dir := lab.Mount(d.t, path, "-o", "loop")
	got := lab.Tree(d.t, dir)
	for _, name := range d.loses {
		delete(got, name)
		delete(want, name) // what an earlier try lost may be there
	}
	lab.SameTree(d.t, got, want)
	btrfsScrub(d.t, dir)
	lab.Unmount(d.t, dir)
	lab.Run(d.t, "btrfs", "check", "--readonly", "--check-data-csum", path)
	if m := btrfsFile(d.t, path); m.Dirty || m.Whole {
		d.t.Errorf("after the replay: dirty %v, whole %v, notes %q", m.Dirty, m.Whole, m.Notes)
	}
}
