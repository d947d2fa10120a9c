package fsmap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// An xfsRing is a log that is written like the kernel does: every basic block
// carries its cycle, and a record may continue at the start of the ring.
type xfsRing struct {
	img     []byte
	version uint32
	uuid    xfsUUID
	cycle   uint32
	head    int    // basic block that is written next
	last    uint64 // LSN of the record before
}

// newXFSRing returns an empty log of n basic blocks.
func newXFSRing(n int, version uint32, uuid xfsUUID) *xfsRing {
	return &xfsRing{img: make([]byte, n*xfsBasicBlock), version: version, uuid: uuid, cycle: 1}
}

func (g *xfsRing) size() int { return len(g.img) / xfsBasicBlock }

// unmount writes an unmount record with at least pad bytes of data.
func (g *xfsRing) unmount(pad int) { g.record(xfsUnmountFlag, 1, max(20, pad), 32<<10) }

// record writes a record of length bytes with a valid checksum. iclog is the
// size of the kernel's buffer, which tells how many blocks the header has.
func (g *xfsRing) record(flags byte, ops, length, iclog int) {
	headers := 1
	if g.version == 2 {
		headers = max(1, (iclog+xfsHeaderCycle-1)/xfsHeaderCycle)
	}
	blocks := headers + (length+xfsBasicBlock-1)/xfsBasicBlock
	p := make([]byte, blocks*xfsBasicBlock)
	g.header(p, ops, length, iclog)
	data := p[headers*xfsBasicBlock:]
	for i := range data {
		data[i] = byte(i)
	}
	data[8], data[9] = xfsLogClient, flags
	for i := range blocks {
		cycle := g.cycle
		if g.head+i >= g.size() {
			cycle++
		}
		if i > 0 {
			binary.BigEndian.PutUint32(p[i*xfsBasicBlock:], cycle)
		}
	}
	r := xfsRecord{data: p, headerBlocks: int64(headers), length: uint32(length)}
	binary.LittleEndian.PutUint32(p[xfsCRCInRecord:], r.checksum(xfsRecordPadded))
	g.write(p)
}

// header writes the fields of a record's header.
func (g *xfsRing) header(p []byte, ops, length, iclog int) {
	be := binary.BigEndian
	be.PutUint32(p, xfsRecordMagic)
	be.PutUint32(p[4:], g.cycle)
	be.PutUint32(p[8:], g.version)
	be.PutUint32(p[12:], uint32(length))
	lsn := uint64(g.cycle)<<32 | uint64(g.head)
	be.PutUint64(p[16:], lsn)
	be.PutUint64(p[24:], g.last)
	be.PutUint32(p[40:], uint32(ops))
	be.PutUint32(p[300:], 1)
	copy(p[304:], g.uuid[:])
	be.PutUint32(p[320:], uint32(iclog))
	g.last = lsn
}

// write puts p at the head and moves it.
func (g *xfsRing) write(p []byte) {
	n := copy(g.img[g.head*xfsBasicBlock:], p)
	copy(g.img, p[n:])
	g.head += len(p) / xfsBasicBlock
	if g.head >= g.size() {
		g.head -= g.size()
		g.cycle++
	}
}

// check returns what checkClean says of the log.
func (g *xfsRing) check() error {
	v := &volume{ctx: context.Background(), r: bytes.NewReader(g.img), size: int64(len(g.img))}
	l := &xfsLog{volume: v, blocks: int64(g.size()), version: g.version, uuid: g.uuid}
	return l.checkClean()
}

// TestXFSLogRing writes records of all sorts of sizes around small logs, so
// that they end and wrap at every place, with and without an unmount.
func TestXFSLogRing(t *testing.T) {
	tests := []struct {
		version     uint32
		iclog, unit int // size of buffers; what every record is padded to
		blocks      int // of the log
	}{
		{1, 32 << 10, 512, 67}, {2, 32 << 10, 512, 67}, {2, 32 << 10, 4096, 80},
		{2, 64 << 10, 64 << 10, 301}, {2, 256 << 10, 512, 101}, {2, 256 << 10, 256 << 10, 1201},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("v%d-%d-%d", tt.version, tt.iclog, tt.unit), func(t *testing.T) {
			g := newXFSRing(tt.blocks, tt.version, xfsTestUUID())
			headers := max(1, tt.iclog/xfsHeaderCycle)
			if tt.version == 1 {
				headers = 1
			}
			for i := range 100 {
				g.record(0, 5, 100+i*37%2000, tt.iclog)
				if err := g.check(); !errors.Is(err, errXFSDirty) {
					t.Fatalf("record %d at block %d: got %v, want %v", i, g.head, err, errXFSDirty)
				}
				g.record(xfsUnmountFlag, 1, max(512, tt.unit-headers*xfsBasicBlock), tt.iclog)
				if err := g.check(); err != nil {
					t.Fatalf("unmount %d at block %d: %v", i, g.head, err)
				}
			}
		})
	}
}

