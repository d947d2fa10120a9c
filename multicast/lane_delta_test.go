package multicast

import (
	"math/rand/v2"
	"testing"
	"time"
)

// What 20 delta receivers lack is sent once for all.
func TestDelta(t *testing.T) {
	const frames, size, rate = 320, 256 << 10, 98e6
	for _, tt := range []struct {
		name string
		seed func(receiver int) uint64
	}{
		{"identical", func(int) uint64 { return 7 }},
		{"different", func(i int) uint64 { return uint64(i) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRoom(t, frames, size, rate)
			union := newFrameSet(frames)
			for i := range 20 {
				rng := rand.New(rand.NewPCG(tt.seed(i), 5))
				lacks := newFrameSet(frames)
				for f := range frames {
					if rng.Float64() < 0.2 {
						lacks.add(f)
					}
				}
				union.merge(lacks)
				r.seat(newRandomLoss(0, uint64(i)), lacks.has)
			}
			r.run(time.Minute)
			wire := float64(r.lane.datagrams) * roomWire / float64(union.len()*size)
			t.Logf("union %d of %d frames, wire %.4f of it", union.len(), frames, wire)
			atMost(t, "wire per union", wire, 1.06)
		})
	}
}
