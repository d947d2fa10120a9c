package partition

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// A Kind is a format of partition tables.
type Kind string

// The kinds of tables that [Read] tells apart.
const (
	GPT  Kind = "gpt"
	MBR  Kind = "mbr"
	None Kind = "none" // no table: an empty disk, or one file system on all of it
)

// ErrDamaged reports a partition table that cannot be trusted: it is damaged,
// contradicts itself, is one of two that claim the disk, or has parts that
// this package does not know. A disk with such a table is captured whole.
var ErrDamaged = errors.New("partition table not trusted")

// damaged returns an error that wraps ErrDamaged and says what is wrong.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// A Table is the partition table of one disk. Its fields describe it to
// people and to a manifest, and are not to be changed. It keeps the sectors
// that it is made of as they were read. It is safe for concurrent use.
type Table struct {
	Kind       Kind
	SectorSize int   // bytes of a logical sector
	Size       int64 // bytes of the disk

	// ID is the disk GUID of a GPT in upper case, as sgdisk prints it, or the
	// disk signature of an MBR as eight hex digits. It is empty without a
	// table.
	ID string

	// Partitions are in the order of their numbers.
	Partitions []Partition

	// Notes are remarks for people: lower case, no full stop.
	Notes []string

	raw  []Write // every sector of the table, in the order of reading
	gpt  *gpt    // of Kind GPT
	mbr  []byte  // sector 0, of Kind MBR
	ebrs []ebr   // of Kind MBR, in the order of their chain
}

// A Partition is one entry of a table.
type Partition struct {
	Number int   // as the Linux kernel counts: logical partitions from 5
	Start  int64 // offset of its first byte on the disk
	Size   int64 // bytes

	Type string // GPT: the type GUID in upper case; MBR: "0x83"
	UUID string // GPT: the unique GUID in upper case; MBR: "SIGNATURE-NN" as in PARTUUID
	Name string // GPT only

	Attributes uint64 // GPT only, UEFI 2.10 section 5.3.3, table 5.8

	Boot     bool // MBR: marked active
	Logical  bool // MBR: in the extended partition
	Extended bool // MBR: the container of the logical partitions
}

// End returns the offset of the first byte behind p.
func (p Partition) End() int64 { return p.Start + p.Size }

// Extent returns the bytes of p.
func (p Partition) Extent() Extent { return Extent{p.Start, p.Size} }

// Read finds the partition table of a disk of size bytes behind r. It keeps
// no reference to r. The sector size is 512, 1024, 2048 or 4096, or zero if it
// is unknown (the disk is a file): then a GPT tells it, and anything else is
// taken to have sectors of 512 bytes.
//
// The rules that tell a table from a file system without one follow the Linux
// kernel (block/partitions/efi.c and msdos.c) and are stricter:
//
//   - An entry of type 0xEE in a sector 0 that ends with 55 AA means GPT. If
//     neither copy of the GPT is intact, that is ErrDamaged.
//   - Otherwise a sector 0 that ends with 55 AA and has at least one entry is
//     an MBR if all its entries make sense together: known boot indicators,
//     on the disk, without overlap.
//   - If neither its entries nor its boot indicators make sense, those bytes
//     are the code of a boot sector, and the disk has no table.
//   - What can be read both ways is ErrDamaged: entries that make sense but
//     for a boot indicator or the other way round, entries that make sense in
//     the boot sector of a file system (FAT, exFAT, NTFS, BitLocker, ReFS), a
//     GPT without its entry in sector 0.
//   - An MBR without entries is no table, so that a file system on the whole
//     disk which leaves sector 0 to a boot loader is found.
//
// A disk without a table gives a Table of kind [None] and no error. An error
// wraps [ErrDamaged], unless it is one of r, or of the arguments.
func Read(r io.ReaderAt, size int64, sectorSize int) (*Table, error) {
	if sectorSize == 0 {
		var err error
		if sectorSize, err = findSectorSize(r, size); err != nil {
			return nil, err
		}
	}
	if !slices.Contains([]int{512, 1024, 2048, 4096}, sectorSize) {
		return nil, fmt.Errorf("sectors of %d bytes are not supported", sectorSize)
	}
	s := &source{r: r, size: size, sector: int64(sectorSize)}
	t := &Table{Kind: None, SectorSize: sectorSize, Size: size}
	if s.count() == 0 {
		return t, nil
	}
	if err := t.read(s); err != nil {
		return nil, err
	}
	if t.Kind != None {
		t.raw = s.seen
	}
	return t, nil
}

