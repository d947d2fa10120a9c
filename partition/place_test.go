package partition_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"slipcast/partition"
)

const miB = 1 << 20

// place places a table that fits.
func place(t testing.TB, table *partition.Table, o partition.PlaceOptions) *partition.Placement {
	t.Helper()
	p, err := table.Place(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// crafted returns the disks that most tests run with, and their sector sizes.
func crafted() map[string]struct {
	disk   disk
	sector int
} {
	type entry = struct {
		disk   disk
		sector int
	}
	hybrid := goodGPT(512)
	putEntry(hybrid, 1, 0, 0x0c, 3, 8)
	return map[string]entry{
		"gpt": {goodGPT(512), 512}, "gpt 4096": {goodGPT(4096), 4096}, "hybrid": {hybrid, 512},
		"gpt without partitions": {craftGPT(512, 64), 512},
		"mbr":                    {craftMBR(512), 512}, "mbr 4096": {craftMBR(4096), 4096},
	}
}

// At the same size every sector is written as it was.
func TestPlaceSameSize(t *testing.T) {
	for name, c := range crafted() {
		t.Run(name, func(t *testing.T) {
			table := mustRead(t, c.disk, c.disk.size(), c.sector)
			p := place(t, table, partition.PlaceOptions{Size: c.disk.size()})
			after := make(disk, len(c.disk))
			after.write(p.Writes)
			want := make(disk, len(c.disk))
			want.write(table.Raw())
			for _, e := range table.Sectors() {
				if !bytes.Equal(want[e.Start:e.End()], c.disk[e.Start:e.End()]) {
					t.Errorf("Raw differs from the disk in %v", e)
				}
			}
			if !bytes.Equal(after, want) {
				t.Error("the sectors differ")
			}
			sameTable(t, p.Table, table)
		})
	}
}

// The smallest disk is accepted, one that is a byte smaller is not, and both
// numbers are told.
func TestMinSize(t *testing.T) {
	tests := []struct {
		disk string
		need map[int]int64
		want int64 // sectors
	}{
		{"gpt", nil, 51 + 2},
		{"gpt", map[int]int64{1: 4*512 + 1, 2: 1}, 45 + 2},
		{"gpt", map[int]int64{1: 0}, 41 + 2},
		{"gpt", map[int]int64{1: -5}, 41 + 2},
		{"gpt", map[int]int64{1: 1 << 62}, 51 + 2},
		{"gpt 4096", map[int]int64{1: 4097}, 42 + 2},
		{"gpt without partitions", nil, 4 + 2},
		{"mbr", nil, 51},
		{"mbr", map[int]int64{6: 513}, 44},
		{"mbr", map[int]int64{2: 1, 7: 1}, 51},
	}
	for _, tt := range tests {
		c := crafted()[tt.disk]
		table := mustRead(t, c.disk, c.disk.size(), c.sector)
		size := table.MinSize(tt.need)
		if want := tt.want * int64(c.sector); size != want {
			t.Errorf("%s, need %v: got %d, want %d", tt.disk, tt.need, size, want)
		}
		place(t, table, partition.PlaceOptions{Size: size, Need: tt.need})
		_, err := table.Place(partition.PlaceOptions{Size: size - 1, Need: tt.need})
		var small *partition.TooSmallError
		if !errors.As(err, &small) || small.Size != size-1 || small.Min != size {
			t.Errorf("%s: one byte less: got %v, want a TooSmallError of %d and %d", tt.disk, err, size-1, size)
		}
		if text := fmt.Sprint(err); !strings.Contains(text, fmt.Sprint(size)) {
			t.Errorf("%q does not name %d", text, size)
		}
	}
}

// On a smaller disk the last partition is cut to a boundary of 1 MiB where
// its need allows it, and to the last sector where not.
func TestPlaceCut(t *testing.T) {
	d := craftGPT(512, 64*2048, [2]uint64{2048, 4095}, [2]uint64{8192, 60*2048 - 1})
	table := mustRead(t, d, d.size(), 512)
	tests := []struct{ size, need, end int64 }{
		{64 * miB, 1, 60 * miB},
		{60*miB + 1024, 1, 60 * miB},
		{60*miB + 1023, 1, 59 * miB},
		{50 * miB, 10 * miB, 49 * miB},
		{50*miB + 700, 45 * miB, 49 * miB},
		{50*miB + 700, 46*miB - 1024, 50*miB - 512},
		{50 * miB, 46*miB - 1024, 50*miB - 1024},
	}
	for _, tt := range tests {
		p := place(t, table, partition.PlaceOptions{Size: tt.size, Need: map[int]int64{2: tt.need}, Grow: tt.size < 60*miB})
		want := slices.Clone(table.Partitions)
		want[1].Size = tt.end - want[1].Start
		samePartitions(t, p.Table.Partitions, want)
		if cut := tt.end != 60*miB; (p.Cut != nil) != cut || cut && *p.Cut != want[1] || p.Grown != nil {
			t.Errorf("size %d: cut %+v, grown %+v", tt.size, p.Cut, p.Grown)
		}
	}
}

func TestPlaceGrowGPT(t *testing.T) {
	d := craftGPT(512, 64*2048, [2]uint64{8192, 50*2048 - 1}, [2]uint64{2048, 4095})
	table := mustRead(t, d, d.size(), 512)
	for _, tt := range []struct{ size, end int64 }{
		{64 * miB, 63 * miB}, {65 * miB, 64 * miB}, {65*miB + 2048, 65 * miB},
		{5 << 40, 5<<40 - miB}, {52 * miB, 51 * miB}, {51 * miB, 50 * miB},
	} {
		p := place(t, table, partition.PlaceOptions{Size: tt.size, Grow: true})
		want := slices.Clone(table.Partitions)
		want[0].Size = tt.end - want[0].Start
		samePartitions(t, p.Table.Partitions, want)
		if grown := tt.end != 50*miB; (p.Grown != nil) != grown || grown && *p.Grown != want[0] || p.Cut != nil {
			t.Errorf("size %d: grown %+v, cut %+v", tt.size, p.Grown, p.Cut)
		}
	}
}

// The last logical partition grows with its EBR, the link to it and the
// container; no other byte of the table changes.
func TestPlaceGrowLogical(t *testing.T) {
	d := craftMBR(512)
	table := mustRead(t, d, d.size(), 512)
	p := place(t, table, partition.PlaceOptions{Size: 3*miB + 512, Grow: true})
	want := slices.Clone(table.Partitions)
	want[1].Size = 3*miB - want[1].Start
	want[4].Size = 3*miB - want[4].Start
	samePartitions(t, p.Table.Partitions, want)
	if p.Grown == nil || *p.Grown != want[4] {
		t.Errorf("grown %+v, want %+v", p.Grown, want[4])
	}
	after := d.resized(3*miB + 512)
	after.write(p.Writes)
	if got := binary.LittleEndian.Uint32(after[10*512+446+16+12:]); got != 3*2048-40 {
		t.Errorf("the link to the grown partition has %d sectors, want %d", got, 3*2048-40)
	}
	for _, i := range changed(d, after[:len(d)]) {
		inEntry := i%512 >= 446+5 && i%512 < 446+64
		if !inEntry || i/512 != 0 && i/512 != 10 && i/512 != 40 {
			t.Errorf("byte %d changed", i)
		}
	}
}

// changed returns the offsets at which a and b differ.
func changed(a, b disk) []int {
	var out []int
	for i := range a {
		if a[i] != b[i] {
			out = append(out, i)
		}
	}
	return out
}

// A container shrinks to the disk, but never below what is in it.
func TestPlaceSmallerContainer(t *testing.T) {
	table := mustRead(t, craftMBR(512), 64*512, 512)
	for _, tt := range []struct {
		sectors, end int64
		need         map[int]int64
	}{{64, 60, nil}, {60, 60, nil}, {55, 55, nil}, {51, 51, nil}, {45, 45, map[int]int64{6: 1}}} {
		p := place(t, table, partition.PlaceOptions{Size: tt.sectors * 512, Need: tt.need})
		if got := p.Table.Partitions[1].End(); got != tt.end*512 {
			t.Errorf("%d sectors: the container ends at sector %d, want %d", tt.sectors, got/512, tt.end)
		}
	}
}

// An MBR cannot name sectors beyond 2^32.
func TestPlaceGrowMBRLimit(t *testing.T) {
	d := make(disk, 4*miB)
	putEntry(d, 0, 0, 0x83, 2048, 2048)
	table := mustRead(t, d, d.size(), 512)
	p := place(t, table, partition.PlaceOptions{Size: 3 << 40, Grow: true})
	if got := p.Table.Partitions[0].End(); got != 2<<40 {
		t.Errorf("ends at %d, want %d", got, int64(2<<40))
	}
}

// Nothing grows into an EBR that comes last, or into an empty container.
func TestPlaceGrowNothing(t *testing.T) {
	d := craftMBR(512)
	for _, lba := range []int{10, 20, 40} {
		clear(d[lba*512 : lba*512+512])
	}
	table := mustRead(t, d, d.size(), 512)
	p := place(t, table, partition.PlaceOptions{Size: 8 * miB, Grow: true})
	samePartitions(t, p.Table.Partitions, table.Partitions)
	if p.Grown != nil {
		t.Errorf("grown %+v, want nothing", p.Grown)
	}
}

// The size in the protective MBR follows the disk if it was right.
func TestPlaceProtective(t *testing.T) {
	const most = 1<<32 - 1
	tests := []struct {
		name    string
		old     uint32
		sectors int64
		want    uint32
		second  byte
	}{
		{"right", 63, 100, 99, 0},
		{"right, beyond 2 TiB", 63, 6 << 30, most, 0},
		{"right, just 2 TiB", 63, 1 << 32, most, 0},
		{"right, just below", 63, 1<<32 - 1, most - 1, 0},
		{"largest always", most, 100, most, 0},
		{"wrong", 17, 100, 17, 0},
		{"hybrid", 63, 100, 63, 0x0c},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := goodGPT(512)
			copy(d, "boot code")
			putEntry(d, 0, 0, 0xee, 1, tt.old)
			if tt.second != 0 {
				putEntry(d, 1, 0, tt.second, 3, 8)
			}
			p := place(t, mustRead(t, d, d.size(), 512), partition.PlaceOptions{Size: tt.sectors * 512})
			mbr := p.Writes[len(p.Writes)-1].Data
			if got := binary.LittleEndian.Uint32(mbr[446+12:]); got != tt.want {
				t.Errorf("got %d sectors, want %d", got, tt.want)
			}
			if !bytes.Equal(mbr[:446], d[:446]) || !bytes.Equal(mbr[462:], d[462:512]) {
				t.Error("other bytes of sector 0 changed")
			}
		})
	}
}

