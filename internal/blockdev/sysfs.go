package blockdev

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// sectorSize is the unit of the files size and start in sysfs, whatever the
// sectors of the disk (kernel documentation, ABI/stable/sysfs-block).
const sectorSize = 512

// A node is a disk or partition as /sys/block shows it.
type node struct {
	name      string // the kernel's name: sda1; a slash in it is written '!'
	dir       string // below /sys
	devName   string // the name below /dev
	dev       devno
	disk      string // name of the disk that a partition is part of, else empty
	number    int    // of a partition
	start     int64  // of a partition, in bytes
	size      int64  // in bytes
	logical   int    // sector sizes in bytes
	physical  int
	readOnly  bool
	removable bool
	parts     []string // names of the partitions of a disk
	slaves    []string // names of the devices that this one lies on, as sysfs tells
	holders   []string // names of the devices that lie on this one, as sysfs tells
	backing   string   // path of the file below a loop device
}

// shares reports whether two partitions of one disk have bytes in common.
func (n *node) shares(o *node) bool {
	return n.start < o.start+o.size && o.start < n.start+n.size
}

// A tree holds every block device of a machine by its kernel name.
type tree map[string]*node

// readTree reads the block devices from sys, the root of a sysfs. Attributes
// that a device does not have are left at zero; a sysfs without block devices
// is an error, because nothing could be checked against it.
func readTree(sys fs.FS) (tree, error) {
	disks, err := fs.ReadDir(sys, "block")
	if err != nil {
		return nil, err
	}
	t := tree{}
	for _, entry := range disks {
		disk := t.add(sys, path.Join("block", entry.Name()))
		if disk != nil {
			t.addParts(sys, disk)
		}
	}
	return t, nil
}

// add reads the device in dir into the tree. It returns nil for what has no
// device number, such as the hidden paths of a multipath NVMe disk.
func (t tree) add(sys fs.FS, dir string) *node {
	dev, err := parseDevno(attr(sys, dir, "dev"))
	if err != nil {
		return nil
	}
	n := &node{
		name: path.Base(dir), dir: dir, dev: dev, devName: devName(sys, dir),
		size:      attrInt(sys, dir, "size") * sectorSize,
		logical:   int(attrInt(sys, dir, "queue/logical_block_size")),
		physical:  int(attrInt(sys, dir, "queue/physical_block_size")),
		readOnly:  attrInt(sys, dir, "ro") != 0,
		removable: attrInt(sys, dir, "removable") != 0,
		slaves:    entries(sys, path.Join(dir, "slaves")),
		holders:   entries(sys, path.Join(dir, "holders")),
		backing:   strings.TrimSuffix(attr(sys, dir, "loop/backing_file"), " (deleted)"),
	}
	t[n.name] = n
	return n
}

// addParts reads the partitions of a disk: the directories below it that have
// a partition number.
func (t tree) addParts(sys fs.FS, disk *node) {
	for _, name := range entries(sys, disk.dir) {
		dir := path.Join(disk.dir, name)
		number := attrInt(sys, dir, "partition")
		if number <= 0 {
			continue
		}
		p := t.add(sys, dir)
		if p == nil {
			continue
		}
		p.disk, p.number = disk.name, int(number)
		p.start = attrInt(sys, dir, "start") * sectorSize
		p.logical, p.physical = disk.logical, disk.physical
		p.removable, p.readOnly = disk.removable, p.readOnly || disk.readOnly
		disk.parts = append(disk.parts, name)
	}
	slices.SortFunc(disk.parts, func(a, b string) int { return t[a].number - t[b].number })
}

// byDev returns the device with the given number, nil if there is none.
func (t tree) byDev(dev devno) *node {
	if dev == 0 {
		return nil
	}
	for _, n := range t {
		if n.dev == dev {
			return n
		}
	}
	return nil
}

// devName returns the name that the kernel gives the device below /dev.
func devName(sys fs.FS, dir string) string {
	for line := range strings.Lines(attr(sys, dir, "uevent")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok && name != "" {
			return name
		}
	}
	return strings.ReplaceAll(path.Base(dir), "!", "/")
}

// attr returns an attribute of a device without blanks around it, empty if it
// has none.
func attr(sys fs.FS, dir, name string) string {
	text, err := fs.ReadFile(sys, path.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// attrInt returns an attribute that is a number, zero if there is none.
func attrInt(sys fs.FS, dir, name string) int64 {
	n, err := strconv.ParseInt(attr(sys, dir, name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// entries returns the names in a directory, none if there is no directory.
func entries(sys fs.FS, dir string) []string {
	list, _ := fs.ReadDir(sys, dir)
	var names []string
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

// readBtrfs returns the devices of every mounted btrfs, by kernel name. A
// machine without btrfs has none (kernel documentation, filesystems/btrfs:
// /sys/fs/btrfs/UUID/devices).
func readBtrfs(sys fs.FS) ([][]string, error) {
	list, err := fs.ReadDir(sys, "fs/btrfs")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var members [][]string
	for _, entry := range list {
		if names := entries(sys, path.Join("fs/btrfs", entry.Name(), "devices")); len(names) > 0 {
			members = append(members, names)
		}
	}
	return members, err
}
