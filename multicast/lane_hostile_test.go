package multicast

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A lie is what a hostile receiver makes of its reports.
type lie struct {
	name  string
	forge func(l *lane, rep *report)
}

// lies are those that make a sender send, or wait, for as long as it believes
// them.
var lies = []lie{
	{"it lacks all of every block", func(l *lane, rep *report) { allLacking(l, rep, l.head/2) }},
	{"it lacks all of every block, though nothing was lost", func(l *lane, rep *report) { allLacking(l, rep, l.head) }},
	{"it is always full", func(l *lane, rep *report) { rep.head, rep.received, rep.full = l.head, l.head, true }},
	{"it is full, and its head never moves", func(_ *lane, rep *report) { rep.head, rep.received, rep.full = 100, 100, true }},
	{"its head never moves", func(_ *lane, rep *report) { rep.head, rep.received = 100, 100 }},
	{"it has had nothing at all", func(_ *lane, rep *report) { rep.head, rep.received = 0, 0 }},
	{"it is never done", func(l *lane, rep *report) { rep.head, rep.received = l.head, l.head }},
	{"all is lost", func(l *lane, rep *report) { rep.head, rep.received = l.head, 100 }},
	{"half is lost", func(l *lane, rep *report) { rep.head, rep.received = l.head, l.head/2 }},
}

// allLacking makes a report ask for every block that was sent.
func allLacking(l *lane, rep *report, received uint64) {
	rep.head, rep.received = l.head, received
	for f := range l.frames {
		s := l.sent[f]
		if s == nil {
			continue
		}
		o := openFrame{frame: uint32(f)}
		for b := range s.blocks {
			o.deficits = append(o.deficits, uint8(s.cut.source(b)))
		}
		rep.open = append(rep.open, o)
	}
}

const hostileRate = 40e6

// hostileRoom makes a room of honest receivers and some that lie.
func hostileRoom(t *testing.T, honest, hostile int, x lie) *room {
	r := newRoom(t, 32, 1<<20, hostileRate)
	for i := range honest {
		r.seat(newRandomLoss(0.01, uint64(i)), nil)
	}
	r.forge = func(rep *report) {
		rep.done, rep.open, rep.full = nil, nil, false
		x.forge(r.lane, rep)
	}
	for range hostile {
		r.seat(newRandomLoss(1, 0), nil).hostile = true
	}
	return r
}

// stuckCost returns how many datagrams a lane may send before it gives up one
// that nothing helps.
func stuckCost(r *room) float64 {
	return float64(r.sources) + (stuckTime+time.Second).Seconds()*hostileRate/8/roomWire
}

// What hostile receivers say costs the others next to nothing, and the sender
// little: it gives them up, and nobody else.
func TestHostile(t *testing.T) {
	rooms := []struct{ honest, hostile int }{{7, 1}, {18, 2}}
	if raceDetector {
		rooms = rooms[:1]
	}
	for _, tt := range rooms {
		alone := hostileRoom(t, tt.honest, 0, lie{})
		alone.run(time.Minute)
		for _, x := range lies {
			t.Run(fmt.Sprintf("%d of %d: %s", tt.hostile, tt.honest+tt.hostile, x.name), func(t *testing.T) {
				testHostile(t, alone, hostileRoom(t, tt.honest, tt.hostile, x))
			})
		}
	}
}

// testHostile compares a room with the same without those that are hostile.
func testHostile(t *testing.T, alone, r *room) {
	n := len(alone.receivers)
	honest := 0 // datagrams until all that are honest were done
	r.onSent = func(d []datagram) {
		if slices.ContainsFunc(r.receivers[:n], func(s *seat) bool { return s.finished.IsZero() }) {
			honest += len(d)
		}
	}
	r.run(10 * time.Minute)
	took := r.last(r.receivers[:n]...).Seconds() / alone.last(alone.receivers...).Seconds()
	sent := float64(honest) / float64(alone.lane.datagrams)
	after := float64(int(r.lane.datagrams)-honest) / stuckCost(r)
	t.Logf("the honest end at %.3f of their own time after %.3f of the datagrams; then %.3f of what giving up one may cost, in %v",
		took, sent, after, r.now.Sub(r.begun))
	atMost(t, "the others' time", took, 1.1)
	atMost(t, "datagrams for the others", sent, 1.1)
	atMost(t, "datagrams after them", after, float64(len(r.receivers)-n))
	slices.Sort(r.givenUp)
	if want := hostiles(r); !slices.Equal(r.givenUp, want) {
		t.Errorf("%v were given up, want %v", r.givenUp, want)
	}
}

