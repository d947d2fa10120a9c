package partition_test

import (
	"errors"
	"strings"
	"testing"

	"slipcast/partition"
)

// goodGPT is a disk of 64 sectors with two partitions.
func goodGPT(sector int) disk { return craftGPT(sector, 64, [2]uint64{40, 50}, [2]uint64{3, 10}) }

func TestReadGPT(t *testing.T) {
	for _, sector := range []int{512, 1024, 2048, 4096} {
		d := goodGPT(sector)
		got := mustRead(t, d, d.size(), sector)
		want := &partition.Table{
			Kind: partition.GPT, SectorSize: sector, Size: d.size(),
			ID: "33323130-3534-3736-3839-616263646566",
			Partitions: []partition.Partition{{
				Number: 1, Start: int64(40 * sector), Size: int64(11 * sector), Name: "p1",
				Type: "04030201-0605-0807-090A-0B0C0D0E0F10", UUID: "14131211-1615-1817-191A-1B1C1D1E1F20",
			}, {
				Number: 2, Start: int64(3 * sector), Size: int64(8 * sector), Name: "p2", Attributes: 1 << 60,
				Type: "14131211-1615-1817-191A-1B1C1D1E1F20", UUID: "24232221-2625-2827-292A-2B2C2D2E2F30",
			}},
		}
		sameTable(t, got, want)
		if len(got.Notes) != 0 {
			t.Errorf("notes %q, want none", got.Notes)
		}
		x := partition.Extents{{Start: 0, Length: int64(3 * sector)}, {Start: int64(62 * sector), Length: int64(2 * sector)}}
		if y := got.Sectors(); len(y.Minus(x)) != 0 || len(x.Minus(y)) != 0 {
			t.Errorf("sectors %v, want %v", y, x)
		}
	}
}

