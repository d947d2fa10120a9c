package multicast

import (
	"slices"
	"time"
)

// horizon is how many datagrams a lane remembers. Reports that are older ask
// for no repair.
const horizon = 1 << 17

// A lane decides what the sender sends next, section 7. It does not read
// frames, nor send: next names a symbol, and the caller sends it at once. It is
// not safe for concurrent use. Its memory is bounded by horizon, and a few
// bytes for each frame and peer.
type lane struct {
	id      uint8
	pieces  int // frames that belong to the preface
	frames  int // of the session, pieces included
	size    func(frame int) int
	symbol  int // bytes of a symbol
	started bool
	holding bool // pieces of the preface wait for more receivers
	quiet   int  // SYNC since the last symbol

	peers []*lanePeer // in the order of joining
	want  []uint16    // by frame: how many peers lack it
	owed  int         // symbols of the frames that a peer lacks
	spent int         // symbols that were sent since a peer last had a frame more

	idleSince time.Time // until when what is sent may have helped

	queue   *frameSet // frames to be sent whole
	cursor  int       // where the pass is
	pass    passing
	sent    map[int]*sending // frames with a datagram within the horizon, or more to come
	order   []*sending       // the same, as they are looked at by forget
	repairs []blockID        // blocks with pending repairs, first come first served
	repair  bool             // the last datagram was a repair

	head     uint64 // sequence of the next datagram
	lastData uint64 // one more than that of the last datagram that was not SYNC
	log      sentLog
	pace     pace
	extra    parityPlan
	largest  int  // symbols of the largest frame so far
	fresh    bool // peers have been sampled since sample was called

	datagrams, repaired int64
}

// A blockID names a block of the session.
type blockID struct {
	frame int
	block int
}

// A sending is a frame of which symbols were sent of late, or are to be sent.
type sending struct {
	frame  int
	cut    cut
	blocks []blockState
	begun  uint64 // head of the lane when it was last begun to be sent whole
	last   uint64 // sequence of its last datagram
	inPass bool
	queued int // pending repairs of all blocks
}

// A blockState is what was sent and will be sent of a block.
type blockState struct {
	sequences []uint64 // of datagrams sent within the horizon, ascending
	unsent    int      // symbols to come in the pass
	pending   int      // repairs in the queue
	next      int      // symbol of the next repair
}

// A lanePeer is a receiver that takes part in a lane.
type lanePeer struct {
	id     int
	lacks  *frameSet
	joined uint64 // head of the lane when it joined
	head   uint64 // of its last report
	seen   int    // number of the first entry of the log that no report has covered

	lag        uint64 // datagrams that had been sent behind the head of its last report
	received   uint64 // of its last report
	baseHead   uint64 // head and received of the first report that told what was received
	baseRx     uint64
	sampleHead uint64 // head and received when its loss was last sampled
	sampleRx   uint64
	sample     float64 // loss in the last sample
	sampled    float64 // datagrams of it
	samples    int     // so far
	loss       float64 // of late
	sentSum    float64 // datagrams, over a longer time, and of these
	lostSum    float64 // the lost ones
	outage     float64 // the most datagrams that it lost from one sample to the next
	caused     int64   // repairs
	badSince   time.Time
	since      time.Time // when it last had, or lacked, a frame more
	moved      bool      // it has had, or lacked, one more since then
	stuck      bool      // nothing helps it
	heard      time.Time // when its last report came
	based      bool      // baseHead and baseRx are known
	valid      bool      // loss was sampled at the present rate
	full       bool
}

// A sentLog lists when frames were sent to their end, for the time being.
type sentLog struct {
	base    int // number of the first entry
	entries []logEntry
}

type logEntry struct {
	last  uint64 // sequence
	frame int
}

// A datagram is what next tells the caller to send.
type datagram struct {
	kind     kind
	hurry    bool
	repair   bool
	frame    int
	block    int
	symbol   int
	sequence uint64
}

