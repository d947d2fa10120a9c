package blockdev

import (
	"errors"
	"io/fs"
	"reflect"
	"testing"
)

// noMounts is the mountinfo of a machine that runs from its initramfs: what is
// mounted is no disk.
const noMounts = "1 1 0:2 / / rw - rootfs rootfs rw\n20 1 0:20 / /proc rw - proc proc rw\n21 1 0:6 / /dev rw - devtmpfs dev rw\n"

// verdicts checks a table of targets by path; an empty Reason means that the
// target is good.
func verdicts(t *testing.T, s *state, want map[string]Reason) {
	t.Helper()
	for path, reason := range want {
		if got := s.verdict(t, path); got != reason {
			t.Errorf("%s: got %q, want %q", path, got, reason)
		}
	}
}

// system is a fixture's files for a system on the device with the number dev.
func system(dev string) map[string]string {
	return map[string]string{"/": dev + " 2", "/proc/self/exe": dev + " 77"}
}

func TestSystemOnPartition(t *testing.T) {
	s := fixture{
		devices: `nvme0n1 259:0 size=1000
			nvme0n1p1 259:1 of=nvme0n1 n=1 start=1 size=100
			nvme0n1p2 259:2 of=nvme0n1 n=2 start=101 size=400
			nvme0n1p3 259:3 of=nvme0n1 n=3 start=501 size=400
			nvme0n1p4 259:4 of=nvme0n1 n=4 start=901 size=50
			mmcblk0 179:0 size=100
			mmcblk0p1 179:1 of=mmcblk0 n=1 start=1 size=90
			cciss!c0d0 104:0 size=100 ro=1`,
		mounts: "1 1 259:2 / / rw - ext4 /dev/root rw\n" +
			"2 1 259:1 / /boot/efi rw - vfat /dev/nvme0n1p1 rw\n",
		swaps: "/dev/nvme0n1p4 partition 5 0 -2\n",
		files: system("259:2"),
	}.load(t)
	verdicts(t, s, map[string]Reason{
		"/dev/nvme0n1":    SystemDisk,
		"/dev/nvme0n1p1":  Mounted,
		"/dev/nvme0n1p2":  SystemDisk,
		"/dev/nvme0n1p3":  "", // no byte of the system is in it
		"/dev/nvme0n1p4":  Swap,
		"/dev/mmcblk0":    "",
		"/dev/mmcblk0p1":  "",
		"/dev/cciss/c0d0": ReadOnly,
		"/proc/self/exe":  SameFile,
	})
	for path, want := range map[string]Reason{
		"/dev/nvme0n1": Mounted, "/dev/nvme0n1p3": "", "/dev/nvme0n1p4": Swap, "/dev/cciss/c0d0": "",
	} {
		if got := s.sourceVerdict(t, path); got != want {
			t.Errorf("source %s: got %q, want %q", path, got, want)
		}
	}
}

// The system is on LVM in dm-crypt on an md mirror of two partitions.
func TestSystemOnLayers(t *testing.T) {
	s := fixture{
		devices: `sda 8:0 size=1000
			sda1 8:1 of=sda n=1 start=1 size=100
			sda2 8:2 of=sda n=2 start=101 size=800
			sdb 8:16 size=1000
			sdb1 8:17 of=sdb n=1 start=1 size=900
			sdc 8:32 size=1000
			sdc1 8:33 of=sdc n=1 start=1 size=900
			md0 9:0 size=700 on=sda2,sdb1
			md0p1 259:0 of=md0 n=1 start=1 size=600
			md0p2 259:1 of=md0 n=2 start=601 size=99
			dm-0 252:0 size=500 on=md0p1 dm/name=crypt
			dm-1 252:1 size=200 on=dm-0 dm/name=vg-root
			dm-2 252:2 size=200 on=dm-0 dm/name=vg-spare
			dm-3 252:3 size=200 on=sdc1 dm/name=data`,
		mounts: "1 1 252:1 / / rw - ext4 /dev/mapper/vg-root rw\n",
		files:  system("252:1"),
	}.load(t)
	verdicts(t, s, map[string]Reason{
		"/dev/sda": SystemDisk, "/dev/sda2": SystemDisk, "/dev/sdb": SystemDisk, "/dev/sdb1": SystemDisk,
		"/dev/md0": SystemDisk, "/dev/md0p1": SystemDisk, "/dev/dm-0": SystemDisk, "/dev/dm-1": SystemDisk,
		"/dev/sda1":  "",
		"/dev/md0p2": "",
		"/dev/dm-2":  "", // another volume of the same group
		"/dev/sdc":   InUse,
		"/dev/sdc1":  InUse,
		"/dev/dm-3":  "",
	})
	err := s.checkTarget("/dev/sdc", mustStat(t, s, "/dev/sdc"), TargetOptions{})
	if got, want := err.Error(), "/dev/sdc is in use by dm-3 (data)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := s.sourceVerdict(t, "/dev/sdb"); got != Mounted {
		t.Errorf("source /dev/sdb: got %q, want %q", got, Mounted)
	}
	if got := s.sourceVerdict(t, "/dev/sdc"); got != "" {
		t.Errorf("source /dev/sdc, its volume not mounted: got %q, want none", got)
	}
	if got, want := s.tops(s.above("sdc")), []string{"/dev/dm-3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("tops of sdc: got %q, want %q", got, want)
	}
}

