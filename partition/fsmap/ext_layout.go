package fsmap

import (
	"encoding/binary"
	"math"
)

// An extLayout tells where a file system keeps its metadata. Two equal
// layouts put everything at the same places.
type extLayout struct {
	blockSize     int64 // bytes
	blocks        int64 // of the file system; -1 if there are too many to count
	firstBlock    int64 // of group 0: 1 with blocks of 1 KiB, else 0
	clusterBlocks int64 // blocks in a cluster, which is what a bit stands for
	groupBlocks   int64 // blocks in a group
	groupClusters int64 // clusters in a group
	groupInodes   int64 // inodes in a group
	inodes        int64
	inodeSize     int64 // bytes
	descSize      int64 // bytes of a group descriptor
	reservedGDT   int64 // blocks kept for the descriptor table to grow
	firstMetaBG   int64 // first descriptor block that lies in its own meta-group
	metaBG        bool
	flexBG        bool // a group's metadata may lie outside of it
	sparse        bool // only some groups have a copy of the superblock
	sparse2       bool // only those in backups have one
	backups       [2]uint32
	sums          extSums
	seed          uint32 // what every crc32c starts with
	uuid          [16]byte
}

// extSums tells how the metadata is protected.
type extSums uint8

const (
	extSumsNone     extSums = iota
	extSumsGroups           // crc16 of group descriptors (feature gdt_csum)
	extSumsMetadata         // crc32c of all metadata (feature metadata_csum)
)

// decodeExtLayout reads the layout from the superblock, with its features in
// sb. Nothing is checked yet.
func decodeExtLayout(raw []byte, sb extSuper) extLayout {
	le := binary.LittleEndian
	l := extLayout{
		blockSize:     1024 << min(le.Uint32(raw[0x18:]), 6),
		blocks:        int64(le.Uint32(raw[0x4:])),
		firstBlock:    int64(le.Uint32(raw[0x14:])),
		clusterBlocks: 1,
		groupBlocks:   int64(le.Uint32(raw[0x20:])),
		groupInodes:   int64(le.Uint32(raw[0x28:])),
		inodes:        int64(le.Uint32(raw[0x0:])),
		inodeSize:     int64(le.Uint16(raw[0x58:])),
		descSize:      extDescSize,
		reservedGDT:   int64(le.Uint16(raw[0xce:])),
		firstMetaBG:   int64(le.Uint32(raw[0x104:])),
		metaBG:        sb.incompat&extMetaBG != 0,
		flexBG:        sb.incompat&extFlexBG != 0,
		sparse:        sb.roCompat&extSparseSuper != 0,
		sparse2:       sb.compat&extSparseSuper2 != 0,
		backups:       [2]uint32{le.Uint32(raw[0x24c:]), le.Uint32(raw[0x250:])},
		uuid:          sb.uuid,
	}
	if le.Uint32(raw[0x4c:]) == 0 { // revision 0 had no such field
		l.inodeSize = 128
	}
	if sb.incompat&ext64Bit != 0 {
		l.blocks |= int64(le.Uint32(raw[0x150:])) << 32
		l.descSize = int64(le.Uint16(raw[0xfe:]))
	}
	if l.blocks < 0 || l.blocks > math.MaxInt64/l.blockSize {
		l.blocks = -1
	}
	l.groupClusters = l.groupBlocks
	if sb.roCompat&extBigalloc != 0 {
		l.decodeClusters(raw)
	}
	l.decodeSums(raw, sb)
	return l
}

// decodeClusters reads what only a file system with clusters has.
// clusterBlocks is zero if clusters are smaller than blocks, or absurd.
func (l *extLayout) decodeClusters(raw []byte) {
	le := binary.LittleEndian
	logBlock, logCluster := le.Uint32(raw[0x18:]), le.Uint32(raw[0x1c:])
	l.clusterBlocks = 0
	if logCluster >= logBlock && logCluster <= 20 { // 1 GiB
		l.clusterBlocks = 1 << (logCluster - logBlock)
	}
	l.groupClusters = int64(le.Uint32(raw[0x24:]))
}

// decodeSums reads how the metadata is protected. Where both features are
// set, the kernel uses metadata_csum.
func (l *extLayout) decodeSums(raw []byte, sb extSuper) {
	if sb.roCompat&extGDTCsum != 0 {
		l.sums = extSumsGroups
	}
	if sb.roCompat&extMetadataCsum == 0 {
		return
	}
	l.sums = extSumsMetadata
	l.seed = extCRC(^uint32(0), sb.uuid[:])
	if sb.incompat&extCsumSeed != 0 {
		l.seed = binary.LittleEndian.Uint32(raw[0x270:])
	}
}

// check refuses a layout that cannot be, or that a volume of size bytes
// cannot hold. The bounds are those of the kernel's ext4_fill_super.
func (l extLayout) check(size int64) error {
	if l.blocks < 0 || l.blocks > size/l.blockSize {
		return damaged("the volume of %d bytes is shorter than the file system", size)
	}
	if err := l.checkGroups(); err != nil {
		return err
	}
	if err := l.checkInodes(); err != nil {
		return err
	}
	if l.descSize < extDescSize || l.descSize > 1024 || l.descSize&(l.descSize-1) != 0 {
		return damaged("group descriptors of %d bytes", l.descSize)
	}
	if l.reservedGDT > l.blockSize/4 {
		return damaged("%d reserved descriptor blocks", l.reservedGDT)
	}
	if l.metaBG && l.firstMetaBG > l.descBlocks() {
		return damaged("first meta-group %d of %d", l.firstMetaBG, l.descBlocks())
	}
	return nil
}

