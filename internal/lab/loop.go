package lab

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// Loop attaches the file at path to a loop device with sectors of the given
// size, makes the kernel know its partitions, and returns the device. It is
// detached when the test ends.
func Loop(t testing.TB, path string, sectorSize int) string {
	t.Helper()
	dev, _ := Attach(t, path, sectorSize)
	return dev
}

// Attach is [Loop] for a device that may be detached before the test ends.
func Attach(t testing.TB, path string, sectorSize int) (dev string, detach func()) {
	t.Helper()
	dev = strings.TrimSpace(Run(t, "losetup", "--find", "--show", "--partscan",
		"--sector-size", fmt.Sprint(sectorSize), path))
	var once sync.Once // the number may be somebody else's afterwards
	detach = func() {
		once.Do(func() {
			if out, err := exec.Command("losetup", "--detach", dev).CombinedOutput(); err != nil {
				t.Errorf("losetup --detach %s: %v\n%s", dev, err, out)
			}
		})
	}
	t.Cleanup(detach)
	scan(dev)
	return dev, detach
}

// scan makes the kernel know the partitions of a disk as its table has them
// now. partx reads the table itself, so that this works where the kernel was
// built without the parsers that losetup --partscan asks for. It fails where
// there is no table, and tells of a failure where the kernel does not want to
// know an extended partition: of sectors of 4 KiB.
func scan(dev string) {
	_ = exec.Command("partx", "--delete", dev).Run()
	_ = exec.Command("partx", "--add", dev).Run()
}

// Partition returns the node of partition n of the loop device dev, as its
// table is now.
func Partition(t testing.TB, dev string, n int) string {
	t.Helper()
	scan(dev)
	node := fmt.Sprintf("%sp%d", dev, n)
	if _, err := os.Stat(node); err != nil {
		t.Fatal(err)
	}
	return node
}
