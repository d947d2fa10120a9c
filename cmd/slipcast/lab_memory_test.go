package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"slipcast/internal/lab"
)

// labMeasure runs a program, fails the test if it took more memory or time
// than is promised, and tells what it took.
func labMeasure(t testing.TB, what, program string, args ...string) {
	t.Helper()
	const memory, patience = 64 << 10, 2 * time.Minute // KiB
	var out bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // received below
	peak, err := labPeak(cmd.Process.Pid, ended)
	took := time.Since(began)
	if err != nil {
		t.Fatalf("%s: %v\n%s", what, err, &out)
	}
	t.Logf("%s: %v, %d KiB of memory", what, took.Round(10*time.Millisecond), peak)
	if peak > memory || took > patience {
		t.Errorf("%s took %v and %d KiB, want at most %v and %d KiB", what, took, peak, patience, memory)
	}
}

var labHWM = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// labPeak returns how much memory a process had at most when it was last
// asked, a moment before its end. What wait(2) tells is no less than what its
// parent has, and that is a test with the race detector.
func labPeak(pid int, ended <-chan error) (peak int64, err error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return peak, err
		case <-tick.C:
		}
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // it may be gone
		if found := labHWM.FindSubmatch(text); found != nil {
			peak, _ = strconv.ParseInt(string(found[1]), 10, 64)
		}
	}
}

// A disk of 1 TiB of which little is in use takes seconds, a small image, and
// as much memory as any other disk.
func TestRootLabHuge(t *testing.T) {
	tests := []struct {
		name, kind, mkfs, fsck string
	}{
		{"ext4", "ext4", "mkfs.ext4 -q -F -J size=64 -E nodiscard", "e2fsck -fn"},
		{"XFS", "xfs", "mkfs.xfs -q -f -K -l size=64m", "xfs_repair -n"},
	}
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4", "mkfs.xfs", "losetup", "zstd", "e2fsck", "xfs_repair")
	slipcast := labBinary(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := labMemoryDir(t)
			disk, image, target := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.img.zst"), filepath.Join(dir, "target.raw")
			if err := os.WriteFile(disk, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(disk, 1<<40); err != nil {
				t.Fatal(err)
			}
			dev, detach := lab.Attach(t, disk, 512)
			args := labProgram(tt.mkfs, dev)
			lab.Run(t, args[0], args[1:]...)
			want := labFillHuge(t, dev)
			detach()
			labMeasure(t, "capture", slipcast, "capture", disk, image)
			used, _ := labManifest(t, image)
			t.Logf("%d bytes are in use, the disk takes %d, the image %d", used.Size(), labAllocated(t, disk), labAllocated(t, image))
			if got := labAllocated(t, image); got > 512*mib+40*mib+used.Size()/1000 {
				t.Errorf("the image has %d bytes", got)
			}
			labMeasure(t, "verify", slipcast, "verify", image)
			labMeasure(t, "restore", slipcast, "restore", "--yes", image, target)
			if got, had := labAllocated(t, target), labAllocated(t, disk); got > had+had/8+64*mib {
				t.Errorf("the new disk takes %d bytes, the old one %d", got, had)
			}
			labMeasure(t, "verify target", slipcast, "verify", image, target)
			labMeasure(t, "restore --delta", slipcast, "restore", "--yes", "--delta", image, target)
			dev = lab.Loop(t, target, 512)
			args = labProgram(tt.fsck, dev)
			lab.Run(t, args[0], args[1:]...)
			lab.SameTree(t, labMount(tt.kind).tree(t, dev), want)
		})
	}
}

// labFillHuge fills the file system on dev with 1 GiB, half of which does not
// compress.
func labFillHuge(t testing.TB, dev string) map[string]string {
	t.Helper()
	dir := lab.Mount(t, dev)
	defer lab.Unmount(t, dir)
	lab.Fill(t, dir, 8*mib, 5)
	for name, from := range map[string]string{"random": "/dev/urandom", "zero": "/dev/zero"} {
		lab.Run(t, "dd", "if="+from, "of="+filepath.Join(dir, name), "bs=1M", "count=500", "status=none")
	}
	return lab.Tree(t, dir)
}

// labMemoryDir returns a directory in memory, if there is one, that is removed
// when the test ends.
func labMemoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "slipcast-lab-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
