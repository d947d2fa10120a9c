package multicast

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// slowDisk makes a receiver write a frame at a time, each in the same time, and
// gives it so much memory.
func (s *seat) slowDisk(r *room, budget int, each time.Duration) {
	s.memory(r, budget)
	var free time.Time
	s.disk = func(now time.Time) time.Time {
		if free.Before(now) {
			free = now
		}
		free = free.Add(each)
		return free
	}
}

// disorder makes some datagrams reach a receiver late, or twice.
func (s *seat) disorder(rng *rand.Rand) {
	s.window = new(window)
	at := []time.Duration{0, 0}
	s.stray = func() []time.Duration {
		at[0], at[1] = 0, 0
		switch rng.IntN(20) {
		case 0:
			at[0] = time.Duration(rng.IntN(5000)) * time.Microsecond
		case 1:
			at[1] = time.Duration(rng.IntN(5000)) * time.Microsecond
			return at
		}
		return at[:1]
	}
}

// Trouble of every kind costs little, and everything ends.
func TestTrouble(t *testing.T) {
	const frames, size, rate = 64, 1 << 20, 98e6
	rng := rand.New(rand.NewPCG(1, 13))
	late := func() time.Duration { return time.Duration(rng.IntN(2000)) * time.Millisecond }
	tests := []struct {
		name      string
		wire, end float64 // per image, and per time on the wire
		seat      func(r *room, i int)
	}{
		{"bursts of 1 %", 1.12, 1.05, func(r *room, i int) { r.seat(newBurstLoss(0.01, 20, uint64(i)), nil) }},
		{"bursts of 5 %", 1.22, 1.05, func(r *room, i int) { r.seat(newBurstLoss(0.05, 20, uint64(i)), nil) }},
		{"disorder", 1.10, 1.05, func(r *room, i int) { r.seat(newRandomLoss(0.01, uint64(i)), nil).disorder(rng) }},
		{"all reports are late", 1.10, 2.40, func(r *room, i int) { r.seat(newRandomLoss(0.01, uint64(i)), nil).late = late }},
		{"some reports are late", 1.10, 1.40, func(r *room, i int) {
			s := r.seat(newRandomLoss(0.01, uint64(i)), nil)
			if i%4 == 0 {
				s.late = late
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRoom(t, frames, size, rate)
			for i := range 8 {
				tt.seat(r, i)
			}
			r.run(2 * time.Minute)
			wire := float64(r.lane.datagrams) * roomWire / (frames * size)
			end := r.last(r.receivers...).Seconds() / r.imageTime(rate).Seconds()
			t.Logf("wire %.4f of the image, end %.3f of the image's time, behind %v, rate %.1f", wire, end, r.behind, r.lane.pace.rate/1e6)
			atMost(t, "wire per image", wire, tt.wire)
			atMost(t, "time per image", end, tt.end*tt.wire/1.05)
			if len(r.behind) > 0 {
				t.Errorf("%v are behind, want nobody", r.behind)
			}
		})
	}
}

// A receiver with a slow disk takes what it has room for, and the rest in later
// passes, at the speed of its disk. The others do not notice.
func TestSlowDisk(t *testing.T) {
	for _, part := range []float64{0.7, 0.3} {
		r := lateRoom(t, 4)
		alone := r.imageTime(lateRate)
		each := time.Duration(float64(alone) / 64 / part)
		slow := r.receivers[3]
		slow.slowDisk(r, 8<<20, each)
		r.run(2 * time.Minute)
		t.Logf("disk of %.0f %%: others %.3f of the image's time, it ends at %.3f of its disk's, symbols %.3f, behind %v", 100*part,
			r.last(r.receivers[:3]...).Seconds()/alone.Seconds(), r.last(slow).Seconds()/(64*each).Seconds(), r.perSource(), r.behind)
		atMost(t, "the others' time", r.last(r.receivers[:3]...).Seconds()/alone.Seconds(), 1.05)
		atMost(t, "the slow disk's time", r.last(slow).Seconds()/(64*each).Seconds(), 1.25)
		atMost(t, "symbols per source", r.perSource(), 1.25/part)
		if len(r.behind) > 0 {
			t.Errorf("%v are behind, want nobody", r.behind)
		}
	}
}

// A switch that carries nothing for a while, reports neither, costs about that
// while: nobody falls behind, and the rate is what it was.
func TestOutage(t *testing.T) {
	const rto = 400 * time.Millisecond // that TCP takes at most until it tries again
	outages := []time.Duration{time.Second, 12 * time.Millisecond, 60 * time.Millisecond, 300 * time.Millisecond, 3 * time.Second}
	if raceDetector {
		outages = outages[:1]
	}
	for _, from := range []time.Duration{15 * time.Millisecond, 2 * time.Second, 5500 * time.Millisecond} {
		for _, outage := range outages {
			for _, broken := range []int{8, 4, 1} {
				t.Run(fmt.Sprintf("%d of 8 from %v for %v", broken, from, outage), func(t *testing.T) {
					r := lateRoom(t, 8)
					for _, s := range r.receivers[:broken] {
						s.breakLink(r, from, outage, rto)
					}
					r.run(time.Minute)
					lost := r.last(r.receivers...) - r.imageTime(lateRate) - outage
					t.Logf("%v more, rate %.1f", lost, r.lane.pace.rate/1e6)
					if lost > 250*time.Millisecond+min(outage, rto) {
						t.Errorf("the outage costs %v more, want at most 0.25 s and what TCP takes", lost)
					}
					if got := r.lane.pace.rate; got < 0.98*lateRate {
						t.Errorf("the rate is %.0f at the end, want %.0f", got, lateRate)
					}
					if len(r.behind) > 0 {
						t.Errorf("%v are behind, want nobody", r.behind)
					}
				})
			}
		}
	}
}

// breakLink lets nothing through for a while. Reports come late, as soon as
// TCP tries again.
func (s *seat) breakLink(r *room, from, length, again time.Duration) {
	s.network = &brokenLink{from: r.begun.Add(from), length: length, next: s.network}
	s.late = func() time.Duration {
		into := r.now.Sub(r.begun.Add(from))
		if into < 0 || into >= length {
			return 0
		}
		return length - into + min(again, length)
	}
}

// Reports of a lane that a receiver has left tell what is done, and nothing
// else.
func TestReportOfOldLane(t *testing.T) {
	r := newRoom(t, 4, 100_000, 98e6)
	now := r.now
	l := r.lane
	all := newFrameSet(4)
	all.addRange(0, all.size())
	l.join(1, now)
	l.need(1, all)
	for range 50 {
		l.next()
	}
	left := l.leave(1)
	l.join(1, now)
	l.need(1, left)
	old := &report{head: 40, received: 40, done: []uint32{3}, open: []openFrame{{0, []uint8{7}}}}
	if got := l.report(1, old, now); got != 1 {
		t.Errorf("the report says that %d frames are done, want 1", got)
	}
	if p := l.peer(1); p.lacks.has(3) || len(l.repairs) > 0 {
		t.Errorf("frame 3 is lacking: %v, want false; %d blocks are to be repaired, want 0", p.lacks.has(3), len(l.repairs))
	}
	checkLane(t, l)
}

// A frame that a receiver has had to drop, because its data were wrong, is sent
// again, also when nothing else is.
func TestDroppedFrame(t *testing.T) {
	r := newRoom(t, 3, 100_000, 98e6)
	r.seat(newRandomLoss(0, 1), nil)
	wrong := 3
	r.kept = func(*seat) bool { wrong--; return wrong < 0 }
	r.run(10 * time.Second)
	atMost(t, "seconds", r.last(r.receivers...).Seconds(), 0.5)
}
