package partition

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// maxEBRs bounds the chain of logical partitions. Linux numbers no more than
// 255 partitions; no disk has nearly as many.
const maxEBRs = 128

// An ebr is the sector that stands before a logical partition: one entry for
// the partition and one for the way to the next EBR.
type ebr struct {
	lba    int64
	sector []byte
	data   int // slot of the logical partition, -1 if there is none
	link   int // slot of the link, -1 at the end of the chain
	number int // of the logical partition
}

// readMBR reads the table of a disk whose sector 0 tells of no GPT. It leaves
// t as it is if there is no MBR. The rules are those of [Read].
func (t *Table) readMBR(s *source, sector []byte) error {
	entries := decodeEntries(sector)
	if !hasBootSignature(sector) || isAIX(sector) || entries == [mbrEntries]mbrEntry{} {
		return nil
	}
	partitions, err := primaries(s, sector)
	if err == nil && len(partitions) == 0 {
		return nil
	}
	flags := checkFlags(entries)
	switch {
	case err != nil && flags != nil:
		return nil // these bytes are code
	case err != nil:
		return err
	case flags != nil:
		return flags
	case isBootSector(sector):
		return damaged("MBR: sector 0 is the boot sector of a file system as well")
	}
	t.Kind, t.ID, t.Partitions, t.mbr = MBR, diskSignature(sector), partitions, sector
	return t.readLogicals(s)
}

func diskSignature(sector []byte) string {
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sector[offMBRDisk:]))
}

// checkFlags returns an error if a boot indicator is neither 00 nor 80.
func checkFlags(entries [mbrEntries]mbrEntry) error {
	for i, e := range entries {
		if e.boot != bootInactive && e.boot != bootActive {
			return damaged("MBR: partition %d: boot indicator %02x", i+1, e.boot)
		}
	}
	return nil
}

// primaries returns the partitions of the MBR itself. They are on the disk,
// do not overlap, and at most one of them is extended: a second container,
// which Linux alone would read, is not supported.
func primaries(s *source, sector []byte) ([]Partition, error) {
	var out []Partition
	containers := 0
	for i, e := range decodeEntries(sector) {
		if !e.used() {
			continue
		}
		if err := e.check(s, e.start); err != nil {
			return nil, damaged("MBR: partition %d: %w", i+1, err)
		}
		if e.extended() {
			containers++
		}
		out = append(out, e.partition(s, e.start, i+1, diskSignature(sector)))
	}
	if containers > 1 {
		return nil, damaged("MBR: %d extended partitions", containers)
	}
	items := append(partitionItems(out), item{"the MBR", Extent{0, s.sector}})
	if err := disjoint("MBR", items); err != nil {
		return nil, err
	}
	return out, nil
}

// check looks at an entry whose partition begins at the absolute LBA start.
func (e mbrEntry) check(s *source, start int64) error {
	switch {
	case e.kind == 0:
		return fmt.Errorf("%d sectors of type 0x00", e.sectors)
	case e.kind == typeLDM:
		return errors.New("dynamic disk of Windows, whose own table is outside its partitions")
	case e.kind == gptProtective:
		return errors.New("type 0xee among logical partitions")
	case start+e.sectors > s.count():
		return fmt.Errorf("sectors %d to %d on a disk of %d", start, start+e.sectors-1, s.count())
	}
	return nil
}

// partition returns what the entry describes.
func (e mbrEntry) partition(s *source, start int64, number int, signature string) Partition {
	return Partition{
		Number:   number,
		Start:    start * s.sector,
		Size:     e.sectors * s.sector,
		Type:     fmt.Sprintf("0x%02x", e.kind),
		UUID:     fmt.Sprintf("%s-%02x", signature, number),
		Boot:     e.boot == bootActive,
		Extended: number <= mbrEntries && e.extended(),
		Logical:  number > mbrEntries,
	}
}

// container returns the extended partition, nil if there is none.
func (t *Table) container() *Partition {
	for i := range t.Partitions {
		if t.Partitions[i].Extended {
			return &t.Partitions[i]
		}
	}
	return nil
}

// readLogicals follows the chain of EBRs. The numbers are those of
// parse_extended in Linux' block/partitions/msdos.c: in the order of the
// chain from 5, an EBR without a partition uses none up.
func (t *Table) readLogicals(s *source) error {
	c := t.container()
	if c == nil {
		return nil
	}
	box := *c
	base := box.Start / s.sector
	seen := map[int64]bool{}
	for at, number := base, mbrEntries+1; ; {
		if seen[at] {
			return damaged("MBR: the chain of logical partitions comes back to sector %d", at)
		}
		if len(seen) == maxEBRs {
			return damaged("MBR: more than %d logical partitions", maxEBRs)
		}
		seen[at] = true
		e, err := readEBR(s, at, number)
		if err != nil {
			return err
		}
		if e.data >= 0 {
			p, err := e.logical(s, box, t.ID)
			if err != nil {
				return err
			}
			t.Partitions = append(t.Partitions, p)
			number++
		}
		t.ebrs = append(t.ebrs, e)
		if e.link < 0 {
			return t.checkInside(s)
		}
		at = base + decodeEntries(e.sector)[e.link].start
		if at >= box.End()/s.sector {
			return damaged("MBR: logical partition %d: its frame at sector %d is outside the extended partition", number, at)
		}
	}
}

// readEBR reads the EBR at lba. One of zeros ends the chain: the container is
// empty. Entries beyond the two that an EBR has are refused: Linux reads
// them, most others do not.
func readEBR(s *source, lba int64, number int) (ebr, error) {
	e := ebr{lba: lba, data: -1, link: -1, number: number}
	var err error
	if e.sector, err = s.sectors(lba, 1); err != nil {
		return e, err
	}
	if len(bytes.Trim(e.sector, "\x00")) == 0 {
		return e, nil
	}
	if !hasBootSignature(e.sector) {
		return e, damaged("MBR: logical partition %d: no EBR at sector %d", number, lba)
	}
	for i, entry := range decodeEntries(e.sector) {
		slot := &e.data
		if entry.extended() {
			slot = &e.link
		}
		if !entry.used() {
			continue
		}
		if i > 1 || *slot >= 0 {
			return e, damaged("MBR: logical partition %d: too many entries in the EBR at sector %d", number, lba)
		}
		*slot = i
	}
	return e, nil
}

// logical returns the partition of e, which must lie in the container.
func (e ebr) logical(s *source, box Partition, signature string) (p Partition, err error) {
	entry := decodeEntries(e.sector)[e.data]
	start := e.lba + entry.start
	if err := entry.check(s, start); err != nil {
		return p, damaged("MBR: logical partition %d: %w", e.number, err)
	}
	p = entry.partition(s, start, e.number, signature)
	if p.End() > box.End() {
		return p, damaged("MBR: logical partition %d: ends outside the extended partition", e.number)
	}
	return p, nil
}

// checkInside looks for overlaps within the container.
func (t *Table) checkInside(s *source) error {
	var items []item
	for _, e := range t.ebrs {
		items = append(items, item{fmt.Sprintf("the EBR at sector %d", e.lba), Extent{e.lba * s.sector, s.sector}})
	}
	for _, p := range t.Partitions {
		if p.Logical {
			items = append(items, partitionItems([]Partition{p})...)
		}
	}
	return disjoint("MBR", items)
}
