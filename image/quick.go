package image

import (
	"encoding/binary"

	"lukechampine.com/blake3/guts"
)

// quickPart is how many bytes are hashed by one call, as many as the widest
// vectors take: a subtree of 16 BLAKE3 chunks.
const quickPart = guts.MaxSIMD * guts.ChunkSize

// quickSum returns the quick digest of p, section 7.
//
// It walks the tree itself (BLAKE3 specification, section 2.1), because
// blake3.Sum256 starts a goroutine for each 16 KiB: too many for chunks of
// which every processor hashes one already.
func quickSum(p []byte) [quickSize]byte {
	var (
		left  [32][8]uint32 // finished subtrees that wait for their right side
		depth int
		parts uint64
	)
	for ; len(p) > quickPart; p = p[quickPart:] {
		node := guts.CompressBuffer((*[quickPart]byte)(p), quickPart, &guts.IV, parts*guts.MaxSIMD, 0)
		parts++
		for n := parts; n&1 == 0; n >>= 1 {
			depth--
			node = guts.ParentNode(left[depth], guts.ChainingValue(node), &guts.IV, 0)
		}
		left[depth] = guts.ChainingValue(node)
		depth++
	}
	node := quickEnd(p, parts*guts.MaxSIMD)
	for depth > 0 {
		depth--
		node = guts.ParentNode(left[depth], guts.ChainingValue(node), &guts.IV, 0)
	}
	node.Flags |= guts.FlagRoot
	words := guts.CompressNode(node)
	var sum [quickSize]byte
	for i := range quickSize / 4 {
		binary.LittleEndian.PutUint32(sum[4*i:], words[i])
	}
	return sum
}

// quickEnd returns the node of the last part, of up to quickPart bytes.
func quickEnd(p []byte, chunk uint64) guts.Node {
	if len(p) == quickPart {
		return guts.CompressBuffer((*[quickPart]byte)(p), quickPart, &guts.IV, chunk, 0)
	}
	var padded [quickPart]byte
	return guts.CompressBuffer(&padded, copy(padded[:], p), &guts.IV, chunk, 0)
}
