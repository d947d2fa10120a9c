package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// A restore that is killed leaves no partition table, neither its own nor the
// old one, unless all else is on the target. Starting again finishes it.
func TestRootLabKilledRestore(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid", "zstd", "mkfs.ext4", "e2fsck")
	program := labBinary(t)
	path, tree := labHeavyDisk(t, 100)
	image := filepath.Join(t.TempDir(), "disk.img.zst")
	lab.Run(t, program, "capture", path, image)
	sectors := labTableSectors(t, path)
	file := labTarget(t, 320*mib)
	target := lab.Loop(t, file, 512)

	total, _ := labKilled(t, math.MaxInt64, program, "restore", "--yes", "--quiet", image, target)
	killed, tables := 0, 0
	const kills = 24
	for i := range kills {
		labTable(t, file, 512, fmt.Sprintf("label: gpt\nsize=%dMiB\nsize=+", 20+i)) // somebody else's
		if _, err := partition.Read(labOpen(t, file), 320*mib, 512); err != nil {
			t.Fatal(err)
		}
		at := 3*mib + (total-4*mib)*int64(i)/16
		if i >= 16 { // the end, where the table is written: two times 16.5 KiB and a sector
			at = total - int64(kills-i)*5<<10
		}
		if _, hit := labKilled(t, at, program, "restore", "--yes", "--quiet", image, target); !hit {
			lab.Run(t, program, "verify", image, target)
			continue
		}
		killed++
		if labFindsTable(t, target) {
			tables++
			if err := labCompare(t, image, file, sectors); err != nil {
				t.Errorf("killed after %d bytes: there is a table, and %v", at, err)
			}
		}
		if i%3 == 0 {
			lab.Run(t, program, append([]string{"restore", "--yes", image, target}, [][]string{nil, {"--delta"}}[i/3%2]...)...)
			lab.Run(t, program, "verify", image, target)
			labWantTable(t, target, "gpt")
		}
	}
	t.Logf("%d of %d restores were killed before their end, %d of them with a table", killed, kills, tables)
	if killed < 15 {
		t.Errorf("only %d restores were killed before their end", killed)
	}
	lab.Run(t, program, "restore", "--yes", "--delta", image, target)
	labWantTable(t, target, "gpt")
	lab.Run(t, "e2fsck", "-fn", lab.Partition(t, target, 2))
	lab.SameTree(t, labMount("ext4").tree(t, lab.Partition(t, target, 2)), tree)
}

// Without a table it is the file system itself that nobody finds before all of
// it is there, nor the old one.
func TestRootLabKilledAlone(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "blkid", "zstd", "mkfs.ext4", "mkfs.xfs")
	program, path, file := labBinary(t), lab.File(t, 200*mib), labTarget(t, 330*mib)
	lab.Run(t, "mkfs.ext4", "-q", "-L", "new", path)
	source, detach := lab.Attach(t, path, 512)
	labMount("ext4").fill(t, source, 40*mib)
	detach()
	image := labCapture(t, path)
	target := lab.Loop(t, file, 512)
	total, _ := labKilled(t, math.MaxInt64, program, "restore", "--yes", "--quiet", image, target)
	killed := 0
	for i := range int64(10) {
		lab.Run(t, "mkfs.xfs", "-q", "-f", "-L", "old", file)
		at := 2*mib + (total-2*mib)*i/8
		if i >= 8 {
			at = total - (i-7)*2048
		}
		_, hit := labKilled(t, at, program, "restore", "--yes", "--quiet", image, target)
		if hit {
			killed++
		}
		if kind := labProbe(target, "TYPE"); kind != "" {
			if err := labCompare(t, image, file, nil); err != nil {
				t.Errorf("killed after %d bytes: there is an %s, and %v", at, kind, err)
			}
		}
	}
	if killed < 5 {
		t.Errorf("only %d restores were killed before their end", killed)
	}
}

// labHeavyDisk makes a disk of which some MiB do not compress, and an ext4 with
// half as much.
func labHeavyDisk(t testing.TB, size int64) (path string, tree map[string]string) {
	t.Helper()
	path = labDisk(t, (size+200)*mib, 512, fmt.Sprintf("label: gpt\nsize=%dMiB\nsize=+\n", size))
	dev, detach := lab.Attach(t, path, 512)
	defer detach()
	labRandom(t, lab.Partition(t, dev, 1), size*mib)
	part := lab.Partition(t, dev, 2)
	lab.Run(t, "mkfs.ext4", "-q", part)
	return path, labMount("ext4").fill(t, part, size/2*mib)
}

func labOpen(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// labTableSectors returns where the table of the disk in a file is.
func labTableSectors(t testing.TB, path string) partition.Extents {
	t.Helper()
	f := labOpen(t, path)
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	table, err := partition.Read(f, size, 512)
	if err != nil {
		t.Fatal(err)
	}
	return table.Sectors()
}

// labKilled starts a program, kills it as soon as it has written n bytes, and
// tells how many that were and whether that was before its end.
func labKilled(t testing.TB, n int64, program string, args ...string) (written int64, hit bool) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // received below
	for written < n {
		written = max(written, labWritten(cmd.Process.Pid))
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v: %s", err, &stderr)
			}
			return written, false
		default:
			runtime.Gosched()
		}
	}
	_ = cmd.Process.Kill() // it may be gone
	err := <-ended
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != -1 {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return written, err != nil
}

var labWchar = regexp.MustCompile(`(?m)^wchar: (\d+)$`)

// labWritten returns how many bytes a process has written (proc_pid_io(5)).
func labWritten(pid int) int64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "io"))
	if err != nil {
		return 0
	}
	found := labWchar.FindSubmatch(text)
	if found == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(found[1]), 10, 64)
	return n
}

// labFindsTable tells whether anybody finds a partition table on dev.
func labFindsTable(t testing.TB, dev string) bool {
	t.Helper()
	f := labOpen(t, dev)
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	table, err := partition.Read(f, size, 512)
	ours := err != nil || table.Kind != partition.None
	sfdisk := exec.Command("sfdisk", "--dump", dev).Run() == nil
	return ours || sfdisk || labProbe(dev, "PTTYPE") != ""
}
