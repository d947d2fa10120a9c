package partition

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"unicode"
	"unicode/utf16"
)

// Places and bounds of the GPT, UEFI specification 2.10 section 5.3.
const (
	primaryLBA       = 1          // of the primary header
	gptRevision      = 0x00010000 // the only one there is
	gptHeaderMin     = 92         // bytes of the header's fields
	gptEntryMin      = 128        // bytes of an entry, or this times 2^n
	gptEntryMax      = 4096       // ours; nobody uses more than 128
	gptEntriesMax    = 1024       // ours; 128 is usual
	gptNameUnits     = 36         // UTF-16 units of a name
	offGPTEntryEnd   = 40         // of the last LBA in an entry
	offGPTHeaderCRC  = 16
	offGPTMy         = 24
	offGPTAlternate  = 32
	offGPTLastUsable = 48
	offGPTEntries    = 72
	offGPTEntriesCRC = 88
)

var gptSignature = []byte("EFI PART")

// A gptHeader holds the fields of a header (UEFI 2.10, table 5.5). LBAs that
// an int64 cannot hold are cut to the largest it can: no disk has them.
type gptHeader struct {
	size       uint32 // bytes of the header that its CRC covers
	my         int64  // LBA of this header
	alternate  int64  // LBA of the other one
	first      int64  // first LBA for partitions
	last       int64  // last LBA for partitions
	disk       string // GUID
	entries    int64  // first LBA of the entry array
	count      uint32
	entrySize  uint32 // bytes
	entriesCRC uint32
}

// A gptCopy is one of the two copies of a GPT.
type gptCopy struct {
	gptHeader
	sector []byte // the header's whole sector; nil if the header is damaged
	array  []byte // the sectors of the entries, the last one to its end
	err    error  // why the copy cannot be used
}

// readCopy reads the copy whose header is at lba: the primary at LBA 1, a
// backup at any other. It changes nothing but the source's memory.
func readCopy(s *source, lba int64) *gptCopy {
	sector, err := s.sectors(lba, 1)
	if err != nil {
		return &gptCopy{err: err}
	}
	h, err := decodeHeader(sector)
	if err == nil {
		err = h.check(lba, s)
	}
	if err != nil {
		return &gptCopy{err: err}
	}
	c := &gptCopy{gptHeader: h, sector: sector}
	array, err := s.sectors(h.entries, h.arraySectors(s.sector))
	switch {
	case err != nil:
		c.err = err
	case h.crc(array) != h.entriesCRC:
		c.err = fmt.Errorf("entries CRC is %08x, want %08x", h.crc(array), h.entriesCRC)
	default:
		c.array = array
	}
	return c
}

// decodeHeader reads the header in sector p and checks its CRC.
func decodeHeader(p []byte) (h gptHeader, err error) {
	le := binary.LittleEndian
	if !bytes.HasPrefix(p, gptSignature) {
		return h, errors.New("no header")
	}
	if revision := le.Uint32(p[8:]); revision != gptRevision {
		return h, fmt.Errorf("unknown revision %08x", revision)
	}
	h.size = le.Uint32(p[12:])
	if h.size < gptHeaderMin || int(h.size) > len(p) {
		return h, fmt.Errorf("header of %d bytes in a sector of %d", h.size, len(p))
	}
	if got, want := headerCRC(p[:h.size]), le.Uint32(p[offGPTHeaderCRC:]); got != want {
		return h, fmt.Errorf("header CRC is %08x, want %08x", got, want)
	}
	h.my = lbaAt(p[offGPTMy:])
	h.alternate = lbaAt(p[offGPTAlternate:])
	h.first = lbaAt(p[40:])
	h.last = lbaAt(p[offGPTLastUsable:])
	h.disk = formatGUID(p[56:72])
	h.entries = lbaAt(p[offGPTEntries:])
	h.count = le.Uint32(p[80:])
	h.entrySize = le.Uint32(p[84:])
	h.entriesCRC = le.Uint32(p[offGPTEntriesCRC:])
	return h, nil
}

// check compares the fields of a header that was read at lba with each other
// and with the disk.
func (h *gptHeader) check(lba int64, s *source) error {
	power := h.entrySize >= gptEntryMin && h.entrySize&(h.entrySize-1) == 0
	switch {
	case h.my != lba:
		return fmt.Errorf("header at sector %d says it is at %d", lba, h.my)
	case !power || h.entrySize > gptEntryMax:
		return fmt.Errorf("entries of %d bytes", h.entrySize)
	case h.count < 1 || h.count > gptEntriesMax:
		return fmt.Errorf("%d entries, want 1 to %d", h.count, gptEntriesMax)
	case h.first > h.last || h.last >= s.count():
		return fmt.Errorf("usable sectors %d to %d on a disk of %d", h.first, h.last, s.count())
	case h.first < primaryLBA+1+h.arraySectors(s.sector):
		return fmt.Errorf("first usable sector %d leaves no room for the entries", h.first)
	case lba == primaryLBA:
		return h.checkPrimary(s)
	}
	return h.checkBackup(s)
}

