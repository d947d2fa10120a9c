package multicast

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"
)

// A room is a lane with its receivers in virtual time, without bytes: every
// datagram is offered to every receiver, every report travels.
type room struct {
	t         *testing.T
	lane      *lane
	receivers []*seat
	events    eventQueue
	scheduled int // events so far
	now       time.Time
	begun     time.Time
	sampled   time.Time
	silent    time.Time     // when something was last sent
	delay     time.Duration // that a report takes
	reports   int
	reported  int64 // bytes of reports
	largest   int   // bytes of a report
	sources   int   // symbols of all frames
	parked    map[int]*parking
	behind    []int       // those that were, in order
	falls     map[int]int // how often receivers were behind since they were done with a frame
	givenUp   []int       // those that were, in order
	inspect   func()      // called after every event
	train     []datagram
	flights   []flight
	onSent    func(d []datagram) // called for every train
	forge     func(rep *report)  // what hostile receivers make of a report
	kept      func(s *seat) bool // whether a frame turns out right
}

// A parking is a receiver that is behind.
type parking struct {
	lacks   *frameSet
	goodput float64
}

// A seat is a receiver in a room.
type seat struct {
	id       int
	asm      *assembler
	network  network
	joined   time.Time
	head     uint64
	received uint64
	reported time.Time
	arrived  time.Time // when its last report comes
	interval time.Duration
	hears    bool // takes part in the lane
	gone     bool
	hostile  bool
	finished time.Time
	disk     func(now time.Time) time.Time // when a frame that is complete at now is written
	stray    func() []time.Duration        // how late copies of a datagram come
	late     func() time.Duration          // how much later than others its reports come
	window   *window                       // of a seat with stray
}

const (
	roomSymbol = 1440
	roomWire   = roomSymbol + headerSize + sealSize + 42
)

// newRoom makes a room for frames of one size.
func newRoom(t *testing.T, frames, size int, rate float64) *room {
	return newMixedRoom(t, frames, func(int) int { return size }, rate)
}

// newMixedRoom makes a room for frames of any size.
func newMixedRoom(t *testing.T, frames int, size func(f int) int, rate float64) *room {
	r := &room{t: t, now: time.Unix(1000, 0), delay: 500 * time.Microsecond, parked: map[int]*parking{}, falls: map[int]int{}}
	r.begun = r.now
	r.lane = newLane(laneOptions{frames: frames, size: size, symbol: roomSymbol, rate: rate, floor: 5e6, wire: roomWire})
	r.lane.started = true
	for f := range frames {
		r.sources += newCut(size(f), roomSymbol).symbols
	}
	return r
}

// seat adds a receiver that lacks all frames for which lacks says so (nil: all).
func (r *room) seat(n network, lacks func(f int) bool) *seat {
	s := &seat{id: len(r.receivers), network: n, joined: r.now, hears: true}
	s.disk = func(now time.Time) time.Time { return now }
	s.late = func() time.Duration { return 0 }
	s.memory(r, 128<<20)
	r.receivers = append(r.receivers, s)
	set := newFrameSet(r.lane.frames)
	for f := range r.lane.frames {
		if lacks == nil || lacks(f) {
			set.add(f)
		}
	}
	s.asm.know(r.lane.size, set)
	r.lane.join(s.id, r.now)
	r.lane.need(s.id, set)
	r.lane.peer(s.id).based = r.now.Equal(r.begun) // it has heard SYNC then
	s.interval, _ = r.lane.interval()
	r.after(time.Duration(float64(s.interval)*rand.New(rand.NewPCG(uint64(s.id), 2)).Float64()), func() { r.tell(s) })
	return s
}

// memory gives a receiver that has nothing yet as much for frames.
func (s *seat) memory(r *room, budget int) {
	old := s.asm
	s.asm = newAssembler(roomSymbol, roomSymbol, 0, r.lane.frames, r.lane.size, budget)
	s.asm.dry = true
	if old != nil {
		s.asm.know(old.size, old.lacks)
	}
}

func (r *room) after(d time.Duration, do func()) {
	r.scheduled++
	heap.Push(&r.events, event{r.now.Add(d), r.scheduled, do})
}

// die makes a receiver fall silent.
func (s *seat) die() { s.gone, s.hears = true, false }

