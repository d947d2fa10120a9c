package multicast

import (
	"bytes"
	"encoding/binary"
)

// maxAbout bounds what a sender says of its annex, in bytes.
const maxAbout = maxBody - 12

// An Annex is the last frames of a source, which receivers may do without: who
// does not know of them, or does not want them, takes part without them. The
// zero value is none.
type Annex struct {
	Frames int    // how many
	About  []byte // what they are, for sinks: at most 65524 bytes
}

// An annex is what a sender says of its annex, section 5.
type annex struct {
	frames uint32
	bytes  uint64 // of all of these
	about  []byte
}

func (annex) messageType() messageType { return typeAnnex }

func (m annex) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, m.frames)
	dst = binary.LittleEndian.AppendUint64(dst, m.bytes)
	return append(dst, m.about...)
}

func (d *decoder) annex() annex {
	m := annex{frames: d.u32(), bytes: d.u64()}
	m.about = d.take(len(d.b))
	if d.err == nil && (m.frames == 0 || m.bytes < uint64(m.frames) || m.bytes > uint64(m.frames)*maxFrame) {
		d.fail("an annex of %d frames of %d bytes", m.frames, m.bytes)
	}
	return m
}

func (m *annex) equal(o *annex) bool {
	return m.frames == o.frames && m.bytes == o.bytes && bytes.Equal(m.about, o.about)
}

// base returns how many frames the session has without its annex. x.mu is held.
func (x *reception) base() int { return x.pieces + int(x.offer.frames) }

// limit returns how many frames the session has for this receiver: those of the
// annex count if it takes it. x.mu is held.
func (x *reception) limit() int {
	if x.annexed {
		return x.base() + int(x.annex.frames)
	}
	return x.base()
}

// forgo makes the reception do without what it still lacks of the annex. x.mu is
// held.
func (x *reception) forgo() {
	x.annex, x.annexed = annex{}, false
	for f := x.asm.lacks.next(x.base()); f >= 0; f = x.asm.lacks.next(f + 1) {
		x.asm.lacks.remove(f)
		x.progress.Lacked--
		if s := x.asm.open[uint32(f)]; s != nil {
			x.asm.drop(s)
		}
	}
	x.arrived.Broadcast() // the end may be due
}

// forgoLost does without the annex if that is all that is lacking: for it no
// sender is waited for that was lost. x.mu is held.
func (x *reception) forgoLost() {
	if x.stage == filling && x.annexed && x.asm.lacks.next(0) >= x.base() {
		x.log.Warn("the annex did not come to its end")
		x.forgo()
	}
}
