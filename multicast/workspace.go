package multicast

import "sync"

// A workspace is the memory in which the codes of all block sizes compute. The
// library asks for up to 256 buffers of 32 KiB, the largest piece that it takes
// of a shard, and uses no more of each than a shard is long: left alone, every
// code would hold 8 MiB, and buffers at such distances fall upon the same few
// lines of the processor's caches. These here lie a shard and a line apart, and
// overlap in what is never used. It is safe for concurrent use.
type workspace struct {
	shard int       // length of a shard, a multiple of a line
	pool  sync.Pool // of *[][]byte
}

const (
	workBuffers = 256 // the most that the library asks for
	cacheLine   = 64
)

// Get implements reedsolomon.WorkAllocator.
func (w *workspace) Get(n, size int) [][]byte {
	var buffers [][]byte
	if p, ok := w.pool.Get().(*[][]byte); ok && cap(*p) >= n {
		buffers = (*p)[:n]
	} else {
		buffers = w.make(max(n, workBuffers), size)[:n]
	}
	for i := range buffers {
		buffers[i] = buffers[i][:size]
	}
	return buffers
}

func (w *workspace) make(n, size int) [][]byte {
	distance := w.shard + cacheLine
	memory := make([]byte, n*distance+max(size-distance, 0))
	buffers := make([][]byte, n)
	for i := range buffers {
		buffers[i] = memory[i*distance:][:size:size]
	}
	return buffers
}

// Put implements reedsolomon.WorkAllocator.
func (w *workspace) Put(buffers [][]byte) { w.pool.Put(&buffers) }
