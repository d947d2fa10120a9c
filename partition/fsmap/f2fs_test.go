package fsmap

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// mkF2FS makes an empty F2FS volume of 64 MiB under an overlay.
func mkF2FS(t testing.TB, flags string) *overlay {
	t.Helper()
	lab.Tools(t, "mkfs.f2fs")
	path := lab.File(t, 64<<20)
	lab.Run(t, "mkfs.f2fs", append(strings.Fields(flags), "-q", path)...)
	return openOverlay(t, path)
}

// f2fsOf returns superblock and newest checkpoint of a good volume.
func f2fsOf(t testing.TB, o *overlay) (*f2fsSuper, *f2fsCheckpoint) {
	t.Helper()
	v := &volume{ctx: t.Context(), r: o, size: o.size}
	s, err := readF2FSSuper(v)
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&f2fsReader{v: v, f2fsSuper: s}).newestCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// putF2FSSuper changes both copies of the superblock.
func putF2FSSuper(o *overlay, at int64, put string) {
	o.write(f2fsSuperOffset+at, []byte(put))
	o.write(f2fsBlock+f2fsSuperOffset+at, []byte(put))
}

// putF2FSCheckpoint changes the first and the last block of the pack at
// address pack, with checksums that are right if they stand where they may.
func putF2FSCheckpoint(o *overlay, pack, at int64, put string) {
	last := pack + int64(binary.LittleEndian.Uint32(o.bytes(pack*f2fsBlock+136, 4))) - 1
	for _, block := range []int64{pack, last} {
		o.write(block*f2fsBlock+at, []byte(put))
		p := o.bytes(block*f2fsBlock, f2fsBlock)
		sumAt := int64(binary.LittleEndian.Uint32(p[164:]))
		if sumAt > f2fsCPChecksum {
			continue
		}
		sum := f2fsCRC(p[:sumAt])
		if sumAt < f2fsCPChecksum {
			sum = f2fsAddCRC(sum, p[sumAt+4:])
		}
		o.write(block*f2fsBlock+sumAt, binary.LittleEndian.AppendUint32(nil, sum))
	}
}

func TestF2FSDamagedSuper(t *testing.T) {
	tests := []struct {
		name string
		at   int64
		put  string
		want string
	}{
		{"blocks of 16 KiB", 16, "\x0E", "of a size that is not known here"},
		{"segments of 4 MiB", 20, "\x0A", "of a size that is not known here"},
		{"zoned device", 2180, "\x02", "features that are not known here"},
		{"read-only image", 2181, "\x40", "features that are not known here"},
		{"features of the future", 2183, "\x80", "features that are not known here"},
		{"several devices", 2201, "/dev/sdb", "several devices"},
		{"stopped", 2763, "\x01", "tells of errors"},
		{"errors", 2794, "\x01", "tells of errors"},
		{"longer than the volume", 36, "\x01\x40", "a file system of 16385 blocks on a volume of 16384"},
		{"absurdly long", 43, "\x80", "a file system of 1099511627776 blocks"},
		{"checkpoints elsewhere", 76, "\x01\x03", "area 0 starts at block 769"},
		{"table elsewhere", 80, "\x01", "area 1 starts at block"},
		{"main area elsewhere", 92, "\x01", "area 4 starts at block"},
		{"more segments than there are", 68, "\xFF", "a file system of"},
		{"a table too small", 56, "\x00", "area 2 starts at block"},
		{"large bitmaps", 1664, "\xFF\xFF", "checkpoints with 65535 blocks"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := mkF2FS(t, "")
			putF2FSSuper(o, tt.at, tt.put)
			wantCaptured(t, mapOverlay(t, o), "f2fs", tt.want)
		})
	}
}

func TestF2FSSuperCopies(t *testing.T) {
	o := mkF2FS(t, "")
	o.write(f2fsBlock+f2fsSuperOffset+124, []byte("A"))
	wantCaptured(t, mapOverlay(t, o), "f2fs", "the copies of the superblock differ")

	o = mkF2FS(t, "-O extra_attr,sb_checksum -l LAB")
	if m := mapOverlay(t, o); m.Whole {
		t.Fatalf("captured whole: %q", m.Notes)
	}
	putF2FSSuper(o, 124, "l")
	wantCaptured(t, mapOverlay(t, o), "f2fs", "the superblock does not match its checksum")

	o.write(f2fsSuperOffset, []byte{0})
	wantCaptured(t, mapOverlay(t, o), "", "unknown contents")
}

