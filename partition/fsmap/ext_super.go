package fsmap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The superblock has a fixed place and length, whatever the block size.
const (
	extSuperOffset = 1024
	extSuperSize   = 1024
	extMagic       = 0xef53
	extMagicOffset = 0x38
)

// Compatible features (s_feature_compat).
const (
	extHasJournal   = 0x0004
	extSparseSuper2 = 0x0200
	extFastCommit   = 0x0400

	// extCompat are those that are known: dir_prealloc, imagic_inodes,
	// has_journal, ext_attr, resize_inode, dir_index, sparse_super2,
	// fast_commit, stable_inodes and orphan_file. The rest (lazy_bg, and the
	// exclude bitmaps of snapshots) change what a bitmap means.
	extCompat = 0x003f | extSparseSuper2 | extFastCommit | 0x0800 | 0x1000
)

// Incompatible features (s_feature_incompat).
const (
	extRecover    = 0x0004
	extJournalDev = 0x0008
	extMetaBG     = 0x0010
	ext64Bit      = 0x0080
	extFlexBG     = 0x0200
	extCsumSeed   = 0x2000

	// extIncompat are those that are known: filetype, recover, meta_bg,
	// extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, large_dir,
	// inline_data, encrypt and casefold.
	extIncompat = 0x0002 | extRecover | extMetaBG | 0x0040 | ext64Bit | 0x0100 | extFlexBG |
		0x0400 | extCsumSeed | 0x4000 | 0x8000 | 0x10000 | 0x20000

	// ext3Incompat are those that ext2 and ext3 may have as well.
	ext3Incompat = 0x0002 | extRecover | extMetaBG
)

// Features that older kernels may read (s_feature_ro_compat).
const (
	extSparseSuper  = 0x0001
	extGDTCsum      = 0x0010
	extBigalloc     = 0x0200
	extMetadataCsum = 0x0400
	extSharedBlocks = 0x4000

	// extROCompat are those that are known: sparse_super, large_file,
	// btree_dir, huge_file, gdt_csum, dir_nlink, extra_isize, quota, bigalloc,
	// metadata_csum, readonly, project, shared_blocks, verity and
	// orphan_present.
	extROCompat = extSparseSuper | 0x0002 | 0x0004 | 0x0008 | extGDTCsum | 0x0020 | 0x0040 | 0x0100 |
		extBigalloc | extMetadataCsum | 0x1000 | 0x2000 | extSharedBlocks | 0x8000 | 0x10000

	// ext3ROCompat are those that ext2 and ext3 may have as well.
	ext3ROCompat = extSparseSuper | 0x0002 | 0x0004
)

// Bits of s_state.
const (
	extValid  = 0x0001 // cleanly unmounted, or in the care of a journal
	extErrors = 0x0002
)

// extCRC32C is the only value that s_checksum_type has.
const extCRC32C = 1

// extMinGroupBlocks is the smallest group that mke2fs makes (option -g). It
// bounds how many groups a volume can have.
const extMinGroupBlocks = 256

// An extSuper is the superblock, as far as a map needs it.
type extSuper struct {
	extLayout
	compat, incompat, roCompat uint32

	state        uint16
	checksumType uint8
	journalInode uint32
	mmpBlock     int64 // zero if there is none
	uuid         [16]byte
	label        string
}

// readExtSuper reads the superblock. Any error means that there is none.
func readExtSuper(v *volume) ([]byte, error) {
	raw, err := v.read(extSuperOffset, extSuperSize)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint16(raw[extMagicOffset:]) != extMagic {
		return nil, errNotMine
	}
	// A magic of two bytes is weak evidence: the fields that no file system
	// does without must make sense, too. Only a journal has no inodes.
	inodes, blocks := le.Uint32(raw[0x0:]), le.Uint32(raw[0x4:])
	firstBlock, logBlockSize := le.Uint32(raw[0x14:]), le.Uint32(raw[0x18:])
	groupBlocks, groupInodes := le.Uint32(raw[0x20:]), le.Uint32(raw[0x28:])
	if blocks == 0 || groupBlocks == 0 || firstBlock > 1 || logBlockSize > 6 || le.Uint32(raw[0x4c:]) > 1 {
		return nil, errNotMine
	}
	if le.Uint32(raw[0x60:])&extJournalDev == 0 && (inodes == 0 || groupInodes == 0) {
		return nil, errNotMine
	}
	return raw, nil
}

