package fsmap

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"slipcast/partition"
)

// Geometry of the file systems that xfsBuild makes: three groups, the last one
// short, in blocks of 1 KiB and sectors of 512 bytes. The log has 128 basic
// blocks in the second group.
const (
	xfsTestBlock    = 1024
	xfsTestPerGroup = 256
	xfsTestGroups   = 3
	xfsTestBlocks   = 2*xfsTestPerGroup + 100
	xfsTestLogGroup = 1
	xfsTestLogBlock = 160
	xfsTestLogSize  = 64
	xfsTestFanout   = 4 // records in a leaf and pointers in a node
)

// testXFS is a file system in memory, small enough to damage it bit by bit.
type testXFS struct {
	img []byte
	v5  bool
}

// xfsTestFree returns the free extents of a group: enough for trees of three
// levels in the first one, none in the last one.
func xfsTestFree(group int) []xfsExtent {
	var free []xfsExtent
	switch group {
	case 0:
		for start := uint32(80); start < 240; start += 8 {
			free = append(free, xfsExtent{start, 1 + start/8%5})
		}
	case 1:
		free = []xfsExtent{{60, 100}, {230, 26}}
	}
	return free
}

// xfsBuild makes a file system of version 5 or 4 that was just made by mkfs.
func xfsBuild(v5 bool) *testXFS {
	x := &testXFS{img: make([]byte, xfsTestBlocks*xfsTestBlock), v5: v5}
	x.super()
	for group := range xfsTestGroups {
		x.group(group)
	}
	ring := newXFSRing(2*xfsTestLogSize, 2, xfsTestUUID())
	ring.unmount(0)
	copy(x.log(), ring.img)
	x.sum()
	return x
}

func xfsTestUUID() xfsUUID { return xfsUUID([]byte("the test's uuid.")) }

func (x *testXFS) super() {
	be, p := binary.BigEndian, x.img
	copy(p, xfsMagic)
	be.PutUint32(p[4:], xfsTestBlock)
	be.PutUint64(p[8:], xfsTestBlocks)
	uuid := xfsTestUUID()
	copy(p[32:], uuid[:])
	be.PutUint64(p[48:], xfsTestLogGroup<<8|xfsTestLogBlock)
	be.PutUint32(p[84:], xfsTestPerGroup)
	be.PutUint32(p[88:], xfsTestGroups)
	be.PutUint32(p[96:], xfsTestLogSize)
	be.PutUint16(p[100:], 0xb4a4)
	if x.v5 {
		be.PutUint16(p[100:], 0xb4a5)
	}
	be.PutUint16(p[102:], 512)
	copy(p[108:], "label")
	p[120], p[121], p[124] = 10, 9, 8
}

// group writes the headers and both trees of a group.
func (x *testXFS) group(group int) {
	be := binary.BigEndian
	base := group * xfsTestPerGroup * xfsTestBlock
	agf, agi, agfl := x.img[base+512:], x.img[base+1024:], x.img[base+1536:]
	length := min(xfsTestPerGroup, xfsTestBlocks-group*xfsTestPerGroup)
	for i, h := range [][]byte{agf, agi} {
		copy(h, []string{"XAGF", "XAGI"}[i])
		be.PutUint32(h[4:], 1)
		be.PutUint32(h[8:], uint32(group))
		be.PutUint32(h[12:], uint32(length))
	}
	if x.v5 {
		uuid := xfsTestUUID()
		copy(agf[64:], uuid[:])
		copy(agi[296:], uuid[:])
		copy(agfl, "XAFL")
		be.PutUint32(agfl[4:], uint32(group))
		copy(agfl[8:], uuid[:])
	}
	free := xfsTestFree(group)
	var tally xfsTally
	for _, e := range free {
		tally.add(e)
	}
	be.PutUint32(agf[52:], uint32(tally.blocks))
	be.PutUint32(agf[56:], tally.longest)
	x.tree(group, 0, 4, free)
	slices.SortFunc(free, func(a, b xfsExtent) int {
		return int(int64(a.count)<<32 + int64(a.start) - int64(b.count)<<32 - int64(b.start))
	})
	x.tree(group, 1, 32, free)
}

