package fsmap

import (
	"context"
	"encoding/binary"
	"io"
	"testing"
)

// Sizes and places of the file system that a btrfsMade describes: nodes and
// sectors of 4 KiB, a system chunk and a metadata chunk with two copies each,
// and a data chunk. Logical addresses are far from physical ones.
const (
	madeSize  = 12 << 20
	madeChunk = 1 << 20 // bytes in a chunk
	madeNode  = 4096

	madeSystem   = 100 << 20 // logical; at 1 and 2 MiB of the device
	madeMetadata = 200 << 20 // at 3 and 4 MiB
	madeData     = 300 << 20 // at 5 MiB

	madeGeneration = 7
)

// Logical addresses of the tree blocks.
const (
	madeChunkRoot  = madeSystem
	madeRootRoot   = madeMetadata + iota*madeNode
	madeExtentRoot // a node over two leaves
	madeExtentLeft
	madeExtentRight
	madeLogRoot
	madeLog
)

// A madeItem is an item of a leaf to be made.
type madeItem struct {
	key  btrfsKey
	data []byte
}

// A btrfsMade describes a tiny btrfs, which tests bend out of shape before it
// gets its checksums.
type btrfsMade struct {
	super                 []byte
	chunks, roots         []madeItem
	left, right           []madeItem // the two leaves of the extent tree
	logRoots, log         []madeItem
	fsid, device          [16]byte
	editNode              func(start uint64, node []byte) // before the checksum
	leaveSums, leaveSuper bool                            // no checksums
}

// newBtrfsMade returns a sound file system with a log tree.
func newBtrfsMade() *btrfsMade {
	b := &btrfsMade{fsid: [16]byte{1, 2, 3}, device: [16]byte{4, 5, 6}}
	b.chunks = []madeItem{
		{btrfsKey{1, btrfsDeviceItem, 1}, b.deviceItem()},
		b.chunk(madeSystem, btrfsSystem|btrfsDUP, 1<<20, 2<<20),
		b.chunk(madeMetadata, btrfsMetadata|btrfsDUP, 3<<20, 4<<20),
		b.chunk(madeData, btrfsData, 5<<20),
	}
	b.roots = []madeItem{{btrfsKey{btrfsExtentTree, btrfsRootItem, 0}, madeRoot(madeExtentRoot, madeGeneration, 1)}}
	b.left = []madeItem{
		madeTreeBlock(madeChunkRoot),
		madeTreeBlock(madeRootRoot),
		madeTreeBlock(madeExtentRoot),
		madeTreeBlock(madeExtentLeft),
		madeTreeBlock(madeExtentRight),
	}
	b.right = []madeItem{
		madeDataExtent(madeData, 8192),
		madeDataExtent(madeData+65536, 4096),
	}
	b.logRoots = []madeItem{{btrfsKey{btrfsLogTree, btrfsRootItem, 5}, madeRoot(madeLog, madeGeneration+1, 0)}}
	b.log = []madeItem{
		{btrfsKey{257, btrfsExtentData, 0}, make([]byte, 30)}, // inline
		{btrfsKey{258, btrfsExtentData, 0}, madeFileExtent(btrfsRegular, madeData+16384, 4096)},
		{btrfsKey{258, btrfsExtentData, 4096}, madeFileExtent(btrfsRegular, 0, 0)}, // a hole
		{btrfsKey{258, btrfsExtentData, 8192}, madeFileExtent(btrfsPrealloc, madeData+32768, 12288)},
	}
	b.makeSuper()
	return b
}

func (b *btrfsMade) deviceItem() []byte {
	p := make([]byte, 98)
	binary.LittleEndian.PutUint64(p, 1)
	binary.LittleEndian.PutUint64(p[8:], madeSize)
	copy(p[66:], b.device[:])
	copy(p[82:], b.fsid[:])
	return p
}

