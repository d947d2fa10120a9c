package fresh

import (
	"bytes"
	"io"
)

// A kind is what is on a volume.
type kind string

// The kinds that are told apart.
const (
	unknown   kind = ""
	ext4      kind = "ext4" // ext2 and ext3 as well, which the same driver serves
	xfs       kind = "xfs"
	btrfs     kind = "btrfs"
	ntfs      kind = "ntfs"
	fat       kind = "fat"
	luks      kind = "LUKS"
	lvm       kind = "LVM"
	md        kind = "md RAID"
	f2fs      kind = "f2fs"
	bitLocker kind = "BitLocker"
)

// hides tells whether there may be a Linux system in what we do not open.
func (k kind) hides() bool { return k == luks || k == lvm || k == md || k == f2fs }

// magics are what the kinds are recognised by, in the order in which they are
// looked for: what contains others comes first. Sources: the kernel's
// linux/magic.h, md_p.h and fs headers; the LUKS1 and LUKS2 on-disk formats; label.h
// of LVM2; the file system's own documentation of the boot sector.
func magics() []struct {
	kind  kind
	at    int64
	bytes string
} {
	return []struct {
		kind  kind
		at    int64
		bytes string
	}{
		{luks, 0, "LUKS\xba\xbe"},
		{bitLocker, 3, "-FVE-FS-"},
		{lvm, 0, "LABELONE"}, {lvm, 512, "LABELONE"}, {lvm, 1024, "LABELONE"}, {lvm, 1536, "LABELONE"},
		{md, 4096, "\xfc\x4e\x2b\xa9"},
		{btrfs, 0x10040, "_BHRfS_M"},
		{xfs, 0, "XFSB"},
		{ext4, 1080, "\x53\xef"},
		{f2fs, 1024, "\x10\x20\xf5\xf2"},
		{ntfs, 3, "NTFS    "},
		{fat, 54, "FAT"}, {fat, 82, "FAT32   "},
	}
}

// probe finds out what is on a volume. What cannot be read is not known; it
// would not be mounted either.
func probe(r io.ReaderAt) kind {
	for _, m := range magics() {
		p := make([]byte, len(m.bytes))
		if n, _ := r.ReadAt(p, m.at); n == len(p) && bytes.Equal(p, []byte(m.bytes)) {
			return m.kind
		}
	}
	return unknown
}