// Reserved bytes of both headers and names longer than they may be survive a
// move.
func TestPlaceKeepsUnknownBytes(t *testing.T) {
	d := goodGPT(512)
	for _, at := range []int{512, 63 * 512} {
		copy(d[at+92:], fmt.Sprintf("vendor %d", at))
	}
	d[512+12], d[512+16] = 200, 0 // the primary header's CRC covers more
	d.sealGPT(512, 1)
	table := mustRead(t, d, d.size(), 512)
	after := d.resized(100 * 512)
	after.write(place(t, table, partition.PlaceOptions{Size: after.size()}).Writes)
	sameTable(t, mustRead(t, after, after.size(), 512), table)
	if !bytes.Equal(after[512+92:1024], d[512+92:1024]) || !bytes.Equal(after[99*512+92:], d[63*512+92:]) {
		t.Error("the reserved bytes of a header changed")
	}
	if !bytes.Equal(after[98*512:99*512], d[62*512:63*512]) {
		t.Error("the backup entries changed")
	}
}

// Whenever the power fails, the disk has no table, or the right one.
func TestPlacePowerFailure(t *testing.T) {
	disks := crafted()
	for name, c := range disks {
		table := mustRead(t, c.disk, c.disk.size(), c.sector)
		for before, b := range disks {
			for _, size := range []int64{c.disk.size(), c.disk.size() + 2*miB, table.MinSize(nil)} {
				t.Run(fmt.Sprintf("%s over %s on %d", name, before, size), func(t *testing.T) {
					old := mustRead(t, b.disk, b.disk.size(), b.sector)
					target := make(disk, max(size, old.MinSize(nil)))
					copy(target, b.disk)
					target.write(place(t, old, partition.PlaceOptions{Size: target.size()}).Writes)
					failEverywhere(t, target[:size], c.sector, place(t, table, partition.PlaceOptions{Size: size, Grow: true}))
				})
			}
		}
	}
}

