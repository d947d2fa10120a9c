package multicast

import (
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// strideStep is what the lengths of the library's shards are multiples of.
const strideStep = 64

// A coder makes the parity symbols of blocks, and makes source symbols of
// parity symbols, section 2. It is safe for concurrent use.
type coder struct {
	symbolSize int
	work       workspace
	shards     sync.Pool // of *shardSpace

	mu     sync.Mutex
	blocks [maxSource + 1]reedsolomon.Encoder // by their number of source symbols
}

// A shardSpace is what parity needs for a moment. At most two symbols at the
// end of a frame have less than a stride of bytes from their start.
type shardSpace struct {
	shards [maxSource + paritySymbols][]byte
	ends   [2][maxSymbol]byte
}

func newCoder(symbolSize int) *coder {
	c := &coder{symbolSize: symbolSize}
	c.work.shard = c.stride()
	c.shards.New = func() any { return new(shardSpace) }
	return c
}

// stride returns the symbol size rounded up to a multiple of 64: the distance
// of symbols in memory.
func (c *coder) stride() int {
	return (c.symbolSize + strideStep - 1) / strideStep * strideStep
}

// block returns the code of blocks of k source symbols.
func (c *coder) block(k int) (reedsolomon.Encoder, error) {
	if k < 1 || k > maxSource {
		return nil, fmt.Errorf("a block of %d symbols", k)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks[k] == nil {
		e, err := reedsolomon.New(k, paritySymbols, reedsolomon.WithLeopardGF(true), reedsolomon.WithWorkAllocator(&c.work))
		if err != nil {
			return nil, fmt.Errorf("the code of %d symbols: %w", k, err)
		}
		c.blocks[k] = e
	}
	return c.blocks[k], nil
}

// parity returns the 64 parity symbols of a block in buf, which it grows as
// needed, each a stride behind the one before. Only the first symbolSize bytes
// of each mean something. symbols are the k source symbols as they lie in the
// frame, one behind the other; the last one may be cut short.
func (c *coder) parity(symbols []byte, k int, buf []byte) ([]byte, error) {
	code, err := c.block(k)
	if err != nil {
		return nil, err
	}
	if len(symbols) <= (k-1)*c.symbolSize || len(symbols) > k*c.symbolSize {
		return nil, fmt.Errorf("a block of %d symbols in %d bytes", k, len(symbols))
	}
	stride := c.stride()
	if cap(buf) < paritySymbols*stride {
		buf = make([]byte, paritySymbols*stride)
	}
	buf = buf[:paritySymbols*stride]
	space := c.shards.Get().(*shardSpace)
	defer c.shards.Put(space)
	shards := space.shards[:k+paritySymbols]
	defer clear(shards)
	c.sources(symbols, shards[:k], space)
	for i := range paritySymbols {
		shards[k+i] = buf[i*stride:][:stride]
	}
	return buf, code.Encode(shards)
}

// sources makes shards of the symbols without moving them: each byte of parity
// depends on the bytes at its own place alone, so what a shard has behind its
// symbol, the start of the next one, does no harm. What would go beyond the
// end is copied and filled up.
func (c *coder) sources(symbols []byte, shards [][]byte, space *shardSpace) {
	stride := c.stride()
	ends := 0
	for i := range shards {
		rest := symbols[i*c.symbolSize:]
		if len(rest) >= stride {
			shards[i] = rest[:stride]
			continue
		}
		end := space.ends[ends][:stride]
		ends++
		clear(end[copy(end, rest):])
		shards[i] = end
	}
}

// restore computes the missing source symbols of a block with k of them. shards
// has k+64 entries, each a stride long with zeros behind the symbol, or empty
// if the symbol is missing. Missing source symbols come into the capacity of
// their entries if that is at least a stride, else into new memory; missing
// parity symbols stay so.
func (c *coder) restore(shards [][]byte, k int) error {
	code, err := c.block(k)
	if err != nil {
		return err
	}
	return code.ReconstructData(shards)
}