func TestF2FSTruncated(t *testing.T) {
	o := mkF2FS(t, "")
	o.size -= 4096
	wantCaptured(t, mapOverlay(t, o), "f2fs", "on a volume of 16383")
	o.size = 5000
	wantCaptured(t, mapOverlay(t, o), "", "unknown contents")
}

// Fields of both checkpoints are changed.
func TestF2FSCheckpoint(t *testing.T) {
	tests := []struct {
		name  string
		at    int64
		put   string
		dirty bool
		want  string
	}{
		{"not unmounted", 132, "\x84", true, "not cleanly unmounted"},
		{"errors", 132, "\x8D", true, "asks for fsck"},
		{"needs fsck", 132, "\x95", true, "asks for fsck"},
		{"quotas need fsck", 132, "\x05\x08", true, "asks for fsck"},
		{"checkpoints disabled", 132, "\x05\x10", true, "asks for fsck"},
		{"resize interrupted", 132, "\x05\x40", true, "asks for fsck"},
		{"a flag of the future", 132, "\x05\x00\x01", true, "asks for fsck"},
		{"normal summaries without room", 132, "\x01", false, "a checkpoint of"},
		{"summaries in the first block", 140, "\x00", false, "with summaries from 0"},
		{"summaries behind the end", 140, "\xFF", false, "with summaries from 255"},
		{"log of nodes outside", 40, "\xFF\xFF\xFF\xFF", false, "a log at block"},
		{"log of data outside", 84, "\xFF\xFF", false, "a log at block"},
		{"log behind its segment", 70, "\x00\x02", false, "a log at block 512"},
		{"bitmap of segments", 156, "\x41", false, "version bitmaps of 65"},
		{"bitmap of nodes", 160, "\xFF\xFF\xFF", false, "version bitmaps of"},
		{"too few nodes", 144, "\x00", false, "with 0 in the checkpoint"},
		{"too few blocks", 16, "\x01", false, "1 with 1 in the checkpoint"},
		{"checksum in the fields", 164, "\xBF\x00", false, "a checkpoint with its checksum at 191"},
		{"checksum nowhere", 164, "\xFF\xFF", false, "a checkpoint with its checksum at 65535"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := mkF2FS(t, "")
			s, c := f2fsOf(t, o)
			if c.flags != 0x185 {
				t.Fatalf("flags %#x at first", c.flags)
			}
			putF2FSCheckpoint(o, s.cp, tt.at, tt.put)
			putF2FSCheckpoint(o, s.cp+f2fsSegment, tt.at, tt.put)
			m := mapOverlay(t, o)
			wantCaptured(t, m, "f2fs", tt.want)
			if m.Dirty != tt.dirty {
				t.Errorf("got dirty %v, want %v", m.Dirty, tt.dirty)
			}
		})
	}
}

// The later checkpoint counts; one that is not whole does not.
func TestF2FSNewestCheckpoint(t *testing.T) {
	o := mkF2FS(t, "")
	s, c := f2fsOf(t, o)
	first, second := s.cp, s.cp+f2fsSegment
	if c.at != first {
		t.Fatalf("the newest checkpoint is at block %d", c.at)
	}
	later := string(binary.LittleEndian.AppendUint64(nil, c.version+1))
	putF2FSCheckpoint(o, second, 0, later)
	putF2FSCheckpoint(o, second, 132, "\x84")
	wantCaptured(t, mapOverlay(t, o), "f2fs", "not cleanly unmounted")

	last := second + int64(binary.LittleEndian.Uint32(o.bytes(second*f2fsBlock+136, 4))) - 1
	o.write(last*f2fsBlock, o.bytes(first*f2fsBlock, f2fsBlock)) // of another version
	if m := mapOverlay(t, o); m.Whole {
		t.Errorf("the second is not whole: captured whole: %q", m.Notes)
	}
	o.write(first*f2fsBlock+20, []byte{1})
	wantCaptured(t, mapOverlay(t, o), "f2fs", "does not match its checksum")
}

// A node behind the checkpoint was synced after it.
func TestF2FSLogGoesOn(t *testing.T) {
	o := mkF2FS(t, "")
	s, c := f2fsOf(t, o)
	next := (&f2fsReader{f2fsSuper: s}).nextNode(c) * f2fsBlock
	if !mapOverlay(t, o).Used.Covers(partition.Extent{Start: next, Length: f2fsBlock}) {
		t.Error("the block at the end of the log is not kept")
	}
	o.write(next+f2fsBlock-12, binary.LittleEndian.AppendUint64(nil, c.version|0xABCD<<32))
	m := mapOverlay(t, o)
	wantCaptured(t, m, "f2fs", "its log goes on behind the checkpoint")
	if !m.Dirty {
		t.Error("not dirty")
	}
}

