package image

import "encoding/binary"

// A Checker tells what frames hold. It is used by one goroutine; Close frees
// its decoder.
type Checker struct {
	u   *unpacker
	raw []byte
}

// NewChecker returns a Checker for the frames of images with chunks of
// chunkSize bytes. It takes one chunk of memory, and what zstd needs.
func NewChecker(chunkSize int64) (*Checker, error) {
	u, err := newUnpacker(chunkSize, true)
	return &Checker{u, make([]byte, chunkSize)}, err
}

// Close frees what the Checker holds. It must not be used afterwards.
func (c *Checker) Close() { c.u.close() }

// ChunkSums are the two digests of a chunk.
type ChunkSums struct {
	Digest Digest
	quick  [quickSize]byte
}

// Check unpacks the frame of the data chunk f of m, checks that it is as
// section 5 wants it, and returns the digests of the chunk. They are not compared
// with those of m, which a stream knows only at its end; see HasChunk. An error
// is a [ChunkError] that wraps [ErrDamaged].
func (c *Checker) Check(m *Manifest, f Frame, frame []byte) (ChunkSums, error) {
	raw, quick, err := c.u.decode(frame, f.Length, c.raw)
	if err == nil && !unusedIsZero(raw, f.Start, m.Used) {
		err = damaged("bytes that are not in use are not zero")
	}
	if err != nil {
		return ChunkSums{}, &ChunkError{f.Chunk, f.Start, err}
	}
	return ChunkSums{c.u.digest(frame, raw), quick}, nil
}

// Digest unpacks a frame that is known by nothing but its bytes and returns the
// digest of its chunk. An error wraps [ErrDamaged].
func (c *Checker) Digest(frame []byte) (Digest, error) {
	length, err := frameContent(frame, c.u.chunkSize)
	if err != nil {
		return Digest{}, err
	}
	raw, _, err := c.u.decode(frame, length, c.raw)
	if err != nil {
		return Digest{}, err
	}
	return c.u.digest(frame, raw), nil
}

// frameContent returns the content size that a frame claims, at least 1 and at
// most a chunk. All else about the frame is unchecked.
func frameContent(frame []byte, chunkSize int64) (int64, error) {
	if len(frame) < 14 || binary.LittleEndian.Uint32(frame) != zstdMagic {
		return 0, damaged("not a zstd frame")
	}
	descriptor := frame[4]
	at, n := 6, [4]int{0, 2, 4, 8}[descriptor>>6]
	if descriptor>>5&1 == 1 { // a single segment has no window descriptor, RFC 8878 section 3.1.1.1
		at, n = 5, max(n, 1)
	}
	if n == 0 {
		return 0, damaged("frame without a content size")
	}
	size := contentSize(frame[at : at+n])
	if size < 1 || size > uint64(chunkSize) {
		return 0, damaged("frame of %d bytes of data", size)
	}
	return int64(size), nil
}

// HasChunk tells whether s are the digests of the data chunk of number n, below
// ChunkCount. Those of m must be known.
func (m *Manifest) HasChunk(n int, s ChunkSums) bool {
	return m.digests[n] == s.Digest && m.quick[n] == s.quick
}

// ChunkDigest returns the digest of the data chunk of number n, below
// ChunkCount. It must be known, which in a stream it is only at the end.
func (m *Manifest) ChunkDigest(n int) Digest { return m.digests[n] }

// CheckTable reads the partition table from the data and checks that it is the
// one that the head describes. An image without a table has nothing to check.
func (im *Image) CheckTable() error { return im.verifyTable() }

// MaxFrameSize returns how many bytes the longest frame has in an image with
// chunks of chunkSize bytes.
func MaxFrameSize(chunkSize int64) int64 { return int64(maxFrameSize(chunkSize, chunkSize)) }

// FrameSumOf returns what the image says of the frame of a data chunk. ok is
// false if it has no frame sums. Check is not filled in.
func (im *Image) FrameSumOf(f Frame) (s FrameSum, ok bool) {
	if im.frameSums == nil {
		return s, false
	}
	return FrameSum{Size: im.FrameSize(f), Sum: im.frameSums[f.Chunk]}, true
}