// decodeExtSuper reads the fields of the superblock field by field; see
// Documentation/filesystems/ext4/super.rst. Nothing is checked yet.
func decodeExtSuper(raw []byte) extSuper {
	le := binary.LittleEndian
	sb := extSuper{
		compat:       le.Uint32(raw[0x5c:]),
		incompat:     le.Uint32(raw[0x60:]),
		roCompat:     le.Uint32(raw[0x64:]),
		state:        le.Uint16(raw[0x3a:]),
		checksumType: raw[0x175],
		journalInode: le.Uint32(raw[0xe0:]),
		uuid:         [16]byte(raw[0x68:]),
	}
	label, _, _ := bytes.Cut(raw[0x78:0x88], []byte{0})
	sb.label = string(label)
	if mmp := le.Uint64(raw[0x168:]); mmp < math.MaxInt64 {
		sb.mmpBlock = int64(mmp)
	}
	sb.extLayout = decodeExtLayout(raw, sb)
	return sb
}

// describe returns a Map that tells what the superblock tells.
func (sb *extSuper) describe() *Map {
	m := &Map{Type: sb.kind(), Label: sb.label, BlockSize: sb.blockSize * sb.clusterBlocks}
	if sb.uuid != [16]byte{} {
		u := sb.uuid
		m.UUID = fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	}
	m.Dirty = sb.incompat&extRecover != 0 || sb.state&extValid == 0
	if sb.incompat&extJournalDev != 0 {
		m.Dirty, m.BlockSize = false, 0 // it is never mounted itself
	}
	return m
}

// kind names the file system as blkid does: by its features.
func (sb *extSuper) kind() string {
	switch {
	case sb.incompat&extJournalDev != 0:
		return "jbd"
	case sb.incompat&^ext3Incompat != 0, sb.roCompat&^ext3ROCompat != 0:
		return "ext4"
	case sb.compat&extHasJournal != 0:
		return "ext3"
	case sb.incompat&extRecover != 0:
		return "ext4"
	}
	return "ext2"
}

// check refuses a superblock that is damaged, that this package does not
// know enough about, or whose bitmaps cannot be trusted. raw are its bytes,
// size those of the volume.
func (sb *extSuper) check(raw []byte, size int64) error {
	if sb.roCompat&extMetadataCsum != 0 {
		if sb.checksumType != extCRC32C {
			return damaged("superblock: checksum type %d", sb.checksumType)
		}
		if extCRC(^uint32(0), raw[:0x3fc]) != binary.LittleEndian.Uint32(raw[0x3fc:]) {
			return damaged("superblock: checksum mismatch")
		}
	}
	if err := sb.checkUse(); err != nil {
		return err
	}
	return sb.extLayout.check(size)
}

// checkUse refuses features that are not known and states that make the
// bitmaps worthless.
func (sb *extSuper) checkUse() error {
	if sb.incompat&extJournalDev != 0 {
		return errors.New("the journal of another file system")
	}
	compat, incompat, roCompat := sb.compat&^extCompat, sb.incompat&^extIncompat, sb.roCompat&^extROCompat
	if compat|incompat|roCompat != 0 {
		return fmt.Errorf("features that are not known: compat %#x, incompat %#x, ro_compat %#x", compat, incompat, roCompat)
	}
	if sb.state&extErrors != 0 {
		return errExtErrors
	}
	if sb.state&extValid == 0 {
		return errExtState
	}
	return nil
}