// The journal stands behind that of node addresses in the compact summaries;
// its first entry is of a segment with valid blocks.
func TestF2FSDamagedTable(t *testing.T) {
	tests := []struct {
		name string
		at   int64 // in the journal
		put  string
		want string
	}{
		{"a journal that is too long", 0, "\x07\x00", "a journal of 7 segments"},
		{"a segment outside", 2, "\xFF\xFF", "in the journal"},
		{"a bit too many", 8 + 63, "\x01", "valid blocks and counts"},
		{"a bit too few", 8, "\x00", "valid blocks and counts"},
		{"no journal", 0, "\x00\x00", "in the table"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := mkF2FS(t, "")
			_, c := f2fsOf(t, o)
			o.write((c.at+c.summary)*f2fsBlock+f2fsJournalSize+tt.at, []byte(tt.put))
			wantCaptured(t, mapOverlay(t, o), "f2fs", tt.want)
		})
	}
}

// A bit that flips in the table itself makes the volume whole, unless the
// journal has a newer entry of that segment.
func TestF2FSTableBits(t *testing.T) {
	o := mkF2FS(t, "")
	s, c := f2fsOf(t, o)
	f := &f2fsReader{v: &volume{ctx: t.Context(), r: o, size: o.size}, f2fsSuper: s}
	journal, err := f.sitJournal(c)
	if err != nil || len(journal) == 0 {
		t.Fatalf("a journal of %d segments, %v", len(journal), err)
	}
	before := mapOverlay(t, o).Used
	for segment := range min(s.segments, f2fsSITEntries) {
		at := s.sit*f2fsBlock + segment*f2fsSITEntrySize + 2 + segment%f2fsValidMap
		was := o.bytes(at, 1)
		o.write(at, []byte{was[0] ^ 0x10})
		m := mapOverlay(t, o)
		if _, newer := journal[segment]; m.Whole == newer || newer && !slices.Equal(m.Used, before) {
			t.Errorf("segment %d: got whole %v, notes %q, with %v in the journal", segment, m.Whole, m.Notes, newer)
		}
		o.write(at, was)
	}
}

// FuzzF2FS: whatever is on a volume, Read keeps its promises, and a map that
// is not whole has all of the metadata in it. The checksums of checkpoints and
// the copy of the superblock are made to fit.
func FuzzF2FS(f *testing.F) {
	base := mkF2FS(f, "")
	s, c := f2fsOf(f, base)
	f.Add([]byte{})
	f.Add(change(f2fsSuperOffset+36, "\x00\x10\x00\x00\x00\x00\x00\x00"))
	f.Add(change(f2fsSuperOffset+52, "\x02\x00\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00"))
	f.Add(change(f2fsSuperOffset+1664, "\x02"))
	f.Add(change(uint32(s.cp*f2fsBlock+132), "\x01\x04\x00\x00\x07\x00\x00\x00\x02"))
	f.Add(change(uint32(s.cp*f2fsBlock+156), "\x40\x00\x00\x00\x80\x00\x00\x00\xC0\x00"))
	f.Add(change(uint32((c.at+c.summary)*f2fsBlock+f2fsJournalSize), "\x06\x00\x01\x00\x00\x00\x03\x00\xE0"))
	f.Add(slices.Concat(change(uint32(s.sit*f2fsBlock), "\x03\x00\xE0"), change(uint32(s.cp*f2fsBlock+16), "\xFF")))
	f.Fuzz(func(t *testing.T, changes []byte) {
		o := newOverlay(base.base, base.size)
		o.patch(changes)
		o.write(f2fsBlock+f2fsSuperOffset, o.bytes(f2fsSuperOffset, f2fsSuperSize))
		for _, pack := range []int64{s.cp, s.cp + f2fsSegment} {
			putF2FSCheckpoint(o, pack, 0, "")
		}
		m := mapOverlay(t, o)
		if m.Type != "f2fs" || m.Whole {
			return
		}
		s, _ := f2fsOf(t, o)
		if len(m.Used) == 0 || m.Used[0].Start != 0 || m.Used[0].End() < s.main*f2fsBlock {
			t.Errorf("the map starts with %v and the main area at block %d", m.Used, s.main)
		}
	})
}
