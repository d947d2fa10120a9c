package image

import (
	"encoding/binary"
	"io"
)

// maxFrameSize returns how long the frame of a chunk may be, section 5.
func maxFrameSize(length, chunkSize int64) int { return int(length + chunkSize/64 + 64) }

// A frameWalker finds the end of a zstd frame (RFC 8878, section 3.1.1) while
// its bytes come in, and checks that the frame is as section 5 wants it.
type frameWalker struct {
	length    int64 // content size that the frame must have
	maxWindow int64
	limit     int // bytes that the frame may be long

	at   int  // everything before has been looked at
	last bool // the last block has been seen
}

func newFrameWalker(length, chunkSize int64) *frameWalker {
	return &frameWalker{
		length:    length,
		maxWindow: max(chunkSize, maxZstdBlock),
		limit:     maxFrameSize(length, chunkSize),
	}
}

// walk looks at b, the frame's first bytes, and returns how many it needs to
// get on. When that is len(b) or less, it is the length of the frame.
func (w *frameWalker) walk(b []byte) (need int, err error) {
	if w.at == 0 {
		if need, err := w.header(b); err != nil || need > len(b) {
			return need, err
		}
	}
	for !w.last {
		if len(b) < w.at+3 {
			return w.at + 3, w.check(w.at + 3)
		}
		if err := w.block(b[w.at:]); err != nil {
			return 0, err
		}
	}
	return w.at + 4, w.check(w.at + 4) // the checksum
}

func (w *frameWalker) check(n int) error {
	if n > w.limit {
		return damaged("frame longer than %d bytes", w.limit)
	}
	return nil
}

// header looks at the frame header and moves behind it.
func (w *frameWalker) header(b []byte) (need int, err error) {
	if len(b) < 5 {
		return 5, nil
	}
	if binary.LittleEndian.Uint32(b) != zstdMagic {
		return 0, damaged("not a zstd frame (%x)", b[:4])
	}
	descriptor := b[4]
	single := descriptor>>5&1 == 1
	if descriptor&0x0b != 0 || descriptor&4 == 0 {
		return 0, damaged("frame header descriptor %#x", descriptor)
	}
	sizes := [4]int{0, 2, 4, 8}
	n := sizes[descriptor>>6]
	at := 6
	if single {
		at = 5
		n = max(n, 1)
	}
	if n == 0 {
		return 0, damaged("frame without a content size")
	}
	if len(b) < at+n {
		return at + n, nil
	}
	if window := int64(1<<(10+b[5]>>3)) / 8 * int64(8+b[5]&7); !single && (b[5]>>3 > 20 || window > w.maxWindow) {
		return 0, damaged("frame with a window of %d bytes", window)
	}
	if size := contentSize(b[at : at+n]); size != uint64(w.length) {
		return 0, damaged("frame of %d bytes of data, want %d", size, w.length)
	}
	w.at = at + n
	return w.at, nil
}

// contentSize decodes the field of that name.
func contentSize(p []byte) uint64 {
	switch len(p) {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(p)) + 256
	case 4:
		return uint64(binary.LittleEndian.Uint32(p))
	}
	return binary.LittleEndian.Uint64(p)
}

// block looks at a block header at the start of b and moves behind the block.
func (w *frameWalker) block(b []byte) error {
	h := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	size := h >> 3
	switch kind := h >> 1 & 3; {
	case kind == 3 || size > maxZstdBlock:
		return damaged("zstd block header %#x", h)
	case kind == blockRLE:
		size = 1
	}
	w.last = h&1 == 1
	w.at += 3 + size
	return w.check(w.at)
}

// checkFrame checks that frame is one frame as section 5 wants it, and
// nothing behind it.
func checkFrame(frame []byte, length, chunkSize int64) error {
	n, err := newFrameWalker(length, chunkSize).walk(frame)
	if err != nil {
		return err
	}
	if n != len(frame) {
		return damaged("frame of %d bytes, its blocks take %d", len(frame), n)
	}
	return nil
}

// readFrame reads one frame from r into buf, which it grows as needed.
func readFrame(r io.Reader, buf []byte, length, chunkSize int64) ([]byte, error) {
	w := newFrameWalker(length, chunkSize)
	buf = buf[:0]
	for {
		need, err := w.walk(buf)
		if err != nil || need <= len(buf) {
			return buf, err
		}
		if buf, err = readMore(r, buf, need); err != nil {
			return buf, err
		}
	}
}

// readMore reads from r until buf holds n bytes.
func readMore(r io.Reader, buf []byte, n int) ([]byte, error) {
	at := len(buf)
	if n > cap(buf) {
		buf = append(buf, make([]byte, n-at)...)
	}
	buf = buf[:n]
	_, err := io.ReadFull(r, buf[at:])
	return buf, streamError(err)
}

// streamError turns the end of a stream where more is needed into damage.
func streamError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return damaged("ends early")
	}
	return err
}
