package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// A labFS is a file system that its own mkfs makes with awkward options.
type labFS struct {
	name   string
	size   int64  // MiB
	mkfs   string // program and options; the node follows
	fsck   string // likewise; it must succeed
	access labAccess

	partclone string // the program that counts what is in use; "" if it counts something else
	less      int64  // blocks that partclone counts although there are none: in exFAT two clusters
}

// labFilesystems returns what a disk of a room is made of. Partclone is wrong
// about FAT12 and counts whole segments of F2FS (see the tests of package
// fsmap).
func labFilesystems() []labFS {
	const ext, xfs, btrfs, ntfs = "e2fsck -fn", "xfs_repair -n", "btrfs check --readonly", "ntfsfix --no-action"
	fat := labTools()
	return []labFS{
		{"ext2 of 1 KiB blocks", 48, "mkfs.ext2 -q -b 1024", ext, labMount("ext2"), "partclone.ext2", 0},
		{"ext3 of small inodes", 64, "mkfs.ext3 -q -I 128", ext, labMount("ext3"), "partclone.ext3", 0},
		{"ext4 meta_bg", 96, "mkfs.ext4 -q -b 1024 -O meta_bg,^resize_inode", ext, labMount("ext4"), "partclone.ext4", 0},
		{"ext4 bigalloc", 96, "mkfs.ext4 -q -O bigalloc -C 65536", ext, labMount("ext4"), "", 0},
		{"ext4 lazy", 96, "mkfs.ext4 -q -g 4096 -O uninit_bg,^flex_bg,^metadata_csum,^64bit,sparse_super2,^resize_inode -E lazy_itable_init=1,lazy_journal_init=1", ext, labMount("ext4"), "partclone.ext4", 0},
		{"XFS", 320, "mkfs.xfs -q -f", xfs, labMount("xfs"), "partclone.xfs", 0},
		{"XFS of 1 KiB blocks", 320, "mkfs.xfs -q -f -b size=1024 -m rmapbt=1", xfs, labMount("xfs"), "partclone.xfs", 0},
		{"XFS of 4 KiB sectors", 320, "mkfs.xfs -q -f -s size=4096 -d agcount=3", xfs, labMount("xfs"), "partclone.xfs", 0},
		{"btrfs", 256, "mkfs.btrfs -q -f", btrfs, labMount("btrfs"), "", 0},
		{"btrfs mixed", 128, "mkfs.btrfs -q -f --mixed -n 4096", btrfs, labMount("btrfs"), "", 0},
		{"NTFS", 64, "mkfs.ntfs -q -F -Q -c 4096", ntfs, labMount("ntfs-3g"), "partclone.ntfs", 0},
		{"NTFS of 64 KiB clusters", 96, "mkfs.ntfs -q -F -Q -c 65536", ntfs, labMount("ntfs-3g"), "partclone.ntfs", 0},
		{"FAT12", 15, "mkfs.fat -F 12 -s 8 -R 5", "fsck.fat -n", fat, "", 0},
		{"FAT16", 40, "mkfs.fat -F 16 -n ROOM12", "fsck.fat -n", fat, "partclone.fat", 0},
		{"FAT32", 64, "mkfs.fat -F 32 -s 1 -R 64 -b 40", "fsck.fat -n", fat, "partclone.fat", 0},
		{"exFAT", 64, "mkfs.exfat -c 4K", "fsck.exfat -n", labMount("exfat-fuse"), "partclone.exfat", 16},
		{"F2FS", 96, "mkfs.f2fs -q -f -l LAB", "fsck.f2fs --dry-run", labF2FS(), "", 0},
		{"swap", 16, "mkswap -L SWAP", "swaplabel", labNothing(), "", 0},
	}
}

// labProgram returns a program with its options and the node.
func labProgram(line, node string) []string { return append(strings.Fields(line), node) }

// run runs one of the programs on the node and returns what it printed.
func (fs *labFS) run(t testing.TB, line, node string) string {
	t.Helper()
	args := labProgram(line, node)
	return lab.Run(t, args[0], args[1:]...)
}

