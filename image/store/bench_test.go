package store

import (
	"testing"

	"slipcast/image"
)

// BenchmarkAdd adds an image of 64 MiB to an empty store, and once more.
func BenchmarkAdd(b *testing.B) {
	numbers := make([]int, 256)
	for i := range numbers {
		numbers[i] = i + 1
	}
	im := openBytes(b, capture(b, image.LevelFast, numbers...))
	for name, again := range map[string]bool{"new": false, "known": true} {
		b.Run(name, func(b *testing.B) {
			s := newStore(b)
			b.SetBytes(im.Size())
			if again {
				mustAdd(b, s, whole64(b, im), "lab")
			}
			for b.Loop() {
				if !again {
					b.StopTimer()
					s = newStore(b)
					b.StartTimer()
				}
				if _, err := s.Add(b.Context(), im, "lab", AddOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// whole64 returns the bytes of an image file.
func whole64(b *testing.B, im *image.Image) []byte {
	b.Helper()
	s := newStore(b)
	if _, err := s.Add(b.Context(), im, "lab", AddOptions{}); err != nil {
		b.Fatal(err)
	}
	return whole(b, mustOpen(b, s, "lab"))
}
