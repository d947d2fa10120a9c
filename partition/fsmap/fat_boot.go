package fsmap

import (
	"bytes"
	"encoding/binary"
)

// The layout of a FAT volume's first sector, from "Microsoft Extensible
// Firmware Initiative FAT32 File System Specification" 1.03, sections "Boot
// Sector and BPB" and "FAT Data Structure".
const (
	fatBootSize = 512

	fatMinWidth16 = 4085  // clusters; fewer make a FAT12
	fatMinWidth32 = 65525 // clusters; fewer make a FAT16

	// fatMaxClusters is what 28 bits leave when the reserved values at both
	// ends are taken away.
	fatMaxClusters = 0x0FFFFFF5

	// fatMaxFATs is what mkfs.fat and the drivers of Linux and Windows
	// handle. The specification names no limit and recommends two.
	fatMaxFATs = 4
)

// A fatBoot is what the boot sector of a FAT volume tells, in bytes unless a
// name says otherwise.
type fatBoot struct {
	sectorSize  int64
	clusterSize int64
	reserved    int64 // boot sectors and FSInfo, up to the first FAT
	fats        int   // how many copies of the FAT follow
	fatSize     int64 // of one copy
	rootSize    int64 // of the root directory; zero if it is a cluster chain
	size        int64 // of the file system

	// wide marks the FAT32 form of the boot sector. It alone has the fields
	// rootCluster, backup and active.
	wide        bool
	version     uint16
	rootCluster int64
	backup      int64 // offset of the second boot sector, zero for none
	active      int   // the FAT that is read; all of them are written, or it alone

	dirty  bool
	serial uint32 // zero if there is none
	label  string // as it stands in the boot sector, mostly "NO NAME"
}

// parseFATBoot reads a boot sector. It returns errNotMine unless every field
// that all formatters agree on has a possible value: there is no magic
// number, and the first sector of NTFS, exFAT and a partitioned disk end in
// the same two bytes.
func parseFATBoot(p []byte) (*fatBoot, error) {
	if !fatLooksRight(p) {
		return nil, errNotMine
	}
	le := binary.LittleEndian
	b := &fatBoot{sectorSize: int64(le.Uint16(p[11:])), fats: int(p[16])}
	b.clusterSize = int64(p[13]) * b.sectorSize
	b.reserved = int64(le.Uint16(p[14:])) * b.sectorSize
	rootSectors := (32*int64(le.Uint16(p[17:])) + b.sectorSize - 1) / b.sectorSize
	b.rootSize = rootSectors * b.sectorSize
	b.size = int64(le.Uint16(p[19:])) * b.sectorSize
	if b.size == 0 {
		b.size = int64(le.Uint32(p[32:])) * b.sectorSize
	}
	b.fatSize = int64(le.Uint16(p[22:])) * b.sectorSize
	if b.fatSize == 0 {
		b.parseWide(p)
	}
	// The extended fields stand behind whichever form the sector has.
	if b.wide {
		b.parseExtended(p[64:])
	} else {
		b.parseExtended(p[36:])
	}
	if b.size == 0 || b.fatSize == 0 || b.wide != (b.rootSize == 0) {
		return nil, errNotMine
	}
	return b, nil
}

// fatLooksRight checks what needs no arithmetic: jump, sector and cluster
// size, counts, media byte and signature.
func fatLooksRight(p []byte) bool {
	le := binary.LittleEndian
	if jump := p[0] == 0xE9 || p[0] == 0xEB && p[2] == 0x90; !jump {
		return false
	}
	switch le.Uint16(p[11:]) {
	case 512, 1024, 2048, 4096:
	default:
		return false
	}
	perCluster, reserved, fats, media := p[13], le.Uint16(p[14:]), p[16], p[21]
	return perCluster != 0 && perCluster&(perCluster-1) == 0 &&
		reserved != 0 &&
		fats >= 1 && fats <= fatMaxFATs &&
		(media == 0xF0 || media >= 0xF8) &&
		p[510] == 0x55 && p[511] == 0xAA
}

// parseWide reads the fields that only FAT32 has.
func (b *fatBoot) parseWide(p []byte) {
	le := binary.LittleEndian
	b.wide = true
	b.fatSize = int64(le.Uint32(p[36:])) * b.sectorSize
	if flags := le.Uint16(p[40:]); flags&0x80 != 0 { // the copies are not kept alike
		b.active = int(flags & 0x0F)
	}
	b.version = le.Uint16(p[42:])
	b.rootCluster = int64(le.Uint32(p[44:]))
	if backup := le.Uint16(p[50:]); backup != 0xFFFF {
		b.backup = int64(backup) * b.sectorSize
	}
}

// parseExtended reads drive number, state, serial number and label, the same
// 26 bytes in both forms. The signature tells which of them are there.
func (b *fatBoot) parseExtended(p []byte) {
	signature := p[2]
	if signature != 0x28 && signature != 0x29 {
		return
	}
	b.dirty = p[1]&1 != 0
	b.serial = binary.LittleEndian.Uint32(p[3:])
	if signature == 0x29 {
		b.label = string(bytes.TrimRight(p[7:18], " \x00"))
	}
}

// rootStart is where the FATs end. The root directory of FAT12 and FAT16
// starts here.
func (b *fatBoot) rootStart() int64 { return b.reserved + int64(b.fats)*b.fatSize }

// dataStart is where cluster 2, the first one, starts.
func (b *fatBoot) dataStart() int64 { return b.rootStart() + b.rootSize }

// clusters returns how many clusters there are; a part of one at the end does
// not count. It is negative if the file system ends before the first.
func (b *fatBoot) clusters() int64 { return (b.size - b.dataStart()) / b.clusterSize }

// width returns how many bits an entry of the FAT has. The count of clusters
// decides, whatever the name in the boot sector says. The FAT32 form of the
// boot sector goes before it, because it leaves no room for the root
// directory of another: mkfs.fat -F 32 makes such volumes below the limit,
// and Linux and Windows use them.
func (b *fatBoot) width() int64 {
	switch {
	case b.wide:
		return 32
	case b.clusters() < fatMinWidth16:
		return 12
	}
	return 16
}

// check refuses a layout that does not fit itself or a volume of size bytes.
func (b *fatBoot) check(size int64) error {
	n := b.clusters()
	switch {
	case b.size > size:
		return damaged("the file system has %d bytes and the volume %d", b.size, size)
	case b.dataStart() >= b.size || n < 1:
		return damaged("no room for clusters behind offset %d", b.dataStart())
	case !b.wide && n >= fatMinWidth32, n > fatMaxClusters:
		return damaged("%d clusters are too many", n)
	case b.fatSize*8/b.width() < n+2:
		return damaged("a FAT of %d bytes is too small for %d clusters", b.fatSize, n)
	case b.wide && b.version != 0:
		return damaged("unknown version %#x", b.version)
	case b.wide && (b.rootCluster < 2 || b.rootCluster >= n+2):
		return damaged("root directory in cluster %d of %d", b.rootCluster, n)
	case b.active >= b.fats:
		return damaged("FAT %d of %d is the active one", b.active, b.fats)
	}
	return nil
}
