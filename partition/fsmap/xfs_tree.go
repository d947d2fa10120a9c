package fsmap

import "encoding/binary"

const (
	xfsMaxLevels  = 9  // XFS_BTREE_MAXLEVELS
	xfsRecordSize = 8  // a record, and a key: start and length in blocks, 32 bits each
	xfsPtrSize    = 4  // a block number within the group
	xfsHeaderV4   = 16 // struct xfs_btree_block, short form, without checksums
	xfsHeaderV5   = 56 // the same with checksums
	xfsCRCInTree  = 52 // offset of bb_crc
)

// An xfsExtent is a run of free blocks of a group.
type xfsExtent struct{ start, count uint32 }

// end returns the first block behind e. Only an extent that was checked
// against its group has one.
func (e xfsExtent) end() uint32 { return e.start + e.count }

// xfsBefore is the order of the tree by block: e ends before f begins.
func xfsBefore(e, f xfsExtent) bool { return e.end() <= f.start }

// xfsSmaller is the order of the tree by size, equal sizes by block.
func xfsSmaller(e, f xfsExtent) bool {
	return e.count < f.count || e.count == f.count && e.end() <= f.start
}

// An xfsTree is a B+tree of free extents.
type xfsTree struct {
	root   uint32 // block number within the group
	levels uint32 // how many levels there are; one means that the root is a leaf
	magic  string
	before func(e, f xfsExtent) bool // order of its records
}

// An xfsTally sums up the records of a tree, in any order.
type xfsTally struct {
	blocks  uint64
	longest uint32
	sum     uint64 // of a hash of every record
}

func (t *xfsTally) add(e xfsExtent) {
	t.blocks += uint64(e.count)
	t.longest = max(t.longest, e.count)
	t.sum += xfsMix(uint64(e.start)<<32 | uint64(e.count))
}

// xfsMix spreads the bits of x (the finalizer of SplitMix64, Steele, Lea and
// Flood 2014), so that sums of different records differ.
func xfsMix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// An xfsWalk visits the blocks of one tree from left to right. It comes to an
// end on any disk: every block but a lone root must hold records or lead to
// some, records must ascend from the first leaf to the last, so no leaf and
// nothing above it is visited twice.
type xfsWalk struct {
	group *xfsGroup
	tree  *xfsTree
	visit func(xfsExtent)
	tally xfsTally
	last  xfsExtent // the record before; its count is zero at the start
	rows  [xfsMaxLevels]xfsRow
}

// An xfsRow is how far the walk is on one level.
type xfsRow struct {
	buf     []byte
	visited bool
	block   uint32 // the last one
	right   uint32 // its right sibling
}

// walk calls visit for every record of the tree in its order, with extents
// that lie within the group, behind its headers, and sums them up.
func (g *xfsGroup) walk(tree *xfsTree, visit func(xfsExtent)) (xfsTally, error) {
	w := &xfsWalk{group: g, tree: tree, visit: visit}
	if tree.levels == 0 || tree.levels > xfsMaxLevels {
		return w.tally, w.damaged("a tree of %d levels", tree.levels)
	}
	if err := w.node(tree.root, int(tree.levels)-1); err != nil {
		return w.tally, err
	}
	for level := range tree.levels {
		if w.rows[level].right != xfsNull {
			return w.tally, w.damaged("block %d should be the last of its level", w.rows[level].block)
		}
	}
	return w.tally, nil
}

// damaged returns an error that names the group and the tree.
func (w *xfsWalk) damaged(format string, args ...any) error {
	args = append([]any{w.group.number, w.tree.magic}, args...)
	return damaged("allocation group %d: free space %s: "+format, args...)
}

// node visits the block and everything below it. Leaves are at level 0.
func (w *xfsWalk) node(block uint32, level int) error {
	p, err := w.read(block, level)
	if err != nil {
		return err
	}
	count := int(binary.BigEndian.Uint16(p[6:]))
	body := p[w.headerSize():]
	if level == 0 {
		return w.leaf(block, body, count)
	}
	most := len(body) / (xfsRecordSize + xfsPtrSize)
	if count == 0 || count > most {
		return w.damaged("%d keys in block %d", count, block)
	}
	for ptrs := body[most*xfsRecordSize:]; count > 0; count-- {
		if err := w.node(binary.BigEndian.Uint32(ptrs), level-1); err != nil {
			return err
		}
		ptrs = ptrs[xfsPtrSize:]
	}
	return nil
}

