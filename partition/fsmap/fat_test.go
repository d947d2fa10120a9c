package fsmap

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// mkFAT makes an empty FAT volume under an overlay.
func mkFAT(t testing.TB, size int64, flags string) *overlay {
	t.Helper()
	lab.Tools(t, "mkfs.fat")
	path := lab.File(t, size)
	lab.Run(t, "mkfs.fat", append(strings.Fields(flags), path)...)
	return openOverlay(t, path)
}

func TestParseFATBootRejects(t *testing.T) {
	good := mkFAT(t, 12<<20, "-F 16").bytes(0, fatBootSize)
	if _, err := parseFATBoot(good); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		at   int
		put  string
	}{
		{"no jump", 0, "\x00"},
		{"jump without its third byte", 2, "\x00"},
		{"sectors of 513 bytes", 11, "\x01\x02"},
		{"sectors of 8 KiB", 11, "\x00\x20"},
		{"clusters of no sectors", 13, "\x00"},
		{"clusters of three sectors", 13, "\x03"},
		{"no reserved sectors", 14, "\x00\x00"},
		{"no FAT", 16, "\x00"},
		{"five FATs", 16, "\x05"},
		{"no root directory", 17, "\x00\x00"},
		{"no sectors", 19, strings.Repeat("\x00", 17)},
		{"unknown medium", 21, "\xF1"},
		{"FAT of no sectors", 22, "\x00\x00"},
		{"no signature", 510, "\x00\x00"},
		{"NTFS", 0, "\xEB\x52\x90NTFS    \x00\x02\x08\x00\x00\x00\x00\x00\x00\x00\xF8"},
		{"exFAT", 0, "\xEB\x76\x90EXFAT   " + strings.Repeat("\x00", 53)},
		{"boot code and partitions", 0, "\xEB\x63\x90" + strings.Repeat("\x00", 87)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := slices.Clone(good)
			copy(p[tt.at:], tt.put)
			if b, err := parseFATBoot(p); !errors.Is(err, errNotMine) {
				t.Errorf("got %+v, %v, want errNotMine", b, err)
			}
		})
	}
}

// Boot code has a jump, and any sector may end in the signature.
func TestParseFATBootRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, fatBootSize)
	for range 50000 {
		for i := 0; i < len(p); i += 8 {
			binary.LittleEndian.PutUint64(p[i:], rng.Uint64())
		}
		p[0], p[2], p[510], p[511] = 0xEB, 0x90, 0x55, 0xAA
		if b, err := parseFATBoot(p); err == nil {
			t.Fatalf("%x is taken for %+v", p, b)
		}
	}
}

func TestFATDamaged(t *testing.T) {
	const boot, first, second = 0, 1, 2 // what an offset is counted from
	tests := []struct {
		name  string
		flags string
		from  []int
		at    int64
		put   string
		want  string
	}{
		{"more sectors than the volume", "-F 16", []int{boot}, 19, "\xFF\xFF", "the file system has"},
		{"metadata fills it", "-F 16", []int{boot}, 14, "\xFF\xFF", "no room for clusters"},
		{"FAT too small", "-F 16", []int{boot}, 22, "\x01\x00", "too small for"},
		{"unknown version", "-F 32", []int{boot}, 42, "\x01\x00", "unknown version 0x1"},
		{"root outside", "-F 32", []int{boot}, 44, "\xFF\xFF\xFF\x0F", "root directory in cluster 268435455"},
		{"root in cluster 1", "-F 32", []int{boot}, 44, "\x01\x00", "root directory in cluster 1 "},
		{"third FAT active", "-F 32", []int{boot}, 40, "\x82\x00", "FAT 2 of 2"},
		{"root marked free", "-F 32", []int{first, second}, 8, "\x00\x00\x00\xF0", "cluster 2 is marked free"},
		{"FAT zeroed", "-F 16", []int{first}, 0, strings.Repeat("\x00", 512), "FAT 0: damaged: it starts with 0x0"},
		{"second FAT zeroed", "-F 12 -s 8", []int{second}, 0, "\x00\x00\x00", "FAT 1: damaged: it starts with 0x0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := mkFAT(t, 12<<20, tt.flags)
			b := fatBootOf(t, o)
			for _, from := range tt.from {
				o.write([]int64{0, b.reserved, b.reserved + b.fatSize}[from]+tt.at, []byte(tt.put))
			}
			wantCaptured(t, mapOverlay(t, o), "vfat", tt.want)
		})
	}
}

