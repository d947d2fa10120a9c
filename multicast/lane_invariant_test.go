package multicast

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// checkLane complains about a lane whose parts do not agree.
func checkLane(t *testing.T, l *lane) {
	t.Helper()
	owed := 0
	for f := range l.frames {
		n := 0
		for _, p := range l.peers {
			if p.lacks.has(f) {
				n++
			}
		}
		if n > 0 {
			owed += newCut(l.size(f), l.symbol).symbols
		}
		s := l.sent[f]
		switch {
		case int(l.want[f]) != n:
			t.Fatalf("want[%d] is %d, but %d peers lack the frame", f, l.want[f], n)
		case n == 0 && l.queue.has(f):
			t.Fatalf("frame %d is queued, but nobody lacks it", f)
		case s != nil:
			checkSending(t, l, s, n)
		case n > 0 && !l.queue.has(f) && l.head < horizon:
			t.Fatalf("frame %d is lacking, but neither queued nor sent", f)
		}
	}
	if owed != l.owed {
		t.Fatalf("%d symbols are owed, want %d", l.owed, owed)
	}
	if l.pass.s != nil && (!l.pass.s.inPass || l.sent[l.pass.s.frame] != l.pass.s) {
		t.Fatalf("frame %d is in the pass, but not known to be", l.pass.s.frame)
	}
	if len(l.order) != len(l.sent) {
		t.Fatalf("%d frames are in order, but %d are known", len(l.order), len(l.sent))
	}
	checkMemory(t, l)
}

// checkSending complains about a frame that n peers lack.
func checkSending(t *testing.T, l *lane, s *sending, n int) {
	t.Helper()
	if s.inPass != (l.pass.s == s) {
		t.Fatalf("frame %d: in the pass is %v", s.frame, s.inPass)
	}
	queued := 0
	for i := range s.blocks {
		b := &s.blocks[i]
		queued += b.pending
		switch {
		case b.pending < 0 || b.unsent < 0:
			t.Fatalf("frame %d, block %d: %d repairs pending, %d symbols to come", s.frame, i, b.pending, b.unsent)
		case n == 0 && (b.pending > 0 || b.unsent > 0):
			t.Fatalf("frame %d, block %d: %d repairs pending and %d symbols to come, but nobody lacks it", s.frame, i, b.pending, b.unsent)
		case !s.inPass && b.unsent > 0:
			t.Fatalf("frame %d, block %d: %d symbols to come, but it is not in the pass", s.frame, i, b.unsent)
		case b.pending > 0 && !slices.Contains(l.repairs, blockID{s.frame, i}):
			t.Fatalf("frame %d, block %d: %d repairs pending, but it is not in the list of repairs", s.frame, i, b.pending)
		case !slices.IsSorted(b.sequences) || len(b.sequences) > 0 && b.sequences[len(b.sequences)-1] > s.last:
			t.Fatalf("frame %d, block %d: sequences %v, last %d", s.frame, i, b.sequences, s.last)
		}
	}
	if queued != s.queued {
		t.Fatalf("frame %d: %d repairs are queued, the blocks have %d", s.frame, s.queued, queued)
	}
}

// checkMemory complains about a lane that remembers what is behind its horizon.
func checkMemory(t *testing.T, l *lane) {
	t.Helper()
	sequences := 0
	for _, s := range l.sent {
		for i := range s.blocks {
			sequences += len(s.blocks[i].sequences)
		}
	}
	if limit := 3 * horizon; len(l.sent) > limit || sequences > limit || len(l.log.entries) > limit {
		t.Fatalf("%d frames, %d sequences and %d entries of the log are remembered, want at most %d", len(l.sent), sequences, len(l.log.entries), limit)
	}
}

// checkSeat complains about a receiver that takes more memory than it may.
func checkSeat(t *testing.T, s *seat) {
	t.Helper()
	a := s.asm
	used, listed, largest := 0, 0, 0
	for _, f := range a.open {
		n := f.cut.symbols * a.stride
		used, listed, largest = used+n, listed+f.cut.blocks+maxGap, max(largest, n)
	}
	if used != a.used || listed != a.listed {
		t.Fatalf("receiver %d says that it uses %d and lists %d bytes, these are %d and %d", s.id, a.used, a.listed, used, listed)
	}
	if a.used > a.budget+largest {
		t.Fatalf("receiver %d uses %d bytes, want at most %d and a frame of %d", s.id, a.used, a.budget, largest)
	}
	if !s.finished.IsZero() && (a.used != 0 || a.listed != 0 || len(a.open) != 0) {
		t.Fatalf("receiver %d is done, but uses %d bytes, lists %d, and has %d frames open", s.id, a.used, a.listed, len(a.open))
	}
}

// inspected makes every event of a room be followed by all checks.
func inspected(t *testing.T, r *room) {
	n := 0
	r.inspect = func() {
		if n++; n%3 != 0 && r.lane.lacking() { // the checks take longer than all else
			return
		}
		checkLane(t, r.lane)
		for _, s := range r.receivers {
			checkSeat(t, s)
		}
	}
}

// anyRoom makes a small room in which anything may happen.
func anyRoom(t *testing.T, seed uint64) *room {
	rng := rand.New(rand.NewPCG(seed, 11))
	sizes := make([]int, 1+rng.IntN(30))
	for i := range sizes {
		sizes[i] = 1 + rng.IntN([]int{100, 20_000, 400_000}[rng.IntN(3)])
	}
	r := newMixedRoom(t, len(sizes), func(f int) int { return sizes[f] }, []float64{10e6, 60e6, 200e6}[rng.IntN(3)])
	r.kept = func(*seat) bool { return rng.IntN(20) > 0 }
	for range 1 + rng.IntN(5) {
		r.anySeat(rng)
	}
	for range rng.IntN(3) {
		r.after(time.Duration(rng.IntN(300))*time.Millisecond, func() { r.anySeat(rng) })
	}
	inspected(t, r)
	return r
}

