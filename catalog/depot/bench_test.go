package depot

import "testing"

// BenchmarkMirror mirrors images of 24 MiB in frames, over connections in memory.
func BenchmarkMirror(b *testing.B) {
	s := newShop(b)
	var numbers []int
	for n := range 384 {
		numbers = append(numbers, n+1)
	}
	s.image("room@1", numbers...)
	var bytes int64
	for b.Loop() {
		b.StopTimer()
		have, opt := newStore(b), mirrorOf(b, Handler(s.dir()), s.root)
		b.StartTimer()
		done, err := Mirror(b.Context(), have, opt)
		if err != nil {
			b.Fatal(err)
		}
		bytes = done.Bytes
	}
	b.SetBytes(bytes)
}
