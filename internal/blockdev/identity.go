package blockdev

import (
	"encoding/binary"
	"io/fs"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName bounds a model or serial number, which comes from the device.
const maxName = 120

// model returns what the device calls itself; for a virtual device what it is
// made of.
func (s *state) model(n *node) string {
	switch {
	case n.backing != "":
		return clean("loop: " + n.backing)
	case attr(s.sys, n.dir, "dm/name") != "":
		return clean("dm: " + attr(s.sys, n.dir, "dm/name"))
	case attr(s.sys, n.dir, "md/level") != "":
		return clean("md: " + attr(s.sys, n.dir, "md/level"))
	}
	name := attr(s.sys, n.dir, "device/model")
	if name == "" {
		name = attr(s.sys, n.dir, "device/name") // mmc
	}
	if vendor := attr(s.sys, n.dir, "device/vendor"); s.scsi(n) && vendor != "ATA" {
		name = vendor + " " + name // ATA is what libata calls every vendor
	}
	return clean(name)
}

// scsi reports whether the device speaks SCSI, as all that is attached by
// USB, SATA or SAS does to Linux. Others have a number as their vendor.
func (s *state) scsi(n *node) bool {
	return attr(s.sys, n.dir, "device/scsi_level") != ""
}

// serial returns the serial number of the device, or else the world wide name
// by which it can be told from another of its kind.
func (s *state) serial(n *node) string {
	if serial := clean(parseVPD80([]byte(s.raw(n, "device/vpd_pg80")))); serial != "" {
		return serial
	}
	// virtio, then NVMe and mmc, then the names of the others.
	for _, name := range []string{"serial", "device/serial", "wwid", "device/wwid"} {
		if serial := clean(attr(s.sys, n.dir, name)); serial != "" {
			return serial
		}
	}
	return clean(s.usb(n, "serial"))
}

// raw returns an attribute as it is, empty if there is none.
func (s *state) raw(n *node, name string) string {
	p, err := fs.ReadFile(s.sys, path.Join(n.dir, name))
	if err != nil {
		return ""
	}
	return string(p)
}

// parseVPD80 returns the serial number in a Unit Serial Number page (SPC-4,
// 7.8.15): page code at 1, length at 2, the number from 4. It is empty if the
// page is another one.
func parseVPD80(page []byte) string {
	if len(page) < 4 || page[1] != 0x80 {
		return ""
	}
	n := min(int(binary.BigEndian.Uint16(page[2:])), len(page)-4)
	return string(page[4 : 4+n])
}

// usb returns an attribute of the USB device that the disk is part of: the
// nearest directory above it that has a vendor's number.
func (s *state) usb(n *node, name string) string {
	for dir := s.location(n); strings.Contains(dir, "/usb"); dir = path.Dir(dir) {
		if attr(s.sys, dir, "idVendor") != "" {
			return attr(s.sys, dir, name)
		}
	}
	return ""
}

// location returns the device's place in the tree of buses, below the root of
// sysfs: devices/pci0000:00/.../block/sda.
func (s *state) location(n *node) string {
	link, err := fs.ReadLink(s.sys, n.dir)
	if err != nil {
		return n.dir
	}
	return path.Join(path.Dir(n.dir), link)
}

// transport names how the device is attached: usb, sata, sas, nvme, mmc,
// virtio, iscsi, fc; for a virtual device loop, dm, md. It is empty if that
// is not known.
func (s *state) transport(n *node) string {
	for prefix, name := range map[string]string{"loop": "loop", "dm-": "dm", "md": "md", "nvme": "nvme", "mmcblk": "mmc"} {
		if strings.HasPrefix(n.name, prefix) {
			return name
		}
	}
	place := s.location(n)
	for _, t := range []struct{ part, name string }{
		{"/usb", "usb"}, {"/ata", "sata"}, {"/end_device-", "sas"}, {"/session", "iscsi"},
		{"/rport-", "fc"}, {"/virtio", "virtio"},
	} {
		if strings.Contains(place, t.part) {
			return t.name
		}
	}
	return ""
}

// clean makes a name from a device fit for a terminal: valid, printable, of
// bounded length, with single blanks between its words.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == 0:
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r) && !unicode.IsSpace(r):
			return '?'
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= maxName {
		return s
	}
	return strings.ToValidUTF8(s[:maxName], "") + "..."
}
