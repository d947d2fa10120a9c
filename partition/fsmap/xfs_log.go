package fsmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"slipcast/partition"
)

// The log is a ring of basic blocks of 512 bytes. Each of them starts with the
// number of the cycle, how often the log has been written from its start to
// its end; a record's header has a magic number there and the cycle behind it
// (struct xlog_rec_header and xlog_op_header in xfs_log_format.h).
const (
	xfsBasicBlock  = 512
	xfsLogPiece    = 1 << 20    // bytes read at once
	xfsRecordMagic = 0xfeedbabe // XLOG_HEADER_MAGIC_NUM, never a cycle
	xfsMaxRecord   = 256 << 10  // XLOG_MAX_RECORD_BSIZE
	xfsHeaderCycle = 32 << 10   // XLOG_HEADER_CYCLE_SIZE: bytes of a record for each block of its header

	xfsUnmountFlag   = 0x20 // XLOG_UNMOUNT_TRANS in oh_flags
	xfsLogClient     = 0xaa // XFS_LOG in oh_clientid
	xfsRecordPadded  = 328  // sizeof(struct xlog_rec_header) where 64 bit numbers are aligned
	xfsRecordPacked  = 324  // and where they are not (i386)
	xfsCRCInRecord   = 32   // offset of h_crc
	xfsExtHeaderSize = 260  // struct xlog_rec_ext_header
)

// errXFSDirty tells that the log has transactions that may not have reached
// their place on the disk.
var errXFSDirty = errors.New("its log is dirty (not cleanly unmounted)")

// An xfsLog is the log of a file system.
type xfsLog struct {
	volume  *volume
	start   int64 // bytes
	blocks  int64 // basic blocks
	version uint32
	uuid    xfsUUID
}

// log returns the log, whose place was checked.
func (s *xfsSuper) log(v *volume) *xfsLog {
	l := &xfsLog{
		volume:  v,
		start:   s.offset(uint32(s.logStart>>s.groupLog), uint32(s.logStart&(1<<s.groupLog-1))),
		blocks:  int64(s.logBlocks) * s.blockSize / xfsBasicBlock,
		version: 1,
		uuid:    s.userUUID,
	}
	if s.version&xfsVersionLogV2 != 0 || s.v5() {
		l.version = 2
	}
	return l
}

// extent returns the bytes of the log.
func (l *xfsLog) extent() partition.Extent {
	return partition.Extent{Start: l.start, Length: l.blocks * xfsBasicBlock}
}

// checkClean returns nil if the last thing that was written to the log is the
// record of an unmount: then everything in the log has reached its place. The
// kernel judges by the same (xlog_check_unmount_rec in xfs_log_recover.c), but
// it searches for the end of the log by bisection; here every block is read.
func (l *xfsLog) checkClean() error {
	cycle, head, err := l.head()
	if err != nil {
		return err
	}
	r, err := l.lastRecord(head)
	if err != nil {
		return err
	}
	if err := l.checkRecord(r, cycle, head); err != nil {
		return err
	}
	if !r.unmount() {
		return errXFSDirty
	}
	return nil
}

// unclearXFSLog returns an error that says why the log cannot be understood.
func unclearXFSLog(format string, args ...any) error {
	return fmt.Errorf("its log is unclear: %s", fmt.Sprintf(format, args...))
}

// head returns the latest cycle and the basic block behind the last one that
// was written: the log starts with a run of blocks of the latest cycle, and
// nothing behind it is as new. A hole in the run, as a crash leaves it, shows
// as a new block behind an old one. Old are the blocks of the cycle before,
// and the zeros that xfs_repair -L and mkfs leave.
func (l *xfsLog) head() (cycle uint32, head int64, err error) {
	buf := make([]byte, min(xfsLogPiece, l.blocks*xfsBasicBlock))
	head = l.blocks
	for at := int64(0); at < l.blocks; at += xfsLogPiece / xfsBasicBlock {
		p := buf[:min(int64(len(buf)), (l.blocks-at)*xfsBasicBlock)]
		if err := l.volume.readInto(p, l.start+at*xfsBasicBlock); err != nil {
			return 0, 0, err
		}
		if at == 0 {
			cycle = xfsCycle(p)
		}
		for block := at; len(p) > 0; block, p = block+1, p[xfsBasicBlock:] {
			c := xfsCycle(p)
			if c > cycle || c == cycle && head < block {
				return 0, 0, unclearXFSLog("cycle %d follows %d at block %d", c, cycle, block)
			}
			if c < cycle {
				head = min(head, block)
			}
		}
	}
	if cycle == 0 {
		return 0, 0, unclearXFSLog("it was never written")
	}
	return cycle, head, nil
}

// xfsCycle returns the cycle of the basic block p.
func xfsCycle(p []byte) uint32 {
	if first := binary.BigEndian.Uint32(p); first != xfsRecordMagic {
		return first
	}
	return binary.BigEndian.Uint32(p[4:])
}

// An xfsRecord is a log record with its header.
type xfsRecord struct {
	data   []byte // from the header to the head of the log
	start  int64  // its basic block
	blocks int64  // basic blocks of data

	cycle, version, length uint32
	lsn, tailLSN           uint64 // cycle in the upper half, basic block in the lower one
	ops                    uint32
	uuid                   xfsUUID
	headerBlocks           int64
}

