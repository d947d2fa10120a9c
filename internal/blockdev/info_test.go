package blockdev

import (
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
)

// link moves the disk in block/NAME to a place in the tree of buses and
// leaves a link, as sysfs does.
func link(sys fstest.MapFS, name, place string) {
	for path, file := range sys {
		if rest, ok := strings.CutPrefix(path, "block/"+name+"/"); ok {
			delete(sys, path)
			sys[place+"/"+rest] = file
		}
	}
	sys["block/"+name] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("../" + place)}
}

func put(sys fstest.MapFS, path, text string) { sys[path] = &fstest.MapFile{Data: []byte(text)} }

// hardware is a machine with a disk of every kind.
func hardware(t *testing.T) *state {
	m := fixture{
		devices: `sda 8:0 size=1000 queue/logical_block_size=512 queue/physical_block_size=4096
			sda1 8:1 of=sda n=1 start=1 size=100
			sda2 8:2 of=sda n=2 start=101 size=100
			sdb 8:16 size=50 removable=1
			sdc 8:32 size=0 removable=1
			nvme0n1 259:0 size=1000 queue/logical_block_size=4096 queue/physical_block_size=4096
			mmcblk0 179:0 size=30
			vda 254:0 size=40 ro=1 serial=VIRT-7
			loop0 7:0 size=5 file=/srv/disk.raw
			loop1 7:1 size=0
			ram0 1:0 size=8
			zram0 253:0 size=8
			md0 9:0 size=90 on=sda1 md/level=raid1
			dm-0 252:0 size=80 on=md0 dm/name=vg-root`,
		mounts: noMounts + "9 1 252:0 / /srv rw - ext4 /dev/mapper/vg-root rw\n",
		files:  map[string]string{"/": "0:2 1", "/srv/disk.raw": "252:0 6", "/tmp/x.raw": "0:2 6"},
		loops:  map[string]string{"loop0": "252:0 6"},
	}.machine(t)
	sys := m.sys.(fstest.MapFS)
	link(sys, "sda", "devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda")
	link(sys, "sdb", "devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb")
	link(sys, "vda", "devices/pci0000:00/0000:00:02.0/virtio1/block/vda")
	sda := "devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda/"
	put(sys, sda+"device/model", "Samsung SSD 870 \n")
	put(sys, sda+"device/vendor", "ATA     \n")
	put(sys, sda+"device/scsi_level", "6\n")
	put(sys, sda+"device/vpd_pg80", "\x00\x80\x00\x10    S5Y1NG0NA001")
	put(sys, sda+"sda1/uevent", "MAJOR=8\nDEVNAME=sda1\nDEVTYPE=partition\n")
	stick := "devices/pci0000:00/0000:00:14.0/usb1/1-2/"
	put(sys, stick+"idVendor", "0781\n")
	put(sys, stick+"serial", "4C53\x1b[2J0001\n")
	put(sys, stick+"1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb/device/model", "Ultra\x00\x00\n")
	put(sys, stick+"1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb/device/vendor", "SanDisk \n")
	put(sys, stick+"1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb/device/scsi_level", "6\n")
	put(sys, "block/nvme0n1/device/model", "WD_BLACK SN770 1TB                      \n")
	put(sys, "block/nvme0n1/device/serial", "23A1                \n")
	put(sys, "block/mmcblk0/device/name", "SD32G\n")
	put(sys, "block/mmcblk0/device/serial", "0xdeadbeef\n")
	s, err := m.load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestInfo(t *testing.T) {
	s := hardware(t)
	const mib = 512000 // the fixture's
	tests := []Info{
		{
			Path: "/dev/sda", Device: "/dev/sda", Kind: Disk, Size: 1000 * mib, LogicalSector: 512, PhysicalSector: 4096,
			Model: "Samsung SSD 870", Serial: "S5Y1NG0NA001", Transport: "sata",
			Mounts: []string{"/srv"}, Holders: []string{"dm-0 (vg-root)", "loop0", "md0"},
		},
		{
			Path: "/dev/sda2", Device: "/dev/sda2", Kind: Partition, Size: 100 * mib, LogicalSector: 512, PhysicalSector: 4096,
			Model: "Samsung SSD 870", Serial: "S5Y1NG0NA001", Transport: "sata",
			Parent: "/dev/sda", Number: 2, Start: 101 * mib,
		},
		{
			Path: "/dev/sdb", Device: "/dev/sdb", Kind: Disk, Size: 50 * mib, Model: "SanDisk Ultra", Serial: "4C53?[2J0001",
			Transport: "usb", Removable: true,
		},
		{
			Path: "/dev/nvme0n1", Device: "/dev/nvme0n1", Kind: Disk, Size: 1000 * mib, LogicalSector: 4096, PhysicalSector: 4096,
			Model: "WD_BLACK SN770 1TB", Serial: "23A1", Transport: "nvme",
		},
		{Path: "/dev/mmcblk0", Device: "/dev/mmcblk0", Kind: Disk, Size: 30 * mib, Model: "SD32G", Serial: "0xdeadbeef", Transport: "mmc"},
		{Path: "/dev/vda", Device: "/dev/vda", Kind: Disk, Size: 40 * mib, Serial: "VIRT-7", Transport: "virtio", ReadOnly: true},
		{Path: "/dev/loop0", Device: "/dev/loop0", Kind: Disk, Size: 5 * mib, Model: "loop: /srv/disk.raw", Transport: "loop"},
		{
			Path: "/dev/md0", Device: "/dev/md0", Kind: Disk, Size: 90 * mib, Model: "md: raid1", Transport: "md",
			Mounts: []string{"/srv"}, Holders: []string{"dm-0 (vg-root)", "loop0"},
		},
		{
			Path: "/dev/mapper/vg-root", Device: "/dev/dm-0", Kind: Disk, Size: 80 * mib, Model: "dm: vg-root", Transport: "dm",
			Mounts: []string{"/srv"}, Holders: []string{"loop0"},
		},
		{Path: "/srv/disk.raw", Kind: File, LogicalSector: 512, PhysicalSector: 512, Holders: []string{"loop0"}},
		{Path: "/tmp/x.raw", Kind: File, LogicalSector: 512, PhysicalSector: 512},
	}
	for _, want := range tests {
		if got := s.info(want.Path, mustStat(t, s, want.Path)); !reflect.DeepEqual(*got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", want.Path, *got, want)
		}
	}
}

func TestDisks(t *testing.T) {
	var got []string
	for _, info := range hardware(t).disks() {
		got = append(got, info.Path)
	}
	want := []string{"/dev/md0", "/dev/sda", "/dev/sdb", "/dev/vda", "/dev/dm-0", "/dev/loop0", "/dev/mmcblk0", "/dev/nvme0n1"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParseVPD80(t *testing.T) {
	for page, want := range map[string]string{
		"":                      "",
		"\x00\x80\x00":          "",
		"\x00\x80\x00\x03abcde": "abc",
		"\x00\x80\xff\xffabc":   "abc", // longer than what came
		"\x00\x83\x00\x03abc":   "",
	} {
		if got := parseVPD80([]byte(page)); got != want {
			t.Errorf("parseVPD80(%q) = %q, want %q", page, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	long := strings.Repeat("é", maxName)
	for in, want := range map[string]string{
		"  two   words\t": "two words",
		"esc\x1b[31m":     "esc?[31m",
		"bad\xff":         "bad?",
		long:              long[:maxName] + "...",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPartitionPath(t *testing.T) {
	s := fixture{devices: `sda 8:0 size=100
		sda1 8:1 of=sda n=1 start=1 size=9
		nvme0n1 259:0 size=100
		nvme0n1p3 259:3 of=nvme0n1 n=3 start=1 size=9
		cciss!c0d0 104:0 size=100
		cciss!c0d0p1 104:1 of=cciss!c0d0 n=1 start=1 size=9`, mounts: noMounts}.load(t)
	tests := []struct {
		disk string
		n    int
		want string
	}{
		{"/dev/sda", 1, "/dev/sda1"},
		{"/dev/sda", 12, "/dev/sda12"},
		{"/dev/nvme0n1", 3, "/dev/nvme0n1p3"},
		{"/dev/nvme0n1", 4, "/dev/nvme0n1p4"},
		{"/dev/cciss/c0d0", 1, "/dev/cciss/c0d0p1"},
		{"/dev/cciss/c0d0", 2, "/dev/cciss/c0d0p2"},
	}
	for _, tt := range tests {
		if got := s.nodes.partitionPath(tt.disk, mustStat(t, s, tt.disk).rdev, tt.n); got != tt.want {
			t.Errorf("partition %d of %s: got %q, want %q", tt.n, tt.disk, got, tt.want)
		}
	}
	if got, want := PartitionPath("/dev/gone9", 2), "/dev/gone9p2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