// The sector size of a file is found by the GPT in it.
func TestReadFindsSectorSize(t *testing.T) {
	noPrimary := goodGPT(4096)
	clear(noPrimary[4096:8192])
	both := craftGPT(512, 512, [2]uint64{30, 50})
	copy(both[4096:], craftGPT(4096, 64)[4096:3*4096])
	tests := []struct {
		name string
		disk disk
		want int // 0: ErrDamaged
	}{
		{"512", goodGPT(512), 512},
		{"4096", goodGPT(4096), 4096},
		{"4096 without its primary", noPrimary, 4096},
		{"mbr", craftMBR(512), 512},
		{"empty", make(disk, 1<<16), 512},
		{"tiny", make(disk, 100), 512},
		{"both", both, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := partition.Read(tt.disk, tt.disk.size(), 0)
			if tt.want == 0 {
				wantDamaged(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.SectorSize != tt.want {
				t.Errorf("got sectors of %d bytes, want %d", got.SectorSize, tt.want)
			}
		})
	}
}

// One copy is enough, and people are told. Placing repairs the other one.
func TestReadGPTOneCopy(t *testing.T) {
	primary, backup := int64(512), int64(63*512)
	far := goodGPT(512).resized(100 * 512)
	copy(far, goodGPT(512)) // dd of an image to a larger disk
	tests := []struct {
		name   string
		disk   disk
		damage func(d disk)
		note   string
		repair bool
	}{
		{"primary header", goodGPT(512), func(d disk) { d[primary+30]++ }, "primary table is damaged, the backup is used: header CRC", true},
		{"primary header wiped", goodGPT(512), func(d disk) { clear(d[primary : primary+512]) }, "no header", true},
		{"primary entries", goodGPT(512), func(d disk) { d[2*512+33]++ }, "entries CRC", true},
		{"primary wiped", goodGPT(512), func(d disk) { clear(d[primary : 3*512]) }, "no header", true},
		{"backup header", goodGPT(512), func(d disk) { d[backup+30]++ }, "backup table is damaged: header CRC", true},
		{"backup entries", goodGPT(512), func(d disk) { d[62*512+33]++ }, "entries CRC", true},
		{"backup not at the end", far, func(disk) {}, "backup table is at sector 63, not at the end of the disk at 99", false},
		{"both good, different", goodGPT(512), func(d disk) {
			d[62*512+56] = 'q'
			d.sealGPT(512, 63)
		}, "differ, the primary is used", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			good := goodGPT(512)
			want := mustRead(t, good, good.size(), 512)
			tt.damage(tt.disk)
			got := mustRead(t, tt.disk, tt.disk.size(), 512)
			sameTable(t, got, want)
			if notes := strings.Join(got.Notes, "\n"); !strings.Contains(notes, tt.note) {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			before := tt.disk.clone()
			placeAgain(t, tt.disk, got)
			if tt.repair && string(tt.disk) != string(good) {
				t.Error("the repaired disk differs from the good one")
			}
			if !tt.repair && string(tt.disk) != string(before) {
				t.Error("the disk is not as it was")
			}
		})
	}
}

// placeAgain puts the table onto the disk that it is from.
func placeAgain(t *testing.T, d disk, table *partition.Table) {
	t.Helper()
	p, err := table.Place(partition.PlaceOptions{Size: d.size()})
	if err != nil {
		t.Fatal(err)
	}
	d.write(p.Writes)
	sameTable(t, mustRead(t, d, d.size(), table.SectorSize), table)
}

// A primary whose entries were moved (sgdisk -j) and whose header is lost gets
// its entries where they were, not onto the boot loader behind the header.
func TestReadGPTMovedEntries(t *testing.T) {
	good := goodGPT(512)
	copy(good[5*512:6*512], good[2*512:])
	copy(good[2*512:3*512], strings.Repeat("loader", 86))
	for _, lba := range []int64{1, 63} {
		h := good[lba*512:]
		put64(h[40:], 6) // first usable
		if lba == 1 {
			put64(h[72:], 5)
		}
	}
	for _, at := range []int{5 * 512, 62 * 512} {
		put64(good[at+128+32:], 6) // the second partition begins behind them
	}
	good.sealGPT(512, 1)
	good.sealGPT(512, 63)
	d := good.clone()
	clear(d[512:1024])
	table := mustRead(t, d, d.size(), 512)
	again, err := partition.ReadRaw(table.Raw(), d.size(), 512)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []*partition.Table{table, again} {
		repaired := d.clone()
		placeAgain(t, repaired, table)
		if string(repaired) != string(good) {
			t.Error("the repaired disk differs from the good one")
		}
	}
}

// A backup from an earlier life, whose entries are in a partition by now, is
// not kept.
func TestReadGPTBackupInPartition(t *testing.T) {
	d := goodGPT(512)
	put64(d[2*512+40:], 60)
	put64(d[63*512+48:], 50)
	put64(d[63*512+72:], 52)
	copy(d[52*512:], d[62*512:63*512])
	d.sealGPT(512, 1)
	d.sealGPT(512, 63)
	table := mustRead(t, d, d.size(), 512)
	if notes := strings.Join(table.Notes, "\n"); !strings.Contains(notes, "its entries overlap partition 1") {
		t.Errorf("notes %q, want the overlap", notes)
	}
	checkTable(t, table)
	data := string(d[40*512 : 61*512])
	placeAgain(t, d, table)
	if again := mustRead(t, d, d.size(), 512); len(again.Notes) != 0 || string(d[40*512:61*512]) != data {
		t.Errorf("notes %q, want a backup outside the partition", again.Notes)
	}
}

// A name is fit to be printed.
func TestReadGPTName(t *testing.T) {
	for name, want := range map[string]string{
		"a\x00b\x00":                 "ab",
		"a\x00\x00\x00b\x00":         "a",
		"a\x00\x1b\x00[\x00":         "a?[",
		"\x00\xd8a\x00":              "?a",
		"\x3d\xd8\xbe\xdc":           "\U0001F4BE",
		strings.Repeat("x\x00", 36):  strings.Repeat("x", 36),
		"\xfd\xff" + "\xe4\x00y\x00": "?äy",
	} {
		d := goodGPT(512)
		for lba, entries := range map[int64]int{1: 2 * 512, 63: 62 * 512} {
			clear(d[entries+56 : entries+128])
			copy(d[entries+56:], name)
			d.sealGPT(512, lba)
		}
		if got := mustRead(t, d, d.size(), 512).Partitions[0].Name; got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestReadGPTRefuses(t *testing.T) {
	// Damage that both copies share, so that none is left.
	both := func(change func(h, entries []byte)) func(d disk) {
		return func(d disk) {
			change(d[512:], d[2*512:])
			change(d[63*512:], d[62*512:])
			d.sealGPT(512, 1)
			d.sealGPT(512, 63)
		}
	}
	tests := []struct {
		name   string
		damage func(d disk)
		want   string
	}{
		{"both headers", func(d disk) { d[512+60]++; d[63*512+60]++ }, "header CRC"},
		{"both wiped", func(d disk) { clear(d[512:1024]); clear(d[63*512:]) }, "no header"},
		{"revision", both(func(h, _ []byte) { h[8] = 1 }), "unknown revision"},
		{"header too short", both(func(h, _ []byte) { h[12] = 91 }), "header of 91 bytes"},
		{"header too long", both(func(h, _ []byte) { put32(h[12:], 513) }), "header of 513 bytes"},
		{"no entries", both(func(h, _ []byte) { put32(h[80:], 0) }), "0 entries"},
		{"too many entries", both(func(h, _ []byte) { put32(h[80:], 1<<31) }), "entries, want 1 to"},
		{"entries too small", both(func(h, _ []byte) { put32(h[84:], 64) }), "entries of 64 bytes"},
		{"entry size no power", both(func(h, _ []byte) { put32(h[84:], 384) }), "entries of 384 bytes"},
		{"entries too large", both(func(h, _ []byte) { put32(h[84:], 1<<31) }), "entries of 2147483648 bytes"},
		{"my LBA", both(func(h, _ []byte) { h[24]++ }), "says it is at"},
		{"alternate", both(func(h, _ []byte) { put64(h[32:], 5) }), "primary header at sector 5"},
		{"usable reversed", both(func(h, _ []byte) { put64(h[48:], 2) }), "usable sectors"},
		{"usable beyond the disk", both(func(h, _ []byte) { put64(h[48:], 64) }), "usable sectors"},
		{"usable huge", both(func(h, _ []byte) { put64(h[48:], 1<<63) }), "usable sectors"},
		{"first usable in the entries", both(func(h, _ []byte) { put64(h[40:], 2) }), "leaves no room"},
		{"entries among the partitions", both(func(h, _ []byte) { put64(h[72:], 20) }), "entries at sector 20"},
		{"entries nowhere", both(func(h, _ []byte) { put64(h[72:], 1<<60) }), "entries at sector"},
		{"last usable in the backup", both(func(h, _ []byte) { put64(h[48:], 62) }), "backup header"},
		{"partition too early", both(func(_, e []byte) { put64(e[128+32:], 2) }), "partition 2: sectors 2 to 10"},
		{"partition too late", both(func(_, e []byte) { put64(e[40:], 62) }), "partition 1: sectors 40 to 62"},
		{"partition huge", both(func(_, e []byte) { put64(e[40:], 1<<64-1) }), "partition 1: sectors"},
		{"partition reversed", both(func(_, e []byte) { put64(e[40:], 39) }), "partition 1: sectors 40 to 39"},
		{"overlap", both(func(_, e []byte) { put64(e[128+40:], 40) }), "partition 1 overlaps partition 2"},
		{"no protective MBR", func(d disk) { clear(d[:512]) }, "no protective MBR"},
		{"MBR without entries", func(d disk) { clear(d[446:510]) }, "no protective MBR"},
		{"backup alone, of another disk", func(d disk) { clear(d[512:1024]); d[446+12]++ }, "disk of another size"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := goodGPT(512)
			tt.damage(d)
			_, err := partition.Read(d, d.size(), 512)
			wantDamaged(t, err)
			if err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
		})
	}
}

// A backup alone, without a word in sector 0, is left from an earlier life.
func TestReadStaleBackup(t *testing.T) {
	d := goodGPT(512)
	clear(d[:3*512])
	if got := mustRead(t, d, d.size(), 512); got.Kind != partition.None {
		t.Errorf("got %s, want none", got.Kind)
	}
}

// An image that was cut off ends before its last usable sector.
func TestReadGPTTruncated(t *testing.T) {
	d := goodGPT(512)[:60*512]
	_, err := partition.Read(d, d.size(), 512)
	wantDamaged(t, err)
}

// A faulty sector at one end costs one copy, in sector 0 everything.
func TestReadFault(t *testing.T) {
	for lba, want := range map[int64]string{0: "", 1: "primary table is damaged", 2: "primary table is damaged", 62: "backup table is damaged", 63: "backup table is damaged"} {
		table, err := partition.Read(faulty{goodGPT(512), lba * 512}, 64*512, 512)
		if want == "" {
			if !errors.Is(err, errFault) || errors.Is(err, partition.ErrDamaged) {
				t.Errorf("sector %d: got %v, want the error of the disk", lba, err)
			}
			continue
		}
		if err != nil || !strings.Contains(strings.Join(table.Notes, "\n"), want) {
			t.Errorf("sector %d: got %v, %+v, want the note %q", lba, err, table, want)
		}
	}
}

var errFault = errors.New("medium error")

// A faulty disk has one byte that cannot be read.
type faulty struct {
	disk
	at int64
}

func (f faulty) ReadAt(p []byte, off int64) (int, error) {
	if off <= f.at && f.at < off+int64(len(p)) {
		return int(f.at - off), errFault
	}
	return f.disk.ReadAt(p, off)
}

func TestReadRefusesSectorSize(t *testing.T) {
	for _, sector := range []int{-512, 1, 513, 8192} {
		if table, err := partition.Read(goodGPT(512), 64*512, sector); err == nil {
			t.Errorf("sectors of %d bytes: got %+v, want an error", sector, table)
		}
	}
}
