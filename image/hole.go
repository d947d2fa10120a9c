package image

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"lukechampine.com/blake3"
)

// Parts of a zstd frame, RFC 8878 section 3.1.1.
const (
	zstdMagic    = 0xfd2fb528
	maxZstdBlock = 128 << 10 // bytes of content of a block
	blockRaw     = 0
	blockRLE     = 1
)

// appendPlainHeader appends the frame header of section 6: a content size of
// 8 bytes, a window of 128 KiB, a checksum.
func appendPlainHeader(dst []byte, length int64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, zstdMagic)
	dst = append(dst, 0xc4, 0x38)
	return binary.LittleEndian.AppendUint64(dst, uint64(length))
}

// appendBlockHeader appends the three bytes before a block; size counts its
// content, and last tells that no other follows.
func appendBlockHeader(dst []byte, kind, size int, last bool) []byte {
	h := uint32(size<<3 | kind<<1)
	if last {
		h |= 1
	}
	return append(dst, byte(h), byte(h>>8), byte(h>>16))
}

// zeros makes the frames of zeros, section 6, and remembers their checksums.
// It is not safe for concurrent use.
type zeros struct{ sums map[int64]uint32 }

// appendFrame appends the frame that holds length zeros.
func (z *zeros) appendFrame(dst []byte, length int64) []byte {
	dst = appendPlainHeader(dst, length)
	for left := length; left > 0; left -= maxZstdBlock {
		dst = appendBlockHeader(dst, blockRLE, int(min(left, maxZstdBlock)), left <= maxZstdBlock)
		dst = append(dst, 0)
	}
	return binary.LittleEndian.AppendUint32(dst, z.sum(length))
}

// zeroFrameSize returns the length of the frame that holds length zeros.
func zeroFrameSize(length int64) int64 {
	const around, block = 18, 4 // header and checksum; an RLE block
	return around + (length+maxZstdBlock-1)/maxZstdBlock*block
}

// sum returns the low 32 bits of the XXH64 of length zeros.
func (z *zeros) sum(length int64) uint32 {
	if sum, ok := z.sums[length]; ok {
		return sum
	}
	var block [64 << 10]byte
	h := xxhash.New()
	for left := length; left > 0; left -= int64(len(block)) {
		h.Write(block[:min(left, int64(len(block)))])
	}
	if z.sums == nil {
		z.sums = map[int64]uint32{}
	}
	z.sums[length] = uint32(h.Sum64())
	return z.sums[length]
}

// A blankChunk is what becomes of a full chunk that is in use but holds nothing
// but zeros, as the inode tables of a large and empty file system do.
type blankChunk struct {
	frame  []byte
	digest Digest
	quick  [quickSize]byte
}

func newBlankChunk(size int64) *blankChunk {
	sum, quick := sha256.New(), blake3.New(quickSize, nil)
	var block [64 << 10]byte
	for left := size; left > 0; left -= int64(len(block)) {
		sum.Write(block[:min(left, int64(len(block)))])
		quick.Write(block[:min(left, int64(len(block)))])
	}
	var z zeros
	return &blankChunk{z.appendFrame(nil, size), Digest(sum.Sum(nil)), [quickSize]byte(quick.Sum(nil))}
}

// appendStored appends a frame that holds raw uncompressed.
func appendStored(dst, raw []byte) []byte {
	sum := uint32(xxhash.Sum64(raw))
	dst = appendPlainHeader(dst, int64(len(raw)))
	for len(raw) > 0 {
		n := min(len(raw), maxZstdBlock)
		dst = appendBlockHeader(dst, blockRaw, n, n == len(raw))
		dst = append(dst, raw[:n]...)
		raw = raw[n:]
	}
	return binary.LittleEndian.AppendUint32(dst, sum)
}

// isZero reports whether p holds nothing but zeros.
func isZero(p []byte) bool {
	for len(p) >= 64 {
		q := p[:64]
		if binary.NativeEndian.Uint64(q)|binary.NativeEndian.Uint64(q[8:])|
			binary.NativeEndian.Uint64(q[16:])|binary.NativeEndian.Uint64(q[24:])|
			binary.NativeEndian.Uint64(q[32:])|binary.NativeEndian.Uint64(q[40:])|
			binary.NativeEndian.Uint64(q[48:])|binary.NativeEndian.Uint64(q[56:]) != 0 {
			return false
		}
		p = p[64:]
	}
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
