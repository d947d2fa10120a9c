package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// A copy of a disk that was taken while a file system on it was mounted
// becomes an image with every file that had been flushed. Partclone does the
// same for comparison; what it loses is only told.
func TestRootLabMountedCopy(t *testing.T) {
	tests := []struct {
		name, kind, mkfs, options, fsck string
		size                            int64 // MiB
	}{
		{"ext4", "ext4", "mkfs.ext4 -q", "commit=300", "e2fsck -fp", 128},
		{"ext4 of 1 KiB blocks", "ext4", "mkfs.ext4 -q -b 1024", "commit=300", "e2fsck -fp", 96},
		{"XFS", "xfs", "mkfs.xfs -q -f", "defaults", "xfs_repair -n", 320},
		{"btrfs", "btrfs", "mkfs.btrfs -q -f", "commit=300", "btrfs check --readonly", 256},
	}
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "e2fsck", "xfs_repair", "btrfs", "dd")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := labDisk(t, (tt.size+3)*mib, 512, "label: gpt\nsize=+\n")
			dev, detach := lab.Attach(t, path, 512)
			part := lab.Partition(t, dev, 1)
			args := labProgram(tt.mkfs, part)
			lab.Run(t, args[0], args[1:]...)
			copied, marked := labMountedCopy(t, dev, part, tt.options)
			detach()

			image := labCapture(t, copied)
			if v := labVolume(t, image, 1); v["dirty"] != true || v["type"] != tt.kind {
				t.Errorf("got %v, want a dirty %s", v, tt.kind)
			}
			target, detach := lab.Attach(t, labTarget(t, (tt.size+9)*mib), 512)
			labRestore(t, image, target)
			part = lab.Partition(t, target, 1)
			dir := lab.Mount(t, part)
			lab.SameTree(t, labMarked(t, dir), marked)
			lab.Unmount(t, dir)
			args = labProgram(tt.fsck, part)
			lab.Run(t, args[0], args[1:]...)
			detach() // before another btrfs with the same identity comes
			labPartcloneLoses(t, tt.kind, copied, marked)
		})
	}
}

// labMountedCopy uses the file system on part, flushes some marked files in it,
// and returns a copy of the disk as the medium has it at that time, with the
// digests of those files.
func labMountedCopy(t testing.TB, dev, part, options string) (path string, marked map[string]string) {
	t.Helper()
	dir := lab.Mount(t, part, "-o", options)
	defer lab.Unmount(t, dir)
	lab.Fill(t, dir, 12*mib, 21)
	if err := os.RemoveAll(filepath.Join(dir, "d3")); err != nil {
		t.Fatal(err)
	}
	for i := range 24 {
		labMark(t, filepath.Join(dir, fmt.Sprintf("marked-%d", i)), bytes.Repeat([]byte(fmt.Sprint("mark ", i)), 500+i*4000))
	}
	marked = labMarked(t, dir)
	path = lab.File(t, 0)
	lab.Run(t, "dd", "if="+dev, "of="+path, "bs=1M", "iflag=direct", "conv=sparse", "status=none")
	return path, marked
}

// labMark writes a file that is on the medium on return, if only in a journal.
func labMark(t testing.TB, path string, data []byte) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// labMarked returns the digests of the files that were marked.
func labMarked(t testing.TB, dir string) map[string]string {
	t.Helper()
	tree := lab.Tree(t, dir)
	maps.DeleteFunc(tree, func(name, _ string) bool { return !strings.HasPrefix(name, "marked-") })
	return tree
}

// labPartcloneLoses tells how many of the marked files partclone loses on its
// way from the copy at path onto random bytes.
func labPartcloneLoses(t testing.TB, kind, path string, marked map[string]string) {
	t.Helper()
	program := "partclone." + kind
	if _, err := exec.LookPath(program); err != nil {
		return
	}
	dev, detach := lab.Attach(t, path, 512)
	image := filepath.Join(t.TempDir(), "image")
	out, err := exec.Command(program, "--clone", "--source", lab.Partition(t, dev, 1), "--output", image, "--logfile", image+".log").CombinedOutput()
	detach()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Logf("partclone captures nothing: %s", lines[max(len(lines)-3, 0)])
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	file := labTarget(t, info.Size())
	labTable(t, file, 512, "label: gpt\nsize=+\n")
	target := lab.Loop(t, file, 512)
	part := lab.Partition(t, target, 1)
	lab.Run(t, "partclone.restore", "--source", image, "--output", part, "--logfile", image+".log")
	dir := t.TempDir()
	if out, err := exec.Command("mount", part, dir).CombinedOutput(); err != nil {
		t.Logf("partclone: nothing can be mounted: %s", out)
		return
	}
	defer lab.Unmount(t, dir)
	lost := 0
	for name, digest := range labMarkedAsCan(dir, marked) {
		if digest != marked[name] {
			lost++
		}
	}
	t.Logf("partclone: %d of %d flushed files are lost", lost, len(marked))
}

// labMarkedAsCan returns the digests of the marked files below dir, which may
// be unreadable.
func labMarkedAsCan(dir string, marked map[string]string) map[string]string {
	tree := map[string]string{}
	for name := range marked {
		out, _ := exec.Command("sha256sum", filepath.Join(dir, name)).Output()
		digest, _, _ := strings.Cut(string(out), " ")
		tree[name] = digest
	}
	return tree
}
