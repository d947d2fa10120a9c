package fsmap

import (
	"encoding/binary"
	"errors"
	"sort"
)

// The journal of ext3 and ext4 is written by jbd2. Its format is specified in
// Documentation/filesystems/ext4/journal.rst; all of its numbers are
// big-endian. What makes a transaction valid follows from what the kernel's
// replay (fs/jbd2/recovery.c) accepts, but is stricter: whatever the kernel
// would have to forgive makes the volume whole.

// A block of the log starts with this magic, its kind and the number of its
// transaction, four bytes each.
const (
	jbdMagic      = 0xc03b3998
	jbdHeaderSize = 12
)

// Kinds of blocks.
const (
	jbdDescriptor = 1
	jbdCommit     = 2
	jbdSuperV1    = 3
	jbdSuperV2    = 4
	jbdRevoke     = 5
)

// Features of a journal. jbdChecksum is a compatible one, the others are not.
const (
	jbdChecksum   = 0x01
	jbd64Bit      = 0x02
	jbdCsumV2     = 0x08
	jbdCsumV3     = 0x10
	jbdFastCommit = 0x20

	// jbdIncompat are those that are known: revoke, 64bit, async_commit,
	// csum_v2, csum_v3 and fast_commit.
	jbdIncompat = 0x01 | jbd64Bit | 0x04 | jbdCsumV2 | jbdCsumV3 | jbdFastCommit
)

// jbdCRC32C is the only checksum type of the features csum_v2 and csum_v3.
const jbdCRC32C = 4

// extMaxCopies bounds how many blocks a replay may write, and how many one
// transaction may revoke: a log of 4 GiB with blocks of 4 KiB.
const extMaxCopies = 1 << 20

// An extLog is the journal of a file system.
type extLog struct {
	fs *extFS

	first, end int64  // the log goes round from block first to before end
	start      int64  // first block of the oldest transaction, zero if there is none
	sequence   uint32 // number of the oldest transaction
	sums       bool   // crc32c of all blocks: csum_v2 or csum_v3
	wideSums   bool   // csum_v3: tags have another form
	oldSums    bool   // one crc32 of each transaction: the feature checksum
	wide       bool   // block numbers of 64 bits
	fastCommit bool
	seed       uint32 // what every crc32c starts with

	// copies tells where the newest committed copy of a block lies, by the
	// block's number.
	copies map[int64]extCopy
}

// An extCopy is the content of a block in the log.
type extCopy struct {
	at      int64 // block of the log
	escaped bool  // the magic at its start was taken out
}

// consultJournal reads the journal if there is one. Afterwards readBlock
// returns what blocks hold after a replay.
func (fs *extFS) consultJournal(sb extSuper) error {
	replay := sb.incompat&extRecover != 0
	if sb.compat&extHasJournal == 0 {
		if replay {
			return damaged("a journal is to be replayed, but there is none")
		}
		return nil
	}
	if sb.journalInode == 0 {
		if replay {
			return errors.New("not cleanly unmounted, and its journal is on another device")
		}
		return nil
	}
	log, err := fs.openLog(sb.journalInode)
	if err != nil {
		return err
	}
	if !replay {
		if log.start != 0 {
			return damaged("marked as clean, but its journal is not empty")
		}
		return nil
	}
	if log.fastCommit || sb.compat&extFastCommit != 0 {
		return errors.New("not cleanly unmounted, and its journal may hold fast commits")
	}
	if log.start == 0 {
		return nil // mounted, and nothing was changed since
	}
	if err := log.scan(); err != nil {
		return err
	}
	fs.log = log
	return fs.checkReplayedSuper()
}

// checkReplayedSuper refuses a journal that holds a superblock with another
// layout (the file system was being resized) or a state that forbids a map.
func (fs *extFS) checkReplayedSuper() error {
	if _, ok := fs.log.copies[fs.superBlock()]; !ok {
		return nil
	}
	buf := make([]byte, fs.blockSize)
	if err := fs.readBlock(buf, fs.superBlock()); err != nil {
		return err
	}
	raw := buf[extSuperOffset%fs.blockSize:][:extSuperSize]
	if binary.LittleEndian.Uint16(raw[extMagicOffset:]) != extMagic {
		return damaged("journal: a superblock without magic")
	}
	sb := decodeExtSuper(raw)
	if sb.extLayout != fs.extLayout {
		return errors.New("its journal changes the layout")
	}
	return sb.checkUse()
}