// checkPrimary: the entries are between the header and the first usable
// sector, the backup has room behind the last one (UEFI 2.10 section 5.3.1).
func (h *gptHeader) checkPrimary(s *source) error {
	n := h.arraySectors(s.sector)
	if h.alternate <= h.last+n || h.alternate >= s.count() {
		return fmt.Errorf("backup header at sector %d of %d, last usable sector %d", h.alternate, s.count(), h.last)
	}
	if h.entries <= primaryLBA || h.entries > h.first-n {
		return fmt.Errorf("entries at sector %d, first usable sector %d", h.entries, h.first)
	}
	return nil
}

// checkBackup: the entries are between the last usable sector and the header.
func (h *gptHeader) checkBackup(s *source) error {
	if h.alternate != primaryLBA {
		return fmt.Errorf("primary header at sector %d, want %d", h.alternate, primaryLBA)
	}
	if h.entries <= h.last || h.entries > h.my-h.arraySectors(s.sector) {
		return fmt.Errorf("entries at sector %d, between the last usable sector %d and the header at %d",
			h.entries, h.last, h.my)
	}
	return nil
}

// arrayBytes returns the length of the entries, arraySectors that of the
// whole sectors they are in.
func (h *gptHeader) arrayBytes() int64 { return int64(h.count) * int64(h.entrySize) }

func (h *gptHeader) arraySectors(sector int64) int64 {
	return (h.arrayBytes() + sector - 1) / sector
}

// crc returns the CRC of the entries in array.
func (h *gptHeader) crc(array []byte) uint32 {
	return crc32.ChecksumIEEE(array[:h.arrayBytes()])
}

// entry returns the bytes of entry i, counted from zero, in array.
func (h *gptHeader) entry(array []byte, i int) []byte {
	return array[i*int(h.entrySize):][:h.entrySize]
}

// sameTable reports whether both intact copies say the same.
func (c *gptCopy) sameTable(d *gptCopy) bool {
	a, b := c.gptHeader, d.gptHeader
	a.size, a.my, a.alternate, a.entries = b.size, b.my, b.alternate, b.entries
	return a == b && bytes.Equal(c.array[:c.arrayBytes()], d.array[:d.arrayBytes()])
}

// partitions decodes the entries of an intact copy (UEFI 2.10 section 5.3.3).
func (c *gptCopy) partitions(sector int64) ([]Partition, error) {
	var out []Partition
	for i := range int(c.count) {
		p := c.entry(c.array, i)
		if kind := p[:16]; bytes.Equal(kind, make([]byte, 16)) {
			continue
		}
		first, last := lbaAt(p[32:]), lbaAt(p[offGPTEntryEnd:])
		if first > last || first < c.first || last > c.last {
			return nil, damaged("GPT: partition %d: sectors %d to %d, usable are %d to %d",
				i+1, first, last, c.first, c.last)
		}
		out = append(out, Partition{
			Number:     i + 1,
			Start:      first * sector,
			Size:       (last - first + 1) * sector,
			Type:       formatGUID(p[:16]),
			UUID:       formatGUID(p[16:32]),
			Name:       decodeName(p[56 : 56+2*gptNameUnits]),
			Attributes: binary.LittleEndian.Uint64(p[48:]),
		})
	}
	return out, nil
}

// headerCRC returns the CRC of a header with its own CRC field as zero.
func headerCRC(header []byte) uint32 {
	zeroed := bytes.Clone(header)
	clear(zeroed[offGPTHeaderCRC : offGPTHeaderCRC+4])
	return crc32.ChecksumIEEE(zeroed)
}

// lbaAt decodes an LBA, cut to what an int64 holds.
func lbaAt(p []byte) int64 {
	return int64(min(binary.LittleEndian.Uint64(p), math.MaxInt64))
}

// formatGUID formats the 16 bytes of a GUID, whose first three fields are
// little-endian (UEFI 2.10 appendix A).
func formatGUID(p []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08X-%04X-%04X-%X-%X", le.Uint32(p), le.Uint16(p[4:]), le.Uint16(p[6:]), p[8:10], p[10:16])
}

// decodeName decodes a name that ends at a zero or with p. What cannot be
// printed becomes a question mark.
func decodeName(p []byte) string {
	var units []uint16
	for ; len(p) >= 2; p = p[2:] {
		u := binary.LittleEndian.Uint16(p)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(utf16.Decode(units)))
}
