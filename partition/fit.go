package partition

import "math"

// alignment is where the end of a partition is put that changes its size.
const alignment = 1 << 20

// tailSize returns how many bytes at the end of the disk belong to the table.
func (t *Table) tailSize() int64 {
	if t.Kind != GPT {
		return 0
	}
	sector := int64(t.SectorSize)
	return (t.gpt.base.arraySectors(sector) + 1) * sector
}

// needed returns how many bytes from the start of p must remain: whole
// sectors, at least one.
func (t *Table) needed(p *Partition, need map[int]int64) int64 {
	n, ok := need[p.Number]
	if !ok || n >= p.Size {
		return p.Size
	}
	sector := int64(t.SectorSize)
	return max((n+sector-1)/sector, 1) * sector
}

// last returns the partition that ends behind all others, which alone can
// change its size, and the end of everything else on the disk that stays
// where it is. It returns nil if something else comes last: an EBR.
func (t *Table) last() (last *Partition, floor int64) {
	floor = t.fixedEnd()
	for i := range t.Partitions {
		p := &t.Partitions[i]
		switch {
		case p.Extended:
			continue // its EBRs and partitions count
		case last == nil || p.End() > last.End():
			if last != nil {
				floor = max(floor, last.End())
			}
			last = p
		default:
			floor = max(floor, p.End())
		}
	}
	if last != nil && floor > last.Start {
		return nil, max(floor, last.End())
	}
	return last, floor
}

// fixedEnd returns the end of what is neither a partition nor at the end of
// the disk: sector 0 and the EBRs, or the primary GPT.
func (t *Table) fixedEnd() int64 {
	sector := int64(t.SectorSize)
	if t.Kind == GPT {
		return t.gpt.base.first * sector
	}
	end := sector
	for _, e := range t.ebrs {
		end = max(end, (e.lba+1)*sector)
	}
	return end
}

// A change is the new end of the last partition.
type change struct {
	part *Partition // as it was; nil if nothing changes
	end  int64
}

// grows reports whether the partition becomes larger.
func (c change) grows() bool { return c.part != nil && c.end > c.part.End() }

// endOf returns where p ends after the change.
func (c change) endOf(p *Partition) int64 {
	if c.part != nil && c.part.Number == p.Number {
		return c.end
	}
	return p.End()
}

// fit decides how the last partition changes. The disk is large enough.
func (t *Table) fit(o PlaceOptions) change {
	last, _ := t.last()
	if t.Kind == None || last == nil {
		return change{}
	}
	hard := t.wholeSectors(o.Size) - t.tailSize()
	if last.End() > hard {
		return change{last, alignEnd(hard, last.Start+t.needed(last, o.Need))}
	}
	if end := t.growthLimit(o.Size) / alignment * alignment; o.Grow && end > last.End() {
		return change{last, end}
	}
	return change{}
}

// wholeSectors returns size without the bytes behind the last whole sector.
func (t *Table) wholeSectors(size int64) int64 { return size - size%int64(t.SectorSize) }

// growthLimit returns where a partition ends at the latest that grows: at the
// last usable sector of a GPT, at the last sector whose number an MBR can
// hold.
func (t *Table) growthLimit(size int64) int64 {
	sector := int64(t.SectorSize)
	if t.Kind == GPT {
		return (t.gpt.lastUsable(size/sector-1) + 1) * sector
	}
	return min(t.wholeSectors(size), (math.MaxUint32+1)*sector)
}

// alignEnd returns the last boundary up to limit, or limit if that would be
// less than least.
func alignEnd(limit, least int64) int64 {
	if end := limit / alignment * alignment; end >= least {
		return end
	}
	return limit
}
