package fsmap

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"os"
	"os/exec"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

func TestNTFSNames(t *testing.T) {
	lab.Tools(t, "blkid")
	path := makeNTFS(t, 4<<20, "-L", "Größe 盘", "-c", "1024")
	m := readNTFSFile(t, path, Options{})
	wantNTFSMapped(t, m)
	for tag, got := range map[string]string{"TYPE": m.Type, "LABEL": m.Label, "UUID": m.UUID} {
		if want := strings.TrimSpace(lab.Run(t, "blkid", "-p", "-s", tag, "-o", "value", path)); got != want {
			t.Errorf("%s: got %q, want %q", tag, got, want)
		}
	}
	if m.BlockSize != 1024 || m.Size != 4<<20 {
		t.Errorf("got clusters of %d and a size of %d, want 1024 and %d", m.BlockSize, m.Size, 4<<20)
	}
}

func TestNTFSAttributeLists(t *testing.T) {
	lab.Tools(t, "ntfsresize")
	plain := loadNTFS(t, makeNTFS(t, 16<<20, "-c", "512"))
	for _, resident := range []bool{true, false} {
		name := map[bool]string{true: "list in the record", false: "list in a cluster"}[resident]
		t.Run("$Bitmap, "+name, func(t *testing.T) {
			im := plain.clone()
			im.scatterBitmap(resident)
			wantNTFSUse(t, im)
		})
		t.Run("$MFT, "+name, func(t *testing.T) {
			im := plain.clone()
			im.splitMFT(resident)
			wantNTFSUse(t, im)
		})
		t.Run("both, "+name, func(t *testing.T) {
			im := plain.clone()
			im.splitMFT(resident)
			im.scatterBitmap(resident) // its records are in the second half of the MFT
			wantNTFSUse(t, im)
		})
	}
}

// splitMFT gives the MFT a second part, in record 15, from record 16 on.
func (im *ntfsImage) splitMFT(resident bool) {
	im.t.Helper()
	mft := im.fs().mft
	const cut = 32 // clusters of 512 bytes, two to a record
	run := mft.runs[0]
	if len(mft.runs) != 1 {
		im.t.Fatalf("the MFT is in %d pieces", len(mft.runs))
	}
	im.scatter(ntfsFileMFT, [][]ntfsRun{
		{{0, run.lcn, cut}},
		{{cut, run.lcn + cut, run.length - cut}},
	}, []int64{ntfsFileMFT, 15}, resident)
}

// wantNTFSUse checks that the map of im has the bits of $Bitmap as ntfscat
// reads it, and that ntfsresize agrees, which compares them with the run
// lists of all files. After that, it cannot resize a $Bitmap in many pieces.
func wantNTFSUse(t *testing.T, im *ntfsImage) {
	t.Helper()
	path := im.save()
	out, err := exec.Command("ntfsresize", "--info", "--force", "--no-progress-bar", path).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "Highly fragmented $Bitmap isn't supported") {
		t.Errorf("ntfsresize: %v\n%s", err, out)
	}
	m := im.read(Options{})
	wantNTFSMapped(t, m)
	bitmap := []byte(lab.Run(t, "ntfscat", "-i", "6", path))
	for cluster := range m.Size / m.BlockSize {
		want := bitmap[cluster/8]>>(cluster%8)&1 == 1 || cluster < ntfsBootArea/m.BlockSize
		e := partition.Extent{Start: cluster * m.BlockSize, Length: m.BlockSize}
		if tail := cluster*m.BlockSize >= m.Size-512; !tail && m.Used.Covers(e) != want {
			t.Fatalf("cluster %d: got %t, want %t", cluster, !want, want)
		}
	}
}

