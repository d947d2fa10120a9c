package multicast

import (
	"math"
	"slices"
	"testing"
	"time"
)

// look lets a pace learn from one sample, and returns the rate in Mbit/s.
func (p *pace) look(loss, datagrams float64, now time.Time) float64 {
	p.learn([]float64{loss}, datagrams, 1000, now)
	return p.rate / 1e6
}

// A pace is looked at again and again: what it makes of each sample.
func TestPace(t *testing.T) {
	type step struct {
		wait      time.Duration // before it
		loss      float64
		datagrams float64
		rate      float64 // Mbit/s, afterwards
	}
	const ms = time.Millisecond
	found := []step{{0, 0, 500, 100}, {20 * ms, 0, 500, 200}, {20 * ms, 0, 500, 200}} // at the cap
	tests := []struct {
		name  string
		steps []step
	}{
		{"it doubles up to its cap", slices.Concat(found, []step{{20 * ms, 0, 500, 200}})},
		{"loss that counts as little does not end that", []step{{0, 0.02, 500, 100}, {20 * ms, 0.02, 500, 200}}},
		{"few datagrams are no proof", []step{{0, 0.1, 20, 100}}},
		{"it falls at once while it is being found", []step{{0, 0, 500, 100}, {0, 0.2, 2000, 100 * 0.98 * 0.8}}},
		{"what helped is kept, and not found again", []step{{0, 0.2, 500, 39.2}, {0, 0, 2000, 39.2}, {time.Second, 0, 2000, 39.2}}},
		{"a judgement waits for datagrams", []step{{0, 0.2, 500, 39.2}, {0, 0.12, 1000, 39.2}, {0, 0.12, 1000, 33.81}}},
		{"unless it is sure", []step{{0, 0.2, 500, 39.2}, {0, 0.01, 300, 39.2}, {0, 0.5, 5000, 39.2}, {100 * ms, 0.5, 5000, 39.2 * 0.49}}},
		{"what does not help is random, and the rate found further", []step{{0, 0.2, 500, 39.2}, {0, 0.2, 2000, 39.2 * 0.98 * 0.8}, {0, 0.2, 2000, 50}, {0, 0.2, 500, 100}}},
		{"random loss is no congestion later", []step{{0, 0.2, 500, 39.2}, {0, 0.2, 2000, 30.73}, {0, 0.2, 2000, 50}, {0, 0.22, 500, 100}, {0, 0.22, 500, 200}}},
		{"four tests in doubt are enough", []step{{0, 0.2, 500, 39.2}, {0, 0.12, 2000, 33.81}, {0, 0.12, 2000, 29.15}, {0, 0.12, 2000, 25.14}, {0, 0.12, 2000, 50}}},
		{"later loss must last", slices.Concat(found, []step{{0, 0.2, 500, 200}, {99 * ms, 0.2, 500, 200}, {ms, 0.2, 500, 156.8}})},
		{"a burst is forgotten", slices.Concat(found, []step{{0, 0.5, 500, 200}, {50 * ms, 0, 500, 200}, {50 * ms, 0.5, 500, 200}, {50 * ms, 0, 500, 200}})},
		{"loss that was found random at once is random", slices.Concat(found, []step{
			{0, 0.2, 500, 200}, {100 * ms, 0.2, 500, 156.8}, {0, 0.2, 2000, 200}, {time.Second, 0.2, 500, 200}})},
		{"an outage halves the rate, and it is found anew", slices.Concat(found, []step{
			{0, 0.99, 500, 200}, {100 * ms, 0.99, 500, 100}, {0, 0, 2000, 100}, {0, 0, 500, 200}})},
		{"an outage that stays is not random, above the floor", slices.Concat(found, []step{
			{0, 1, 500, 200}, {100 * ms, 1, 2000, 100}, {0, 1, 2000, 50}, {0, 1, 2000, 25}, {0, 1, 2000, 12.5}, {0, 1, 2000, 6.25}, {0, 1, 2000, 5}, {0, 0, 2000, 5}, {0, 0, 500, 10}})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPace(200e6, 5e6, roomWire)
			now := time.Unix(1000, 0)
			for i, s := range tt.steps {
				now = now.Add(s.wait)
				if got := p.look(s.loss, s.datagrams, now); math.Abs(got-s.rate) > 0.01 {
					t.Fatalf("step %d: the rate is %.2f, want %.2f; %+v", i, got, s.rate, p)
				}
			}
		})
	}
}

