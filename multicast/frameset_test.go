package multicast

import (
	"math/rand/v2"
	"testing"
)

// A frameSet behaves like a map, at every size around that of a word.
func TestFrameSet(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 63, 64, 65, 200} {
		s, naive := newFrameSet(n), make(map[int]bool)
		for range 1000 {
			i := rnd.IntN(n+10) - 5
			inside := i >= 0 && i < n
			if rnd.IntN(2) == 0 {
				if got, want := s.add(i), inside && !naive[i]; got != want {
					t.Fatalf("n %d: add(%d) = %v, want %v", n, i, got, want)
				}
				if inside {
					naive[i] = true
				}
			} else {
				if got, want := s.remove(i), naive[i]; got != want {
					t.Fatalf("n %d: remove(%d) = %v, want %v", n, i, got, want)
				}
				delete(naive, i)
			}
			sameSet(t, s, naive, n)
		}
	}
}

// sameSet compares all that s tells about itself with a map.
func sameSet(t *testing.T, s *frameSet, naive map[int]bool, n int) {
	t.Helper()
	if s.len() != len(naive) || s.size() != n {
		t.Fatalf("n %d: %d of %d members, want %d", n, s.len(), s.size(), len(naive))
	}
	next, gap := -1, n
	for i := n + 3; i >= -3; i-- {
		inside := i >= 0 && i < n
		if naive[i] {
			next = i
		} else if inside {
			gap = i
		}
		if s.has(i) != naive[i] || s.next(i) != next || inside && s.gap(i) != gap {
			t.Fatalf("n %d, %d: has %v, want %v; next %d, want %d; gap want %d", n, i, s.has(i), naive[i], s.next(i), next, gap)
		}
	}
}

func TestFrameSetAll(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 128} {
		s := newFrameSet(n)
		s.addRange(0, s.size())
		if s.len() != n || s.next(n-1) != n-1 || s.gap(0) != n || s.has(n) {
			t.Errorf("n %d: %d members, the last %d, gap %d", n, s.len(), s.next(n-1), s.gap(0))
		}
	}
}

func TestFrameSetClone(t *testing.T) {
	s := newFrameSet(100)
	s.addRange(10, 20)
	c := s.clone()
	c.remove(10)
	s.add(50)
	if s.len() != 11 || c.len() != 9 || !s.has(10) || c.has(50) {
		t.Errorf("%d in the set and %d in its clone, want 11 and 9", s.len(), c.len())
	}
}