func TestNTFSBrokenAttributeLists(t *testing.T) {
	good := loadNTFS(t, makeNTFS(t, 16<<20, "-c", "512"))
	good.splitMFT(true)
	good.scatterBitmap(true)
	tests := []struct {
		name   string
		record int64
		change func(im *ntfsImage, record []byte)
	}{
		{"record that is free", 17, func(_ *ntfsImage, p []byte) { p[22] = 0 }},
		{"record used by another file", 17, func(_ *ntfsImage, p []byte) { p[32] = 5 }},
		{"record with another sequence number", 17, func(_ *ntfsImage, p []byte) { p[16]++ }},
		{"record with another number", 17, func(_ *ntfsImage, p []byte) { p[44]++ }},
		{"part without its attribute", 17, func(_ *ntfsImage, p []byte) { setNTFSAttrs(p) }},
		{"part at another place", 17, changeNTFSAttr(ntfsData, 16, 1)},
		{"part that is too short", 17, changeNTFSAttr(ntfsData, 24, 0)},
		{"list with an entry of no length", 6, changeNTFSAttr(ntfsAttributeList, 24+4, 0)},
		{"list with an entry beyond its end", 6, changeNTFSAttr(ntfsAttributeList, 24+5, 9)},
		{"list whose parts are out of order", 6, changeNTFSAttr(ntfsAttributeList, 24+3*32+8, 1)},
		{"list with a record beyond the MFT", 6, changeNTFSAttr(ntfsAttributeList, 24+3*32+17, 0xFF)},
		{"MFT whose second part is in itself", 0, changeNTFSAttr(ntfsAttributeList, 24+3*32+16, 16)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im := good.clone()
			p := im.record(tt.record)
			tt.change(im, p)
			im.putRecord(tt.record, p)
			wantNTFSWhole(t, im.read(Options{}), int64(len(im.p)), "damaged")
		})
	}
}

// changeNTFSAttr returns a change of one byte of an attribute.
func changeNTFSAttr(kind uint32, offset int, to byte) func(*ntfsImage, []byte) {
	return func(im *ntfsImage, record []byte) {
		at, _ := rawNTFSAttr(im.t, record, kind)
		if record[at+offset] == to {
			im.t.Fatalf("byte %d of attribute %#x is %#x already", offset, kind, to)
		}
		record[at+offset] = to
	}
}

func TestNTFSDirtyFlag(t *testing.T) {
	im := loadNTFS(t, makeNTFS(t, 4<<20, "-L", "lab"))
	p := im.record(ntfsFileVolume)
	changeNTFSAttr(ntfsVolumeInformation, 24+10, 1)(im, p)
	im.putRecord(ntfsFileVolume, p)
	m := im.read(Options{})
	wantNTFSWhole(t, m, int64(len(im.p)), "marked dirty")
	if !m.Dirty || m.Type != "ntfs" || m.Label != "lab" {
		t.Errorf("got dirty %t, type %q, label %q", m.Dirty, m.Type, m.Label)
	}
}

