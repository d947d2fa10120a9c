package fsmap

import (
	"encoding/binary"

	"slipcast/partition"
)

// xfsHeaderSectors is how many sectors at the start of a group are taken by
// its superblock, AGF, AGI and AGFL.
const xfsHeaderSectors = 4

// xfsGroupHeaders are the headers of a group behind its superblock, one sector
// each, with the offsets of what version 5 adds to them (struct xfs_agf,
// xfs_agi and xfs_agfl in xfs_format.h). In version 4 the AGFL, a list of
// reserved blocks, has no header at all.
func xfsGroupHeaders() []xfsHeader {
	return []xfsHeader{
		{magic: "XAGF", seqno: 8, uuid: 64, crc: 216},
		{magic: "XAGI", seqno: 8, uuid: 296, crc: 312},
		{magic: "XAFL", seqno: 4, uuid: 8, crc: 32, v5only: true},
	}
}

// An xfsHeader tells where the fields of a header are, in bytes.
type xfsHeader struct {
	magic            string
	seqno, uuid, crc int
	v5only           bool
}

// check verifies that sector p holds the header h of the given group.
func (h xfsHeader) check(s *xfsSuper, group uint32, p []byte) error {
	switch {
	case h.v5only && !s.v5():
		return nil
	case string(p[:4]) != h.magic:
		return damaged("allocation group %d: no %s header", group, h.magic)
	case s.v5() && !xfsChecksumOK(p, h.crc):
		return damaged("allocation group %d: the checksum of its %s header is wrong", group, h.magic)
	case s.v5() && xfsUUID(p[h.uuid:h.uuid+16]) != s.metaUUID:
		return damaged("allocation group %d: its %s header belongs to another file system", group, h.magic)
	case binary.BigEndian.Uint32(p[h.seqno:]) != group:
		return damaged("allocation group %d: its %s header belongs to another group", group, h.magic)
	}
	return nil
}

// An xfsGroup is an allocation group as its AGF describes it.
type xfsGroup struct {
	volume *volume
	super  *xfsSuper
	number uint32
	length uint32 // blocks

	byBlock, bySize xfsTree
	free            uint32 // blocks listed in each of the trees
	longest         uint32 // blocks of the longest free extent
}

// readGroup reads and checks the headers of a group.
func (s *xfsSuper) readGroup(v *volume, number uint32) (*xfsGroup, error) {
	p, err := v.read(s.offset(number, 0)+s.sectorSize, (xfsHeaderSectors-1)*s.sectorSize)
	if err != nil {
		return nil, err
	}
	for i, h := range xfsGroupHeaders() {
		if err := h.check(s, number, p[int64(i)*s.sectorSize:int64(i+1)*s.sectorSize]); err != nil {
			return nil, err
		}
	}
	return s.decodeGroup(v, number, p)
}

// decodeGroup reads the AGF at the start of p, the sectors behind the group's
// superblock.
func (s *xfsSuper) decodeGroup(v *volume, number uint32, p []byte) (*xfsGroup, error) {
	be := binary.BigEndian
	g := &xfsGroup{volume: v, super: s, number: number, length: s.groupLength(number)}
	g.byBlock = xfsTree{root: be.Uint32(p[16:]), levels: be.Uint32(p[28:]), magic: "ABTB", before: xfsBefore}
	g.bySize = xfsTree{root: be.Uint32(p[20:]), levels: be.Uint32(p[32:]), magic: "ABTC", before: xfsSmaller}
	if s.v5() {
		g.byBlock.magic, g.bySize.magic = "AB3B", "AB3C"
	}
	g.free, g.longest = be.Uint32(p[52:]), be.Uint32(p[56:])
	agi := p[s.sectorSize:]
	if version := be.Uint32(p[4:]); version != 1 || be.Uint32(agi[4:]) != 1 {
		return nil, damaged("allocation group %d: a header of version %d", number, version)
	}
	if length := be.Uint32(p[12:]); length != g.length || be.Uint32(agi[12:]) != g.length {
		return nil, damaged("allocation group %d: %d blocks by its header, %d by the superblock", number, length, g.length)
	}
	return g, nil
}

// addUsed adds to b what the group's tree by block does not list. The other
// tree must list the same extents: version 4 has no checksums, and an extent
// that is wrong in one of them would go unnoticed.
func (g *xfsGroup) addUsed(b *partition.Builder) error {
	at := uint32(0)
	byBlock, err := g.walk(&g.byBlock, func(e xfsExtent) {
		b.Add(g.super.offset(g.number, at), int64(e.start-at)*g.super.blockSize)
		at = e.end()
	})
	if err != nil {
		return err
	}
	b.Add(g.super.offset(g.number, at), int64(g.length-at)*g.super.blockSize)
	bySize, err := g.walk(&g.bySize, func(xfsExtent) {})
	if err != nil {
		return err
	}
	return g.compare(byBlock, bySize)
}

// compare checks what was found in both trees against each other and against
// the counters in the AGF.
func (g *xfsGroup) compare(byBlock, bySize xfsTally) error {
	if byBlock != bySize {
		return damaged("allocation group %d: its two lists of free space differ", g.number)
	}
	if byBlock.blocks != uint64(g.free) {
		return damaged("allocation group %d: %d blocks are free, its header says %d", g.number, byBlock.blocks, g.free)
	}
	if byBlock.longest != g.longest {
		return damaged("allocation group %d: the longest free extent has %d blocks, its header says %d",
			g.number, byBlock.longest, g.longest)
	}
	return nil
}