// hostiles returns the numbers of the receivers that lie.
func hostiles(r *room) (list []int) {
	for _, s := range r.receivers {
		if s.hostile {
			list = append(list, s.id)
		}
	}
	return list
}

// Those that are alone in a lane, or among their kind, do not keep it busy.
func TestHostileAlone(t *testing.T) {
	most := 4
	if raceDetector {
		most = 1
	}
	for n := 1; n <= most; n += 3 {
		for _, x := range lies {
			t.Run(fmt.Sprintf("%d: %s", n, x.name), func(t *testing.T) {
				r := hostileRoom(t, 0, n, x)
				r.run(time.Hour)
				sent := float64(r.lane.datagrams) / stuckCost(r)
				t.Logf("%.3f of what giving up one may cost, in %v", sent, r.now.Sub(r.begun))
				atMost(t, "datagrams", sent, min(float64(n), maxLanes+1))
				slices.Sort(r.givenUp)
				if want := hostiles(r); !slices.Equal(r.givenUp, want) {
					t.Errorf("%v were given up, want %v", r.givenUp, want)
				}
			})
		}
	}
}

// The parts of a lane agree after every event, whatever is said.
func TestHostileAgrees(t *testing.T) {
	for _, x := range lies {
		t.Run(x.name, func(t *testing.T) {
			r := newMixedRoom(t, 20, func(f int) int { return 1 + 37*f*f*f }, 50e6)
			r.forge = func(rep *report) { x.forge(r.lane, rep) }
			for i := range 3 {
				r.seat(newBurstLoss(0.05, 20, uint64(i)), nil)
			}
			inspected(t, r)
			r.seat(newRandomLoss(0.5, 3), nil).hostile = true
			r.after(time.Second, r.receivers[3].die)
			r.run(time.Minute)
		})
	}
}

// One that lacks something while the session has not started, or nothing while
// it is idle, is not stuck, nor one that was stuck before.
func TestStuck(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLane(laneOptions{frames: 2, size: func(int) int { return 5 * roomSymbol }, symbol: roomSymbol, rate: 98e6, floor: 5e6, wire: roomWire})
	all := newFrameSet(2)
	all.addRange(0, all.size())
	l.join(1, now)
	l.need(1, all)
	steps := []struct {
		what string
		do   func()
		wait time.Duration
		want bool
	}{
		{"it waits for the start", func() {}, time.Hour, false},
		{"the start", func() { l.started = true }, 0, false},
		{"nothing is sent", func() {}, time.Hour, false},
		{"a frame is sent", func() { advance(l, 5) }, time.Hour, false},
		{"another one", func() { advance(l, 5) }, 0, false},
		{"too short a time", func() {}, stuckTime - time.Second, false},
		{"long enough", func() {}, time.Second, true},
		{"it has a frame", func() { l.report(1, &report{head: l.head, received: l.head, done: []uint32{0}}, now) }, 0, false},
		{"the other is not sent again", func() {}, time.Hour, false},
		{"there is nothing to send", func() { advance(l, 100); l.sync(false) }, 0, false},
		{"nor later", func() {}, stuckTime, true},
		{"it has all", func() { l.report(1, &report{head: l.head, received: l.head, done: []uint32{1}}, now) }, time.Hour, false},
		{"it lacks one again", func() { l.need(1, all) }, 0, false},
	}
	for _, s := range steps {
		s.do()
		l.sample(now)
		now = now.Add(s.wait)
		if got := len(l.sample(now)) == 1; got != s.want {
			t.Errorf("%s: stuck is %v, want %v", s.what, got, s.want)
		}
		checkLane(t, l)
	}
}

// advance sends up to n datagrams.
func advance(l *lane, n int) {
	for range n {
		l.next()
	}
}