func TestNTFSLog(t *testing.T) {
	const clean, inUse, none = 2, 0, 0xFFFF
	empty := bytes.Repeat([]byte{0xFF}, 4096)
	torn := ntfsRestartPage(9, 1, none, 0)
	torn[1023]++
	checked := ntfsRestartPage(9, 1, none, 0)
	copy(checked, "CHKD")
	tests := []struct {
		name          string
		first, second []byte
		clean         bool
	}{
		{"empty", empty, empty, true},
		{"dismounted by Windows XP or later", ntfsRestartPage(7, 1, inUse, clean), ntfsRestartPage(6, 1, inUse, clean), true},
		{"dismounted by Windows 2000", ntfsRestartPage(7, 1, none, 0), ntfsRestartPage(7, 1, none, 0), true},
		{"older page not clean", ntfsRestartPage(7, 1, inUse, clean), ntfsRestartPage(6, 1, inUse, 0), true},
		{"older page is the first", ntfsRestartPage(6, 1, inUse, 0), ntfsRestartPage(7, 1, inUse, clean), true},
		{"second page never written", ntfsRestartPage(7, 1, inUse, clean), empty, true},
		{"page by chkdsk", checked, checked, true},
		{"in use", ntfsRestartPage(7, 1, inUse, 0), ntfsRestartPage(6, 1, inUse, 0), false},
		{"newer page in use", ntfsRestartPage(6, 1, inUse, clean), ntfsRestartPage(7, 1, inUse, 0), false},
		{"newer page is the first", ntfsRestartPage(7, 1, inUse, 0), ntfsRestartPage(6, 1, inUse, clean), false},
		{"equally old pages", ntfsRestartPage(7, 1, inUse, clean), ntfsRestartPage(7, 1, inUse, 0), false},
		{"version 2", ntfsRestartPage(7, 2, inUse, clean), ntfsRestartPage(6, 2, inUse, clean), false},
		{"only the second page", empty, ntfsRestartPage(7, 1, inUse, clean), false},
		{"first page torn", torn, ntfsRestartPage(7, 1, inUse, clean), false},
		{"second page torn", ntfsRestartPage(7, 1, inUse, clean), torn, false},
		{"zeros", make([]byte, 4096), make([]byte, 4096), false},
	}
	good := loadNTFS(t, makeNTFS(t, 4<<20))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im := good.clone()
			im.putLog(tt.first, tt.second)
			m := im.read(Options{})
			if tt.clean {
				wantNTFSMapped(t, m)
				return
			}
			wantNTFSWhole(t, m, int64(len(im.p)), "the log holds changes")
			if !m.Dirty {
				t.Error("got a clean map, want a dirty one")
			}
		})
	}
}

// TestNTFSLogAsOthers checks the restart pages of these tests against
// ntfs-3g, which refuses to write to what it finds unclean.
func TestNTFSLogAsOthers(t *testing.T) {
	lab.Tools(t, "ntfs-3g.probe")
	good := loadNTFS(t, makeNTFS(t, 4<<20))
	for _, clean := range []bool{true, false} {
		im := good.clone()
		flags := map[bool]uint16{true: ntfsLogClean}[clean]
		im.putLog(ntfsRestartPage(7, 1, 0, flags), ntfsRestartPage(6, 1, 0, flags))
		out, err := exec.Command("ntfs-3g.probe", "--readwrite", im.save()).CombinedOutput()
		if (err == nil) != clean {
			t.Errorf("clean %t: ntfs-3g.probe: %v\n%s", clean, err, out)
		}
		if m := im.read(Options{}); m.Whole == clean {
			t.Errorf("clean %t: got whole %t", clean, m.Whole)
		}
	}
}

func TestNTFSHibernated(t *testing.T) {
	for _, name := range []string{"hiberfil.sys", "HiberFil.SYS"} {
		for _, head := range []string{"hibr", "HIBR", "RSTR", "wake", "WAKE", "\x00\x00\x00\x00", "????"} {
			t.Run(name+" "+head, func(t *testing.T) {
				path := makeNTFS(t, 8<<20)
				putNTFS(t, path, name, append([]byte(head), make([]byte, 100000)...))
				m := readNTFSFile(t, path, Options{SkipSwapfiles: true})
				if !strings.Contains("hibr rstr", strings.ToLower(head)) {
					wantNTFSMapped(t, m)
					return
				}
				wantNTFSWhole(t, m, 8<<20, "shut it down with shutdown /s /f /t 0")
				if !m.Dirty {
					t.Error("got a clean map, want a dirty one")
				}
			})
		}
	}
}

func TestNTFSHibernatedSmallFile(t *testing.T) {
	path := makeNTFS(t, 8<<20)
	putNTFS(t, path, "hiberfil.sys", []byte("hibr")) // in its record
	wantNTFSWhole(t, readNTFSFile(t, path, Options{}), 8<<20, "hibernated")
	path = makeNTFS(t, 8<<20)
	putNTFS(t, path, "hiberfil.sys", nil)
	wantNTFSMapped(t, readNTFSFile(t, path, Options{SkipSwapfiles: true}))
}

