package blockdev

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

const mib = 1 << 20

// refusals opens path as a target and as a source and compares the Reasons.
func refusals(t *testing.T, path string, wantTarget, wantSource Reason, keep ...string) {
	t.Helper()
	d, err := OpenTarget(path, TargetOptions{Keep: keep})
	if err == nil {
		d.Close()
	}
	if got := reasonOf(t, err); got != wantTarget {
		t.Errorf("%s as target: got %q (%v), want %q", path, got, err, wantTarget)
	}
	d, err = OpenSource(path)
	if err == nil {
		d.Close()
	}
	if got := reasonOf(t, err); got != wantSource {
		t.Errorf("%s as source: got %q (%v), want %q", path, got, err, wantSource)
	}
}

// partedDisk makes a loop device with two partitions of 20 MiB. The kernel is
// told of them, since not every kernel knows how to read a table.
func partedDisk(t *testing.T) string {
	t.Helper()
	lab.Tools(t, "losetup")
	disk := lab.Loop(t, lab.File(t, 64*mib), 512)
	d, err := OpenTarget(disk, TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.AddPartitions(twoParts()); err != nil {
		t.Fatal(err)
	}
	return disk
}

// twoParts are the partitions of partedDisk.
func twoParts() []Range {
	return []Range{{Number: 1, Start: mib, Size: 20 * mib}, {Number: 2, Start: 21 * mib, Size: 20 * mib}}
}

func TestRootMounted(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4")
	disk := partedDisk(t)
	part := PartitionPath(disk, 1)
	lab.Run(t, "mkfs.ext4", "-q", part)
	refusals(t, disk, "", "")
	refusals(t, part, "", "")
	dir := lab.Mount(t, part)
	refusals(t, disk, Mounted, Mounted)
	refusals(t, part, Mounted, Mounted)
	refusals(t, PartitionPath(disk, 2), "", "")
	_, err := OpenTarget(disk, TargetOptions{})
	if want := disk + " is mounted on " + dir; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	info, err := Stat(part)
	if err != nil || !slices.Equal(info.Mounts, []string{dir}) || info.Parent != disk || info.Number != 1 || info.Start != mib {
		t.Errorf("got %+v, %v", info, err)
	}
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refusals(t, disk, Holds, Mounted, image)
	lab.Unmount(t, dir)
	refusals(t, disk, "", "")
}

// A mount in another namespace is in no table that we can read.
func TestRootMountedElsewhere(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4", "unshare")
	disk := lab.Loop(t, lab.File(t, 16*mib), 512)
	lab.Run(t, "mkfs.ext4", "-q", disk)
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount "$0" "$1" && echo mounted && read line`, disk, t.TempDir())
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := cmd.Start(); err1 != nil || err2 != nil || err != nil {
		t.Fatal(err1, err2, err)
	}
	defer func() { stdin.Close(); cmd.Wait() }()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	refusals(t, disk, Busy, Busy)
}

func TestRootSwap(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkswap", "swapon", "swapoff")
	disk := partedDisk(t)
	part := PartitionPath(disk, 2)
	lab.Run(t, "mkswap", part)
	lab.Run(t, "swapon", part)
	t.Cleanup(func() { _ = exec.Command("swapoff", part).Run() })
	refusals(t, disk, Swap, Swap)
	refusals(t, part, Swap, Swap)
	refusals(t, PartitionPath(disk, 1), "", "")
	lab.Run(t, "swapoff", part)
	refusals(t, disk, "", "")
}

func TestRootReadOnly(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "blockdev")
	dev := strings.TrimSpace(lab.Run(t, "losetup", "--find", "--show", "--read-only", lab.File(t, mib)))
	t.Cleanup(func() { lab.Run(t, "losetup", "--detach", dev) })
	refusals(t, dev, ReadOnly, "")
	disk := partedDisk(t)
	lab.Run(t, "blockdev", "--setro", disk)
	defer lab.Run(t, "blockdev", "--setrw", disk) // it would outlive the loop device
	refusals(t, disk, ReadOnly, "")
	refusals(t, PartitionPath(disk, 1), ReadOnly, "")
}

func TestRootBusy(t *testing.T) {
	lab.Root(t)
	disk := partedDisk(t)
	f, err := os.OpenFile(PartitionPath(disk, 1), os.O_RDONLY|os.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	refusals(t, disk, Busy, Busy)
	refusals(t, PartitionPath(disk, 1), Busy, Busy)
	refusals(t, PartitionPath(disk, 2), "", "")
}

// An open Device keeps others away: mount, swapon, and a second Device.
func TestRootClaim(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4")
	disk := lab.Loop(t, lab.File(t, 16*mib), 512)
	lab.Run(t, "mkfs.ext4", "-q", disk)
	for name, open := range map[string]func() (*Device, error){
		"source": func() (*Device, error) { return OpenSource(disk) },
		"target": func() (*Device, error) { return OpenTarget(disk, TargetOptions{}) },
	} {
		d, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", disk, t.TempDir()).CombinedOutput(); err == nil {
			t.Errorf("%s: could be mounted: %s", name, out)
		}
		refusals(t, disk, Busy, Busy)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	refusals(t, disk, "", "")
}

// A loop device on a loop device on a file.
func TestRootLoops(t *testing.T) {
	lab.Root(t)
	file := lab.File(t, 16*mib)
	lower := lab.Loop(t, file, 512)
	refusals(t, file, InUse, "")
	upper := lab.Loop(t, lower, 512)
	refusals(t, lower, InUse, "")
	refusals(t, upper, "", "")
	refusals(t, upper, Holds, "", file)
	refusals(t, upper, Holds, "", lower)
	info, err := Stat(lower)
	want := []string{strings.TrimPrefix(upper, "/dev/")}
	if err != nil || !reflect.DeepEqual(info.Holders, want) || info.Model != "loop: "+file || info.Transport != "loop" {
		t.Errorf("got %+v, %v, want holders %q", info, err, want)
	}
	lab.Tools(t, "mkfs.ext4")
	lab.Run(t, "mkfs.ext4", "-q", upper)
	lab.Mount(t, upper)
	for _, path := range []string{file, lower, upper} {
		want := Mounted
		if path == file {
			want = InUse
		}
		refusals(t, path, want, Mounted)
	}
}

// A source under an attached loop device is shared with it, but not with a
// mount that is out of sight.
func TestRootSharedSource(t *testing.T) {
	lab.Root(t)
	lower := lab.Loop(t, lab.File(t, 16*mib), 512)
	upper := lab.Loop(t, lower, 512)
	d, err := OpenSource(lower)
	if err != nil {
		t.Fatal(err)
	}
	refusals(t, upper, Busy, Busy) // claimed by the source below
	d.Close()
	f, err := os.OpenFile(upper, os.O_RDONLY|os.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	refusals(t, lower, InUse, Busy)
}

func TestRootBtrfsMembers(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.btrfs", "btrfs")
	a, b := lab.Loop(t, lab.File(t, 128*mib), 512), lab.Loop(t, lab.File(t, 128*mib), 512)
	lab.Run(t, "mkfs.btrfs", "-q", "-f", a, b)
	lab.Run(t, "btrfs", "device", "scan", a, b)
	t.Cleanup(func() { _ = exec.Command("btrfs", "device", "scan", "--forget").Run() })
	dir := lab.Mount(t, a)
	refusals(t, a, Mounted, Mounted)
	refusals(t, b, Mounted, Mounted)
	sub := filepath.Join(dir, "sub")
	lab.Run(t, "btrfs", "subvolume", "create", sub)
	s, err := thisMachine().load()
	if err != nil {
		t.Fatal(err)
	}
	names, err := s.foundation(sub)
	for _, dev := range []string{a, b} {
		if name := strings.TrimPrefix(dev, "/dev/"); err != nil || !slices.Contains(names, name) {
			t.Errorf("a subvolume lies on %q, %v, want %s among them", names, err, name)
		}
	}
	lab.Unmount(t, dir)
}

// What a live system does: an overlay over an image in a loop device whose
// file is on a disk. The system is on that disk.
func TestRootOverlay(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4")
	disk := partedDisk(t)
	part := PartitionPath(disk, 1)
	lab.Run(t, "mkfs.ext4", "-q", part)
	stick := lab.Mount(t, part)
	image := filepath.Join(stick, "root.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 4*mib); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "mkfs.ext4", "-q", "-O", "^has_journal", image)
	lower := lab.Mount(t, lab.Loop(t, image, 512), "-o", "ro")
	rw := t.TempDir()
	for _, name := range []string{"u", "w"} {
		if err := os.Mkdir(filepath.Join(rw, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	root := lab.Mount(t, "overlay", "-t", "overlay", "-o", "lowerdir="+lower+",upperdir="+rw+"/u,workdir="+rw+"/w")
	s, err := thisMachine().load()
	if err != nil {
		t.Fatal(err)
	}
	names, err := s.foundation(root)
	for _, dev := range []string{disk, part} {
		if err != nil || !s.overlaps(strings.TrimPrefix(dev, "/dev/"), names) {
			t.Errorf("the overlay lies on %q, %v; %s is not part of that", names, err, dev)
		}
	}
	if other := strings.TrimPrefix(PartitionPath(disk, 2), "/dev/"); s.overlaps(other, names) {
		t.Errorf("the overlay lies on %q; %s is part of that", names, other)
	}
	lab.Unmount(t, root)
	lab.Unmount(t, lower)
}

func TestRootSystemDisk(t *testing.T) {
	lab.Root(t)
	s, err := thisMachine().load()
	if err != nil {
		t.Fatal(err)
	}
	names, err := s.foundation("/")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		lab.Lacks(t, "a system disk: / is in memory")
	}
	direct, disks := s.below(names...)
	for _, name := range append(sortedKeys(direct), sortedKeys(disks)...) {
		refusals(t, "/dev/"+s.nodes[name].devName, SystemDisk, Mounted)
	}
}

// Nodes can be made anywhere and by any name; the number counts.
func TestRootNodeElsewhere(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4")
	disk := lab.Loop(t, lab.File(t, 16*mib), 512)
	id, err := statPath(disk)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	node, gone := filepath.Join(dir, "node"), filepath.Join(dir, "gone")
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(id.rdev)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(gone, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 250))); err != nil {
		t.Fatal(err)
	}
	refusals(t, node, SameFile, "", disk)
	info, err := Stat(node)
	if err != nil || info.Device != disk || info.Path != node {
		t.Errorf("got %+v, %v", info, err)
	}
	_, err = OpenTarget(gone, TargetOptions{})
	if got := reasonOf(t, err); got != Missing {
		t.Errorf("a node without device: got %q, want %q", got, Missing)
	}
	lab.Run(t, "mkfs.ext4", "-q", disk)
	lab.Mount(t, disk)
	refusals(t, node, Mounted, Mounted)
}

func TestRootReadOnlyFileSystem(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4")
	disk := lab.Loop(t, lab.File(t, 16*mib), 512)
	lab.Run(t, "mkfs.ext4", "-q", disk)
	dir := lab.Mount(t, disk)
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "mount", "-o", "remount,ro", dir)
	for _, path := range []string{old, filepath.Join(dir, "new")} {
		_, err := OpenTarget(path, TargetOptions{})
		if got := reasonOf(t, err); got != ReadOnly {
			t.Errorf("%s: got %q, want %q", path, got, ReadOnly)
		}
	}
}

func TestRootDevtmpfs(t *testing.T) {
	lab.Root(t)
	dir := lab.Mount(t, "dev", "-t", "devtmpfs")
	path := filepath.Join(dir, "slipcast-no-such-disk")
	_, err := OpenTarget(path, TargetOptions{})
	if got := reasonOf(t, err); got != Missing {
		t.Errorf("got %q, want %q", got, Missing)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	_, err = OpenTarget(path, TargetOptions{})
	if got := reasonOf(t, err); got != WrongKind {
		t.Errorf("a file that is there: got %q, want %q", got, WrongKind)
	}
}

// linear makes a device mapper device of 10 MiB over the start of another.
func linear(t *testing.T, lower, name string) string {
	t.Helper()
	lab.Run(t, "dmsetup", "create", name, "--table", "0 20480 linear "+lower+" 0")
	t.Cleanup(func() { lab.Run(t, "dmsetup", "remove", "--retry", name) })
	return "/dev/mapper/" + name
}

// Two layers of device mapper, as LVM on dm-crypt has them.
func TestRootDeviceMapper(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "dmsetup", "mkfs.ext4")
	if out, err := exec.Command("dmsetup", "targets").CombinedOutput(); err != nil {
		lab.Lacks(t, fmt.Sprintf("device mapper: %s", out))
	}
	t.Setenv("DM_DISABLE_UDEV", "1") // so that dmsetup makes the nodes where udev does not run
	disk := partedDisk(t)
	part := PartitionPath(disk, 1)
	name := "slipcast-" + strings.TrimPrefix(disk, "/dev/")
	lower := linear(t, part, name)
	upper := linear(t, lower, name+"-upper")
	refusals(t, disk, InUse, "")
	refusals(t, part, InUse, "")
	refusals(t, lower, InUse, "")
	refusals(t, upper, "", "")
	refusals(t, upper, Holds, "", part)
	refusals(t, PartitionPath(disk, 2), "", "")
	info, err := Stat(disk)
	if err != nil || len(info.Holders) != 2 || !strings.HasSuffix(info.Holders[0], " ("+name+")") {
		t.Errorf("got %+v, %v", info, err)
	}
	d, err := OpenSource(disk)
	if err != nil {
		t.Fatal(err)
	}
	refusals(t, upper, Busy, Busy) // claimed by the source below
	d.Close()
	lab.Run(t, "mkfs.ext4", "-q", upper)
	dir := lab.Mount(t, upper)
	for _, path := range []string{disk, part, lower, upper} {
		refusals(t, path, Mounted, Mounted)
	}
	lab.Unmount(t, dir)
}