// leaf visits count records. Only a group without free space has an empty
// leaf, its root.
func (w *xfsWalk) leaf(block uint32, body []byte, count int) error {
	if count == 0 && w.tree.levels > 1 || count > len(body)/xfsRecordSize {
		return w.damaged("%d records in block %d", count, block)
	}
	be := binary.BigEndian
	for p := body; count > 0; count-- {
		e := xfsExtent{start: be.Uint32(p), count: be.Uint32(p[4:])}
		if err := w.check(e); err != nil {
			return err
		}
		w.tally.add(e)
		w.visit(e)
		w.last = e
		p = p[xfsRecordSize:]
	}
	return nil
}

// check verifies that e may follow the last record and lies within the group.
func (w *xfsWalk) check(e xfsExtent) error {
	s := w.group.super
	taken := (xfsHeaderSectors*s.sectorSize + s.blockSize - 1) / s.blockSize
	switch {
	case e.count == 0 || int64(e.start) < taken || uint64(e.start)+uint64(e.count) > uint64(w.group.length):
		return w.damaged("%d free blocks at block %d", e.count, e.start)
	case w.last.count != 0 && !w.tree.before(w.last, e):
		return w.damaged("%d free blocks at block %d follow %d at %d", e.count, e.start, w.last.count, w.last.start)
	}
	return nil
}

// headerSize returns how many bytes there are before the records.
func (w *xfsWalk) headerSize() int {
	if w.group.super.v5() {
		return xfsHeaderV5
	}
	return xfsHeaderV4
}

// read returns a block of the tree after checking its header. The memory is
// used again by the next block of the level.
func (w *xfsWalk) read(block uint32, level int) ([]byte, error) {
	g, row := w.group, &w.rows[level]
	if block >= g.length {
		return nil, w.damaged("block %d is outside", block)
	}
	if row.buf == nil {
		row.buf = make([]byte, g.super.blockSize)
	}
	p := row.buf
	if err := g.volume.readInto(p, g.super.offset(g.number, block)); err != nil {
		return nil, err
	}
	if string(p[:4]) != w.tree.magic {
		return nil, w.damaged("no magic in block %d", block)
	}
	if found := int(binary.BigEndian.Uint16(p[4:])); found != level {
		return nil, w.damaged("block %d is of level %d, not %d", block, found, level)
	}
	if g.super.v5() {
		if err := w.checkV5(block, p); err != nil {
			return nil, err
		}
	}
	return p, w.follow(row, block, p)
}

// follow checks that block p is the right neighbour of the last block of its
// level, by both their accounts.
func (w *xfsWalk) follow(row *xfsRow, block uint32, p []byte) error {
	left, right := binary.BigEndian.Uint32(p[8:]), binary.BigEndian.Uint32(p[12:])
	before, expected := uint32(xfsNull), block
	if row.visited {
		before, expected = row.block, row.right
	}
	if left != before || block != expected {
		return w.damaged("block %d is not beside its neighbour", block)
	}
	row.visited, row.block, row.right = true, block, right
	return nil
}

// checkV5 verifies what version 5 adds to the header of block p: checksum,
// place in units of 512 bytes, file system and group.
func (w *xfsWalk) checkV5(block uint32, p []byte) error {
	g, be := w.group, binary.BigEndian
	switch {
	case !xfsChecksumOK(p, xfsCRCInTree):
		return w.damaged("the checksum of block %d is wrong", block)
	case be.Uint64(p[16:]) != uint64(g.super.offset(g.number, block)/512):
		return w.damaged("block %d was meant for another place", block)
	case xfsUUID(p[32:48]) != g.super.metaUUID:
		return w.damaged("block %d belongs to another file system", block)
	case be.Uint32(p[48:]) != g.number:
		return w.damaged("block %d belongs to group %d", block, be.Uint32(p[48:]))
	}
	return nil
}
