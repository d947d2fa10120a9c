package fsmap

import (
	"encoding/binary"
	"math/bits"
)

// addBitmap notes what the block bitmap of g says is in use. Where a replay
// of the journal would change the bitmap, what is in use before and after it
// counts.
func (fs *extFS) addBitmap(g extGroup) error {
	buf := make([]byte, fs.blockSize)
	if err := fs.readBlock(buf, g.blockBitmap); err != nil {
		return err
	}
	if !fs.bitmapSumRight(g, buf) {
		return damaged("block bitmap of group %d: checksum mismatch", g.number)
	}
	// The count is a second check, and the only one that ext2 and ext3 have.
	if free := fs.addBits(g, buf); free != g.free {
		return damaged("group %d: %d clusters are free in its bitmap, %d in its descriptor", g.number, free, g.free)
	}
	if fs.log == nil {
		return nil
	}
	if _, changed := fs.log.copies[g.blockBitmap]; !changed {
		return nil
	}
	// Nothing can vouch for this older bitmap, and nothing has to: it only
	// adds to the map.
	if err := fs.readDisk(buf, g.blockBitmap); err != nil {
		return err
	}
	fs.addBits(g, buf)
	return nil
}

// bitmapSumRight reports whether the checksum of g's block bitmap is right,
// or there is none. Short descriptors have room for its lower half only.
func (fs *extFS) bitmapSumRight(g extGroup, bitmap []byte) bool {
	if fs.sums != extSumsMetadata {
		return true
	}
	sum := extCRC(fs.seed, bitmap[:fs.groupClusters/8])
	if fs.descSize < extDescSize64 {
		sum &= 0xffff
	}
	return sum == g.bitmapSum
}

// addBits notes the clusters of g whose bit is set and returns how many are
// not.
func (fs *extFS) addBits(g extGroup, bitmap []byte) (free int64) {
	first := fs.groupStart(g.number)
	clusters := (fs.groupLen(g.number) + fs.clusterBlocks - 1) / fs.clusterBlocks
	free = clusters
	for at := int64(0); at < clusters; {
		start := extNextBit(bitmap, at, clusters, true)
		end := extNextBit(bitmap, start, clusters, false)
		fs.add(&fs.used, first+start*fs.clusterBlocks, (end-start)*fs.clusterBlocks)
		free -= end - start
		at = end
	}
	return free
}

// extNextBit returns the first bit of p from bit i on that is set (or clear, if
// set is false), and n if there is none before bit n.
func extNextBit(p []byte, i, n int64, set bool) int64 {
	var flip uint64
	if !set {
		flip = ^flip
	}
	for i < n {
		word := extWord(p[i/64*8:]) ^ flip
		if word >>= i % 64; word != 0 {
			return min(n, i+int64(bits.TrailingZeros64(word)))
		}
		i = i/64*64 + 64
	}
	return n
}

// extWord returns the first 64 bits of p; what p lacks is zero.
func extWord(p []byte) uint64 {
	if len(p) >= 8 {
		return binary.LittleEndian.Uint64(p)
	}
	var word [8]byte
	copy(word[:], p)
	return binary.LittleEndian.Uint64(word[:])
}
