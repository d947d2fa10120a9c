package multicast

import (
	"math"
	"slices"
	"testing"
	"time"
)

// sampleLane makes a lane of 100 frames of 10 symbols with so many peers, who
// lack all, at a rate that is known.
func sampleLane(peers int) *lane {
	l := newLane(laneOptions{frames: 100, size: func(int) int { return 10 * roomSymbol }, symbol: roomSymbol, rate: 50e6, floor: 5e6, wire: roomWire})
	l.started = true
	all := newFrameSet(100)
	all.addRange(0, all.size())
	for id := range peers {
		l.join(id, time.Unix(1000, 0))
		l.need(id, all)
		l.peer(id).based = true
	}
	return l
}

// What a sample says of a peer.
func TestTake(t *testing.T) {
	type figures struct {
		sample, loss, sent, lost, outage float64
		valid                            bool
	}
	tests := []struct {
		name           string
		mark           uint64
		ramping        bool
		median         float64
		head, received uint64
		want           figures
	}{
		{"nothing lost", 0, false, 0, 100, 100, figures{0, 0.12, 1100, 200, 200, true}},
		{"some lost", 0, false, 0, 100, 75, figures{0.25, 0.22, 1100, 225, 200, true}},
		{"more received than sent", 0, false, 0, 100, 150, figures{0, 0.12, 1100, 200, 200, true}},
		{"the most lost so far", 0, false, 0, 1000, 500, figures{0.5, 0.32, 2000, 700, 500, true}},
		{"an outage", 0, false, 0, 1000, 90, figures{0.91, 0.484, 1000, 200, 910, true}},
		{"begun before the rate changed", 5001, false, 0, 100, 75, figures{0.25, 0.22, 1000, 200, 200, false}},
		{"the same while the rate is being found", 5050, true, 0, 100, 100, figures{0, 0.12, 1050, 200, 200, true}},
		{"before the change was lost what was known", 5050, true, 0.5, 100, 75, figures{0, 0.12, 1050, 200, 200, true}},
		{"too much of it was before the change", 5080, true, 0, 100, 100, figures{0, 0.12, 1000, 200, 200, false}},
		{"too much was lost since", 5050, true, 0, 100, 75, figures{0.25, 0.22, 1000, 200, 200, false}},
	}
	for _, tt := range tests {
		p := &lanePeer{sampleHead: 5000, sampleRx: 4000, head: 5000 + tt.head, received: 4000 + tt.received, samples: 1, loss: 0.2, sentSum: 1000, lostSum: 200, outage: 200}
		p.take(&pace{mark: tt.mark, ramping: tt.ramping, median: tt.median})
		got := figures{p.sample, p.loss, p.sentSum, p.lostSum, p.outage, p.valid}
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
		w := tt.want
		if !near(got.sample, w.sample) || !near(got.loss, w.loss) || got.sent != w.sent || got.lost != w.lost || !near(got.outage, w.outage) || got.valid != w.valid {
			t.Errorf("%s: %+v, want %+v", tt.name, got, w)
		}
		if p.sampleHead != p.head || p.sampleRx != p.received {
			t.Errorf("%s: the next sample begins at %d, %d, want %d, %d", tt.name, p.sampleHead, p.sampleRx, p.head, p.received)
		}
	}
}

// The first sample counts in full, and old ones are forgotten in the end.
func TestTakeMemory(t *testing.T) {
	p := &lanePeer{head: 100, received: 50}
	p.take(&pace{})
	if p.loss != 0.5 {
		t.Errorf("the loss is %g after one sample, want 0.5", p.loss)
	}
	for range 20 {
		p.head, p.received = p.head+sampleMemory/4, p.received+sampleMemory/4
		p.take(&pace{})
	}
	if p.sentSum > sampleMemory || p.lostSum > 5 {
		t.Errorf("%g of %g are remembered as lost, want at most 5 of %d", p.lostSum, p.sentSum, sampleMemory)
	}
}