func TestNTFSSkipSwapfiles(t *testing.T) {
	path := makeNTFS(t, 32<<20, "-c", "4096")
	manyNTFSNames(t, path, 100)
	contents := bytes.Repeat([]byte("swapped out "), 1<<18) // 3 MiB
	wake := append([]byte("WAKE"), contents...)
	putNTFS(t, path, "pagefile.sys", contents)
	putNTFS(t, path, "hiberfil.sys", wake)
	putNTFS(t, path, "swapfile.sys", contents[:1<<20])
	putNTFS(t, path, "pagefile.sys.bak", contents)
	all, some := readNTFSFile(t, path, Options{}), readNTFSFile(t, path, Options{SkipSwapfiles: true})
	wantNTFSMapped(t, all)
	wantNTFSMapped(t, some)
	want := []string{"left out hiberfil.sys (2.9 MiB)", "left out pagefile.sys (2.9 MiB)", "left out swapfile.sys (0.9 MiB)"}
	if got := strings.Join(some.Notes, "; "); got != strings.Join(want, "; ") {
		t.Errorf("got notes %q, want %q", got, want)
	}
	if len(all.Notes) > 0 {
		t.Errorf("without the option: got notes %q", all.Notes)
	}
	// Three files without their first 64 KiB; hiberfil.sys ends in one cluster more.
	left := all.Used.Minus(some.Used)
	if got, want := left.Size(), int64(3*len(contents)-len(contents)+1<<20-3*ntfsSwapHead+4096); got != want {
		t.Errorf("left out %d bytes, want %d", got, want)
	}
	if len(some.Used.Minus(all.Used)) > 0 {
		t.Error("the option adds to the map")
	}
	lab.Garbage(t, path, 32<<20, some.Used)
	checkNTFS(t, path)
	if got := lab.Run(t, "ntfscat", path, "pagefile.sys.bak"); got != string(contents) {
		t.Error("pagefile.sys.bak changed")
	}
	if got := lab.Run(t, "ntfscat", path, "hiberfil.sys"); len(got) != len(wake) || got[:ntfsSwapHead] != string(wake[:ntfsSwapHead]) {
		t.Error("the head of hiberfil.sys changed")
	}
}

func TestNTFSSwapfilesKept(t *testing.T) {
	contents := bytes.Repeat([]byte("swapped out "), 1<<14)
	tests := []struct {
		name, note string
		prepare    func(t *testing.T, path string)
	}{
		{"crash dump", "kept pagefile.sys: it holds a crash dump", func(t *testing.T, path string) {
			putNTFS(t, path, "pagefile.sys", append([]byte("PAGEDU64"), contents...))
		}},
		{"unknown hibernation file", "kept hiberfil.sys: it has unknown contents", func(t *testing.T, path string) {
			putNTFS(t, path, "hiberfil.sys", contents)
		}},
		{"two of them", "kept pagefile.sys: there are several", func(t *testing.T, path string) {
			putNTFS(t, path, "pagefile.sys", contents)
			putNTFS(t, path, "PAGEFILE.sys", contents)
		}},
		{"no larger than its head", "", func(t *testing.T, path string) {
			putNTFS(t, path, "pagefile.sys", contents[:ntfsSwapHead])
		}},
		{"only a stream of another name", "", func(t *testing.T, path string) {
			putNTFS(t, path, "pagefile.sys", contents[:5])
			putNTFS(t, path, "pagefile.sys", contents, "-N", "stream")
		}},
		{"sparse", "kept pagefile.sys: it is sparse", changeNTFSSwapfile(contents, ntfsData, 13, 0x80)},
		{"compressed", "", changeNTFSSwapfile(contents, ntfsData, 12, 1)},
		{"encrypted", "", changeNTFSSwapfile(contents, ntfsData, 13, 0x40)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := makeNTFS(t, 8<<20)
			tt.prepare(t, path)
			all, some := readNTFSFile(t, path, Options{}), readNTFSFile(t, path, Options{SkipSwapfiles: true})
			wantNTFSMapped(t, some)
			if left := all.Used.Minus(some.Used); len(left) > 0 {
				t.Errorf("left out %v", left)
			}
			if got := strings.Join(some.Notes, "; "); !strings.HasPrefix(got, tt.note) || tt.note == "" && got != "" {
				t.Errorf("got notes %q, want %q", got, tt.note)
			}
		})
	}
}