func mustStat(t *testing.T, s *state, path string) fileID {
	t.Helper()
	id, err := s.stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A btrfs has a number of no device; the mount names one of its devices.
func TestSystemOnBtrfs(t *testing.T) {
	s := fixture{
		devices: `sda 8:0 size=1000
			sda1 8:1 of=sda n=1 start=1 size=900
			sdb 8:16 size=1000
			sdb1 8:17 of=sdb n=1 start=1 size=900
			sdc 8:32 size=1000
			sdd 8:48 size=1000`,
		mounts: "30 1 0:30 /@ / rw - btrfs /dev/sda1 rw,subvol=/@\n" +
			"31 30 0:31 / /data rw - btrfs /dev/sdc rw\n",
		btrfs: []string{"sda1 sdb1", "sdc"},
		files: system("0:99"), // a subvolume has a number of its own
	}.load(t)
	verdicts(t, s, map[string]Reason{
		"/dev/sda": SystemDisk, "/dev/sda1": SystemDisk, "/dev/sdb": SystemDisk, "/dev/sdb1": SystemDisk,
		"/dev/sdc": Mounted, "/dev/sdd": "",
	})
}

// A live system: / is an overlay of memory and a squashfs in a loop device,
// whose file is on a stick. The options of the overlay name paths of the
// initramfs.
func TestLiveSystem(t *testing.T) {
	devices := `sda 8:0 size=1000
		sda1 8:1 of=sda n=1 start=1 size=900
		sdb 8:16 size=100
		sdb1 8:17 of=sdb n=1 start=0 size=90
		sdb2 8:18 of=sdb n=2 start=20 size=5
		loop0 7:0 size=50 file=/cdrom/live/filesystem.squashfs
		loop1 7:1 size=0`
	overlay := "1 1 0:30 / / rw - overlay overlay rw,lowerdir=//filesystem.squashfs,upperdir=/root/cow/rw,workdir=/root/cow/w\n"
	squash := "2 1 7:0 / /run/live/rootfs ro - squashfs /dev/loop0 ro\n"
	stick := "3 1 8:17 / /run/live/medium ro - iso9660 /dev/sdb1 ro\n"
	want := map[string]Reason{
		"/dev/sda": "", "/dev/sda1": "", "/dev/sdb": SystemDisk, "/dev/sdb1": SystemDisk, "/dev/loop0": SystemDisk,
		"/dev/sdb2": SystemDisk, // shares bytes with sdb1, as on a hybrid image
	}
	tests := []struct {
		name   string
		mounts string
		loops  map[string]string
	}{
		{"all visible", overlay + squash + stick, map[string]string{"loop0": "8:17 5"}},
		{"the stick's mount is hidden", overlay + squash, map[string]string{"loop0": "8:17 5"}},
		{"by the path of the loop's file", overlay + squash + "3 1 8:17 / /cdrom ro - iso9660 /dev/sdb1 ro\n", nil},
		{"by the lower layer", "1 1 0:30 / / rw - overlay o rw,lowerdir=/lower/a:/other,upperdir=/u\n" +
			"2 1 7:0 / /lower rw - ext4 /dev/loop0 ro\n", map[string]string{"loop0": "8:17 5"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fixture{devices: devices, mounts: tt.mounts, loops: tt.loops, files: system("0:30")}.load(t)
			verdicts(t, s, want)
		})
	}
}

// Fedora's live image: / is a snapshot by device mapper over loop devices.
func TestLiveSystemOnSnapshot(t *testing.T) {
	s := fixture{
		devices: `sda 8:0 size=1000
			sdb 8:16 size=100
			sdb1 8:17 of=sdb n=1 start=1 size=90
			loop0 7:0 size=50 file=/run/initramfs/live/LiveOS/squashfs.img
			loop1 7:1 size=50 file=/LiveOS/rootfs.img
			loop2 7:2 size=50 file=/overlay
			dm-0 252:0 size=50 on=loop1,loop2 dm/name=live-rw`,
		mounts: "1 1 252:0 / / rw - ext4 /dev/mapper/live-rw rw\n",
		loops:  map[string]string{"loop0": "8:17 5", "loop1": "7:0 9", "loop2": "0:40 3"},
		files:  system("252:0"),
	}.load(t)
	verdicts(t, s, map[string]Reason{
		"/dev/sda": "", "/dev/sdb": SystemDisk, "/dev/sdb1": SystemDisk,
		"/dev/loop0": SystemDisk, "/dev/loop1": SystemDisk, "/dev/dm-0": SystemDisk,
	})
}

// A machine that booted from us runs from memory: every disk is a target.
func TestSystemInMemory(t *testing.T) {
	s := fixture{
		devices: "sda 8:0 size=1000\nsda1 8:1 of=sda n=1 start=1 size=900",
		mounts:  noMounts, files: system("0:2"),
	}.load(t)
	verdicts(t, s, map[string]Reason{"/dev/sda": "", "/dev/sda1": ""})
}

// A loop device on a file of the disk we run from is no danger to it; the
// disk and the file are.
func TestLoopOnSystemDisk(t *testing.T) {
	s := fixture{
		devices: `sda 8:0 size=1000
			loop0 7:0 size=50 file=/home/disk.raw
			loop1 7:1 size=50 file=/home/mounted.raw`,
		mounts: "1 1 8:0 / / rw - ext4 /dev/sda rw\n2 1 7:1 / /mnt rw - ext4 /dev/loop1 rw\n",
		loops:  map[string]string{"loop0": "8:0 50", "loop1": "8:0 51"},
		files: map[string]string{
			"/": "8:0 2", "/home/disk.raw": "8:0 50", "/home/mounted.raw": "8:0 51", "/home/free.raw": "8:0 52",
		},
	}.load(t)
	verdicts(t, s, map[string]Reason{
		"/dev/sda": SystemDisk, "/dev/loop0": "", "/dev/loop1": Mounted,
		"/home/disk.raw": InUse, "/home/mounted.raw": InUse, "/home/free.raw": "",
	})
	if got := s.sourceVerdict(t, "/home/mounted.raw"); got != Mounted {
		t.Errorf("source: got %q, want %q", got, Mounted)
	}
	if got := s.sourceVerdict(t, "/home/disk.raw"); got != "" {
		t.Errorf("source: got %q, want none", got)
	}
	if got := s.verdict(t, "/dev/loop0", "/home/disk.raw"); got != Holds {
		t.Errorf("the file below the target is kept: got %q, want %q", got, Holds)
	}
}

func TestKeep(t *testing.T) {
	s := fixture{
		devices: `sda 8:0 size=1000
			sda1 8:1 of=sda n=1 start=1 size=400
			sda2 8:2 of=sda n=2 start=401 size=400
			sdb 8:16 size=1000
			dm-0 252:0 size=500 on=sdb dm/name=lv`,
		mounts: noMounts + "9 1 8:1 / /images rw - ext4 /dev/sda1 rw\n",
		files:  map[string]string{"/": "0:2 1", "/images/lab.img.zst": "8:1 7", "/images/link": "8:1 7", "/images/other": "8:1 8"},
	}.load(t)
	tests := []struct {
		target, keep string
		want         Reason
	}{
		{"/dev/sda", "/images/lab.img.zst", Holds},
		{"/dev/sda1", "/images/lab.img.zst", Holds},
		{"/dev/sda2", "/images/lab.img.zst", ""},
		{"/images/link", "/images/lab.img.zst", SameFile},
		{"/images/other", "/images/lab.img.zst", ""},
		{"/dev/sda2", "/dev/sda2", SameFile},
		{"/dev/sda2", "/dev/sda", Holds},
		{"/dev/dm-0", "/dev/sdb", Holds},
		{"/dev/sdb", "/dev/dm-0", Holds},
		{"/dev/dm-0", "/dev/mapper/lv", SameFile},
	}
	for _, tt := range tests {
		if got := s.verdict(t, tt.target, tt.keep); got != tt.want {
			t.Errorf("%s with %s kept: got %q, want %q", tt.target, tt.keep, got, tt.want)
		}
	}
	err := s.checkTarget("/dev/sda2", mustStat(t, s, "/dev/sda2"), TargetOptions{Keep: []string{"/gone"}})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is to be kept is missing: got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestSwapVariants(t *testing.T) {
	s := fixture{
		devices: "sda 8:0 size=100\nsda1 8:1 of=sda n=1 start=1 size=9\nsdb 8:16 size=100\nsdc 8:32 size=100\ndm-1 252:1 size=9 on=sdb",
		mounts:  noMounts,
		swaps:   "/dev/sda1 partition\n/elsewhere/dm-1 partition\n/swap\\040file file\n",
		files:   map[string]string{"/": "0:2 1", "/swap file": "0:2 8", "/file": "0:2 9"},
	}.load(t)
	verdicts(t, s, map[string]Reason{
		"/dev/sda": Swap, "/dev/sda1": Swap, "/dev/sdb": Swap, "/dev/sdc": "", "/swap file": Swap, "/file": "",
	})
	for path, want := range map[string]Reason{"/dev/sda": Swap, "/swap file": Swap, "/file": ""} {
		if got := s.sourceVerdict(t, path); got != want {
			t.Errorf("source %s: got %q, want %q", path, got, want)
		}
	}
}

// What uses a whole disk uses the partitions that an old table left on it.
func TestWholeDiskUsers(t *testing.T) {
	s := fixture{
		devices: `sda 8:0 size=100
			sda1 8:1 of=sda n=1 start=1 size=9
			sdb 8:16 size=100
			sdb1 8:17 of=sdb n=1 start=1 size=9
			bcache0 251:0 size=90 on=sdb`,
		mounts: noMounts + "9 1 8:0 / /srv rw - ext4 /dev/sda rw\n",
		files:  map[string]string{"/": "0:2 1"},
	}.load(t)
	verdicts(t, s, map[string]Reason{"/dev/sda": Mounted, "/dev/sda1": Mounted, "/dev/sdb": InUse, "/dev/sdb1": InUse})
}

// A mount of several devices at once, as bcachefs has it.
func TestMountOfSeveral(t *testing.T) {
	s := fixture{
		devices: "sda 8:0 size=100\nsdb 8:16 size=100\nsdc 8:32 size=100",
		mounts:  noMounts + "9 1 0:40 / /srv rw - bcachefs /dev/sda:/dev/sdb rw\n",
		files:   map[string]string{"/": "0:2 1"},
	}.load(t)
	verdicts(t, s, map[string]Reason{"/dev/sda": Mounted, "/dev/sdb": Mounted, "/dev/sdc": ""})
}

func TestKinds(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		fs.ModeDir:                        "/x is a directory",
		fs.ModeDevice | fs.ModeCharDevice: "/x is a character device",
		fs.ModeNamedPipe:                  "/x is a pipe",
		fs.ModeSocket:                     "/x is a socket",
		fs.ModeIrregular:                  "/x is neither a block device nor a file",
	} {
		if err := kindError("/x", fileID{mode: mode}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, mode := range []fs.FileMode{0o600, fs.ModeDevice} {
		if err := kindError("/x", fileID{mode: mode}); err != nil {
			t.Errorf("mode %v: got %v, want none", mode, err)
		}
	}
}

func TestForDevices(t *testing.T) {
	s := fixture{mounts: noMounts + "8 21 0:7 / /dev/shm rw - tmpfs tmpfs rw\n9 1 0:6 / /chroot/dev rw - devtmpfs dev rw\n"}.load(t)
	for dir, want := range map[string]bool{
		"/dev": true, "/dev/disk/by-id": true, "/dev/shm": false, "/dev/shm/x": false, "/chroot/dev": true, "/tmp": false, "/device": false,
	} {
		if got := s.forDevices(dir); got != want {
			t.Errorf("%s: got %v, want %v", dir, got, want)
		}
	}
}

func TestUnreadableMachine(t *testing.T) {
	for name, broken := range map[string]func(*machine){
		"no sysfs":   func(m *machine) { m.sys = m.proc },
		"no mounts":  func(m *machine) { m.proc = m.sys },
		"bad mounts": func(m *machine) { m.proc = fixture{mounts: "nonsense\n"}.machine(t).proc },
	} {
		m := fixture{mounts: noMounts}.machine(t)
		broken(m)
		if _, err := m.load(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestRefusedErrorText(t *testing.T) {
	tests := []struct {
		err  RefusedError
		want string
	}{
		{RefusedError{"/dev/sdb", Mounted, "/srv, /srv/a"}, "/dev/sdb is mounted on /srv, /srv/a"},
		{RefusedError{"/dev/sda", SystemDisk, ""}, "/dev/sda is the disk this system runs from"},
		{RefusedError{"/dev/sdc", ReadOnly, ""}, "/dev/sdc is read-only"},
		{RefusedError{"/dev/sdq", Missing, ""}, "/dev/sdq does not exist, and a device is not created by writing to it"},
		{RefusedError{"/dev/sdc", Busy, ""}, "/dev/sdc is busy: another program has claimed it"},
		{RefusedError{"/dev/sdc", NoPermission, ""}, "/dev/sdc: permission denied"},
		{RefusedError{"/dev/sdc", Swap, "/dev/sdc2"}, "/dev/sdc is in use as swap (/dev/sdc2)"},
		{RefusedError{"/dev/sdc", Holds, "a.img.zst"}, "/dev/sdc holds a.img.zst"},
		{RefusedError{"a.raw", SameFile, "b.raw"}, "a.raw and b.raw are the same"},
		{RefusedError{"a.raw", Changed, ""}, "a.raw changed while it was opened"},
		{RefusedError{"a.raw", "odd", ""}, "a.raw is refused: odd"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
