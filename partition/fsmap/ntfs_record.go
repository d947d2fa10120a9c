package fsmap

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
)

const (
	ntfsStride    = 512 // bytes from one fixup to the next, whatever the size of a sector
	ntfsMagicFile = "FILE"
)

// undoFixups checks a structure that NTFS protects against torn writes and
// puts the bytes back that the protection replaced. The last two bytes of
// every 512 must hold the update sequence number; what belongs there follows
// that number in the update sequence array.
func undoFixups(p []byte, magic string) error {
	const arrayAt, countAt = 4, 6
	if len(p) < ntfsStride || len(p)%ntfsStride != 0 {
		return damaged("a protected structure of %d bytes", len(p))
	}
	if string(p[:len(magic)]) != magic {
		return damaged("%q where %q belongs", p[:len(magic)], magic)
	}
	at := int(binary.LittleEndian.Uint16(p[arrayAt:]))
	count := int(binary.LittleEndian.Uint16(p[countAt:]))
	pieces := len(p) / ntfsStride
	if count != pieces+1 || at <= countAt || at+2*count > ntfsStride-2 {
		return damaged("update sequence array of %d entries at %d for %d bytes", count, at, len(p))
	}
	number := p[at : at+2]
	for i := range pieces {
		tail := p[(i+1)*ntfsStride-2 : (i+1)*ntfsStride]
		if !bytes.Equal(tail, number) {
			return damaged("a torn write: update sequence %x, want %x", tail, number)
		}
		copy(tail, p[at+2+2*i:])
	}
	return nil
}

// An ntfsRecord is one record of the MFT: a file, or a part of one.
type ntfsRecord struct {
	number    int64
	sequence  uint16 // counts how often the record was given to another file
	links     uint16 // names of the file
	directory bool
	base      ntfsRef // the file's first record if this is a further one, else zero
	attrs     []ntfsAttr
}

// An ntfsRef names a record of the MFT and the sequence number that it must
// have.
type ntfsRef struct {
	number   int64
	sequence uint16
}

// decodeNTFSRef splits 48 bits of number and 16 bits of sequence.
func decodeNTFSRef(p []byte) ntfsRef {
	n := binary.LittleEndian.Uint64(p)
	return ntfsRef{number: int64(n & (1<<48 - 1)), sequence: uint16(n >> 48)}
}

// decodeNTFSRecord checks and reads record number. The record shares memory
// with p, which is changed.
func decodeNTFSRecord(p []byte, number int64) (*ntfsRecord, error) {
	const arrayAt, sequenceAt, linksAt, attrsAt, flagsAt, usedAt, baseAt, numberAt = 4, 16, 18, 20, 22, 24, 32, 44
	const inUse, directory, oldHeaderSize, headerSize = 1, 2, 42, 48
	if err := undoFixups(p, ntfsMagicFile); err != nil {
		return nil, inNTFSRecord(number, err)
	}
	flags := binary.LittleEndian.Uint16(p[flagsAt:])
	if flags&inUse == 0 {
		return nil, damaged("MFT record %d is not in use", number)
	}
	// Before Windows XP, the header ended before the number of the record.
	if binary.LittleEndian.Uint16(p[arrayAt:]) >= headerSize && binary.LittleEndian.Uint32(p[numberAt:]) != uint32(number) {
		return nil, damaged("MFT record %d says that it is number %d", number, binary.LittleEndian.Uint32(p[numberAt:]))
	}
	first, used := int(binary.LittleEndian.Uint16(p[attrsAt:])), int64(binary.LittleEndian.Uint32(p[usedAt:]))
	if first < oldHeaderSize || int64(first) > used || used > int64(len(p)) {
		return nil, damaged("MFT record %d: attributes from %d to %d", number, first, used)
	}
	attrs, err := decodeNTFSAttrs(p[first:used])
	if err != nil {
		return nil, inNTFSRecord(number, err)
	}
	return &ntfsRecord{
		number:    number,
		sequence:  binary.LittleEndian.Uint16(p[sequenceAt:]),
		links:     binary.LittleEndian.Uint16(p[linksAt:]),
		directory: flags&directory != 0,
		base:      decodeNTFSRef(p[baseAt:]),
		attrs:     attrs,
	}, nil
}

func (r *ntfsRecord) ref() ntfsRef { return ntfsRef{r.number, r.sequence} }

// ntfsSlice returns the length bytes of p from offset at, if they are there.
func ntfsSlice(p []byte, at, length int64) ([]byte, bool) {
	if at < 0 || length < 0 || at > int64(len(p)) || length > int64(len(p))-at {
		return nil, false
	}
	return p[at : at+length], true
}

// ntfsText decodes little-endian UTF-16.
func ntfsText(p []byte) string {
	units := make([]uint16, len(p)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(p[2*i:])
	}
	return string(utf16.Decode(units))
}
