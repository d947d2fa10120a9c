package multicast

import (
	"encoding/binary"
	"fmt"
)

// A need is what a receiver says when it knows what it lacks, section 5. The
// runs are parsed when the session is known whose numbers they must be.
type need struct {
	frames  uint32 // of the session
	lacking uint32
	runs    []byte
}

// newNeed returns the need for the frames in s, a set of those of the session.
func newNeed(s *frameSet) need {
	return need{uint32(s.size()), uint32(s.len()), appendRuns(nil, s)}
}

func (need) messageType() messageType { return typeNeed }

func (m need) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, m.frames)
	dst = binary.LittleEndian.AppendUint32(dst, m.lacking)
	return append(dst, m.runs...)
}

func (d *decoder) need() need {
	m := need{frames: d.u32(), lacking: d.u32()}
	m.runs = d.take(len(d.b))
	return m
}

// set returns the lacking frames of a session with so many frames, of which
// the first are pieces of the preface, and the last those of the annex, which a
// receiver may leave out. Any error wraps errMalformed.
func (m need) set(frames, pieces, annex int) (*frameSet, error) {
	if n := int64(m.frames); n != int64(frames) && n != int64(frames-annex) {
		return nil, fmt.Errorf("%w: needs of a session of %d frames, not %d", errMalformed, m.frames, frames)
	}
	s := newFrameSet(frames)
	s.n = int(m.frames) // none beyond is in it
	err := parseRuns(m.runs, s)
	s.n = frames
	if err != nil {
		return nil, err
	}
	if int64(s.len()) != int64(m.lacking) {
		return nil, fmt.Errorf("%w: %d frames are needed, not %d", errMalformed, s.len(), m.lacking)
	}
	if i := s.next(0); i >= 0 && i < pieces {
		return nil, fmt.Errorf("%w: piece %d of the preface is needed, which is known", errMalformed, i)
	}
	return s, nil
}
