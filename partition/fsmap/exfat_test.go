package fsmap

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// mkExFAT makes an empty exFAT volume of 8 MiB, with clusters of 4 KiB, under
// an overlay. Its root directory is in cluster 5, the bitmap in cluster 2 and
// the up-case table in clusters 3 and 4.
func mkExFAT(t testing.TB) (*overlay, *exfatBoot) {
	t.Helper()
	lab.Tools(t, "mkfs.exfat")
	path := lab.File(t, 8<<20)
	lab.Run(t, "mkfs.exfat", "-c", "4096", path)
	o := openOverlay(t, path)
	b, err := parseExFATBoot(o.bytes(0, 512))
	if err != nil {
		t.Fatal(err)
	}
	if b.root != 5 {
		t.Fatalf("root directory in cluster %d", b.root)
	}
	return o, b
}

// sumExFAT writes the checksum of the boot region that its contents ask for.
func sumExFAT(o *overlay) {
	const sector = 512
	p := o.bytes(0, 11*sector)
	var sum uint32
	for i, c := range p {
		if i != 106 && i != 107 && i != 112 {
			sum = (sum<<31 | sum>>1) + uint32(c)
		}
	}
	for i := range int64(sector / 4) {
		o.write(11*sector+4*i, binary.LittleEndian.AppendUint32(nil, sum))
	}
}

func TestExFATDamagedBoot(t *testing.T) {
	tests := []struct {
		name string
		at   int64
		put  string
		want string
	}{
		{"sectors of 256 bytes", 108, "\x08", "sectors of 2^8"},
		{"clusters of 64 MiB", 109, "\x11", "clusters of 2^17"},
		{"longer than the volume", 72, "\x01\x40", "the file system has 8389120 bytes"},
		{"absurdly long", 79, "\xFF", "a volume of"},
		{"revision 2", 105, "\x02", "unknown revision 0x200"},
		{"no FAT", 110, "\x00", "FAT 0 of 0"},
		{"second FAT of one", 106, "\x01", "FAT 1 of 1"},
		{"FAT in the boot region", 80, "\x17\x00", "overlap"},
		{"clusters in the FAT", 88, "\x18\x00", "overlap"},
		{"FAT too small", 84, "\x01", "too small"},
		{"no clusters", 92, "\x00\x00\x00\x00", "0 clusters do not fit"},
		{"clusters behind the end", 92, "\xF0\x07", "2032 clusters do not fit"},
		{"root in cluster 0", 96, "\x00", "root directory in cluster 0"},
		{"root behind the end", 96, "\x00\x10", "root directory in cluster 4096"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, _ := mkExFAT(t)
			o.write(tt.at, []byte(tt.put))
			sumExFAT(o)
			wantCaptured(t, mapOverlay(t, o), "exfat", tt.want)
		})
	}
}

func TestExFATBootChecksum(t *testing.T) {
	o, b := mkExFAT(t)
	if m := mapOverlay(t, o); m.Whole || m.Dirty || len(m.Notes) > 0 {
		t.Fatalf("at first: whole %v, notes %q", m.Whole, m.Notes)
	}
	o.write(12*b.sectorSize+200, []byte{1})
	if m := mapOverlay(t, o); m.Whole || !strings.Contains(strings.Join(m.Notes, ""), "backup: damaged: the boot region at 6144") {
		t.Errorf("backup: got whole %v, notes %q", m.Whole, m.Notes)
	}
	o.write(200, []byte{1})
	wantCaptured(t, mapOverlay(t, o), "exfat", "the boot region at 0 does not match")
}

func TestExFATFlags(t *testing.T) {
	o, _ := mkExFAT(t)
	o.write(106, []byte{4})
	if m := mapOverlay(t, o); m.Whole || m.Dirty || !slices.Contains(m.Notes, "marked as having had disk errors") {
		t.Errorf("failed: whole %v, dirty %v, notes %q", m.Whole, m.Dirty, m.Notes)
	}
	o.write(106, []byte{2})
	m := mapOverlay(t, o)
	wantCaptured(t, m, "exfat", "not cleanly unmounted")
	if !m.Dirty {
		t.Error("not dirty")
	}
}

