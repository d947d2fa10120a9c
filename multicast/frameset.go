package multicast

import (
	"math/bits"
	"slices"
)

// A frameSet is a set of the numbers 0 to n-1. Numbers outside of these are
// never in it. It is not safe for concurrent use.
type frameSet struct {
	words []uint64
	n     int
	count int
}

func newFrameSet(n int) *frameSet {
	return &frameSet{words: make([]uint64, (n+63)/64), n: n}
}

// add puts i into the set and reports whether it was not there.
func (s *frameSet) add(i int) bool {
	if i < 0 || i >= s.n || s.has(i) {
		return false
	}
	s.words[i/64] |= 1 << (i % 64)
	s.count++
	return true
}

// remove takes i out of the set and reports whether it was there.
func (s *frameSet) remove(i int) bool {
	if !s.has(i) {
		return false
	}
	s.words[i/64] &^= 1 << (i % 64)
	s.count--
	return true
}

func (s *frameSet) has(i int) bool {
	return i >= 0 && i < s.n && s.words[i/64]>>(i%64)&1 == 1
}

// next returns the first member that is not below from, or -1.
func (s *frameSet) next(from int) int {
	from = max(from, 0)
	if from >= s.n {
		return -1
	}
	word := s.words[from/64] &^ (1<<(from%64) - 1)
	for i := from / 64; ; word = s.words[i] {
		if word != 0 {
			return i*64 + bits.TrailingZeros64(word)
		}
		if i++; i == len(s.words) {
			return -1
		}
	}
}

// gap returns the first number that is not below from and not a member, at
// most n.
func (s *frameSet) gap(from int) int {
	for i := from / 64; i < len(s.words); i++ {
		word := ^s.words[i]
		if i == from/64 {
			word &^= 1<<(from%64) - 1
		}
		if word != 0 {
			return min(i*64+bits.TrailingZeros64(word), s.n)
		}
	}
	return s.n
}

// len returns how many members the set has.
func (s *frameSet) len() int { return s.count }

// size returns n.
func (s *frameSet) size() int { return s.n }

func (s *frameSet) clone() *frameSet {
	c := *s
	c.words = slices.Clone(s.words)
	return &c
}

// addRange puts the numbers from start up to end into the set.
func (s *frameSet) addRange(start, end int) {
	for i := start; i < end; i++ {
		s.add(i)
	}
}

// merge puts the members of other, a set of the same numbers, into the set.
func (s *frameSet) merge(other *frameSet) {
	s.count = 0
	for i, w := range other.words {
		s.words[i] |= w
		s.count += bits.OnesCount64(s.words[i])
	}
}