// read fills t, which says until then that there is no table.
func (t *Table) read(s *source) error {
	sector, err := s.sectors(0, 1)
	if err != nil {
		return err
	}
	if claim := gptClaim(sector); claim != noClaim {
		return t.readGPT(s, sector, claim)
	}
	if err := t.readMBR(s, sector); err != nil {
		return err
	}
	return t.checkOrphan(s)
}

// checkOrphan looks for a primary GPT on a disk whose sector 0 does not tell
// of one. Beside an MBR it is left from an earlier life, as the kernel and
// every firmware see it. Without an MBR nobody knows.
func (t *Table) checkOrphan(s *source) error {
	probe := &source{r: s.r, size: s.size, sector: s.sector}
	if c := readCopy(probe, primaryLBA); c.err != nil {
		return nil
	}
	if t.Kind == None {
		return damaged("GPT: no protective MBR")
	}
	t.note("MBR: the remains of a GPT are ignored")
	return nil
}

// findSectorSize returns the sector size with which a GPT makes sense, or 512
// if there is none. A table of one size hides that of another, unless both
// are on the disk.
func findSectorSize(r io.ReaderAt, size int64) (int, error) {
	s := &source{r: r, size: size, sector: minSector}
	if s.count() == 0 {
		return minSector, nil
	}
	sector, err := s.sectors(0, 1)
	if err != nil {
		return 0, err
	}
	if gptClaim(sector) == noClaim {
		return minSector, nil
	}
	for _, backup := range []bool{false, true} {
		switch found := sizesOfGPT(r, size, backup); len(found) {
		case 0: // no intact copy at this end of the disk
		case 1:
			return found[0], nil
		default:
			return 0, damaged("GPT: one table for sectors of %d bytes and one for %d", found[0], found[1])
		}
	}
	return minSector, nil
}

// sizesOfGPT returns the sector sizes for which the primary copy of a GPT is
// intact, or the backup at the end of the disk.
func sizesOfGPT(r io.ReaderAt, size int64, backup bool) []int {
	var found []int
	for _, sector := range []int64{minSector, maxSector} {
		s := &source{r: r, size: size, sector: sector}
		lba := int64(primaryLBA)
		if backup {
			lba = s.count() - 1
		}
		if c := readCopy(s, lba); c.err == nil {
			found = append(found, int(sector))
		}
	}
	return found
}

func (t *Table) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// Sectors returns every byte that the table is made of: sector 0, both
// headers and entry arrays of a GPT, the first sector of every logical
// partition's frame (EBR) of an MBR. No byte of a partition is among them.
func (t *Table) Sectors() Extents {
	var all, parts []Extent
	for _, w := range t.raw {
		all = append(all, w.extent())
	}
	for _, p := range t.Partitions {
		if !p.Extended {
			parts = append(parts, p.Extent())
		}
	}
	return Normalize(all).Minus(Normalize(parts))
}

// Raw returns the contents of [Table.Sectors], one Write for each extent.
// [ReadRaw] makes the same table of them.
func (t *Table) Raw() []Write {
	var out []Write
	for _, e := range t.Sectors() {
		w := Write{Offset: e.Start, Data: make([]byte, e.Length)}
		rawReader(t.raw).fill(w.Data, w.Offset)
		out = append(out, w)
	}
	return out
}

// ReadRaw is [Read] for a disk of which nothing but the sectors of its table
// is at hand, as [Table.Raw] returns them; all others count as zeros.
func ReadRaw(raw []Write, size int64, sectorSize int) (*Table, error) {
	return Read(rawReader(raw), size, sectorSize)
}
