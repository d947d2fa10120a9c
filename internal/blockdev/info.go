package blockdev

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A Kind tells disks, partitions and files apart.
type Kind string

// The kinds of what can be imaged.
const (
	Disk      Kind = "disk"
	Partition Kind = "partition"
	File      Kind = "file"
)

// fileSector is the sector size that a plain file has as a disk.
const fileSector = 512

// Info describes a device or file for people and for checks. Model and Serial
// come from the device and are made fit for a terminal.
type Info struct {
	Path           string   // as the caller gave it
	Device         string   // the node in /dev; empty for a file
	Kind           Kind     //
	Size           int64    // bytes
	LogicalSector  int      // bytes
	PhysicalSector int      // bytes
	Model          string   // of the disk; "loop: /path" for a loop device
	Serial         string   // of the disk; empty if it has none
	Transport      string   // usb, sata, nvme, ...; empty if it is not known
	Removable      bool     // the medium can be taken out
	ReadOnly       bool     // the kernel, or the mode of the file, forbids to write
	Parent         string   // of a partition: the node of its disk
	Number         int      // of a partition
	Start          int64    // of a partition: its first byte on the disk
	Mounts         []string // where it, its partitions and what lies on them are mounted
	Holders        []string // names of the devices that lie on it or its partitions
}

// Stat describes the device or plain file at path and opens nothing.
func Stat(path string) (*Info, error) {
	m := thisMachine()
	id, err := m.stat(path)
	if err != nil {
		return nil, err
	}
	if err := kindError(path, id); err != nil {
		return nil, err
	}
	s, err := m.load()
	if err != nil {
		return nil, err
	}
	return s.info(path, id), nil
}

// List describes the disks of the machine, sorted by name: all that have a
// size, without those that live in memory (ram, zram).
func List() ([]*Info, error) {
	s, err := thisMachine().load()
	if err != nil {
		return nil, err
	}
	return s.disks(), nil
}

func (s *state) disks() []*Info {
	var list []*Info
	for _, n := range s.nodes {
		inMemory := strings.HasPrefix(n.name, "ram") || strings.HasPrefix(n.name, "zram")
		if n.disk != "" || n.size == 0 || inMemory {
			continue
		}
		info := s.deviceInfo(n)
		info.Path = info.Device
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b *Info) int {
		return cmp.Or(cmp.Compare(len(a.Device), len(b.Device)), cmp.Compare(a.Device, b.Device))
	})
	return list
}

// info describes what id, at path, is.
func (s *state) info(path string, id fileID) *Info {
	n := s.nodes.byDev(id.rdev)
	if !id.isDevice() || n == nil {
		info := &Info{
			Path: path, Kind: File, Size: id.size, LogicalSector: fileSector, PhysicalSector: fileSector,
			ReadOnly: id.mode.Perm()&0o222 == 0,
		}
		for _, name := range s.loopsOf(id) {
			info.Holders = append(info.Holders, s.label(name))
		}
		info.Mounts = s.mountsOn(s.stackOn(id))
		return info
	}
	info := s.deviceInfo(n)
	info.Path = path
	if node, err := s.stat(info.Device); err != nil || !node.same(id) {
		info.Device = path // a node that somebody made elsewhere
		if real, err := filepath.EvalSymlinks(path); err == nil {
			info.Device = real
		}
	}
	return info
}

// deviceInfo describes a block device, apart from the path.
func (s *state) deviceInfo(n *node) *Info {
	disk := n
	info := &Info{
		Kind: Disk, Device: "/dev/" + n.devName, Size: n.size,
		LogicalSector: n.logical, PhysicalSector: max(n.physical, n.logical),
		Removable: n.removable, ReadOnly: n.readOnly,
		Mounts: s.mountsOn(s.above(n.name)), Holders: s.users(n.name),
	}
	if n.disk != "" {
		disk = s.nodes[n.disk]
		info.Kind, info.Parent = Partition, "/dev/"+disk.devName
		info.Number, info.Start = n.number, n.start
	}
	info.Model, info.Serial, info.Transport = s.model(disk), s.serial(disk), s.transport(disk)
	return info
}

// identify describes a file that was looked up or is open, apart from its
// mount.
func identify(info os.FileInfo) fileID {
	id := fileID{mode: info.Mode(), size: info.Size()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.dev, id.inode, id.rdev = devno(st.Dev), st.Ino, devno(st.Rdev)
	}
	return id
}