func (b *btrfsMade) chunk(start, kind uint64, at ...uint64) madeItem {
	p := make([]byte, btrfsChunkSize+len(at)*btrfsStripeSize)
	binary.LittleEndian.PutUint64(p, madeChunk)
	binary.LittleEndian.PutUint64(p[16:], btrfsStripeLen)
	binary.LittleEndian.PutUint64(p[24:], kind)
	binary.LittleEndian.PutUint16(p[44:], uint16(len(at)))
	for i, at := range at {
		s := p[btrfsChunkSize+i*btrfsStripeSize:]
		binary.LittleEndian.PutUint64(s, 1)
		binary.LittleEndian.PutUint64(s[8:], at)
		copy(s[16:], b.device[:])
	}
	return madeItem{btrfsKey{256, btrfsChunkItem, start}, p}
}

func madeRoot(start, generation uint64, level byte) []byte {
	p := make([]byte, 439)
	binary.LittleEndian.PutUint64(p[160:], generation)
	binary.LittleEndian.PutUint64(p[176:], start)
	p[238] = level
	return p
}

func madeExtentItem(flags uint64) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, 16), flags)
}

func madeTreeBlock(start uint64) madeItem {
	return madeItem{btrfsKey{start, btrfsMetadataItem, 0}, madeExtentItem(btrfsExtentIsTree)}
}

func madeDataExtent(start, length uint64) madeItem {
	return madeItem{btrfsKey{start, btrfsExtentItem, length}, madeExtentItem(btrfsExtentIsData)}
}

func madeFileExtent(kind byte, start, length uint64) []byte {
	p := make([]byte, 53)
	p[20] = kind
	binary.LittleEndian.PutUint64(p[21:], start)
	binary.LittleEndian.PutUint64(p[29:], length)
	return p
}

// put64 changes eight bytes of the superblock.
func (b *btrfsMade) put64(at int, n uint64) { binary.LittleEndian.PutUint64(b.super[at:], n) }

func (b *btrfsMade) makeSuper() {
	b.super = make([]byte, btrfsSuperSize)
	copy(b.super[32:], b.fsid[:])
	copy(b.super[64:], btrfsMagic)
	for at, n := range map[int]uint64{
		48: 64 << 10, 56: 1, 72: madeGeneration, 80: madeRootRoot, 88: madeChunkRoot, 96: madeLogRoot,
		112: madeSize, 120: 5*madeNode + 12288, 136: 1, 164: madeGeneration,
		188: btrfsMixedBackref | btrfsSkinny,
	} {
		b.put64(at, n)
	}
	binary.LittleEndian.PutUint32(b.super[144:], madeNode)
	binary.LittleEndian.PutUint32(b.super[148:], madeNode)
	copy(b.super[201:], b.deviceItem())
	copy(b.super[299:], "made")
	b.setSysChunks(b.chunks[1])
}

// setSysChunks puts a chunk into the superblock.
func (b *btrfsMade) setSysChunks(it madeItem) {
	p := append(madeKey(it.key), it.data...)
	binary.LittleEndian.PutUint32(b.super[160:], uint32(len(p)))
	copy(b.super[811:], p)
}

func madeKey(k btrfsKey) []byte {
	p := binary.LittleEndian.AppendUint64(nil, k.id)
	return binary.LittleEndian.AppendUint64(append(p, k.kind), k.offset)
}

// header returns an empty tree block.
func (b *btrfsMade) header(t btrfsTree, count int) []byte {
	p := make([]byte, madeNode)
	copy(p[32:], b.fsid[:])
	binary.LittleEndian.PutUint64(p[48:], t.start)
	binary.LittleEndian.PutUint64(p[80:], t.generation)
	binary.LittleEndian.PutUint64(p[88:], t.owner)
	binary.LittleEndian.PutUint32(p[96:], uint32(count))
	p[100] = t.level
	return p
}

