package fsmap

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"slipcast/internal/lab"
)

// extFile maps the file at path.
func extFile(t testing.TB, path string, opt Options) *Map {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := Read(context.Background(), f, extFileSize(t, path), opt)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func extFileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// extValue returns what blkid says of the file at path; it fails where there
// is nothing to say.
func extValue(path, tag string) string {
	out, _ := exec.Command("blkid", "-p", "-o", "value", "-s", tag, path).Output()
	return strings.TrimSpace(string(out))
}

// wantExt fails the test unless m is no whole map and says of the file system
// at path what blkid and dumpe2fs say.
func wantExt(t testing.TB, m *Map, path string) {
	t.Helper()
	if m.Whole {
		t.Fatalf("captured whole: %v", m.Notes)
	}
	for tag, got := range map[string]string{"TYPE": m.Type, "UUID": m.UUID, "LABEL": m.Label} {
		if want := extValue(path, tag); got != want {
			t.Errorf("%s: got %q, want %q", tag, got, want)
		}
	}
	if want := extBlocks(t, path) * extBlockSize(t, path); m.Size != want {
		t.Errorf("size: got %d, want %d", m.Size, want)
	}
}

// extNumber returns a number that dumpe2fs tells of the file system at path.
func extNumber(t testing.TB, path, field string) int64 {
	t.Helper()
	out := lab.Run(t, "dumpe2fs", "-h", path)
	match := regexp.MustCompile(`(?m)^` + field + `: *(\d+)$`).FindStringSubmatch(out)
	if match == nil {
		t.Fatalf("dumpe2fs does not tell the %q of %s", field, path)
	}
	n, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func extBlocks(t testing.TB, path string) int64    { return extNumber(t, path, "Block count") }
func extBlockSize(t testing.TB, path string) int64 { return extNumber(t, path, "Block size") }

// extGarbage fills what m leaves out of the file at path and shows that
// e2fsck finds nothing. What lies behind the file system is no part of it.
func extGarbage(t testing.TB, m *Map, path string) {
	t.Helper()
	lab.Garbage(t, path, extFileSize(t, path), m.Used)
	lab.Run(t, "e2fsck", "-fn", path)
}

// An extVariant is a file system that mke2fs makes with awkward options.
type extVariant struct {
	name  string
	mkfs  string // program and options
	size  int64  // bytes
	mount string // options
}

// extVariants returns the file systems that this kernel can mount.
func extVariants() []extVariant {
	const m = 1 << 20
	return []extVariant{
		{name: "ext2", mkfs: "mkfs.ext2", size: 64 * m},
		{name: "ext2 1k", mkfs: "mkfs.ext2 -b 1024", size: 40 * m},
		{name: "ext2 2k revision 0", mkfs: "mkfs.ext2 -b 2048 -r 0", size: 40 * m},
		{name: "ext2 without features", mkfs: "mkfs.ext2 -O none", size: 80 * m},
		{name: "ext3", mkfs: "mkfs.ext3", size: 64 * m},
		{name: "ext3 1k 128 byte inodes", mkfs: "mkfs.ext3 -b 1024 -I 128", size: 64 * m},
		{name: "ext4", mkfs: "mkfs.ext4", size: 100 * m},
		{name: "ext4 4k", mkfs: "mkfs.ext4 -b 4096 -g 4096", size: 100 * m},
		{name: "ext4 1k", mkfs: "mkfs.ext4 -b 1024", size: 100 * m},
		{name: "ext4 2k", mkfs: "mkfs.ext4 -b 2048", size: 100 * m},
		{name: "no journal", mkfs: "mkfs.ext4 -O ^has_journal", size: 64 * m},
		{name: "meta_bg 1k", mkfs: "mkfs.ext4 -b 1024 -O meta_bg,^resize_inode", size: 100 * m},
		{name: "meta_bg 4k -g 4096", mkfs: "mkfs.ext4 -b 4096 -g 4096 -O meta_bg,^resize_inode,^flex_bg", size: 100 * m},
		{name: "meta_bg many groups", mkfs: "mkfs.ext4 -b 1024 -g 512 -N 4096 -O meta_bg,^resize_inode,64bit", size: 64 * m},
		{name: "bigalloc", mkfs: "mkfs.ext4 -O bigalloc -C 65536", size: 100 * m},
		{name: "bigalloc 1k", mkfs: "mkfs.ext4 -b 1024 -O bigalloc -C 8192", size: 100*m + 3000},
		{name: "bigalloc 1k meta_bg", mkfs: "mkfs.ext4 -b 1024 -O bigalloc,meta_bg,^resize_inode -C 4096 -g 4096", size: 64 * m},
		{name: "uninit_bg", mkfs: "mkfs.ext4 -O uninit_bg,^flex_bg,^metadata_csum,^64bit", size: 100 * m},
		{name: "uninit_bg 64bit", mkfs: "mkfs.ext4 -O uninit_bg,^metadata_csum,64bit", size: 100 * m},
		{name: "no sums", mkfs: "mkfs.ext4 -O ^uninit_bg,^metadata_csum", size: 100 * m},
		{name: "sparse_super2", mkfs: "mkfs.ext4 -O sparse_super2,^resize_inode -b 1024", size: 100 * m},
		{name: "sparse_super2 one backup", mkfs: "mkfs.ext4 -O sparse_super2,^resize_inode -b 1024 -E num_backup_sb=1", size: 100 * m},
		{name: "no sparse_super", mkfs: "mkfs.ext4 -b 1024 -O ^sparse_super,^resize_inode", size: 64 * m},
		{name: "no 64bit, lazy", mkfs: "mkfs.ext4 -O ^64bit -E lazy_itable_init=1,lazy_journal_init=1", size: 100 * m},
		{name: "orphan_file", mkfs: "mkfs.ext4 -O orphan_file", size: 64 * m},
		{name: "inline_data", mkfs: "mkfs.ext4 -O inline_data", size: 64 * m},
		{name: "encrypt verity stable_inodes", mkfs: "mkfs.ext4 -O encrypt,verity,stable_inodes", size: 64 * m},
		{name: "large_dir ea_inode", mkfs: "mkfs.ext4 -O large_dir,ea_inode", size: 64 * m},
		{name: "metadata_csum_seed", mkfs: "mkfs.ext4 -O metadata_csum_seed", size: 64 * m},
		{name: "mmp", mkfs: "mkfs.ext4 -O mmp", size: 64 * m},
		{name: "fast_commit", mkfs: "mkfs.ext4 -O fast_commit", size: 100 * m},
		{name: "128 byte inodes", mkfs: "mkfs.ext4 -I 128", size: 64 * m},
		{name: "1024 byte inodes", mkfs: "mkfs.ext4 -I 1024", size: 64 * m},
		{name: "packed metadata", mkfs: "mkfs.ext4 -E packed_meta_blocks=1", size: 100 * m},
		{name: "flex groups of 64", mkfs: "mkfs.ext4 -b 1024 -G 64", size: 64 * m},
		{name: "no flex_bg", mkfs: "mkfs.ext4 -O ^flex_bg", size: 100 * m},
		{name: "short last group", mkfs: "mkfs.ext4 -b 4096 -g 4096", size: 70*m + 517*4096 + 1234},
		{name: "short last group 1k", mkfs: "mkfs.ext4 -b 1024 -O ^flex_bg", size: 33*m + 777},
		{name: "smaller than its volume", mkfs: "mkfs.ext4 -b 4096 -E nodiscard", size: 64*m + 4095},
		{name: "room to grow", mkfs: "mkfs.ext4 -E resize=1G", size: 64 * m},
		{name: "no room to grow", mkfs: "mkfs.ext4 -O ^resize_inode", size: 64 * m},
		{name: "data journal", mkfs: "mkfs.ext4", size: 100 * m, mount: "data=journal"},
	}
}

// make makes the file system in a new file.
func (v extVariant) make(t testing.TB) string {
	t.Helper()
	path := lab.File(t, v.size)
	args := strings.Fields(v.mkfs)
	lab.Run(t, args[0], append(args[1:], "-q", "-F", "-L", "lab disk", path)...)
	return path
}

func TestRootExtGarbage(t *testing.T) {
	lab.Root(t)
	t.Parallel()
	lab.Tools(t, "mkfs.ext2", "mkfs.ext3", "mkfs.ext4", "e2fsck", "dumpe2fs", "blkid", "mount")
	for _, v := range extVariants() {
		t.Run(v.name, func(t *testing.T) {
			path := v.make(t)
			opt := strings.TrimSuffix("loop,"+v.mount, ",")
			dir := lab.Mount(t, path, "-o", opt)
			lab.Fill(t, dir, v.size/6, 1)
			want := lab.Tree(t, dir)
			lab.Unmount(t, dir)

			m := extFile(t, path, Options{SkipSwapfiles: true})
			wantExt(t, m, path)
			if m.Dirty || len(m.Notes) > 0 {
				t.Errorf("dirty %v, notes %q: want a clean one without notes", m.Dirty, m.Notes)
			}
			extCount(t, m, path)
			extGarbage(t, m, path)
			dir = lab.Mount(t, path, "-o", opt)
			lab.SameTree(t, lab.Tree(t, dir), want)
			lab.Unmount(t, dir)
		})
	}
}

// TestRootExtResized maps file systems that resize2fs grew and shrank: their
// descriptors have moved, or went on in meta-groups.
func TestRootExtResized(t *testing.T) {
	lab.Root(t)
	t.Parallel()
	lab.Tools(t, "mkfs.ext4", "resize2fs", "e2fsck", "dumpe2fs", "blkid", "mount")
	tests := []struct {
		name, mkfs string
		mib        int64 // to which it is resized, from 100
	}{
		{"grown", "mkfs.ext4", 150},
		{"grown 1k beyond its room", "mkfs.ext4 -b 1024 -E resize=120M", 200},
		{"grown without room", "mkfs.ext4 -b 1024 -O ^resize_inode", 200},
		{"grown with meta_bg", "mkfs.ext4 -b 1024 -O meta_bg,^resize_inode", 200},
		{"shrunk", "mkfs.ext4", 70},
		{"shrunk sparse_super2", "mkfs.ext4 -b 1024 -O sparse_super2,^resize_inode -b 1024", 70},
		{"from 32 to 64 bits", "mkfs.ext4 -O ^64bit", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := extVariant{mkfs: tt.mkfs, size: 100 << 20}.make(t)
			dir := lab.Mount(t, path, "-o", "loop")
			lab.Fill(t, dir, 10<<20, 2)
			want := lab.Tree(t, dir)
			lab.Unmount(t, dir)
			lab.Run(t, "e2fsck", "-fp", path)
			if tt.mib == 0 {
				lab.Run(t, "resize2fs", "-b", path)
			} else {
				lab.Run(t, "resize2fs", path, strconv.FormatInt(tt.mib, 10)+"M")
			}
			m := extFile(t, path, Options{})
			wantExt(t, m, path)
			extGarbage(t, m, path)
			dir = lab.Mount(t, path, "-o", "loop")
			lab.SameTree(t, lab.Tree(t, dir), want)
			lab.Unmount(t, dir)
		})
	}
}

// extCount compares how many blocks m uses with dumpe2fs and partclone.
func extCount(t testing.TB, m *Map, path string) {
	t.Helper()
	used := (m.Used.Size() + extBlockSize(t, path) - 1) / extBlockSize(t, path)
	least := extBlocks(t, path) - extNumber(t, path, "Free blocks")
	first := extNumber(t, path, "First block")
	// Block 0 is outside of all groups where they start at block 1.
	if want := least; used < want || used > want+first+extSlack(t, path) {
		t.Errorf("%d blocks in use, dumpe2fs says %d", used, want)
	}
	extCountPartclone(t, used, path)
}

// extSlack returns how many blocks a map may have beyond the ones that count
// as used: with clusters, none of e2fsprogs' counts tells single blocks.
func extSlack(t testing.TB, path string) int64 {
	if strings.Contains(lab.Run(t, "dumpe2fs", "-h", path), "bigalloc") {
		return 2 * extNumber(t, path, "Cluster size") / extBlockSize(t, path)
	}
	return 0
}

// extCountPartclone asks partclone, if it is there and knows the features.
func extCountPartclone(t testing.TB, used int64, path string) {
	t.Helper()
	if _, err := exec.LookPath("partclone.ext4"); err != nil {
		return
	}
	features := lab.Run(t, "dumpe2fs", "-h", path)
	if strings.Contains(features, "bigalloc") {
		return // its release in Debian 12 runs beyond its heap (partclone#279)
	}
	out, err := exec.Command("partclone.ext4", "-c", "-O", "/dev/null", "-s", path, "-L", filepath.Join(t.TempDir(), "log")).CombinedOutput()
	match := regexp.MustCompile(`Space in use: .*= (\d+) Blocks`).FindSubmatch(out)
	if err != nil || match == nil {
		t.Logf("partclone does not count: %v\n%s", err, out)
		return
	}
	theirs, err := strconv.ParseInt(string(match[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	// We keep block 0 with 1 KiB blocks, too: the boot sector.
	if used < theirs || used > theirs+1 {
		t.Errorf("%d blocks in use, partclone says %d", used, theirs)
	}
}

// TestExtUnmountable maps file systems that this kernel may refuse to mount.
// mke2fs fills them, and debugfs reads them back.
func TestExtUnmountable(t *testing.T) {
	lab.Tools(t, "mkfs.ext4", "debugfs", "e2fsck", "dumpe2fs", "blkid")
	tree := t.TempDir()
	lab.Fill(t, tree, 6<<20, 4)
	want := lab.Tree(t, tree)
	for _, options := range []string{
		"-O quota", "-O quota,project", "-O casefold", "-O inline_data,quota",
		"-b 8192", "-b 16384", "-b 65536", "-b 65536 -O bigalloc,^has_journal -C 131072 -N 512",
		"-b 16384 -O meta_bg,^resize_inode -g 2048",
	} {
		t.Run(options, func(t *testing.T) {
			v := extVariant{mkfs: "mkfs.ext4 -d " + tree + " " + options, size: 64 << 20}
			path := v.make(t)
			// mke2fs leaves quota files that do not count what it filled in.
			_ = exec.Command("e2fsck", "-fy", path).Run()
			m := extFile(t, path, Options{})
			wantExt(t, m, path)
			extCount(t, m, path)
			extGarbage(t, m, path)
			dir := t.TempDir()
			lab.Run(t, "debugfs", "-R", "rdump / "+dir, path)
			if err := os.Remove(filepath.Join(dir, "lost+found")); err != nil {
				t.Error(err)
			}
			lab.SameTree(t, lab.Tree(t, dir), want)
		})
	}
}

// TestRootExtSwapfile leaves out swap files and nothing else.
func TestRootExtSwapfile(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4", "mkswap", "fallocate", "e2fsck", "mount")
	path := extVariant{mkfs: "mkfs.ext4", size: 160 << 20}.make(t)
	dir := lab.Mount(t, path, "-o", "loop")
	if err := os.Mkdir(filepath.Join(dir, "swap"), 0o755); err != nil {
		t.Fatal(err)
	}
	lab.Fill(t, dir, 30<<20, 5)
	for _, name := range []string{"swapfile", "swap.img", ".swapfile", "swap/swapfile", "other"} {
		file := filepath.Join(dir, name)
		lab.Run(t, "fallocate", "-l", "20M", file)
		lab.Run(t, "mkswap", file)
	}
	lab.Run(t, "chattr", "+i", filepath.Join(dir, ".swapfile"))
	suspend(t, filepath.Join(dir, "swap.img"))
	want := lab.Tree(t, dir)
	lab.Unmount(t, dir)

	all, m := extFile(t, path, Options{}), extFile(t, path, Options{SkipSwapfiles: true})
	wantNotes := []string{
		"left out swap file /swapfile (20.0 MiB)",
		"left out swap file /.swapfile (20.0 MiB)",
		"left out swap file /swap/swapfile (20.0 MiB)",
	}
	if !slices.Equal(m.Notes, wantNotes) {
		t.Errorf("notes: got %q, want %q", m.Notes, wantNotes)
	}
	if saved := all.Used.Size() - m.Used.Size(); saved != 3*(20<<20-4096) {
		t.Errorf("%d bytes were left out", saved)
	}
	if len(all.Notes) > 0 {
		t.Errorf("notes without the option: %q", all.Notes)
	}
	extGarbage(t, m, path)
	dir = lab.Mount(t, path, "-o", "loop")
	defer lab.Unmount(t, dir)
	got := lab.Tree(t, dir)
	for _, name := range []string{"swapfile", ".swapfile", "swap/swapfile"} {
		head, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(head[4086:4096]) != "SWAPSPACE2" {
			t.Errorf("%s: its first page was lost: %v", name, err)
		}
		delete(got, name)
		delete(want, name)
	}
	lab.SameTree(t, got, want)
}

// suspend makes the swap file at path look like that of a suspended machine.
func suspend(t testing.TB, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("SWAPSPACE2S1SUSPEND\x00"), 4096-20); err != nil {
		t.Fatal(err)
	}
}

// TestRootExtNoSwapfile keeps files that only look like swap files in part.
func TestRootExtNoSwapfile(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4", "mkfs.ext3", "mkswap", "mount")
	tests := []struct {
		name, mkfs string
		make       func(t *testing.T, dir string)
	}{
		{"no signature", "mkfs.ext4", func(t *testing.T, dir string) {
			lab.Run(t, "dd", "if=/dev/urandom", "of="+dir+"/swapfile", "bs=1M", "count=10", "status=none")
		}},
		{"never written", "mkfs.ext4", func(t *testing.T, dir string) {
			lab.Run(t, "fallocate", "-l", "10M", dir+"/swapfile")
		}},
		{"two names", "mkfs.ext4", func(t *testing.T, dir string) {
			extSwap(t, dir+"/swapfile")
			if err := os.Link(dir+"/swapfile", dir+"/swap.img"); err != nil {
				t.Fatal(err)
			}
		}},
		{"a link", "mkfs.ext4", func(t *testing.T, dir string) {
			extSwap(t, dir+"/elsewhere")
			if err := os.Symlink("elsewhere", dir+"/swapfile"); err != nil {
				t.Fatal(err)
			}
		}},
		{"append only", "mkfs.ext4", func(t *testing.T, dir string) {
			extSwap(t, dir+"/swapfile")
			lab.Run(t, "chattr", "+a", dir+"/swapfile")
		}},
		{"block map", "mkfs.ext3", func(t *testing.T, dir string) { extSwap(t, dir+"/swapfile") }},
		{"a directory", "mkfs.ext4", func(t *testing.T, dir string) {
			if err := os.Mkdir(dir+"/swapfile", 0o755); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := extVariant{mkfs: tt.mkfs, size: 64 << 20}.make(t)
			dir := lab.Mount(t, path, "-o", "loop")
			tt.make(t, dir)
			lab.Unmount(t, dir)
			all, m := extFile(t, path, Options{}), extFile(t, path, Options{SkipSwapfiles: true})
			if m.Whole || len(m.Notes) > 0 || !slices.Equal(m.Used, all.Used) {
				t.Errorf("notes %q, %d bytes instead of %d", m.Notes, m.Used.Size(), all.Used.Size())
			}
		})
	}
}

// extSwap makes a swap file of 10 MiB.
func extSwap(t testing.TB, path string) {
	t.Helper()
	lab.Run(t, "dd", "if=/dev/zero", "of="+path, "bs=1M", "count=10", "status=none")
	if err := syscall.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "mkswap", path)
}