// Offsets are counted from the FAT (0), the bitmap (2), the up-case table (3)
// or the root directory (5), by the number of the cluster. The entries of the
// root directory are label, bitmap and up-case table.
func TestExFATDamaged(t *testing.T) {
	tests := []struct {
		name    string
		cluster int64
		at      int64
		put     string
		want    string
	}{
		{"root leads nowhere", 0, 5 * 4, "\x00\x00\x00\x00", "leads to cluster 0"},
		{"root leads to itself", 0, 5 * 4, "\x05\x00\x00\x00", "does not end"},
		{"root leads to a bad cluster", 0, 5 * 4, "\xF7\xFF\xFF\xFF", "leads to cluster 4294967287"},
		{"bitmap goes on", 0, 2 * 4, "\x06\x00\x00\x00", "the chain from cluster 2 does not end"},
		{"bitmap has no chain", 0, 2 * 4, "\x00\x00\x00\x00", "the chain from cluster 2 does not end"},
		{"up-case table ends early", 0, 3 * 4, "\xFF\xFF\xFF\xFF", "a chain from cluster 3 leads to cluster 4294967295"},
		{"no entries", 5, 0, "\x00", "0 allocation bitmaps"},
		{"no bitmap", 5, 32, "\x01", "0 allocation bitmaps"},
		{"two bitmaps for one FAT", 5, 64, "\x81", "2 allocation bitmaps for 1 FATs"},
		{"no up-case table", 5, 64, "\x02", "no up-case table"},
		{"bitmap too small", 5, 32 + 24, "\x10\x00", "an allocation bitmap of 16 bytes"},
		{"bitmap of negative size", 5, 32 + 31, "\xFF", "an allocation bitmap of -"},
		{"bitmap too large", 5, 32 + 28, "\xFF", "a file of"},
		{"bitmap outside", 5, 32 + 20, "\xFF\xFF", "a chain from cluster 65535"},
		{"bitmap zeroed", 2, 0, strings.Repeat("\x00", 256), "free"},
		{"bitmap lacks itself", 2, 0, "\x0E", "free"},
		{"bitmap lacks the up-case table", 2, 0, "\x0B", "free"},
		{"bitmap lacks the root", 2, 0, "\x07", "free"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, b := mkExFAT(t)
			at := b.fatStart + tt.at
			if tt.cluster > 0 {
				at = b.clusterAt(tt.cluster) + tt.at
			}
			o.write(at, []byte(tt.put))
			wantCaptured(t, mapOverlay(t, o), "exfat", tt.want)
		})
	}
}

func TestExFATTruncated(t *testing.T) {
	o, _ := mkExFAT(t)
	o.size -= 512
	wantCaptured(t, mapOverlay(t, o), "exfat", "the file system has")
	o.size = 1000
	wantCaptured(t, mapOverlay(t, o), "", "unknown contents")
}

// TexFAT has two FATs and two bitmaps. What either bitmap has in use is kept.
// No program here makes one: the second bitmap of this one is in cluster 10,
// and the second FAT is the active one.
func TestExFATTwoFATs(t *testing.T) {
	o, b := mkExFAT(t)
	before := mapOverlay(t, o).Used
	o.write(106, []byte{1})
	o.write(110, []byte{2})
	sumExFAT(o)
	o.write(b.fatStart+b.fatSize, o.bytes(b.fatStart, b.fatSize))
	o.write(b.fatStart+b.fatSize+4*10, []byte("\xFF\xFF\xFF\xFF"))
	entry := o.bytes(b.clusterAt(5)+32, 32)
	entry[1], entry[20] = 1, 10
	o.write(b.clusterAt(5)+96, entry)
	o.write(b.clusterAt(10), []byte{0x0F, 0x01, 0x80}) // clusters 2 to 5, 10, 25

	m := mapOverlay(t, o)
	if m.Whole {
		t.Fatalf("captured whole: %q", m.Notes)
	}
	want := before.Size() + 2*b.clusterSize
	if m.Used.Size() != want {
		t.Errorf("got %d bytes in use, want %d", m.Used.Size(), want)
	}
}

// FuzzExFAT: whatever is on a volume, Read keeps its promises, and a map that
// is not whole has the boot regions and the FAT in it.
func FuzzExFAT(f *testing.F) {
	base, b := mkExFAT(f)
	f.Add([]byte{})
	f.Add(change(96, "\x06"))
	f.Add(change(108, "\x09\x00\x02"))
	f.Add(change(uint32(b.fatStart), "\xF8\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x06\x00\x00\x00\x04\x00\x00\x00"))
	f.Add(change(uint32(b.clusterAt(2)), "\x0F\xFF\x00\xAA"))
	f.Add(change(uint32(b.clusterAt(5)), "\x83\x03A\x00B\x00C\x00"))
	f.Add(change(uint32(b.clusterAt(5)+52), "\x02\x00\x00\x00\x00\x10\x00\x00"))
	f.Fuzz(func(t *testing.T, changes []byte) {
		o := newOverlay(base.base, base.size)
		o.patch(changes)
		sumExFAT(o)
		m := mapOverlay(t, o)
		if m.Type != "exfat" || m.Whole {
			return
		}
		b, err := parseExFATBoot(o.bytes(0, 512))
		if err != nil {
			t.Fatalf("a map of what is no exFAT: %v", err)
		}
		if len(m.Used) == 0 || m.Used[0].Start != 0 || m.Used[0].End() < b.heapStart {
			t.Errorf("the map starts with %v and clusters start at %d", m.Used, b.heapStart)
		}
	})
}