// Whatever a link carries, with whatever loss, and from whatever rate, the
// pace comes to it and stays.
func TestPaceFindsLink(t *testing.T) {
	for _, link := range []float64{6e6, 11e6, 49e6, 51e6, 98e6, 250e6, 399e6, 1e12} {
		for _, random := range []float64{0, 0.01, 0.1} {
			for _, start := range []float64{0, 20e6, 100e6, 400e6} {
				p := newPace(400e6, 5e6, roomWire)
				now := time.Unix(1000, 0)
				if start > 0 {
					p.restart(start, 0)
				}
				for range 3000 { // 5 min
					through := min(1, link/p.rate) * (1 - random)
					now = now.Add(100 * time.Millisecond)
					p.look(1-through, 1000, now)
				}
				if want := min(link, 400e6); p.rate < 0.9*want || p.rate > 1.06*want {
					t.Errorf("link of %.0f, loss %g, from %.0f: the rate is %.1f, want %.1f Mbit/s; base %.3f", link/1e6, random, start/1e6, p.rate/1e6, want/1e6, p.base)
				}
			}
		}
	}
}

// While a queue fills somewhere, a rate that is being found does not double.
func TestPaceLag(t *testing.T) {
	p := newPace(200e6, 5e6, roomWire)
	now := time.Unix(1000, 0)
	p.lag = paceLag + 1
	if got := p.look(0, 500, now); got != 50 {
		t.Errorf("receivers are %v behind: the rate is %v, want 50", p.lag, got)
	}
	p.lag = paceLag
	if got := p.look(0, 500, now); got != 100 {
		t.Errorf("receivers are %v behind: the rate is %v, want 100", p.lag, got)
	}
}

// Full buffers take a tenth of the rate, and end the search for one.
func TestPaceCrowd(t *testing.T) {
	p := newPace(200e6, 48e6, roomWire)
	now := time.Unix(1000, 0)
	for _, want := range []float64{48, 48} { // 45 would be below the floor
		p.crowd(0, now)
		if got := p.rate / 1e6; got != want || p.ramping {
			t.Errorf("the rate is %v, ramping is %v, want %v and false", got, p.ramping, want)
		}
	}
	if got := p.look(0, 500, now.Add(pacePatience)); math.Abs(got-48.96) > 0.01 {
		t.Errorf("the rate is %v after a while, want 48.96", got)
	}
}

// base comes down to what is lost, but not by chance.
func TestPaceBase(t *testing.T) {
	p := newPace(50e6, 5e6, roomWire)
	now := time.Unix(1000, 0)
	p.base = 0.1
	p.look(0.09, 100, now)
	if p.base != 0.1 {
		t.Errorf("base is %v after few datagrams, want 0.1", p.base)
	}
	for range 100 {
		p.look(0.02, 4000, now)
	}
	if p.base < 0.02 || p.base > 0.035 {
		t.Errorf("base is %v, want little more than 0.02", p.base)
	}
}

// A rate stays between the floor and the cap, and loss speaks of it only when
// what was sent before has gone through.
func TestPaceSet(t *testing.T) {
	tests := []struct {
		rate, want float64
		settle     time.Duration
	}{
		{1e6, 5e6, paceDrain}, {40e6, 40e6, paceDrain}, {60e6, 60e6, paceSettle}, {300e6, 200e6, paceSettle},
	}
	for _, tt := range tests {
		p := newPace(200e6, 5e6, roomWire)
		p.sent, p.lost = 5, 5
		p.set(tt.rate, 700)
		mark := 700 + uint64(tt.want*tt.settle.Seconds()/8/roomWire)
		if p.rate != tt.want || p.mark != mark || p.sent != 0 || p.lost != 0 {
			t.Errorf("set(%g): rate %g, mark %d, sent %g, lost %g, want %g, %d, 0, 0", tt.rate, p.rate, p.mark, p.sent, p.lost, tt.want, mark)
		}
	}
	for _, limit := range []float64{3e6, 20e6, 50e6} {
		if p := newPace(limit, 5e6, roomWire); p.rate != limit || p.ramping || p.floor > limit {
			t.Errorf("a cap of %g: rate %g, ramping %v, floor %g, want the cap, false, at most the cap", limit, p.rate, p.ramping, p.floor)
		}
	}
}

func TestLowerMedian(t *testing.T) {
	for _, tt := range []struct {
		list []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 1}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 3, 2, 1}, 2}} {
		if got := lowerMedian(slices.Clone(tt.list)); got != tt.want {
			t.Errorf("lowerMedian(%v) = %v, want %v", tt.list, got, tt.want)
		}
	}
}
