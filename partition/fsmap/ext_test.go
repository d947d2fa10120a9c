package fsmap

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

func TestExtSums(t *testing.T) {
	check := []byte("123456789") // the check values of the CRC catalogue
	if got := ^extCRC(^uint32(0), check[:4], check[4:]); got != 0xe3069283 {
		t.Errorf("CRC-32C: got %#x", got)
	}
	if got := extCRC16(0xffff, check[:4], check[4:]); got != 0x4b37 {
		t.Errorf("CRC-16: got %#x", got)
	}
	if got := ^extCRC32BE(extCRC32BE(^uint32(0), check[:4]), check[4:]); got != 0xfc891918 {
		t.Errorf("CRC-32, highest bit first: got %#x", got)
	}
}

func TestExtHasSuper(t *testing.T) {
	tests := []struct {
		name string
		l    extLayout
		want []int64
	}{
		{"all", extLayout{}, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{"sparse", extLayout{sparse: true}, []int64{0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125}},
		{"sparse2", extLayout{sparse: true, sparse2: true, backups: [2]uint32{1, 90}}, []int64{0, 1, 90}},
		{"sparse2 without copies", extLayout{sparse: true, sparse2: true}, []int64{0}},
	}
	for _, tt := range tests {
		var got []int64
		for n := int64(0); len(got) < len(tt.want) && n < 200; n++ {
			if tt.l.hasSuper(n) {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestExtNextBit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		p := make([]byte, 8*(1+rng.IntN(5))+rng.IntN(8))
		for i := range p {
			p[i] = []byte{0, 0, 0xff, 0xff, byte(rng.Uint32())}[rng.IntN(5)]
		}
		n := rng.Int64N(int64(len(p))*8 + 1)
		for i := range n {
			for _, set := range []bool{false, true} {
				want := i
				for want < n && (p[want/8]>>(want%8)&1 == 1) != set {
					want++
				}
				if got := extNextBit(p, i, n, set); got != want {
					t.Fatalf("%x: bit %d of %d, %v: got %d, want %d", p, i, n, set, got, want)
				}
			}
		}
	}
}

// extImage returns a small file system made by mke2fs with options, in memory.
func extImage(t testing.TB, options string) []byte {
	t.Helper()
	lab.Tools(t, "mke2fs")
	path := extVariant{mkfs: "mke2fs " + options, size: 8 << 20}.make(t)
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// extBytes maps the volume p.
func extBytes(t testing.TB, p []byte) *Map {
	t.Helper()
	m, err := Read(context.Background(), bytes.NewReader(p), int64(len(p)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// reseal corrects the superblock's checksum.
func reseal(p []byte) {
	sum := extCRC(^uint32(0), p[1024:1024+0x3fc])
	binary.LittleEndian.PutUint32(p[1024+0x3fc:], sum)
}

// orWord sets bits of a field of the superblock.
func orWord(p []byte, field int, bits uint32) {
	at := p[1024+field:]
	binary.LittleEndian.PutUint32(at, binary.LittleEndian.Uint32(at)|bits)
}

// extOf returns the reader's state for a clean volume p.
func extOf(t testing.TB, p []byte) *extFS {
	t.Helper()
	v := &volume{ctx: context.Background(), r: bytes.NewReader(p), size: int64(len(p))}
	raw, err := readExtSuper(v)
	if err != nil {
		t.Fatal(err)
	}
	sb := decodeExtSuper(raw)
	fs := &extFS{v: v, extLayout: sb.extLayout}
	if err := fs.consultJournal(sb); err != nil {
		t.Fatal(err)
	}
	return fs
}

// bitmapOf returns the offset of a group's block bitmap.
func bitmapOf(t testing.TB, p []byte, n int64) int64 {
	t.Helper()
	fs := extOf(t, p)
	g, err := fs.group(n)
	if err != nil {
		t.Fatal(err)
	}
	return g.blockBitmap * fs.blockSize
}

func TestExtRefuses(t *testing.T) {
	const sb = 1024
	const ext2, ext3, ext4 = "-t ext2 -b 1024", "-t ext3 -b 1024", "-t ext4 -b 1024"
	const uninit = "-t ext4 -b 1024 -g 1024 -O uninit_bg,^metadata_csum,^flex_bg,^64bit"
	zero := func(at, n int) func(t testing.TB, p []byte) {
		return func(_ testing.TB, p []byte) { clear(p[at:][:n]) }
	}
	set32 := func(field int, value uint32) func(t testing.TB, p []byte) {
		return func(_ testing.TB, p []byte) {
			binary.LittleEndian.PutUint32(p[sb+field:], value)
			reseal(p)
		}
	}
	journal := func(change func(super []byte)) func(t testing.TB, p []byte) {
		return func(t testing.TB, p []byte) {
			fs := extOf(t, p)
			change(p[fs.journal[0].start*fs.blockSize:][:1024])
		}
	}
	flipBitmap := func(t testing.TB, p []byte) { p[bitmapOf(t, p, 0)+100] ^= 0x10 }
	tests := []struct {
		name, options string
		change        func(t testing.TB, p []byte)
		want          string // part of a note
	}{
		{"superblock flipped", ext4, func(_ testing.TB, p []byte) { p[sb+0x79] ^= 1 }, "superblock: checksum mismatch"},
		{"checksum type", ext4, func(_ testing.TB, p []byte) { p[sb+0x175] = 2; reseal(p) }, "checksum type 2"},
		{"unknown incompat", ext4, func(_ testing.TB, p []byte) { orWord(p, 0x60, 1<<30); reseal(p) }, "incompat 0x40000000"},
		{"compression", ext2, func(_ testing.TB, p []byte) { orWord(p, 0x60, 1) }, "incompat 0x1,"},
		{"unknown ro_compat", ext4, func(_ testing.TB, p []byte) { orWord(p, 0x64, 1<<30); reseal(p) }, "ro_compat 0x40000000"},
		{"lazy_bg", ext2, func(_ testing.TB, p []byte) { orWord(p, 0x5c, 0x40) }, "compat 0x40,"},
		{"errors", ext4, func(_ testing.TB, p []byte) { p[sb+0x3a] |= 2; reseal(p) }, errExtErrors.Error()},
		{"not valid", ext2, func(_ testing.TB, p []byte) { p[sb+0x3a] &^= 1 }, errExtState.Error()},
		{"too many blocks", ext2, set32(4, 8193), "shorter than the file system"},
		{"huge", ext4, set32(0x150, 1<<31), "shorter than the file system"},
		{"first block", ext2, set32(0x14, 0), "first block"},
		{"tiny groups", ext2, set32(0x20, 8), "8 blocks in a group"},
		{"odd groups", ext2, set32(0x20, 8191), "clusters in a group"},
		{"huge groups", ext2, set32(0x20, 8200), "clusters in a group"},
		{"inodes in a group", ext2, set32(0x28, 1<<20), "inodes in a group"},
		{"inode count", ext2, set32(0, 77), "77 inodes"},
		{"inode size", ext2, func(_ testing.TB, p []byte) { p[sb+0x58] = 100 }, "inodes of"},
		{"descriptor size", "-t ext4 -b 1024 -O 64bit,^metadata_csum", func(_ testing.TB, p []byte) { p[sb+0xfe] = 48 }, "descriptors of 48 bytes"},
		{"reserved blocks", ext2, func(_ testing.TB, p []byte) { p[sb+0xcf] = 0xff }, "reserved descriptor blocks"},
		{"meta-group", "-t ext4 -b 1024 -O meta_bg,^resize_inode", set32(0x104, 99), "first meta-group 99"},
		{"cluster size", "-t ext4 -b 1024 -O bigalloc -C 4096", set32(0x1c, 30), "clusters"},
		{"blocks and clusters", "-t ext4 -b 1024 -O bigalloc -C 4096", set32(0x24, 4096), "in a group of"},
		{"descriptor flipped", ext4, func(_ testing.TB, p []byte) { p[2048+12] ^= 1 }, "descriptor of group 0: checksum mismatch"},
		{"descriptor flipped, crc16", uninit, func(_ testing.TB, p []byte) { p[2048+32*3+12] ^= 1 }, "descriptor of group 3: checksum mismatch"},
		{"descriptors zeroed", ext2, zero(2048, 32), "group 0: bitmaps at blocks 0 and 0"},
		{"descriptor elsewhere", ext2, func(_ testing.TB, p []byte) { p[2048+3] = 1 }, "group 0: bitmaps at blocks"},
		{"bitmap flipped", ext4, flipBitmap, "block bitmap of group 0: checksum mismatch"},
		{"bitmap flipped, short descriptors", "-t ext4 -b 1024 -O ^64bit", flipBitmap, "block bitmap of group 0: checksum mismatch"},
		{"bitmap flipped, ext2", ext2, flipBitmap, "clusters are free in its bitmap"},
		{"bitmap zeroed, crc16", uninit, func(t testing.TB, p []byte) { clear(p[bitmapOf(t, p, 0):][:1024]) }, "clusters are free in its bitmap"},
		{"journal zeroed", ext3, journal(func(p []byte) { clear(p) }), "journal: no superblock"},
		{"journal not empty", ext3, journal(func(p []byte) { p[0x1f] = 1 }), "marked as clean, but its journal is not empty"},
		{"journal with an error", ext3, journal(func(p []byte) { p[0x23] = 5 }), "journal: ended with error 5"},
		{"journal block size", ext3, journal(func(p []byte) { p[0xe] = 16 }), "journal: blocks of"},
		{"journal too long", ext3, journal(func(p []byte) { p[0x10] = 1 }), "journal: log from block"},
		{"journal start", ext3, journal(func(p []byte) { p[0x1c] = 1 }), "journal: log starts at"},
		{"journal features", ext3, journal(func(p []byte) { p[0x7] = jbdSuperV2; p[0x28] = 1 }), "journal: features"},
		{"journal inode", ext3, set32(0xe0, 2), "the inode of the journal is no file"},
		{"journal inode beyond", ext3, set32(0xe0, 1<<31), "inode 2147483648 of"},
		{"external journal", ext3, func(_ testing.TB, p []byte) { orWord(p, 0x60, extRecover); clear(p[sb+0xe0:][:4]) }, "on another device"},
		{"no journal to replay", ext2, func(_ testing.TB, p []byte) { orWord(p, 0x60, extRecover) }, "there is none"},
		{"fast commits", "-t ext4 -b 1024 -O fast_commit", func(_ testing.TB, p []byte) { orWord(p, 0x60, extRecover); reseal(p) }, "fast commits"},
		{"device of a journal", "-O journal_dev", func(testing.TB, []byte) {}, "the journal of another file system"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := extImage(t, tt.options)
			tt.change(t, p)
			wantWhole(t, p, tt.want)
		})
	}
}

// wantWhole fails the test unless the volume p is an extended file system
// that is mapped whole with a note that contains reason.
func wantWhole(t testing.TB, p []byte, reason string) {
	t.Helper()
	m := extBytes(t, p)
	whole := partition.Extents{{Start: 0, Length: int64(len(p))}}
	if !m.Whole || m.Type == "" || !slices.Equal(m.Used, whole) || !strings.Contains(strings.Join(m.Notes, "\n"), reason) {
		t.Errorf("got a %q, whole %v, used %v, notes %q; want a whole one because of %q", m.Type, m.Whole, m.Used, m.Notes, reason)
	}
}

func TestExtTruncated(t *testing.T) {
	for _, options := range []string{"-t ext2", "-t ext4", "-t ext4 -O meta_bg,^resize_inode"} {
		p := extImage(t, options)
		for _, n := range []int{2048, 2049, 4096, 100000, len(p) / 2, len(p) - 1024, len(p) - 1} {
			wantWhole(t, p[:n], "shorter than the file system")
		}
	}
}

func TestExtNotMine(t *testing.T) {
	p := extImage(t, "-t ext4")
	weak := make([]byte, 4096)
	binary.LittleEndian.PutUint16(weak[1024+extMagicOffset:], extMagic)
	tests := map[string][]byte{
		"empty":             nil,
		"too short":         p[:2047],
		"zeros":             make([]byte, 1<<20),
		"nothing but magic": weak,
		"moved":             p[512:],
	}
	for name, p := range tests {
		v := &volume{ctx: t.Context(), r: bytes.NewReader(p), size: int64(len(p))}
		if m, err := readExt(v); err != errNotMine {
			t.Errorf("%s: got %v, %v", name, m, err)
		}
	}
}

// TestExtCleanJournal maps clean file systems: a journal that was never used,
// one on another device, and a mount that changed nothing.
func TestExtCleanJournal(t *testing.T) {
	p := extImage(t, "-t ext3 -b 1024")
	m := extBytes(t, p)
	if m.Whole || m.Dirty || m.Type != "ext3" || m.Label != "lab disk" || m.BlockSize != 1024 || m.Size != 8<<20 {
		t.Errorf("clean: got %+v", m)
	}
	orWord(p, 0x60, extRecover)
	m = extBytes(t, p)
	if m.Whole || !m.Dirty || len(m.Notes) != 1 {
		t.Errorf("mounted: got %+v", m)
	}
	p = extImage(t, "-t ext3 -b 1024")
	clear(p[1024+0xe0:][:4])
	if m := extBytes(t, p); m.Whole || m.Dirty {
		t.Errorf("journal elsewhere: got %+v", m)
	}
}

// jbdForms are the forms that a journal can have, as options for mke2fs and
// for debugfs' journal_open.
var jbdForms = []struct{ name, mkfs, open string }{
	{"no sums", "-t ext4 -O ^metadata_csum,^64bit", "jo"},
	{"no sums, 64 bits", "-t ext4 -O ^metadata_csum,64bit", "jo"},
	{"one sum", "-t ext4 -O ^metadata_csum,^64bit", "jo -c"},
	{"one sum, 64 bits", "-t ext4 -O ^metadata_csum,64bit", "jo -c"},
	{"v2", "-t ext4 -O metadata_csum,^64bit", "jo -c -v 2"},
	{"v2, 64 bits", "-t ext4 -O metadata_csum,64bit", "jo -c -v 2"},
	{"v3", "-t ext4 -O metadata_csum,^64bit", "jo -c -v 3"},
	{"v3, 64 bits", "-t ext4 -O metadata_csum,64bit", "jo -c -v 3"},
	{"v3, 4 KiB", "-t ext4 -b 4096 -O metadata_csum,64bit", "jo -c -v 3"},
}

// debugfs runs commands on the file system in the file at path.
func debugfs(t testing.TB, path string, commands ...string) {
	t.Helper()
	cmd := exec.Command("debugfs", "-w", path)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("debugfs: %v\n%s", err, out)
	}
}

// tempFile returns the name of a new file that holds p.
func tempFile(t testing.TB, p []byte) string {
	t.Helper()
	path := lab.File(t, 0)
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestExtJournalForms reads journals that debugfs wrote: an escaped block, a
// newer copy, a revoked one, and a transaction without commit block.
func TestExtJournalForms(t *testing.T) {
	lab.Tools(t, "mke2fs", "debugfs")
	rng := rand.New(rand.NewPCG(3, 3))
	for _, form := range jbdForms {
		t.Run(form.name, func(t *testing.T) {
			path := tempFile(t, extImage(t, form.mkfs))
			size := int(extOfFile(t, path).blockSize)
			content := make([]byte, 4*size)
			for i := range content {
				content[i] = byte(rng.Uint32())
			}
			binary.BigEndian.PutUint32(content, jbdMagic)
			all, newer := tempFile(t, content[:3*size]), tempFile(t, content[3*size:])
			commands := []string{form.open, "jw -b 1500,1501,1502 " + all, "jw -b 1501 " + newer}
			want := map[int64][]byte{1500: content[:size], 1501: content[3*size:]}
			if form.open == "jo -c" {
				// Here debugfs writes a wrong checksum for a transaction that
				// only revokes; e2fsck does not replay it either.
				want[1502] = content[2*size : 3*size]
			} else {
				commands = append(commands, "jw -r 1502")
			}
			debugfs(t, path, append(commands, "jw -b 1503 -c "+newer, "jc")...)
			fs := extOfFile(t, path)
			wantCopies(t, fs, want)
			wantJournalDamage(t, fs, path)
		})
	}
}

// extOfFile is extOf for the file at path.
func extOfFile(t testing.TB, path string) *extFS {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return extOf(t, p)
}

// wantCopies fails the test unless a replay of fs writes what want says.
func wantCopies(t testing.TB, fs *extFS, want map[int64][]byte) {
	t.Helper()
	if fs.log == nil || len(fs.log.copies) != len(want) {
		t.Fatalf("got %+v, want %d copies", fs.log, len(want))
	}
	for block, p := range want {
		got := make([]byte, fs.blockSize)
		if err := fs.readBlock(got, block); err != nil || !bytes.Equal(got, p) {
			t.Errorf("block %d: got %x... (%v), want %x...", block, got[:16], err, p[:16])
		}
	}
}

// wantJournalDamage flips a bit in the journal's superblock and in each block
// of its first transaction: with checksums, none may go unnoticed.
func wantJournalDamage(t testing.TB, fs *extFS, path string) {
	t.Helper()
	if !fs.log.sums && !fs.log.oldSums {
		return
	}
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ block, offset int64 }{
		{0, 0x30}, {1, 20}, {1, fs.blockSize - 1}, {2, 0}, {3, 500}, {4, fs.blockSize - 1}, {5, 19},
	} {
		if tt.block == 0 && fs.log.oldSums {
			continue // which do not protect the superblock
		}
		block, err := fs.log.place(tt.block)
		if err != nil {
			t.Fatal(err)
		}
		p[block*fs.blockSize+tt.offset] ^= 4
		wantWhole(t, p, "checksum mismatch")
		p[block*fs.blockSize+tt.offset] ^= 4
	}
}

// TestExtJournalReplay puts all that changes when a file is written into the
// journal and nothing of it onto the disk, and lets e2fsck replay it.
func TestExtJournalReplay(t *testing.T) {
	lab.Tools(t, "mke2fs", "debugfs", "e2fsck")
	content := make([]byte, 300_000)
	for i := range content {
		content[i] = byte(i * i / 7)
	}
	source := tempFile(t, content)
	for _, form := range jbdForms {
		t.Run(form.name, func(t *testing.T) {
			before := extImage(t, form.mkfs)
			path := tempFile(t, before)
			debugfs(t, path, "write "+source+" marked")
			after, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			blocks, data := difference(before, after, int(extOf(t, after).blockSize))
			path = tempFile(t, before)
			debugfs(t, path, form.open, "jw -b "+strings.Join(blocks, ",")+" "+tempFile(t, data), "jc")

			m := extFile(t, path, Options{})
			if m.Whole || !m.Dirty {
				t.Fatalf("whole %v, dirty %v, notes %q", m.Whole, m.Dirty, m.Notes)
			}
			if more := m.Used.Minus(extBytes(t, before).Used).Size(); more < int64(len(content)) {
				t.Errorf("the journal adds %d bytes to the map", more)
			}
			lab.Garbage(t, path, int64(len(before)), m.Used)
			_ = exec.Command("e2fsck", "-fp", path).Run() // exit status 1: it has replayed
			lab.Run(t, "e2fsck", "-fn", path)
			if got := lab.Run(t, "debugfs", "-R", "cat marked", path); !strings.HasSuffix(got, string(content)) {
				t.Errorf("the file in the journal was lost: got %d bytes", len(got))
			}
		})
	}
}

// difference returns the numbers of blocks that differ between two volumes,
// and what is in them in the second one.
func difference(before, after []byte, blockSize int) (blocks []string, data []byte) {
	for at := 0; at < len(before); at += blockSize {
		if p := after[at:][:blockSize]; !bytes.Equal(before[at:][:blockSize], p) {
			blocks = append(blocks, strconv.Itoa(at/blockSize))
			data = append(data, p...)
		}
	}
	return blocks, data
}
