package multicast

import (
	"cmp"
	"slices"
)

// An assembler makes frames of the symbols that a receiver gets, section 6. It
// is not safe for concurrent use. Its memory is bounded by budget.
type assembler struct {
	symbol int // bytes
	stride int // bytes from one symbol to the next in memory
	pieces int // frames that belong to the preface
	size   func(frame int) int
	dry    bool // the symbols have no bytes: for simulations

	known  int       // frames whose size is known
	lacks  *frameSet // frames that are not complete
	budget int       // bytes that open frames may take
	used   int
	listed int // bytes that open frames take in a report
	open   map[uint32]*assembly
	last   *assembly // that the last symbol was for
	spare  [][]byte  // symbol buffers
	spares [][]byte  // frame buffers

	full    bool      // a frame was ignored since the last report, for want of memory
	refused *frameSet // frames that were ignored, until they begin again
	done    []uint32  // since the last report
}

// maxGap is what a number takes in a report at most, in bytes.
const maxGap = 5

// maxDone is how many frames one report says are done at most.
const maxDone = maxBody / 4 / maxGap

// An assembly is a frame of which there are symbols.
type assembly struct {
	frame  uint32
	cut    cut
	data   []byte // source symbols, stride apart
	blocks []blockAssembly
	left   int // blocks that are not complete
}

// A blockAssembly is what there is of a block.
type blockAssembly struct {
	held   [4]uint64 // a bit for each symbol
	count  int       // bits that are set
	source int       // source symbols
	extra  []extraSymbol
}

// An extraSymbol is a parity symbol that is held.
type extraSymbol struct {
	number int
	data   []byte
}

// newAssembler returns an assembler that lacks the preface, of which it knows
// the size, and may use budget bytes.
func newAssembler(symbol, stride, pieces, frames int, size func(frame int) int, budget int) *assembler {
	a := &assembler{
		symbol: symbol, stride: stride, pieces: pieces, size: size, budget: budget,
		known: pieces, lacks: newFrameSet(frames), refused: newFrameSet(frames), open: map[uint32]*assembly{},
	}
	for f := range pieces {
		a.lacks.add(f)
	}
	return a
}

// know tells the assembler the sizes of all frames and what is lacking.
func (a *assembler) know(size func(frame int) int, lacks *frameSet) {
	a.size, a.known = size, a.lacks.size()
	for f := lacks.next(0); f >= 0; f = lacks.next(f + 1) {
		a.lacks.add(f)
	}
}

// take takes a symbol, whose payload it copies. It returns a frame that has
// become complete with it, else nil. Symbols that are of no use are passed over.
func (a *assembler) take(h *header, payload []byte) *assembly {
	s := a.last
	if s == nil || s.frame != h.frame {
		if s = a.find(h.frame, int(h.symbol)); s == nil {
			return nil
		}
		a.last = s
	}
	if int(h.block) >= len(s.blocks) {
		return nil
	}
	b := &s.blocks[h.block]
	k := b.source
	word, bit := h.symbol>>6, uint64(1)<<(h.symbol&63)
	if b.count >= k || b.held[word]&bit != 0 || int(h.symbol) >= k+paritySymbols {
		return nil
	}
	b.held[word] |= bit
	b.count++
	if !a.dry {
		a.keep(s, b, int(h.block), int(h.symbol), k, payload)
	}
	if b.count < k {
		return nil
	}
	if s.left--; s.left > 0 {
		return nil
	}
	a.lacks.remove(int(h.frame))
	return s
}

// find returns the assembly of a frame, a new one if the frame is lacking and
// there is room, else nil. A frame that was ignored is begun with one of its
// first symbols only, since the rest alone would have to be repaired.
func (a *assembler) find(frame uint32, symbol int) *assembly {
	const firstSymbols = 8
	if int64(frame) >= int64(a.known) || !a.lacks.has(int(frame)) {
		return nil
	}
	if s := a.open[frame]; s != nil {
		return s
	}
	c := newCut(a.size(int(frame)), a.symbol)
	need := c.symbols * a.stride
	room := len(a.open) == 0 || a.used+need <= a.budget && a.listed+c.blocks+maxGap <= maxBody/2
	if !room || symbol >= firstSymbols && a.refused.has(int(frame)) {
		a.full = true
		a.refused.add(int(frame))
		return nil
	}
	a.refused.remove(int(frame))
	a.used += need
	a.listed += c.blocks + maxGap
	s := &assembly{frame: frame, cut: c, blocks: make([]blockAssembly, c.blocks), left: c.blocks}
	for b := range s.blocks {
		s.blocks[b].source = c.source(b)
	}
	if !a.dry {
		s.data = a.frameBuffer(need)
	}
	a.open[frame] = s
	return s
}

// keep stores the bytes of a symbol. What lies behind symbol bytes up to the
// next symbol stays zero, as the code wants it.
func (a *assembler) keep(s *assembly, b *blockAssembly, block, symbol, k int, payload []byte) {
	if symbol < k {
		at := (s.cut.first(block) + symbol) * a.stride
		copy(s.data[at:at+a.symbol], payload)
		return
	}
	var data []byte
	if n := len(a.spare); n > 0 {
		data, a.spare = a.spare[n-1], a.spare[:n-1]
	} else {
		data = make([]byte, a.stride)
	}
	copy(data, payload[:a.symbol])
	b.extra = append(b.extra, extraSymbol{symbol, data})
}

// frameBuffer returns a buffer of n bytes for the symbols of a frame. Old
// symbols in it are written over before they are used.
func (a *assembler) frameBuffer(n int) []byte {
	for i, buf := range slices.Backward(a.spares) {
		if cap(buf) >= n {
			a.spares = slices.Delete(a.spares, i, i+1)
			return buf[:n]
		}
	}
	return make([]byte, n)
}

// finish forgets a frame that is complete. If it turned out good it is done,
// else it is lacking again.
func (a *assembler) finish(s *assembly, good bool) {
	if good {
		a.done = append(a.done, s.frame)
	} else {
		a.lacks.add(int(s.frame))
	}
	a.drop(s)
}

// drop gives back what an assembly holds.
func (a *assembler) drop(s *assembly) {
	const keepSpare = 4 // frame buffers
	for i := range s.blocks {
		for _, x := range s.blocks[i].extra {
			a.spare = append(a.spare, x.data)
		}
	}
	if len(a.spares) < keepSpare && s.data != nil {
		a.spares = append(a.spares, s.data)
	}
	a.used -= s.cut.symbols * a.stride
	a.listed -= s.cut.blocks + maxGap
	delete(a.open, s.frame)
	if a.last == s {
		a.last = nil
	}
}

// report fills in what a report says of frames. What it lists as done is not
// listed again; what is too much waits for the next one.
func (a *assembler) report(r *report) {
	r.full, a.full = a.full, false
	told := min(len(a.done), maxDone)
	r.done = append(r.done[:0], a.done[:told]...)
	slices.Sort(r.done)
	a.done = append(a.done[:0], a.done[told:]...)
	n := 0
	for _, s := range a.open {
		if n == len(r.open) {
			r.open = append(r.open, openFrame{})
		}
		o := &r.open[n]
		n++
		o.frame, o.deficits = s.frame, o.deficits[:0]
		for b := range s.blocks {
			o.deficits = append(o.deficits, uint8(s.blocks[b].source-s.blocks[b].count))
		}
	}
	r.open = r.open[:n]
	slices.SortFunc(r.open, func(a, b openFrame) int { return cmp.Compare(a.frame, b.frame) })
}
