package partition

import "fmt"

// A Write is a run of bytes for one place of the disk.
type Write struct {
	Offset int64
	Data   []byte
}

func (w Write) extent() Extent { return Extent{w.Offset, int64(len(w.Data))} }

// PlaceOptions tell [Table.Place] about the disk that is to get the table.
type PlaceOptions struct {
	Size int64 // of the disk in bytes; its sectors are as large as the table's

	// Grow extends the last partition by its place on the disk to the end of
	// the usable space, down to a boundary of 1 MiB. The container of a
	// logical partition grows with it. Nothing grows that would have to
	// be cut.
	Grow bool

	// Need says by partition number how many bytes from its start a partition
	// has to keep: the last one by its place is cut to no less if the disk is
	// too small for all of it. A partition that is not in the map keeps all.
	Need map[int]int64
}

// A Placement is a table for another disk.
type Placement struct {
	// Writes put the table onto the disk, in the order in which they must
	// reach it: of a GPT the backup entries and header, the primary entries
	// and header, of an MBR the EBRs from the last to the first, then
	// sector 0. Each must be flushed before the next. On a disk
	// without a table, every moment before the last write shows either
	// no table that [Read] accepts or this one. On a disk that still has
	// another GPT it may show that one as well.
	Writes []Write

	// Table is what Read finds afterwards.
	Table *Table

	// Grown and Cut are the partition that became larger or smaller, as it is
	// in Table; nil if there is none.
	Grown, Cut *Partition
}

// A TooSmallError reports a disk that is too small for a table.
type TooSmallError struct {
	Size int64 // of the disk in bytes
	Min  int64 // bytes that the table needs, see [Table.MinSize]
}

func (e *TooSmallError) Error() string {
	return fmt.Sprintf("a disk of %d bytes is too small, the partitions need %d", e.Size, e.Min)
}

// Place returns the same table for a disk of another size. What need not
// change stays as it was to the byte, boot code and reserved bytes included:
//
//   - A GPT gets its backup at the end of the disk, at the distance from the
//     last usable sector that it had. The size in a protective MBR is adjusted
//     if it was right, or the largest there is if the disk is larger than
//     2^32 sectors; any other MBR (a hybrid one) is kept as it is.
//   - An MBR changes only where a partition or the extended one changes.
//
// If the size is the same, nothing grows and both copies of a GPT are intact,
// the Writes are the sectors as they were read. A damaged copy of a GPT is
// made again from the good one, its backup at the end of the disk.
//
// Place returns a [TooSmallError] if the disk has less than MinSize bytes. A
// disk without a table has nothing to place, and fits everywhere. The Writes
// share no memory with t.
func (t *Table) Place(o PlaceOptions) (*Placement, error) {
	if least := t.MinSize(o.Need); o.Size < least || o.Size < 0 {
		return nil, &TooSmallError{Size: o.Size, Min: least}
	}
	c := t.fit(o)
	p := &Placement{}
	switch t.Kind {
	case GPT:
		p.Writes = t.placeGPT(o.Size, c)
	case MBR:
		p.Writes = t.placeMBR(o.Size, c)
	}
	var err error
	if p.Table, err = ReadRaw(p.Writes, o.Size, t.SectorSize); err != nil {
		return nil, fmt.Errorf("placing the partition table on a disk of %d bytes: %w", o.Size, err)
	}
	p.Grown, p.Cut = p.Table.compare(c)
	return p, nil
}

// MinSize returns the size in bytes of the smallest disk that [Table.Place]
// accepts with this need, a multiple of the sector size. It is zero without a
// table.
func (t *Table) MinSize(need map[int]int64) int64 {
	if t.Kind == None {
		return 0
	}
	last, floor := t.last()
	switch {
	case last != nil:
		floor = max(floor, last.Start+t.needed(last, need))
	case t.Kind == GPT: // no partition, but the header must name a usable sector
		floor += int64(t.SectorSize)
	}
	return floor + t.tailSize()
}

// compare returns the partition of t that a change was about, as the one that
// has grown or was cut.
func (t *Table) compare(c change) (grown, cut *Partition) {
	if c.part == nil {
		return nil, nil
	}
	for i := range t.Partitions {
		if p := &t.Partitions[i]; p.Number == c.part.Number && c.grows() {
			return p, nil
		} else if p.Number == c.part.Number {
			return nil, p
		}
	}
	return nil, nil
}