// tell lets a receiver report now, and again after its interval.
func (r *room) tell(s *seat) {
	if s.gone || !s.finished.IsZero() {
		return
	}
	if r.now.Sub(s.reported) >= s.interval {
		r.send(s)
	}
	r.after(max(s.interval-r.now.Sub(s.reported), time.Millisecond), func() { r.tell(s) })
}

// send sends a report.
func (r *room) send(s *seat) {
	s.reported = r.now
	rep := &report{head: s.head, received: s.received}
	s.asm.report(rep)
	if rep.head == 0 {
		rep.open = nil
	}
	if s.hostile {
		r.forge(rep)
	}
	const framing = messageHeaderSize + 22 // of a message, and of the TLS record that carries it
	size := framing + len(rep.append(nil))
	r.reports++
	r.reported += int64(size)
	r.largest = max(r.largest, size)
	at := r.now.Add(r.delay + s.late())
	if at.Before(s.arrived) {
		at = s.arrived // reports come in order
	}
	s.arrived = at
	r.after(at.Sub(r.now), func() {
		if r.lane.report(s.id, rep, r.now) > 0 {
			delete(r.falls, s.id)
		}
	})
}

// wrote notes that a frame is on the disk of a receiver, which is done with
// the last one.
func (r *room) wrote(s *seat, f *assembly) {
	s.asm.finish(f, r.kept == nil || r.kept(s))
	if s.asm.lacks.len() == 0 && len(s.asm.open) == 0 {
		s.finished, s.hears = r.now, false
		r.after(r.delay, func() {
			r.lane.leave(s.id)
			delete(r.parked, s.id)
		})
	}
}

// A flight is a datagram on its way.
type flight struct {
	at       time.Time // when it is sent
	sequence uint64
	h        header
}

// offer gives a train of datagrams to all receivers.
func (r *room) offer(gap time.Duration) {
	r.flights = r.flights[:0]
	for i, d := range r.train {
		h := header{kind: d.kind, hurry: d.hurry, block: uint8(d.block), symbol: uint8(d.symbol), frame: uint32(d.frame)}
		r.flights = append(r.flights, flight{r.now.Add(time.Duration(i) * gap), d.sequence, h})
	}
	for _, s := range r.receivers {
		for i := range r.flights {
			f := &r.flights[i]
			switch {
			case !s.hears || !s.network.arrives(f.at):
			case s.stray == nil:
				r.deliver(s, f.sequence, &f.h)
			default:
				r.deliverLate(s, f.sequence, f.h)
			}
		}
	}
}

// deliverLate gives the copies of a datagram to a receiver in their time.
func (r *room) deliverLate(s *seat, sequence uint64, h header) {
	for _, late := range s.stray() {
		r.after(late, func() {
			if s.hears && s.window.take(sequence) {
				r.deliver(s, sequence, &h)
			}
		})
	}
}

// deliver gives a datagram to a receiver.
func (r *room) deliver(s *seat, sequence uint64, h *header) {
	s.head = max(s.head, sequence+1)
	s.received++
	if h.kind == kindSync {
		var hurried time.Duration
		s.interval, hurried = r.lane.interval()
		if h.hurry && s.asm.lacks.len() > 0 && r.now.Sub(s.reported) >= hurried {
			r.send(s)
		}
		return
	}
	f := s.asm.take(h, nil)
	if f == nil {
		return
	}
	if at := s.disk(r.now); at.After(r.now) {
		r.after(at.Sub(r.now), func() { r.wrote(s, f) })
		return
	}
	r.wrote(s, f)
}

// run runs until all receivers are done, or the limit has passed.
func (r *room) run(limit time.Duration) {
	r.t.Helper()
	r.sampled = r.now
	end := r.now.Add(limit)
	for _, s := range r.receivers {
		s.interval, _ = r.lane.interval()
	}
	for next := r.now; r.busy(); {
		if r.now.After(end) {
			r.fail(limit)
		}
		for len(r.events) > 0 && !r.events[0].at.After(next) {
			e := heap.Pop(&r.events).(event)
			r.now = e.at
			e.do()
			r.look()
		}
		r.now = next
		if r.now.Sub(r.sampled) >= samplePeriod {
			r.sampled = r.now
			r.sample()
			r.look()
		}
		next = r.step()
		r.look()
	}
	atMost(r.t, "bytes of the largest report", float64(r.largest), maxBody)
}

func (r *room) look() {
	if r.inspect != nil {
		r.inspect()
	}
}

