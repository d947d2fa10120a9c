package fsmap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"slipcast/partition"
)

const (
	// fatPiece is how much of each FAT is read at a time, in bytes. It holds
	// whole entries of 12, 16 and 32 bits.
	fatPiece = 3 << 16

	// fatMaxRoot bounds how much of a root directory is searched for the
	// label: 65536 entries of 32 bytes, the most that a directory may have.
	fatMaxRoot = 2 << 20
)

// A fatReader maps one FAT volume.
type fatReader struct {
	v *volume
	*fatBoot
	bits int64 // of an entry of the FAT
	m    *Map

	differ bool // the copies of the FAT are not the same
	errors bool // a driver has met a disk error
}

// readFAT maps FAT12, FAT16 and FAT32. In use is every cluster whose entry is
// not zero in any copy of the FAT, clusters that are marked bad included, and
// everything outside the clusters. A dirty volume is mapped like a clean one:
// the FAT is the only record of what belongs to a file, so a cluster that all
// copies call free holds nothing that any driver or fsck could still find.
func readFAT(v *volume) (*Map, error) {
	if v.size < fatBootSize {
		return nil, errNotMine
	}
	p, err := v.read(0, fatBootSize)
	if err != nil {
		return nil, err
	}
	boot, err := parseFATBoot(p)
	if err != nil {
		return nil, err
	}
	m := &Map{Type: "vfat", Label: fatLabel(boot.label), UUID: fatSerial(boot.serial),
		BlockSize: boot.clusterSize, Size: boot.size, Dirty: boot.dirty}
	if err := boot.check(v.size); err != nil {
		return m, err
	}
	f := &fatReader{v: v, fatBoot: boot, bits: boot.width(), m: m}
	return m, f.read()
}

// read fills the map of a volume whose boot sector has been checked.
func (f *fatReader) read() error {
	var b partition.Builder
	b.Add(0, f.dataStart())
	b.Add(f.backup, f.sectorSize)
	if err := f.addClusters(&b); err != nil {
		return err
	}
	tail := f.clusterAt(f.clusters() + 2)
	b.Add(tail, f.size-tail)
	f.m.Used = b.Extents()
	if f.wide && !f.m.Used.Covers(partition.Extent{Start: f.clusterAt(f.rootCluster), Length: f.clusterSize}) {
		return damaged("the root directory's cluster %d is marked free", f.rootCluster)
	}
	if label := f.rootLabel(); label != "" {
		f.m.Label = label
	}
	f.addNotes()
	return nil
}

func (f *fatReader) addNotes() {
	if f.m.Dirty {
		f.m.note("not cleanly unmounted")
	}
	if f.errors {
		f.m.note("marked as having had disk errors")
	}
	if f.differ {
		f.m.note("the copies of the FAT differ: what any of them has in use is kept")
	}
}

// clusterAt returns the offset of cluster n; the first one is number 2.
func (f *fatReader) clusterAt(n int64) int64 {
	return f.dataStart() + (n-2)*f.clusterSize
}

// addClusters reads all copies of the FAT side by side, piece by piece, and
// adds the clusters that are in use.
func (f *fatReader) addClusters(b *partition.Builder) error {
	total := ((f.clusters()+2)*f.bits + 7) / 8
	for at := int64(0); at < total; at += fatPiece {
		piece, err := f.readPiece(at, min(fatPiece, total-at))
		if err != nil {
			return err
		}
		first := at * 8 / f.bits
		last := min(first+int64(len(piece))*8/f.bits, f.clusters()+2)
		for n := max(first, 2); n < last; n++ {
			if f.entry(piece, n-first) != 0 {
				b.Add(f.clusterAt(n), f.clusterSize)
			}
		}
	}
	return nil
}

