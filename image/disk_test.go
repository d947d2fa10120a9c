package image

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"slipcast/partition"
)

// A testDisk is a disk in memory, and what an image of it keeps.
type testDisk struct {
	b      []byte
	layout *Layout
	image  []byte // made by tests that need it often
}

// testDisks returns a disk of each kind, of 3.5 MiB: two volumes, neither
// aligned to chunks, with free space in them and between them.
func testDisks(t testing.TB) map[string]testDisk {
	t.Helper()
	const size = 3584 * kiB
	parts := []partition.Extent{{Start: miB, Length: 1000 * kiB}, {Start: 2100 * kiB, Length: 1200 * kiB}}
	disks := map[string]testDisk{
		"gpt": tableDisk(t, craftGPT(size, parts...)),
		"mbr": tableDisk(t, craftMBR(size, parts...)),
	}
	b := randomDisk(size, 5)
	disks["none"] = testDisk{b: b, layout: layoutOf(size, partition.Extents{
		{Start: 0, Length: 70 * kiB}, {Start: 700*kiB + 1, Length: 999}, {Start: 1500 * kiB, Length: 300 * kiB}, {Start: 2 * miB, Length: 50 * kiB}, {Start: 3 * miB, Length: 300 * kiB},
	})}
	return disks
}

// tableDisk scans a disk with a table, and frees some of each partition.
func tableDisk(t testing.TB, b []byte) testDisk {
	t.Helper()
	table, err := partition.Read(&memory{b}, int64(len(b)), 512)
	if err != nil || table.Kind == partition.None {
		t.Fatalf("crafted table: %+v, %v", table, err)
	}
	l := &Layout{
		Size: int64(len(b)), LogicalSector: 512, PhysicalSector: 4096,
		Table: Table{table.Kind, table.ID, table.Partitions},
	}
	used := table.Sectors().Union(partition.Extents{{Start: 0, Length: 300 * kiB}})
	for _, p := range table.Partitions {
		if p.Extended {
			continue
		}
		inUse := partition.Extents{
			{Start: p.Start, Length: 300 * kiB}, {Start: p.Start + 320*kiB, Length: 512},
			{Start: p.Start + 900*kiB, Length: 100 * kiB},
		}
		used = used.Union(inUse)
		l.Volumes = append(l.Volumes, Volume{
			Number: p.Number, Start: p.Start, Size: p.Size, Span: 1000 * kiB, BlockSize: 512,
			Type: "test", Label: "volume", UUID: p.UUID, Notes: []string{"made by a test"},
		})
	}
	l.Used = used
	return testDisk{b: b, layout: l}
}

// want returns the disk as it is in an image.
func (d testDisk) want() []byte { return masked(d.b, d.layout.Used) }

// dataOnly returns the layout's used bytes without those of the table's sectors.
func (d testDisk) dataOnly(t testing.TB) partition.Extents {
	t.Helper()
	table, err := partition.Read(&memory{d.b}, int64(len(d.b)), 512)
	if err != nil {
		t.Fatal(err)
	}
	return d.layout.Used.Minus(table.Sectors())
}

func put32(p []byte, v uint32) { binary.LittleEndian.PutUint32(p, v) }
func put64(p []byte, v uint64) { binary.LittleEndian.PutUint64(p, v) }

// putEntry fills a slot of the MBR or EBR in sector; it counts sectors.
func putEntry(sector []byte, slot int, kind byte, start, count int64) {
	p := sector[446+16*slot:]
	p[4] = kind
	put32(p[8:], uint32(start))
	put32(p[12:], uint32(count))
	sector[510], sector[511] = 0x55, 0xaa
}

// craftMBR returns a disk whose first partition is primary and whose others
// are logical.
func craftMBR(size int, parts ...partition.Extent) []byte {
	b := randomDisk(size, 3)
	clear(b[:1024])
	copy(b, "boot code")
	put32(b[440:], 0xfeedc0de)
	putEntry(b, 0, 0x83, parts[0].Start/512, parts[0].Length/512)
	first := parts[1].Start/512 - 2
	putEntry(b, 1, 0x05, first, int64(size)/512-first)
	for i, p := range parts[1:] {
		ebr := b[(p.Start/512-2)*512:]
		clear(ebr[:512])
		putEntry(ebr, 0, 0x83, 2, p.Length/512)
		if i+2 < len(parts) {
			next := parts[i+2]
			putEntry(ebr, 1, 0x05, next.Start/512-2-first, next.Length/512+2)
		}
	}
	return b
}

// craftGPT returns a disk with 512-byte sectors and a GPT, UEFI 2.10 section
// 5.3.
func craftGPT(size int, parts ...partition.Extent) []byte {
	b := randomDisk(size, 4)
	last := int64(size)/512 - 1
	clear(b[:34*512])
	copy(b, "boot code")
	putEntry(b, 0, 0xee, 1, last)
	array := make([]byte, 128*128)
	for i, p := range parts {
		e := array[128*i:]
		for k := range 32 {
			e[k] = byte(16*i + k + 1)
		}
		put64(e[32:], uint64(p.Start/512))
		put64(e[40:], uint64(p.End()/512-1))
		copy(e[56:], []byte{'p', 0, byte('1' + i), 0})
	}
	putGPT(b, array, 1, last, 2)
	putGPT(b, array, last, 1, last-32)
	return b
}

// putGPT writes one copy of a GPT: its header at LBA my, its entries at LBA
// entries.
func putGPT(b, array []byte, my, other, entries int64) {
	last := int64(len(b))/512 - 1
	copy(b[entries*512:], array)
	h := b[my*512:][:512]
	clear(h)
	copy(h, "EFI PART\x00\x00\x01\x00\x5c")
	put64(h[24:], uint64(my))
	put64(h[32:], uint64(other))
	put64(h[40:], 34)
	put64(h[48:], uint64(last-33))
	copy(h[56:], "0123456789abcdef")
	put64(h[72:], uint64(entries))
	put32(h[80:], 128)
	put32(h[84:], 128)
	put32(h[88:], crc32.ChecksumIEEE(array))
	put32(h[16:], crc32.ChecksumIEEE(h[:92]))
}

// tableOn returns the table that is found on b, nil if none is.
func tableOn(b []byte) *partition.Table {
	for _, sector := range []int{512, 4096} {
		t, err := partition.Read(&memory{b}, int64(len(b)), sector)
		if err == nil && t.Kind != partition.None {
			return t
		}
	}
	return nil
}

// Both ways of making a layout agree on what a table is made of.
func TestTestDisks(t *testing.T) {
	for name, d := range testDisks(t) {
		l, err := Scan(t.Context(), &memory{d.b}, ScanOptions{Size: int64(len(d.b)), LogicalSector: 512})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(l.Table.Partitions, d.layout.Table.Partitions) || l.Table.Kind != d.layout.Table.Kind {
			t.Errorf("%s: Scan finds %+v, want %+v", name, l.Table, d.layout.Table)
		}
		if d.layout.Used.Minus(l.Used) != nil {
			t.Errorf("%s: Scan keeps %v, want at least %v", name, l.Used, d.layout.Used)
		}
	}
}
