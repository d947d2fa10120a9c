package fsmap

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"unicode/utf16"

	"slipcast/partition"
)

// Directory entries of the root directory, section 6 and 7 of the exFAT
// specification. All have 32 bytes; a type of zero ends the directory.
const (
	exfatEntrySize = 32
	exfatBitmap    = 0x81
	exfatUpcase    = 0x82
	exfatLabel     = 0x83

	// exfatMaxDirectory bounds the root directory: 8388608 entries, in bytes.
	exfatMaxDirectory = 256 << 20

	// exfatPiece is how much of a cluster chain is read at a time, in bytes.
	exfatPiece = 1 << 20
)

// An exfatReader maps one exFAT volume.
type exfatReader struct {
	v *volume
	*exfatBoot
	m *Map

	page   []byte // the part of the FAT that was read last
	pageAt int64  // its number, in pages

	bitmaps []exfatFile
	upcase  []exfatFile
}

// An exfatFile is a structure that the root directory points to.
type exfatFile struct {
	first  int64 // cluster
	length int64 // bytes
}

// readExFAT maps exFAT by its allocation bitmap. Only the bitmap tells what
// is in use: files in one piece have no entries in the FAT. For the same
// reason a volume that is marked dirty is captured whole. Drivers write
// bitmap, FAT and directories in no order that could be relied on, so a file
// may be in its directory and not yet in the bitmap; fsck finds it by the
// directory, but the FAT does not know it either.
func readExFAT(v *volume) (*Map, error) {
	if v.size < exfatRegions*512 {
		return nil, errNotMine
	}
	p, err := v.read(0, 512)
	if err != nil {
		return nil, err
	}
	boot, err := parseExFATBoot(p)
	if errors.Is(err, errNotMine) {
		return nil, err
	}
	m := &Map{Type: "exfat"}
	if err != nil {
		return m, err
	}
	m.UUID, m.BlockSize, m.Size, m.Dirty = fatSerial(boot.serial), boot.clusterSize, boot.size, boot.dirty
	if err := boot.check(v.size); err != nil {
		return m, err
	}
	x := &exfatReader{v: v, exfatBoot: boot, m: m, pageAt: -1}
	return m, x.read()
}

// read fills the map of a volume whose layout has been checked.
func (x *exfatReader) read() error {
	if err := x.checkBootRegion(x.v, 0); err != nil {
		return err
	}
	if err := x.checkBootRegion(x.v, exfatBootSectors*x.sectorSize); err != nil {
		x.m.note("backup: %v", err)
	}
	if x.failed {
		x.m.note("marked as having had disk errors")
	}
	root, err := x.readRoot()
	if err != nil {
		return err
	}
	if x.dirty {
		return errors.New("not cleanly unmounted, so the bitmap may lack files")
	}
	if x.m.Used, err = x.readBitmaps(); err != nil {
		return err
	}
	return x.checkInUse(root)
}

// readRoot looks through the root directory for label, bitmaps and up-case
// table and returns where the directory lies.
func (x *exfatReader) readRoot() ([]partition.Extent, error) {
	room := min(x.clusters*x.clusterSize, max(exfatMaxDirectory, x.clusterSize))
	root, err := x.chain(exfatFile{x.root, room}, false)
	if err != nil {
		return nil, err
	}
	err = x.eachPiece(root, func(p []byte) bool {
		for ; len(p) >= exfatEntrySize; p = p[exfatEntrySize:] {
			if p[0] == 0 {
				return false
			}
			x.rootEntry(p)
		}
		return true
	})
	return root, err
}

// rootEntry notes what a directory entry points to.
func (x *exfatReader) rootEntry(p []byte) {
	file := exfatFile{int64(binary.LittleEndian.Uint32(p[20:])), int64(binary.LittleEndian.Uint64(p[24:]))}
	switch p[0] {
	case exfatBitmap:
		if len(x.bitmaps) <= 2 { // a third one is refused later
			x.bitmaps = append(x.bitmaps, file)
		}
	case exfatUpcase:
		x.upcase = []exfatFile{file}
	case exfatLabel:
		x.m.Label = exfatName(p[2:], int(p[1]))
	}
}

// exfatName decodes n units of UTF-16, at most the 11 of a volume label.
func exfatName(p []byte, n int) string {
	units := make([]uint16, min(n, 11))
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(p[2*i:])
	}
	return string(utf16.Decode(units))
}

