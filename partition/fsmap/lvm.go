package fsmap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
)

// The label of an LVM2 physical volume, from the structures label_header and
// pv_header in the LVM2 sources (lib/label/label.h, lib/format_text/layout.h).
// It stands in one of the first four sectors.
const (
	lvmSectors     = 4
	lvmSectorSize  = 512
	lvmLabelMagic  = "LABELONE"
	lvmLabelType   = "LVM2 001"
	lvmChecked     = 20 // the checksum covers the sector from here
	lvmUUIDSize    = 32
	lvmAreas       = 40 // from the header to the lists of areas: UUID and size
	lvmCRCStart    = 0xF597A6CF
	lvmAreaMagic   = " LVM2 x[5A%r0N*>"
	lvmAreaHeader  = 512
	lvmMaxAreas    = 16  // of each kind in one label; LVM2 makes at most two
	lvmMaxNameSize = 128 // of a volume group
)

// An lvmLabel is what the first sectors of a physical volume tell.
type lvmLabel struct {
	uuid     string
	metadata int64 // offset of the first metadata area, zero if there is none
}

// readLVM claims LVM2 physical volumes. The logical volumes on them have no
// map here, so all is captured.
func readLVM(v *volume) (*Map, error) {
	for sector := range int64(min(lvmSectors, v.size/lvmSectorSize)) {
		p, err := v.read(sector*lvmSectorSize, lvmSectorSize)
		if err != nil {
			return nil, err
		}
		label, ok := parseLVMLabel(p, uint64(sector))
		if !ok {
			continue
		}
		note := fmt.Errorf("an LVM2 physical volume (%s)", label.uuid)
		if name := lvmGroupName(v, label.metadata); name != "" {
			note = fmt.Errorf("an LVM2 physical volume of group %s (%s)", name, label.uuid)
		}
		return &Map{Type: "LVM2_member", UUID: label.uuid}, note
	}
	return nil, errNotMine
}

// parseLVMLabel reads the label in the sector p, which has the given number.
// ok tells that it is one: number and checksum are right.
func parseLVMLabel(p []byte, sector uint64) (label lvmLabel, ok bool) {
	le := binary.LittleEndian
	header := int64(le.Uint32(p[20:]))
	if !bytes.HasPrefix(p, []byte(lvmLabelMagic)) || le.Uint64(p[8:]) != sector ||
		string(p[24:32]) != lvmLabelType ||
		le.Uint32(p[16:]) != lvmCRC(p[lvmChecked:]) ||
		header > lvmSectorSize-lvmAreas {
		return label, false
	}
	label.uuid = lvmUUID(p[header : header+lvmUUIDSize])
	// Two lists of offset and size follow, each closed by a pair of zeros:
	// first the data areas, then the metadata areas.
	areas := p[header+lvmAreas:]
	for range lvmMaxAreas {
		if len(areas) < 32 {
			break
		}
		end := le.Uint64(areas) == 0
		areas = areas[16:]
		if end {
			label.metadata = int64(le.Uint64(areas))
			break
		}
	}
	return label, true
}

// lvmGroupName returns the name of the volume group that the metadata area at
// offset area describes, empty if it cannot be found there. The text of the
// metadata starts with it. The structures are mda_header and raw_locn.
func lvmGroupName(v *volume, area int64) string {
	if area <= 0 {
		return ""
	}
	p, err := v.read(area, lvmAreaHeader)
	if err != nil || string(p[4:20]) != lvmAreaMagic || binary.LittleEndian.Uint32(p) != lvmCRC(p[4:]) {
		return ""
	}
	offset := binary.LittleEndian.Uint64(p[40:])
	if offset == 0 || offset > 1<<40 {
		return ""
	}
	text, err := v.read(area+int64(offset), lvmMaxNameSize+2)
	if err != nil {
		return ""
	}
	name, _, found := strings.Cut(string(text), " {")
	if !found || strings.ContainsAny(name, "\x00\n") {
		return ""
	}
	return name
}

// lvmCRC is the CRC-32 of IEEE with a start value of its own and without the
// last inversion.
func lvmCRC(p []byte) uint32 {
	return ^crc32.Update(^uint32(lvmCRCStart), crc32.IEEETable, p)
}

// lvmUUID puts the hyphens into the 32 letters of a UUID of LVM2.
func lvmUUID(p []byte) string {
	s := string(p)
	return strings.Join([]string{s[:6], s[6:10], s[10:14], s[14:18], s[18:22], s[22:26], s[26:]}, "-")
}
