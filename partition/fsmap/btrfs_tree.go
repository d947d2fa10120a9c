package fsmap

import (
	"cmp"
	"encoding/binary"
	"fmt"
)

// Owners of trees (BTRFS_*_TREE_OBJECTID) and types of items (BTRFS_*_KEY).
const (
	btrfsRootTree   = 1
	btrfsExtentTree = 2
	btrfsChunkTree  = 3
	btrfsLogTree    = 1<<64 - 6 // BTRFS_TREE_LOG_OBJECTID

	btrfsExtentData = 108
	btrfsRootItem   = 132
	btrfsDeviceItem = 216
	btrfsChunkItem  = 228
)

const (
	btrfsKeySize    = 17
	btrfsHeaderSize = 101 // struct btrfs_header
	btrfsItemSize   = 25  // struct btrfs_item: key, place and size of its data
	btrfsPtrSize    = 33  // struct btrfs_key_ptr: key, address, generation
	btrfsMaxLevel   = 8   // BTRFS_MAX_LEVEL: levels are below it
)

// A btrfsKey orders the items of a tree (struct btrfs_disk_key).
type btrfsKey struct {
	id     uint64
	kind   uint8
	offset uint64
}

// decodeBtrfsKey reads a key from p, which must be long enough.
func decodeBtrfsKey(p []byte) btrfsKey {
	return btrfsKey{
		id:     binary.LittleEndian.Uint64(p),
		kind:   p[8],
		offset: binary.LittleEndian.Uint64(p[9:]),
	}
}

// compare orders keys as trees do.
func (k btrfsKey) compare(l btrfsKey) int {
	return cmp.Or(cmp.Compare(k.id, l.id), cmp.Compare(k.kind, l.kind), cmp.Compare(k.offset, l.offset))
}

// A btrfsTree names a tree block and what must stand in its header: the root
// of a tree, or a block further down in it.
type btrfsTree struct {
	owner      uint64
	start      uint64 // logical address
	generation uint64
	level      uint8 // zero is a leaf
}

// A btrfsItem is an item in a leaf. The data are valid until the callback
// that got it returns.
type btrfsItem struct {
	key  btrfsKey
	data []byte
}

// root decodes a root item (struct btrfs_root_item) of a tree with the given
// owner. Old file systems have shorter items without the later fields.
func (it btrfsItem) root(owner uint64) (btrfsTree, error) {
	if len(it.data) < 239 {
		return btrfsTree{}, damaged("a root item of %d bytes", len(it.data))
	}
	return btrfsTree{
		owner:      owner,
		generation: binary.LittleEndian.Uint64(it.data[160:]),
		start:      binary.LittleEndian.Uint64(it.data[176:]),
		level:      it.data[238],
	}, nil
}

// A btrfsWalk visits the blocks of one tree from left to right. It ends on any
// input: levels fall with every step down, the keys of all leaves together
// must rise strictly, a block must start with the key that its parent has for
// it, and fs.nodes bounds the blocks of all walks.
type btrfsWalk struct {
	fs   *btrfs
	fn   func(btrfsItem) error
	bufs [btrfsMaxLevel][]byte // one block for each level
	last *btrfsKey             // of the last item, nil before the first
}

// walk calls fn with every item of the tree in ascending order and adds the
// tree's blocks to the map. It stops at the first error.
func (fs *btrfs) walk(root btrfsTree, fn func(btrfsItem) error) error {
	if root.level >= btrfsMaxLevel {
		return damaged("a tree of level %d", root.level)
	}
	w := &btrfsWalk{fs: fs, fn: fn}
	node, count, err := w.read(root)
	if err != nil {
		return err
	}
	if count == 0 && root.level == 0 { // the one block that may be empty
		return nil
	}
	return w.visit(root, node, count)
}

