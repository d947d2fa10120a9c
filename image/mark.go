package image

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/cespare/xxhash/v2"

	"slipcast/partition"
)

// Place of the mark on a target, section 11, in bytes: behind the sign, which
// is wiped and flushed before the mark comes.
const (
	markAt   = 8192
	markSize = 4096
)

var markName = [8]byte{'S', 'L', 'I', 'P', 'H', 'A', 'L', 'F'}

// newMark returns the mark of a restore of the image of that digest.
func newMark(d Digest) piece {
	e := &encoder{}
	e.b = append(e.b, markName[:]...)
	e.u64(version)
	e.b = append(e.b, d[:]...)
	e.b = binary.LittleEndian.AppendUint64(e.b, xxhash.Sum64(e.b))
	return piece{
		Extent: partition.Extent{Start: markAt, Length: markSize},
		data:   append(e.b, make([]byte, markSize-len(e.b))...),
	}
}

// CutShort tells whether target bears the mark of a restore of this image that
// did not end, section 11. Whoever can write to the target can write a mark,
// so it proves nothing of what else is there. A stream, whose digest is
// known only at its end, has no marks, nor has a target that cannot be read
// or has less than 12 KiB.
func (m *Manifest) CutShort(target io.ReaderAt) bool {
	if m.quick == nil {
		return false
	}
	have := make([]byte, markSize)
	n, _ := target.ReadAt(have, markAt)
	return n == markSize && bytes.Equal(have, newMark(m.Digest).data)
}

// Half tells whether target is as a restore leaves it that did not end, section
// 11: its first 4 KiB are zeros, or it bears the mark of any image. A disk that
// is all zeros is half, too; one that cannot be read is not.
func Half(target io.ReaderAt) bool {
	start, mark := make([]byte, signSize), make([]byte, markSize)
	if n, _ := target.ReadAt(start, 0); n < signSize {
		return false
	}
	if isZero(start) {
		return true
	}
	if n, _ := target.ReadAt(mark, markAt); n < markSize {
		return false
	}
	digest := Digest(mark[16:48])
	return bytes.Equal(mark, newMark(digest).data)
}

// resume prepares to leave a mark, and looks whether there is one.
func (r *Restorer) resume() {
	if !r.known || r.canvas.Size() < markAt+markSize {
		return
	}
	r.canvas.mark = newMark(r.m.Digest)
	if r.resumed = r.m.CutShort(r.canvas.Target); r.resumed {
		r.canvas.marked, r.canvas.blank = true, false
	}
}

// Resumed tells whether the target bears the mark of a restore of this very
// image that was cut short, and Resume asks to go on with it.
func (r *Restorer) Resumed() bool { return r.resumed }
