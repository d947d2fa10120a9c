package main

import (
	"fmt"
	"testing"

	"slipcast/internal/lab"
)

// labNetDisk captures a GPT disk of 72 MiB with some MiB that do not compress
// and an ext4, and returns the image, and what is in the ext4.
func labNetDisk(t testing.TB) (image string, tree map[string]string) {
	t.Helper()
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid", "zstd", "mkfs.ext4", "e2fsck")
	path := labDisk(t, 72*mib, 512, "label: gpt\nsize=10MiB\nsize=+\n")
	dev, detach := lab.Attach(t, path, 512)
	defer detach()
	labRandom(t, lab.Partition(t, dev, 1), 10*mib)
	part := lab.Partition(t, dev, 2)
	lab.Run(t, "mkfs.ext4", "-q", part)
	tree = labMount("ext4").fill(t, part, 8*mib)
	detach()
	return labCapture(t, path), tree
}

// labWantNetDisk fails the test unless the disk on dev is the one that
// labNetDisk made.
func labWantNetDisk(t testing.TB, dev string, tree map[string]string) {
	t.Helper()
	labWantTable(t, dev, "gpt")
	part := lab.Partition(t, dev, 2)
	lab.Run(t, "e2fsck", "-fn", part)
	lab.SameTree(t, labMount("ext4").tree(t, part), tree)
}

// Eight machines become the disk, on devices that held something else and in
// files.
func TestRootNetDisk(t *testing.T) {
	t.Parallel()
	n := newLabNet(t, "--receivers", "8")
	image, tree := labNetDisk(t)
	files := labNew(t, 8)
	targets := append([]string(nil), files...)
	for i := range 4 {
		files[i] = labTarget(t, 72*mib)
		targets[i] = lab.Loop(t, files[i], 512)
	}
	var all []*labProcess
	for i, target := range targets {
		all = append(all, n.receive(i+1, target))
	}
	s := n.send(image, "--wait", "8")
	for i, r := range all {
		r.result("received")
		if err := labCompare(t, image, files[i], nil); err != nil {
			t.Error(err)
		}
		dev := targets[i]
		if i >= 4 {
			dev = lab.Loop(t, dev, 512)
		}
		labWantNetDisk(t, dev, tree)
	}
	if got := labNumber(t, s.result("sent"), "done"); got != 8 {
		t.Errorf("%d receivers are done, want 8", got)
	}
}

// Larger targets get a table that fits, and with --grow a file system that
// does.
func TestRootNetGrow(t *testing.T) {
	t.Parallel()
	n := newLabNet(t, "--receivers", "2")
	image, tree := labNetDisk(t)
	one, two := lab.Loop(t, labTarget(t, 90*mib), 512), lab.Loop(t, labTarget(t, 150*mib), 512)
	plain, grown := n.receive(1, one), n.receive(2, two, "--grow", "--verify")
	s := n.send(image, "--wait", "2")
	ext4 := labLasts()[0]
	plain.want(exitDone)
	grown.want(ext4.growCode(t))
	s.want(exitDone)
	labWantNetDisk(t, one, tree)
	labWantNetDisk(t, two, tree)
	size := int64(0)
	if _, err := fmt.Sscan(lab.Run(t, "blockdev", "--getsize64", lab.Partition(t, two, 2)), &size); err != nil || size < 135*mib {
		t.Errorf("the last partition has %d bytes, %v; want almost all of the disk", size, err)
	}
	ext4.check(t, lab.Partition(t, two, 2), tree, size*9/10-8*mib)
}
