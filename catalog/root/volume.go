package root

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"slipcast/internal/blockdev"
	"slipcast/partition/fsmap"
)

// A Volume is a partition, or another block device, of a disk.
type Volume struct {
	Node      string // the block device; it may be a loop device
	Name      string // for people: "partition 2"; empty: Node
	Number    int    // of the partition; 0: it is none
	PartUUID  string // as fstab says it: the GUID, or DISKID-NN of an MBR; empty if it has none
	PartLabel string
}

func (v Volume) name() string {
	if v.Name == "" {
		return v.Node
	}
	return v.Name
}

// A probed volume is one whose contents are known.
type probed struct {
	Volume
	fs      string // as fsmap calls it
	uuid    string
	label   string
	dirty   bool
	refused *RefusedError // why it is never mounted; else nil
}

// probe finds out what is on a volume and closes it again.
func probe(ctx context.Context, v Volume) (*probed, error) {
	dev, err := blockdev.OpenSource(v.Node)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	m, err := fsmap.Read(ctx, dev, dev.Size(), fsmap.Options{})
	if err != nil {
		return nil, err
	}
	p := &probed{Volume: v, fs: m.Type, uuid: m.UUID, label: m.Label, dirty: m.Dirty}
	p.refused = refusalOf(v.name(), m, extErrors(dev))
	return p, nil
}

// refusalOf tells why a file system is never mounted.
func refusalOf(name string, m *fsmap.Map, errorsSeen bool) *RefusedError {
	refuse := func(reason Reason, detail string) *RefusedError {
		return &RefusedError{Volume: name, Reason: reason, Detail: detail}
	}
	said := strings.Join(m.Notes, "; ")
	switch {
	case m.Type == "crypto_LUKS":
		return refuse(Encrypted, "it is encrypted with LUKS")
	case m.Type == "BitLocker":
		return refuse(Encrypted, "it is encrypted with BitLocker")
	case m.Type == "swsuspend":
		return refuse(Suspended, "a suspended Linux is on this swap area; it must be started and shut down")
	case m.Type == "ntfs" && strings.Contains(said, "suspended"):
		return refuse(Suspended, "Windows is hibernated or used fast startup; it must be started and shut down with Shift held")
	case m.Type == "ntfs" && m.Dirty:
		return refuse(Dirty, "it is marked dirty; chkdsk /f in Windows mends it")
	case strings.HasPrefix(m.Type, "ext") && m.Type != "exfat" && errorsSeen:
		return refuse(Damaged, "its driver has seen errors in it; e2fsck -f mends it")
	case m.Type == "":
		return refuse(Container, "its contents are not known: "+said)
	case driverOf(m.Type).name == "" && m.Type != "swap":
		return refuse(Container, fmt.Sprintf("it is of type %s, which is not mounted", m.Type))
	}
	return nil
}

// The superblock of ext2 to ext4, linux/fs/ext4/ext4.h.
const (
	extSuper     = 1024
	extMagic     = 56 // s_magic, from extSuper
	extState     = 58 // s_state
	extErrorFlag = 2  // EXT4_ERROR_FS
)

// extErrors tells whether the driver of an ext file system has noted there
// that it found errors.
func extErrors(dev *blockdev.Device) bool {
	p := make([]byte, 4)
	if _, err := dev.ReadAt(p, extSuper+extMagic); err != nil {
		return false
	}
	return binary.LittleEndian.Uint16(p) == 0xef53 && binary.LittleEndian.Uint16(p[extState-extMagic:])&extErrorFlag != 0
}

// is tells whether fstab means this volume by spec.
func (p *probed) is(spec string) bool {
	for _, prefix := range []string{"/dev/disk/by-uuid/", "/dev/disk/by-label/", "/dev/disk/by-partuuid/", "/dev/disk/by-partlabel/"} {
		if value, ok := strings.CutPrefix(spec, prefix); ok {
			kind := strings.TrimSuffix(strings.TrimPrefix(prefix, "/dev/disk/by-"), "/")
			return p.is(strings.ToUpper(kind) + "=" + value)
		}
	}
	kind, value, ok := strings.Cut(spec, "=")
	if !ok {
		return p.Number > 0 && firstDisk(spec) == fmt.Sprint(p.Number)
	}
	value = strings.Trim(value, `"'`)
	switch kind {
	case "UUID":
		return value != "" && strings.EqualFold(value, p.uuid)
	case "LABEL":
		return value != "" && value == p.label
	case "PARTUUID":
		return value != "" && strings.EqualFold(value, p.PartUUID)
	case "PARTLABEL":
		return value != "" && value == p.PartLabel
	}
	return false
}

// firstDisk returns the number of a partition that is named by the kernel's
// name on the first disk of a machine, which a machine of one disk has.
func firstDisk(spec string) string {
	for _, prefix := range []string{"/dev/sda", "/dev/vda", "/dev/hda", "/dev/xvda", "/dev/nvme0n1p", "/dev/mmcblk0p"} {
		if number, ok := strings.CutPrefix(spec, prefix); ok {
			return number
		}
	}
	return ""
}