// make makes the file system on a node and fills it.
func (fs *labFS) make(t testing.TB, node string) (tree map[string]string) {
	t.Helper()
	fs.tools(t)
	fs.run(t, fs.mkfs, node)
	return fs.access.fill(t, node, min(8*mib, fs.size*mib/4))
}

// check fails the test unless the file system's own fsck has nothing to say,
// and it holds tree.
func (fs *labFS) check(t testing.TB, node string, tree map[string]string) {
	t.Helper()
	if out := fs.run(t, fs.fsck, node); strings.Contains(out, "ASSERT") || strings.Contains(out, "[Fail]") {
		t.Errorf("%s: %s", fs.fsck, out)
	}
	lab.SameTree(t, fs.access.tree(t, node), tree)
}

// tools asks for all programs that the file system needs.
func (fs *labFS) tools(t testing.TB) {
	t.Helper()
	names := append(slices.Clone(fs.access.tools), strings.Fields(fs.mkfs)[0], strings.Fields(fs.fsck)[0])
	if fs.partclone != "" {
		names = append(names, fs.partclone)
	}
	lab.Tools(t, names...)
}

// partcloneUsed returns how many bytes partclone would copy of the node.
func (fs *labFS) partcloneUsed(t testing.TB, node string) int64 {
	t.Helper()
	out := lab.Run(t, fs.partclone, "--clone", "--force", "--source", node, "--output", "/dev/null",
		"--logfile", filepath.Join(t.TempDir(), "log"))
	var n [2]int64
	for i, pattern := range []string{`Space in use:.*= (\d+) Blocks`, `Block size:\s+(\d+)`} {
		found := regexp.MustCompile(pattern).FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("%s printed %q", fs.partclone, out)
		}
		n[i], _ = strconv.ParseInt(found[1], 10, 64)
	}
	return (n[0] - fs.less) * n[1]
}

// Every file system goes from one disk onto a larger one that is full of
// random bytes, and is whole there. It starts at an odd sector, between two
// partitions of random bytes.
func TestRootLabFilesystems(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid", "zstd")
	for _, fs := range labFilesystems() {
		t.Run(fs.name, func(t *testing.T) {
			fs.tools(t)
			script := fmt.Sprintf("label: gpt\nstart=2048, size=1MiB, type=21686148-6449-6E6F-744E-656564454649\n"+
				"start=4129, size=%d, name=\"of the lab\"\nsize=1MiB\n", fs.size*mib/512)
			disk := labDisk(t, (fs.size+6)*mib, 512, script)
			dev, detach := lab.Attach(t, disk, 512)
			tree := fs.make(t, lab.Partition(t, dev, 2))
			labRandom(t, lab.Partition(t, dev, 1), mib)
			labRandom(t, lab.Partition(t, dev, 3), mib)
			image := labCapture(t, dev)
			fs.wantUsed(t, image, lab.Partition(t, dev, 2))
			detach()

			target := lab.Loop(t, labTarget(t, (fs.size+23)*mib), 512)
			labRestore(t, image, target)
			labRun(t, exitDone, "verify", image)
			labRun(t, exitDone, "verify", image, target)
			labWantTable(t, target, "gpt")
			fs.check(t, lab.Partition(t, target, 2), tree)
			for n, offset := range map[int]string{1: "1048576", 3: fmt.Sprint((4129*512 + fs.size*mib + mib - 1) / mib * mib)} {
				lab.Run(t, "cmp", "--ignore-initial="+offset+":0", "--bytes=1048576", disk, lab.Partition(t, target, n))
			}
		})
	}
}

// wantUsed fails the test if the image lacks blocks of the partition at node
// that partclone counts.
func (fs *labFS) wantUsed(t testing.TB, image, node string) {
	t.Helper()
	v := labVolume(t, image, 2)
	if v["whole"] == true || v["dirty"] == true {
		t.Errorf("captured whole or called dirty: %v", v)
	}
	if fs.partclone == "" {
		return
	}
	if got, want := labNumber(t, v, "used_bytes"), fs.partcloneUsed(t, node); got < want {
		t.Errorf("%d bytes in use, %s counts %d", got, fs.partclone, want)
	}
}

// A labAccess puts files onto a file system and reads them again.
type labAccess struct {
	tools []string
	fill  func(t testing.TB, node string, size int64) (tree map[string]string)
	tree  func(t testing.TB, node string) map[string]string
}

