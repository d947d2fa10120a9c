package partition_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"slipcast/partition"
)

// expand makes a disk of little input: 512 bytes for the start of each sector,
// the last two for those at the end of the disk, zeros between.
func expand(p []byte, sector int, sectors byte) disk {
	n := len(p) / 512
	count := max(n, int(sectors))
	d := make(disk, count*sector)
	for i := range n {
		at := i
		if i >= n-2 {
			at = count - n + i
		}
		copy(d[at*sector:], p[512*i:][:512])
	}
	return d
}

// compact is the reverse of expand for a disk that is zero but for its first
// head and its last two sectors.
func compact(d disk, sector, head int) []byte {
	var p []byte
	for i := range head {
		p = append(p, d[i*sector:][:512]...)
	}
	for i := len(d)/sector - 2; i < len(d)/sector; i++ {
		p = append(p, d[i*sector:][:512]...)
	}
	return p
}

// smallMBR has its frames in the first sectors of a disk of 64.
func smallMBR() disk {
	d := make(disk, 64*512)
	putEntry(d, 0, 0x80, 0x07, 1, 1)
	putEntry(d, 1, 0, 0x0f, 2, 50)
	putEntry(d[2*512:], 0, 0, 0x83, 4, 4)
	putEntry(d[2*512:], 1, 0, 0x05, 2, 50)
	putEntry(d[4*512:], 0, 0, 0x83, 20, 28)
	putEntry(d[4*512:], 1, 0, 0x05, 1, 10)
	putEntry(d[3*512:], 0, 0, 0x83, 8, 12)
	return d
}

// FuzzRead: whatever is on a disk, Read refuses it or returns a table that
// lies on the disk and can be placed.
func FuzzRead(f *testing.F) {
	sizes := []int{512, 4096, 0, 1024}
	wiped := goodGPT(512)
	clear(wiped[512:1024])
	hybrid := goodGPT(512)
	putEntry(hybrid, 1, 0, 0x0c, 3, 8)
	for _, d := range []disk{goodGPT(512), wiped, hybrid, smallMBR(), craftGPT(512, 64)} {
		f.Add(compact(d, 512, 5), byte(0), byte(64), true)
		f.Add(compact(d, 512, 5), byte(2), byte(70), false)
	}
	f.Add(compact(goodGPT(4096), 4096, 5), byte(1), byte(64), true)
	f.Fuzz(func(t *testing.T, p []byte, size, sectors byte, seal bool) {
		sector := sizes[int(size)%len(sizes)]
		each := max(sector, 512)
		d := expand(p, each, sectors)
		if seal { // no fuzzer finds a CRC
			d.sealGPT(each, 1)
			d.sealGPT(each, d.size()/int64(each)-1)
		}
		table, err := partition.Read(d, d.size(), sector)
		if err != nil {
			if !errors.Is(err, partition.ErrDamaged) {
				t.Errorf("got %v, want ErrDamaged", err)
			}
			return
		}
		checkTable(t, table)
		checkPlaceAgain(t, d, table)
		checkOtherSizes(t, table)
	})
}

// checkTable: all of it is on the disk and nothing overlaps.
func checkTable(t *testing.T, table *partition.Table) {
	t.Helper()
	used := append([]partition.Extent(nil), table.Sectors()...)
	number := 0
	for _, p := range table.Partitions {
		if p.Number <= number || p.Size <= 0 || p.Start <= 0 || p.End() > table.Size {
			t.Errorf("partition %+v on a disk of %d bytes", p, table.Size)
		}
		number = p.Number
		if !p.Extended {
			used = append(used, p.Extent())
		}
	}
	var sum int64
	for _, e := range used {
		sum += e.Length
	}
	all := partition.Normalize(used)
	if all.Size() != sum || all.End() > table.Size {
		t.Errorf("table and partitions overlap, or end behind the disk: %v", all)
	}
}

// checkPlaceAgain: placed at the same size the table is the same, and to the
// byte if it was not damaged.
func checkPlaceAgain(t *testing.T, d disk, table *partition.Table) {
	t.Helper()
	raw, err := partition.ReadRaw(table.Raw(), table.Size, table.SectorSize)
	if err != nil {
		t.Fatal(err)
	}
	sameTable(t, raw, table)
	intact := !strings.Contains(strings.Join(table.Notes, "\n"), "damaged")
	p, err := raw.Place(partition.PlaceOptions{Size: table.Size})
	var small *partition.TooSmallError
	if errors.As(err, &small) && !intact {
		return // no room for the copy that has to be made again
	}
	if err != nil {
		t.Fatal(err)
	}
	after := d.clone()
	after.write(p.Writes)
	sameTable(t, mustRead(t, after, after.size(), table.SectorSize), table)
	if intact && !bytes.Equal(after, d) {
		t.Error("the disk is not as it was")
	}
}

// checkOtherSizes: the table fits a disk of MinSize and a larger one, and
// nothing but the last partition changes.
func checkOtherSizes(t *testing.T, table *partition.Table) {
	t.Helper()
	need := map[int]int64{}
	for _, p := range table.Partitions {
		need[p.Number] = p.Size / 2
	}
	for _, need := range []map[int]int64{nil, need} {
		least := table.MinSize(need)
		if least > 0 {
			if p, err := table.Place(partition.PlaceOptions{Size: least - 1, Need: need}); err == nil {
				t.Errorf("a disk of %d bytes was accepted: %+v", least-1, p.Table)
			}
		}
		for _, size := range []int64{least, table.Size + 5<<20 + 300, math.MaxInt64} {
			p := place(t, table, partition.PlaceOptions{Size: max(size, least), Need: need, Grow: true})
			checkTable(t, p.Table)
			checkMoved(t, p, table, need)
		}
	}
}

func checkMoved(t *testing.T, p *partition.Placement, table *partition.Table, need map[int]int64) {
	t.Helper()
	want := slices.Clone(table.Partitions)
	for i := range min(len(want), len(p.Table.Partitions)) {
		got := p.Table.Partitions[i]
		switch {
		case p.Grown != nil && p.Grown.Number == got.Number && got.Size > want[i].Size,
			p.Cut != nil && p.Cut.Number == got.Number && got.Size < want[i].Size && got.Size >= need[got.Number],
			got.Extended:
			want[i].Size = got.Size
		}
	}
	samePartitions(t, p.Table.Partitions, want)
}
