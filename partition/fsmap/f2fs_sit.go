package fsmap

import (
	"encoding/binary"
	"math/bits"
)

// The segment information table, from struct f2fs_sit_entry and struct
// f2fs_summary_block in include/linux/f2fs_fs.h.
const (
	f2fsSITEntrySize = 74
	f2fsSITEntries   = f2fsBlock / f2fsSITEntrySize // in a block
	f2fsValidMap     = 64                           // bytes, a bit for each block of a segment
	f2fsNodeTypes    = 3                            // segments of this type and above hold nodes

	f2fsSummaries   = 7 * f2fsSegment                 // bytes of entries in a summary block
	f2fsJournalSize = f2fsBlock - f2fsSummaries - 5   // what they and the footer leave
	f2fsJournalRoom = f2fsJournalSize / f2fsJournaled // entries of a journal
	f2fsJournaled   = 4 + f2fsSITEntrySize            // a segment's number and its entry
)

// addSegments adds the valid blocks of every segment.
func (f *f2fsReader) addSegments(c *f2fsCheckpoint) error {
	bitmap, err := f.sitBitmap(c)
	if err != nil {
		return err
	}
	journal, err := f.sitJournal(c)
	if err != nil {
		return err
	}
	buf := make([]byte, f2fsBlock)
	for block := int64(0); block*f2fsSITEntries < f.segments; block++ {
		at := f.sit + block
		if bitmap[block/8]&(0x80>>(block%8)) != 0 {
			at += f.sitSize
		}
		if err := f.v.readInto(buf, at*f2fsBlock); err != nil {
			return err
		}
		first := block * f2fsSITEntries
		for i := range min(f2fsSITEntries, f.segments-first) {
			entry := buf[i*f2fsSITEntrySize:][:f2fsSITEntrySize]
			if newer, ok := journal[first+i]; ok {
				entry = newer
			}
			if err := f.addSegment(first+i, entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// addSegment adds the valid blocks of one segment. The count beside the bitmap
// must agree with it.
func (f *f2fsReader) addSegment(segment int64, entry []byte) error {
	head := binary.LittleEndian.Uint16(entry)
	want, kind := int64(head&0x3FF), head>>10
	var n int64
	start := f.main + segment*f2fsSegment
	for i, c := range entry[2 : 2+f2fsValidMap] {
		for c != 0 { // the highest bit is the first block
			bit := bits.LeadingZeros8(c)
			c &^= 0x80 >> bit
			f.b.Add((start+8*int64(i)+int64(bit))*f2fsBlock, f2fsBlock)
			n++
		}
	}
	if n != want {
		return damaged("segment %d has %d valid blocks and counts %d", segment, n, want)
	}
	if kind >= f2fsNodeTypes {
		f.nodes += n
	} else {
		f.data += n
	}
	return nil
}

// sitJournal returns the entries that are newer than the table, by segment.
// They stand in the summary of the log of cold data: in the first block of
// compact summaries behind the journal of node addresses, or else in a summary
// block of its own, one of six at the end of the pack (three of data, three of
// nodes).
func (f *f2fsReader) sitJournal(c *f2fsCheckpoint) (map[int64][]byte, error) {
	at := (c.at+c.blocks-1-2*f2fsLogs+f2fsLogCold)*f2fsBlock + f2fsSummaries
	if c.flags&f2fsCPCompact != 0 {
		at = (c.at+c.summary)*f2fsBlock + f2fsJournalSize
	}
	p, err := f.v.read(at, f2fsJournalSize)
	if err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint16(p))
	if n > f2fsJournalRoom {
		return nil, damaged("a journal of %d segments", n)
	}
	entries := make(map[int64][]byte, n)
	for i := range n {
		e := p[2+i*f2fsJournaled:][:f2fsJournaled]
		segment := int64(binary.LittleEndian.Uint32(e))
		if segment >= f.segments {
			return nil, damaged("segment %d of %d in the journal", segment, f.segments)
		}
		entries[segment] = e[4:]
	}
	return entries, nil
}
