package fsmap

import (
	"bytes"
	"errors"
)

// A container is a format that the package recognizes and has no map for.
type container struct {
	kind string // as blkid names it
	note string

	// at returns where the marks are counted from, negative if the volume is
	// too small; nil stands for the start of the volume.
	at func(size int64) int64

	// marks are bytes that must all be there.
	marks []containerMark
}

// A containerMark is what must stand at an offset.
type containerMark struct {
	offset int64
	bytes  string
}

// containers returns the formats. Offsets and magic numbers are those of
// libblkid (util-linux, libblkid/src/superblocks), where a short magic number
// is joined here by another field that never changes.
func containers() []container {
	const (
		raid      = "a member of a RAID (mdraid) has no map here"
		zfs       = "a member of a ZFS pool has no map here"
		zfsHeader = "\x00\x00\x00\x07version\x00" // the first name of its list of settings
		bitLocker = "encrypted (BitLocker)"
	)
	return []container{
		{"BitLocker", bitLocker, nil, []containerMark{{3, "-FVE-FS-"}, {510, "\x55\xAA"}}},
		{"BitLocker", bitLocker, nil, []containerMark{{3, "MSWIN4.1"}, // BitLocker To Go
			{424, "\x3B\xD6\x67\x49\x29\x2E\xD8\x4A\x83\x99\xF6\xA3\x39\xE3\xD0\x01"}}},
		{"ReFS", "ReFS has no map here", nil, []containerMark{{3, "ReFS\x00\x00\x00\x00"}}},
		{"linux_raid_member", raid, raidEnd0, []containerMark{{0, "\xFC\x4E\x2B\xA9\x00\x00\x00\x00\x5A\x00\x00\x00"}}},
		{"linux_raid_member", raid, raidEnd0, []containerMark{{0, "\xA9\x2B\x4E\xFC\x00\x00\x00\x00\x00\x00\x00\x5A"}}},
		{"linux_raid_member", raid, raidEnd1, []containerMark{{0, raid1}}},
		{"linux_raid_member", raid, nil, []containerMark{{0, raid1}, {144, "\x00\x00\x00\x00\x00\x00\x00\x00"}}},
		{"linux_raid_member", raid, nil, []containerMark{{4096, raid1}, {4240, "\x08\x00\x00\x00\x00\x00\x00\x00"}}},
		{"zfs_member", zfs, nil, []containerMark{{16 << 10, "\x01"}, {16<<10 + 20, zfsHeader}}},
		{"zfs_member", zfs, nil, []containerMark{{272 << 10, "\x01"}, {272<<10 + 20, zfsHeader}}},
		{"bcache", "a member of a bcache set has no map here", nil,
			[]containerMark{{4120, "\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81"}}},
		{"bcachefs", "bcachefs has no map here", nil,
			[]containerMark{{4120, "\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF"}}},
		{"apfs", "APFS has no map here", nil, []containerMark{{8, "\x01\x00\x00\x00\x00\x00\x00\x00"},
			{24, "\x01\x00\x00\x80\x00\x00\x00\x00NXSB"}}},
		{"hfsplus", "HFS+ has no map here", nil, []containerMark{{1024, "H+\x00\x04"}}},
		{"hfsplus", "HFS+ has no map here", nil, []containerMark{{1024, "HX\x00\x05"}}},
		{"squashfs", "squashfs has no map here", nil, []containerMark{{0, "hsqs"}, {28, "\x04\x00"}}},
		{"iso9660", "ISO 9660 has no map here", nil, []containerMark{{32768, "\x01CD001\x01"}}},
		{"reiserfs", "ReiserFS has no map here", nil, []containerMark{{65588, "ReIsErFs"}}},
		{"reiserfs", "ReiserFS has no map here", nil, []containerMark{{65588, "ReIsEr2Fs"}}},
		{"reiserfs", "ReiserFS has no map here", nil, []containerMark{{65588, "ReIsEr3Fs"}}},
		{"reiserfs", "ReiserFS has no map here", nil, []containerMark{{8244, "ReIsErFs"}}},
		{"jfs", "JFS has no map here", nil, []containerMark{{32768, "JFS1"}, {32773, "\x00\x00\x00"}}},
		{"nilfs2", "NILFS2 has no map here", nil, []containerMark{{1024, "\x02\x00\x00\x00\x00\x00\x34\x34"}}},
	}
}

// raid1 starts a superblock of mdraid 1.x: magic number and version, see
// struct mdp_superblock_1 in the Linux header uapi/linux/raid/md_p.h. Where at
// the start of a volume, its field super_offset at 144 must agree.
const raid1 = "\xFC\x4E\x2B\xA9\x01\x00\x00\x00"

// raidEnd0 returns where mdraid 0.90 has its superblock: in the last 64 KiB
// that are aligned to their size.
func raidEnd0(size int64) int64 { return size&^(64<<10-1) - 64<<10 }

// raidEnd1 returns where mdraid 1.0 has its superblock: at least 8 KiB before
// the end, aligned to 4 KiB.
func raidEnd1(size int64) int64 { return (size/512 - 16) &^ 7 * 512 }

// readContainer claims what is in the table of [containers]. A superblock of
// mdraid may lie at the end of what looks like a plain file system; both are
// claimed then, and the volume is captured whole.
func readContainer(v *volume) (*Map, error) {
	for _, c := range containers() {
		found, err := c.on(v)
		if err != nil {
			return nil, err
		}
		if found {
			return &Map{Type: c.kind}, errors.New(c.note)
		}
	}
	return nil, errNotMine
}

// on tells whether all marks of c are on the volume.
func (c container) on(v *volume) (bool, error) {
	base := int64(0)
	if c.at != nil {
		base = c.at(v.size)
	}
	for _, mark := range c.marks {
		at, n := base+mark.offset, int64(len(mark.bytes))
		if base < 0 || at > v.size-n {
			return false, nil
		}
		p, err := v.read(at, n)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(p, []byte(mark.bytes)) {
			return false, nil
		}
	}
	return true, nil
}
