package fsmap

import "encoding/binary"

// A checkpoint block, from struct f2fs_checkpoint in include/linux/f2fs_fs.h.
const (
	f2fsCPBitmaps  = 192  // offset of the version bitmaps of SIT and NAT
	f2fsCPChecksum = 4092 // where the checksum of the block stands by default

	f2fsCPUnmount        = 0x0001
	f2fsCPCompact        = 0x0004
	f2fsCPLargeNATBitmap = 0x0400

	// f2fsCPHarmless are the flags of a file system that is as it should be:
	// unmounted, orphans present (files that were deleted while open), compact
	// summaries, fast boot, and how nodes, bitmaps and discards are kept. The
	// others ask for fsck, stop checkpoints, or are unknown.
	f2fsCPHarmless = 0x0001 | 0x0002 | 0x0004 | 0x0020 | 0x0040 | 0x0080 | 0x0100 | 0x0200 | 0x0400

	// f2fsLogs is how many logs of nodes and how many of data are in use: hot,
	// warm and cold.
	f2fsLogs    = 3
	f2fsLogWarm = 1
	f2fsLogCold = 2
)

// An f2fsCheckpoint is one of the two packs that take turns. Sizes are in
// blocks unless a name says otherwise.
type f2fsCheckpoint struct {
	at      int64 // address of its first block
	version uint64
	blocks  int64 // of the pack
	summary int64 // where the summaries of the current data segments start in it
	flags   uint32

	validBlocks int64 // counted, with those that have no place on the disk yet
	validNodes  int64 // counted

	nodeLogs [f2fsLogs]f2fsLog
	dataLogs [f2fsLogs]f2fsLog

	sitBytes, natBytes int64 // of the version bitmaps
	raw                []byte
}

// An f2fsLog is a place in the main area where blocks are being appended.
type f2fsLog struct {
	segment int64
	next    int64 // the next free block in it
}

// newestCheckpoint reads both packs and returns the later one that is whole.
func (f *f2fsReader) newestCheckpoint() (*f2fsCheckpoint, error) {
	first, err := f.checkpoint(f.cp)
	second, err2 := f.checkpoint(f.cp + f2fsSegment)
	switch {
	case err != nil && err2 != nil:
		return nil, err
	case err != nil:
		return second, nil
	case err2 != nil:
		return first, nil
	case int64(second.version-first.version) > 0:
		return second, nil
	}
	return first, nil
}

// checkpoint reads the pack at address at. Its first and last block are the
// same checkpoint; a pack whose writing was interrupted lacks the last.
func (f *f2fsReader) checkpoint(at int64) (*f2fsCheckpoint, error) {
	head, err := f.checkpointBlock(at)
	if err != nil {
		return nil, err
	}
	if head.blocks <= 2 || head.blocks > f2fsSegment {
		return nil, damaged("a checkpoint of %d blocks", head.blocks)
	}
	foot, err := f.checkpointBlock(at + head.blocks - 1)
	if err != nil {
		return nil, err
	}
	if head.version != foot.version {
		return nil, damaged("checkpoint %d ends as checkpoint %d", head.version, foot.version)
	}
	return head, nil
}

// checkpointBlock reads one block of a checkpoint and verifies its checksum.
func (f *f2fsReader) checkpointBlock(at int64) (*f2fsCheckpoint, error) {
	p, err := f.v.read(at*f2fsBlock, f2fsBlock)
	if err != nil {
		return nil, err
	}
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(p[at:])) }
	sumAt := u32(164)
	if sumAt < f2fsCPBitmaps || sumAt > f2fsCPChecksum {
		return nil, damaged("a checkpoint with its checksum at %d", sumAt)
	}
	sum := f2fsCRC(p[:sumAt])
	if sumAt < f2fsCPChecksum {
		sum = f2fsAddCRC(sum, p[sumAt+4:])
	}
	if uint32(u32(int(sumAt))) != sum {
		return nil, damaged("the checkpoint at block %d does not match its checksum", at)
	}
	c := &f2fsCheckpoint{
		at:          at,
		version:     binary.LittleEndian.Uint64(p),
		blocks:      u32(136),
		summary:     u32(140),
		flags:       uint32(u32(132)),
		validBlocks: int64(min(binary.LittleEndian.Uint64(p[16:]), 1<<32)),
		validNodes:  u32(144),
		sitBytes:    u32(156),
		natBytes:    u32(160),
		raw:         p,
	}
	c.nodeLogs, c.dataLogs = f2fsLogsAt(p[36:]), f2fsLogsAt(p[84:])
	return c, nil
}

// f2fsLogsAt reads the positions of logs: eight segments, then eight offsets.
func f2fsLogsAt(p []byte) (logs [f2fsLogs]f2fsLog) {
	for i := range logs {
		logs[i].segment = int64(binary.LittleEndian.Uint32(p[4*i:]))
		logs[i].next = int64(binary.LittleEndian.Uint16(p[32+2*i:]))
	}
	return logs
}

// checkCheckpoint refuses what contradicts the superblock.
func (f *f2fsReader) checkCheckpoint(c *f2fsCheckpoint) error {
	for _, log := range append(c.nodeLogs[:], c.dataLogs[:]...) {
		if log.segment >= f.segments || log.next >= f2fsSegment {
			return damaged("a log at block %d of segment %d of %d", log.next, log.segment, f.segments)
		}
	}
	switch {
	case c.sitBytes != f.sitSize/8 || c.natBytes != f.natSize/8:
		return damaged("version bitmaps of %d and %d bytes", c.sitBytes, c.natBytes)
	case c.summary < 1+f.payload || c.summary >= c.blocks-1,
		c.flags&f2fsCPCompact == 0 && c.blocks < 1+f.payload+2*f2fsLogs+1:
		return damaged("a checkpoint of %d blocks with summaries from %d", c.blocks, c.summary)
	}
	return nil
}

// sitBitmap returns the bitmap that tells which copy of each block of the
// segment information table is the current one. It stands before that of the
// node address table, or behind it where the latter is large, or in blocks of
// its own behind the checkpoint's first.
func (f *f2fsReader) sitBitmap(c *f2fsCheckpoint) ([]byte, error) {
	at := int64(f2fsCPBitmaps)
	switch {
	case c.flags&f2fsCPLargeNATBitmap != 0:
		at += 4 + c.natBytes
	case f.payload > 0:
		at = f2fsBlock
	}
	if at+c.sitBytes > (1+f.payload)*f2fsBlock {
		return nil, damaged("version bitmaps of %d and %d bytes", c.sitBytes, c.natBytes)
	}
	p, err := f.v.read(c.at*f2fsBlock, (1+f.payload)*f2fsBlock)
	if err != nil {
		return nil, err
	}
	return p[at : at+c.sitBytes], nil
}