// laneOptions are what a lane is made of.
type laneOptions struct {
	id     uint8
	pieces int
	frames int                 // pieces included
	size   func(frame int) int // bytes of a frame
	symbol int                 // bytes
	rate   float64             // cap, bits per second
	floor  float64             // bits per second
	wire   int                 // bytes of a datagram on the wire
}

func newLane(o laneOptions) *lane {
	return &lane{
		id: o.id, pieces: o.pieces, frames: o.frames, size: o.size, symbol: o.symbol,
		want:  make([]uint16, o.frames),
		queue: newFrameSet(o.frames),
		sent:  map[int]*sending{},
		pace:  newPace(o.rate, o.floor, o.wire),
	}
}

// join adds a peer, which lacks the preface.
func (l *lane) join(id int, now time.Time) {
	p := &lanePeer{id: id, lacks: newFrameSet(l.frames), joined: l.head, head: l.head, seen: l.log.end(), heard: now}
	l.peers = append(l.peers, p)
	for f := range l.pieces {
		l.lack(p, f)
	}
}

// drop notes that a peer has the first frames of the session.
func (l *lane) drop(id, frames int) {
	p := l.peer(id)
	if p == nil {
		return
	}
	for f := range frames {
		if p.lacks.remove(f) {
			l.served(f)
			l.progress(p)
		}
	}
}

// need adds to what a peer lacks.
func (l *lane) need(id int, frames *frameSet) {
	p := l.peer(id)
	if p == nil {
		return
	}
	for f := frames.next(0); f >= 0; f = frames.next(f + 1) {
		l.lack(p, f)
	}
}

// lack notes that p lacks frame f. A frame that is being sent now will be
// found absent or open in a report.
func (l *lane) lack(p *lanePeer, f int) {
	if !p.lacks.add(f) {
		return
	}
	if l.want[f]++; l.want[f] == 1 {
		l.owed += newCut(l.size(f), l.symbol).symbols
	}
	p.moved = true
	if s := l.sent[f]; s == nil || !s.inPass {
		l.queue.add(f)
	}
}

// leave removes a peer and returns what it lacks, nil if it is not there.
func (l *lane) leave(id int) *frameSet {
	i := slices.IndexFunc(l.peers, func(p *lanePeer) bool { return p.id == id })
	if i < 0 {
		return nil
	}
	p := l.peers[i]
	l.peers = slices.Delete(l.peers, i, i+1)
	for f := p.lacks.next(0); f >= 0; f = p.lacks.next(f + 1) {
		l.served(f)
	}
	l.withdraw()
	return p.lacks
}

// peer returns the peer of that number, nil if it is not in the lane.
func (l *lane) peer(id int) *lanePeer {
	for _, p := range l.peers {
		if p.id == id {
			return p
		}
	}
	return nil
}

// served notes that one peer less lacks frame f. What nobody lacks is not sent.
func (l *lane) served(f int) {
	if l.want[f]--; l.want[f] > 0 {
		return
	}
	l.owed -= newCut(l.size(f), l.symbol).symbols
	l.queue.remove(f)
	s := l.sent[f]
	if s == nil {
		return
	}
	for b := range s.blocks {
		s.blocks[b].pending, s.blocks[b].unsent = 0, 0
	}
	s.queued = 0
	if l.pass.s == s {
		l.endPass()
	}
}

// withdraw drops all queued repairs.
func (l *lane) withdraw() {
	for _, id := range l.repairs {
		s := l.sent[id.frame]
		if s == nil || s.blocks[id.block].pending == 0 {
			continue
		}
		s.queued -= s.blocks[id.block].pending
		s.blocks[id.block].pending = 0
		if !s.inPass && s.queued == 0 {
			l.log.add(s)
		}
	}
	l.repairs = l.repairs[:0]
}

