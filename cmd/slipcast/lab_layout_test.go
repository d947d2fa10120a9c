package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// A labLayout is a kind of disk.
type labLayout struct {
	name   string
	size   int64 // MiB
	sector int
	script string         // for sfdisk; "" for a disk without a table
	mkfs   map[int]string // by partition; 0 is the disk itself
	table  string         // what blkid calls it
}

// labLayouts returns what disks look like. All of them are filled.
func labLayouts() []labLayout {
	return []labLayout{
		{"GPT", 160, 512, "label: gpt\nsize=40MiB\nsize=80MiB\nsize=+", map[int]string{1: "mkfs.fat -F 16", 2: "mkfs.ext4 -q", 3: "mkfs.ext2 -q"}, "gpt"},
		{"GPT of 4 KiB sectors", 160, 4096, "label: gpt\nsize=40MiB\nsize=80MiB\nsize=+", map[int]string{1: "mkfs.fat -F 16 -s 1", 2: "mkfs.ext4 -q", 3: "mkfs.ext2 -q -b 4096"}, "gpt"},
		{"MBR with logical partitions", 200, 512, "label: dos\nsize=20MiB, bootable\nsize=20MiB\n3: size=+, type=5\n5: size=20MiB\n6: size=30MiB\n7: size=40MiB\n8: size=20MiB",
			map[int]string{1: "mkfs.fat -F 16", 2: "mkfs.ext3 -q", 5: "mkfs.ext4 -q", 6: "mkfs.ext2 -q", 7: "mkfs.fat -F 16", 8: "mkfs.ext4 -q -b 1024"}, "dos"},
		{"MBR of 4 KiB sectors", 120, 4096, "label: dos\nsize=40MiB\n2: size=+, type=5\n5: size=20MiB\n6: size=30MiB",
			map[int]string{1: "mkfs.ext4 -q", 5: "mkfs.ext4 -q", 6: "mkfs.ext4 -q"}, "dos"},
		{"ext4 without a table", 64, 512, "", map[int]string{0: "mkfs.ext4 -q -F"}, ""},
		{"FAT without a table", 40, 512, "", map[int]string{0: "mkfs.fat -I -F 16"}, ""},
	}
}

// labAccessOf returns how files get onto what mkfs makes.
func labAccessOf(mkfs string) labAccess {
	if strings.HasPrefix(mkfs, "mkfs.fat") {
		return labTools()
	}
	return labMount(strings.TrimPrefix(strings.Fields(mkfs)[0], "mkfs."))
}

// node returns the node of partition n, or dev itself.
func labNode(t testing.TB, dev string, n int) string {
	t.Helper()
	if n == 0 {
		return dev
	}
	return lab.Partition(t, dev, n)
}

// make makes the disk in a file and returns the files on it.
func (l *labLayout) make(t testing.TB) (path string, trees map[int]map[string]string) {
	t.Helper()
	path = labDisk(t, l.size*mib, l.sector, l.script)
	dev, detach := lab.Attach(t, path, l.sector)
	defer detach()
	trees = map[int]map[string]string{}
	for n, mkfs := range l.mkfs {
		node, access := labNode(t, dev, n), labAccessOf(mkfs)
		lab.Tools(t, access.tools...)
		args := labProgram(mkfs, node)
		lab.Run(t, args[0], args[1:]...)
		trees[n] = access.fill(t, node, 3*mib)
	}
	return path, trees
}

// check fails the test unless the files on dev are those in trees.
func (l *labLayout) check(t testing.TB, dev string, trees map[int]map[string]string) {
	t.Helper()
	if l.table != "" {
		labWantTable(t, dev, l.table)
	}
	for n, mkfs := range l.mkfs {
		node, fsck := labNode(t, dev, n), []string{"e2fsck", "-fn"}
		if strings.HasPrefix(mkfs, "mkfs.fat") {
			fsck = []string{"fsck.fat", "-n"}
		}
		lab.Run(t, fsck[0], append(fsck[1:], node)...)
		lab.SameTree(t, labAccessOf(mkfs).tree(t, node), trees[n])
	}
}

// Every kind of disk comes back, and zstd makes the same of the image: onto a
// target of the same size, whose bytes are then those of the image, and of
// another one.
func TestRootLabLayouts(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid", "zstd", "mkfs.ext4", "mkfs.fat", "e2fsck", "fsck.fat")
	for _, l := range labLayouts() {
		t.Run(l.name, func(t *testing.T) {
			path, trees := l.make(t)
			source, detach := lab.Attach(t, path, l.sector)
			image := labCapture(t, source)
			detach()
			labRun(t, exitDone, "verify", image)
			for _, more := range []int64{0, 17 * mib} {
				file := labTarget(t, l.size*mib+more)
				target, detach := lab.Attach(t, file, l.sector)
				labRestore(t, image, target, "--verify")
				labRun(t, exitDone, "verify", image, target)
				if more == 0 {
					labWantImage(t, image, file, nil)
				}
				l.check(t, target, trees)
				detach()
			}
		})
	}
}

