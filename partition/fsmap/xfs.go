package fsmap

import (
	"hash/crc32"

	"slipcast/partition"
)

// readXFS maps an XFS file system of version 4 or 5.
//
// An XFS volume is cut into allocation groups of equal length, the last one
// shorter. Each group lists its free extents in two B+trees, by block and by
// size; whatever they do not list is in use. The trees hold the truth only
// while the log has nothing to add to them, so a file system is mapped only
// if its log ends in an unmount record.
//
// The layout is that of "XFS Algorithms & Data Structures" (XFS documentation
// project, third edition) and the headers xfs_format.h and xfs_log_format.h of
// Linux.
func readXFS(v *volume) (*Map, error) {
	s, err := readXFSSuper(v)
	if err != nil {
		return nil, err
	}
	m := &Map{Type: "xfs", Label: s.label, UUID: s.userUUID.String(), BlockSize: s.blockSize}
	if err := s.check(v); err != nil {
		return m, err
	}
	m.Size = int64(s.blocks) * s.blockSize
	log := s.log(v)
	if err := log.checkClean(); err != nil {
		m.Dirty = true
		return m, err
	}
	m.Used, err = s.used(v)
	if err != nil {
		return m, err
	}
	if !m.Used.Covers(log.extent()) {
		return m, damaged("the log lies in free space")
	}
	return m, nil
}

// used returns what the allocation groups do not count as free.
func (s *xfsSuper) used(v *volume) (partition.Extents, error) {
	var b partition.Builder
	for number := range s.groups {
		g, err := s.readGroup(v, number)
		if err != nil {
			return nil, err
		}
		if err := g.addUsed(&b); err != nil {
			return nil, err
		}
	}
	return b.Extents(), nil
}

// xfsChecksumOK reports whether the CRC-32C of p, its own four bytes at offset
// at taken as zeros, is the little-endian number at that offset. This is the
// checksum of all metadata of version 5 (xfs_cksum.h).
func xfsChecksumOK(p []byte, at int) bool {
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(0, table, p[:at])
	crc = crc32.Update(crc, table, make([]byte, 4))
	crc = crc32.Update(crc, table, p[at+4:])
	stored := uint32(p[at]) | uint32(p[at+1])<<8 | uint32(p[at+2])<<16 | uint32(p[at+3])<<24
	return crc == stored
}
