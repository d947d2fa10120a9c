package hardware

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"slipcast/agent/wire"
	"slipcast/internal/blockdev"
)

// maxDisks is how many disks an inventory has at most.
const maxDisks = 256

// Disks describes the disks among what blockdev.List found, as sysfs shows
// them. Left out is what is no disk of the machine: loop, device mapper, md and
// network devices, optical and floppy drives, memory (pmem, such as the RAM
// disk that firmware booted from), and the hardware partitions of an eMMC. A
// disk below one of these says so by being in use.
func Disks(sys fs.FS, list []*blockdev.Info) []wire.Disk {
	disks := []wire.Disk{}
	for _, info := range list {
		name := strings.ReplaceAll(strings.TrimPrefix(info.Device, "/dev/"), "/", "!")
		if info.Kind != blockdev.Disk || !isDisk(sys, name) || len(disks) == maxDisks {
			continue
		}
		disks = append(disks, disk(sys, name, info))
	}
	return disks
}

// never are kernel names of block devices that are no disks.
var never = regexp.MustCompile(`^(loop|ram|zram|dm-|md|drbd|nbd|rbd|sr|fd|pmem|mtdblock|ubiblock|bcache|zd)[0-9_]*|^mmcblk[0-9]+(boot[0-9]+|rpmb|gp[0-9]+)$`)

func isDisk(sys fs.FS, name string) bool {
	if never.MatchString(name) {
		return false
	}
	if strings.HasPrefix(name, "nvme") { // with multipath the kernel makes it a virtual one
		return true
	}
	return !strings.Contains(place(sys, name), "/virtual/")
}

// place returns where in the tree of devices a disk is.
func place(sys fs.FS, name string) string {
	return path.Clean("/" + resolve(sys, path.Join("block", name)))
}

func disk(sys fs.FS, name string, info *blockdev.Info) wire.Disk {
	d := wire.Disk{
		Name: clean(name), Path: pathOf(sys, name), Model: clean(info.Model), Serial: clean(info.Serial),
		WWN: wwn(sys, name), Transport: info.Transport, Size: info.Size, Sector: info.LogicalSector,
		Removable: info.Removable, ReadOnly: info.ReadOnly, External: external(sys, name),
	}
	switch {
	case len(info.Mounts) > 0:
		d.InUse = clean("mounted on " + info.Mounts[0])
	case len(info.Holders) > 0:
		d.InUse = clean("used by " + strings.Join(info.Holders, ", "))
	}
	return d
}

// wwn returns the world wide name, 0x5000... as in /dev/disk/by-id/wwn-, or
// eui... of NVMe.
func wwn(sys fs.FS, name string) string {
	for _, file := range []string{"device/wwid", "wwid"} {
		id := attr(sys, "block", name, file)
		if hex, ok := strings.CutPrefix(id, "naa."); ok {
			return "0x" + hex
		}
		if strings.HasPrefix(id, "eui.") {
			return id
		}
	}
	return ""
}

// external tells whether a disk is not built in: it is on USB or FireWire, a
// memory card, on a bus that the firmware calls external
// (ABI/testing/sysfs-bus-pci: removable), as Thunderbolt is, or in a storage
// network, where it may be everybody's (iSCSI, Fibre Channel, NVMe over Fabrics).
func external(sys fs.FS, name string) bool {
	for _, p := range places(sys, name) {
		if outside.MatchString(p) {
			return true
		}
		for dir := strings.TrimPrefix(p, "/"); dir != "." && dir != "devices"; dir = path.Dir(dir) {
			if attr(sys, dir, "removable") == "removable" {
				return true
			}
		}
	}
	return strings.HasPrefix(name, "mmcblk") && attr(sys, "block", name, "device/type") != "MMC"
}

// outside are parts of the place of a disk that is not built in.
var outside = regexp.MustCompile(`/(usb[0-9]|fw[0-9]|pcmcia|memstick|session[0-9]|rport-|nvme-fabrics/)`)

// places returns all places of a disk: that of a multipath NVMe disk is
// virtual, and those of its controllers count.
func places(sys fs.FS, name string) []string {
	p := place(sys, name)
	if !strings.Contains(p, "/virtual/") {
		return []string{p}
	}
	subsystem := strings.TrimPrefix(path.Dir(p), "/")
	list := []string{p}
	for _, c := range names(sys, subsystem) {
		if controller.MatchString(c) {
			list = append(list, "/"+resolve(sys, path.Join(subsystem, c)))
		}
	}
	return list
}

var controller = regexp.MustCompile(`^nvme[0-9]+$`)

// eMMC tells whether a disk is soldered flash of the kind that also holds
// firmware. Only a rule that names it chooses it.
func eMMC(d wire.Disk) bool { return d.Transport == "mmc" && !d.External }

// Modaliases bounds a list of modaliases for the inventory.
func Modaliases(list []string) []string {
	const most = 2048
	var out []string
	for _, s := range list {
		if s = clean(s); s != "" && len(out) < most {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
