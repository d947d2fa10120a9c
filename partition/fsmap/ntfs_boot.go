package fsmap

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
)

const (
	ntfsOEM        = "NTFS    " // BitLocker and ReFS have other ones here
	ntfsMaxCluster = 2 << 20    // bytes; Windows 10 1709 and later, 64 KiB before
	ntfsMaxRecord  = 64 << 10   // bytes; Windows writes 1 or 4 KiB
)

// An ntfsBoot is what the boot sector tells.
type ntfsBoot struct {
	sectorSize  int64 // bytes
	clusterSize int64 // bytes
	recordSize  int64 // bytes of a record of the MFT
	sectors     int64 // without the backup of the boot sector behind them
	clusters    int64 // whole ones
	mftStart    int64 // cluster
	serial      uint64
}

// probeNTFS returns the boot sector if there is an NTFS on the volume, and
// errNotMine otherwise. A boot sector alone does not convince: there must be
// the head of a record where it says that the MFT, or its mirror, is.
func probeNTFS(v *volume) ([]byte, error) {
	const size, oemAt, signatureAt = 512, 3, 510
	sector, err := v.read(0, size)
	if err != nil {
		return nil, errNotMine
	}
	if string(sector[oemAt:oemAt+len(ntfsOEM)]) != ntfsOEM || sector[signatureAt] != 0x55 || sector[signatureAt+1] != 0xAA {
		return nil, errNotMine
	}
	// Fields that FAT fills and NTFS must leave zero: reserved sectors, FATs,
	// root entries, sectors; sectors of a FAT.
	if !ntfsFilled(sector[14:21], 0) || !ntfsFilled(sector[22:24], 0) {
		return nil, errNotMine
	}
	const mftAt, mirrorAt = 48, 56
	if !ntfsRecordAt(v, sector, mftAt) && !ntfsRecordAt(v, sector, mirrorAt) {
		return nil, errNotMine
	}
	return sector, nil
}

// ntfsRecordAt reports whether a record of the MFT starts at the cluster
// whose number is at offset field of the boot sector. BAAD marks a record
// that a check of Windows found torn.
func ntfsRecordAt(v *volume, sector []byte, field int) bool {
	cluster := binary.LittleEndian.Uint64(sector[field:])
	hi, at := bits.Mul64(cluster, uint64(ntfsClusterSize(sector)))
	if hi != 0 || at == 0 || at > math.MaxInt64 {
		return false
	}
	magic, err := v.read(int64(at), 4)
	return err == nil && (string(magic) == ntfsMagicFile || string(magic) == "BAAD")
}

// ntfsClusterSize returns the bytes of a cluster, zero if the fields of the
// boot sector make no sense. More than 128 sectors do not fit into the byte:
// there it holds the exponent of two as a negative number.
func ntfsClusterSize(sector []byte) int64 {
	const sectorSizeAt, sectorsAt = 11, 13
	sectorSize := int64(binary.LittleEndian.Uint16(sector[sectorSizeAt:]))
	sectors := int64(sector[sectorsAt])
	if sectors > 128 {
		exponent := -int(int8(sector[sectorsAt]))
		if exponent > 12 {
			return 0
		}
		sectors = 1 << exponent
	}
	size := sectorSize * sectors
	if sectorSize < 512 || sectorSize > 4096 || !ntfsPower(sectorSize) || !ntfsPower(sectors) || size > ntfsMaxCluster {
		return 0
	}
	return size
}

// decodeNTFSBoot reads the fields of a boot sector.
func decodeNTFSBoot(sector []byte) (ntfsBoot, error) {
	const sectorSizeAt, sectorsAt, mftAt, recordAt, serialAt = 11, 40, 48, 64, 72
	b := ntfsBoot{
		sectorSize:  int64(binary.LittleEndian.Uint16(sector[sectorSizeAt:])),
		clusterSize: ntfsClusterSize(sector),
		sectors:     int64(binary.LittleEndian.Uint64(sector[sectorsAt:])),
		mftStart:    int64(binary.LittleEndian.Uint64(sector[mftAt:])),
		serial:      binary.LittleEndian.Uint64(sector[serialAt:]),
	}
	if b.clusterSize == 0 {
		return b, damaged("sectors or clusters of an impossible size")
	}
	if b.sectors <= 0 || b.sectors >= math.MaxInt64/b.sectorSize {
		return b, damaged("a file system of %d sectors", b.sectors)
	}
	b.clusters = b.sectors * b.sectorSize / b.clusterSize
	if b.mftStart <= 0 || b.mftStart >= b.clusters {
		return b, damaged("the MFT at cluster %d of %d", b.mftStart, b.clusters)
	}
	b.recordSize = ntfsRecordSize(int8(sector[recordAt]), b.clusterSize)
	if b.recordSize == 0 {
		return b, damaged("records of an impossible size")
	}
	return b, nil
}

// ntfsRecordSize returns the bytes of a record of the MFT: n clusters, or two
// to the power of -n bytes if n is negative. It is zero if that makes no
// sense.
func ntfsRecordSize(n int8, clusterSize int64) int64 {
	size := int64(n) * clusterSize
	if n < 0 {
		size = 1 << min(-int(n), 30)
	}
	if size < ntfsStride || size > ntfsMaxRecord || !ntfsPower(size) {
		return 0
	}
	return size
}

func ntfsPower(n int64) bool { return n > 0 && n&(n-1) == 0 }

// ntfsFilled reports whether p consists of b alone.
func ntfsFilled(p []byte, b byte) bool {
	return bytes.Count(p, []byte{b}) == len(p)
}