func TestFATTruncated(t *testing.T) {
	o := mkFAT(t, 12<<20, "-F 16")
	o.size -= 512
	wantCaptured(t, mapOverlay(t, o), "vfat", "the file system has 12582912 bytes and the volume 12582400")
	o.size = 300
	wantCaptured(t, mapOverlay(t, o), "", "unknown contents")
}

// A dirty volume is mapped, and says so.
func TestFATDirty(t *testing.T) {
	tests := []struct {
		name, flags string
		inFAT       bool
		at          int64
		clear, set  byte
		want        string
		dirty       bool
	}{
		{"FAT12, boot sector", "-F 12 -s 8", false, 0x25, 0, 1, "not cleanly unmounted", true},
		{"FAT16, boot sector", "-F 16", false, 0x25, 0, 1, "not cleanly unmounted", true},
		{"FAT32, boot sector", "-F 32", false, 0x41, 0, 1, "not cleanly unmounted", true},
		{"FAT16, FAT", "-F 16", true, 3, 0x80, 0, "not cleanly unmounted", true},
		{"FAT32, FAT", "-F 32", true, 7, 0x08, 0, "not cleanly unmounted", true},
		{"FAT16, errors", "-F 16", true, 3, 0x40, 0, "disk errors", false},
		{"FAT32, errors", "-F 32", true, 7, 0x04, 0, "disk errors", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := mkFAT(t, 12<<20, tt.flags)
			if m := mapOverlay(t, o); m.Whole || m.Dirty || len(m.Notes) > 0 {
				t.Fatalf("at first: whole %v, dirty %v, notes %q", m.Whole, m.Dirty, m.Notes)
			}
			if tt.inFAT {
				tt.at += fatBootOf(t, o).reserved
			}
			o.write(tt.at, []byte{o.bytes(tt.at, 1)[0]&^tt.clear | tt.set})
			m := mapOverlay(t, o)
			if m.Whole || m.Dirty != tt.dirty || !strings.Contains(strings.Join(m.Notes, "; "), tt.want) {
				t.Errorf("got whole %v, dirty %v, notes %q, want %v, %q", m.Whole, m.Dirty, m.Notes, tt.dirty, tt.want)
			}
		})
	}
}

