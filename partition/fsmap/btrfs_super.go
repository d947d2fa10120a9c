package fsmap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	btrfsSuperSize = 4096
	btrfsMagic     = "_BHRfS_M"
	btrfsSysSize   = 2048 // room for the system chunks in the superblock
)

// btrfsSuperOffsets are the places of the superblock and its copies, as far
// as the device reaches. Like the kernel we believe the first alone: the
// copies are not written when a log tree is.
var btrfsSuperOffsets = [3]int64{64 << 10, 64 << 20, 256 << 30}

// A btrfsSuper is a decoded superblock (struct btrfs_super_block). Sizes are
// in bytes.
type btrfsSuper struct {
	fsid         [16]byte // what blkid shows
	metadataUUID [16]byte // what all tree blocks carry
	deviceUUID   [16]byte
	deviceFSID   [16]byte
	label        string

	flags                        uint64
	compat, compatRO, incompat   uint64
	generation                   uint64
	root, chunkRoot, logRoot     btrfsTree // logRoot.start is zero if there is none
	bytesUsed, devices, deviceID uint64
	deviceSize                   int64
	sectorSize, nodeSize         int64

	sum       btrfsSum
	sysChunks []byte
}

// readBtrfsSuper returns the block with the superblock, or errNotMine if it
// does not carry the magic and its own address.
func readBtrfsSuper(v *volume) ([]byte, error) {
	block, err := v.read(btrfsSuperOffsets[0], btrfsSuperSize)
	if err != nil { // what is unreadable claims nothing
		return nil, errNotMine
	}
	address := int64(binary.LittleEndian.Uint64(block[48:]))
	if string(block[64:72]) != btrfsMagic || address != btrfsSuperOffsets[0] {
		return nil, errNotMine
	}
	return block, nil
}

// parseBtrfsSuper verifies the checksum of the superblock and decodes it. The
// result keeps references into p.
func parseBtrfsSuper(p []byte) (*btrfsSuper, error) {
	sum, err := newBtrfsSum(binary.LittleEndian.Uint16(p[196:]))
	if err != nil {
		return nil, err
	}
	if !sum.verify(p) {
		return nil, damaged("superblock: wrong checksum")
	}
	s := decodeBtrfsSuper(p)
	s.sum = sum
	if s.incompat&btrfsMetadataUUID == 0 {
		s.metadataUUID = s.fsid
	}
	n := binary.LittleEndian.Uint32(p[160:])
	if n > btrfsSysSize {
		return nil, damaged("superblock: %d bytes of system chunks", n)
	}
	s.sysChunks = p[811 : 811+n]
	return s, nil
}

// decodeBtrfsSuper reads the superblock field by field.
func decodeBtrfsSuper(p []byte) *btrfsSuper {
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(p[at:])) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(p[at:]) }
	s := &btrfsSuper{
		fsid:         [16]byte(p[32:]),
		flags:        u64(56),
		generation:   u64(72),
		bytesUsed:    u64(120),
		devices:      u64(136),
		sectorSize:   u32(144),
		nodeSize:     u32(148),
		compat:       u64(172),
		compatRO:     u64(180),
		incompat:     u64(188),
		deviceID:     u64(201), // from here to 299 a struct btrfs_dev_item
		deviceSize:   int64(u64(209)),
		deviceUUID:   [16]byte(p[267:]),
		deviceFSID:   [16]byte(p[283:]),
		metadataUUID: [16]byte(p[571:]),
	}
	s.root = btrfsTree{owner: btrfsRootTree, start: u64(80), generation: s.generation, level: p[198]}
	s.chunkRoot = btrfsTree{owner: btrfsChunkTree, start: u64(88), generation: u64(164), level: p[199]}
	// Log trees belong to the transaction that the next superblock commits.
	s.logRoot = btrfsTree{owner: btrfsLogTree, start: u64(96), generation: s.generation + 1, level: p[200]}
	label, _, _ := bytes.Cut(p[299:555], []byte{0})
	s.label = string(label)
	return s
}

// describe fills in what the superblock tells of the file system.
func (s *btrfsSuper) describe(m *Map) {
	id := s.fsid
	m.UUID = fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	m.Label = s.label
	m.BlockSize = s.sectorSize
	m.Size = s.deviceSize
	m.Dirty = s.logRoot.start != 0
}

// check refuses what cannot be right on a volume of size bytes and what the
// package cannot map.
func (s *btrfsSuper) check(size int64) error {
	if err := s.checkFeatures(); err != nil {
		return err
	}
	return s.checkGeometry(size)
}

// Feature bits, from linux/btrfs.h (BTRFS_FEATURE_*). What is not listed here
// is not known.
const (
	btrfsMixedBackref = 1 << 0
	btrfsSkinny       = 1 << 8
	btrfsMetadataUUID = 1 << 10

	// Beside the three above: default subvolume, mixed groups, LZO, zstd, big
	// metadata, extended references, RAID 5 and 6, no holes, RAID1C34 and
	// simple quotas. None of them moves the map, and striping is refused chunk
	// by chunk. Not known are zones (bit 12), the second extent tree (13), the
	// stripe tree (14) and the remap tree (17), which do.
	btrfsKnownIncompat = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 |
		1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<16
	// The free space tree, its validity, fs-verity and the block group tree.
	btrfsKnownCompatRO = 1<<0 | 1<<1 | 1<<2 | 1<<3

	// BTRFS_HEADER_FLAG_WRITTEN and _RELOC. Other flags tell of errors, of a
	// seed device, of a dump without data or of a change that was cut off.
	btrfsKnownFlags = 1<<0 | 1<<1
)

// checkFeatures refuses flags and features that are not known to leave the
// map alone.
func (s *btrfsSuper) checkFeatures() error {
	for _, f := range []struct {
		name        string
		have, known uint64
	}{
		{"incompatible features", s.incompat, btrfsKnownIncompat},
		{"features of the compat_ro kind", s.compatRO, btrfsKnownCompatRO},
		{"features of the compat kind", s.compat, 0},
		{"superblock flags", s.flags, btrfsKnownFlags},
	} {
		if extra := f.have &^ f.known; extra != 0 {
			return fmt.Errorf("%s %#x that are not understood", f.name, extra)
		}
	}
	if s.incompat&btrfsMixedBackref == 0 {
		return errors.New("a format from before Linux 2.6.31")
	}
	if s.devices != 1 {
		return fmt.Errorf("one of %d devices of a file system", s.devices)
	}
	return nil
}

// checkGeometry refuses sizes that cannot be right.
func (s *btrfsSuper) checkGeometry(size int64) error {
	switch {
	case !btrfsBlockSize(s.sectorSize) || !btrfsBlockSize(s.nodeSize) || s.nodeSize < s.sectorSize:
		return damaged("sectors of %d and nodes of %d bytes", s.sectorSize, s.nodeSize)
	case s.deviceSize < btrfsReserved || s.deviceSize > size:
		return damaged("a file system of %d bytes on a volume of %d", s.deviceSize, size)
	case s.deviceID == 0:
		return errors.New("the unfinished target of a device replacement")
	case s.deviceFSID != s.metadataUUID:
		return damaged("a device of another file system")
	}
	return nil
}

// btrfsBlockSize reports whether n bytes can be the size of a sector or node:
// a power of two up to BTRFS_MAX_METADATA_BLOCKSIZE.
func btrfsBlockSize(n int64) bool {
	return n >= 4096 && n <= 65536 && n&(n-1) == 0
}