// checkGroups refuses impossible groups and clusters.
func (l extLayout) checkGroups() error {
	want := int64(0)
	if l.blockSize == 1024 && l.clusterBlocks == 1 {
		want = 1
	}
	if l.firstBlock != want || l.blocks <= l.firstBlock {
		return damaged("first block %d of %d", l.firstBlock, l.blocks)
	}
	if l.clusterBlocks == 0 {
		return damaged("clusters smaller than blocks, or larger than 1 GiB")
	}
	if l.groupClusters <= 0 || l.groupClusters > 8*l.blockSize || l.groupClusters%8 != 0 {
		return damaged("%d clusters in a group", l.groupClusters)
	}
	if l.groupBlocks != l.groupClusters*l.clusterBlocks || l.groupBlocks < extMinGroupBlocks {
		return damaged("%d blocks in a group of %d clusters", l.groupBlocks, l.groupClusters)
	}
	return nil
}

// checkInodes refuses impossible inode tables.
func (l extLayout) checkInodes() error {
	if l.inodeSize < 128 || l.inodeSize > l.blockSize || l.inodeSize&(l.inodeSize-1) != 0 {
		return damaged("inodes of %d bytes", l.inodeSize)
	}
	if l.groupInodes <= 0 || l.groupInodes > 8*l.blockSize || l.inodeTableBlocks() >= l.groupBlocks {
		return damaged("%d inodes in a group", l.groupInodes)
	}
	if l.inodes != l.groups()*l.groupInodes {
		return damaged("%d inodes, not %d in each of %d groups", l.inodes, l.groupInodes, l.groups())
	}
	return nil
}

// groups returns how many groups there are.
func (l extLayout) groups() int64 {
	return (l.blocks - l.firstBlock + l.groupBlocks - 1) / l.groupBlocks
}

// groupStart returns the first block of group n.
func (l extLayout) groupStart(n int64) int64 { return l.firstBlock + n*l.groupBlocks }

// groupLen returns how many blocks group n has: the last one may be short.
func (l extLayout) groupLen(n int64) int64 {
	return min(l.groupBlocks, l.blocks-l.groupStart(n))
}

// inodeTableBlocks returns the length of a group's inode table in blocks.
func (l extLayout) inodeTableBlocks() int64 {
	return (l.groupInodes*l.inodeSize + l.blockSize - 1) / l.blockSize
}

// superBlock returns the block that holds the superblock.
func (l extLayout) superBlock() int64 { return extSuperOffset / l.blockSize }

// descsPerBlock returns how many group descriptors a block holds.
func (l extLayout) descsPerBlock() int64 { return l.blockSize / l.descSize }

// descBlocks returns how many blocks the group descriptors fill.
func (l extLayout) descBlocks() int64 {
	return (l.groups() + l.descsPerBlock() - 1) / l.descsPerBlock()
}

// inMetaBG reports whether descriptor block i lies in its own meta-group.
func (l extLayout) inMetaBG(i int64) bool { return l.metaBG && i >= l.firstMetaBG }

// descBlock returns where descriptor block i lies: in a row behind the
// superblock, or with meta_bg at the start of the groups that it describes.
func (l extLayout) descBlock(i int64) int64 {
	if !l.inMetaBG(i) || i == 0 {
		return l.superBlock() + 1 + i
	}
	first := i * l.descsPerBlock()
	block := l.groupStart(first)
	if l.hasSuper(first) {
		block++
	}
	return block
}

// hasSuper reports whether group n starts with a copy of the superblock.
func (l extLayout) hasSuper(n int64) bool {
	switch {
	case n == 0:
		return true
	case l.sparse2:
		return n == int64(l.backups[0]) || n == int64(l.backups[1])
	case n == 1, !l.sparse:
		return true
	}
	return extIsPower(n, 3) || extIsPower(n, 5) || extIsPower(n, 7)
}

// extIsPower reports whether n is a power of base.
func extIsPower(n, base int64) bool {
	for n > 1 && n%base == 0 {
		n /= base
	}
	return n == 1
}

// headBlocks returns how many blocks at the start of group n hold copies of
// the superblock and of group descriptors, and room for more of them. In a
// meta-group the first, the second and the last group have a copy.
func (l extLayout) headBlocks(n int64) int64 {
	perBlock := l.descsPerBlock()
	var blocks int64
	if l.hasSuper(n) {
		blocks++
	}
	if l.inMetaBG(n / perBlock) {
		if at := n % perBlock; at <= 1 || at == perBlock-1 {
			blocks++
		}
		return blocks
	}
	if blocks == 0 {
		return 0
	}
	if l.metaBG {
		return blocks + l.firstMetaBG + l.reservedGDT
	}
	return blocks + l.descBlocks() + l.reservedGDT
}
