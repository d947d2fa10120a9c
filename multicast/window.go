package multicast

// windowSize is how far behind the highest sequence one may be, section 3.
const windowSize = 65536

// windowWords is the length of a window's ring: the next power of two above
// what it must hold, in words.
const windowWords = 2 * windowSize / 64

// A window remembers which positions of a lane have been taken. Its zero value
// has taken none. It is not safe for concurrent use.
type window struct {
	highest uint64
	words   [windowWords]uint64 // a ring of bits by position
}

// take reports whether the position has not been taken yet and is not too far
// behind, and remembers it.
func (w *window) take(position uint64) bool {
	word := position / 64
	if position > w.highest {
		last := w.highest / 64
		for i := range min(word-last, windowWords) {
			w.words[(last+1+i)%windowWords] = 0
		}
		w.highest = position
	}
	if w.highest-position > windowSize {
		return false
	}
	bits, bit := &w.words[word%windowWords], uint64(1)<<(position%64)
	if *bits&bit != 0 {
		return false
	}
	*bits |= bit
	return true
}
