package multicast

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// randomBytes returns n bytes that look like a frame's.
func randomBytes(rnd *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	return p
}

// shardsOf lays a block out as a receiver has it that got all symbols.
func shardsOf(t testing.TB, c *coder, symbols []byte, k int) [][]byte {
	t.Helper()
	parity, err := c.parity(symbols, k, nil)
	if err != nil {
		t.Fatal(err)
	}
	shards := make([][]byte, k+paritySymbols)
	for i := range shards {
		shards[i] = make([]byte, c.stride())
		if i < k {
			copy(shards[i], symbols[i*c.symbolSize:min((i+1)*c.symbolSize, len(symbols))])
		} else {
			copy(shards[i], parity[(i-k)*c.stride():][:c.symbolSize])
		}
	}
	return shards
}

// lose takes n symbols away, source symbols so that their memory stays.
func lose(shards [][]byte, k int, lost []int) {
	for _, i := range lost {
		if i < k {
			clear(shards[i])
			shards[i] = shards[i][:0]
		} else {
			shards[i] = nil
		}
	}
}

// checkSources compares the source symbols of shards with those of the frame.
func checkSources(t *testing.T, shards [][]byte, symbols []byte, size int) {
	t.Helper()
	for i := 0; i*size < len(symbols); i++ {
		want := symbols[i*size : min((i+1)*size, len(symbols))]
		if len(shards[i]) < size || !bytes.Equal(shards[i][:len(want)], want) || !isZero(shards[i][len(want):]) {
			t.Errorf("symbol %d is not what was sent, filled up with zeros", i)
		}
	}
}

// Any k symbols of a block give the block, whatever its size and that of its
// symbols, also if the last one is short.
func TestRestore(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{256, 272, 1440, 1456, 8192} {
		c := newCoder(size)
		for _, k := range []int{1, 2, 3, 5, 63, 64, 65, 100, 127, 128, 129, 174, 191, 192} {
			for _, cutOff := range []int{0, 1, size - 1} {
				symbols := randomBytes(rnd, k*size-cutOff)
				shards := shardsOf(t, c, symbols, k)
				lost := rnd.Perm(k + paritySymbols)[:rnd.IntN(paritySymbols+1)]
				t.Run(fmt.Sprintf("size %d, k %d, short by %d, lost %d", size, k, cutOff, len(lost)), func(t *testing.T) {
					lose(shards, k, lost)
					if err := c.restore(shards, k); err != nil {
						t.Fatal(err)
					}
					checkSources(t, shards, symbols, size)
				})
			}
		}
	}
}

// What is missing comes into the memory that its entry has, and missing parity
// stays missing.
func TestRestoreInPlace(t *testing.T) {
	const k = 100
	c := newCoder(1440)
	symbols := randomBytes(rand.New(rand.NewPCG(1, 2)), k*1440)
	shards := shardsOf(t, c, symbols, k)
	lost := []int{0, 7, 99, k, k + 63}
	memory := [][]byte{shards[0], shards[7], shards[99]}
	lose(shards, k, lost)
	if err := c.restore(shards, k); err != nil {
		t.Fatal(err)
	}
	for i, p := range memory {
		if &p[0] != &shards[lost[i]][0] {
			t.Errorf("symbol %d is not in the memory that was given for it", lost[i])
		}
	}
	if shards[k] != nil || shards[k+63] != nil {
		t.Error("parity was computed that nobody needs")
	}
	checkSources(t, shards, symbols, 1440)
}

// What a parity symbol's bytes are depends on no byte at another place, and not
// on what lay in memory before.
func TestParityLanes(t *testing.T) {
	const k, size = 130, 272
	c := newCoder(size)
	symbols := randomBytes(rand.New(rand.NewPCG(1, 2)), k*size)
	before, err := c.parity(symbols, k, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range k {
		symbols[i*size+17]++
	}
	after, err := c.parity(symbols, k, bytes.Repeat([]byte{0xaa}, len(before)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range paritySymbols {
		for at := range size {
			same := before[i*c.stride()+at] == after[i*c.stride()+at]
			if at != 17 && !same {
				t.Fatalf("parity symbol %d: byte %d is another one because of byte 17", i, at)
			}
		}
	}
}

// Too few symbols, or a block that there is not, are an error.
func TestCoderRefuses(t *testing.T) {
	c := newCoder(256)
	symbols := randomBytes(rand.New(rand.NewPCG(1, 2)), 10*256)
	for _, k := range []int{-1, 0, 9, 11, 193} {
		if _, err := c.parity(symbols, k, nil); err == nil {
			t.Errorf("parity of %d symbols in %d bytes: no error", k, len(symbols))
		}
	}
	shards := shardsOf(t, c, symbols, 10)
	lose(shards, 10, rand.Perm(10 + paritySymbols)[:paritySymbols+1])
	if err := c.restore(shards, 10); err == nil {
		t.Error("restore of 9 of 10 symbols: no error")
	}
	for _, k := range []int{0, 9, 193} {
		if err := c.restore(shards, k); err == nil {
			t.Errorf("restore of %d symbols in %d entries: no error", k, len(shards))
		}
	}
}

// Coders are used by several goroutines at once.
func TestCoderConcurrent(t *testing.T) {
	c := newCoder(1440)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(g)))
			for range 20 {
				k := 1 + rnd.IntN(maxSource)
				symbols := randomBytes(rnd, k*1440)
				shards := shardsOf(t, c, symbols, k)
				lose(shards, k, rnd.Perm(k + paritySymbols)[:paritySymbols])
				if err := c.restore(shards, k); err != nil {
					t.Error(err)
				}
				checkSources(t, shards, symbols, 1440)
			}
		})
	}
	wg.Wait()
}

func benchmarkBlock(b *testing.B, symbolSize int) (*coder, []byte, int) {
	const k = 174
	c := newCoder(symbolSize)
	b.SetBytes(int64(k * symbolSize))
	b.ReportAllocs()
	return c, randomBytes(rand.New(rand.NewPCG(1, 2)), k*symbolSize), k
}

func BenchmarkParity(b *testing.B) {
	c, symbols, k := benchmarkBlock(b, 1440)
	var buf []byte
	for b.Loop() {
		var err error
		if buf, err = c.parity(symbols, k, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	for _, n := range []int{1, 8, 60} {
		b.Run(fmt.Sprintf("lost %d", n), func(b *testing.B) {
			c, symbols, k := benchmarkBlock(b, 1440)
			shards := shardsOf(b, c, symbols, k)
			for b.Loop() {
				lose(shards, k, rand.Perm(k)[:n])
				if err := c.restore(shards, k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
