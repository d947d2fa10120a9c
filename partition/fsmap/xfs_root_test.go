package fsmap

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"slipcast/internal/lab"
)

// xfsVariants are arguments of mkfs.xfs and, behind a semicolon, of mount.
var xfsVariants = []struct {
	args     string
	size     int64 // zero means xfsTestSize
	optional bool  // not every kernel mounts it
}{
	{"", 0, false},
	{"-b size=1024", 0, false},
	{"-b size=2048 -n size=65536", 0, false},
	{"-b size=16384", 0, true},
	{"-b size=65536 -d agcount=2", 0, true},
	{"-b size=512 -m crc=0", 0, true},
	{"-s size=4096", 0, false},
	{"-s size=4096 -b size=4096 -l su=4k", 133<<20 + 12345, false},
	{"-m reflink=0", 0, false},
	{"-m rmapbt=1", 0, false},
	{"-m rmapbt=1,reflink=0,finobt=0,inobtcount=0", 330 << 20, false},
	{"-m bigtime=0,inobtcount=0 -i sparse=0", 0, false},
	{"-m bigtime=1,inobtcount=1 -i sparse=1,size=1024,nrext64=1", 0, false},
	{"-i size=2048 -n size=65536", 131<<20 + 511, false},
	{"-d agcount=20", 330 << 20, false},
	{"-d agcount=3 -L label", 145678901, false},
	{"-d su=64k,sw=3 -l su=64k", 0, false},
	{"-l su=256k -d agcount=2", 0, false},
	{"; -o uquota,pquota", 0, true},
	{"; -o inode64,wsync,logbsize=256k", 0, false},
	{"-l version=2 -d agsize=40m; -o logbsize=32k", 150<<20 + 4096*7, false},
}

// TestRootXFSGarbage fills file systems, overwrites whatever is not in the map
// and expects to find everything again.
func TestRootXFSGarbage(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.xfs", "xfs_repair", "xfs_db", "xfs_logprint", "partclone.xfs", "blkid")
	for i, tt := range xfsVariants {
		t.Run(tt.args, func(t *testing.T) {
			mkfs, mount, _ := strings.Cut(tt.args, ";")
			path := xfsMkfs(t, tt.size, strings.Fields(mkfs)...)
			dir := xfsMount(t, tt.optional, path, strings.Fields(mount)...)
			lab.Fill(t, dir, 12<<20, uint64(i))
			xfsReflink(dir)
			tree := lab.Tree(t, dir)
			lab.Unmount(t, dir)
			xfsCheckGarbage(t, path, tree)
		})
	}
}

// xfsMount mounts the file at path, fresh from mkfs. If it is optional, a
// kernel that does not mount it skips the test: not every one has version 4,
// quotas, and blocks that are larger than pages.
func xfsMount(t *testing.T, optional bool, path string, args ...string) string {
	t.Helper()
	args = append([]string{"-o", "loop"}, args...)
	if optional {
		dir := t.TempDir()
		if out, err := exec.Command("mount", append(args, path, dir)...).CombinedOutput(); err != nil {
			lab.Lacks(t, fmt.Sprintf("this kind of XFS: %s", out))
		}
		lab.Unmount(t, dir)
	}
	return lab.Mount(t, path, args...)
}

// xfsReflink shares the blocks of a file with another one and then takes some
// of them apart, where the file system can do that.
func xfsReflink(dir string) {
	source, dest := filepath.Join(dir, "shared"), filepath.Join(dir, "other")
	if os.WriteFile(source, bytes.Repeat([]byte("shared "), 50000), 0o644) != nil ||
		exec.Command("cp", "--reflink=always", source, dest).Run() != nil {
		return
	}
	if f, err := os.OpenFile(dest, os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteAt([]byte("no more"), 100000)
		_ = f.Close()
	}
}

// xfsCheckGarbage maps the file system, compares the map with what the tools
// say, overwrites the rest, and compares its files with tree.
func xfsCheckGarbage(t *testing.T, path string, tree map[string]string) {
	t.Helper()
	m := xfsReadFile(t, path)
	if m.Whole || m.Dirty {
		t.Fatalf("dirty %v, whole %v: %q", m.Dirty, m.Whole, m.Notes)
	}
	xfsCheckClean(t, path, m)
	xfsCheckFree(t, path, m)
	xfsCheckPartclone(t, path, m)
	xfsCheckIdentity(t, path, m)
	lab.Garbage(t, path, m.Size, m.Used)
	lab.Run(t, "xfs_repair", "-n", "-o", "force_geometry", path)
	dir := lab.Mount(t, path, "-o", "loop")
	lab.SameTree(t, lab.Tree(t, dir), tree)
	lab.Unmount(t, dir)
}

