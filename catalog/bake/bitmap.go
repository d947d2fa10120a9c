package bake

import (
	"math/bits"
	"sync/atomic"
)

// A bitmap is a set of numbers below a size. Its parts come into being as they
// are set. It is safe for concurrent use.
type bitmap struct {
	size  int64
	pages []atomic.Pointer[bitPage]
	count *atomic.Int64 // of numbers that are set
}

// A bitPage has the bits of 4096 numbers.
type bitPage [pageBits / 64]atomic.Uint64

const pageBits = 4096

func newBitmap(size int64) bitmap {
	return bitmap{size, make([]atomic.Pointer[bitPage], (size+pageBits-1)/pageBits), new(atomic.Int64)}
}

// page returns the page of that number, made if it was not there.
func (b *bitmap) page(n int64) *bitPage {
	if p := b.pages[n].Load(); p != nil {
		return p
	}
	b.pages[n].CompareAndSwap(nil, new(bitPage))
	return b.pages[n].Load()
}

// has reports whether i is set.
func (b *bitmap) has(i int64) bool {
	p := b.pages[i/pageBits].Load()
	return p != nil && p[i%pageBits/64].Load()>>(i%64)&1 != 0
}

// next returns the first number from i and below end that is set, or that is
// not, and end if there is none.
func (b *bitmap) next(i, end int64, set bool) int64 {
	for i < end {
		p := b.pages[i/pageBits].Load()
		if p == nil {
			if !set {
				return i
			}
			i = (i/pageBits + 1) * pageBits
			continue
		}
		word := p[i%pageBits/64].Load()
		if !set {
			word = ^word
		}
		if word >>= i % 64; word != 0 {
			return min(i+int64(bits.TrailingZeros64(word)), end)
		}
		i = (i/64 + 1) * 64
	}
	return end
}

// set sets all numbers from first and below end.
func (b *bitmap) set(first, end int64) {
	for i := first; i < end; {
		stop := min((i/64+1)*64, end)
		mask := ^uint64(0) << (i % 64)
		if stop%64 != 0 {
			mask &= 1<<(stop%64) - 1
		}
		old := b.page(i / pageBits)[i%pageBits/64].Or(mask)
		b.count.Add(int64(bits.OnesCount64(mask &^ old)))
		i = stop
	}
}
