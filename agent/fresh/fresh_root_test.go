package fresh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
	"slipcast/partition"
)

const mib = 1 << 20

// A disk is a loop device with a GPT.
type disk struct {
	dev, file string
}

// newDisk makes a disk with a partition for each size in MiB and type code of
// sgdisk, as in "64 ef00".
func newDisk(t *testing.T, parts ...string) disk {
	t.Helper()
	lab.Root(t)
	lab.Tools(t, "sgdisk", "losetup", "partx")
	args := []string{"--clear"}
	total := int64(4)
	for i, p := range parts {
		var size int64
		var code string
		if _, err := fmt.Sscan(p, &size, &code); err != nil {
			t.Fatal(err)
		}
		args = append(args, fmt.Sprintf("--new=%d:0:+%dM", i+1, size), fmt.Sprintf("--typecode=%d:%s", i+1, code))
		total += size
	}
	d := disk{file: lab.File(t, total*mib)}
	lab.Run(t, "sgdisk", append(args, d.file)...)
	d.dev = lab.Loop(t, d.file, 512)
	return d
}

func (d disk) table(t *testing.T) *partition.Table {
	t.Helper()
	f, err := os.Open(d.file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	table, err := partition.Read(f, st.Size(), 512)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// run calls Run for pc1.
func (d disk) run(t *testing.T) (Result, error) {
	t.Helper()
	return Run(t.Context(), Options{Disk: d.dev, Table: d.table(t), Hostname: "pc1", Fresh: true, Answer: answer, Arch: "x64"})
}

// knows skips the test on a kernel without a file system.
func knows(t *testing.T, fsType string) {
	t.Helper()
	fd, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENODEV) {
		lab.Lacks(t, fsType)
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
}

// tree returns what is on a device, and tests with check what is mounted.
func tree(t *testing.T, node string, check func(dir string), options ...string) map[string]string {
	t.Helper()
	dir := lab.Mount(t, node, options...)
	got := lab.Tree(t, dir)
	delete(got, "lost+found")
	if check != nil {
		check(dir)
	}
	lab.Unmount(t, dir)
	return got
}

func TestRootFreshLinux(t *testing.T) {
	lab.Root(t)
	tests := []struct {
		fsType     string
		size       int
		mkfs, fsck []string
	}{
		{"ext4", 40, []string{"mkfs.ext4", "-q"}, []string{"e2fsck", "-fn"}},
		{"ext2", 40, []string{"mkfs.ext2", "-q"}, []string{"e2fsck", "-fn"}},
		{"xfs", 310, []string{"mkfs.xfs", "-q"}, []string{"xfs_repair", "-n"}},
		{"btrfs", 128, []string{"mkfs.btrfs", "-q"}, []string{"btrfs", "check", "--readonly"}},
	}
	for _, tt := range tests {
		t.Run(tt.fsType, func(t *testing.T) {
			lab.Tools(t, tt.mkfs[0], tt.fsck[0])
			d := newDisk(t, fmt.Sprint(tt.size, " 8300"))
			node := lab.Partition(t, d.dev, 1)
			lab.Run(t, tt.mkfs[0], append(tt.mkfs[1:], node)...)
			dir := lab.Mount(t, node)
			lab.Plant(t, dir, linux())
			label(t, dir)
			lab.Fill(t, filepath.Join(dir, "srv"), 3*mib, 1)
			lab.Unmount(t, dir)
			before := tree(t, node, nil)
			for range 2 {
				got, err := d.run(t)
				if err != nil || !strings.Contains(fmt.Sprint(got.Notes), "no Windows system was found") || len(got.Notes) != 1 {
					t.Fatalf("Run = %+v, %v", got, err)
				}
			}
			lab.Run(t, tt.fsck[0], append(tt.fsck[1:], node)...)
			after := tree(t, node, func(dir string) { checkIdentity(t, dir); checkLabel(t, dir) })
			sameButNamed(t, after, before)
		})
	}
}

// label gives the host key an owner, a mode and the label of SELinux, and
// the folder /etc a label that a new file in it gets.
func label(t *testing.T, dir string) {
	t.Helper()
	key := filepath.Join(dir, "etc/ssh/ssh_host_rsa_key")
	err := errors.Join(
		os.Chown(key, 0, 997), os.Chmod(key, 0o640),
		unix.Setxattr(key, "security.selinux", []byte("system_u:object_r:sshd_key_t:s0\x00"), 0),
	)
	if err != nil {
		t.Fatal(err)
	}
}

func checkLabel(t *testing.T, dir string) {
	t.Helper()
	key := filepath.Join(dir, "etc/ssh/ssh_host_rsa_key")
	var st unix.Stat_t
	if err := unix.Stat(key, &st); err != nil || st.Gid != 997 || st.Mode != unix.S_IFREG|0o640 {
		t.Errorf("the key has group %d and mode %o, %v, want 997 and 640", st.Gid, st.Mode, err)
	}
	p := make([]byte, 100)
	n, err := unix.Getxattr(key, "security.selinux", p)
	if want := "system_u:object_r:sshd_key_t:s0\x00"; err != nil || string(p[:n]) != want {
		t.Errorf("the key has the label %q, %v, want %q", p[:max(n, 0)], err, want)
	}
}

// The systems of a btrfs are the default subvolume and those with the names
// that installers use; snapshots stay as they are.
func TestRootFreshSubvolumes(t *testing.T) {
	d := newDisk(t, "160 8300")
	lab.Tools(t, "mkfs.btrfs", "btrfs")
	node := lab.Partition(t, d.dev, 1)
	lab.Run(t, "mkfs.btrfs", "-q", node)
	top := lab.Mount(t, node)
	for _, name := range []string{"@", "snapshot", "default"} {
		lab.Run(t, "btrfs", "subvolume", "create", filepath.Join(top, name))
		lab.Plant(t, filepath.Join(top, name), linux())
	}
	lab.Plant(t, filepath.Join(top, "root"), linux()) // a folder, and no subvolume
	lab.Run(t, "btrfs", "subvolume", "set-default", filepath.Join(top, "default"))
	lab.Unmount(t, top)
	before := tree(t, node, nil, "-o", "subvolid=5")
	got, err := d.run(t)
	if err != nil {
		t.Fatal(err)
	}
	after := tree(t, node, func(dir string) {
		checkIdentity(t, filepath.Join(dir, "@"))
		checkIdentity(t, filepath.Join(dir, "default"))
	}, "-o", "subvolid=5")
	for path := range before {
		name, rest, _ := strings.Cut(path, "/")
		if (name == "snapshot" || name == "root") && after[path] != before[path] {
			t.Errorf("%s of %s was touched", rest, name)
		}
	}
	if all := strings.Join(got.Changed, "\n"); !strings.Contains(all, "partition 1: etc/hostname") || !strings.Contains(all, "partition 1: @/etc/hostname") {
		t.Errorf("changed %q, want the default subvolume and @", got.Changed)
	}
}

// A volume without a system is not written to, whatever is on it.
func TestRootFreshOthers(t *testing.T) {
	d := newDisk(t, "40 8300", "8 8300", "8 8200")
	data := lab.Partition(t, d.dev, 1)
	lab.Run(t, "mkfs.ext4", "-q", data)
	dir := lab.Mount(t, data)
	lab.Plant(t, dir, map[string]string{"home/user/etc/passwd": "x", "etc/nothing": "x"})
	lab.Unmount(t, dir)
	if err := os.WriteFile(lab.Partition(t, d.dev, 2), []byte("LUKS\xba\xbe\x00\x02"), 0); err != nil {
		t.Fatal(err)
	}
	// An ext4 that is none: its magic alone.
	bad := make([]byte, 2048)
	copy(bad[1080:], "\x53\xef")
	if err := os.WriteFile(lab.Partition(t, d.dev, 3), bad, 0); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	before := read(t, d.file)
	got, err := d.run(t)
	if err != nil || len(got.Changed) > 0 || got.Loader != nil {
		t.Errorf("Run = %+v, %v, want no change", got, err)
	}
	notes := strings.Join(got.Notes, "\n")
	for _, want := range []string{"partition 2: LUKS", "partition 3: ext4: mounting", "no Linux system was found", "no Windows system was found"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes are %q, without %q", got.Notes, want)
		}
	}
	unix.Sync()
	if read(t, d.file) != before {
		t.Error("the disk was written to")
	}
}

// What is asked for and cannot be written is an error.
func TestRootFreshReadOnly(t *testing.T) {
	d := newDisk(t, "40 8300")
	node := lab.Partition(t, d.dev, 1)
	lab.Run(t, "mkfs.ext4", "-q", node)
	dir := lab.Mount(t, node)
	lab.Plant(t, dir, linux())
	lab.Unmount(t, dir)
	lab.Run(t, "tune2fs", "-O", "read-only", node)
	got, err := d.run(t)
	if want := "partition 1: the system in it cannot be changed: read-only file system"; err == nil || !strings.HasSuffix(err.Error(), want) || len(got.Changed) > 0 {
		t.Errorf("Run = %+v, %v, want %q", got, err, want)
	}
}

func TestRootFreshMounted(t *testing.T) {
	d := newDisk(t, "40 8300")
	node := lab.Partition(t, d.dev, 1)
	lab.Run(t, "mkfs.ext4", "-q", node)
	dir := lab.Mount(t, node)
	lab.Plant(t, dir, linux())
	before := lab.Tree(t, dir)
	if got, err := d.run(t); err == nil || len(got.Changed) > 0 {
		t.Errorf("Run = %+v, %v, want that it is mounted", got, err)
	}
	lab.SameTree(t, lab.Tree(t, dir), before)
}

func TestRootFreshCancelled(t *testing.T) {
	d := newDisk(t, "40 8300")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{Disk: d.dev, Table: d.table(t), Fresh: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want %v", err, context.Canceled)
	}
}

func TestRootFreshLoader(t *testing.T) {
	lab.Root(t)
	knows(t, "vfat")
	d := newDisk(t, "40 8300", "40 ef00")
	node := lab.Partition(t, d.dev, 2)
	lab.Run(t, "mkfs.fat", node)
	dir := lab.Mount(t, node, "-o", "iocharset=ascii")
	lab.Plant(t, dir, map[string]string{"EFI/debian/shimx64.efi": "x", "EFI/debian/grubx64.efi": "x", "EFI/BOOT/BOOTX64.EFI": "x"})
	lab.Unmount(t, dir)
	p := d.table(t).Partitions[1]
	before := read(t, d.file)
	got, err := d.run(t)
	want := Loader{Partition: 2, Start: p.Start / 512, Size: 40 * mib / 512, GUID: strings.ToLower(p.UUID), File: `\EFI\debian\shimx64.efi`}
	if err != nil || got.Loader == nil || *got.Loader != want {
		t.Errorf("Run = %+v, %v, want %+v", got.Loader, err, want)
	}
	unix.Sync()
	if read(t, d.file) != before {
		t.Error("the disk was written to")
	}
}

func TestRootFreshAnswer(t *testing.T) {
	lab.Root(t)
	knows(t, "ntfs3")
	d := newDisk(t, "64 0700")
	lab.Tools(t, "mkfs.ntfs")
	node := lab.Partition(t, d.dev, 1)
	lab.Run(t, "mkfs.ntfs", "-q", "-F", "-Q", node)
	dir := lab.Mount(t, node, "-t", "ntfs3")
	lab.Plant(t, dir, map[string]string{"Windows/System32/x": "x", "Windows/Panther/UNATTEND.XML": "old"})
	lab.Unmount(t, dir)
	for range 2 {
		got, err := d.run(t)
		if err != nil || len(got.Notes) > 0 {
			t.Errorf("Run = %+v, %v", got, err)
		}
	}
	tree(t, node, func(dir string) {
		if got, want := read(t, dir, "Windows/Panther/UNATTEND.XML"), strings.ReplaceAll(answer, hostnameMark, "pc1"); got != want {
			t.Errorf("the answer file is %q, want %q", got, want)
		}
	}, "-t", "ntfs3")
	lab.Tools(t, "ntfsfix")
	lab.Run(t, "ntfsfix", node) // marks it dirty
	got, err := d.run(t)
	if err != nil || len(got.Changed) > 0 || !strings.Contains(fmt.Sprint(got.Notes), "a dirty one") {
		t.Errorf("Run = %+v, %v, want a note that it is dirty", got, err)
	}
}