// fatBootOf reads the boot sector of a volume that has a good one.
func fatBootOf(t testing.TB, o *overlay) *fatBoot {
	t.Helper()
	b, err := parseFATBoot(o.bytes(0, fatBootSize))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What one copy of the FAT has in use is kept, whichever it is.
func TestFATCopiesDiffer(t *testing.T) {
	for _, flags := range []string{"-F 12 -s 8", "-F 16", "-F 32"} {
		for copied := range int64(2) {
			o := mkFAT(t, 12<<20, flags)
			boot := fatBootOf(t, o)
			before := mapOverlay(t, o).Used.Size()
			// Entry 100 starts at byte 150, 200 or 400 of the FAT.
			o.write(boot.reserved+copied*boot.fatSize+100*boot.width()/8, []byte{0xFF})
			m := mapOverlay(t, o)
			if m.Whole || m.Used.Size() != before+boot.clusterSize || !strings.Contains(strings.Join(m.Notes, ""), "differ") {
				t.Errorf("%s, FAT %d: got %d bytes, notes %q, want %d and a cluster of %d", flags, copied,
					m.Used.Size(), m.Notes, before, boot.clusterSize)
			}
		}
	}
}

// The upper four bits of a FAT32 entry are no part of it.
func TestFAT32UpperBits(t *testing.T) {
	o := mkFAT(t, 12<<20, "-F 32 -R 32")
	before := mapOverlay(t, o).Used.Size()
	o.write(32*512+400, []byte{0, 0, 0, 0xF0})
	if got := mapOverlay(t, o).Used.Size(); got != before {
		t.Errorf("got %d bytes in use, want %d", got, before)
	}
}

// The label of the root directory goes before that of the boot sector.
func TestFATLabel(t *testing.T) {
	entry := func(name string, attr byte) string {
		return name + string(rune(attr)) + strings.Repeat("\x00", 20)
	}
	tests := []struct{ name, root, want string }{
		{"no entry", "", "BOOT"},
		{"entry", entry("ROOT       ", 0x08), "ROOT"},
		{"long name before it", entry("AR\x00O\x00O\x00T\x00L\x00", 0x0F) + entry("ROOT       ", 0x28), "ROOT"},
		{"deleted", "\xE5" + entry("OOT       ", 0x08), "BOOT"},
		{"behind the end", strings.Repeat("\x00", 32) + entry("ROOT       ", 0x08), "BOOT"},
		{"a file", entry("ROOT       ", 0x20), "BOOT"},
	}
	for _, flags := range []string{"-F 16 -n BOOT", "-F 32 -n BOOT"} {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				o := mkFAT(t, 12<<20, flags)
				boot := fatBootOf(t, o)
				o.write(boot.rootStart(), []byte(tt.root+strings.Repeat("\x00", 64)))
				if m := mapOverlay(t, o); m.Label != tt.want {
					t.Errorf("got label %q, want %q", m.Label, tt.want)
				}
			})
		}
	}
}

// A chain that leads back to itself ends the search for a label, and the
// clusters count as what they are.
func TestFAT32Loop(t *testing.T) {
	o := mkFAT(t, 12<<20, "-F 32 -R 32")
	before := mapOverlay(t, o)
	o.write(32*512+8, []byte{2, 0, 0, 0})
	if m := mapOverlay(t, o); m.Whole || m.Used.Size() != before.Used.Size() {
		t.Errorf("got whole %v, %d bytes, want %d", m.Whole, m.Used.Size(), before.Used.Size())
	}
}

// FuzzFAT: whatever is on a volume, Read keeps its promises, and a map that
// is not whole has the metadata in it.
func FuzzFAT(f *testing.F) {
	bases := []*overlay{
		mkFAT(f, 720<<10, ""),
		mkFAT(f, 3<<20, "-F 16 -s 1"),
		mkFAT(f, 1<<20, "-F 32 -s 1"),
	}
	f.Add(byte(0), []byte{})
	f.Add(byte(1), change(11, "\x00\x10\x02\x01\x00\x04"))
	f.Add(byte(2), slices.Concat(change(36, "\xFF\xFF\xFF\xFF"), change(44, "\x03")))
	f.Add(byte(2), change(32*512+8, "\x02\x00\x00\x00\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, base byte, changes []byte) {
		o := newOverlay(bases[int(base)%len(bases)].base, bases[int(base)%len(bases)].size)
		o.patch(changes)
		m := mapOverlay(t, o)
		if m.Type != "vfat" || m.Whole {
			return
		}
		boot, err := parseFATBoot(o.bytes(0, fatBootSize))
		if err != nil {
			t.Fatalf("a map of what is no FAT: %v", err)
		}
		if len(m.Used) == 0 || m.Used[0].Start != 0 || m.Used[0].End() < boot.dataStart() {
			t.Errorf("the map starts with %v and clusters start at %d", m.Used, boot.dataStart())
		}
	})
}
