package partition

import (
	"fmt"
	"io"
	"math"
)

// The sizes of sectors that disks have, in bytes.
const (
	minSector = 512
	maxSector = 4096
)

// A source reads a disk by sectors and remembers all that it has read.
type source struct {
	r      io.ReaderAt
	size   int64 // bytes
	sector int64 // bytes
	seen   []Write
}

// count returns how many sectors the disk has. Bytes behind the last whole
// one are not used.
func (s *source) count() int64 { return max(s.size, 0) / s.sector }

// sectors returns n sectors from lba on. The caller has bounded n.
func (s *source) sectors(lba, n int64) ([]byte, error) {
	if lba < 0 || n < 1 || lba > s.count()-n {
		return nil, fmt.Errorf("sector %d is not on the disk", lba)
	}
	w := Write{Offset: lba * s.sector, Data: make([]byte, n*s.sector)}
	if got, err := s.r.ReadAt(w.Data, w.Offset); got < len(w.Data) {
		return nil, fmt.Errorf("reading sector %d: %w", lba, err)
	}
	s.seen = append(s.seen, w)
	return w.Data, nil
}

// A rawReader is a disk of zeros with some bytes written onto it. Where
// writes overlap, the later one counts.
type rawReader []Write

// ReadAt implements io.ReaderAt. It never fails.
func (r rawReader) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	r.fill(p, off)
	return len(p), nil
}

// fill copies what is known of the bytes from off on to p.
func (r rawReader) fill(p []byte, off int64) {
	want := Extent{off, min(int64(len(p)), math.MaxInt64-off)}
	for _, w := range r {
		if both := want.Intersect(w.extent()); both.Length > 0 {
			copy(p[both.Start-off:], w.Data[both.Start-w.Offset:][:both.Length])
		}
	}
}
