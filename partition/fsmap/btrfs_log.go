package fsmap

import "encoding/binary"

// markLogs adds what the next mount will replay: the blocks of the log trees
// and the extents of the files in them. Neither is in the extent tree yet, and
// all of it lies in chunks that the chunk tree has, because a transaction that
// makes a chunk lets no log tree be written (btrfs_make_block_group).
//
// Checksum items in a log tree need nothing: the replay looks up those that
// belong to a file extent of the same log, and that is added as a whole.
func (fs *btrfs) markLogs() error {
	if fs.super.logRoot.start == 0 {
		return nil
	}
	return fs.walk(fs.super.logRoot, func(it btrfsItem) error {
		if it.key.id != btrfsLogTree || it.key.kind != btrfsRootItem {
			return damaged("an item of type %d among the roots", it.key.kind)
		}
		log, err := it.root(btrfsLogTree)
		if err != nil {
			return err
		}
		return fs.walk(log, fs.markLogged)
	})
}

// Types of file extents (BTRFS_FILE_EXTENT_*).
const (
	btrfsInline   = 0
	btrfsRegular  = 1
	btrfsPrealloc = 2
)

// markLogged adds the extent that a file extent item (struct
// btrfs_file_extent_item) in a log tree refers to. Other items have none.
func (fs *btrfs) markLogged(it btrfsItem) error {
	if it.key.kind != btrfsExtentData {
		return nil
	}
	const fixed, whole = 21, 53 // without and with the fields of an extent
	if len(it.data) < fixed {
		return damaged("a file extent item of %d bytes", len(it.data))
	}
	kind := it.data[20]
	if kind == btrfsInline {
		return nil
	}
	if kind != btrfsRegular && kind != btrfsPrealloc || len(it.data) != whole {
		return damaged("a file extent item of type %d in %d bytes", kind, len(it.data))
	}
	start := binary.LittleEndian.Uint64(it.data[21:])
	if start == 0 {
		return nil // a hole
	}
	return fs.markExtent(start, binary.LittleEndian.Uint64(it.data[29:]), btrfsData)
}
