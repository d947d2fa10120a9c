package fsmap

import (
	"hash/crc32"
	"math/bits"
)

// extCRC continues a crc32c over parts. As the kernel does, and unlike package
// crc32, it inverts neither what it is given nor what it returns.
func extCRC(crc uint32, parts ...[]byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // shared, made once
	for _, p := range parts {
		crc = ^crc32.Update(^crc, table, p)
	}
	return crc
}

// extCRC16 continues a CRC-16 (polynomial 0x8005, reflected) over parts. It
// protects group descriptors with the feature gdt_csum.
func extCRC16(crc uint16, parts ...[]byte) uint16 {
	for _, p := range parts {
		for _, b := range p {
			crc ^= uint16(b)
			for range 8 {
				crc = crc>>1 ^ crc&1*0xa001
			}
		}
	}
	return crc
}

// extCRC32BE continues a CRC-32 that takes the highest bit first (crc32_be of
// the kernel), as the first version of journal checksums does. It is the
// mirror image of the usual one.
func extCRC32BE(crc uint32, p []byte) uint32 {
	mirrored := make([]byte, len(p))
	for i, b := range p {
		mirrored[i] = bits.Reverse8(b)
	}
	return bits.Reverse32(^crc32.Update(^bits.Reverse32(crc), crc32.IEEETable, mirrored))
}