// lacking tells whether a peer lacks anything.
func (l *lane) lacking() bool {
	return slices.ContainsFunc(l.peers, func(p *lanePeer) bool { return p.lacks.len() > 0 })
}

// next returns what to send now. If it returns false, there is nothing to send
// but SYNC, see silence.
func (l *lane) next() (datagram, bool) {
	l.repair = !l.repair
	if l.repair || !l.queuing() {
		if d, ok := l.nextRepair(); ok {
			return l.number(d), true
		}
	}
	l.repair = false
	if d, ok := l.nextInPass(); ok {
		return l.number(d), true
	}
	return datagram{}, false
}

// queuing tells whether the pass has something to send.
func (l *lane) queuing() bool { return l.pass.s != nil || l.choose() >= 0 }

// sync returns a SYNC to send now.
func (l *lane) sync(hurry bool) datagram {
	d := datagram{kind: kindSync, hurry: hurry, sequence: l.head}
	l.head++
	l.datagrams++
	l.quiet++
	return d
}

// number gives a symbol its sequence and remembers it.
func (l *lane) number(d datagram) datagram {
	d.kind, d.sequence = kindData, l.head
	l.head++
	l.lastData, l.quiet = l.head, 0
	l.datagrams++
	l.spent++
	if d.repair {
		l.repaired++
	}
	s := l.sent[d.frame]
	s.last = d.sequence
	b := &s.blocks[d.block]
	for len(b.sequences) > 0 && b.sequences[0]+horizon <= d.sequence {
		b.sequences = b.sequences[1:]
	}
	b.sequences = append(b.sequences, d.sequence)
	if !s.inPass && s.queued == 0 {
		l.log.add(s)
		l.log.trim(l.head)
	}
	return d
}

// nextRepair takes a repair from the queue.
func (l *lane) nextRepair() (datagram, bool) {
	for len(l.repairs) > 0 {
		id := l.repairs[0]
		s := l.sent[id.frame]
		if s == nil || s.blocks[id.block].pending == 0 { // withdrawn
			l.repairs = l.repairs[1:]
			continue
		}
		b := &s.blocks[id.block]
		d := datagram{repair: true, frame: id.frame, block: id.block, symbol: b.next}
		if b.next++; b.next == s.cut.source(id.block)+paritySymbols {
			b.next = 0
		}
		s.queued--
		if b.pending--; b.pending == 0 {
			l.repairs = l.repairs[1:]
		}
		return d, true
	}
	return datagram{}, false
}

// of returns the sending of a frame, a new one if there is none.
func (l *lane) of(frame int) *sending {
	if s := l.sent[frame]; s != nil {
		return s
	}
	c := newCut(l.size(frame), l.symbol)
	s := &sending{frame: frame, cut: c, blocks: make([]blockState, c.blocks), last: l.head}
	for b := range s.blocks {
		s.blocks[b].next = c.source(b)
		s.blocks[b].sequences = make([]uint64, 0, c.source(b)+paritySymbols/2)
	}
	l.largest = max(l.largest, c.symbols)
	l.sent[frame] = s
	l.order = append(l.order, s)
	l.forget()
	return s
}

// forget drops frames whose last datagram is behind the horizon. It looks at
// two for each that is added, so that all have their turn.
func (l *lane) forget() {
	for range min(2, len(l.order)) {
		s := l.order[0]
		l.order = l.order[1:]
		if s.inPass || s.queued > 0 || s.last+horizon > l.head {
			l.order = append(l.order, s)
			continue
		}
		delete(l.sent, s.frame)
	}
}

func (g *sentLog) add(s *sending) { g.entries = append(g.entries, logEntry{s.last, s.frame}) }
func (g *sentLog) end() int       { return g.base + len(g.entries) }

// trim drops what is behind the horizon.
func (g *sentLog) trim(head uint64) {
	n := 0
	for n < len(g.entries) && g.entries[n].last+horizon <= head {
		n++
	}
	g.entries, g.base = g.entries[n:], g.base+n
}