// lastRecord returns the record whose header is the last one before head. No
// record is longer than xfsMaxRecord, so that is how far it is searched for.
func (l *xfsLog) lastRecord(head int64) (*xfsRecord, error) {
	p, err := l.before(head, min(l.blocks, xfsMaxRecord/xfsBasicBlock))
	if err != nil {
		return nil, err
	}
	for at := len(p) - xfsBasicBlock; at >= 0; at -= xfsBasicBlock {
		if binary.BigEndian.Uint32(p[at:]) != xfsRecordMagic {
			continue
		}
		r := decodeXFSRecord(p[at:])
		r.start = (head - r.blocks + l.blocks) % l.blocks
		return r, nil
	}
	return nil, unclearXFSLog("no record ends at block %d", head)
}

// before returns the last n basic blocks before head, which may wrap around.
func (l *xfsLog) before(head, n int64) ([]byte, error) {
	p := make([]byte, n*xfsBasicBlock)
	wrapped := max(0, n-head) // blocks at the end of the log
	err := l.volume.readInto(p[:wrapped*xfsBasicBlock], l.start+(l.blocks-wrapped)*xfsBasicBlock)
	if err != nil {
		return nil, err
	}
	return p, l.volume.readInto(p[wrapped*xfsBasicBlock:], l.start+(head-(n-wrapped))*xfsBasicBlock)
}

// decodeXFSRecord reads the header at the start of p, whole basic blocks that
// end at the head of the log.
func decodeXFSRecord(p []byte) *xfsRecord {
	be := binary.BigEndian
	r := &xfsRecord{
		data:         p,
		blocks:       int64(len(p)) / xfsBasicBlock,
		cycle:        be.Uint32(p[4:]),
		version:      be.Uint32(p[8:]),
		length:       be.Uint32(p[12:]),
		lsn:          be.Uint64(p[16:]),
		tailLSN:      be.Uint64(p[24:]),
		ops:          be.Uint32(p[40:]),
		uuid:         xfsUUID(p[304:320]),
		headerBlocks: 1,
	}
	if size := int64(be.Uint32(p[320:])); r.version == 2 && size > xfsHeaderCycle {
		r.headerBlocks = (size + xfsHeaderCycle - 1) / xfsHeaderCycle
	}
	return r
}

// checkRecord verifies that r belongs to this log, to its place, and reaches
// just to the head. If it is shorter or longer, its writing or that of its
// successor was cut off, and the log is dirty.
//
// The tail is only checked for not being ahead. An unmount leaves it at the
// record before its own, mkfs at its own, xfs_repair -L at the end of the
// cycle before; the kernel does not look at it if it finds an unmount.
func (l *xfsLog) checkRecord(r *xfsRecord, cycle uint32, head int64) error {
	if r.start >= head {
		cycle-- // it starts before the end of the ring and ends behind its start
	}
	switch {
	case r.headerBlocks+(int64(r.length)+xfsBasicBlock-1)/xfsBasicBlock != r.blocks || r.length == 0:
		return errXFSDirty
	case r.version != l.version:
		return unclearXFSLog("a record of version %d, not %d", r.version, l.version)
	case r.uuid != l.uuid:
		return unclearXFSLog("a record of another file system")
	case r.cycle != cycle || r.lsn != uint64(cycle)<<32|uint64(r.start) || r.tailLSN > r.lsn:
		return unclearXFSLog("record %#x with tail %#x at block %d of cycle %d", r.lsn, r.tailLSN, r.start, cycle)
	case !r.checksumOK():
		return errXFSDirty
	}
	return nil
}

// unmount reports whether the record, whose size was checked, consists of one
// operation that marks an unmount.
func (r *xfsRecord) unmount() bool {
	op := r.data[r.headerBlocks*xfsBasicBlock:]
	return r.ops == 1 && op[8] == xfsLogClient && op[9] == xfsUnmountFlag
}

// checksumOK verifies the CRC-32C of the record, whose size was checked: over
// its header without the checksum, the used part of the header's other blocks,
// and the data. Without one it is fine: mkfs and xfs_repair write none.
func (r *xfsRecord) checksumOK() bool {
	stored := binary.LittleEndian.Uint32(r.data[xfsCRCInRecord:])
	return stored == 0 || stored == r.checksum(xfsRecordPadded) || stored == r.checksum(xfsRecordPacked)
}

// checksum returns what h_crc must be if the header has the given size in
// bytes (xlog_cksum in xfs_log.c).
func (r *xfsRecord) checksum(header int) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(0, table, r.data[:xfsCRCInRecord])
	crc = crc32.Update(crc, table, make([]byte, 4))
	crc = crc32.Update(crc, table, r.data[xfsCRCInRecord+4:header])
	for i := int64(1); i < r.headerBlocks && i*xfsHeaderCycle < int64(r.length); i++ {
		crc = crc32.Update(crc, table, r.data[i*xfsBasicBlock:][:xfsExtHeaderSize])
	}
	start := r.headerBlocks * xfsBasicBlock
	return crc32.Update(crc, table, r.data[start:start+int64(r.length)])
}
