package partition

import (
	"bytes"
	"fmt"
	"math"
)

// gptProtective is the type of an MBR entry that tells of a GPT (UEFI 2.10
// section 5.2.3).
const gptProtective = 0xee

// A claim is what sector 0 says about a GPT.
type claim int

const (
	noClaim   claim = iota
	weakClaim       // an entry of type 0xEE that does not begin at LBA 1, as it must
	fullClaim       // a protective entry
)

// gptClaim returns what sector 0 says. Linux wants the entry to begin at LBA 1
// (is_pmbr_valid in block/partitions/efi.c); others look at its type alone.
func gptClaim(sector []byte) claim {
	if !hasBootSignature(sector) {
		return noClaim
	}
	found := noClaim
	for _, e := range decodeEntries(sector) {
		switch {
		case e.kind == gptProtective && e.start == primaryLBA:
			return fullClaim
		case e.kind == gptProtective:
			found = weakClaim
		}
	}
	return found
}

// gpt is what a Table of kind GPT keeps to be written again.
type gpt struct {
	mbr     []byte   // sector 0
	primary *gptCopy // always at LBA 1, intact or not
	backup  *gptCopy
	base    *gptCopy // the one that is believed
	entries int64    // LBA of the primary's entry array, where it is or has to be
}

// intact reports whether both copies can be used.
func (g *gpt) intact() bool { return g.primary.err == nil && g.backup.err == nil }

// readGPT reads the table of a disk whose sector 0 tells of a GPT.
func (t *Table) readGPT(s *source, mbr []byte, c claim) error {
	g := &gpt{mbr: mbr, primary: readCopy(s, primaryLBA)}
	g.backup = readCopy(s, g.backupLBA(s))
	if err := g.choose(s); err != nil {
		if c == weakClaim && isBootSector(mbr) {
			return nil // the 0xEE was a byte of its code
		}
		return err
	}
	partitions, err := g.base.partitions(s.sector)
	if err != nil {
		return err
	}
	if err := disjoint("GPT", partitionItems(partitions)); err != nil {
		return err
	}
	g.entries = g.primaryEntries(s)
	_, _ = s.sectors(g.entries, g.base.arraySectors(s.sector)) // seen: part of the table even if damaged
	g.checkBackupRoom(partitions, s.sector)
	t.Kind, t.ID, t.Partitions, t.gpt = GPT, g.base.disk, partitions, g
	t.noteGPT(s, c)
	return nil
}

// backupLBA returns where the backup header has to be: where the primary says,
// or at the end of the disk.
func (g *gpt) backupLBA(s *source) int64 {
	if g.primary.sector != nil {
		return g.primary.alternate
	}
	return s.count() - 1
}

// choose decides which copy is believed: the primary if it is intact. With
// the backup alone, sector 0 must agree that the disk ends where it does:
// otherwise the backup may be left from an earlier life of the disk, and the
// one that belongs to the lost primary somewhere else.
func (g *gpt) choose(s *source) error {
	switch {
	case g.primary.err == nil:
		g.base = g.primary
	case g.backup.err != nil:
		return damaged("GPT: primary: %w; backup: %w", g.primary.err, g.backup.err)
	case g.primary.sector == nil && !protects(g.mbr, s.count()-1):
		return damaged("GPT: primary: %w; the protective MBR is for a disk of another size than the backup", g.primary.err)
	default:
		g.base = g.backup
	}
	return nil
}

// protects reports whether sector 0 has a protective entry for a disk whose
// last sector is last.
func protects(mbr []byte, last int64) bool {
	for _, e := range decodeEntries(mbr) {
		if e.kind == gptProtective && (e.sectors == min(last, math.MaxUint32) || e.sectors == math.MaxUint32) {
			return true
		}
	}
	return false
}

// primaryEntries returns where the entries of the primary are, or were: its
// header may be lost. They are right behind the header or, if sgdisk moved
// them to leave room for a boot loader, right before the first partition.
func (g *gpt) primaryEntries(s *source) int64 {
	n := g.base.arraySectors(s.sector)
	if g.primary.sector != nil && g.primary.entries <= g.base.first-n {
		return g.primary.entries
	}
	const usual = primaryLBA + 1
	probe := &source{r: s.r, size: s.size, sector: s.sector}
	if moved := g.base.first - n; g.holdsEntries(probe, moved, n) && !g.holdsEntries(probe, usual, n) {
		return moved
	}
	return usual
}

func (g *gpt) holdsEntries(s *source, lba, n int64) bool {
	array, err := s.sectors(lba, n)
	return err == nil && bytes.Equal(array[:g.base.arrayBytes()], g.base.array[:g.base.arrayBytes()])
}

// checkBackupRoom gives up a backup that differs from the primary and whose
// sectors would be those of a partition.
func (g *gpt) checkBackupRoom(partitions []Partition, sector int64) {
	if g.backup.err != nil || g.base == g.backup {
		return
	}
	n := g.backup.arraySectors(sector)
	room := Extent{g.backup.entries * sector, n * sector}
	for _, p := range partitions {
		if p.Extent().Intersect(room).Length > 0 {
			g.backup.err = fmt.Errorf("its entries overlap partition %d", p.Number)
			return
		}
	}
}

// noteGPT adds what people should know about an accepted table.
func (t *Table) noteGPT(s *source, c claim) {
	g := t.gpt
	switch {
	case g.primary.err != nil:
		t.note("GPT: the primary table is damaged, the backup is used: %v", g.primary.err)
	case g.backup.err != nil:
		t.note("GPT: the backup table is damaged: %v", g.backup.err)
	case !g.primary.sameTable(g.backup):
		t.note("GPT: the primary and the backup table differ, the primary is used")
	}
	if at := g.backupLBA(s); at != s.count()-1 {
		t.note("GPT: the backup table is at sector %d, not at the end of the disk at %d", at, s.count()-1)
	}
	if c == weakClaim {
		t.note("GPT: the protective MBR does not begin at sector 1, Linux does not see the table")
	}
	if isHybrid(g.mbr) {
		t.note("GPT: hybrid MBR with entries of its own, kept as it is")
	}
}

// isHybrid reports whether sector 0 has entries beside the protective one.
func isHybrid(mbr []byte) bool {
	for _, e := range decodeEntries(mbr) {
		if e.kind != gptProtective && e.kind != 0 {
			return true
		}
	}
	return false
}
