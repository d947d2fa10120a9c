package multicast

// A passing is the frame that is being sent whole: symbol 0 of all blocks,
// symbol 1 of all blocks, and so on, then parity in advance.
type passing struct {
	s      *sending
	extra  []int // parity symbols in advance, by block
	symbol int
	block  int
}

// nextInPass returns the next symbol of the frame that is being sent whole, or
// the first of the next one.
func (l *lane) nextInPass() (datagram, bool) {
	if l.pass.s == nil {
		f := l.choose()
		if f < 0 {
			return datagram{}, false
		}
		l.beginPass(f)
	}
	p := &l.pass
	d := datagram{frame: p.s.frame, block: p.block, symbol: p.symbol}
	p.s.blocks[p.block].unsent--
	if !p.advance() {
		l.endPass()
	}
	return d, true
}

// choose returns the frame that is to be sent next, -1 if there is none:
// pieces of the preface first.
func (l *lane) choose() int {
	for f := 0; f < l.pieces && !l.holding; f++ {
		if l.queue.has(f) {
			return f
		}
	}
	if !l.started || l.queue.len() == 0 {
		return -1
	}
	if f := l.queue.next(max(l.cursor, l.pieces)); f >= 0 {
		return f
	}
	return l.queue.next(l.pieces)
}

// beginPass starts to send frame f whole.
func (l *lane) beginPass(f int) {
	l.queue.remove(f)
	if f >= l.pieces {
		l.cursor = f + 1
	}
	s := l.of(f)
	s.inPass, s.begun = true, l.head
	l.pass = passing{s: s, extra: l.pass.extra[:0]}
	last := l.lastExtra(f)
	for i := range s.blocks {
		b, k := &s.blocks[i], s.cut.source(i)
		a := min(l.extra.of(k)+last, maxExtra)
		l.pass.extra = append(l.pass.extra, a)
		b.unsent = k + a
		b.next = max(b.next, k+a)
	}
}

// advance steps to the next symbol and tells whether there is one.
func (p *passing) advance() bool {
	for range 2 {
		for p.block++; p.block < len(p.s.blocks); p.block++ {
			if p.symbol < p.s.cut.source(p.block)+p.extra[p.block] {
				return true
			}
		}
		p.block = -1
		p.symbol++
	}
	return false
}

// endPass ends the frame that is being sent whole.
func (l *lane) endPass() {
	l.pass.s.inPass = false
	l.pass.s = nil
}

// upcoming appends to list up to n frames that will be sent next, in order.
func (l *lane) upcoming(list []int, n int) []int {
	if l.pass.s != nil {
		list = append(list, l.pass.s.frame)
	}
	f := l.choose()
	for ; f >= 0 && len(list) < n; f = l.queue.next(f + 1) {
		list = append(list, f)
	}
	return list
}

// lastExtra returns how many more parity symbols each block of frame f gets
// because it is among the last: those that are sent within the last interval
// save a round of reports at the end.
func (l *lane) lastExtra(f int) int {
	const (
		more = 2
		look = 64 // frames
	)
	if l.extra.none() {
		return 0
	}
	usual, _ := l.interval()
	room := l.pace.rate * usual.Seconds() / 8
	n := 0
	for ; f >= 0; f = l.queue.next(f + 1) {
		if room -= float64(l.size(f)); room < 0 || n == look {
			return 0
		}
		n++
	}
	return more
}
