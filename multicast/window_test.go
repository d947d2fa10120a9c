package multicast

import (
	"math/rand/v2"
	"testing"
)

// naiveWindow is section 3, word by word.
type naiveWindow struct {
	highest uint64
	had     map[uint64]bool
}

func (w *naiveWindow) take(position uint64) bool {
	w.highest = max(w.highest, position)
	if w.had[position] || w.highest-position > 65536 {
		return false
	}
	w.had[position] = true
	return true
}

func TestWindow(t *testing.T) {
	for _, jump := range []int{1, 3, 100, 10_000, 70_000, 200_000} {
		rnd := rand.New(rand.NewPCG(1, uint64(jump)))
		w, naive := new(window), &naiveWindow{had: make(map[uint64]bool)}
		at := uint64(rnd.IntN(jump))
		for i := range 100_000 {
			position := at
			switch rnd.IntN(4) {
			case 0:
				at += uint64(rnd.IntN(jump)) + 1
				position = at
			case 1: // late
				position = at - min(at, uint64(rnd.IntN(2*jump+1)))
			case 2: // at the edge
				position = at - min(at, uint64(65530+rnd.IntN(12)))
			}
			if got, want := w.take(position), naive.take(position); got != want {
				t.Fatalf("jump %d, step %d: take(%d) = %v, want %v; the highest is %d", jump, i, position, got, want, naive.highest)
			}
		}
	}
}

func TestWindowEdges(t *testing.T) {
	steps := []struct {
		position uint64
		want     bool
	}{
		{0, true}, {0, false}, {65536, true}, {0, false}, {1, true}, {1, false},
		{65537, true}, {65537, false}, {2, true}, {0, false},
		{1 << 32, true}, {1<<32 - 1, true}, {1<<32 - 1, false}, {1<<32 - 65536, true}, {1<<32 - 65537, false},
		{1<<40 - 1, true}, {1<<40 - 1, false}, {1 << 32, false},
	}
	var w window
	for i, s := range steps {
		if got := w.take(s.position); got != s.want {
			t.Errorf("step %d: take(%d) = %v, want %v", i, s.position, got, s.want)
		}
	}
}

func TestWindowAllocates(t *testing.T) {
	var w window
	at := uint64(0)
	if n := testing.AllocsPerRun(1000, func() { w.take(at); at += 100 }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkWindow(b *testing.B) {
	var w window
	at := uint64(0)
	for b.Loop() {
		if !w.take(at) {
			b.Fatal(at)
		}
		at++
	}
}