// openLog reads the superblock of the journal in the given inode.
func (fs *extFS) openLog(number uint32) (*extLog, error) {
	ino, err := fs.inode(number)
	if err != nil {
		return nil, err
	}
	if ino.mode&extModeMask != extModeFile || ino.links == 0 {
		return nil, damaged("the inode of the journal is no file")
	}
	if fs.journal, err = fs.runs(ino); err != nil {
		return nil, err
	}
	l := &extLog{fs: fs, copies: map[int64]extCopy{}}
	buf := make([]byte, fs.blockSize)
	if err := l.read(buf, 0); err != nil {
		return nil, err
	}
	return l, l.decodeSuper(buf[:extSuperSize], ino.size/fs.blockSize)
}

// decodeSuper reads and checks the journal's superblock; blocks is the length
// of the file that the journal is in.
func (l *extLog) decodeSuper(raw []byte, blocks int64) error {
	be := binary.BigEndian
	kind := be.Uint32(raw[4:])
	if be.Uint32(raw) != jbdMagic || kind != jbdSuperV1 && kind != jbdSuperV2 {
		return damaged("journal: no superblock")
	}
	if size := int64(be.Uint32(raw[0xc:])); size != l.fs.blockSize {
		return damaged("journal: blocks of %d bytes", size)
	}
	if errno := be.Uint32(raw[0x20:]); errno != 0 {
		return damaged("journal: ended with error %d", int32(errno))
	}
	l.end, l.first = int64(be.Uint32(raw[0x10:])), int64(be.Uint32(raw[0x14:]))
	l.sequence, l.start = be.Uint32(raw[0x18:]), int64(be.Uint32(raw[0x1c:]))
	if l.first < 1 || l.first >= l.end || l.end > blocks {
		return damaged("journal: log from block %d to %d of %d", l.first, l.end, blocks)
	}
	if l.start != 0 && (l.start < l.first || l.start >= l.end) {
		return damaged("journal: log starts at block %d", l.start)
	}
	if kind == jbdSuperV1 {
		return nil // without features
	}
	return l.decodeFeatures(raw)
}

// decodeFeatures reads what only the second version of the journal's
// superblock has.
func (l *extLog) decodeFeatures(raw []byte) error {
	const sumOffset = 0xfc
	be := binary.BigEndian
	compat, incompat, roCompat := be.Uint32(raw[0x24:]), be.Uint32(raw[0x28:]), be.Uint32(raw[0x2c:])
	if compat&^jbdChecksum != 0 || incompat&^jbdIncompat != 0 || roCompat != 0 {
		return damaged("journal: features that are not known: compat %#x, incompat %#x, ro_compat %#x", compat, incompat, roCompat)
	}
	l.oldSums = compat&jbdChecksum != 0
	l.wide = incompat&jbd64Bit != 0
	l.wideSums = incompat&jbdCsumV3 != 0
	l.sums = l.wideSums || incompat&jbdCsumV2 != 0
	l.fastCommit = incompat&jbdFastCommit != 0
	if !l.sums {
		return nil
	}
	if l.oldSums || incompat&(jbdCsumV2|jbdCsumV3) == jbdCsumV2|jbdCsumV3 || raw[0x50] != jbdCRC32C {
		return damaged("journal: more than one kind of checksums, or an unknown one")
	}
	sum := extCRC(^uint32(0), raw[:sumOffset], []byte{0, 0, 0, 0}, raw[sumOffset+4:])
	if sum != be.Uint32(raw[sumOffset:]) {
		return damaged("journal: checksum mismatch")
	}
	l.seed = extCRC(^uint32(0), raw[0x30:0x40])
	return nil
}

// place returns where block at of the journal lies on the volume.
func (l *extLog) place(at int64) (int64, error) {
	runs := l.fs.journal
	i := sort.Search(len(runs), func(i int) bool { return runs[i].logical+runs[i].count > at })
	if i == len(runs) || runs[i].logical > at || runs[i].unwritten {
		return 0, damaged("journal: block %d is missing", at)
	}
	return runs[i].start + at - runs[i].logical, nil
}

// read fills buf with block at of the journal.
func (l *extLog) read(buf []byte, at int64) error {
	block, err := l.place(at)
	if err != nil {
		return err
	}
	return l.fs.readDisk(buf, block)
}

// readCopy fills buf with the content that c stands for.
func (l *extLog) readCopy(buf []byte, c extCopy) error {
	if err := l.read(buf, c.at); err != nil {
		return err
	}
	if c.escaped {
		binary.BigEndian.PutUint32(buf, jbdMagic)
	}
	return nil
}

// after returns the block n blocks behind block at of the log; n is less than
// the length of the log.
func (l *extLog) after(at, n int64) int64 {
	if at += n; at >= l.end {
		at -= l.end - l.first
	}
	return at
}