// tree writes a tree of records into the blocks from next on and its root into
// the AGF: kind 0 is the tree by block, 1 that by size.
func (x *testXFS) tree(group, kind int, next uint32, free []xfsExtent) {
	var blocks []uint32 // of the level just written
	for i := 0; i == 0 || i < len(free); i += xfsTestFanout {
		part := free[i:min(i+xfsTestFanout, len(free))]
		body := x.node(group, kind, next, 0, len(part))
		for j, e := range part {
			binary.BigEndian.PutUint32(body[8*j:], e.start)
			binary.BigEndian.PutUint32(body[8*j+4:], e.count)
		}
		blocks = append(blocks, next)
		next++
	}
	x.link(group, blocks)
	level := 0
	for len(blocks) > 1 {
		level++
		var above []uint32
		for part := range slices.Chunk(blocks, xfsTestFanout) {
			body := x.node(group, kind, next, level, len(part))
			for j, child := range part {
				binary.BigEndian.PutUint32(body[len(body)/12*8+4*j:], child)
			}
			above = append(above, next)
			next++
		}
		blocks = above
		x.link(group, blocks)
	}
	agf := x.img[group*xfsTestPerGroup*xfsTestBlock+512:]
	binary.BigEndian.PutUint32(agf[16+4*kind:], blocks[0])
	binary.BigEndian.PutUint32(agf[28+4*kind:], uint32(level+1))
}

// block returns a block of a group.
func (x *testXFS) block(group int, block uint32) []byte {
	start := (group*xfsTestPerGroup + int(block)) * xfsTestBlock
	return x.img[start : start+xfsTestBlock]
}

// node writes the header of a block of a tree and returns what is behind it.
func (x *testXFS) node(group, kind int, block uint32, level, count int) []byte {
	be, p := binary.BigEndian, x.block(group, block)
	magic := []string{"ABTB", "ABTC"}[kind]
	if x.v5 {
		magic = []string{"AB3B", "AB3C"}[kind]
	}
	copy(p, magic)
	be.PutUint16(p[4:], uint16(level))
	be.PutUint16(p[6:], uint16(count))
	if !x.v5 {
		return p[xfsHeaderV4:]
	}
	be.PutUint64(p[16:], uint64(group*xfsTestPerGroup+int(block))*xfsTestBlock/512)
	uuid := xfsTestUUID()
	copy(p[32:], uuid[:])
	be.PutUint32(p[48:], uint32(group))
	return p[xfsHeaderV5:]
}

// link makes blocks, all of one level, neighbours.
func (x *testXFS) link(group int, blocks []uint32) {
	for i, b := range blocks {
		left, right := uint32(xfsNull), uint32(xfsNull)
		if i > 0 {
			left = blocks[i-1]
		}
		if i+1 < len(blocks) {
			right = blocks[i+1]
		}
		binary.BigEndian.PutUint32(x.block(group, b)[8:], left)
		binary.BigEndian.PutUint32(x.block(group, b)[12:], right)
	}
}

// log returns the bytes of the log.
func (x *testXFS) log() []byte {
	start := (xfsTestLogGroup*xfsTestPerGroup + xfsTestLogBlock) * xfsTestBlock
	return x.img[start : start+xfsTestLogSize*xfsTestBlock]
}

// sum brings all checksums of version 5 in order.
func (x *testXFS) sum() {
	if !x.v5 {
		return
	}
	xfsTestSum(x.img[:1<<min(max(x.img[121], 9), 15)], xfsCRCInSuper)
	for group := range xfsTestGroups {
		headers := x.img[group*xfsTestPerGroup*xfsTestBlock:]
		for i, at := range []int{216, 312, 32} {
			xfsTestSum(headers[(i+1)*512:(i+2)*512], at)
		}
	}
	for start := 0; start < len(x.img); start += xfsTestBlock {
		p := x.img[start : start+xfsTestBlock]
		if m := string(p[:4]); m == "AB3B" || m == "AB3C" {
			xfsTestSum(p, xfsCRCInTree)
		}
	}
}

// xfsTestSum writes the checksum of p to offset at.
func xfsTestSum(p []byte, at int) {
	clear(p[at : at+4])
	binary.LittleEndian.PutUint32(p[at:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
}

// used returns what the file system holds, from the lists that made it.
func (x *testXFS) used() partition.Extents {
	var free []partition.Extent
	for group := range xfsTestGroups {
		for _, e := range xfsTestFree(group) {
			start := int64(group*xfsTestPerGroup) + int64(e.start)
			free = append(free, partition.Extent{Start: start * xfsTestBlock, Length: int64(e.count) * xfsTestBlock})
		}
	}
	all := partition.Extents{{Start: 0, Length: int64(len(x.img))}}
	return all.Minus(partition.Normalize(free))
}

// xfsReadBytes maps the volume p.
func xfsReadBytes(t testing.TB, p []byte) *Map {
	t.Helper()
	m, err := Read(context.Background(), bytes.NewReader(p), int64(len(p)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
