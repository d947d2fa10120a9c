package hardware

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/agent/wire"
	"slipcast/internal/blockdev"
)

// tree makes a folder of files; those whose text begins with -> are symbolic
// links.
func tree(t *testing.T, files map[string]string) fs.FS {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if to, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(to, file)
		} else {
			err = os.WriteFile(file, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return os.DirFS(root)
}

const pci = "devices/pci0000:00/"

func TestPaths(t *testing.T) {
	sys := tree(t, map[string]string{
		"block/sda": "->../" + pci + "0000:00:17.0/ata3/host2/target2:0:0/2:0:0:0/block/sda",
		pci + "0000:00:17.0/ata3/ata_port/ata3/port_no":                    "1\n",
		pci + "0000:00:17.0/ata3/host2/target2:0:0/2:0:0:0/block/sda/size": "1",
		"block/sdb": "->../" + pci + "0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb",
		pci + "0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb/size": "1",
		"block/nvme0n1": "->../" + pci + "0000:00:1d.0/0000:3d:00.0/nvme/nvme0/nvme0n1",
		pci + "0000:00:1d.0/0000:3d:00.0/nvme/nvme0/nvme0n1/nsid": "1\n",
		"block/nvme1n2": "->../devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n2",
		"devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n2/nsid": "2\n",
		"devices/virtual/nvme-subsystem/nvme-subsys1/nvme1":        "->../../../pci0000:00/0000:00:1c.0/0000:05:00.0/nvme/nvme1",
		pci + "0000:00:1c.0/removable":                             "removable\n",
		pci + "0000:00:1c.0/0000:05:00.0/nvme/nvme1/model":         "m",
		"block/vda": "->../" + pci + "0000:00:04.0/virtio1/block/vda",
		pci + "0000:00:04.0/virtio1/block/vda/size": "1",
		"block/sdc": "->../" + pci + "0000:00:05.0/virtio2/host8/target8:0:1/8:0:1:0/block/sdc",
		pci + "0000:00:05.0/virtio2/host8/target8:0:1/8:0:1:0/block/sdc/size": "1",
		pci + "0000:00:05.0/virtio2/host7/x":                                  "",
		"block/mmcblk0":                                                       "->../" + pci + "0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0",
		pci + "0000:00:1a.0/mmc_host/mmc0/mmc0:0001/type":                     "MMC\n",
		pci + "0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0/device":     "->../../../mmc0:0001",
		"block/mmcblk1": "->../" + pci + "0000:00:1b.0/mmc_host/mmc1/mmc1:0001/block/mmcblk1",
		pci + "0000:00:1b.0/mmc_host/mmc1/mmc1:0001/type":                 "SD\n",
		pci + "0000:00:1b.0/mmc_host/mmc1/mmc1:0001/block/mmcblk1/device": "->../../../mmc1:0001",
		"block/mmcblk2": "->../" + pci + "0000:00:1e.0/mmc_host/mmc2/mmc2:0001/block/mmcblk2",
		pci + "0000:00:1e.0/mmc_host/mmc2/mmc2:0001/type":                 "SDcombo\n",
		pci + "0000:00:1e.0/mmc_host/mmc2/mmc2:0001/block/mmcblk2/device": "->../../../mmc2:0001",
		"block/mspblk0": "->../" + pci + "0000:00:1f.0/memstick/memstick0/memstick0/block/mspblk0",
		pci + "0000:00:1f.0/memstick/memstick0/memstick0/block/mspblk0/size": "1",
		"block/sdd": "->../" + pci + "0000:00:06.0/host9/rport-9:0-0/target9:0:0/9:0:0:0/block/sdd",
		pci + "0000:00:06.0/host9/rport-9:0-0/target9:0:0/9:0:0:0/block/sdd/size": "1",
		"block/sde": "->../devices/platform/host10/session1/target10:0:0/10:0:0:0/block/sde",
		"devices/platform/host10/session1/target10:0:0/10:0:0:0/block/sde/size": "1",
		"block/nvme2n1": "->../devices/virtual/nvme-fabrics/ctl/nvme2/nvme2n1",
		"devices/virtual/nvme-fabrics/ctl/nvme2/nvme2n1/size": "1",
		"block/nvme3n1": "->../devices/virtual/nvme-subsystem/nvme-subsys3/nvme3n1",
		"devices/virtual/nvme-subsystem/nvme-subsys3/nvme3n1/nsid": "1\n",
		"devices/virtual/nvme-subsystem/nvme-subsys3/nvme3":        "->../../nvme-fabrics/ctl/nvme3",
		"devices/virtual/nvme-fabrics/ctl/nvme3/state":             "live\n",
		"block/nvme4n1": "->../" + pci + "0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme4/nvme4n1",
		pci + "0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme4/nvme4n1/nsid": "1\n",
		"block/mmcblk0rpmb": "->../" + pci + "0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0rpmb",
		pci + "0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0rpmb/x": "",
		"block/mmcblk0gp0": "->../" + pci + "0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0gp0",
		pci + "0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0gp0/x": "",
		"block/etherd!e1.1": "->../devices/virtual/block/etherd!e1.1", "devices/virtual/block/etherd!e1.1/size": "1",
		"block/pmem1s": "->../devices/LNXSYSTM:00/pmem1s", "devices/LNXSYSTM:00/pmem1s/size": "1",
		"block/mmcblk0boot0": "->../" + pci + "0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0boot0",
		pci + "0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0boot0/x": "",
		"block/loop0": "->../devices/virtual/block/loop0", "devices/virtual/block/loop0/size": "1",
		"block/dm-0": "->../devices/virtual/block/dm-0", "devices/virtual/block/dm-0/size": "1",
		"block/weird0": "->../devices/virtual/block/weird0", "devices/virtual/block/weird0/size": "1",
		"block/pmem0": "->../devices/LNXSYSTM:00/pmem0", "devices/LNXSYSTM:00/pmem0/size": "1",
	})
	want := map[string]struct {
		path     string
		external bool
	}{
		"sda":     {"pci-0000:00:17.0-ata-1", false},
		"sdb":     {"pci-0000:00:14.0-usb-0:1:1.0-scsi-0:0:0:0", true},
		"nvme0n1": {"pci-0000:3d:00.0-nvme-1", false},
		"nvme1n2": {"pci-0000:05:00.0-nvme-2", true}, // behind a Thunderbolt port, and multipath
		"vda":     {"pci-0000:00:04.0", false},
		"sdc":     {"pci-0000:00:05.0-scsi-1:0:1:0", false},
		"mmcblk0": {"pci-0000:00:1a.0", false},
		"mmcblk1": {"pci-0000:00:1b.0", true},          // an SD card
		"mmcblk2": {"pci-0000:00:1e.0", true},          // an SD card that is more besides
		"mspblk0": {"pci-0000:00:1f.0", true},          // a memory stick
		"sdd":     {"", true},                          // Fibre Channel
		"sde":     {"", true},                          // iSCSI
		"nvme2n1": {"", true},                          // NVMe over a network
		"nvme3n1": {"", true},                          // the same, multipath
		"nvme4n1": {"pci-10000:e1:00.0-nvme-1", false}, // behind Intel's VMD
	}
	var list []*blockdev.Info
	for _, name := range names(sys, "block") {
		list = append(list, &blockdev.Info{Kind: blockdev.Disk, Device: "/dev/" + name, Size: 1 << 30})
	}
	disks := Disks(sys, list)
	for _, d := range disks {
		w, ok := want[d.Name]
		if !ok {
			t.Errorf("%s is listed, and is no disk", d.Name)
			continue
		}
		delete(want, d.Name)
		if d.Path != w.path || d.External != w.external {
			t.Errorf("%s: path %q, external %v; want %q, %v", d.Name, d.Path, d.External, w.path, w.external)
		}
	}
	for name := range want {
		t.Errorf("%s is not listed", name)
	}
}

func TestDiskUse(t *testing.T) {
	sys := tree(t, map[string]string{
		"block/sda/device/wwid": "naa.5000c500a1b2c3d4\n", "block/sdb/x": "",
	})
	got := Disks(sys, []*blockdev.Info{
		{Kind: blockdev.Disk, Device: "/dev/sda", Mounts: []string{"/mnt"}, Serial: "a\x1b[2J", Model: "M"},
		{Kind: blockdev.Disk, Device: "/dev/sdb", Holders: []string{"md0", "dm-1"}},
		{Kind: blockdev.Partition, Device: "/dev/sdb1"},
	})
	if len(got) != 2 || got[0].InUse != "mounted on /mnt" || got[1].InUse != "used by md0, dm-1" {
		t.Fatalf("Disks = %+v", got)
	}
	if got[0].WWN != "0x5000c500a1b2c3d4" || got[0].Serial != "a?[2J" {
		t.Errorf("wwn %q, serial %q", got[0].WWN, got[0].Serial)
	}
}

func TestMachine(t *testing.T) {
	proc := tree(t, map[string]string{
		"cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM)  i5\n\nprocessor\t: 1\nmodel name\t: other\n",
		"meminfo": "MemTotal:        8000000 kB\nMemFree: 1 kB\n", "sys/kernel/osrelease": "6.1.0\n",
	})
	dmi := "class/dmi/id/"
	sys := tree(t, map[string]string{
		dmi + "product_uuid": "4C4C4544-0042-3510-8052-CAC04F4E4E32\n", dmi + "product_serial": "To be filled by O.E.M.\n",
		dmi + "sys_vendor": "Dell Inc.\n", dmi + "product_name": "OptiPlex\x07 7060\n", dmi + "bios_version": "1.2", dmi + "bios_date": "2020",
		"devices/system/cpu/online": "0-3,8\n",
		"firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": "\x06\x00\x00\x00\x01",
	})
	got := Machine(Tree{Sys: sys, Proc: proc, Arch: "x64"})
	want := wire.Inventory{
		UUID: "4c4c4544-0042-3510-8052-cac04f4e4e32", Vendor: "Dell Inc.", Product: "OptiPlex? 7060", BIOS: "1.2 2020",
		CPU: "Intel(R) Core(TM) i5", Threads: 5, Memory: 8000000 << 10, Arch: "x64", Firmware: "uefi", SecureBoot: "on", Kernel: "6.1.0",
	}
	if g, w := text(got), text(want); g != w {
		t.Errorf("Machine = %s\nwant %s", g, w)
	}
	got = Machine(Tree{Sys: tree(t, nil), Proc: tree(t, nil), Arch: "arm64"})
	if g, w := text(got), text(wire.Inventory{Arch: "arm64", Firmware: "bios"}); g != w {
		t.Errorf("Machine of nothing = %s\nwant %s", g, w)
	}
}

func text(inv wire.Inventory) string {
	return strings.Join([]string{
		inv.UUID, inv.Serial, inv.Vendor, inv.Product, inv.Board, inv.BIOS, inv.CPU, inv.Arch, inv.Firmware, inv.SecureBoot, inv.Kernel,
		string(rune('0' + inv.Threads)), string(rune(inv.Memory >> 20)),
	}, "|")
}

func TestNICs(t *testing.T) {
	eth := pci + "0000:00:1f.6/net/eth0"
	dock := pci + "0000:00:14.0/usb1/1-2/1-2:1.0/net/eth1"
	sys := tree(t, map[string]string{
		"class/net/eth0": "->../../" + eth, eth + "/type": "1\n", eth + "/address": "00:00:5E:00:53:01\n",
		eth + "/carrier": "1\n", eth + "/speed": "1000\n", eth + "/device": "->../../../0000:00:1f.6",
		pci + "0000:00:1f.6/driver": "->../../../bus/pci/drivers/e1000e", pci + "0000:00:1f.6/subsystem": "->../../../bus/pci",
		"class/net/eth1": "->../../" + dock, dock + "/type": "1\n", dock + "/address": "00:00:5e:00:53:02\n",
		dock + "/device": "->../../../1-2:1.0", dock + "/speed": "-1\n",
		"class/net/lo/type": "772\n", "class/net/wlan0/type": "1\n", "class/net/wlan0/device/x": "", "class/net/wlan0/wireless/x": "",
		"class/net/br0/type": "1\n",
	})
	got := NICs(sys, func(name string) string {
		if name == "eth1" {
			return "00:00:5E:00:53:99"
		}
		return ""
	})
	want := []wire.NIC{
		{Name: "eth0", MAC: "00:00:5e:00:53:01", Driver: "e1000e", Bus: "pci", Link: true, Speed: 1000},
		{Name: "eth1", MAC: "00:00:5e:00:53:99", Bus: "usb"},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("NICs = %+v\nwant %+v", got, want)
	}
}

func TestChoose(t *testing.T) {
	const gb = 1e9
	ssd := wire.Disk{Name: "sda", Serial: "S1", Path: "p1", Model: "Samsung SSD 860", Transport: "sata", Size: 250 * gb}
	hdd := wire.Disk{Name: "sdb", Serial: "S2", Path: "p2", Model: "WDC WD10", Transport: "sata", Size: 1000 * gb, WWN: "0x50014ee2"}
	nvme := wire.Disk{Name: "nvme0n1", Serial: "S3", Path: "p3", Model: "Samsung SSD 980", Transport: "nvme", Size: 500 * gb}
	with := func(d wire.Disk, change func(*wire.Disk)) wire.Disk { change(&d); return d }
	stick := wire.Disk{Name: "sdc", Serial: "U1", Path: "u1", Transport: "usb", External: true, Removable: true, Size: 64 * gb}
	usb := wire.Disk{Name: "sdd", Serial: "U2", Path: "u2", Transport: "usb", External: true, Size: 2000 * gb}
	emmc := wire.Disk{Name: "mmcblk0", Serial: "E1", Path: "e1", Transport: "mmc", Size: 64 * gb}
	reader := wire.Disk{Name: "sde", Serial: "R1", Path: "r1", Size: 0}
	tests := []struct {
		name  string
		rule  wire.Rule
		need  int64
		disks []wire.Disk
		want  string // of the chosen one, "ask" or "none"
	}{
		{"the only one", wire.Rule{}, 0, []wire.Disk{ssd}, "sda"},
		{"beside a stick, a USB disk, an eMMC and a card reader", wire.Rule{}, 0, []wire.Disk{stick, ssd, usb, emmc, reader}, "sda"},
		{"two", wire.Rule{}, 0, []wire.Disk{ssd, hdd}, "ask"},
		{"two, of which one is too small", wire.Rule{}, 300 * gb, []wire.Disk{ssd, hdd}, "sdb"},
		{"just large enough", wire.Rule{}, 250 * gb, []wire.Disk{ssd}, "sda"},
		{"a byte too small", wire.Rule{}, 250*gb + 1, []wire.Disk{ssd}, "none"},
		{"none", wire.Rule{}, 0, nil, "none"},
		{"a stick alone", wire.Rule{}, 0, []wire.Disk{stick}, "none"},
		{"a stick by its serial number", wire.Rule{Serial: "U1"}, 0, []wire.Disk{stick, ssd}, "none"},
		{"a USB disk by transport is not named", wire.Rule{Transport: "usb"}, 0, []wire.Disk{usb}, "none"},
		{"a USB disk by its serial number", wire.Rule{Serial: "u2"}, 0, []wire.Disk{usb, ssd}, "sdd"},
		{"an eMMC alone", wire.Rule{}, 0, []wire.Disk{emmc}, "none"},
		{"an eMMC by its path", wire.Rule{Path: "/dev/disk/by-path/e1"}, 0, []wire.Disk{emmc, ssd}, "mmcblk0"},
		{"a card reader by its path", wire.Rule{Path: "r1"}, 0, []wire.Disk{reader}, "none"},
		{"serial number", wire.Rule{Serial: "S2"}, 0, []wire.Disk{ssd, hdd, nvme}, "sdb"},
		{"the disk that died is not replaced by another", wire.Rule{Serial: "S1"}, 0, []wire.Disk{hdd}, "none"},
		{"part of a serial number", wire.Rule{Serial: "S"}, 0, []wire.Disk{ssd}, "none"},
		{"wwn as in by-id", wire.Rule{WWN: "wwn-0x50014EE2"}, 0, []wire.Disk{ssd, hdd}, "sdb"},
		{"model", wire.Rule{Model: "samsung ssd 860"}, 0, []wire.Disk{ssd, hdd, nvme}, "sda"},
		{"model of two", wire.Rule{Model: "Samsung"}, 0, []wire.Disk{ssd, hdd, nvme}, "ask"},
		{"transport", wire.Rule{Transport: "nvme"}, 0, []wire.Disk{ssd, nvme}, "nvme0n1"},
		{"size", wire.Rule{Min: 400 * gb, Max: 600 * gb}, 0, []wire.Disk{ssd, hdd, nvme}, "nvme0n1"},
		{"all must fit", wire.Rule{Serial: "S1", Transport: "nvme"}, 0, []wire.Disk{ssd, nvme}, "none"},
		{"read-only", wire.Rule{}, 0, []wire.Disk{with(ssd, func(d *wire.Disk) { d.ReadOnly = true })}, "none"},
		{"a member of a RAID that runs", wire.Rule{Serial: "S1"}, 0, []wire.Disk{with(ssd, func(d *wire.Disk) { d.InUse = "used by md0" })}, "none"},
		{"same serial number, other path", wire.Rule{Path: "p2"}, 0, []wire.Disk{ssd, with(ssd, func(d *wire.Disk) { d.Path = "p2" })}, "sda"},
		{"twins", wire.Rule{}, 0, []wire.Disk{ssd, ssd}, "none"},
		{"twins beside another", wire.Rule{}, 0, []wire.Disk{ssd, ssd, nvme}, "nvme0n1"},
		{"twins by serial number and size, told apart by path", wire.Rule{}, 0, []wire.Disk{ssd, with(ssd, func(d *wire.Disk) { d.Name, d.Path = "sdb", "p2" })}, "ask"},
		{"twins by path and size, told apart by wwn", wire.Rule{WWN: "0x50014ee2"}, 0, []wire.Disk{hdd, with(hdd, func(d *wire.Disk) { d.Name, d.WWN = "sdc", "0x50014ee3" })}, "sdb"},
		{"twins are not told apart by a rule", wire.Rule{Serial: "S1"}, 0, []wire.Disk{ssd, ssd}, "none"},
		{"two with a serial number that a maker gave to all", wire.Rule{Serial: "S1"}, 0, []wire.Disk{ssd, with(ssd, func(d *wire.Disk) { d.Path = "p2" })}, "ask"},
		{"members of a RAID of the firmware", wire.Rule{Model: "Samsung"}, 0, []wire.Disk{ssd, nvme}, "ask"},
		{"a disk in a storage network", wire.Rule{}, 0, []wire.Disk{{Name: "sdd", Serial: "L1", Transport: "fc", External: true, Size: 4000 * gb}}, "none"},
		{"a disk in a storage network beside one that is too small", wire.Rule{}, 300 * gb, []wire.Disk{ssd, {Name: "sdd", Serial: "L1", Transport: "fc", External: true, Size: 4000 * gb}}, "none"},
		{"a disk in a storage network by its wwn", wire.Rule{WWN: "6001"}, 0, []wire.Disk{ssd, {Name: "sdd", WWN: "0x6001", Serial: "L1", External: true, Size: 4000 * gb}}, "sdd"},
		{"without a serial number, by path", wire.Rule{Path: "p9"}, 0, []wire.Disk{ssd, {Name: "vda", Path: "p9", Size: gb}}, "vda"},
		{"an empty serial number is no wildcard", wire.Rule{Serial: "S9"}, 0, []wire.Disk{{Name: "vda", Path: "p9", Size: gb}}, "none"},
		{"a size that no disk has", wire.Rule{Min: 600 * gb, Max: 400 * gb}, 0, []wire.Disk{ssd, hdd, nvme}, "none"},
		{"a negative size", wire.Rule{}, 0, []wire.Disk{with(ssd, func(d *wire.Disk) { d.Size = -1 })}, "none"},
		{"mounted", wire.Rule{}, 0, []wire.Disk{with(ssd, func(d *wire.Disk) { d.InUse = "mounted on /mnt" })}, "none"},
		{"nothing to know it by", wire.Rule{}, 0, []wire.Disk{{Name: "sda", Size: gb}}, "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			chosen, candidates, err := Choose(tt.rule, tt.need, tt.disks)
			got := "ask"
			switch {
			case err != nil:
				got = "none"
				if !errors.Is(err, ErrNoDisk) || chosen != nil || len(candidates) > 0 {
					t.Errorf("Choose = %v, %v, %v", chosen, candidates, err)
				}
			case chosen != nil:
				got = chosen.Name
			case len(candidates) < 2:
				t.Errorf("asks about %d candidates", len(candidates))
			}
			if got != tt.want {
				t.Errorf("chose %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	disks := []wire.Disk{{Name: "a", Serial: "S", Path: "p1"}, {Name: "b", Serial: "S", Path: "p2"}, {Name: "c", Path: "p3"}}
	for answer, want := range map[string]string{"p1": "a", "p2": "b", "p3": "c", "S": "", "": "", "a": ""} {
		got := ""
		if d := Answer(disks, answer); d != nil {
			got = d.Name
		}
		if got != want {
			t.Errorf("Answer(%q) = %q, want %q", answer, got, want)
		}
	}
}