// A file is captured like the disk that it holds, and restored into a new file
// that is as sparse as can be.
func TestRootLabFile(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid", "zstd", "mkfs.ext4", "mkfs.fat", "e2fsck", "fsck.fat")
	l := labLayouts()[0]
	path, trees := l.make(t)
	image := labCapture(t, path)
	used, size := labManifest(t, image)
	target := filepath.Join(t.TempDir(), "new.raw")
	labRestore(t, image, target)
	labWantImage(t, image, target, nil)
	labWantImage(t, image, path, nil)
	if got := labAllocated(t, target); got > used.Size()+mib {
		t.Errorf("the file takes %d bytes, %d are in use", got, used.Size())
	}
	if info, err := os.Stat(target); err != nil || info.Size() != size {
		t.Errorf("got %v, %v, want %d bytes", info, err, size)
	}
	l.check(t, lab.Loop(t, target, l.sector), trees)
}

// labAllocated returns how many bytes a file takes on its disk.
func labAllocated(t testing.TB, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512 // whatever the size of a block is, stat(2)
}

// A partition goes into an image of its own, by its number or by its node, and
// from there or from the image of the disk into another partition. What lies
// around that is not touched.
func TestRootLabPartition(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid", "zstd", "mkfs.ext4", "mkfs.fat", "e2fsck", "fsck.fat")
	l := labLayouts()[0]
	path, trees := l.make(t)
	source := lab.Loop(t, path, l.sector)
	node := lab.Partition(t, source, 2)
	whole := labCapture(t, source)
	images := map[string]string{
		"of a file": labCapture(t, path, "--partition", "2"), "of a disk": labCapture(t, source, "--partition", "2"), "node": labCapture(t, node),
	}
	digest := labJSON(t, "inspect", images["node"])["digest"]
	for name, image := range images {
		labWantImage(t, image, node, nil)
		if got := labJSON(t, "inspect", image)["digest"]; got != digest && name != "of a file" { // whose sectors nobody knows
			t.Errorf("%s: digest %v, want %v", name, got, digest)
		}
	}
	for name, flags := range map[string][]string{"of the disk": {"--partition", "2"}, "alone": nil} {
		t.Run(name, func(t *testing.T) {
			image := whole
			if flags == nil {
				image = images["node"]
			}
			file := labTarget(t, 200*mib)
			labTable(t, file, 512, "label: gpt\nsize=20MiB\nsize=100MiB\nsize=30MiB")
			before := lab.File(t, 0)
			lab.Run(t, "cp", file, before)
			target := lab.Loop(t, file, 512)
			part := lab.Partition(t, target, 2)
			labRestore(t, image, part, append(flags, "--verify")...)
			labRun(t, exitDone, append([]string{"verify", image, part}, flags...)...)
			lab.Run(t, "e2fsck", "-fn", part)
			lab.SameTree(t, labMount("ext4").tree(t, part), trees[2])
			labWantOnly(t, file, before, partition.Extent{Start: 21 * mib, Length: 100 * mib})
			labRun(t, exitRefused, append([]string{"restore", "--yes", image, lab.Partition(t, target, 3)}, flags...)...)
		})
	}
}

// labWantOnly fails the test if a file differs from what it was before outside
// of a place.
func labWantOnly(t testing.TB, path, before string, place partition.Extent) {
	t.Helper()
	lab.Run(t, "cmp", "--bytes", fmt.Sprint(place.Start), path, before)
	lab.Run(t, "cmp", "--ignore-initial", fmt.Sprint(place.End()), path, before)
}

// What lies below other layers is captured whole, with a note, and comes back
// to the byte.
func TestRootLabContainers(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid", "zstd", "pvcreate", "cryptsetup")
	key := lab.File(t, 64)
	tests := []struct {
		name, kind, note string
		make             []string
	}{
		{"LVM", "LVM2_member", "LVM", []string{"pvcreate", "--quiet", "--nolocking"}},
		{"LUKS", "crypto_LUKS", "encrypted", []string{"cryptsetup", "luksFormat", "--batch-mode", "--key-file", key, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := labDisk(t, 64*mib, 512, "label: gpt\nsize=10MiB\nsize=+\n")
			dev := lab.Loop(t, path, 512)
			labRandom(t, lab.Partition(t, dev, 2), 30*mib)
			lab.Run(t, tt.make[0], append(tt.make[1:], lab.Partition(t, dev, 2))...)
			image := labCapture(t, dev)
			v := labVolume(t, image, 2)
			if v["type"] != tt.kind || v["whole"] != true || !strings.Contains(fmt.Sprint(v["notes"]), tt.note) {
				t.Errorf("got %v, want all of a %s with a note of %q", v, tt.kind, tt.note)
			}
			target := lab.Loop(t, labTarget(t, 80*mib), 512)
			labRestore(t, image, target)
			labWantTable(t, target, "gpt")
			lab.Run(t, "cmp", lab.Partition(t, dev, 2), lab.Partition(t, target, 2))
		})
	}
}
