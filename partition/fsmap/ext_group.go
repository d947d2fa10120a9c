package fsmap

import (
	"encoding/binary"

	"slipcast/partition"
)

// extDescSize is the length of a group descriptor without the feature 64bit,
// in bytes. From extDescSize64 on it has the upper halves of its numbers.
const (
	extDescSize   = 32
	extDescSize64 = 64
)

// extDescSum is the offset of a group descriptor's checksum, two bytes.
const extDescSum = 0x1e

// extBlockUninit is the flag of a group whose block bitmap was never written
// (EXT4_BG_BLOCK_UNINIT).
const extBlockUninit = 2

// An extGroup is a group of blocks, from its descriptor.
type extGroup struct {
	number        int64
	blockBitmap   int64 // block number, as the next two
	inodeBitmap   int64
	inodeTable    int64
	free          int64  // clusters
	bitmapSum     uint32 // of the block bitmap; 16 bits with short descriptors
	uninitialised bool   // the block bitmap was never written: no data here
}

// eachGroup calls visit for every group, in order, with its descriptor as it
// is after a replay of the journal.
func (fs *extFS) eachGroup(visit func(extGroup) error) error {
	buf := make([]byte, fs.blockSize)
	for i := range fs.descBlocks() {
		if err := fs.readBlock(buf, fs.descBlock(i)); err != nil {
			return err
		}
		first := i * fs.descsPerBlock()
		for n := first; n < min(first+fs.descsPerBlock(), fs.groups()); n++ {
			g, err := fs.decodeGroup(n, buf[(n-first)*fs.descSize:][:fs.descSize])
			if err != nil {
				return err
			}
			if err := visit(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// group returns group n.
func (fs *extFS) group(n int64) (extGroup, error) {
	buf := make([]byte, fs.blockSize)
	if err := fs.readBlock(buf, fs.descBlock(n/fs.descsPerBlock())); err != nil {
		return extGroup{}, err
	}
	return fs.decodeGroup(n, buf[n%fs.descsPerBlock()*fs.descSize:][:fs.descSize])
}

// decodeGroup reads and checks descriptor p of group n; see
// Documentation/filesystems/ext4/group_descr.rst.
func (fs *extFS) decodeGroup(n int64, p []byte) (extGroup, error) {
	le := binary.LittleEndian
	if fs.sums != extSumsNone && fs.descSum(n, p) != le.Uint16(p[extDescSum:]) {
		return extGroup{}, damaged("descriptor of group %d: checksum mismatch", n)
	}
	g := extGroup{
		number:      n,
		blockBitmap: int64(le.Uint32(p[0x0:])),
		inodeBitmap: int64(le.Uint32(p[0x4:])),
		inodeTable:  int64(le.Uint32(p[0x8:])),
		free:        int64(le.Uint16(p[0xc:])),
		bitmapSum:   uint32(le.Uint16(p[0x18:])),
		// Without checksums the flags are not in use.
		uninitialised: fs.sums != extSumsNone && le.Uint16(p[0x12:])&extBlockUninit != 0,
	}
	if len(p) >= extDescSize64 {
		g.blockBitmap |= int64(le.Uint32(p[0x20:])) << 32
		g.inodeBitmap |= int64(le.Uint32(p[0x24:])) << 32
		g.inodeTable |= int64(le.Uint32(p[0x28:])) << 32
		g.free |= int64(le.Uint16(p[0x2c:])) << 16
		g.bitmapSum |= uint32(le.Uint16(p[0x38:])) << 16
	}
	return g, fs.checkGroup(g)
}

// checkGroup refuses a group whose metadata lies where none can be. Without
// flex_bg it must lie in the group itself.
func (fs *extFS) checkGroup(g extGroup) error {
	first, end := fs.superBlock()+1, fs.blocks
	if !fs.flexBG {
		first, end = fs.groupStart(g.number), fs.groupStart(g.number)+fs.groupLen(g.number)
	}
	first = max(first, fs.superBlock()+1)
	inside := func(start, count int64) bool { return start >= first && start <= end-count }
	if !inside(g.blockBitmap, 1) || !inside(g.inodeBitmap, 1) || !inside(g.inodeTable, fs.inodeTableBlocks()) {
		return damaged("group %d: bitmaps at blocks %d and %d, inode table at %d", g.number, g.blockBitmap, g.inodeBitmap, g.inodeTable)
	}
	return nil
}

// addMetadata notes everything that group g is sure to use: its copies of
// superblock and descriptors, its bitmaps and all of its inode table.
func (fs *extFS) addMetadata(b *partition.Builder, g extGroup) {
	fs.add(b, fs.groupStart(g.number), fs.headBlocks(g.number))
	fs.add(b, g.blockBitmap, 1)
	fs.add(b, g.inodeBitmap, 1)
	fs.add(b, g.inodeTable, fs.inodeTableBlocks())
	if g.number == 0 { // with clusters, group 0 may start before the superblock
		fs.add(b, 0, fs.superBlock()+fs.headBlocks(0))
	}
}

// descSum returns the checksum that descriptor p of group n must have.
func (fs *extFS) descSum(n int64, p []byte) uint16 {
	number := binary.LittleEndian.AppendUint32(nil, uint32(n))
	before, after := p[:extDescSum], p[extDescSum+2:]
	if fs.sums == extSumsMetadata {
		return uint16(extCRC(fs.seed, number, before, []byte{0, 0}, after))
	}
	return extCRC16(^uint16(0), fs.uuid[:], number, before, after)
}