// changeNTFSSwapfile returns a function that makes a page file and changes one
// byte of one of its attributes.
func changeNTFSSwapfile(contents []byte, kind uint32, offset int, to byte) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		putNTFS(t, path, "pagefile.sys", contents)
		im := loadNTFS(t, path)
		number := ntfsSwapfileRecord(im)
		p := im.record(number)
		changeNTFSAttr(kind, offset, to)(im, p)
		im.putRecord(number, p)
		if err := os.WriteFile(path, im.p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func ntfsSwapfileRecord(im *ntfsImage) int64 {
	im.t.Helper()
	swap, err := im.fs().findSwapfiles()
	if err != nil || len(swap) != 1 {
		im.t.Fatalf("got %d files, %v, want one", len(swap), err)
	}
	return swap[0].file.base.number
}

func TestNTFSSwapfileOverOthers(t *testing.T) {
	path := makeNTFS(t, 8<<20)
	putNTFS(t, path, "pagefile.sys", make([]byte, 300000))
	good := loadNTFS(t, path)
	number := ntfsSwapfileRecord(good)
	runs := good.stream(number, ntfsData, "").runs
	if len(runs) != 1 {
		t.Fatalf("got runs %v, want one", runs)
	}
	mft := good.fs().mft.runs[0].lcn
	for name, lcn := range map[string]int64{
		"the MFT":       mft - 20,
		"free clusters": good.freeCluster(0, runs[0].length),
	} {
		t.Run(name, func(t *testing.T) {
			im := good.clone()
			p := im.record(number)
			at, length := rawNTFSAttr(t, p, ntfsData)
			pairs := encodeRuns([]ntfsRun{{0, max(lcn, 0), runs[0].length}})
			copy(p[at+64:at+length], append(pairs, 0, 0))
			im.putRecord(number, p)
			wantNTFSMapped(t, im.read(Options{}))
			wantNTFSWhole(t, im.read(Options{SkipSwapfiles: true}), int64(len(im.p)), "pagefile.sys")
		})
	}
}

func TestNTFSDamage(t *testing.T) {
	path := makeNTFS(t, 8<<20, "-c", "4096")
	manyNTFSNames(t, path, 30)
	good := loadNTFS(t, path)
	size := int64(len(good.p))
	zero := func(at, n int64) func(*ntfsImage) {
		return func(im *ntfsImage) { clear(im.p[at : at+n]) }
	}
	bitmap := good.place(good.stream(ntfsFileBitmap, ntfsData, ""), 0)
	index := good.place(good.stream(ntfsFileRoot, ntfsIndexAllocation, ntfsNames), 0)
	mirror := good.stream(ntfsFileMirror, ntfsData, "").runs[0].lcn
	tests := []struct {
		name, reason string
		change       func(*ntfsImage)
	}{
		{"no boot sector", "unknown contents", zero(0, 512)},
		{"other OEM name", "unknown contents", func(im *ntfsImage) { copy(im.p[3:], "NTFX") }},
		{"no boot signature", "unknown contents", zero(510, 2)},
		{"FAT fields", "unknown contents", func(im *ntfsImage) { im.p[16] = 2 }},
		{"neither MFT nor mirror", "unknown contents", func(im *ntfsImage) {
			clear(im.p[im.recordAt(0):][:512])
			clear(im.p[mirror*4096:][:512])
		}},
		{"impossible sector size", "unknown contents", func(im *ntfsImage) { im.p[11] = 1 }},
		{"impossible record size", "damaged", zero(64, 1)},
		{"no sectors", "damaged", zero(40, 8)},
		{"more sectors than the volume", "damaged", func(im *ntfsImage) { im.p[43] = 1 }},
		{"too many sectors to count", "damaged", func(im *ntfsImage) { im.p[46] = 0xFF }},
		{"MFT elsewhere", "damaged", func(im *ntfsImage) { copy(im.p[48:56], im.p[56:64]) }},
		{"zeroed MFT", "damaged", zero(good.recordAt(0), 1024)},
		{"torn record", "damaged", func(im *ntfsImage) { im.p[im.recordAt(6)+510]++ }},
		{"zeroed $Bitmap record", "damaged", zero(good.recordAt(6), 1024)},
		{"zeroed $Volume record", "damaged", zero(good.recordAt(3), 1024)},
		{"zeroed $LogFile record", "damaged", zero(good.recordAt(2), 1024)},
		{"zeroed root directory", "damaged", zero(good.recordAt(5), 1024)},
		{"zeroed index block", "damaged", zero(index, 4096)},
		{"zeroed bitmap", "$Bitmap calls clusters free", zero(bitmap, 256)},
		{"mirror marked free", "$Bitmap calls clusters free", func(im *ntfsImage) {
			im.setBits(im.stream(ntfsFileBitmap, ntfsData, ""), mirror, 1, false)
		}},
		{"unknown version", "unknown version 9.1", changeNTFSRecord(ntfsFileVolume, ntfsVolumeInformation, 24+8, 9)},
		{"no volume information", "damaged", changeNTFSRecord(ntfsFileVolume, ntfsVolumeInformation, 0, 0x71)},
		{"short bitmap", "damaged", changeNTFSRecord(ntfsFileBitmap, ntfsData, 49, 0)},
		{"compressed bitmap", "damaged", changeNTFSRecord(ntfsFileBitmap, ntfsData, 12, 1)},
		{"bitmap of negative size", "damaged", changeNTFSRecord(ntfsFileBitmap, ntfsData, 55, 0x80)},
		{"index of something else", "damaged", changeNTFSRecord(ntfsFileRoot, ntfsIndexRoot, 32, 0x10)},
		{"index blocks of no size", "damaged", changeNTFSRecord(ntfsFileRoot, ntfsIndexRoot, 32+9, 0)},
	}
	wantNTFSMapped(t, good.read(Options{}))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im := good.clone()
			tt.change(im)
			wantNTFSWhole(t, im.read(Options{}), size, tt.reason)
		})
	}
}