// anySeat adds a receiver of any kind.
func (r *room) anySeat(rng *rand.Rand) {
	p := []float64{0, 0.01, 0.1, 0.5}[rng.IntN(4)]
	n := []network{newRandomLoss(p, rng.Uint64()), newBurstLoss(p, 20, rng.Uint64()), newSlowLink(20e6, 30_000, nil)}[rng.IntN(3)]
	lacks := newFrameSet(r.lane.frames)
	for f := range r.lane.frames {
		if rng.IntN(4) > 0 {
			lacks.add(f)
		}
	}
	lacks.add(rng.IntN(r.lane.frames))
	s := r.seat(n, lacks.has)
	switch rng.IntN(6) {
	case 0:
		s.slowDisk(r, 1+rng.IntN(1<<20), time.Duration(rng.IntN(30))*time.Millisecond)
	case 1:
		s.disorder(rng)
	case 2:
		s.late = func() time.Duration { return time.Duration(rng.IntN(2000)) * time.Millisecond }
	case 3:
		at := time.Duration(rng.IntN(500)) * time.Millisecond
		r.after(at, s.die)
		r.after(at+5*time.Second, func() { r.lane.leave(s.id) }) // its connection is lost
	case 4:
		r.after(time.Duration(rng.IntN(500))*time.Millisecond, func() { s.die(); r.lane.leave(s.id) })
	}
}

// Whatever happens, the parts of a lane agree after every event, no frame is
// forgotten, and memory has its bounds.
func TestAnything(t *testing.T) {
	seeds := 40
	if raceDetector {
		seeds = 5
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { anyRoom(t, uint64(seed)).run(10 * time.Minute) })
	}
}

// A lane remembers no more than its horizon, with the smallest frames, and
// where a block is asked for again and again.
func TestHorizon(t *testing.T) {
	const frames = horizon + horizon/2
	now := time.Unix(1000, 0)
	l := newLane(laneOptions{frames: frames, size: func(int) int { return 1 }, symbol: roomSymbol, rate: 1e9, floor: 5e6, wire: roomWire})
	l.started = true
	all := newFrameSet(frames)
	all.addRange(0, all.size())
	l.join(1, now)
	l.need(1, all)
	done := &report{}
	for i := range frames {
		l.next()
		if i > 0 {
			done.done = append(done.done, uint32(i))
		}
		if i%horizon == 0 {
			checkMemory(t, l)
		}
	}
	l.report(1, done, now)
	lost := &report{open: []openFrame{{0, []uint8{1}}}}
	for range frames {
		lost.head, lost.received = l.head, l.head
		l.report(1, lost, now)
		l.next()
	}
	checkMemory(t, l)
	if n := len(l.sent[0].blocks[0].sequences); n == 0 || n > horizon {
		t.Errorf("%d sequences of one block are remembered, want some, at most %d", n, horizon)
	}
}

// FuzzLane feeds a lane with reports of peers that may be hostile: its parts
// agree after each.
func FuzzLane(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07"))
	f.Add([]byte("join, and report; next, next, next; leave"))
	f.Add([]byte("007000002")) // a frame that is complete with the only one who lacks it
	f.Fuzz(func(t *testing.T, p []byte) {
		sizes := []int{1, 1440, 300_000, 600_000, 5}
		l := newLane(laneOptions{pieces: 1, frames: len(sizes), size: func(f int) int { return sizes[f] }, symbol: roomSymbol, rate: 60e6, floor: 5e6, wire: roomWire})
		now := time.Unix(1000, 0)
		byteAt := func() int {
			if len(p) == 0 {
				return 0
			}
			b := p[0]
			p = p[1:]
			return int(b)
		}
		for len(p) > 0 {
			fuzzStep(l, byteAt, now)
			checkLane(t, l)
			now = now.Add(time.Millisecond)
		}
	})
}

// fuzzStep does to a lane what the next bytes say.
func fuzzStep(l *lane, next func() int, now time.Time) {
	op, id := next(), next()%4
	switch op % 8 {
	case 0:
		if l.peer(id) == nil {
			l.join(id, now)
		}
	case 1:
		l.leave(id)
	case 2:
		set := newFrameSet(l.frames)
		for f, bits := 0, next(); f < l.frames; f++ {
			if bits>>f&1 == 1 {
				set.add(f)
			}
		}
		l.started = true
		l.need(id, set)
	case 3:
		l.drop(id, l.pieces)
	case 4:
		for range next() {
			if _, ok := l.next(); !ok {
				l.silence(now)
				l.sync(true)
			}
		}
	case 5:
		l.sample(now)
	default:
		l.report(id, fuzzReport(l, next), now)
	}
}

// fuzzReport makes a report that a parser may have let through.
func fuzzReport(l *lane, next func() int) *report {
	r := &report{head: uint64(max(0, int(l.head)+3-next())), received: uint64(next() * next()), full: next()%2 == 1}
	for f, bits := 0, next(); f < l.frames; f++ {
		switch bits >> f & 3 {
		case 1:
			r.done = append(r.done, uint32(f))
		case 2:
			o := openFrame{frame: uint32(f)}
			for range newCut(l.size(f), l.symbol).blocks {
				o.deficits = append(o.deficits, uint8(next()%(maxSource+1)))
			}
			r.open = append(r.open, o)
		}
	}
	return r
}
