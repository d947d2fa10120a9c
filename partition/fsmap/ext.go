package fsmap

import (
	"errors"

	"slipcast/partition"
)

// An extFS is an ext2, ext3 or ext4 file system while it is mapped.
//
// What is in use stands in one bitmap for each group of blocks. The bitmaps
// are found through the group descriptors; where the file system was not
// cleanly unmounted, the journal may hold newer copies of both. The layout is
// specified in the kernel's Documentation/filesystems/ext4.
type extFS struct {
	v *volume
	extLayout

	// log holds the newest copies of blocks that a replay of the journal
	// would write. It is nil if there is nothing to replay.
	log *extLog

	// journal is where the internal journal lies, in blocks.
	journal []extRun

	used partition.Builder
}

// readExt maps ext2, ext3 and ext4.
func readExt(v *volume) (*Map, error) {
	raw, err := readExtSuper(v)
	if err != nil {
		return nil, errNotMine
	}
	sb := decodeExtSuper(raw)
	m := sb.describe()
	if err := sb.check(raw, v.size); err != nil {
		return m, err
	}
	m.Size = sb.blocks * sb.blockSize
	fs := &extFS{v: v, extLayout: sb.extLayout}
	if err := fs.consultJournal(sb); err != nil {
		return m, err
	}
	if m.Dirty {
		m.note("not cleanly unmounted: its journal was consulted")
	}
	if err := fs.mapGroups(sb); err != nil {
		return m, err
	}
	m.Used = fs.used.Extents()
	if v.opt.SkipSwapfiles && !m.Dirty && sb.roCompat&extSharedBlocks == 0 {
		fs.leaveOutSwapfiles(m)
	}
	return m, nil
}

// mapGroups notes what all groups use, and what lies outside of them.
func (fs *extFS) mapGroups(sb extSuper) error {
	fs.addFixed(&fs.used)
	fs.add(&fs.used, sb.mmpBlock, 1)
	return fs.eachGroup(func(g extGroup) error {
		fs.addMetadata(&fs.used, g)
		if g.uninitialised {
			return nil // what is at the bitmap's place means nothing
		}
		return fs.addBitmap(g)
	})
}

// addFixed notes what is in use without any group's doing: everything up to
// the superblock, and the journal.
func (fs *extFS) addFixed(b *partition.Builder) {
	fs.add(b, 0, fs.superBlock()+1)
	for _, r := range fs.journal {
		fs.add(b, r.start, r.count)
	}
}

// add notes count blocks from start, as far as the file system reaches.
func (fs *extFS) add(b *partition.Builder, start, count int64) {
	if count = min(count, fs.blocks-start); count > 0 {
		b.Add(start*fs.blockSize, count*fs.blockSize)
	}
}

// readBlock fills buf, which is one block long, with what the block holds
// after a replay of the journal.
func (fs *extFS) readBlock(buf []byte, block int64) error {
	if fs.log != nil {
		if c, ok := fs.log.copies[block]; ok {
			return fs.log.readCopy(buf, c)
		}
	}
	return fs.readDisk(buf, block)
}

// readDisk fills buf, which is one block long, with what is on the disk.
func (fs *extFS) readDisk(buf []byte, block int64) error {
	if block < 0 || block >= fs.blocks {
		return damaged("block %d of %d", block, fs.blocks)
	}
	return fs.v.readInto(buf, block*fs.blockSize)
}

// errExtState tells that the bitmaps of a file system may be behind its
// inodes, so that only a check from inode to inode could map it.
var errExtState = errors.New("not cleanly unmounted, and it has no journal that makes its bitmaps right")

// errExtErrors tells that the kernel or e2fsck found damage that was not yet
// repaired.
var errExtErrors = errors.New("marked as having errors, it needs e2fsck")