// fail ends the test of a room that does not end.
func (r *room) fail(limit time.Duration) {
	r.t.Helper()
	for _, s := range r.receivers {
		if !s.gone && s.finished.IsZero() {
			p := r.lane.peer(s.id)
			r.t.Errorf("receiver %d lacks %d frames and has %d open; it is behind: %v; in the lane: %v", s.id,
				s.asm.lacks.len(), len(s.asm.open), r.parked[s.id] != nil, p != nil)
		}
	}
	r.t.Fatalf("not done after %v; rate %.0f, those behind were %v, %d frames in the queue", limit, r.lane.pace.rate, r.behind, r.lane.queue.len())
}

// step sends a train, if there is anything to send, and returns when to try
// again.
func (r *room) step() time.Time {
	rate := r.lane.pace.rate
	most := min(max(int(rate*trainTime.Seconds()/8/roomWire), 1), maxTrain)
	r.train = r.train[:0]
	for len(r.train) < most {
		d, ok := r.lane.next()
		if !ok {
			break
		}
		r.train = append(r.train, d)
	}
	if len(r.train) == 0 {
		wait, hurry := r.lane.silence(r.now)
		if r.now.Sub(r.silent) < wait {
			return r.now.Add(200 * time.Microsecond)
		}
		r.train = append(r.train, r.lane.sync(hurry))
	}
	r.silent = r.now
	if r.onSent != nil {
		r.onSent(r.train)
	}
	gap := roomWire * 8 / rate * 1e9
	r.offer(time.Duration(gap))
	return r.now.Add(time.Duration(gap * float64(len(r.train))))
}

// sample parks those that are behind, and lets them in again when the others
// are done, as a session does whose policy is catchup.
func (r *room) sample() {
	for _, id := range r.lane.sample(r.now) {
		r.behind = append(r.behind, id)
		if r.falls[id]++; r.falls[id] > maxLanes || r.lane.peer(id).stuck {
			r.giveUp(id)
			continue
		}
		goodput := r.lane.pace.rate * (1 - r.lane.peer(id).loss)
		r.receivers[id].hears = false
		r.parked[id] = &parking{r.lane.leave(id), goodput}
	}
	if len(r.parked) == 0 || r.lane.lacking() {
		return
	}
	slowest := 0.0
	for id, p := range r.parked {
		delete(r.parked, id)
		s := r.receivers[id]
		if s.gone {
			continue
		}
		if slowest == 0 || p.goodput < slowest {
			slowest = p.goodput
		}
		r.lane.join(id, r.now)
		r.lane.need(id, p.lacks)
		s.head, s.received, s.hears = 0, 0, s.finished.IsZero()
	}
	if slowest == 0 {
		return
	}
	r.lane.pace.restart(linkShare*slowest, r.lane.head)
}

// giveUp lets a receiver go, as a session does if nothing helps.
func (r *room) giveUp(id int) {
	r.givenUp = append(r.givenUp, id)
	r.lane.leave(id)
	r.receivers[id].die()
}

// busy tells whether anybody is not done.
func (r *room) busy() bool {
	for _, s := range r.receivers {
		if !s.gone && s.finished.IsZero() {
			return true
		}
	}
	return false
}

// took returns how long it was from when a receiver joined until it was done.
func (s *seat) took() time.Duration { return s.finished.Sub(s.joined) }

// last returns how long it was until the last of some receivers was done.
func (r *room) last(seats ...*seat) time.Duration {
	var last time.Duration
	for _, s := range seats {
		last = max(last, s.finished.Sub(r.begun))
	}
	return last
}

// perSource returns how many data symbols were sent for each source symbol.
func (r *room) perSource() float64 {
	return float64(r.lane.lastData) / float64(r.sources)
}

// wireTime returns how long all datagrams take on a wire, SYNC too.
func (r *room) wireTime(rate float64) time.Duration {
	return time.Duration(float64(r.lane.datagrams) * roomWire * 8 / rate * 1e9)
}

// atMost complains if a figure is above its limit.
func atMost(t *testing.T, what string, got, limit float64) {
	t.Helper()
	if !(got <= limit) {
		t.Errorf("%s is %.4f, want at most %.4f", what, got, limit)
	}
}

// An event is something that happens in a room at its time.
type event struct {
	at     time.Time
	number int // those of one time happen in order
	do     func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].number < q[j].number
	}
	return q[i].at.Before(q[j].at)
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}
