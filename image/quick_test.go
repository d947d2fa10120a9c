package image

import (
	"math/rand/v2"
	"testing"

	"lukechampine.com/blake3"
)

// The library's own function is the judge, at every length near the edges of
// its blocks, chunks and subtrees.
func TestQuickSum(t *testing.T) {
	p := make([]byte, 24<<20)
	rng := rand.NewChaCha8([32]byte{7})
	_, _ = rng.Read(p)
	lengths := []int{0, 24 << 20, 24<<20 - 1}
	for _, edge := range []int{64, 1 << 10, 2 << 10, 16 << 10, 32 << 10, 48 << 10, 80 << 10, 256 << 10, 1 << 20, 3 << 20, 16 << 20} {
		lengths = append(lengths, edge-1, edge, edge+1, edge+1000)
	}
	for _, n := range lengths {
		want := blake3.Sum256(p[:n])
		if got := quickSum(p[:n]); got != [quickSize]byte(want[:]) {
			t.Errorf("%d bytes: got %x, want %x", n, got, want[:quickSize])
		}
	}
}

func BenchmarkQuickSum(b *testing.B) {
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		quickSum(p)
	}
}
