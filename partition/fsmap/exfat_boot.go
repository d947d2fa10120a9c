package fsmap

import (
	"bytes"
	"encoding/binary"
)

// The boot region, from Microsoft's "exFAT file system specification",
// sections 3.1 (main and backup boot sector) and 3.4 (boot checksum).
const (
	exfatBootSectors = 12                   // of one boot region; its checksum is in the last
	exfatMaxClusters = 1<<32 - 11           // section 3.1.9
	exfatMaxCluster  = 25                   // log2 of the largest cluster, 32 MiB
	exfatRegions     = 2 * exfatBootSectors // main and backup
)

// An exfatBoot is what the boot sector of an exFAT volume tells, in bytes
// unless a name says otherwise.
type exfatBoot struct {
	sectorSize  int64
	clusterSize int64
	size        int64 // of the file system
	fatStart    int64
	fatSize     int64 // of one FAT
	fats        int64 // one, or two for TexFAT
	active      int64 // the FAT in use, from zero
	heapStart   int64 // of cluster 2, the first one
	clusters    int64 // how many there are
	root        int64 // the first cluster of the root directory
	serial      uint32
	revision    uint16
	dirty       bool
	failed      bool // a driver has met a disk error
}

// parseExFATBoot reads a boot sector. The jump, the name and 53 bytes that
// must be zero, so that no driver takes the volume for FAT, make the claim.
func parseExFATBoot(p []byte) (*exfatBoot, error) {
	if !bytes.HasPrefix(p, []byte("\xEB\x76\x90EXFAT   ")) ||
		!bytes.Equal(p[11:64], make([]byte, 53)) || p[510] != 0x55 || p[511] != 0xAA {
		return nil, errNotMine
	}
	sectorShift, clusterShift := p[108], p[109]
	if sectorShift < 9 || sectorShift > 12 || clusterShift > exfatMaxCluster-sectorShift {
		return nil, damaged("sectors of 2^%d bytes, clusters of 2^%d sectors", sectorShift, clusterShift)
	}
	le := binary.LittleEndian
	sectors := func(at int) int64 { return int64(le.Uint32(p[at:])) << sectorShift }
	b := &exfatBoot{
		sectorSize:  1 << sectorShift,
		clusterSize: 1 << (sectorShift + clusterShift),
		fatStart:    sectors(80),
		fatSize:     sectors(84),
		fats:        int64(p[110]),
		heapStart:   sectors(88),
		clusters:    int64(le.Uint32(p[92:])),
		root:        int64(le.Uint32(p[96:])),
		serial:      le.Uint32(p[100:]),
		revision:    le.Uint16(p[104:]),
	}
	length := le.Uint64(p[72:])
	if length > 1<<50 {
		return b, damaged("a volume of %d sectors", length)
	}
	b.size = int64(length) << sectorShift
	b.parseFlags(le.Uint16(p[106:]))
	return b, nil
}

// parseFlags reads VolumeFlags, section 3.1.13.
func (b *exfatBoot) parseFlags(flags uint16) {
	b.active = int64(flags & 1)
	b.dirty = flags&2 != 0
	b.failed = flags&4 != 0
}

// check refuses a layout that does not fit itself or a volume of size bytes.
func (b *exfatBoot) check(size int64) error {
	switch {
	case b.revision>>8 != 1:
		return damaged("unknown revision %#x", b.revision)
	case b.size > size:
		return damaged("the file system has %d bytes and the volume %d", b.size, size)
	case b.fats != 1 && b.fats != 2 || b.active >= b.fats:
		return damaged("FAT %d of %d is the active one", b.active, b.fats)
	case b.fatStart < exfatRegions*b.sectorSize || b.heapStart < b.fatStart+b.fats*b.fatSize:
		return damaged("boot region, FAT at %d and clusters at %d overlap", b.fatStart, b.heapStart)
	case b.fatSize/4 < b.clusters+2:
		return damaged("a FAT of %d bytes is too small for %d clusters", b.fatSize, b.clusters)
	case b.clusters < 1 || b.clusters > exfatMaxClusters || b.clusters > (b.size-b.heapStart)/b.clusterSize:
		return damaged("%d clusters do not fit", b.clusters)
	case !b.has(b.root):
		return damaged("root directory in cluster %d of %d", b.root, b.clusters)
	}
	return nil
}

// has tells whether n is the number of a cluster.
func (b *exfatBoot) has(n int64) bool { return n >= 2 && n < b.clusters+2 }

// clusterAt returns the offset of cluster n; the first one is number 2.
func (b *exfatBoot) clusterAt(n int64) int64 { return b.heapStart + (n-2)*b.clusterSize }

// checkBootRegion verifies the checksum of the boot region at offset at: its
// last sector repeats the sum of those before it. The flags and the percentage
// in use change without a new checksum and are left out, section 3.4.
func (b *exfatBoot) checkBootRegion(v *volume, at int64) error {
	p, err := v.read(at, exfatBootSectors*b.sectorSize)
	if err != nil {
		return err
	}
	body, sums := p[:11*b.sectorSize], p[11*b.sectorSize:]
	var sum uint32
	for i, c := range body {
		if i == 106 || i == 107 || i == 112 {
			continue
		}
		sum = sum>>1 | sum<<31
		sum += uint32(c)
	}
	for ; len(sums) >= 4; sums = sums[4:] {
		if binary.LittleEndian.Uint32(sums) != sum {
			return damaged("the boot region at %d does not match its checksum", at)
		}
	}
	return nil
}
