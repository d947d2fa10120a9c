package partition

import (
	"bytes"
	"encoding/binary"
	"math"
)

// placeGPT returns the sectors of the table for a disk of size bytes.
func (t *Table) placeGPT(size int64, c change) []Write {
	g := t.gpt
	if size == t.Size && c.part == nil && g.intact() {
		return g.writes(int64(t.SectorSize))
	}
	return g.moved(t, size, c).writes(int64(t.SectorSize))
}

// writes returns the sectors of g in the order in which they are written.
func (g *gpt) writes(sector int64) []Write {
	return []Write{
		{g.backup.entries * sector, bytes.Clone(g.backup.array)},
		{g.backup.my * sector, bytes.Clone(g.backup.sector)},
		{g.primary.entries * sector, bytes.Clone(g.primary.array)},
		{g.primary.my * sector, bytes.Clone(g.primary.sector)},
		{0, bytes.Clone(g.mbr)},
	}
}

// moved returns g for a disk of size bytes: both copies intact, the backup at
// the end. A copy that is intact and says the same keeps the bytes of its
// header sector that nobody knows.
func (g *gpt) moved(t *Table, size int64, c change) *gpt {
	sector := int64(t.SectorSize)
	array := bytes.Clone(g.base.array)
	if c.part != nil {
		p := g.base.entry(array, c.part.Number-1)
		binary.LittleEndian.PutUint64(p[offGPTEntryEnd:], uint64(c.end/sector-1))
	}
	last := size/sector - 1
	h := g.base.gptHeader
	h.last = g.lastUsable(last)
	for i := range t.Partitions {
		h.last = max(h.last, c.endOf(&t.Partitions[i])/sector-1)
	}
	h.entriesCRC = h.crc(array)

	primary, backup := h, h
	primary.my, primary.alternate, primary.entries = primaryLBA, last, g.entries
	backup.my, backup.alternate, backup.entries = last, primaryLBA, last-h.arraySectors(sector)
	return &gpt{
		mbr:     moveProtective(g.mbr, t.Size/sector-1, g.end(), last),
		primary: primary.copyOnto(g.primary, g.base, array),
		backup:  backup.copyOnto(g.backup, g.base, array),
	}
}

// copyOnto returns the copy with the header h and the entries in array. Other
// bytes of its sector are those of old if that says the same as base, else
// those of base.
func (h gptHeader) copyOnto(old, base *gptCopy, array []byte) *gptCopy {
	if old.err != nil || !old.sameTable(base) {
		old = base
	}
	h.size = old.size
	p := bytes.Clone(old.sector)
	le := binary.LittleEndian
	le.PutUint64(p[offGPTMy:], uint64(h.my))
	le.PutUint64(p[offGPTAlternate:], uint64(h.alternate))
	le.PutUint64(p[offGPTLastUsable:], uint64(h.last))
	le.PutUint64(p[offGPTEntries:], uint64(h.entries))
	le.PutUint32(p[offGPTEntriesCRC:], h.entriesCRC)
	le.PutUint32(p[offGPTHeaderCRC:], headerCRC(p[:h.size]))
	return &gptCopy{gptHeader: h, sector: p, array: array}
}

// end returns the LBA of the backup header as the believed copy has it.
func (g *gpt) end() int64 { return max(g.base.my, g.base.alternate) }

// lastUsable returns the last usable sector on a disk whose last sector is
// last: as far from the end as it was, which is far enough for the backup.
func (g *gpt) lastUsable(last int64) int64 {
	return max(last-(g.end()-g.base.last), g.base.first)
}

// moveProtective returns sector 0 for a disk whose last sector is newLast. The
// size of a protective MBR is that of the disk less one sector, or FFFFFFFF
// if the disk is larger (UEFI 2.10, table 5.4). It changes only if it was
// right before, for a disk that ended at either of the old sectors.
func moveProtective(mbr []byte, oldLast, oldBackup, newLast int64) []byte {
	out := bytes.Clone(mbr)
	slot := -1
	for i, e := range decodeEntries(mbr) {
		switch {
		case e == mbrEntry{}:
			continue
		case e.kind != gptProtective || e.start != primaryLBA || slot >= 0:
			return out
		}
		slot = i
	}
	if slot < 0 {
		return out
	}
	const most = math.MaxUint32
	p := entryAt(out, slot)
	old, size := decodeEntries(mbr)[slot].sectors, min(newLast, most)
	if right := old == min(oldLast, most) || old == min(oldBackup, most); right && old != size {
		setEntry(p, primaryLBA, size)
	}
	return out
}
