package multicast

import (
	"testing"
	"time"
)

// imageTime returns how long the frames of a room take on a wire, with the
// parity that a loss of 1 % costs.
func (r *room) imageTime(rate float64) time.Duration {
	return time.Duration(float64(r.sources) * roomWire * 8 / rate * 1e9)
}

const lateRate = 98e6

// lateRoom makes a room with so many receivers that lose 1 % each.
func lateRoom(t *testing.T, receivers int) *room {
	r := newRoom(t, 64, 1<<20, lateRate)
	for i := range receivers {
		r.seat(newRandomLoss(0.01, uint64(i)), nil)
	}
	return r
}

// join lets another receiver join later.
func (r *room) joinAt(d time.Duration) **seat {
	s := new(*seat)
	seed := uint64(len(r.events))
	r.after(d, func() { *s = r.seat(newRandomLoss(0.01, seed), nil) })
	return s
}

// A late joiner is done as soon as if it had been alone, and the others do not
// notice.
func TestLateJoin(t *testing.T) {
	for _, receivers := range []int{4, 20} {
		alone := lateRoom(t, receivers)
		alone.run(time.Minute)
		r := lateRoom(t, receivers)
		late := r.joinAt(2 * time.Second)
		others := r.receivers
		r.run(time.Minute)
		image := alone.last(alone.receivers...)
		t.Logf("%d receivers: late %.3f of the image's time, the others %.3f of theirs", receivers,
			(*late).took().Seconds()/image.Seconds(), r.last(others...).Seconds()/image.Seconds())
		atMost(t, "late joiner's time", (*late).took().Seconds()/image.Seconds(), 1.05)
		atMost(t, "the others' time", r.last(others...).Seconds()/image.Seconds(), 1.02)
	}
}

// Two late joiners share what both of them missed: the wire carries the image
// about once more for both.
func TestTwoLateJoiners(t *testing.T) {
	r := lateRoom(t, 4)
	first, second := r.joinAt(2*time.Second), r.joinAt(4*time.Second)
	r.run(time.Minute)
	image := r.imageTime(lateRate).Seconds()
	t.Logf("first %.3f, second %.3f, symbols %.3f", (*first).took().Seconds()/image, (*second).took().Seconds()/image, r.perSource())
	atMost(t, "first late joiner's time", (*first).took().Seconds()/image, 1.05*1.03)
	atMost(t, "second late joiner's time", (*second).took().Seconds()/image, 1.05*1.03)
	atMost(t, "symbols per source", r.perSource(), 1.03*(1+4/image))
}

// A receiver that leaves or dies costs the others nothing that they notice.
func TestLeaving(t *testing.T) {
	for _, tt := range []struct {
		name string
		go_  func(r *room, s *seat)
	}{
		{"leaves", func(r *room, s *seat) { s.die(); r.lane.leave(s.id) }},
		{"dies", func(_ *room, s *seat) { s.die() }},
	} {
		for _, at := range []time.Duration{10 * time.Millisecond, 2 * time.Second, 5500 * time.Millisecond} {
			alone := lateRoom(t, 4)
			alone.run(time.Minute)
			r := lateRoom(t, 4)
			r.after(at, func() { tt.go_(r, r.receivers[3]) })
			r.run(time.Minute)
			cost := r.last(r.receivers[:3]...) - alone.last(alone.receivers...)
			t.Logf("%s at %v: %v", tt.name, at, cost)
			if cost > 100*time.Millisecond {
				t.Errorf("a receiver that %s after %v costs the others %v, want at most 0.1 s", tt.name, at, cost)
			}
		}
	}
}
