package fsmap

import "encoding/binary"

// Types of items in the extent tree (BTRFS_*_KEY).
const (
	btrfsExtentItem     = 168 // the key's offset is a length
	btrfsMetadataItem   = 169 // the key's offset is a level, the length that of a node
	btrfsExtentOwnerRef = 172
	btrfsTreeBlockRef   = 176
	btrfsDataRef        = 178
	btrfsSharedBlockRef = 182
	btrfsSharedDataRef  = 184
	btrfsBlockGroupItem = 192
)

// Flags of extents (BTRFS_EXTENT_FLAG_*).
const (
	btrfsExtentIsData = 1 << 0
	btrfsExtentIsTree = 1 << 1
)

// markExtents adds all that the extent tree lists. Its sum must be what the
// superblock has for the bytes in use: log trees are in neither.
func (fs *btrfs) markExtents(root btrfsTree) error {
	x := &btrfsExtents{fs: fs}
	if err := fs.walk(root, x.item); err != nil {
		return err
	}
	if x.total != fs.super.bytesUsed {
		return damaged("%d bytes in use, the superblock has %d", x.total, fs.super.bytesUsed)
	}
	return nil
}

// A btrfsExtents follows the walk through the extent tree.
type btrfsExtents struct {
	fs    *btrfs
	end   uint64 // logical address behind the last extent
	total uint64 // bytes of all extents
}

// item takes an item of the extent tree. Only extents matter: what refers to
// them does not.
func (x *btrfsExtents) item(it btrfsItem) error {
	node := uint64(x.fs.super.nodeSize)
	switch it.key.kind {
	case btrfsExtentItem:
		return x.extent(it, it.key.offset)
	case btrfsMetadataItem:
		if it.key.offset >= btrfsMaxLevel || x.fs.super.incompat&btrfsSkinny == 0 {
			return damaged("a metadata item of level %d", it.key.offset)
		}
		return x.extent(it, node)
	case btrfsExtentOwnerRef, btrfsTreeBlockRef, btrfsDataRef, btrfsSharedBlockRef,
		btrfsSharedDataRef, btrfsBlockGroupItem:
		return nil
	}
	return damaged("an item of type %d", it.key.kind)
}

// extent adds the extent of it (struct btrfs_extent_item), which has length
// bytes.
func (x *btrfsExtents) extent(it btrfsItem, length uint64) error {
	start := it.key.id
	if len(it.data) < 24 {
		return damaged("an extent item of %d bytes", len(it.data))
	}
	kinds := uint64(btrfsData)
	switch flags := binary.LittleEndian.Uint64(it.data[16:]); {
	case flags&btrfsExtentIsTree != 0 && flags&btrfsExtentIsData == 0 && length == uint64(x.fs.super.nodeSize):
		kinds = btrfsSystem | btrfsMetadata
	case flags&btrfsExtentIsTree == 0 && flags&btrfsExtentIsData != 0 && it.key.kind == btrfsExtentItem:
	default:
		return damaged("an extent of %d bytes at %d with flags %#x", length, start, flags)
	}
	if start < x.end {
		return damaged("the extent at %d overlaps the one before", start)
	}
	if err := x.fs.markExtent(start, length, kinds); err != nil {
		return err
	}
	x.end = start + length
	x.total += length // no overflow: extents do not overlap
	return nil
}

// markExtent adds an extent, which consists of whole sectors of one chunk.
func (fs *btrfs) markExtent(start, length, kinds uint64) error {
	if sector := uint64(fs.super.sectorSize); length == 0 || start%sector != 0 || length%sector != 0 {
		return damaged("an extent of %d bytes at %d", length, start)
	}
	return fs.markLogical(start, length, kinds)
}
