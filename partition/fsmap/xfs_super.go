package fsmap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

const (
	xfsMagic      = "XFSB"
	xfsSuperSize  = 512       // bytes read to learn the sector size; all fields lie within
	xfsMinBlocks  = 64        // XFS_MIN_AG_BLOCKS: the shortest last group
	xfsMaxGroup   = 1 << 40   // XFS_MAX_AG_BYTES
	xfsMaxLog     = 2 << 30   // bytes, a little above XFS_MAX_LOG_BYTES
	xfsCRCInSuper = 224       // offset of sb_crc
	xfsNull       = 1<<32 - 1 // NULLAGBLOCK: no block
)

// Bits of sb_versionnum, below them the version itself.
const (
	xfsVersionMask   = 0x000f
	xfsVersionShared = 0x0200 // its meaning was never implemented on Linux
	xfsVersionLogV2  = 0x0400
	xfsVersionDirV2  = 0x2000
)

// Feature bits that may be set without a change to the free space B+trees,
// the group headers, or the log's unmount record. Those of sb_features2 are
// lazy counters, attr2, 32 bit project IDs, checksums and file types in
// directories. Of the incompatible ones file types, sparse inodes, meta UUID,
// bigtime, 64 bit extent counters, exchange range and parent pointers. Of the
// read-only compatible ones the free inode B+tree, reverse mappings, reflinks
// and inode B+tree counters. Of those of the log, extended attributes.
const (
	xfsFeatures2Known   = 0x0002 | 0x0008 | 0x0080 | 0x0100 | 0x0200
	xfsIncompatKnown    = 0x0001 | 0x0002 | xfsIncompatMetaUUID | 0x0008 | 0x0020 | 0x0040 | 0x0080
	xfsROCompatKnown    = 0x0001 | 0x0002 | 0x0004 | 0x0008
	xfsLogIncompatKnown = 0x0001

	xfsIncompatMetaUUID    = 0x0004 // metadata carries another UUID than the one users see
	xfsIncompatNeedsRepair = 0x0010
	xfsIncompatMetaDir     = 0x0100 // metadata directory, the base of realtime groups
	xfsIncompatZoned       = 0x0200
	xfsIncompatZoneGaps    = 0x0400
)

// An xfsUUID identifies a file system.
type xfsUUID [16]byte

