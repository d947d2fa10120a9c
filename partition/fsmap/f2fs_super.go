package fsmap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"unicode/utf16"
)

// The layout of F2FS, from the Linux header include/linux/f2fs_fs.h (struct
// f2fs_super_block) and Documentation/filesystems/f2fs.rst, "On-disk Layout".
// Addresses on disk are numbers of blocks from the start of the volume.
const (
	f2fsMagic       = 0xF2F52010
	f2fsBlock       = 4096 // bytes; kernels with larger pages also make larger ones
	f2fsSegment     = 512  // blocks
	f2fsSuperOffset = 1024 // in block 0, and the copy in block 1
	f2fsSuperSize   = 3072
	f2fsSuperCRC    = 3068

	// f2fsMaxPayload is how many blocks of bitmaps a checkpoint can have, so
	// that its pack still fits into a segment.
	f2fsMaxPayload = f2fsSegment - 2 - 6
)

// Features of the superblock that matter here.
const (
	f2fsFeatureChecksum = 0x0800

	// f2fsFeatures are those that change nothing about which blocks are in
	// use: encryption, atomic writes, attributes and times in inodes, quotas,
	// checksums, lost+found, verity, case folding and compression. Not among
	// them: zoned devices (0x2), read-only images, whose logs are not those
	// of others (0x4000), files that stand for a device (0x8000), packed
	// summaries (0x10000), and whatever comes later.
	f2fsFeatures = 0x3FFD
)

// An f2fsSuper is what the superblock tells, in blocks unless a name says
// otherwise.
type f2fsSuper struct {
	uuid     string
	label    string
	features uint32
	size     int64 // of the file system
	cp       int64 // address of the first checkpoint pack
	sit      int64 // address of the segment information table
	sitSize  int64 // of one of its two copies
	natSize  int64 // of one of the two copies of the node address table
	main     int64 // address of the main area, where nodes and data are
	segments int64 // of the main area
	payload  int64 // of a checkpoint
}

// readF2FSSuper reads the superblock at the start of the volume and compares
// it with its copy. The kernel writes both alike.
func readF2FSSuper(v *volume) (*f2fsSuper, error) {
	if v.size < 2*f2fsBlock {
		return nil, errNotMine
	}
	p, err := v.read(f2fsSuperOffset, f2fsSuperSize)
	if err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(p) != f2fsMagic {
		return nil, errNotMine
	}
	s := parseF2FSSuper(p)
	if err := checkF2FSSuper(p); err != nil {
		return s, err
	}
	backup, err := v.read(f2fsBlock+f2fsSuperOffset, f2fsSuperSize)
	if err != nil {
		return s, err
	}
	if !bytes.Equal(p, backup) {
		return s, damaged("the copies of the superblock differ")
	}
	return s, s.check(p, v.size)
}

// parseF2FSSuper reads the fields.
func parseF2FSSuper(p []byte) *f2fsSuper {
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(p[at:])) }
	s := &f2fsSuper{
		uuid:     uuidText(p[108:124]),
		label:    f2fsLabel(p[124:1148]),
		features: uint32(u32(2180)),
		cp:       u32(76),
		sit:      u32(80),
		sitSize:  u32(56) / 2 * f2fsSegment,
		natSize:  u32(60) / 2 * f2fsSegment,
		main:     u32(92),
		segments: u32(68),
		payload:  u32(1664),
	}
	s.size = max(int64(min(binary.LittleEndian.Uint64(p[36:]), 1<<40)), s.main+s.segments*f2fsSegment)
	return s
}

// f2fsLabel decodes UTF-16 up to the first zero.
func f2fsLabel(p []byte) string {
	var units []uint16
	for ; len(p) >= 2 && (p[0] != 0 || p[1] != 0); p = p[2:] {
		units = append(units, binary.LittleEndian.Uint16(p))
	}
	return string(utf16.Decode(units))
}

// checkF2FSSuper verifies the checksum and refuses what this package does not
// know: other sizes, unknown features, several devices.
func checkF2FSSuper(p []byte) error {
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(p[at:]) }
	features := u32(2180)
	const devices, stopReasons, endOfErrors = 2201, 2762, 2810
	switch {
	case features&f2fsFeatureChecksum != 0 && (u32(32) != f2fsSuperCRC || u32(f2fsSuperCRC) != f2fsCRC(p[:f2fsSuperCRC])):
		return damaged("the superblock does not match its checksum")
	case u32(16) != 12 || u32(20) != 9:
		return errors.New("blocks and segments of a size that is not known here")
	case features&^f2fsFeatures != 0:
		return errors.New("features that are not known here")
	case p[devices] != 0:
		return errors.New("it spans several devices")
	case !bytes.Equal(p[stopReasons:endOfErrors], make([]byte, endOfErrors-stopReasons)):
		return errors.New("its superblock tells of errors")
	}
	return nil
}

// check makes sure that the areas follow each other as they should and lie in
// a volume of size bytes: checkpoints, segment information, node addresses,
// segment summaries and main area.
func (s *f2fsSuper) check(p []byte, size int64) error {
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(p[at:])) }
	at := u32(72) // segment 0
	end := at + u32(48)*f2fsSegment
	for i := range 5 { // addresses from offset 76, counts of segments from 52
		if u32(76+4*i) != at {
			return damaged("area %d starts at block %d instead of %d", i, u32(76+4*i), at)
		}
		at += u32(52+4*i) * f2fsSegment
	}
	switch {
	case at > end || s.size > size/f2fsBlock:
		return damaged("a file system of %d blocks on a volume of %d", max(at, s.size), size/f2fsBlock)
	case s.cp < 2 || u32(52) < 2 || s.segments < 1:
		return damaged("no room for superblock, checkpoints or main area")
	case s.sitSize*f2fsSITEntries < s.segments:
		return damaged("a table of %d blocks for %d segments", s.sitSize, s.segments)
	case s.payload > f2fsMaxPayload:
		return damaged("checkpoints with %d blocks of bitmaps", s.payload)
	}
	return nil
}

// f2fsCRC is the CRC-32 of IEEE with the magic number as its start value and
// without the last inversion.
func f2fsCRC(p []byte) uint32 { return f2fsAddCRC(f2fsMagic, p) }

// f2fsAddCRC continues a checksum.
func f2fsAddCRC(sum uint32, p []byte) uint32 {
	return ^crc32.Update(^sum, crc32.IEEETable, p)
}