// failEverywhere stops before every write and within every write.
func failEverywhere(t *testing.T, target disk, sector int, p *partition.Placement) {
	t.Helper()
	target.write(partition.Erase(target.size()))
	for i, w := range p.Writes {
		for _, n := range []int{0, len(w.Data) / 2} {
			target.write([]partition.Write{{Offset: w.Offset, Data: w.Data[:n]}})
			if found, same := looksLike(target, sector, p.Table); found && !same {
				t.Errorf("%d bytes of write %d: another table is found", n, i)
			} else if found && i < len(p.Writes)-1 {
				t.Errorf("%d bytes of write %d: the table is found too early", n, i)
			}
		}
		target.write([]partition.Write{w})
	}
	if found, same := looksLike(target, sector, p.Table); !found || !same {
		t.Error("the table is not found in the end")
	}
}

// On a disk that still has another GPT, and was not erased, every moment shows
// that one or the new one, and no mixture.
func TestPlacePowerFailureOverGPT(t *testing.T) {
	target := craftGPT(512, 64, [2]uint64{5, 60})
	old := mustRead(t, target, target.size(), 512)
	d := goodGPT(512)
	p := place(t, mustRead(t, d, d.size(), 512), partition.PlaceOptions{Size: target.size()})
	for i, w := range p.Writes {
		target.write([]partition.Write{w})
		_, isOld := looksLike(target, 512, old)
		_, isNew := looksLike(target, 512, p.Table)
		if isOld == isNew {
			t.Errorf("after write %d the table is neither", i)
		}
	}
}

