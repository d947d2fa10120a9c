package partition_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

func TestReadMBR(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		d := craftMBR(sector)
		got := mustRead(t, d, d.size(), sector)
		part := func(number, start, sectors int, kind string) partition.Partition {
			return partition.Partition{
				Number: number, Start: int64(start * sector), Size: int64(sectors * sector),
				Type: kind, UUID: fmt.Sprintf("deadbeef-%02x", number), Logical: number > 4,
			}
		}
		want := &partition.Table{
			Kind: partition.MBR, SectorSize: sector, ID: "deadbeef",
			Partitions: []partition.Partition{
				part(1, 2, 6, "0x07"), part(2, 10, 50, "0x0f"), part(4, 8, 2, "0x83"),
				part(5, 11, 4, "0x83"), part(6, 42, 9, "0x82"), part(7, 21, 10, "0x83"),
			},
		}
		want.Partitions[0].Boot = true
		want.Partitions[1].Extended = true
		sameTable(t, got, want)
		var sectors partition.Extents
		for _, lba := range []int{0, 10, 20, 40} {
			sectors = append(sectors, partition.Extent{Start: int64(lba * sector), Length: int64(sector)})
		}
		if x := got.Sectors(); fmt.Sprint(x) != fmt.Sprint(sectors) {
			t.Errorf("sectors %v, want %v", x, sectors)
		}
	}
}

// Empty EBRs use up no number, and a container may be empty.
func TestReadMBREmptyFrames(t *testing.T) {
	d := craftMBR(512)
	clear(d[40*512+446 : 40*512+446+16])
	got := mustRead(t, d, d.size(), 512)
	if n := len(got.Partitions); n != 5 || got.Partitions[4].Number != 6 || got.Partitions[4].Start != 21*512 {
		t.Errorf("got %+v, want the third logical partition as number 6", got.Partitions)
	}
	for _, lba := range []int{10, 20, 40} {
		clear(d[lba*512 : lba*512+512])
	}
	if got := mustRead(t, d, d.size(), 512); len(got.Partitions) != 3 {
		t.Errorf("got %+v, want no logical partition", got.Partitions)
	}
}

func TestReadMBRRefuses(t *testing.T) {
	ebr := func(lba int) func(d disk) []byte { return func(d disk) []byte { return d[lba*512:] } }
	second, third := ebr(40), ebr(20)
	tests := []struct {
		name   string
		damage func(d disk)
		want   string
	}{
		{"boot indicator", func(d disk) { d[446] = 0x81 }, "partition 1: boot indicator 81"},
		{"overlap", func(d disk) { putEntry(d, 0, 0, 7, 2, 7) }, "partition 4 overlaps partition 1"},
		{"in the MBR", func(d disk) { putEntry(d, 0, 0, 7, 0, 7) }, "overlaps"},
		{"beyond the disk", func(d disk) { putEntry(d, 2, 0, 7, 60, 5) }, "partition 3: sectors 60 to 64"},
		{"huge", func(d disk) { putEntry(d, 2, 0, 7, 1<<32-1, 1<<32-1) }, "partition 3: sectors"},
		{"no type", func(d disk) { putEntry(d, 2, 0, 0, 60, 1) }, "partition 3: 1 sectors of type 0x00"},
		{"two containers", func(d disk) { putEntry(d, 2, 0, 0x85, 60, 4) }, "2 extended partitions"},
		{"dynamic disk", func(d disk) { d[446+4] = 0x42 }, "partition 1: dynamic disk"},
		{"boot sector of FAT", func(d disk) { copy(d[11:], "\x00\x02\x01\x01\x00\x02\xe0\x00\x40\x0b\xf0") }, "boot sector of a file system"},
		{"boot sector of NTFS", func(d disk) { copy(d[3:], "NTFS    ") }, "boot sector of a file system"},
		{"no first EBR", func(d disk) { d[10*512+510] = 0 }, "logical partition 5: no EBR at sector 10"},
		{"no EBR", func(d disk) { second(d)[511] = 0 }, "logical partition 6: no EBR at sector 40"},
		{"loop", func(d disk) { putEntry(third(d), 1, 0, 5, 30, 11) }, "comes back to sector 40"},
		{"loop to itself", func(d disk) { putEntry(third(d), 1, 0, 5, 0, 11) }, "comes back to sector 10"},
		{"link out of the container", func(d disk) { putEntry(second(d), 1, 0, 5, 50, 1) }, "logical partition 7: its frame at sector 60"},
		{"link off the disk", func(d disk) { putEntry(second(d), 1, 0, 5, 1<<32-1, 1) }, "logical partition 7: its frame"},
		{"third entry", func(d disk) { putEntry(second(d), 2, 0, 0x83, 12, 1) }, "logical partition 6: too many entries"},
		{"two partitions", func(d disk) { putEntry(second(d), 1, 0, 0x83, 12, 1) }, "logical partition 6: too many entries"},
		{"two links", func(d disk) { putEntry(second(d), 0, 0, 0x05, 12, 1) }, "logical partition 6: too many entries"},
		{"out of the container", func(d disk) { putEntry(second(d), 0, 0, 0x83, 2, 20) }, "logical partition 6: ends outside"},
		{"off the disk", func(d disk) { putEntry(second(d), 0, 0, 0x83, 2, 1<<32-1) }, "logical partition 6: sectors"},
		{"logical overlap", func(d disk) { putEntry(third(d), 0, 0, 0x83, 1, 22) }, "overlaps"},
		{"over an EBR", func(d disk) { putEntry(third(d), 0, 0, 0x83, 1, 20) }, "overlaps"},
		{"in its own EBR", func(d disk) { putEntry(third(d), 0, 0, 0x83, 0, 5) }, "overlaps"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := craftMBR(512)
			tt.damage(d)
			_, err := partition.Read(d, d.size(), 512)
			wantDamaged(t, err)
			if err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
		})
	}
}

