package fsmap

import (
	"encoding/binary"
)

// Inode flags (i_flags).
const (
	extFlagImmutable = 0x00000010
	extFlagNoDump    = 0x00000040
	extFlagNoAtime   = 0x00000080
	extFlagEncrypt   = 0x00000800
	extFlagExtents   = 0x00080000
	extFlagInline    = 0x10000000
)

// The kinds of inodes that are looked at (i_mode).
const (
	extModeMask = 0xf000
	extModeDir  = 0x4000
	extModeFile = 0x8000
)

// An extInode is what a file's blocks are found by.
type extInode struct {
	number uint32
	mode   uint16
	links  uint16
	size   int64 // bytes
	flags  uint32
	block  [60]byte // i_block: pointers, or the root of the extent tree
	seed   uint32   // what the checksums of its extent blocks start with
}

// inode reads and checks inode number; see
// Documentation/filesystems/ext4/inodes.rst.
func (fs *extFS) inode(number uint32) (extInode, error) {
	index := int64(number) - 1
	if index < 0 || index >= fs.inodes {
		return extInode{}, damaged("inode %d of %d", number, fs.inodes)
	}
	g, err := fs.group(index / fs.groupInodes)
	if err != nil {
		return extInode{}, err
	}
	raw, err := fs.v.read(g.inodeTable*fs.blockSize+index%fs.groupInodes*fs.inodeSize, fs.inodeSize)
	if err != nil {
		return extInode{}, err
	}
	le := binary.LittleEndian
	ino := extInode{
		number: number,
		mode:   le.Uint16(raw[0x0:]),
		links:  le.Uint16(raw[0x1a:]),
		size:   int64(le.Uint32(raw[0x4:])) | int64(le.Uint32(raw[0x6c:]))<<32,
		flags:  le.Uint32(raw[0x20:]),
		block:  [60]byte(raw[0x28:]),
	}
	if fs.sums == extSumsMetadata {
		ino.seed = extCRC(fs.seed, le.AppendUint32(nil, number), raw[0x64:0x68])
		if !extInodeSumRight(raw, ino.seed) {
			return extInode{}, damaged("inode %d: checksum mismatch", number)
		}
	}
	if ino.size < 0 || ino.size > fs.blocks*fs.blockSize {
		return extInode{}, damaged("inode %d: %d bytes", number, ino.size)
	}
	return ino, nil
}

// extInodeSumRight reports whether an inode's checksum is right. Its lower half
// lies in the old part of the inode, the upper one, if there is room, in the
// extra part. Both count as zero.
func extInodeSumRight(raw []byte, seed uint32) bool {
	const low, extra, high = 0x7c, 0x80, 0x82
	le := binary.LittleEndian
	sum := extCRC(seed, raw[:low], []byte{0, 0}, raw[low+2:extra])
	if len(raw) == extra {
		return uint16(sum) == le.Uint16(raw[low:])
	}
	if le.Uint16(raw[extra:]) < high+2-extra {
		return uint16(extCRC(sum, raw[extra:])) == le.Uint16(raw[low:])
	}
	sum = extCRC(sum, raw[extra:high], []byte{0, 0}, raw[high+2:])
	return sum == uint32(le.Uint16(raw[low:]))|uint32(le.Uint16(raw[high:]))<<16
}

// An extRun is a run of a file's blocks that lies in one piece.
type extRun struct {
	logical   int64 // first block within the file
	start     int64 // first block on the volume
	count     int64
	unwritten bool // allocated; what is there does not belong to the file
}

// Bounds of what is read to find a file's blocks. The file's size bounds the
// blocks themselves.
const (
	extMaxRuns  = 1 << 20
	extMaxNodes = 1 << 17
	extMaxDepth = 5 // of an extent tree
)

// An extWalk collects the runs of one file.
type extWalk struct {
	fs    *extFS
	ino   extInode
	nodes int // blocks of pointers or extents that were read
	runs  []extRun
}

// runs returns where the blocks of a file lie, in ascending order of their
// place in the file. What is beyond its size is left out.
func (fs *extFS) runs(ino extInode) ([]extRun, error) {
	w := &extWalk{fs: fs, ino: ino}
	var err error
	switch {
	case ino.flags&(extFlagInline|extFlagEncrypt) != 0:
		return nil, damaged("inode %d: flags %#x", ino.number, ino.flags)
	case ino.flags&extFlagExtents != 0:
		err = w.extents(ino.block[:], -1)
	default:
		err = w.pointers()
	}
	return w.runs, err
}

// end returns how many blocks the file's size asks for.
func (w *extWalk) end() int64 {
	return (w.ino.size + w.fs.blockSize - 1) / w.fs.blockSize
}

