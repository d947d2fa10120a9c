package partition_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"reflect"
	"testing"

	"slipcast/partition"
)

// A disk is one in memory.
type disk []byte

func (d disk) ReadAt(p []byte, off int64) (int, error) {
	if off > int64(len(d)) {
		return 0, io.EOF
	}
	n := copy(p, d[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d disk) size() int64 { return int64(len(d)) }

func (d disk) clone() disk { return append(disk(nil), d...) }

// write applies writes to d.
func (d disk) write(writes []partition.Write) {
	for _, w := range writes {
		copy(d[w.Offset:], w.Data)
	}
}

// resized returns the start of d on a disk of another size: what a restore
// writes before it places the table.
func (d disk) resized(size int64) disk {
	out := make(disk, size)
	copy(out, d)
	out.write(partition.Erase(size))
	return out
}

func put32(p []byte, v uint32) { binary.LittleEndian.PutUint32(p, v) }
func put64(p []byte, v uint64) { binary.LittleEndian.PutUint64(p, v) }

// putEntry fills slot of the MBR or EBR in sector.
func putEntry(sector []byte, slot int, boot, kind byte, start, sectors uint32) {
	p := sector[446+16*slot:]
	p[0], p[4] = boot, kind
	copy(p[5:], []byte{0xfe, 0xff, 0xff})
	put32(p[8:], start)
	put32(p[12:], sectors)
	sector[510], sector[511] = 0x55, 0xaa
}

// craftGPT returns a disk with a GPT of four entries in one sector (of 512
// bytes or more). The partitions are given by their first and last LBA.
func craftGPT(sector, sectors int, parts ...[2]uint64) disk {
	d := make(disk, sector*sectors)
	last := uint64(sectors - 1)
	putEntry(d, 0, 0, 0xee, 1, uint32(last))
	array := make([]byte, 512)
	for i, p := range parts {
		e := array[128*i:]
		for j := range 32 {
			e[j] = byte(16*i + j + 1)
		}
		put64(e[32:], p[0])
		put64(e[40:], p[1])
		put64(e[48:], uint64(i)<<60)
		copy(e[56:], []byte{'p', 0, byte('1' + i), 0})
	}
	for _, c := range []struct{ at, other, entries uint64 }{{1, last, 2}, {last, 1, last - 1}} {
		copy(d[int(c.entries)*sector:], array)
		h := d[int(c.at)*sector:]
		copy(h, "EFI PART\x00\x00\x01\x00\x5c")
		put64(h[24:], c.at)
		put64(h[32:], c.other)
		put64(h[40:], 3)
		put64(h[48:], last-2)
		copy(h[56:], "0123456789abcdef")
		put64(h[72:], c.entries)
		put32(h[80:], 4)
		put32(h[84:], 128)
		d.sealGPT(sector, int64(c.at))
	}
	return d
}

// sealGPT makes the checksums of the copy at lba right, if it is one.
func (d disk) sealGPT(sector int, lba int64) {
	at := lba * int64(sector)
	if at < 0 || at+512 > d.size() {
		return
	}
	h := d[at:]
	entries, count, each := binary.LittleEndian.Uint64(h[72:]), binary.LittleEndian.Uint32(h[80:]), binary.LittleEndian.Uint32(h[84:])
	from, n := entries*uint64(sector), uint64(count)*uint64(each)
	if entries < uint64(len(d)) && n < uint64(len(d)) && from+n <= uint64(len(d)) {
		put32(h[88:], crc32.ChecksumIEEE(d[from:from+n]))
	}
	put32(h[16:], 0)
	if size := binary.LittleEndian.Uint32(h[12:]); size <= 512 {
		put32(h[16:], crc32.ChecksumIEEE(h[:size]))
	}
}

// craftMBR returns a disk of 64 sectors with two primary partitions and an
// extended one whose three logical partitions are chained out of order.
func craftMBR(sector int) disk {
	d := make(disk, 64*sector)
	copy(d, "boot code")
	put32(d[440:], 0xdeadbeef)
	putEntry(d, 0, 0x80, 0x07, 2, 6)
	putEntry(d, 1, 0, 0x0f, 10, 50)
	putEntry(d, 3, 0, 0x83, 8, 2)
	at := func(lba int) []byte { return d[lba*sector:] }
	putEntry(at(10), 0, 0, 0x83, 1, 4) // 11 to 14
	putEntry(at(10), 1, 0, 0x05, 30, 11)
	putEntry(at(40), 0, 0, 0x82, 2, 9) // 42 to 50
	putEntry(at(40), 1, 0, 0x05, 10, 11)
	putEntry(at(20), 0, 0, 0x83, 1, 10) // 21 to 30
	return d
}

// mustRead reads a table that has to be there.
func mustRead(t testing.TB, r io.ReaderAt, size int64, sector int) *partition.Table {
	t.Helper()
	table, err := partition.Read(r, size, sector)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// sameTable fails the test if the tables differ in more than their notes, and
// in their sizes if those are to differ.
func sameTable(t testing.TB, got, want *partition.Table) {
	t.Helper()
	if got.Kind != want.Kind || got.SectorSize != want.SectorSize || got.ID != want.ID {
		t.Errorf("got %s %d %q, want %s %d %q", got.Kind, got.SectorSize, got.ID, want.Kind, want.SectorSize, want.ID)
	}
	samePartitions(t, got.Partitions, want.Partitions)
}

func samePartitions(t testing.TB, got, want []partition.Partition) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("missing %+v", want[i])
		case i >= len(want):
			t.Errorf("not expected: %+v", got[i])
		case !reflect.DeepEqual(got[i], want[i]):
			t.Errorf("partition %d:\n got %+v\nwant %+v", got[i].Number, got[i], want[i])
		}
	}
}

// looksLike reports whether Read finds a table, and that it is this one.
func looksLike(d disk, sector int, want *partition.Table) (found, same bool) {
	got, err := partition.Read(d, d.size(), sector)
	if err != nil || got.Kind == partition.None {
		return false, false
	}
	return true, got.Kind == want.Kind && got.ID == want.ID && reflect.DeepEqual(got.Partitions, want.Partitions)
}

// wantDamaged fails the test unless err is ErrDamaged.
func wantDamaged(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, partition.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}