// leaf returns a leaf, its data packed against the end.
func (b *btrfsMade) leaf(start, owner, generation uint64, items []madeItem) []byte {
	p := b.header(btrfsTree{owner: owner, start: start, generation: generation}, len(items))
	body := p[btrfsHeaderSize:]
	end := len(body)
	for i, it := range items {
		end -= len(it.data)
		copy(body[end:], it.data)
		copy(body[i*btrfsItemSize:], madeKey(it.key))
		binary.LittleEndian.PutUint32(body[i*btrfsItemSize+17:], uint32(end))
		binary.LittleEndian.PutUint32(body[i*btrfsItemSize+21:], uint32(len(it.data)))
	}
	return p
}

// extentNode returns the root of the extent tree.
func (b *btrfsMade) extentNode() []byte {
	p := b.header(btrfsTree{owner: btrfsExtentTree, start: madeExtentRoot, generation: madeGeneration, level: 1}, 2)
	at := p[btrfsHeaderSize:]
	for i, key := range []btrfsKey{b.left[0].key, b.right[0].key} {
		copy(at, madeKey(key))
		binary.LittleEndian.PutUint64(at[btrfsKeySize:], madeExtentLeft+uint64(i)*madeNode)
		binary.LittleEndian.PutUint64(at[btrfsKeySize+8:], madeGeneration)
		at = at[btrfsPtrSize:]
	}
	return p
}

// make returns the device that b describes.
func (b *btrfsMade) make() *madeDevice {
	d := &madeDevice{blocks: map[int64][]byte{}}
	place := func(start uint64, node []byte) {
		if b.editNode != nil {
			b.editNode(start, node)
		}
		at := int64(start-madeMetadata) + 3<<20
		if start < madeMetadata {
			at = int64(start-madeSystem) + 1<<20
		}
		if !b.leaveSums {
			sealBtrfs(node)
		}
		d.blocks[at] = node
		d.order = append(d.order, at)
	}
	place(madeChunkRoot, b.leaf(madeChunkRoot, btrfsChunkTree, madeGeneration, b.chunks))
	place(madeRootRoot, b.leaf(madeRootRoot, btrfsRootTree, madeGeneration, b.roots))
	place(madeExtentRoot, b.extentNode())
	place(madeExtentLeft, b.leaf(madeExtentLeft, btrfsExtentTree, madeGeneration, b.left))
	place(madeExtentRight, b.leaf(madeExtentRight, btrfsExtentTree, madeGeneration, b.right))
	place(madeLogRoot, b.leaf(madeLogRoot, btrfsLogTree, madeGeneration+1, b.logRoots))
	place(madeLog, b.leaf(madeLog, btrfsLogTree, madeGeneration+1, b.log))
	if !b.leaveSuper {
		sealBtrfs(b.super)
	}
	d.blocks[64<<10] = b.super
	d.order = append(d.order, 64<<10)
	return d
}

// sealBtrfs puts a CRC-32C at the start of a block.
func sealBtrfs(block []byte) {
	sum, _ := newBtrfsSum(0)
	clear(block[:btrfsSumSize])
	copy(block, sum(block[btrfsSumSize:]))
}

// A madeDevice is a device of madeSize bytes of which few blocks of 4 KiB are
// not zero. It counts how often it is read.
type madeDevice struct {
	blocks map[int64][]byte
	order  []int64 // offsets of the blocks
	reads  int
}

func (d *madeDevice) ReadAt(p []byte, off int64) (int, error) {
	d.reads++
	n := 0
	for n < len(p) && off+int64(n) < madeSize {
		at := (off + int64(n)) / madeNode * madeNode
		block, ok := d.blocks[at]
		if !ok {
			block = make([]byte, madeNode)
		}
		n += copy(p[n:], block[off+int64(n)-at:])
	}
	if n < len(p) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

// read maps the device.
func (d *madeDevice) read(t testing.TB) *Map {
	t.Helper()
	m, err := Read(context.Background(), d, madeSize, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