// A chain that only grows ends at a bound.
func TestReadMBRChainTooLong(t *testing.T) {
	d := make(disk, 512*512)
	putEntry(d, 0, 0, 5, 1, 500)
	for lba := uint32(1); lba < 400; lba += 2 {
		putEntry(d[lba*512:], 0, 0, 0x83, 1, 1)
		putEntry(d[lba*512:], 1, 0, 5, lba+1, 2)
	}
	_, err := partition.Read(d, d.size(), 512)
	wantDamaged(t, err)
	if err == nil || !strings.Contains(err.Error(), "more than 128") {
		t.Errorf("got %v, want the bound", err)
	}
}

// What has no table is told from what has one.
func TestReadNone(t *testing.T) {
	code := make(disk, 1<<16)
	for i := range code[:510] {
		code[i] = byte(i*7 + 3)
	}
	code[510], code[511] = 0x55, 0xaa
	emptyMBR := make(disk, 1<<16)
	put32(emptyMBR[440:], 0xdeadbeef)
	emptyMBR[510], emptyMBR[511] = 0x55, 0xaa
	aix := craftMBR(512)
	copy(aix, "\xc9\xc2\xd4\xc1")
	weak := code.clone() // a 0xEE in the code of a boot sector
	copy(weak[3:], "NTFS    ")
	weak[446+4] = 0xee
	tests := map[string]disk{
		"nothing": {}, "less than a sector": make(disk, 511), "one sector": make(disk, 512),
		"zeros": make(disk, 1<<16), "code": code, "empty MBR": emptyMBR, "AIX": aix, "NTFS with 0xEE": weak,
	}
	for name, d := range tests {
		t.Run(name, func(t *testing.T) {
			got := mustRead(t, d, d.size(), 0)
			if got.Kind != partition.None || got.Sectors() != nil || got.ID != "" {
				t.Errorf("got %+v, want no table", got)
			}
			p, err := got.Place(partition.PlaceOptions{Size: 1 << 20, Grow: true})
			if err != nil || len(p.Writes) != 0 || p.Table.Kind != partition.None || p.Table.Size != 1<<20 {
				t.Errorf("placed: got %+v, %v, want nothing to write", p, err)
			}
		})
	}
}

// A file system on the whole disk is no table, whoever made it.
func TestReadSuperfloppy(t *testing.T) {
	tests := []struct {
		name string
		args []string
	}{
		{"mkfs.fat", []string{"-I", "-F", "12", "-S", "4096", "-s", "32"}},
		{"mkfs.fat", []string{"-I", "-F", "16"}},
		{"mkfs.fat", []string{"-I", "-F", "32"}},
		{"mkfs.fat", []string{"-I", "-F", "32", "-S", "4096"}},
		{"mkfs.exfat", nil},
		{"mkfs.ntfs", []string{"-q", "-F", "-f"}},
		{"mkfs.ext4", []string{"-q", "-F"}},
		{"mkfs.xfs", []string{"-q", "-f"}},
		{"mkfs.btrfs", []string{"-q", "-f"}},
	}
	for _, tt := range tests {
		t.Run(strings.Join(append([]string{tt.name}, tt.args...), " "), func(t *testing.T) {
			lab.Tools(t, tt.name)
			const size = 384 << 20
			path := lab.File(t, size)
			lab.Run(t, tt.name, append(tt.args, path)...)
			f := open(t, path)
			if got := mustRead(t, f, size, 0); got.Kind != partition.None {
				t.Errorf("got %+v, want no table", got)
			}
			if tt.args == nil || tt.args[0] != "-I" {
				return
			}
			sector := make([]byte, 512)
			if _, err := f.ReadAt(sector, 0); err != nil {
				t.Fatal(err)
			}
			putEntry(sector, 0, 0x80, 0x0c, 2048, 100) // now it is both
			_, err := partition.Read(disk(append(sector, make([]byte, 2<<20)...)), 2<<20, 0)
			wantDamaged(t, err)
		})
	}
}

// open opens a file until the test ends.
func open(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// The remains of a GPT beside an MBR are ignored, as Linux does, and told.
func TestReadMBROverGPT(t *testing.T) {
	d := craftGPT(512, 64, [2]uint64{5, 9})
	clear(d[:512])
	putEntry(d, 0, 0x80, 7, 8, 40)
	got := mustRead(t, d, d.size(), 512)
	if got.Kind != partition.MBR || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "remains of a GPT") {
		t.Errorf("got %s with notes %q, want mbr and a note", got.Kind, got.Notes)
	}
}
