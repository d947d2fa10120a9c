package fsmap

import (
	"fmt"

	"slipcast/partition"
)

// A btrfs is a btrfs on one device while it is being mapped.
//
// Its metadata are trees of checksummed blocks that point to each other by
// logical addresses, which the chunk tree turns into places on the device.
// The extent tree lists every extent in use, those of all the trees included.
// All trees are copied on write, and the superblock that names their roots is
// written last: on the disk they agree with each other at any time. What a
// program flushed by fsync since then hangs on the log trees alone.
//
// The layout follows linux/btrfs_tree.h and the "On-disk Format" page of the
// btrfs documentation.
type btrfs struct {
	v      *volume
	super  *btrfsSuper
	chunks btrfsChunks
	used   partition.Builder
	nodes  int64 // how many more tree blocks may be read
}

// readBtrfs maps a btrfs that has all of its data on this volume. Several
// devices, striping, seeding, zones and features that it does not know make
// it refuse.
func readBtrfs(v *volume) (*Map, error) {
	block, err := readBtrfsSuper(v)
	if err != nil {
		return nil, err
	}
	m := &Map{Type: "btrfs"}
	s, err := parseBtrfsSuper(block)
	if err != nil {
		return m, err
	}
	s.describe(m)
	if err := s.check(v.size); err != nil {
		return m, err
	}
	fs := &btrfs{v: v, super: s, nodes: v.size / s.nodeSize}
	if err := fs.mark(); err != nil {
		return m, err
	}
	if m.Dirty {
		m.note("not cleanly unmounted: its log trees were consulted")
	}
	m.Used = fs.used.Extents()
	return m, nil
}

// mark adds to the map what every btrfs uses, what the extent tree lists and
// what hangs on the log trees.
//
// The four backup roots in the superblock are left out: what an older one
// points to is free as soon as a newer superblock is on the disk, and the
// next transaction may overwrite it, so no program can count on it.
func (fs *btrfs) mark() error {
	fs.markReserved()
	if err := fs.readChunks(); err != nil {
		return fmt.Errorf("chunk tree: %w", err)
	}
	extents, err := fs.findExtentTree()
	if err != nil {
		return fmt.Errorf("root tree: %w", err)
	}
	if err := fs.markExtents(extents); err != nil {
		return fmt.Errorf("extent tree: %w", err)
	}
	if err := fs.markLogs(); err != nil {
		return fmt.Errorf("log tree: %w", err)
	}
	return nil
}

// btrfsReserved is the start of a device that belongs to boot loaders and the
// superblock and is never allocated (BTRFS_DEVICE_RANGE_RESERVED), in bytes.
const btrfsReserved = 1 << 20

// markReserved adds the start of the device and the superblock's copies.
func (fs *btrfs) markReserved() {
	fs.used.Add(0, btrfsReserved)
	for _, at := range btrfsSuperOffsets {
		if at <= fs.super.deviceSize-btrfsSuperSize {
			fs.used.Add(at, btrfsSuperSize)
		}
	}
}

// markLogical adds every copy of length bytes at a logical address. They must
// lie in one chunk that holds one of the kinds.
func (fs *btrfs) markLogical(start, length, kinds uint64) error {
	c, err := fs.chunks.find(start, length)
	if err != nil {
		return err
	}
	if c.kind&kinds == 0 {
		return damaged("an extent at %d in the wrong kind of chunk", start)
	}
	for _, at := range c.copies() {
		fs.used.Add(at+int64(start-c.start), int64(length))
	}
	return nil
}

// findExtentTree finds the root of the extent tree in the root tree. One
// without exactly one extent tree is damaged.
func (fs *btrfs) findExtentTree() (btrfsTree, error) {
	var found []btrfsTree
	err := fs.walk(fs.super.root, func(it btrfsItem) error {
		if it.key.id != btrfsExtentTree || it.key.kind != btrfsRootItem {
			return nil
		}
		t, err := it.root(btrfsExtentTree)
		found = append(found, t)
		if len(found) > 1 {
			return damaged("more than one extent tree")
		}
		return err
	})
	if err != nil {
		return btrfsTree{}, err
	}
	if len(found) == 0 {
		return btrfsTree{}, damaged("no extent tree")
	}
	return found[0], nil
}
