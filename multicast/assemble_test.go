package multicast

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

const (
	testSymbol = 272 // bytes, with 48 of zero behind each
	testStride = 320
)

// testAssembler makes an assembler of frames of those sizes, all of which are
// lacking.
func testAssembler(budget int, sizes ...int) *assembler {
	a := newAssembler(testSymbol, testStride, 0, len(sizes), nil, budget)
	all := newFrameSet(len(sizes))
	all.addRange(0, all.size())
	a.know(func(f int) int { return sizes[f] }, all)
	return a
}

// give gives an assembler the symbol, whose bytes are all b.
func (a *assembler) give(frame uint32, block, symbol int, b byte) *assembly {
	payload := bytes.Repeat([]byte{b}, testSymbol)
	return a.take(&header{frame: frame, block: uint8(block), symbol: uint8(symbol)}, payload)
}

// deficitsOf returns what a report says of a frame, nil if it is not open.
func (a *assembler) deficitsOf(frame uint32) []uint8 {
	var r report
	a.report(&r)
	for _, o := range r.open {
		if o.frame == frame {
			return o.deficits
		}
	}
	return nil
}

// What no frame of the session has is passed over, and what has come already.
func TestAssembleRefuses(t *testing.T) {
	type symbol struct {
		frame         uint32
		block, number int
	}
	const size = 300 * testSymbol // two blocks of 150
	tests := []struct {
		name string
		give []symbol
		want []uint8 // deficits of frame 1
	}{
		{"a symbol", []symbol{{1, 0, 0}}, []uint8{149, 150}},
		{"the same twice", []symbol{{1, 0, 0}, {1, 0, 0}}, []uint8{149, 150}},
		{"twice, with another between", []symbol{{1, 1, 70}, {0, 0, 0}, {1, 1, 70}}, []uint8{150, 149}},
		{"the last parity symbol", []symbol{{1, 0, 213}}, []uint8{149, 150}},
		{"one beyond it", []symbol{{1, 0, 0}, {1, 0, 214}, {1, 0, 255}}, []uint8{149, 150}},
		{"a block that the frame has not", []symbol{{1, 0, 0}, {1, 2, 0}, {1, 255, 0}}, []uint8{149, 150}},
		{"a frame that the session has not", []symbol{{1, 0, 0}, {2, 0, 0}, {1 << 31, 0, 0}, {1<<32 - 1, 0, 0}}, []uint8{149, 150}},
	}
	for _, tt := range tests {
		a := testAssembler(1<<20, size, size)
		for _, s := range tt.give {
			if got := a.give(s.frame, s.block, s.number, 1); got != nil {
				t.Errorf("%s: frame %d is complete", tt.name, got.frame)
			}
		}
		if got := a.deficitsOf(1); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: deficits %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Symbols lie where they belong, with zeros behind them, also in buffers that
// held another frame; any k symbols complete a block.
func TestAssembleBytes(t *testing.T) {
	sizes := []int{200*testSymbol - 5, 3 * testSymbol, 200 * testSymbol, 1}
	a := testAssembler(1<<20, sizes...)
	rng := rand.New(rand.NewPCG(1, 1))
	for f, size := range sizes {
		c := newCut(size, testSymbol)
		var done *assembly
		for b := range c.blocks {
			for _, i := range rng.Perm(c.source(b) + paritySymbols)[:c.source(b)] {
				if done != nil {
					t.Fatalf("frame %d is complete too early", f)
				}
				done = a.give(uint32(f), b, i, byte(1+(f+i)%255))
			}
		}
		if done == nil {
			t.Fatalf("frame %d is not complete", f)
		}
		for b := range done.blocks {
			checkBytes(t, done, b)
		}
		a.finish(done, true)
	}
	if a.used != 0 || a.listed != 0 || len(a.open) != 0 {
		t.Errorf("%d bytes used, %d listed, %d frames open, want none", a.used, a.listed, len(a.open))
	}
}

// checkBytes complains about a block that does not hold what was given.
func checkBytes(t *testing.T, s *assembly, block int) {
	t.Helper()
	b := &s.blocks[block]
	count := len(b.extra)
	check := func(number int, data []byte) {
		want := make([]byte, testStride)
		copy(want, bytes.Repeat([]byte{byte(1 + (int(s.frame)+number)%255)}, testSymbol))
		if !bytes.Equal(data, want) {
			t.Errorf("frame %d, block %d, symbol %d is %x, want %x", s.frame, block, number, data, want)
		}
	}
	for _, x := range b.extra {
		check(x.number, x.data)
	}
	for i := range b.source {
		if b.held[i/64]>>(i%64)&1 == 1 {
			check(i, s.data[(s.cut.first(block)+i)*testStride:][:testStride])
			count++
		}
	}
	if count != b.source {
		t.Errorf("frame %d, block %d holds %d symbols, want %d", s.frame, block, count, b.source)
	}
}

// A frame that turned out wrong is lacking again, from its first symbol on.
func TestAssembleWrongFrame(t *testing.T) {
	a := testAssembler(1<<20, 2*testSymbol)
	a.give(0, 0, 0, 1)
	s := a.give(0, 0, 1, 1)
	if s == nil || a.lacks.len() != 0 {
		t.Fatalf("the frame is %v, %d are lacking, want it complete, and none", s, a.lacks.len())
	}
	if got := a.deficitsOf(0); !bytes.Equal(got, []uint8{0}) {
		t.Errorf("deficits %v before it is on the disk, want 0", got)
	}
	if got := a.give(0, 0, 2, 1); got != nil {
		t.Errorf("a symbol of a complete frame completes frame %d", got.frame)
	}
	a.finish(s, false)
	if got := a.deficitsOf(0); got != nil || !a.lacks.has(0) || len(a.done) > 0 || a.used != 0 {
		t.Errorf("deficits %v, lacking %v, done %v, %d bytes used, want none, true, none, 0", got, a.lacks.has(0), a.done, a.used)
	}
	a.give(0, 0, 1, 1)
	if got := a.deficitsOf(0); !bytes.Equal(got, []uint8{1}) {
		t.Errorf("deficits %v, want 1", got)
	}
}

// Frames beyond the budget are refused, one is always let in, and one that was
// refused begins with one of its first symbols.
func TestAssembleBudget(t *testing.T) {
	const size = 100 * testSymbol
	a := testAssembler(2*100*testStride+100, size, size, size, 1000*testSymbol)
	steps := []struct {
		frame  uint32
		symbol int
		do     func()
		open   bool
		full   bool // told by the next report
	}{
		{0, 50, nil, true, false}, // has not been refused
		{1, 0, nil, true, false},
		{2, 0, nil, false, true},
		{0, 1, nil, true, false},
		{2, 1, func() { a.finish(a.open[0], false) }, true, false},
		{0, 0, nil, false, true},
		{0, 8, func() { a.finish(a.open[1], true) }, false, true}, // its first symbols have passed
		{0, 7, nil, true, false},
		{3, 0, nil, false, true}, // larger than all
		{3, 0, func() { a.finish(a.open[0], true); a.finish(a.open[2], true) }, true, false},
	}
	for i, s := range steps {
		if s.do != nil {
			s.do()
		}
		a.give(s.frame, 0, s.symbol, 1)
		var r report
		a.report(&r)
		if open := a.open[s.frame] != nil; open != s.open || r.full != s.full {
			t.Errorf("step %d: frame %d is open: %v, full is %v, want %v, %v", i, s.frame, open, r.full, s.open, s.full)
		}
		if len(a.open) > 1 && a.used > a.budget {
			t.Errorf("step %d: %d bytes used by %d frames, want at most %d", i, a.used, len(a.open), a.budget)
		}
	}
}

// A report has at most 64 KiB, however many frames are open or done.
func TestAssembleReportSize(t *testing.T) {
	const frames = 70_000
	tests := []struct {
		name string
		size int
		give func(a *assembler, f uint32)
	}{
		{"open, of one block", 2 * testSymbol, func(a *assembler, f uint32) { a.give(f, 0, 0, 1) }},
		{"open, of many blocks", 20_000 * testSymbol, func(a *assembler, f uint32) { a.give(f, 0, 0, 1) }},
		{"done", testSymbol, func(a *assembler, f uint32) { a.finish(a.give(f, 0, 0, 1), true) }},
		{"every second one done", testSymbol, func(a *assembler, f uint32) {
			if f%2 == 0 {
				a.finish(a.give(f, 0, 0, 1), true)
			}
		}},
		{"every second one open, all others done", 2 * testSymbol, func(a *assembler, f uint32) {
			a.give(f, 0, 0, 1)
			if s := a.give(f, 0, int(1-f%2), 1); s != nil {
				a.finish(s, true)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAssembler(testSymbol, testStride, 0, frames, nil, 1<<40)
			a.dry = true
			all := newFrameSet(frames)
			all.addRange(0, all.size())
			a.know(func(int) int { return tt.size }, all)
			for f := range uint32(frames) {
				tt.give(a, f)
			}
			want := len(a.done)
			told := newFrameSet(frames)
			reports := 0
			for r := new(report); reports == 0 || len(a.done) > 0; reports++ {
				a.report(r)
				if n := len(r.append(nil)); n > maxBody {
					t.Fatalf("report %d has %d bytes, want at most %d", reports, n, maxBody)
				}
				if !slices.IsSorted(r.done) || !slices.IsSortedFunc(r.open, func(a, b openFrame) int { return int(a.frame) - int(b.frame) }) {
					t.Errorf("report %d is not in order", reports)
				}
				for _, f := range r.done {
					if !told.add(int(f)) {
						t.Errorf("frame %d is done twice", f)
					}
				}
				if len(r.open) != len(a.open) {
					t.Errorf("report %d lists %d frames, want %d", reports, len(r.open), len(a.open))
				}
			}
			if told.len() != want {
				t.Errorf("%d frames were told to be done, want %d", told.len(), want)
			}
		})
	}
}

// An assembler knows only the preface at first, and the rest when it is told.
func TestAssembleKnow(t *testing.T) {
	a := newAssembler(testSymbol, testStride, 1, 4, func(int) int { return testSymbol }, 1<<20)
	if s := a.give(2, 0, 0, 1); s != nil || len(a.open) > 0 {
		t.Errorf("a frame of unknown size was taken")
	}
	s := a.give(0, 0, 0, 1)
	if s == nil {
		t.Fatalf("the preface is not complete")
	}
	a.finish(s, true)
	lacks := newFrameSet(4)
	lacks.addRange(2, 4)
	a.know(func(int) int { return testSymbol }, lacks)
	for f, want := range []bool{false, false, true, true} {
		if s := a.give(uint32(f), 0, 0, 1); (s != nil) != want {
			t.Errorf("frame %d is complete: %v, want %v", f, s != nil, want)
		} else if s != nil {
			a.finish(s, true)
		}
	}
	if want := []uint32{0, 2, 3}; !slices.Equal(a.done, want) {
		t.Errorf("done are %v, want %v", a.done, want)
	}
}

// Whatever symbols come, memory is accounted for, is used again, and goes back
// when all is done.
func TestAssembleAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	sizes := make([]int, 40)
	for i := range sizes {
		sizes[i] = 1 + rng.IntN(400*testSymbol)
	}
	a := testAssembler(900*testStride, sizes...)
	s := &seat{asm: a}
	for n := 0; a.lacks.len() > 0 || len(a.open) > 0; n++ {
		if n > 1_000_000 {
			t.Fatalf("%d frames are lacking after %d symbols", a.lacks.len(), n)
		}
		f := a.lacks.next(rng.IntN(40))
		if len(a.open) > 0 && rng.IntN(50) > 0 { // mostly of those that are open
			for open := range a.open {
				f = int(open)
			}
		}
		if done := a.give(uint32(f), rng.IntN(4), rng.IntN(256), 1); done != nil {
			a.finish(done, rng.IntN(10) > 0)
		}
		if n%100 == 0 {
			checkSeat(t, s)
		}
	}
	checkSeat(t, s)
	if a.used != 0 || len(a.done) != 40 || len(a.spares) > 4 {
		t.Errorf("%d bytes used, %d frames done, %d spare buffers, want 0, 40, at most 4", a.used, len(a.done), len(a.spares))
	}
}
