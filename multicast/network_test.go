package multicast

import (
	"math"
	"math/rand/v2"
	"time"
)

// A network decides whether a datagram sent now arrives.
type network interface {
	arrives(now time.Time) bool
}

// randomLoss loses each datagram with the same probability.
type randomLoss struct {
	p    float64
	rng  *rand.Rand
	left int // datagrams until the next one that is lost
}

func newRandomLoss(p float64, seed uint64) *randomLoss {
	n := &randomLoss{p: p, rng: rand.New(rand.NewPCG(seed, 1))}
	n.draw()
	return n
}

func (n *randomLoss) draw() {
	n.left = math.MaxInt
	if n.p > 0 {
		n.left = int(math.Log(1-n.rng.Float64()) / math.Log(1-n.p))
	}
}

func (n *randomLoss) arrives(time.Time) bool {
	if n.left--; n.left >= 0 {
		return true
	}
	n.draw()
	return false
}

// burstLoss is the model of Gilbert and Elliott: nothing arrives in its bad
// state.
type burstLoss struct {
	toBad, toGood float64
	bad           bool
	rng           *rand.Rand
}

// newBurstLoss loses a part p of all datagrams, in bursts of that mean length.
func newBurstLoss(p, length float64, seed uint64) *burstLoss {
	return &burstLoss{toGood: 1 / length, toBad: p / (1 - p) / length, rng: rand.New(rand.NewPCG(seed, 3))}
}

func (n *burstLoss) arrives(time.Time) bool {
	if x := n.rng.Float64(); n.bad {
		n.bad = x >= n.toGood
	} else {
		n.bad = x < n.toBad
	}
	return !n.bad
}

// slowLink drops what its queue does not hold, and then what the next network
// loses, if there is one.
type slowLink struct {
	rate  float64       // bits per second
	queue time.Duration // that the queue holds
	next  network
	free  time.Time // when the link has sent all that it holds
}

// newSlowLink makes a link whose queue holds so many bytes.
func newSlowLink(rate float64, queue int, next network) *slowLink {
	return &slowLink{rate: rate, queue: time.Duration(float64(queue) * 8 / rate * 1e9), next: next}
}

func (n *slowLink) arrives(now time.Time) bool {
	if n.free.Before(now) {
		n.free = now
	}
	if n.free.Sub(now) > n.queue {
		return false
	}
	n.free = n.free.Add(time.Duration(roomWire * 8 / n.rate * 1e9))
	return n.next == nil || n.next.arrives(now)
}

// brokenLink carries nothing for a while, and else what the next network does.
type brokenLink struct {
	from   time.Time
	length time.Duration
	next   network
}

func (n *brokenLink) arrives(now time.Time) bool {
	return n.next.arrives(now) && (now.Before(n.from) || now.Sub(n.from) >= n.length)
}
