package multicast

import (
	"errors"
	"testing"
)

// The blocks of a frame follow each other, have all of its symbols, differ by
// at most one, and are as few as can be.
func TestCut(t *testing.T) {
	for _, size := range []int{256, 1440, 8192} {
		for _, length := range []int{1, size - 1, size, size + 1, 192 * size, 192*size + 1, 1 << 20, largestFrame(size)} {
			c := newCut(length, size)
			symbol, start := 0, 0
			for b := range c.blocks {
				k := c.source(b)
				if c.first(b) != symbol || k < 1 || k > maxSource || k < c.source(0)-1 || k > c.source(0) {
					t.Errorf("%d bytes, symbols of %d: block %d has %d from %d, want from %d", length, size, b, k, c.first(b), symbol)
				}
				from, to := c.span(b)
				if from != start || to <= from {
					t.Errorf("%d bytes, symbols of %d: block %d lies at %d to %d, want from %d", length, size, b, from, to, start)
				}
				symbol, start = symbol+k, to
			}
			if symbol != c.symbols || start != length || (c.symbols-1)*size >= length || c.symbols*size < length {
				t.Errorf("%d bytes, symbols of %d: %d symbols and %d bytes in the blocks, want %d", length, size, symbol, start, c.symbols)
			}
			if fewest := (c.symbols + maxSource - 1) / maxSource; c.blocks != fewest || c.blocks > maxBlocks {
				t.Errorf("%d bytes, symbols of %d: %d blocks, want %d", length, size, c.blocks, fewest)
			}
		}
	}
}

func TestLargestFrame(t *testing.T) {
	for size, want := range map[int]int{256: 255 * 192 * 256, 368: 17 << 20, 8192: 17 << 20} {
		if got := largestFrame(size); got != want {
			t.Errorf("symbols of %d bytes: %d, want %d", size, got, want)
		}
	}
}

func TestPieces(t *testing.T) {
	for length, want := range map[int]int{0: 0, 1: 1, 256 << 10: 1, 256<<10 + 1: 2, 1<<20 - 1: 4} {
		if got := pieces(length); got != want {
			t.Errorf("a preface of %d bytes: %d pieces, want %d", length, got, want)
		}
	}
}

func TestSymbolSize(t *testing.T) {
	for size, ok := range map[int]bool{240: false, 256: true, 1440: true, 1441: false, 8192: true, 8208: false} {
		if err := checkSymbolSize(size); errors.Is(err, errMalformed) == ok || (err == nil) != ok {
			t.Errorf("symbols of %d bytes: %v, want taken %v", size, err, ok)
		}
	}
}
