package multicast

import (
	"fmt"
	"testing"
	"time"
)

// A sender that may send four times what the links carry finds their rate
// within a second, at little cost. Random loss does not deceive it.
func TestBottleneck(t *testing.T) {
	const bottleneck, queue, frames = 100e6, 512 << 10, 64
	for _, receivers := range []int{1, 4, 20} {
		for _, loss := range []float64{0, 0.05} {
			t.Run(fmt.Sprintf("%d receivers, %g %%", receivers, 100*loss), func(t *testing.T) {
				r := newRoom(t, frames, 1<<20, 400e6)
				for i := range receivers {
					r.seat(newSlowLink(bottleneck, queue, newRandomLoss(loss, uint64(i))), nil)
				}
				var found time.Duration // when the rate was last far from the bottleneck's
				r.onSent = func([]datagram) {
					if rate := r.lane.pace.rate; rate < 0.95*bottleneck || rate > 1.05*bottleneck {
						found = r.now.Sub(r.begun)
					}
				}
				r.run(time.Minute)
				wire := float64(r.lane.datagrams) * roomWire / (frames << 20)
				t.Logf("rate %.1f Mbit/s found after %v, wire %.4f", r.lane.pace.rate/1e6, found, wire)
				atMost(t, "seconds", found.Seconds(), 1)
				if loss == 0 {
					atMost(t, "wire", wire, 1.10)
				} else {
					atMost(t, "wire", wire, 1.22)
				}
			})
		}
	}
}

// Random loss alone does not slow the sender.
func TestRandomLossKeepsRate(t *testing.T) {
	for _, receivers := range []int{1, 4, 20} {
		for _, loss := range []float64{0.01, 0.05, 0.1} {
			r := newRoom(t, 64, 1<<20, 400e6)
			for i := range receivers {
				r.seat(newRandomLoss(loss, uint64(i)), nil)
			}
			r.run(time.Minute)
			t.Logf("%d receivers, %g %%: final rate %.1f, wall %.3f of the wire", receivers, 100*loss, r.lane.pace.rate/1e6, r.last(r.receivers...).Seconds()/r.wireTime(400e6).Seconds())
			if got := r.lane.pace.rate; got < 0.98*400e6 {
				t.Errorf("%d receivers, %g %% lost: the rate is %.0f at the end, want 98 %% of 400e6", receivers, 100*loss, got)
			}
		}
	}
}