// visit goes through the count items or pointers of a block.
func (w *btrfsWalk) visit(t btrfsTree, node []byte, count int) error {
	if t.level == 0 {
		return w.leaf(t, node, count)
	}
	for i := range count {
		p := node[btrfsHeaderSize+i*btrfsPtrSize:]
		child := btrfsTree{
			owner:      t.owner,
			start:      binary.LittleEndian.Uint64(p[btrfsKeySize:]),
			generation: binary.LittleEndian.Uint64(p[btrfsKeySize+8:]),
			level:      t.level - 1,
		}
		next, n, err := w.read(child)
		if err != nil {
			return err
		}
		if n == 0 || decodeBtrfsKey(next[btrfsHeaderSize:]) != decodeBtrfsKey(p) {
			return damaged("the block at %d is not what its parent says", child.start)
		}
		if err := w.visit(child, next, n); err != nil {
			return err
		}
	}
	return nil
}

// leaf calls fn with the count items of a leaf. Their data lie between the
// table of items and the end of the block.
func (w *btrfsWalk) leaf(t btrfsTree, node []byte, count int) error {
	body := node[btrfsHeaderSize:]
	for i := range count {
		p := body[i*btrfsItemSize:]
		key := decodeBtrfsKey(p)
		if w.last != nil && key.compare(*w.last) <= 0 {
			return damaged("the block at %d is out of order", t.start)
		}
		w.last = &key
		from := int64(binary.LittleEndian.Uint32(p[btrfsKeySize:]))
		size := int64(binary.LittleEndian.Uint32(p[btrfsKeySize+4:]))
		if from < int64(count*btrfsItemSize) || from+size > int64(len(body)) {
			return damaged("the block at %d has an item of %d bytes at %d", t.start, size, from)
		}
		if err := w.fn(btrfsItem{key: key, data: body[from : from+size]}); err != nil {
			return err
		}
	}
	return nil
}

// read returns a tree block and how many items or pointers it has, for which
// it is large enough. The block is valid until the next one of its level is
// read.
func (w *btrfsWalk) read(t btrfsTree) (node []byte, count int, err error) {
	if w.bufs[t.level] == nil {
		w.bufs[t.level] = make([]byte, w.fs.super.nodeSize)
	}
	node = w.bufs[t.level]
	if err := w.fs.readNode(node, t); err != nil {
		return nil, 0, err
	}
	entry := btrfsPtrSize
	if t.level == 0 {
		entry = btrfsItemSize
	}
	n := int64(binary.LittleEndian.Uint32(node[96:]))
	if n > int64((len(node)-btrfsHeaderSize)/entry) || n == 0 && t.level > 0 {
		return nil, 0, damaged("the block at %d has %d entries", t.start, n)
	}
	return node, int(n), nil
}

// readNode fills node with a tree block and adds all copies of it to the map.
// The first copy is checked. Where it is damaged the kernel would take the
// second, and we refuse.
func (fs *btrfs) readNode(node []byte, t btrfsTree) error {
	if fs.nodes--; fs.nodes < 0 {
		return damaged("more tree blocks than have room")
	}
	start, size := t.start, uint64(len(node))
	if start%uint64(fs.super.sectorSize) != 0 {
		return damaged("a tree block at %d", start)
	}
	c, err := fs.chunks.find(start, size)
	if err != nil {
		return err
	}
	if err := fs.v.readInto(node, c.at[0]+int64(start-c.start)); err != nil {
		return err
	}
	if err := fs.checkNode(node, t); err != nil {
		return err
	}
	return fs.markLogical(start, size, btrfsSystem|btrfsMetadata)
}

// checkNode compares the header of a tree block (struct btrfs_header) with
// what is known of it.
func (fs *btrfs) checkNode(node []byte, want btrfsTree) error {
	if !fs.super.sum.verify(node) {
		return damaged("the block at %d has a wrong checksum", want.start)
	}
	if [16]byte(node[32:]) != fs.super.metadataUUID {
		return damaged("the block at %d is of another file system", want.start)
	}
	have := btrfsTree{
		start:      binary.LittleEndian.Uint64(node[48:]),
		generation: binary.LittleEndian.Uint64(node[80:]),
		owner:      binary.LittleEndian.Uint64(node[88:]),
		level:      node[100],
	}
	if have != want {
		return damaged("found %v, want %v", have, want)
	}
	return nil
}

// String formats t for messages.
func (t btrfsTree) String() string {
	return fmt.Sprintf("block %d of tree %d (level %d, generation %d)", t.start, int64(t.owner), t.level, t.generation)
}
