package image

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"io"
)

// An Image is an image that is read at random. It is safe for concurrent use.
type Image struct {
	Manifest
	r       io.ReaderAt
	size    int64
	offsets []int64 // of the data frames, and the end of the last one
}

// Open reads the manifest of the image of size bytes behind r, and checks it.
// It returns an error that wraps [ErrNotImage] or [ErrDamaged], or one of r.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	sum := sha256.New()
	m, headSize, err := readHead(io.NewSectionReader(r, 0, size), sum)
	if err != nil {
		return nil, err
	}
	im := &Image{Manifest: *m, r: r, size: size}
	frames := im.FrameCount() + 2
	tableSize := seekTableSize(frames)
	if err := im.checkFooter(frames); err != nil {
		return nil, in("seek table", err)
	}
	tailSize, err := im.readSeekTable(headSize, tableSize)
	if err != nil {
		return nil, in("seek table", err)
	}
	tailAt := im.offsets[len(im.offsets)-1]
	n, err := im.readTail(bufio.NewReaderSize(io.NewSectionReader(r, tailAt, tailSize), 64<<10), sum)
	if err == nil && n != tailSize {
		err = damaged("%d bytes, the seek table says %d", n, tailSize)
	}
	return im, in("tail", err)
}

// checkFooter checks the last bytes of the file before the seek table is
// trusted to be there.
func (im *Image) checkFooter(frames int) error {
	var footer [seekFooterSize]byte
	if im.size < seekTableSize(frames) {
		return damaged("the file ends early")
	}
	if _, err := im.r.ReadAt(footer[:], im.size-seekFooterSize); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(footer[5:]) != seekableMagic {
		return damaged("the file does not end with one: it was cut short or something was added")
	}
	if n := binary.LittleEndian.Uint32(footer[:]); int64(n) != int64(frames) {
		return damaged("%d frames, want %d", n, frames)
	}
	return nil
}

// readSeekTable fills im.offsets from the seek table and returns the length of
// the tail.
func (im *Image) readSeekTable(headSize, tableSize int64) (tailSize int64, err error) {
	frames := im.FrameCount()
	at, number := int64(0), -1
	table := bufio.NewReaderSize(io.NewSectionReader(im.r, im.size-tableSize, tableSize), 64<<10)
	data := newFrameCursor(&im.Manifest)
	err = readSeekTable(table, frames+2, func(s seekEntry) error {
		ok := s.length == 0 && s.sum == sumOfNothing
		switch {
		case number == -1:
			ok = ok && s.packed == headSize
			im.offsets = make([]int64, 0, frames+1) // not before the table is known to be there
		case number < frames:
			ok = data.next().allows(s, im.ChunkSize)
		}
		if !ok {
			return damaged("frame %d: %d bytes that hold %d of the disk, checksum %08x", number+1, s.packed, s.length, s.sum)
		}
		if number >= 0 {
			im.offsets = append(im.offsets, at)
		}
		tailSize = s.packed
		at += s.packed
		number++
		return nil
	})
	if err != nil {
		return 0, err
	}
	if at+tableSize != im.size {
		return 0, damaged("frames of %d bytes, want %d", at, im.size-tableSize)
	}
	return tailSize, nil
}

// allows tells whether what the seek table says of f can be.
func (f Frame) allows(s seekEntry, chunkSize int64) bool {
	if f.Hole {
		return s.length == f.Length && s.packed == zeroFrameSize(f.Length)
	}
	return s.length == f.Length && s.packed <= int64(maxFrameSize(f.Length, chunkSize))
}

// dataEntries returns a reader of the seek table's entries for data frames.
func (im *Image) dataEntries() io.Reader {
	n := im.FrameCount()
	at := im.size - seekTableSize(n+2) + skippableSize + seekEntrySize
	return bufio.NewReaderSize(io.NewSectionReader(im.r, at, int64(n)*seekEntrySize), 64<<10)
}

// Size returns the length of the image file in bytes.
func (im *Image) Size() int64 { return im.size }

// FrameSize returns the length of a data frame in bytes.
func (im *Image) FrameSize(f Frame) int64 { return im.offsets[f.Number+1] - im.offsets[f.Number] }

// ReadFrame reads the bytes of a data frame into buf, which it grows as
// needed. It does not check what is in them.
func (im *Image) ReadFrame(f Frame, buf []byte) ([]byte, error) {
	n := im.FrameSize(f) // Open has checked it
	if int64(cap(buf)) < n {
		buf = make([]byte, n, maxFrameSize(im.ChunkSize, im.ChunkSize))
	}
	buf = buf[:n]
	_, err := im.r.ReadAt(buf, im.offsets[f.Number])
	return buf, streamError(err)
}

// A frameCursor steps through the data frames of a manifest.
type frameCursor struct {
	m      *Manifest
	run, i int
}

func newFrameCursor(m *Manifest) *frameCursor { return &frameCursor{m: m} }

// next returns the next frame; there must be one.
func (c *frameCursor) next() Frame {
	r := &c.m.runs[c.run]
	f := r.at(c.i, c.m.ChunkSize)
	if c.i++; c.i == r.frames(c.m.ChunkSize) {
		c.run, c.i = c.run+1, 0
	}
	return f
}

// ProbeSize is how many bytes of a file [IsImage] needs.
const ProbeSize = skippableSize + 8

// IsImage tells whether a file that begins with p is an image.
func IsImage(p []byte) bool { return isHead(p) }
