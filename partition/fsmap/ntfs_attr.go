package fsmap

import "encoding/binary"

// Types of attributes.
const (
	ntfsAttributeList     = 0x20
	ntfsVolumeName        = 0x60
	ntfsVolumeInformation = 0x70
	ntfsData              = 0x80
	ntfsIndexRoot         = 0x90
	ntfsIndexAllocation   = 0xA0
	ntfsIndexBitmap       = 0xB0
	ntfsAttributesEnd     = 0xFFFFFFFF
)

// Flags of attributes.
const (
	ntfsCompressed = 0x00FF // any method
	ntfsEncrypted  = 0x4000
)

// An ntfsAttr is an attribute of a file, or a part of one.
type ntfsAttr struct {
	kind  uint32
	name  string
	flags uint16

	resident bool
	value    []byte // if resident

	lowest, highest   int64  // first and last cluster of the file that this part tells about
	pairs             []byte // run list
	size, initialized int64  // bytes; only in the first part
}

// decodeNTFSAttrs reads the attributes of a record. Their number is bounded
// by the size of the record.
func decodeNTFSAttrs(p []byte) ([]ntfsAttr, error) {
	var attrs []ntfsAttr
	for {
		if len(p) < 4 {
			return nil, damaged("attributes without an end")
		}
		if binary.LittleEndian.Uint32(p) == ntfsAttributesEnd {
			return attrs, nil
		}
		a, length, err := decodeNTFSAttr(p)
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, a)
		p = p[length:]
	}
}

// decodeNTFSAttr reads the attribute at the start of p and returns its
// length.
func decodeNTFSAttr(p []byte) (ntfsAttr, int, error) {
	const lengthAt, nonResidentAt, nameLengthAt, nameAt, flagsAt, minSize = 4, 8, 9, 10, 12, 24
	if len(p) < minSize {
		return ntfsAttr{}, 0, damaged("an attribute of %d bytes", len(p))
	}
	a := ntfsAttr{kind: binary.LittleEndian.Uint32(p), flags: binary.LittleEndian.Uint16(p[flagsAt:])}
	length := int64(binary.LittleEndian.Uint32(p[lengthAt:]))
	if length < minSize || length > int64(len(p)) || length%8 != 0 {
		return a, 0, damaged("attribute %#x of %d bytes", a.kind, length)
	}
	p = p[:length]
	name, ok := ntfsSlice(p, int64(binary.LittleEndian.Uint16(p[nameAt:])), 2*int64(p[nameLengthAt]))
	if !ok {
		return a, 0, damaged("attribute %#x: its name lies outside", a.kind)
	}
	a.name = ntfsText(name)
	a.resident = p[nonResidentAt] == 0
	if a.resident {
		return a, int(length), a.decodeValue(p)
	}
	return a, int(length), a.decodeMapping(p)
}

// decodeValue reads the rest of a resident attribute.
func (a *ntfsAttr) decodeValue(p []byte) error {
	const lengthAt, valueAt = 16, 20
	value, ok := ntfsSlice(p, int64(binary.LittleEndian.Uint16(p[valueAt:])), int64(binary.LittleEndian.Uint32(p[lengthAt:])))
	if !ok {
		return damaged("attribute %#x: its value lies outside", a.kind)
	}
	a.value = value
	return nil
}

// decodeMapping reads the rest of an attribute whose value is in clusters.
func (a *ntfsAttr) decodeMapping(p []byte) error {
	const lowestAt, highestAt, pairsAt, sizeAt, initializedAt, minSize = 16, 24, 32, 48, 56, 64
	if len(p) < minSize {
		return damaged("attribute %#x of %d bytes", a.kind, len(p))
	}
	a.lowest = int64(binary.LittleEndian.Uint64(p[lowestAt:]))
	a.highest = int64(binary.LittleEndian.Uint64(p[highestAt:]))
	a.size = int64(binary.LittleEndian.Uint64(p[sizeAt:]))
	a.initialized = int64(binary.LittleEndian.Uint64(p[initializedAt:]))
	at := int(binary.LittleEndian.Uint16(p[pairsAt:]))
	if at < minSize || at > len(p) {
		return damaged("attribute %#x: its run list lies outside", a.kind)
	}
	a.pairs = p[at:]
	return nil
}