// readPiece returns n bytes of the FAT at offset at, the bits of all copies
// joined: an entry is zero if it is zero in each of them.
func (f *fatReader) readPiece(at, n int64) ([]byte, error) {
	joined := make([]byte, n)
	for i := range f.fats {
		p, err := f.v.read(f.reserved+int64(i)*f.fatSize+at, n)
		if err != nil {
			return nil, err
		}
		if at == 0 {
			if err := f.checkHead(p); err != nil {
				return nil, fmt.Errorf("FAT %d: %w", i, err)
			}
		}
		if i > 0 && !f.differ {
			f.differ = !bytes.Equal(joined, p)
		}
		for k := range p {
			joined[k] |= p[k]
		}
	}
	return joined, nil
}

// checkHead looks at the first two entries of a FAT. Number 0 repeats the
// media byte below bits that are all set; number 1 has the two bits that tell
// of a clean shutdown and of disk errors, except on FAT12.
func (f *fatReader) checkHead(p []byte) error {
	ones := uint32(1)<<min(f.bits, 28) - 1
	if e := f.entry(p, 0); e|0xFF != ones || e&0xF0 != 0xF0 {
		return damaged("it starts with %#x", e)
	}
	if f.bits == 12 {
		return nil
	}
	e := f.entry(p, 1)
	clean, noErrors := (ones+1)>>1, (ones+1)>>2
	f.m.Dirty = f.m.Dirty || e&clean == 0
	f.errors = f.errors || e&noErrors == 0
	return nil
}

// entry returns entry i of the piece p of a FAT. Of the 32 bits of an entry
// of FAT32 the upper four have no meaning.
func (f *fatReader) entry(p []byte, i int64) uint32 {
	switch f.bits {
	case 12:
		pair := uint32(binary.LittleEndian.Uint16(p[i*3/2:]))
		if i%2 == 1 {
			return pair >> 4
		}
		return pair & 0xFFF
	case 16:
		return uint32(binary.LittleEndian.Uint16(p[i*2:]))
	}
	return binary.LittleEndian.Uint32(p[i*4:]) & 0x0FFFFFFF
}

// rootLabel returns the name of the volume entry in the root directory, empty
// if there is none. What cannot be read has no label either.
func (f *fatReader) rootLabel() string {
	const volumeID, longName = 0x08, 0x0F
	for _, e := range f.rootExtents() {
		dir, err := f.v.read(e.Start, e.Length)
		if err != nil {
			return ""
		}
		for ; len(dir) >= 32 && dir[0] != 0; dir = dir[32:] {
			attr := dir[11] & 0x3F
			if dir[0] != 0xE5 && attr != longName && attr&volumeID != 0 {
				return fatLabel(string(dir[:11]))
			}
		}
		if len(dir) >= 32 {
			return "" // the end of the directory, before the end of its room
		}
	}
	return ""
}

// rootExtents returns where the root directory lies, at most fatMaxRoot bytes
// of it.
func (f *fatReader) rootExtents() []partition.Extent {
	if !f.wide {
		return []partition.Extent{{Start: f.rootStart(), Length: min(f.rootSize, fatMaxRoot)}}
	}
	var out []partition.Extent
	fat := f.reserved + int64(f.active)*f.fatSize
	for n, left := f.rootCluster, int64(fatMaxRoot); n >= 2 && n < f.clusters()+2 && left > 0; left -= f.clusterSize {
		out = append(out, partition.Extent{Start: f.clusterAt(n), Length: f.clusterSize})
		p, err := f.v.read(fat+4*n, 4)
		if err != nil {
			break
		}
		n = int64(f.entry(p, 0))
	}
	return out
}

// fatLabel trims a label and drops the one that stands for none. The byte
// 0x05 at its start stands for 0xE5, which would mark a deleted entry.
func fatLabel(s string) string {
	s = strings.TrimRight(s, " \x00")
	if s == "NO NAME" {
		return ""
	}
	if strings.HasPrefix(s, "\x05") {
		return "\xE5" + s[1:]
	}
	return s
}

// fatSerial formats a volume's serial number as it is used for a UUID.
func fatSerial(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%04X-%04X", n>>16, n&0xFFFF)
}
