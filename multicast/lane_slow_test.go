package multicast

import (
	"fmt"
	"testing"
	"time"
)

const (
	slowRate  = 98e6
	slowFifth = 20e6
)

// slowRoom makes a room of fast receivers and some behind links of a fifth.
func slowRoom(t *testing.T, fast, slow int) *room {
	r := newRoom(t, 64, 1<<20, slowRate)
	for i := range fast {
		r.seat(newRandomLoss(0, uint64(i)), nil)
	}
	for range slow {
		r.seat(newSlowLink(slowFifth, 64<<10, nil), nil)
	}
	return r
}

// Receivers behind links of a fifth do not slow the others, and then are as
// fast as their links.
func TestSlowReceivers(t *testing.T) {
	for _, tt := range []struct{ fast, slow int }{{3, 1}, {19, 1}, {4, 2}, {18, 2}} {
		t.Run(fmt.Sprintf("%d of %d", tt.slow, tt.fast+tt.slow), func(t *testing.T) {
			alone := slowRoom(t, tt.fast, 0)
			alone.run(time.Minute)
			r := slowRoom(t, tt.fast, tt.slow)
			r.run(2 * time.Minute)
			fast, slow := r.last(r.receivers[:tt.fast]...), r.last(r.receivers[tt.fast:]...)
			link := r.imageTime(slowFifth)
			t.Logf("fast %.3f of their own, slow ends %.3f link times after; behind %v", fast.Seconds()/alone.last(alone.receivers...).Seconds(),
				(slow-fast).Seconds()/link.Seconds(), r.behind)
			atMost(t, "the others' time", fast.Seconds()/alone.last(alone.receivers...).Seconds(), 1.1)
			atMost(t, "the slow ones' time after", (slow-fast).Seconds()/link.Seconds(), 1.1)
			if len(r.behind) != tt.slow {
				t.Errorf("behind were %v, want the last %d of %d once each", r.behind, tt.slow, tt.fast+tt.slow)
			}
		})
	}
}

// Where all are slow nobody is behind: the pace falls.
func TestAllSlow(t *testing.T) {
	r := slowRoom(t, 0, 4)
	r.run(2 * time.Minute)
	took := r.last(r.receivers...).Seconds() / r.imageTime(slowFifth).Seconds()
	t.Logf("%.3f of the link's time, wire %.3f, rate %.1f", took, r.perSource(), r.lane.pace.rate/1e6)
	atMost(t, "time", took, 1.1)
	if len(r.behind) > 0 {
		t.Errorf("behind were %v, want nobody", r.behind)
	}
}