// String returns u as blkid prints it.
func (u xfsUUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// An xfsSuper is what the primary superblock tells (struct xfs_dsb in
// xfs_format.h). Lengths are in blocks unless they say bytes.
type xfsSuper struct {
	blockSize  int64 // bytes
	sectorSize int64 // bytes
	blocks     uint64
	groups     uint32 // how many allocation groups there are
	perGroup   uint32 // blocks of every group but the last

	realtime   uint64 // blocks of the realtime device
	logStart   uint64 // a block number that has the group in its upper bits
	logBlocks  uint32
	groupLog   uint8 // bits of a block number below the group
	blockLog   uint8
	sectorLog  uint8
	inProgress uint8 // mkfs has not finished
	sharedVn   uint8

	version     uint16 // sb_versionnum
	features2   uint32
	roCompat    uint32
	incompat    uint32
	logIncompat uint32

	label    string
	userUUID xfsUUID // the one that users see, also in the log
	metaUUID xfsUUID // the one in all other metadata
}

// readXFSSuper returns the superblock at the start of the volume, or
// errNotMine. It claims the volume if the magic is there and both sizes are
// possible and agree with their logarithms.
func readXFSSuper(v *volume) (*xfsSuper, error) {
	p, err := v.read(0, xfsSuperSize)
	if err != nil || string(p[:4]) != xfsMagic {
		return nil, errNotMine
	}
	s := decodeXFSSuper(p)
	if !xfsPower(s.blockSize, s.blockLog, 9, 16) || !xfsPower(s.sectorSize, s.sectorLog, 9, 15) {
		return nil, errNotMine
	}
	return s, nil
}

// xfsPower reports whether size is two to the power of log, and log at least
// low and at most high.
func xfsPower(size int64, log uint8, low, high uint8) bool {
	return log >= low && log <= high && size == 1<<log
}

// decodeXFSSuper reads the fields of a superblock of at least xfsSuperSize bytes.
func decodeXFSSuper(p []byte) *xfsSuper {
	be := binary.BigEndian
	s := &xfsSuper{
		blockSize:  int64(be.Uint32(p[4:])),
		blocks:     be.Uint64(p[8:]),
		realtime:   be.Uint64(p[16:]) | be.Uint64(p[24:]),
		userUUID:   xfsUUID(p[32:48]),
		logStart:   be.Uint64(p[48:]),
		perGroup:   be.Uint32(p[84:]),
		groups:     be.Uint32(p[88:]),
		logBlocks:  be.Uint32(p[96:]),
		version:    be.Uint16(p[100:]),
		sectorSize: int64(be.Uint16(p[102:])),
		label:      string(bytes.TrimRight(p[108:120], "\x00")),
		blockLog:   p[120],
		sectorLog:  p[121],
		groupLog:   p[124],
		inProgress: p[126],
		sharedVn:   p[179],
		features2:  be.Uint32(p[200:]) | be.Uint32(p[204:]), // the second one is sb_bad_features2, a misplaced copy
	}
	s.metaUUID = s.userUUID
	if !s.v5() {
		return s
	}
	s.roCompat = be.Uint32(p[212:])
	s.incompat = be.Uint32(p[216:])
	s.logIncompat = be.Uint32(p[220:])
	if s.incompat&xfsIncompatMetaUUID != 0 {
		s.metaUUID = xfsUUID(p[248:264])
	}
	return s
}

// v5 reports whether metadata has checksums and tells where it belongs.
func (s *xfsSuper) v5() bool { return s.version&xfsVersionMask == 5 }

// check returns why the file system cannot be mapped, nil if nothing in the
// superblock speaks against it.
func (s *xfsSuper) check(v *volume) error {
	if err := s.checkSum(v); err != nil {
		return err
	}
	if err := s.checkFeatures(); err != nil {
		return err
	}
	if err := s.checkGeometry(v.size); err != nil {
		return err
	}
	return s.checkLogPlace()
}

// checkSum verifies the superblock's checksum, which spans its sector.
func (s *xfsSuper) checkSum(v *volume) error {
	if !s.v5() {
		return nil
	}
	p, err := v.read(0, s.sectorSize)
	if err != nil {
		return err
	}
	if !xfsChecksumOK(p, xfsCRCInSuper) {
		return damaged("the checksum of the superblock is wrong")
	}
	return nil
}

// checkFeatures refuses what would make the map wrong or what is not known.
// Unknown compatible features are harmless by definition.
func (s *xfsSuper) checkFeatures() error {
	version := s.version & xfsVersionMask
	switch {
	case version != 4 && version != 5:
		return fmt.Errorf("version %d of XFS is not supported", version)
	case s.inProgress != 0:
		return errors.New("its mkfs has not finished")
	case s.incompat&xfsIncompatNeedsRepair != 0:
		return errors.New("it is marked as in need of xfs_repair")
	case s.incompat&xfsIncompatZoned != 0, s.incompat&xfsIncompatZoneGaps != 0:
		return errors.New("zoned XFS is not supported")
	case s.incompat&xfsIncompatMetaDir != 0:
		return errors.New("XFS with a metadata directory is not supported")
	case s.realtime != 0:
		return errors.New("it has a realtime device")
	case s.logStart == 0:
		return errors.New("its log is on another device")
	case s.version&xfsVersionShared != 0 || s.sharedVn != 0:
		return errors.New("shared XFS is not supported")
	case s.version&xfsVersionDirV2 == 0:
		return errors.New("XFS with directories of version 1 is not supported")
	}
	return s.checkUnknown()
}

// checkUnknown refuses feature bits that nobody had defined when this was
// written.
func (s *xfsSuper) checkUnknown() error {
	for _, f := range []struct {
		kind string
		bits uint32
	}{
		{"incompatible", s.incompat &^ xfsIncompatKnown},
		{"read-only compatible", s.roCompat &^ xfsROCompatKnown},
		{"log incompatible", s.logIncompat &^ xfsLogIncompatKnown},
		{"version 4", s.features2 &^ xfsFeatures2Known},
	} {
		if f.bits != 0 {
			return fmt.Errorf("it has unknown %s features (%#x)", f.kind, f.bits)
		}
	}
	return nil
}

// checkGeometry verifies that the groups fit together and into a volume of
// size bytes. Afterwards no product of blocks and blockSize can overflow.
func (s *xfsSuper) checkGeometry(size int64) error {
	all := uint64(s.groups) * uint64(s.perGroup)
	switch {
	case s.sectorSize > s.blockSize:
		return damaged("sectors of %d bytes in blocks of %d", s.sectorSize, s.blockSize)
	case s.groups == 0 || s.perGroup < xfsMinBlocks || int64(s.perGroup) > xfsMaxGroup/s.blockSize:
		return damaged("%d allocation groups of %d blocks", s.groups, s.perGroup)
	case int(s.groupLog) != bits.Len32(s.perGroup-1):
		return damaged("block numbers of %d bits for allocation groups of %d blocks", s.groupLog, s.perGroup)
	case s.blocks > all || s.blocks < all-uint64(s.perGroup)+xfsMinBlocks:
		return damaged("%d blocks in %d allocation groups of %d", s.blocks, s.groups, s.perGroup)
	case s.blocks > uint64(size/s.blockSize):
		return damaged("a file system of %d blocks of %d bytes on a volume of %d bytes", s.blocks, s.blockSize, size)
	}
	return nil
}

// checkLogPlace verifies that the log lies within one group. It needs a
// geometry that was checked.
func (s *xfsSuper) checkLogPlace() error {
	group, block := s.logStart>>s.groupLog, s.logStart&(1<<s.groupLog-1)
	switch {
	case s.logBlocks == 0 || int64(s.logBlocks) > xfsMaxLog/s.blockSize:
		return damaged("a log of %d blocks", s.logBlocks)
	case group >= uint64(s.groups) || block+uint64(s.logBlocks) > uint64(s.groupLength(uint32(group))):
		return damaged("a log of %d blocks at block %d of allocation group %d", s.logBlocks, block, group)
	}
	return nil
}

// groupLength returns how many blocks a group has; the last one is as long as
// the file system allows.
func (s *xfsSuper) groupLength(group uint32) uint32 {
	return uint32(min(uint64(s.perGroup), s.blocks-uint64(group)*uint64(s.perGroup)))
}

// offset returns where a block of a group lies, in bytes.
func (s *xfsSuper) offset(group, block uint32) int64 {
	return (int64(group)*int64(s.perGroup) + int64(block)) * s.blockSize
}
