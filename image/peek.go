package image

import (
	"encoding/binary"
	"io"
	"math"
)

// A Peek is what a few bytes of a preface tell of its image.
type Peek struct {
	Digest    Digest
	DiskSize  int64 // bytes
	ImageSize int64 // bytes of the image as a file
}

// PeekPreface reads a few bytes of a preface to say what image it belongs to.
// Nothing is checked but that it begins like one: [OpenPreface] does that.
func PeekPreface(r io.ReaderAt) (Peek, error) {
	var start [prefaceStart + skippableSize + headFixedSize]byte
	if n, err := r.ReadAt(start[:], 0); n < len(start) {
		return Peek{}, streamError(err)
	}
	head := start[prefaceStart:]
	size := binary.LittleEndian.Uint64(start[:])
	disk := binary.LittleEndian.Uint64(head[skippableSize+24:])
	if !isHead(head) || size > math.MaxInt64 || disk > maxDisk {
		return Peek{}, damaged("not the preface of an image")
	}
	p := Peek{DiskSize: int64(disk), ImageSize: int64(size)}
	const digestAt = skippableSize + tailFixedSize - len(p.Digest)
	tailAt := prefaceStart + skippableSize + int64(binary.LittleEndian.Uint32(head[4:]))
	if n, err := r.ReadAt(p.Digest[:], tailAt+int64(digestAt)); n < len(p.Digest) {
		return Peek{}, streamError(err)
	}
	return p, nil
}
