package partition

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// The layout of an MBR and of an EBR, as in UEFI 2.10 section 5.2.1.
const (
	offMBRDisk    = 440 // disk signature
	offMBREntries = 446
	mbrEntries    = 4
	mbrEntrySize  = 16
	offMBRSign    = 510 // 55 AA, with sectors of any size

	offEntryEndCHS  = 5
	offEntrySectors = 12
)

const (
	bootInactive = 0x00
	bootActive   = 0x80
	typeLDM      = 0x42 // Windows dynamic disk
)

// An mbrEntry is one of the four entries of an MBR or EBR.
type mbrEntry struct {
	boot    byte
	kind    byte  // type
	start   int64 // LBA, in an EBR relative
	sectors int64
}

// used reports whether the entry describes anything: for the kernel, one with
// a size does.
func (e mbrEntry) used() bool { return e.sectors != 0 }

// extended reports whether the entry is the container of logical partitions,
// or in an EBR the link to the next one.
func (e mbrEntry) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

func decodeEntries(sector []byte) (out [mbrEntries]mbrEntry) {
	for i := range out {
		p := entryAt(sector, i)
		out[i] = mbrEntry{
			boot:    p[0],
			kind:    p[4],
			start:   int64(binary.LittleEndian.Uint32(p[8:])),
			sectors: int64(binary.LittleEndian.Uint32(p[offEntrySectors:])),
		}
	}
	return out
}

// entryAt returns the bytes of entry slot of an MBR or EBR.
func entryAt(sector []byte, slot int) []byte {
	return sector[offMBREntries+slot*mbrEntrySize:][:mbrEntrySize]
}

func hasBootSignature(sector []byte) bool {
	return sector[offMBRSign] == 0x55 && sector[offMBRSign+1] == 0xaa
}

// isAIX recognizes the label of AIX ("IBMA" in EBCDIC), which the kernel does
// not take for an MBR either.
func isAIX(sector []byte) bool {
	return bytes.HasPrefix(sector, []byte{0xc9, 0xc2, 0xd4, 0xc1})
}

// isBootSector reports whether sector begins like the boot sector of a file
// system: the name of one where the OEM name is, or a BIOS parameter block
// whose fields fit each other (Microsoft, FAT specification of 2005, section
// 3.1).
func isBootSector(sector []byte) bool {
	for _, name := range []string{"NTFS    ", "EXFAT   ", "-FVE-FS-", "ReFS\x00\x00\x00\x00"} {
		if string(sector[3:11]) == name {
			return true
		}
	}
	size := binary.LittleEndian.Uint16(sector[11:])
	cluster, fats, media := sector[13], sector[16], sector[21]
	reserved := binary.LittleEndian.Uint16(sector[14:])
	return slices.Contains([]uint16{512, 1024, 2048, 4096}, size) &&
		cluster != 0 && cluster&(cluster-1) == 0 &&
		reserved != 0 && (fats == 1 || fats == 2) &&
		(media == 0xf0 || media >= 0xf8)
}

// An item is something on the disk that may not overlap another.
type item struct {
	name string
	Extent
}

func partitionItems(partitions []Partition) []item {
	var out []item
	for _, p := range partitions {
		out = append(out, item{fmt.Sprintf("partition %d", p.Number), p.Extent()})
	}
	return out
}

// disjoint returns an error if two of the items, which belong to a table of
// the named kind, share a byte.
func disjoint(kind string, items []item) error {
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.Start, b.Start) })
	for i := 1; i < len(items); i++ {
		if items[i].Start < items[i-1].End() {
			return damaged("%s: %s overlaps %s", kind, items[i].name, items[i-1].name)
		}
	}
	return nil
}

// setEntry changes the number of sectors of an entry that begins at the
// absolute LBA start, and its end in cylinders, heads and sectors.
func setEntry(p []byte, start, sectors int64) {
	binary.LittleEndian.PutUint32(p[offEntrySectors:], uint32(sectors))
	setEndCHS(p[offEntryEndCHS:offEntryEndCHS+3], start+sectors-1)
}

// setEndCHS writes lba in the geometry of 255 heads and 63 sectors that every
// BIOS uses for disks of more than 8 GB. What does not fit becomes FE FF FF.
// A field that says nothing (zeros, or FF FF FF) goes on saying nothing.
func setEndCHS(p []byte, lba int64) {
	const heads, sectors, cylinders = 255, 63, 1024
	if v := [3]byte(p); v == [3]byte{} || v == [3]byte{0xff, 0xff, 0xff} {
		return
	}
	cylinder, head, sector := lba/(heads*sectors), lba/sectors%heads, lba%sectors+1
	if cylinder >= cylinders {
		cylinder, head, sector = cylinders-1, heads-1, sectors
	}
	p[0], p[1], p[2] = byte(head), byte(sector|cylinder>>8<<6), byte(cylinder)
}