// changeNTFSRecord returns a change of one byte of an attribute of record number.
func changeNTFSRecord(number int64, kind uint32, offset int, to byte) func(*ntfsImage) {
	return func(im *ntfsImage) {
		p := im.record(number)
		changeNTFSAttr(kind, offset, to)(im, p)
		im.putRecord(number, p)
	}
}

func TestNTFSTruncated(t *testing.T) {
	good := loadNTFS(t, makeNTFS(t, 4<<20))
	for _, size := range []int{4<<20 - 1024, 2 << 20, 20000, 16384, 512, 100, 0} {
		im := &ntfsImage{t, good.p[:size]}
		wantNTFSWhole(t, im.read(Options{}), int64(size), "")
	}
	im := &ntfsImage{t, good.p[:4<<20-512]} // without the backup of the boot sector
	wantNTFSMapped(t, im.read(Options{}))
}

// TestNTFSTail checks that what lies behind the last cluster is kept, and
// what $Bitmap says of clusters that do not exist is not.
func TestNTFSTail(t *testing.T) {
	path := makeNTFS(t, 8<<20+3*4096+1536, "-c", "65536")
	im := loadNTFS(t, path)
	im.p = append(im.p, bytes.Repeat([]byte("behind"), 1000)...)
	m := im.read(Options{})
	wantNTFSMapped(t, m)
	if m.Size != 8<<20+3*4096+1536 {
		t.Errorf("got size %d", m.Size)
	}
	end := (m.Size - 512) / 65536 * 65536
	if tail := (partition.Extent{Start: end, Length: int64(len(im.p)) - end}); !m.Used.Covers(tail) || m.Used.End() != tail.End() {
		t.Errorf("got %v, want %v in it", m.Used, tail)
	}
	if m.Used.Touches(partition.Extent{Start: end - 65536, Length: 65536}) {
		t.Errorf("got %v, want the last cluster free", m.Used)
	}
}