// A peer is losing if that is no chance, and not usual in the room.
func TestIsLosing(t *testing.T) {
	tests := []struct {
		name                 string
		loss, sample, n, all float64
		want                 bool
	}{
		{"nothing", 0, 0, 1000, 0, false},
		{"ten per cent", 0.1, 0.1, 1e6, 0, false},
		{"a fifth", 0.2, 0.2, 1000, 0, true},
		{"a fifth, which may be chance", 0.2, 0.2, 100, 0, false},
		{"a fifth of few", 0.2, 0.2, 0, 0, false},
		{"it has passed", 0.2, 0.05, 1000, 0, false},
		{"it is usual", 0.2, 0.2, 1000, 0.2, false},
		{"it is nearly usual", 0.2, 0.2, 1000, 0.19, true},
		{"all", 1, 1, 8, 0, true},
	}
	for _, tt := range tests {
		p := &lanePeer{loss: tt.loss, sample: tt.sample, sampled: tt.n}
		if got := p.isLosing(tt.all); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A peer is greedy if it causes more than it loses, or more than its share.
func TestIsGreedy(t *testing.T) {
	symbols := func(share float64) float64 { return share * (behindBurst/float64(roomSymbol) + 20) }
	burst := symbols(1)
	tests := []struct {
		name                           string
		caused, head, lost, outage, by float64 // by: what the others caused, all together
		usual                          float64
		want                           bool
	}{
		{"it causes nothing", 0, 1e5, 0, 0, 0, 0, false},
		{"a burst", symbols(0.9), 1e5, 0, 0, 0, 0, false},
		{"more than it has lost", symbols(1.1), 1e5, 0, 0, 0, 0, true},
		{"what it has lost", 20e3, 1e5, 20e3, 0, 4e6, 0, false},
		{"the same, but the others cause little", 20e3, 1e5, 20e3, 0, 1e3, 0, true},
		{"it loses what is usual", 20e3, 1e5, 20e3, 0, 1e3, 0.2, false},
		{"it loses five per cent", 5e3, 1e5, 5e3, 0, 0, 0, false},
		{"it causes five per cent", 5e3 + burst - 1, 1e5, 20e3, 0, 0, 0, false},
		{"it causes more", 5e3 + burst + 1, 1e5, 20e3, 0, 0, 0, true},
		{"but all at once", 5e3 + burst + 1, 1e5, 20e3, 10e3, 0, 0, false},
	}
	for _, tt := range tests {
		l := sampleLane(5)
		l.largest, l.head = 10, uint64(tt.head)
		for _, q := range l.peers[1:] {
			q.caused = int64(tt.by / 4)
		}
		p := l.peers[0]
		p.caused, p.head, p.received, p.outage = int64(tt.caused), uint64(tt.head), uint64(tt.head-tt.lost), tt.outage
		if got := l.isGreedy(p, tt.usual); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A peer is behind when all others have had time to report, and not if it is
// all right in between, or alone.
func TestBehindTime(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, tt := range []struct {
		name  string
		peers int
		reset bool
		want  time.Duration // 0: never
	}{
		{"one of two", 2, false, behindTime},
		{"it recovers", 2, true, 0},
		{"alone", 1, false, 0},
		{"one of 30, who report every 0.24 s", 30, false, 480 * time.Millisecond},
	} {
		l := sampleLane(tt.peers)
		p := l.peers[0]
		var got time.Duration
		for d := time.Duration(0); d < time.Second && got == 0; d += 10 * time.Millisecond {
			p.loss, p.sample, p.sampled = 0.5, 0.5, 1000
			if tt.reset && d%(100*time.Millisecond) == 0 {
				p.sample = 0
			}
			if slices.Contains(l.sample(now.Add(d)), p.id) {
				got = d
			}
		}
		if got != tt.want {
			t.Errorf("%s: behind after %v, want %v", tt.name, got, tt.want)
		}
	}
}

// What is expected of a peer is its own loss, as far as enough is known, and
// what all lose before.
func TestChances(t *testing.T) {
	l := sampleLane(3)
	known := []struct{ sent, lost float64 }{{0, 0}, {36000, 3600}, {4000, 0}}
	for i, k := range known {
		l.peers[i].sentSum, l.peers[i].lostSum = k.sent, k.lost
	}
	mean := 0.09
	want := []float64{mean, (3600 + mean*4000) / 40000, mean / 2}
	got := l.chances()
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-9 {
			t.Errorf("peer %d: %g, want %g", i, got[i], want[i])
		}
	}
	l.drop(1, 100)
	if n := len(l.chances()); n != 2 {
		t.Errorf("%d peers count where one of three lacks nothing, want 2", n)
	}
}

// The pace looks at valid samples of those who lack something, are alive, and
// are enough; when it falls, what was lost before is forgotten.
func TestAdapt(t *testing.T) {
	now := time.Unix(1000, 0)
	tests := []struct {
		name  string
		peers int
		set   func(l *lane)
		rate  float64 // after 0.2 s of a loss of a half, Mbit/s
	}{
		{"all of them", 4, func(*lane) {}, 24.5},
		{"half of them", 4, func(l *lane) { l.peers[0].valid, l.peers[1].valid = false, false }, 24.5},
		{"too few", 5, func(l *lane) { l.peers[0].valid, l.peers[1].valid, l.peers[2].valid = false, false, false }, 50},
		{"the others are silent", 4, func(l *lane) {
			for _, p := range l.peers[:3] {
				p.heard, p.valid = now.Add(-time.Minute), false
			}
		}, 24.5},
		{"the others are done", 4, func(l *lane) {
			for id := range 3 {
				l.drop(id, 100)
				l.peers[id].sample = 0
			}
		}, 24.5},
		{"most are full", 4, func(l *lane) { l.peers[0].full, l.peers[1].full, l.peers[2].full = true, true, true }, 50 * 0.9 * 0.9},
		{"half are full", 4, func(l *lane) { l.peers[0].full, l.peers[1].full = true, true }, 24.5},
	}
	for _, tt := range tests {
		l := sampleLane(tt.peers)
		for _, p := range l.peers {
			p.valid, p.sample, p.sampled, p.heard, p.sentSum, p.lostSum = true, 0.5, 500, now, 500, 250
		}
		tt.set(l)
		for _, d := range []time.Duration{0, 200 * time.Millisecond} {
			for _, p := range l.peers { // as reports do
				p.valid = p.valid || l.pace.mark > 0
			}
			l.adapt(now.Add(d))
		}
		if got := l.pace.rate / 1e6; math.Abs(got-tt.rate) > 0.01 {
			t.Errorf("%s: the rate is %.2f, want %.2f", tt.name, got, tt.rate)
		}
		if p := l.peers[tt.peers-1]; (l.pace.rate < 50e6) != (p.lostSum == 0) {
			t.Errorf("%s: %g datagrams are remembered as lost at a rate of %.2f, want none below 50", tt.name, p.lostSum, l.pace.rate/1e6)
		}
	}
}
