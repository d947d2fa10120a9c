package fsmap

import (
	"encoding/binary"
	"math/bits"

	"slipcast/partition"
)

// ntfsBitmapPiece is how much of $Bitmap is read at once, in bytes; a
// multiple of eight.
const ntfsBitmapPiece = 1 << 20

// usedClusters returns the clusters that $Bitmap marks as used, in bytes. The
// clusters of own must be among them: a bitmap that calls the MFT free is not
// to be believed about anything else.
func (fs *ntfs) usedClusters(own partition.Extents) (partition.Extents, error) {
	file, err := fs.open(ntfsFileBitmap)
	if err != nil {
		return nil, err
	}
	bitmap, err := file.stream(ntfsData, "")
	if err != nil {
		return nil, err
	}
	used, err := fs.readBitmap(bitmap)
	if err != nil {
		return nil, err
	}
	for _, e := range own {
		if !used.Covers(e) {
			return nil, damaged("$Bitmap calls clusters free that hold the file system's own files, at offset %d", e.Start)
		}
	}
	return used, nil
}

// readBitmap walks through the bits of every cluster of the volume. What the
// bitmap has behind them is padding.
func (fs *ntfs) readBitmap(bitmap *ntfsStream) (partition.Extents, error) {
	need := (fs.clusters + 7) / 8
	if bitmap.size < need {
		return nil, damaged("$Bitmap has %d bytes, want %d", bitmap.size, need)
	}
	var b partition.Builder
	buf := make([]byte, ntfsBitmapPiece)
	for at := int64(0); at < need; at += ntfsBitmapPiece {
		n := min(ntfsBitmapPiece, need-at)
		if err := bitmap.read(buf[:n], at); err != nil {
			return nil, err
		}
		padded := buf[:(n+7)&^7]
		clear(padded[n:])
		fs.addBits(&b, padded, at*8)
	}
	return b.Extents(), nil
}

// addBits adds the clusters whose bits are set in p. The lowest bit of the
// first byte is cluster first; len(p) is a multiple of eight.
func (fs *ntfs) addBits(b *partition.Builder, p []byte, first int64) {
	for ; len(p) > 0 && first < fs.clusters; p, first = p[8:], first+64 {
		word := binary.LittleEndian.Uint64(p)
		for at := first; word != 0; {
			free := bits.TrailingZeros64(word)
			used := bits.TrailingZeros64(^(word >> free))
			at += int64(free)
			length := min(int64(used), fs.clusters-at)
			b.Add(at*fs.clusterSize, length*fs.clusterSize)
			at += int64(used)
			word = word >> free >> used
		}
	}
}

// ownExtents returns where the files are that the file system needs to be
// found at all.
func (fs *ntfs) ownExtents() (partition.Extents, error) {
	var list []partition.Extent
	for _, number := range []int64{ntfsFileMFT, ntfsFileMirror, ntfsFileLog, ntfsFileBitmap, ntfsFileBoot} {
		file, err := fs.open(number)
		if err != nil {
			return nil, err
		}
		s, err := file.stream(ntfsData, "")
		if err != nil {
			return nil, err
		}
		list = append(list, s.extents(0)...)
	}
	return partition.Normalize(list), nil
}
