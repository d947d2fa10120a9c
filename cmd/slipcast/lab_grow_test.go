package main

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// A labLast is the file system in the last partition of a disk.
type labLast struct {
	name, mkfs, fsck string
	size             int64 // MiB
	access           labAccess
	grows            bool
}

func labLasts() []labLast {
	return []labLast{
		{"ext4", "mkfs.ext4 -q", "e2fsck -fn", 64, labMount("ext4"), true},
		{"ext3", "mkfs.ext3 -q", "e2fsck -fn", 64, labMount("ext3"), true},
		{"XFS", "mkfs.xfs -q -f", "xfs_repair -n", 320, labMount("xfs"), true},
		{"btrfs", "mkfs.btrfs -q -f", "btrfs check --readonly", 160, labMount("btrfs"), true},
		{"NTFS", "mkfs.ntfs -q -F -Q", "ntfsresize --info --force --no-progress-bar", 64, labMount("ntfs-3g"), false},
		{"FAT", "mkfs.fat -F 32", "fsck.fat -n", 64, labTools(), false},
	}
}

// make makes a disk with the file system in the last partition; number tells
// which one that is, 0 for a disk without a table.
func (l *labLast) make(t testing.TB, script string, number int) (path string, tree map[string]string) {
	t.Helper()
	lab.Tools(t, append(l.access.tools, strings.Fields(l.mkfs)[0], strings.Fields(l.fsck)[0])...)
	path = labDisk(t, (l.size+24)*mib, 512, script)
	dev, detach := lab.Attach(t, path, 512)
	defer detach()
	args := labProgram(l.mkfs, labNode(t, dev, number))
	lab.Run(t, args[0], args[1:]...)
	return path, l.access.fill(t, labNode(t, dev, number), 5*mib)
}

// check fails the test unless the file system on the node is clean, holds
// tree, and has at least size bytes.
func (l *labLast) check(t testing.TB, node string, tree map[string]string, size int64) {
	t.Helper()
	args := labProgram(l.fsck, node)
	lab.Run(t, args[0], args[1:]...)
	lab.SameTree(t, l.access.tree(t, node), tree)
	if !l.grows {
		return
	}
	dir := lab.Mount(t, node, "-o", "ro")
	defer lab.Unmount(t, dir)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if got := int64(st.Blocks) * st.Frsize; got < size {
		t.Errorf("a file system of %d bytes, want at least %d", got, size)
	}
}

// growCode returns with which code a restore with --grow ends. The driver of
// ext4 wants CAP_SYS_RESOURCE, which root does not have everywhere; there the
// restore is done in part.
func (l *labLast) growCode(t testing.TB) int {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(l.name, "ext") && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		t.Log("root here has no CAP_SYS_RESOURCE: ext4 is not grown")
		l.grows = false
		return exitPart
	}
	return exitDone
}

// On a larger target the last partition reaches the end, and so does the file
// system in it where the kernel can enlarge it; the others are left and it is
// said so.
func TestRootLabGrow(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid")
	for _, l := range labLasts() {
		for name, disk := range map[string]struct {
			script, table string
			number        int
		}{
			"GPT": {"label: gpt\nsize=20MiB\nsize=+\n", "gpt", 2},
			"MBR": {"label: dos\nsize=20MiB\nsize=+\n", "dos", 2},
		} {
			if name == "MBR" && l.name != "ext4" {
				continue
			}
			t.Run(l.name+" "+name, func(t *testing.T) {
				path, tree := l.make(t, disk.script, disk.number)
				image := labCapture(t, path)
				target := lab.Loop(t, labTarget(t, 2*(l.size+24)*mib), 512)
				_, stderr := labRun(t, l.growCode(t), "restore", "--yes", "--grow", image, target)
				labWantTable(t, target, disk.table)
				node := lab.Partition(t, target, disk.number)
				size := int64(0)
				if _, err := fmt.Sscan(lab.Run(t, "blockdev", "--getsize64", node), &size); err != nil || size < (2*l.size+24)*mib {
					t.Errorf("the partition has %d bytes, %v", size, err)
				}
				if said := strings.Contains(stderr, "was left as large as it was"); said == (l.grows || strings.HasPrefix(l.name, "ext")) {
					t.Errorf("said %q", stderr)
				}
				l.check(t, node, tree, size*9/10-8*mib)
			})
		}
	}
}

// Without a table and in a partition of its own a file system grows, too.
func TestRootLabGrowAlone(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid")
	l := labLasts()[0]
	l.mkfs += " -F"
	path, tree := l.make(t, "", 0)
	image := labCapture(t, path)
	target := lab.Loop(t, labTarget(t, 200*mib), 512)
	labRun(t, l.growCode(t), "restore", "--yes", "--grow", image, target)
	l.check(t, target, tree, 180*mib)

	file := labTarget(t, 300*mib)
	labTable(t, file, 512, "label: gpt\nsize=210MiB\nsize=+")
	disk := lab.Loop(t, file, 512)
	labRun(t, l.growCode(t), "restore", "--yes", "--grow", image, lab.Partition(t, disk, 1))
	l.check(t, lab.Partition(t, disk, 1), tree, 185*mib)
}

// A smaller target takes what is in use if that fits, and is refused with both
// numbers, untouched, if it does not.
func TestRootLabSmaller(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid", "mkfs.ext4", "e2fsck")
	for kind, label := range map[string]string{"gpt": "gpt", "dos": "dos"} {
		t.Run(kind, func(t *testing.T) {
			path := labDisk(t, 300*mib, 512, "label: "+label+"\nsize=20MiB\nsize=200MiB\n")
			dev, detach := lab.Attach(t, path, 512)
			lab.Run(t, "mkfs.ext4", "-q", lab.Partition(t, dev, 2), "80M") // of 200
			tree := labMount("ext4").fill(t, lab.Partition(t, dev, 2), 5*mib)
			detach()
			image := labCapture(t, path)
			for _, size := range []int64{230 * mib, 102 * mib} {
				target, detach := lab.Attach(t, labTarget(t, size), 512)
				labRestore(t, image, target)
				labRun(t, exitDone, "verify", image, target)
				labWantTable(t, target, kind)
				part := lab.Partition(t, target, 2)
				lab.Run(t, "e2fsck", "-fn", part)
				lab.SameTree(t, labMount("ext4").tree(t, part), tree)
				detach()
			}
			small := labTarget(t, 90*mib)
			before := lab.File(t, 0)
			lab.Run(t, "cp", small, before)
			_, stderr := labRun(t, exitRefused, "restore", "--yes", image, lab.Loop(t, small, 512))
			if !strings.Contains(stderr, fmt.Sprint(90*mib)) || !strings.Contains(stderr, fmt.Sprint(101 * mib)[:3]) {
				t.Errorf("said %q, want the sizes of the target and of what is in use", stderr)
			}
			lab.Run(t, "cmp", small, before)
		})
	}
}
