package multicast

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// report takes a report of a peer into account: what it has, what it lacks of
// the blocks that were sent, and what has not reached it at all. It returns
// how many frames the peer has since.
func (l *lane) report(id int, r *report, now time.Time) (done int) {
	p := l.peer(id)
	if p == nil {
		return 0
	}
	for _, f := range r.done { // true whenever it was said
		if p.lacks.remove(int(f)) {
			l.served(int(f))
			l.progress(p)
			done++
		}
	}
	if r.head > l.head || r.head < p.head {
		return done // of a lane that it has left
	}
	p.heard, p.full = now, r.full
	p.head, p.received, p.lag = r.head, max(p.received, r.received), l.head-r.head
	if !p.based && r.received > 0 {
		p.based, p.baseHead, p.baseRx = true, p.head, p.received
		p.sampleHead, p.sampleRx = p.head, p.received
	}
	if p.based && p.lacks.len() > 0 && p.head >= p.sampleHead+sampleLeast {
		p.take(&l.pace)
		l.fresh = true
	}
	for i := range r.open {
		l.open(p, r.head, &r.open[i])
	}
	l.absent(p, r)
	return done
}

// open adds the repairs that one frame of a report asks for.
func (l *lane) open(p *lanePeer, head uint64, o *openFrame) {
	f := int(o.frame)
	if !p.lacks.has(f) || head+horizon <= l.head || l.queue.has(f) && !l.mend(p, o) {
		return
	}
	for b, deficit := range o.deficits {
		if deficit > 0 {
			l.ask(p, blockID{f, b}, head, int(deficit))
		}
	}
}

// mend decides about a frame that is to be sent whole, but of which p has
// something: whether to send repairs. It need not be sent whole if it is p
// alone that lacks it.
func (l *lane) mend(p *lanePeer, o *openFrame) bool {
	f, sum := int(o.frame), 0
	for _, deficit := range o.deficits {
		sum += int(deficit)
	}
	if 2*sum > newCut(l.size(f), l.symbol).symbols {
		return false
	}
	if s := l.sent[f]; s != nil && s.begun >= p.joined {
		return true
	}
	if l.want[f] > 1 {
		return false // it is queued for p, too
	}
	l.queue.remove(f)
	l.of(f) // it is known to be on its way, also if no repairs are needed
	p.caused -= int64(sum)
	return true
}

// ask adds repairs of a block of which p lacks deficit symbols, having seen
// what was sent before head, unless they are on their way.
func (l *lane) ask(p *lanePeer, id blockID, head uint64, deficit int) {
	s := l.of(id.frame)
	if id.block >= len(s.blocks) {
		return
	}
	b := &s.blocks[id.block]
	deficit = min(deficit, s.cut.source(id.block))
	first := sort.Search(len(b.sequences), func(i int) bool { return b.sequences[i] >= head })
	add := deficit - (len(b.sequences) - first) - b.pending - b.unsent
	if add <= 0 {
		return
	}
	if b.pending == 0 {
		l.repairs = append(l.repairs, id)
	}
	b.pending += add
	s.queued += add
	p.caused += int64(add)
}

// absent adds to the queue what was sent to its end before the head of a
// report, but of which the peer has nothing.
func (l *lane) absent(p *lanePeer, r *report) {
	quiet := r.head >= l.lastData && len(l.repairs) == 0 && !l.queuing() // a frame may have been dropped
	if p.seen < l.log.base || quiet {                                    // or its last report was too long ago
		p.seen = l.log.end()
		for f := p.lacks.next(0); f >= 0; f = p.lacks.next(f + 1) {
			l.absentFrame(p, r, f)
		}
		return
	}
	for p.seen < l.log.end() {
		e := l.log.entries[p.seen-l.log.base]
		if e.last >= r.head {
			return
		}
		p.seen++
		if p.lacks.has(e.frame) {
			l.absentFrame(p, r, e.frame)
		}
	}
}

// absentFrame adds a frame to the queue, if the peer has nothing of it. That
// costs the peer as much as repairs, unless it has no room for frames.
func (l *lane) absentFrame(p *lanePeer, r *report, f int) {
	s := l.sent[f]
	if s != nil && (s.inPass || s.queued > 0 || s.last >= r.head) {
		return // a later report will tell
	}
	by := func(o openFrame, f uint32) int { return cmp.Compare(o.frame, f) }
	if _, open := slices.BinarySearchFunc(r.open, uint32(f), by); open {
		return
	}
	if l.queue.add(f) && s != nil && s.begun >= p.joined && !r.full {
		p.caused += int64(s.cut.symbols)
	}
}

// interval returns the time between two reports of a receiver, and the least
// time where reports are asked for, section 7. Receivers that lack nothing do
// not count.
func (l *lane) interval() (usual, hurried time.Duration) {
	const (
		each   = 210 * time.Microsecond // 5000 reports a second in all
		answer = 50e3 * 8               // bits of data that may flow for each report
	)
	n := time.Duration(0)
	for _, p := range l.peers {
		if p.lacks.len() > 0 {
			n++
		}
	}
	byRate := time.Duration(float64(n) * answer / l.pace.rate * float64(time.Second))
	usual = min(max(20*time.Millisecond, n*each, byRate), time.Second)
	if l.pace.ramping {
		usual = max(20*time.Millisecond, n*each)
	}
	return min(usual, time.Second), min(max(10*time.Millisecond, n*each/4), time.Second)
}

// silence tells what to do where there is nothing to send: how long to wait
// before the next SYNC, and whether it is to hurry those that have not told
// what they lack.
func (l *lane) silence(now time.Time) (wait time.Duration, hurry bool) {
	usual, hurried := l.interval()
	patience := max(3*usual, 2*time.Second)
	for _, p := range l.peers {
		if p.lacks.len() > 0 && p.head < l.lastData && now.Sub(p.heard) < patience {
			return min(max(10*time.Millisecond, hurried/2)<<min(l.quiet, 4), 100*time.Millisecond), true
		}
	}
	return 100 * time.Millisecond, false
}