// add notes a run and checks that it lies behind the last one, and within the
// file system.
func (w *extWalk) add(r extRun) error {
	r.count = min(r.count, w.end()-r.logical)
	if r.count <= 0 {
		return nil
	}
	if r.start <= w.fs.superBlock() || r.start > w.fs.blocks-r.count {
		return damaged("inode %d: %d blocks from block %d", w.ino.number, r.count, r.start)
	}
	if n := len(w.runs); n > 0 {
		last := &w.runs[n-1]
		if r.logical < last.logical+last.count {
			return damaged("inode %d: extents out of order", w.ino.number)
		}
		if r.logical == last.logical+last.count && r.start == last.start+last.count && r.unwritten == last.unwritten {
			last.count += r.count
			return nil
		}
	}
	if len(w.runs) == extMaxRuns {
		return damaged("inode %d: in too many pieces", w.ino.number)
	}
	w.runs = append(w.runs, r)
	return nil
}

// node reads one block of pointers or extents.
func (w *extWalk) node(block int64) ([]byte, error) {
	if w.nodes++; w.nodes > extMaxNodes {
		return nil, damaged("inode %d: too many blocks of pointers", w.ino.number)
	}
	buf := make([]byte, w.fs.blockSize)
	return buf, w.fs.readDisk(buf, block)
}

// extents walks the node p of an extent tree that must have the given depth;
// -1 stands for the root, which tells its depth itself. See
// Documentation/filesystems/ext4/ifork.rst.
func (w *extWalk) extents(p []byte, depth int) error {
	const header, entry, magic = 12, 12, 0xf30a
	le := binary.LittleEndian
	count, room, level := int(le.Uint16(p[2:])), int(le.Uint16(p[4:])), int(le.Uint16(p[6:]))
	if le.Uint16(p) != magic || count > room || header+room*entry > len(p) ||
		level > extMaxDepth || depth >= 0 && level != depth {
		return damaged("inode %d: node of the extent tree", w.ino.number)
	}
	if tail := header + room*entry; depth >= 0 && w.fs.sums == extSumsMetadata {
		if tail+4 > len(p) || extCRC(w.ino.seed, p[:tail]) != le.Uint32(p[tail:]) {
			return damaged("inode %d: node of the extent tree: checksum mismatch", w.ino.number)
		}
	}
	for i := range count {
		e := p[header+i*entry:][:entry]
		if level == 0 {
			if err := w.add(decodeExtRun(e)); err != nil {
				return err
			}
			continue
		}
		child, err := w.node(int64(le.Uint32(e[4:])) | int64(le.Uint16(e[8:]))<<32)
		if err != nil {
			return err
		}
		if err := w.extents(child, level-1); err != nil {
			return err
		}
	}
	return nil
}

// decodeExtRun reads one extent of a leaf.
func decodeExtRun(e []byte) extRun {
	const initialised = 32768 // a longer extent is an unwritten one
	le := binary.LittleEndian
	r := extRun{
		logical: int64(le.Uint32(e)),
		start:   int64(le.Uint16(e[6:]))<<32 | int64(le.Uint32(e[8:])),
		count:   int64(le.Uint16(e[4:])),
	}
	if r.count > initialised {
		r.count, r.unwritten = r.count-initialised, true
	}
	return r
}

// pointers walks the block map of ext2 and ext3: twelve blocks, and then
// blocks of pointers one, two and three levels deep.
func (w *extWalk) pointers() error {
	const direct = 12
	next, err := w.list(w.ino.block[:4*direct], 0, 0)
	for level := 1; level <= 3 && err == nil; level++ {
		at := 4 * (direct + level - 1)
		next, err = w.list(w.ino.block[at:at+4], next, level)
	}
	return err
}

// list walks the pointers in p, which lead to the file's blocks from logical
// on through the given number of levels. It returns the first logical block
// behind them. A pointer of zero is a hole.
func (w *extWalk) list(p []byte, logical int64, level int) (int64, error) {
	span := int64(1) // blocks of the file behind one pointer
	for range level {
		span *= w.fs.blockSize / 4
	}
	for ; len(p) > 0 && logical < w.end(); p = p[4:] {
		if to := int64(binary.LittleEndian.Uint32(p)); to != 0 {
			if err := w.follow(to, logical, level); err != nil {
				return 0, err
			}
		}
		logical += span
	}
	return logical, nil
}

// follow notes the block that a pointer leads to, or walks it.
func (w *extWalk) follow(to, logical int64, level int) error {
	if level == 0 {
		return w.add(extRun{logical: logical, start: to, count: 1})
	}
	buf, err := w.node(to)
	if err != nil {
		return err
	}
	_, err = w.list(buf, logical, level-1)
	return err
}
