package fsmap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// makeNTFS formats a file of size bytes.
func makeNTFS(t testing.TB, size int64, args ...string) string {
	t.Helper()
	lab.Tools(t, "mkfs.ntfs", "ntfscp")
	path := lab.File(t, size)
	lab.Run(t, "mkfs.ntfs", append(append([]string{"-q", "-F", "-Q"}, args...), path)...)
	return path
}

// putNTFS copies contents to a file in the root directory of the image at
// path.
func putNTFS(t testing.TB, path, name string, contents []byte, args ...string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, contents, 0o600); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "ntfscp", append(append([]string{"-q", "-f"}, args...), path, source, name)...)
}

// readNTFSFile maps the image at path.
func readNTFSFile(t testing.TB, path string, opt Options) *Map {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Read(t.Context(), f, info.Size(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wantNTFSMapped fails the test unless m is the map of a clean NTFS.
func wantNTFSMapped(t testing.TB, m *Map) {
	t.Helper()
	if m.Type != "ntfs" || m.Whole || m.Dirty {
		t.Fatalf("got type %q, whole %t, dirty %t, notes %q; want a map of a clean ntfs", m.Type, m.Whole, m.Dirty, m.Notes)
	}
}

// wantNTFSWhole fails the test unless m covers the volume, and says why.
func wantNTFSWhole(t testing.TB, m *Map, size int64, reason string) {
	t.Helper()
	if !m.Whole || !m.Used.Covers(partition.Extent{Length: size}) {
		t.Fatalf("got whole %t, used %v; want all of %d", m.Whole, m.Used, size)
	}
	if notes := strings.Join(m.Notes, "; "); !strings.Contains(notes, reason) {
		t.Errorf("got notes %q, want %q in them", notes, reason)
	}
}

// An ntfsImage is an NTFS in memory, to be changed by tests.
type ntfsImage struct {
	t testing.TB
	p []byte
}

// loadNTFS reads the image at path.
func loadNTFS(t testing.TB, path string) *ntfsImage {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return &ntfsImage{t: t, p: p}
}

func (im *ntfsImage) clone() *ntfsImage { return &ntfsImage{im.t, bytes.Clone(im.p)} }

// save writes the image to a file, for programs.
func (im *ntfsImage) save() string {
	im.t.Helper()
	path := filepath.Join(im.t.TempDir(), "image")
	if err := os.WriteFile(path, im.p, 0o600); err != nil {
		im.t.Fatal(err)
	}
	return path
}

func (im *ntfsImage) read(opt Options) *Map {
	im.t.Helper()
	m, err := Read(im.t.Context(), bytes.NewReader(im.p), int64(len(im.p)), opt)
	if err != nil {
		im.t.Fatal(err)
	}
	return m
}

// fs opens the file system in the image.
func (im *ntfsImage) fs() *ntfs {
	im.t.Helper()
	v := &volume{ctx: im.t.Context(), r: bytes.NewReader(im.p), size: int64(len(im.p))}
	boot, err := decodeNTFSBoot(im.p[:512])
	if err != nil {
		im.t.Fatal(err)
	}
	fs, err := openNTFS(v, boot)
	if err != nil {
		im.t.Fatal(err)
	}
	return fs
}

// stream returns an attribute of file number.
func (im *ntfsImage) stream(number int64, kind uint32, name string) *ntfsStream {
	im.t.Helper()
	f, err := im.fs().open(number)
	if err != nil {
		im.t.Fatal(err)
	}
	s, err := f.stream(kind, name)
	if err != nil {
		im.t.Fatal(err)
	}
	return s
}

// place returns where offset off of s lies in the image.
func (im *ntfsImage) place(s *ntfsStream, off int64) int64 {
	im.t.Helper()
	size := s.fs.clusterSize
	for _, r := range s.runs {
		if within := off - r.vcn*size; within >= 0 && within < r.length*size && r.lcn != ntfsHole {
			return r.lcn*size + within
		}
	}
	im.t.Fatalf("no cluster for offset %d", off)
	return 0
}

// recordAt returns where record number is in the image. The record must not
// be split by the end of a run.
func (im *ntfsImage) recordAt(number int64) int64 {
	fs := im.fs()
	return im.place(fs.mft, number*fs.recordSize)
}

// record returns the raw record with its fixups undone.
func (im *ntfsImage) record(number int64) []byte {
	im.t.Helper()
	at := im.recordAt(number)
	p := bytes.Clone(im.p[at : at+im.fs().recordSize])
	if err := undoFixups(p, "FILE"); err != nil {
		im.t.Fatalf("record %d: %v", number, err)
	}
	return p
}

// putRecord writes a record that record returned or newRecord made, and its
// mirror if it has one.
func (im *ntfsImage) putRecord(number int64, p []byte) {
	im.t.Helper()
	p = bytes.Clone(p)
	redoFixups(p)
	mirror := im.stream(ntfsFileMirror, ntfsData, "")
	copy(im.p[im.recordAt(number):], p)
	if off := number * int64(len(p)); off < mirror.size {
		copy(im.p[im.place(mirror, off):], p)
	}
}

// redoFixups protects a structure again.
func redoFixups(p []byte) {
	at := int(binary.LittleEndian.Uint16(p[4:]))
	for i := range len(p) / ntfsStride {
		tail := p[(i+1)*ntfsStride-2 : (i+1)*ntfsStride]
		copy(p[at+2+2*i:at+4+2*i], tail)
		copy(tail, p[at:at+2])
	}
}

// rawNTFSAttr returns offset and length of the first attribute of that type.
func rawNTFSAttr(t testing.TB, record []byte, kind uint32) (at, length int) {
	t.Helper()
	at = int(binary.LittleEndian.Uint16(record[20:]))
	for binary.LittleEndian.Uint32(record[at:]) != ntfsAttributesEnd {
		length = int(binary.LittleEndian.Uint32(record[at+4:]))
		if binary.LittleEndian.Uint32(record[at:]) == kind {
			return at, length
		}
		at += length
	}
	t.Fatalf("no attribute %#x", kind)
	return 0, 0
}

// setNTFSAttrs replaces the attributes of a raw record.
func setNTFSAttrs(record []byte, attrs ...[]byte) {
	at := int(binary.LittleEndian.Uint16(record[20:]))
	clear(record[at:])
	for _, a := range attrs {
		at += copy(record[at:], a)
	}
	binary.LittleEndian.PutUint32(record[at:], ntfsAttributesEnd)
	binary.LittleEndian.PutUint32(record[24:], uint32(at+8))
}

// newRecord makes an empty further record of the file whose first record is
// base.
func (im *ntfsImage) newRecord(number int64, base []byte, baseNumber int64) []byte {
	p := make([]byte, len(base))
	copy(p, "FILE")
	le := binary.LittleEndian
	le.PutUint16(p[4:], 48)
	le.PutUint16(p[6:], uint16(len(p)/ntfsStride+1))
	le.PutUint16(p[16:], 1) // sequence number
	le.PutUint16(p[20:], 72)
	le.PutUint16(p[22:], 1) // in use
	le.PutUint32(p[28:], uint32(len(p)))
	copy(p[32:], rawNTFSRef(baseNumber, le.Uint16(base[16:])))
	le.PutUint16(p[40:], 1)
	le.PutUint32(p[44:], uint32(number))
	le.PutUint16(p[48:], 1) // update sequence number
	setNTFSAttrs(p)
	return p
}

func rawNTFSRef(number int64, sequence uint16) []byte {
	return binary.LittleEndian.AppendUint64(nil, uint64(number)|uint64(sequence)<<48)
}

// rawNTFSMapped makes an unnamed attribute that is in clusters.
func rawNTFSMapped(kind uint32, runs []ntfsRun, clusterSize, size int64) []byte {
	pairs := encodeRuns(runs)
	p := make([]byte, (64+len(pairs)+7)&^7)
	le := binary.LittleEndian
	last := runs[len(runs)-1]
	le.PutUint32(p, kind)
	le.PutUint32(p[4:], uint32(len(p)))
	p[8] = 1
	le.PutUint16(p[10:], 64)
	le.PutUint16(p[14:], 8) // instance
	le.PutUint64(p[16:], uint64(runs[0].vcn))
	le.PutUint64(p[24:], uint64(last.vcn+last.length-1))
	le.PutUint16(p[32:], 64)
	if runs[0].vcn == 0 {
		allocated := (size + clusterSize - 1) / clusterSize * clusterSize
		le.PutUint64(p[40:], uint64(allocated))
		le.PutUint64(p[48:], uint64(size))
		le.PutUint64(p[56:], uint64(size))
	}
	copy(p[64:], pairs)
	return p
}

// rawNTFSValue makes an unnamed attribute whose value is in the record.
func rawNTFSValue(kind uint32, value []byte) []byte {
	p := make([]byte, (24+len(value)+7)&^7)
	le := binary.LittleEndian
	le.PutUint32(p, kind)
	le.PutUint32(p[4:], uint32(len(p)))
	le.PutUint16(p[10:], 24)
	le.PutUint16(p[14:], 9) // instance
	le.PutUint32(p[16:], uint32(len(value)))
	le.PutUint16(p[20:], 24)
	copy(p[24:], value)
	return p
}

// rawNTFSListEntry makes an entry of an attribute list. lowest is zero unless a
// further part of the attribute is meant.
func rawNTFSListEntry(attr []byte, lowest int64, ref []byte) []byte {
	p := make([]byte, 32)
	copy(p, attr[:4])
	binary.LittleEndian.PutUint16(p[4:], uint16(len(p)))
	p[7] = 26
	binary.LittleEndian.PutUint64(p[8:], uint64(lowest))
	copy(p[16:], ref)
	copy(p[24:26], attr[14:16])
	return p
}

// encodeRuns is the inverse of decodeRuns, with numbers as short as possible.
func encodeRuns(runs []ntfsRun) []byte {
	var p []byte
	last := int64(0)
	for _, r := range runs {
		length := ntfsShortest(r.length)
		var place []byte
		if r.lcn != ntfsHole {
			place = ntfsShortest(r.lcn - last)
			last = r.lcn
		}
		p = append(p, byte(len(place)<<4|len(length)))
		p = append(append(p, length...), place...)
	}
	return append(p, 0)
}

// ntfsShortest encodes n in two's complement.
func ntfsShortest(n int64) []byte {
	var p []byte
	for {
		p = append(p, byte(n))
		rest := n >> 8
		if rest == 0 && n&0x80 == 0 || rest == -1 && n&0x80 != 0 {
			return p
		}
		n = rest
	}
}

// setBits marks count clusters (or records) from first on in the bitmap s, or
// clears them.
func (im *ntfsImage) setBits(s *ntfsStream, first, count int64, used bool) {
	im.t.Helper()
	for i := first; i < first+count; i++ {
		p := &im.p[im.place(s, i/8)]
		*p &^= 1 << (i % 8)
		if used {
			*p |= 1 << (i % 8)
		}
	}
}

// freeCluster returns the first cluster from first on that is free, as are
// the count-1 behind it.
func (im *ntfsImage) freeCluster(first, count int64) int64 {
	im.t.Helper()
	fs := im.fs()
	used, err := fs.readBitmap(im.stream(ntfsFileBitmap, ntfsData, ""))
	if err != nil {
		im.t.Fatal(err)
	}
	for ; first+count <= fs.clusters; first++ {
		if !used.Touches(partition.Extent{Start: first * fs.clusterSize, Length: count * fs.clusterSize}) {
			return first
		}
	}
	im.t.Fatal("the image is full")
	return 0
}

// scatter gives file number an attribute list that spreads its unnamed $DATA
// over the given records, runs[i] in records[i]. The runs must hold the data
// already. A record number that is the file's own stands for its first
// record. The list is in the record itself or in a cluster of its own.
func (im *ntfsImage) scatter(number int64, runs [][]ntfsRun, records []int64, resident bool) {
	im.t.Helper()
	data := im.stream(number, ntfsData, "")
	clusterSize := data.fs.clusterSize
	base := im.record(number)
	var kept [][]byte // by type
	var list []byte
	for _, kind := range []uint32{0x10, 0x30, 0x50, ntfsData, ntfsIndexBitmap} {
		if kind == ntfsData {
			for i, record := range records {
				attr := rawNTFSMapped(kind, runs[i], clusterSize, data.size)
				ref := rawNTFSRef(record, 1)
				if record == number {
					ref = rawNTFSRef(number, binary.LittleEndian.Uint16(base[16:]))
					kept = append(kept, attr)
				} else {
					p := im.newRecord(record, base, number)
					setNTFSAttrs(p, attr)
					im.putRecord(record, p)
					im.setBits(im.stream(ntfsFileMFT, ntfsIndexBitmap, ""), record, 1, true)
				}
				list = append(list, rawNTFSListEntry(attr, runs[i][0].vcn, ref)...)
			}
			continue
		}
		if attr := findNTFSAttr(base, kind); attr != nil {
			kept = append(kept, attr)
			list = append(list, rawNTFSListEntry(attr, 0, rawNTFSRef(number, binary.LittleEndian.Uint16(base[16:])))...)
		}
	}
	lcn := im.freeCluster(100, 1)
	listAttr := rawNTFSValue(ntfsAttributeList, list)
	if !resident {
		copy(im.p[lcn*clusterSize:], list)
		listAttr = rawNTFSMapped(ntfsAttributeList, []ntfsRun{{0, lcn, 1}}, clusterSize, int64(len(list)))
		binary.LittleEndian.PutUint16(listAttr[14:], 9)
	}
	setNTFSAttrs(base, slices.Insert(kept, 1, listAttr)...)
	im.putRecord(number, base)
	if !resident {
		im.setBits(im.stream(ntfsFileBitmap, ntfsData, ""), lcn, 1, true)
	}
}

// findNTFSAttr returns a copy of the first attribute of that type, nil if there is
// none.
func findNTFSAttr(record []byte, kind uint32) []byte {
	at := int(binary.LittleEndian.Uint16(record[20:]))
	for binary.LittleEndian.Uint32(record[at:]) != ntfsAttributesEnd {
		length := int(binary.LittleEndian.Uint32(record[at+4:]))
		if binary.LittleEndian.Uint32(record[at:]) == kind {
			return bytes.Clone(record[at : at+length])
		}
		at += length
	}
	return nil
}

// scatterBitmap moves $Bitmap to single clusters in descending order, two to
// a record.
func (im *ntfsImage) scatterBitmap(resident bool) {
	im.t.Helper()
	bitmap := im.stream(ntfsFileBitmap, ntfsData, "")
	fs := bitmap.fs
	contents := make([]byte, bitmap.next*fs.clusterSize)
	if err := bitmap.readClusters(contents, 0); err != nil {
		im.t.Fatal(err)
	}
	var runs [][]ntfsRun
	var records []int64
	for vcn := range bitmap.next {
		lcn := fs.clusters - 100 - 7*vcn
		if vcn%2 == 0 {
			runs = append(runs, nil)
			records = append(records, 16+vcn/2) // nobody uses records 16 to 23
		}
		runs[vcn/2] = append(runs[vcn/2], ntfsRun{vcn, lcn, 1})
	}
	for _, r := range slices.Concat(runs...) {
		im.setBits(bitmap, r.lcn, 1, true)
	}
	for _, r := range bitmap.runs {
		im.setBits(bitmap, r.lcn, r.length, false)
	}
	if err := bitmap.readClusters(contents, 0); err != nil {
		im.t.Fatal(err)
	}
	for _, r := range slices.Concat(runs...) {
		copy(im.p[r.lcn*fs.clusterSize:], contents[r.vcn*fs.clusterSize:(r.vcn+1)*fs.clusterSize])
	}
	im.scatter(ntfsFileBitmap, runs, records, resident)
}

// ntfsRestartPage makes a restart page of $LogFile.
func ntfsRestartPage(lsn uint64, major, client, flags uint16) []byte {
	p := make([]byte, 4096)
	le := binary.LittleEndian
	copy(p, "RSTR")
	le.PutUint16(p[4:], 30)
	le.PutUint16(p[6:], 9)
	le.PutUint32(p[16:], 4096)
	le.PutUint32(p[20:], 4096)
	le.PutUint16(p[24:], 48)
	le.PutUint16(p[26:], 2-major) // 1.1 and 2.0
	le.PutUint16(p[28:], major)
	le.PutUint16(p[30:], 5) // update sequence number
	area := p[48:]
	le.PutUint64(area, lsn)
	le.PutUint16(area[8:], 1)
	le.PutUint16(area[10:], 0xFFFF-client) // free if not in use
	le.PutUint16(area[12:], client)
	le.PutUint16(area[14:], flags)
	le.PutUint32(area[16:], 67-21) // bits of a sequence number, for a log of 1 MiB
	le.PutUint16(area[20:], 48+160)
	le.PutUint16(area[22:], 48)
	le.PutUint64(area[24:], 1<<20)
	le.PutUint16(area[36:], 48)
	le.PutUint16(area[38:], 64)
	record := area[48:]
	le.PutUint16(record[16:], 0xFFFF)
	le.PutUint16(record[18:], 0xFFFF)
	le.PutUint32(record[28:], 8)
	copy(record[32:], "N\x00T\x00F\x00S\x00")
	redoFixups(p)
	return p
}

// putLog writes pages to the start of $LogFile.
func (im *ntfsImage) putLog(pages ...[]byte) {
	im.t.Helper()
	log := im.stream(ntfsFileLog, ntfsData, "")
	for i, p := range pages {
		copy(im.p[im.place(log, int64(i*4096)):], p)
	}
}

// manyNTFSNames fills the root directory so that its index needs several blocks.
func manyNTFSNames(t testing.TB, path string, count int) {
	t.Helper()
	for i := range count {
		putNTFS(t, path, fmt.Sprintf("a file whose name is rather long, number %d", i), []byte("x"))
	}
}