// labMount goes through a mount of the given type, of the kernel's or by FUSE.
func labMount(kind string) labAccess {
	a := labAccess{}
	if exec.Command("grep", "-qw", kind, "/proc/filesystems").Run() != nil {
		a.tools = []string{"mount." + kind}
	}
	a.fill = func(t testing.TB, node string, size int64) map[string]string {
		t.Helper()
		dir := lab.Mount(t, node, "-t", kind)
		defer lab.Unmount(t, dir)
		lab.Fill(t, dir, size, 11)
		return lab.Tree(t, dir)
	}
	a.tree = func(t testing.TB, node string) map[string]string {
		t.Helper()
		dir := lab.Mount(t, node, "-t", kind, "-o", "ro")
		defer lab.Unmount(t, dir)
		return lab.Tree(t, dir)
	}
	return a
}

// labTools goes through mtools, which read and write a FAT by themselves.
func labTools() labAccess {
	tree := func(t testing.TB, node string) map[string]string {
		t.Helper()
		dir := t.TempDir()
		lab.Run(t, "env", "MTOOLS_SKIP_CHECK=1", "mcopy", "-s", "-n", "-i", node, "::/first", "::/second", dir)
		return lab.Tree(t, dir)
	}
	fill := func(t testing.TB, node string, size int64) map[string]string {
		t.Helper()
		first, second := t.TempDir(), t.TempDir()
		lab.Fill(t, first, size/2, 1)
		lab.Fill(t, second, size/2, 2)
		for _, command := range []string{
			"mmd -i NODE ::first ::second", "mcopy -s -Q -i NODE " + first + "/d0 " + first + "/d1 " + first + "/d2 ::first",
			"mdeltree -i NODE ::/first/d1", "mcopy -s -Q -i NODE " + second + "/d3 " + second + "/d4 ::second", "mdeltree -i NODE ::/second/d3",
		} {
			lab.Run(t, "env", append([]string{"MTOOLS_SKIP_CHECK=1"}, strings.Fields(strings.ReplaceAll(command, "NODE", node))...)...)
		}
		return tree(t, node)
	}
	return labAccess{[]string{"mmd", "mcopy", "mdeltree"}, fill, tree}
}

// labF2FS fills by sload.f2fs and reads single files by dump.f2fs, because
// not every kernel has a driver.
func labF2FS() labAccess {
	tree := func(t testing.TB, node string) map[string]string {
		t.Helper()
		dir := t.TempDir()
		list := lab.Run(t, "fsck.f2fs", "--dry-run", "-t", node)
		for _, found := range regexp.MustCompile(`-- file-\d+ <ino = (0x[0-9a-f]+)>`).FindAllStringSubmatch(list, -1) {
			cmd := exec.Command("dump.f2fs", "-i", found[1], node)
			cmd.Dir, cmd.Stdin = dir, strings.NewReader("Y\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("dump.f2fs: %v\n%s", err, out)
			}
		}
		return lab.Tree(t, filepath.Join(dir, "lost_found"))
	}
	fill := func(t testing.TB, node string, size int64) map[string]string {
		t.Helper()
		dir := t.TempDir()
		lab.Fill(t, dir, size, 4)
		lab.Run(t, "sload.f2fs", "-f", dir, node)
		got, want := tree(t, node), lab.Tree(t, dir)
		for path, digest := range want {
			if name := filepath.Base(path); strings.HasPrefix(name, "file-") && got[name] != digest {
				t.Fatalf("sload.f2fs: %s is %q, want %q", name, got[name], digest)
			}
		}
		return got
	}
	return labAccess{[]string{"sload.f2fs", "dump.f2fs"}, fill, tree}
}

// labNothing is for what holds no files: it has a label and a UUID.
func labNothing() labAccess {
	tree := func(_ testing.TB, node string) map[string]string {
		return map[string]string{"label": labProbe(node, "LABEL"), "uuid": labProbe(node, "UUID")}
	}
	fill := func(t testing.TB, node string, size int64) map[string]string { return tree(t, node) }
	return labAccess{nil, fill, tree}
}
