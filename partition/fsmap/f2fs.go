package fsmap

import (
	"encoding/binary"
	"errors"

	"slipcast/partition"
)

// An f2fsReader maps one F2FS volume.
type f2fsReader struct {
	v *volume
	*f2fsSuper
	b partition.Builder

	nodes, data int64 // valid blocks, counted on the way
}

// readF2FS maps F2FS by its segment information table. In use is everything
// before the main area and every block of it that the table calls valid.
//
// What was synced after the last checkpoint is in no table: the kernel finds
// it on the next mount by following the log of warm nodes (roll-forward
// recovery, fs/f2fs/recovery.c). So a volume that was not unmounted, or whose
// log goes on behind the checkpoint, is captured whole.
func readF2FS(v *volume) (*Map, error) {
	super, err := readF2FSSuper(v)
	if errors.Is(err, errNotMine) {
		return nil, err
	}
	m := &Map{Type: "f2fs"}
	if super != nil {
		m.Label, m.UUID, m.BlockSize, m.Size = super.label, super.uuid, f2fsBlock, super.size*f2fsBlock
	}
	if err != nil {
		return m, err
	}
	f := &f2fsReader{v: v, f2fsSuper: super}
	return m, f.read(m)
}

// read fills the map of a volume whose superblock has been checked.
func (f *f2fsReader) read(m *Map) error {
	c, err := f.newestCheckpoint()
	if err != nil {
		return err
	}
	m.Dirty = c.flags&f2fsCPUnmount == 0
	if m.Dirty {
		return errors.New("not cleanly unmounted")
	}
	if other := c.flags &^ f2fsCPHarmless; other != 0 {
		m.Dirty = true
		return errors.New("its checkpoint asks for fsck or is not understood")
	}
	if err := f.checkCheckpoint(c); err != nil {
		return err
	}
	if m.Dirty, err = f.goesOn(c); err != nil {
		return err
	}
	if m.Dirty {
		return errors.New("not cleanly unmounted: its log goes on behind the checkpoint")
	}
	return f.mapBlocks(m, c)
}

// nextNode returns the address where the log of warm nodes goes on.
func (f *f2fsReader) nextNode(c *f2fsCheckpoint) int64 {
	log := c.nodeLogs[f2fsLogWarm]
	return f.main + log.segment*f2fsSegment + log.next
}

// goesOn tells whether a node was written to the log after the checkpoint: its
// footer then has the checkpoint's version. The mark for a clean unmount stays
// on the disk until the first checkpoint after the next mount, so it does not
// tell. Depending on flags the upper half of the version is a checksum; the
// lower half is proof enough for caution.
func (f *f2fsReader) goesOn(c *f2fsCheckpoint) (bool, error) {
	const footer, version = f2fsBlock - 24, 12
	p, err := f.v.read(f.nextNode(c)*f2fsBlock+footer, 24)
	if err != nil {
		return false, err
	}
	return binary.LittleEndian.Uint32(p[version:]) == uint32(c.version), nil
}

// mapBlocks fills the map by the checkpoint c.
func (f *f2fsReader) mapBlocks(m *Map, c *f2fsCheckpoint) error {
	f.b.Add(0, f.main*f2fsBlock)
	// This free block is kept, because it ends the log. A target may have been
	// restored from the same image before and used for a while: its block has
	// a node of the same version here, which would be recovered.
	f.b.Add(f.nextNode(c)*f2fsBlock, f2fsBlock)
	if err := f.addSegments(c); err != nil {
		return err
	}
	// Blocks that are promised to a file but have no place yet count as valid
	// in the checkpoint, so only the nodes must be equal.
	if f.nodes != c.validNodes || f.nodes+f.data > c.validBlocks {
		return damaged("%d blocks with %d nodes in the table, %d with %d in the checkpoint",
			f.nodes+f.data, f.nodes, c.validBlocks, c.validNodes)
	}
	m.Used = f.b.Extents()
	return nil
}
