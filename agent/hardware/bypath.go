package hardware

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// pathOf returns the name of a disk in /dev/disk/by-path as systemd's udev
// makes it (udev-builtin-path_id.c): pci-0000:00:17.0-ata-1. It is empty for a
// disk whose bus is not known here: SAS, Fibre Channel, iSCSI.
func pathOf(sys fs.FS, name string) string {
	for _, p := range places(sys, name) {
		if id := pathID(sys, p, name); id != "" {
			return id
		}
	}
	return ""
}

var (
	pciAddress  = regexp.MustCompile(`^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
	usbPort     = regexp.MustCompile(`^[0-9]+-([0-9.]+):([0-9]+\.[0-9]+)$`)
	ataPort     = regexp.MustCompile(`^ata([0-9]+)$`)
	scsiAddress = regexp.MustCompile(`^([0-9]+):([0-9]+):([0-9]+):([0-9]+)$`)
)

// pathID computes the name for a disk at place.
func pathID(sys fs.FS, place, name string) string {
	pci, usb, ata, scsi, mmc, platform := "", "", "", "", false, ""
	dir := ""
	for part := range strings.SplitSeq(strings.TrimPrefix(place, "/"), "/") {
		dir = path.Join(dir, part)
		switch {
		case pciAddress.MatchString(part):
			pci = "pci-" + part
		case usbPort.MatchString(part):
			m := usbPort.FindStringSubmatch(part)
			usb = "usb-0:" + m[1] + ":" + m[2]
		case ataPort.MatchString(part):
			ata = "ata-" + cmpOr(attr(sys, dir, "ata_port", part, "port_no"), "?")
		case scsiAddress.MatchString(part):
			scsi = part
		case part == "mmc_host":
			mmc = true
		case strings.HasPrefix(path.Base(resolve(sys, path.Join(dir, "subsystem"))), "platform"):
			platform = "platform-" + part
		}
	}
	if strings.Contains(place, "/end_device-") || strings.Contains(place, "/rport-") || strings.Contains(place, "/session") {
		return ""
	}
	parent := cmpOr(pci, platform)
	if parent == "" || strings.Contains(ata, "?") {
		return ""
	}
	switch {
	case strings.HasPrefix(name, "nvme"):
		return nvmePath(sys, parent, name)
	case usb != "":
		return parent + "-" + usb + "-scsi" + scsiPart(sys, place, scsi)
	case ata != "":
		return parent + "-" + ataPath(ata, scsi)
	case scsi != "":
		return parent + "-scsi" + scsiPart(sys, place, scsi)
	case mmc:
		return clean(parent)
	}
	return clean(parent) // virtio-blk
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// nvmePath returns the name of namespace N of an NVMe controller, of which the
// kernel calls the disk nvme0nN.
func nvmePath(sys fs.FS, parent, name string) string {
	if nsid := attr(sys, "block", name, "nsid"); nsid != "" {
		return parent + "-nvme-" + nsid
	}
	if i := strings.LastIndexByte(name, 'n'); i > 0 {
		if n, err := strconv.Atoi(name[i+1:]); err == nil {
			return fmt.Sprintf("%s-nvme-%d", parent, n)
		}
	}
	return ""
}

// ataPath names a disk behind an ATA port. The second disk of a port, or one
// behind a port multiplier, is told apart by its target and channel.
func ataPath(ata, scsi string) string {
	m := scsiAddress.FindStringSubmatch(scsi)
	switch {
	case m == nil:
		return ata
	case m[2] != "0": // port multiplier
		return ata + "." + m[2]
	case m[3] != "0":
		return ata + "." + m[3]
	}
	return ata
}

// scsiPart returns the address of a SCSI disk relative to the first host of its
// controller: hosts are numbered as they come up.
func scsiPart(sys fs.FS, place, address string) string {
	m := scsiAddress.FindStringSubmatch(address)
	if m == nil {
		return ""
	}
	i := strings.Index(place, "/host"+m[1]+"/")
	if i < 0 {
		return ""
	}
	host, _ := strconv.Atoi(m[1])
	first := host
	for _, other := range names(sys, strings.TrimPrefix(place[:i], "/")) {
		if n, err := strconv.Atoi(strings.TrimPrefix(other, "host")); err == nil && strings.HasPrefix(other, "host") {
			first = min(first, n)
		}
	}
	return fmt.Sprintf("-%d:%s:%s:%s", host-first, m[2], m[3], m[4])
}