// TestXFSLogClear checks what xfs_repair -L leaves: an unmount at the start,
// zeros, then old unmounts.
func TestXFSLogClear(t *testing.T) {
	g := newXFSRing(2000, 2, xfsTestUUID())
	g.cycle = 5
	for g.cycle == 5 {
		g.unmount(min(500, g.size()-g.head-1) * xfsBasicBlock)
	}
	clear(g.img[:501*xfsBasicBlock])
	g.unmount(0)
	if err := g.check(); err != nil {
		t.Errorf("got %v, want a clean log", err)
	}
}

// TestXFSLogRefuses damages a log that ends in an unmount in its second cycle,
// at block 60 of 100.
func TestXFSLogRefuses(t *testing.T) {
	tests := []struct {
		name   string
		damage func(g *xfsRing)
		want   string
	}{
		{"never written", func(g *xfsRing) { clear(g.img) }, "never written"},
		{"newer block behind the head", func(g *xfsRing) { g.putCycle(70, 2) }, "cycle 2 follows 2"},
		{"newest block in the middle", func(g *xfsRing) { g.putCycle(70, 3) }, "cycle 3 follows 2"},
		{"old block before the head", func(g *xfsRing) { g.putCycle(40, 1) }, "cycle 2 follows 2"},
		{"old first block", func(g *xfsRing) { g.putCycle(0, 1) }, "cycle 2 follows 1"},
		{"last block lost", func(g *xfsRing) { g.putCycle(59, 1) }, "dirty"},
		{"other file system", func(g *xfsRing) { g.img[58*512+304] ^= 1 }, "another file system"},
		{"other place", func(g *xfsRing) { g.img[58*512+23] ^= 1 }, "record 0x"},
		{"tail ahead", func(g *xfsRing) { g.img[58*512+24] ^= 1 }, "with tail"},
		{"header's cycle", func(g *xfsRing) { g.img[58*512+19] ^= 1 }, "of cycle 2"},
		{"other version", func(g *xfsRing) { g.img[58*512+11] = 1 }, "version 1"},
		{"longer record", func(g *xfsRing) { g.img[58*512+14] = 4 }, "dirty"},
		{"empty record", func(g *xfsRing) { clear(g.img[58*512+12 : 58*512+16]) }, "dirty"},
		{"wrong checksum", func(g *xfsRing) { g.img[59*512+15] ^= 1 }, "dirty"},
		{"other operation", func(g *xfsRing) { g.img[59*512+9] = 1; clear(g.img[58*512+32 : 58*512+36]) }, "dirty"},
		{"other client", func(g *xfsRing) { g.img[59*512+8] = 1; clear(g.img[58*512+32 : 58*512+36]) }, "dirty"},
		{"two operations", func(g *xfsRing) { g.img[58*512+43] = 2; clear(g.img[58*512+32 : 58*512+36]) }, "dirty"},
		{"no header", func(g *xfsRing) {
			for i := range g.size() {
				g.putCycle(i, 2)
			}
		}, "no record"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newXFSRing(100, 2, xfsTestUUID())
			for range 79 {
				g.unmount(0)
			}
			g.record(xfsUnmountFlag, 1, 20, 32<<10)
			if err := g.check(); err != nil || g.head != 60 {
				t.Fatalf("before the damage: %v, head %d", err, g.head)
			}
			tt.damage(g)
			if err := g.check(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// putCycle overwrites a basic block with one of another cycle.
func (g *xfsRing) putCycle(block int, cycle uint32) {
	p := g.img[block*xfsBasicBlock:][:xfsBasicBlock]
	clear(p)
	binary.BigEndian.PutUint32(p, cycle)
}

// TestXFSLogPacked checks a record whose header was summed up without padding,
// as on i386.
func TestXFSLogPacked(t *testing.T) {
	g := newXFSRing(100, 2, xfsTestUUID())
	g.unmount(0)
	sum := crc32.MakeTable(crc32.Castagnoli)
	clear(g.img[32:36])
	crc := crc32.Update(crc32.Checksum(g.img[:324], sum), sum, g.img[512:532])
	binary.LittleEndian.PutUint32(g.img[32:], crc)
	if err := g.check(); err != nil {
		t.Errorf("got %v, want a clean log", err)
	}
}