// After Erase no table is found, of either sector size.
func TestErase(t *testing.T) {
	for name, c := range crafted() {
		for _, w := range partition.Erase(c.disk.size()) {
			if w.Offset%512 != 0 {
				t.Errorf("a write at %d", w.Offset)
			}
		}
		d := c.disk.resized(c.disk.size())
		for _, sector := range []int{0, 512, 4096} {
			if got := mustRead(t, d, d.size(), sector); got.Kind != partition.None {
				t.Errorf("%s: got %+v", name, got)
			}
		}
	}
	for _, size := range []int64{0, 1, 512, 8192, 12288, 12289} {
		d := bytes.Repeat([]byte{1}, int(size))
		disk(d).write(partition.Erase(size))
		if len(d) > 0 && (d[0] != 0 || d[len(d)-1] != 0) {
			t.Errorf("a disk of %d bytes is not erased", size)
		}
	}
}

// ReadRaw makes the same table of its own sectors.
func TestReadRaw(t *testing.T) {
	for name, c := range crafted() {
		table := mustRead(t, c.disk, c.disk.size(), c.sector)
		again, err := partition.ReadRaw(table.Raw(), table.Size, table.SectorSize)
		if err != nil {
			t.Fatal(err)
		}
		sameTable(t, again, table)
		if !reflect.DeepEqual(again.Raw(), table.Raw()) || !reflect.DeepEqual(again.Notes, table.Notes) {
			t.Errorf("%s: raw or notes differ", name)
		}
	}
}

func TestTypeName(t *testing.T) {
	for kind, want := range map[string]string{
		"C12A7328-F81F-11D2-BA4B-00A0C93EC93B": "EFI system",
		"0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux",
		"4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709": "Linux root (x86-64)",
		"0x83":                                 "Linux",
		"0X0F":                                 "extended",
		"0x42":                                 "",
		"":                                     "",
	} {
		if got := partition.TypeName(kind); got != want {
			t.Errorf("%q: got %q, want %q", kind, got, want)
		}
	}
}