// TestNTFSBitFlips inverts every byte of what a map depends on. The map is
// then the same, larger or whole. There are no checksums in NTFS, so some
// fields can lie: they are listed.
func TestNTFSBitFlips(t *testing.T) {
	path := makeNTFS(t, 1<<20+1<<19, "-c", "512")
	manyNTFSNames(t, path, 10)
	good := loadNTFS(t, path)
	want := good.read(Options{})
	wantNTFSMapped(t, want)
	lies := map[int64]string{}
	bitmap := good.recordAt(ntfsFileBitmap)
	raw := good.record(ntfsFileBitmap)
	at, _ := rawNTFSAttr(t, raw, ntfsData)
	for i := range int64(8) {
		lies[bitmap+int64(at)+56+i] = "initialized size: $Bitmap reads as zeros behind it"
	}
	var places []int64
	for i := range int64(512) {
		places = append(places, i)
	}
	for _, number := range []int64{0, 1, 2, 3, 5, 6, 7} {
		used := binary.LittleEndian.Uint32(good.record(number)[24:])
		for i := range max(int64(used), ntfsStride) {
			places = append(places, good.recordAt(number)+i)
		}
	}
	v := &volume{ctx: t.Context(), r: bytes.NewReader(good.p), size: int64(len(good.p))}
	for _, at := range places {
		good.p[at] ^= 0xFF
		m, err := readNTFS(v)
		if missing := want.Used.Minus(v.finish(cmp.Or(m, &Map{})).Used); err == nil && len(missing) > 0 && lies[at] == "" {
			t.Errorf("byte %d inverted: the map lacks %v", at, missing)
		}
		good.p[at] ^= 0xFF
	}
}

// TestNTFSUninitialized checks that $Bitmap reads as zeros behind its
// initialized size, and where it has a hole.
func TestNTFSUninitialized(t *testing.T) {
	im := loadNTFS(t, makeNTFS(t, 16<<20, "-c", "512"))
	bitmap := im.stream(ntfsFileBitmap, ntfsData, "")
	last := bitmap.next - 1 // nothing is used there
	garbage := im.p[im.place(bitmap, last*512):][:512]
	before := im.read(Options{})
	for i := range garbage {
		garbage[i] = 0x55
	}
	if m := im.read(Options{}); m.Used.Size() <= before.Used.Size() {
		t.Fatal("the last cluster of $Bitmap is not read")
	}
	p := im.record(ntfsFileBitmap)
	at, length := rawNTFSAttr(t, p, ntfsData)
	initialized := bytes.Clone(p)
	binary.LittleEndian.PutUint64(initialized[at+56:], uint64(last*512))
	hole := p
	run := bitmap.runs[0]
	copy(hole[at+64:at+length], encodeRuns([]ntfsRun{{0, run.lcn, last}, {last, ntfsHole, 1}}))
	for name, record := range map[string][]byte{"initialized size": initialized, "hole": hole} {
		im.putRecord(ntfsFileBitmap, record)
		m := im.read(Options{})
		// The cluster that has become a hole is marked as used, so only the bits count.
		if got, want := m.Used.Size(), before.Used.Size(); m.Whole || got != want {
			t.Errorf("%s: got %d bytes, notes %q, want %d", name, got, m.Notes, want)
		}
	}
}