// chain follows the FAT from a file's first cluster. The chain must have as
// many clusters as the length needs; if exact is false it may be shorter.
func (x *exfatReader) chain(file exfatFile, exact bool) ([]partition.Extent, error) {
	if file.length <= 0 || file.length > x.clusters*x.clusterSize {
		return nil, damaged("a file of %d bytes at cluster %d", file.length, file.first)
	}
	const endOfChain = 0xFFFFFFFF
	var out []partition.Extent
	n := file.first
	for left := file.length; left > 0 && (exact || n != endOfChain); left -= x.clusterSize {
		if !x.has(n) {
			return nil, damaged("a chain from cluster %d leads to cluster %d of %d", file.first, n, x.clusters)
		}
		out = exfatAppend(out, partition.Extent{Start: x.clusterAt(n), Length: x.clusterSize})
		next, err := x.next(n)
		if err != nil {
			return nil, err
		}
		n = next
	}
	if n != endOfChain {
		return nil, damaged("the chain from cluster %d does not end after %d bytes", file.first, file.length)
	}
	return out, nil
}

// exfatAppend appends e to the extents of a file, in the file's order.
func exfatAppend(list []partition.Extent, e partition.Extent) []partition.Extent {
	if n := len(list); n > 0 && list[n-1].End() == e.Start {
		list[n-1].Length += e.Length
		return list
	}
	return append(list, e)
}

// next returns the entry of cluster n in the active FAT. It keeps the page
// that it read, because most chains run forwards.
func (x *exfatReader) next(n int64) (int64, error) {
	const perPage = 128 // entries, as many as the smallest sector holds
	if page := n / perPage; page != x.pageAt {
		p, err := x.v.read(x.fatStart+x.active*x.fatSize+page*4*perPage, 4*perPage)
		if err != nil {
			return 0, err
		}
		x.page, x.pageAt = p, page
	}
	return int64(binary.LittleEndian.Uint32(x.page[n%perPage*4:])), nil
}

// eachPiece calls do with the contents of the extents, piece by piece, until
// it returns false.
func (x *exfatReader) eachPiece(extents []partition.Extent, do func(p []byte) bool) error {
	for _, e := range extents {
		for at := e.Start; at < e.End(); at += exfatPiece {
			p, err := x.v.read(at, min(exfatPiece, e.End()-at))
			if err != nil {
				return err
			}
			if !do(p) {
				return nil
			}
		}
	}
	return nil
}

// readBitmaps returns what is in use: everything outside the clusters, and
// the clusters whose bit is set in any bitmap. TexFAT has two bitmaps, one for
// each FAT, of which one is that of an unfinished transaction.
func (x *exfatReader) readBitmaps() (partition.Extents, error) {
	if len(x.bitmaps) == 0 || int64(len(x.bitmaps)) > x.fats {
		return nil, damaged("%d allocation bitmaps for %d FATs", len(x.bitmaps), x.fats)
	}
	var b partition.Builder
	b.Add(0, x.heapStart)
	tail := x.clusterAt(x.clusters + 2)
	b.Add(tail, x.size-tail)
	for _, file := range x.bitmaps {
		if file.length < (x.clusters+7)/8 {
			return nil, damaged("an allocation bitmap of %d bytes for %d clusters", file.length, x.clusters)
		}
		extents, err := x.chain(file, true)
		if err != nil {
			return nil, err
		}
		n := int64(2) // the cluster that the next bit stands for
		err = x.eachPiece(extents, func(p []byte) bool {
			x.addBits(&b, p, n)
			n += 8 * int64(len(p))
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return b.Extents(), nil
}

// addBits adds the clusters whose bits are set in p, lowest bit first. The
// first bit stands for cluster n. Bits behind the last cluster mean nothing.
func (x *exfatReader) addBits(b *partition.Builder, p []byte, n int64) {
	for i, c := range p {
		for ; c != 0; c &= c - 1 {
			cluster := n + 8*int64(i) + int64(bits.TrailingZeros8(c))
			if x.has(cluster) {
				b.Add(x.clusterAt(cluster), x.clusterSize)
			}
		}
	}
}

// checkInUse makes sure that the bitmap covers itself, the up-case table and
// the root directory.
func (x *exfatReader) checkInUse(root []partition.Extent) error {
	needed := root
	if len(x.upcase) == 0 {
		return damaged("no up-case table")
	}
	for _, file := range append(x.bitmaps, x.upcase...) {
		extents, err := x.chain(file, true)
		if err != nil {
			return err
		}
		needed = append(needed, extents...)
	}
	for _, e := range needed {
		if !x.m.Used.Covers(e) {
			return damaged("the bitmap calls clusters free at %v, where metadata is", e)
		}
	}
	return nil
}