// TestRootXFSFragmented makes trees of three levels: a group full of files of
// one block, every second of which is deleted.
func TestRootXFSFragmented(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.xfs", "xfs_repair", "xfs_db", "xfs_logprint", "partclone.xfs", "blkid")
	path := xfsMkfs(t, 0, "-b", "size=1024", "-d", "agcount=1")
	dir := lab.Mount(t, path, "-o", "loop")
	block := bytes.Repeat([]byte("x"), 1000)
	for i := range 24000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), block, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	syscall.Sync()
	for i := 0; i < 24000; i += 2 {
		if err := os.Remove(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	tree := lab.Tree(t, dir)
	lab.Unmount(t, dir)
	if levels := xfsNumber(t, xfsDB(t, path, "agf 0", "p bnolevel"), "bnolevel"); levels < 3 {
		t.Errorf("a tree of %d levels, want three", levels)
	}
	xfsCheckGarbage(t, path, tree)
}

// TestRootXFSLogWraps uses small logs until they have wrapped, and compares the
// verdict after every unmount with that of xfs_logprint. With wsync every file
// is a record of its own.
func TestRootXFSLogWraps(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.xfs", "xfs_logprint")
	for args, files := range map[string]int{ // and how many files a round makes
		"-l size=8m":                       700,
		"-l size=8m,su=64k":                120,
		"-s size=4096 -l size=20m,su=256k": 80,
	} {
		t.Run(args, func(t *testing.T) {
			path := xfsMkfs(t, 0, append(strings.Fields(args), "-d", "agcount=2")...)
			for round := range 8 {
				dir := lab.Mount(t, path, "-o", "loop,wsync,logbsize=256k")
				for i := range files - 7*round {
					name := filepath.Join(dir, fmt.Sprintf("%d-a-name-that-fills-the-log-%d", round, i))
					if err := os.WriteFile(name, nil, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				lab.Unmount(t, dir)
				m := xfsReadFile(t, path)
				xfsCheckClean(t, path, m)
				if m.Dirty {
					t.Fatalf("round %d: dirty after an unmount", round)
				}
			}
			cycle := xfsLogCycle(t, path)
			t.Logf("the log is in cycle %d", cycle)
			if cycle < 4 {
				t.Errorf("the log is in cycle %d, want it to have wrapped three times", cycle)
			}
		})
	}
}

// xfsLogCycle returns in which cycle the log is.
func xfsLogCycle(t *testing.T, path string) uint32 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v := &volume{ctx: t.Context(), r: f, size: 1 << 40}
	s, err := readXFSSuper(v)
	if err != nil {
		t.Fatal(err)
	}
	cycle, _, err := s.log(v).head()
	if err != nil {
		t.Fatal(err)
	}
	return cycle
}

// xfsCopy copies a device past its cache.
func xfsCopy(t *testing.T, device string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.raw")
	lab.Run(t, "dd", "if="+device, "of="+path, "bs=1M", "iflag=direct", "conv=sparse", "status=none")
	return path
}

// xfsMarked writes files that are on the disk when it returns, in the log at
// least, and returns their digests.
func xfsMarked(t *testing.T, dir string) map[string]string {
	t.Helper()
	for i := range 20 {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("marked-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(bytes.Repeat([]byte{byte(i)}, 1000+i*7000))
		if err := errorsFirst(err, f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return xfsMarkedTree(t, dir)
}

// xfsMarkedTree returns the digests of the files that xfsMarked writes.
func xfsMarkedTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree := lab.Tree(t, dir)
	maps.DeleteFunc(tree, func(name, _ string) bool { return !strings.HasPrefix(name, "marked") })
	return tree
}

// errorsFirst returns the first error that is not nil.
func errorsFirst(list ...error) error {
	if i := slices.IndexFunc(list, func(err error) bool { return err != nil }); i >= 0 {
		return list[i]
	}
	return nil
}

// TestRootXFSDirty copies a file system while it is mounted and while it is
// frozen: the copy is whole, and has the files that were flushed.
func TestRootXFSDirty(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.xfs", "xfs_freeze", "xfs_logprint", "dd")
	path := xfsMkfs(t, 0)
	device := lab.Loop(t, path, 512)
	dir := lab.Mount(t, device)
	lab.Fill(t, dir, 8<<20, 1)
	marked := xfsMarked(t, dir)
	copies := map[string]string{"mounted": xfsCopy(t, device)}
	lab.Run(t, "xfs_freeze", "-f", dir)
	copies["frozen"] = xfsCopy(t, device)
	lab.Run(t, "xfs_freeze", "-u", dir)
	lab.Unmount(t, dir)
	for name, copied := range copies {
		t.Run(name, func(t *testing.T) {
			m := xfsReadFile(t, copied)
			xfsCheckClean(t, copied, m)
			if want := "captured whole: its log is dirty (not cleanly unmounted)"; !m.Dirty || !slices.Equal(m.Notes, []string{want}) {
				t.Fatalf("got %v %q, want %q", m.Dirty, m.Notes, want)
			}
			at := lab.Mount(t, copied, "-o", "loop,nouuid")
			lab.SameTree(t, xfsMarkedTree(t, at), marked)
			lab.Unmount(t, at)
			if m := xfsReadFile(t, copied); m.Dirty || m.Whole {
				t.Errorf("after a mount: dirty %v, %q", m.Dirty, m.Notes)
			}
		})
	}
}

// TestRootXFSReadOnly copies a file system that is mounted read-only after it
// was written to: the log has an unmount record.
func TestRootXFSReadOnly(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.xfs", "xfs_logprint", "xfs_repair", "dd")
	device := lab.Loop(t, xfsMkfs(t, 0), 512)
	dir := lab.Mount(t, device)
	marked := xfsMarked(t, dir)
	lab.Run(t, "mount", "-o", "remount,ro", dir)
	copied := xfsCopy(t, device)
	lab.Unmount(t, dir)
	m := xfsReadFile(t, copied)
	xfsCheckClean(t, copied, m)
	lab.Garbage(t, copied, m.Size, m.Used)
	lab.Run(t, "xfs_repair", "-n", copied)
	at := lab.Mount(t, copied, "-o", "loop,nouuid")
	lab.SameTree(t, xfsMarkedTree(t, at), marked)
}
