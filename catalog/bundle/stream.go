package bundle

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A stream reads the bytes in a file of the zstd seekable format. It is an
// io.ReaderAt that is safe for concurrent use. It takes 28 bytes of memory for
// each frame, and a few frames.
type stream struct {
	r      io.ReaderAt
	dec    *zstd.Decoder
	frames []frame
	packed []int64 // where each frame begins in r, and the last one ends
	starts []int64 // where its bytes begin in the stream, and where it ends

	mu     sync.Mutex
	recent []raw // frames that were read last, the newest at the end
}

// raw is the bytes in a frame.
type raw struct {
	number int
	data   []byte
}

// mostRecent is how many frames a stream keeps.
const mostRecent = 4

// openStream reads the seek table of a file of size bytes.
func openStream(r io.ReaderAt, size int64) (*stream, error) {
	n, err := readSeekFooter(r, size)
	if err != nil {
		return nil, err
	}
	s := &stream{r: r}
	if err := s.readSeekTable(n, size); err != nil {
		return nil, err
	}
	s.dec, err = newDecoder()
	return s, err
}

// readSeekFooter returns how many frames the file has by the end of its seek
// table.
func readSeekFooter(r io.ReaderAt, size int64) (int, error) {
	var magic [4]byte
	if size < skippableSize+seekFooterSize {
		return 0, fmt.Errorf("%w: %d bytes are too few", ErrNotBundle, size)
	}
	if err := readAt(r, magic[:], 0); err != nil {
		return 0, err
	}
	if binary.LittleEndian.Uint32(magic[:]) != zstdMagic {
		return 0, fmt.Errorf("%w: it does not begin like a zstd file", ErrNotBundle)
	}
	var footer [seekFooterSize]byte
	if err := readAt(r, footer[:], size-seekFooterSize); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint32(footer[:])
	switch {
	case binary.LittleEndian.Uint32(footer[5:]) != seekableMagic:
		return 0, fmt.Errorf("%w: there is no seek table at its end; it may be cut short", ErrNotBundle)
	case footer[4] != seekChecksums:
		return 0, damaged("seek table descriptor %#x, want %#x", footer[4], seekChecksums)
	case n < 1 || n > mostFrames || int64(n)*seekEntrySize > size:
		return 0, damaged("seek table of %d frames in a file of %d bytes, at most %d are allowed", n, size, mostFrames)
	}
	return int(n), nil
}

// readSeekTable reads the seek table of n frames, which must take up all of the
// file before it.
func (s *stream) readSeekTable(n int, size int64) error {
	table := make([]byte, skippableSize+n*seekEntrySize)
	end := size - seekFooterSize - int64(len(table))
	if end < 0 {
		return damaged("seek table of %d frames is longer than the file", n)
	}
	if err := readAt(s.r, table, end); err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint32(table) != skippableMagic || le.Uint32(table[4:]) != uint32(n*seekEntrySize+seekFooterSize) {
		return damaged("seek table begins with %x", table[:skippableSize])
	}
	s.frames = make([]frame, n)
	s.packed, s.starts = make([]int64, n+1), make([]int64, n+1)
	for i := range n {
		e := table[skippableSize+i*seekEntrySize:]
		f := frame{le.Uint32(e), le.Uint32(e[4:]), le.Uint32(e[8:])}
		if f.packed == 0 || f.packed > maxPacked || f.length == 0 || f.length > frameSize {
			return damaged("seek table: frame %d of %d bytes for %d", i, f.packed, f.length)
		}
		s.frames[i] = f
		s.packed[i+1] = s.packed[i] + int64(f.packed)
		s.starts[i+1] = s.starts[i] + int64(f.length)
	}
	if s.packed[n] != end {
		return damaged("seek table: the frames take %d bytes, but there are %d before it", s.packed[n], end)
	}
	return nil
}

// size returns how many bytes the stream has.
func (s *stream) size() int64 { return s.starts[len(s.frames)] }

// ReadAt implements io.ReaderAt.
func (s *stream) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		if off < 0 || off >= s.size() {
			return n, io.EOF
		}
		i := sort.Search(len(s.frames), func(i int) bool { return s.starts[i+1] > off })
		data, err := s.frame(i)
		if err != nil {
			return n, err
		}
		m := copy(p[n:], data[off-s.starts[i]:])
		n += m
		off += int64(m)
	}
	return n, nil
}

// frame returns the bytes in frame i. Nobody writes to them.
func (s *stream) frame(i int) ([]byte, error) {
	s.mu.Lock()
	j := slices.IndexFunc(s.recent, func(r raw) bool { return r.number == i })
	if j >= 0 {
		r := s.recent[j]
		s.recent = append(slices.Delete(s.recent, j, j+1), r)
		s.mu.Unlock()
		return r.data, nil
	}
	s.mu.Unlock()
	data, err := s.unpack(i)
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w", i, err)
	}
	s.keep(raw{i, data})
	return data, nil
}

// keep adds r to the frames that were read last.
func (s *stream) keep(r raw) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recent) == mostRecent {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	s.recent = append(s.recent, r)
}

// unpack reads frame i and checks it.
func (s *stream) unpack(i int) ([]byte, error) {
	f := s.frames[i]
	packed := make([]byte, f.packed)
	if err := readAt(s.r, packed, s.packed[i]); err != nil {
		return nil, err
	}
	if err := checkFrame(packed); err != nil {
		return nil, err
	}
	data, err := s.dec.DecodeAll(packed, make([]byte, 0, f.length))
	switch {
	case err != nil:
		return nil, damaged("%w", err)
	case len(data) != int(f.length):
		return nil, damaged("holds %d bytes, the seek table says %d", len(data), f.length)
	case checksum(data) != f.sum:
		return nil, damaged("its bytes do not have the sum that the seek table says")
	}
	return data, nil
}

// readAt fills p from r, where so many bytes must be.
func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == io.EOF:
		return damaged("ends early")
	}
	return err
}
