package multicast

import (
	"math"
	"slices"
	"time"
)

// Figures of section 7.
const (
	paceStart    = 50e6 // bits per second
	paceLoss     = 0.03 // above the base that counts as congestion
	paceCalm     = 0.01 // above the base below which the rate may grow
	paceOutage   = 0.9  // loss that tells nothing of a rate
	paceJudge    = 2000 // datagrams, of all samples together, that a judgement takes
	paceTests    = 4    // rates that are tried before a loss is taken for random
	paceMemory   = 8000 // the same, that are remembered
	paceGrowth   = 1.02
	pacePatience = 2 * time.Second
	paceConfirm  = 100 * time.Millisecond // that congestion must last
	paceSettle   = 20 * time.Millisecond  // until a higher rate shows in what arrives
	paceLag      = 12 * time.Millisecond  // that receivers are behind what was sent, where no queue fills
	paceDrain    = 60 * time.Millisecond  // until a queue on the way has run dry
)

// A pace decides how fast a lane sends, from what its receivers lose.
type pace struct {
	cap, floor, rate float64       // bits per second
	wire             int           // bytes of a datagram on the wire
	ramping          bool          // the rate is still being found
	lag              time.Duration // of the median receiver's last report behind what had been sent
	median           float64       // loss when it was last looked at
	base             float64       // loss that has nothing to do with the rate
	sent, lost       float64       // datagrams at the present rate, and of these the lost ones
	mark             uint64        // sequence from which on loss speaks of the present rate
	calm             time.Time
	badSince         time.Time
	burst            bool // the last sample was bad by itself

	testing  bool    // the rate has just fallen because of loss
	tests    int     // how often since
	resume   bool    // it was ramping before
	fell     bool    // the rate is what the median receiver got
	before   float64 // the rate before
	beforeAt float64 // the loss then
}

func newPace(limit, floor float64, wire int) pace {
	return pace{cap: limit, floor: min(floor, limit), rate: min(paceStart, limit), wire: wire, ramping: limit > paceStart}
}

// restart begins with a rate that is known to be about right.
func (p *pace) restart(rate float64, head uint64) {
	p.ramping, p.testing, p.fell, p.base = false, false, false, 0
	p.set(rate, head)
}

// least returns what a loss is at least, if n datagrams were sampled, up to
// chance: three standard deviations.
func least(loss, n float64) float64 {
	return loss - 3*math.Sqrt(loss*(1-loss)/max(n/2, 1))
}

// learn takes in the losses of the receivers, of samples of so many datagrams in
// all that speak of the present rate. head is the lane's.
func (p *pace) learn(losses []float64, datagrams float64, head uint64, now time.Time) {
	if len(losses) == 0 {
		return
	}
	m := lowerMedian(losses)
	p.median = m
	if p.sent > paceMemory {
		p.sent, p.lost = p.sent/2, p.lost/2
	}
	p.sent, p.lost = p.sent+datagrams, p.lost+m*datagrams
	mean := p.lost / p.sent
	if p.testing {
		p.judge(mean, head)
		return
	}
	sudden := least(m, datagrams) > p.base+paceLoss
	if p.burst && !sudden { // it has passed, and has nothing to do with the rate
		p.sent, p.lost, mean = datagrams, m*datagrams, m
	}
	p.burst = sudden
	bad := sudden || least(mean, p.sent) > p.base+paceLoss
	if sudden {
		mean = m
	}
	p.decide(bad, mean, head, now)
}

// decide changes the rate, if it is time to.
func (p *pace) decide(bad bool, m float64, head uint64, now time.Time) {
	if !bad {
		p.badSince = time.Time{}
	} else if p.badSince.IsZero() {
		p.badSince = now
	}
	certain := least(m, p.sent)
	switch {
	case bad && (p.ramping || now.Sub(p.badSince) >= paceConfirm):
		p.slower(m, head)
		p.calm = now
	case p.ramping && p.lag > paceLag:
		// A queue on the way fills. What comes next, loss or none, will tell.
	case p.ramping && p.rate < p.cap:
		p.set(2*p.rate, head)
		p.calm = now
	case p.ramping:
		p.ramping, p.calm = false, now
	case certain >= p.base+paceCalm:
		p.calm = now
	case now.Sub(p.calm) >= pacePatience:
		p.set(p.rate*paceGrowth, head)
		p.fell = false
		p.calm = now
	}
	if most := 2*m - certain; most < p.base {
		p.base += (most - p.base) / 8
	}
}

// slower lets the rate fall to what the median receiver gets.
func (p *pace) slower(m float64, head uint64) {
	p.before, p.beforeAt = p.rate, m
	p.resume = p.ramping || m > paceOutage
	p.testing, p.ramping, p.badSince, p.tests = true, false, time.Time{}, 0
	p.set(p.share(m), head)
}

// judge finds out whether a lower rate has helped, once that is certain or
// enough datagrams were sampled. If not by half, or if it is the first test of
// a rate that was ramping, a still lower rate tells more, since a queue that has
// just run full makes the loss look small. A loss that stays has nothing to do
// with the rate.
func (p *pace) judge(m float64, head uint64) {
	excess := p.beforeAt - p.base
	helped, random := m-p.base <= 0.5*excess, m-p.base > 0.7*excess
	doubt := m - least(m, p.sent)
	certain := m+doubt-p.base <= 0.5*excess || m-doubt-p.base > 0.7*excess
	if p.sent < paceJudge && !(certain && p.sent >= paceJudge/10) {
		return
	}
	if m > paceOutage && p.rate > p.floor { // that is never random
		p.set(p.share(m), head)
		return
	}
	p.tests++
	switch {
	case random && (p.tests > 1 || !p.resume) || p.tests == paceTests:
		p.restore(m, head)
	case helped:
		p.testing = false
		p.ramping = p.beforeAt > paceOutage // it was no congestion
		p.fell = !p.ramping
		if m > p.base+paceLoss {
			p.slower(m, head)
		}
	default:
		p.set(p.share(m), head)
	}
}

// restore goes back to the rate before, since what is lost is random.
func (p *pace) restore(m float64, head uint64) {
	rate := p.before
	if p.fell { // it was taken for less than the median receiver could get
		rate *= (1 - p.base) / (1 - m)
	}
	p.testing, p.base = false, m
	p.ramping = p.resume && p.before < p.cap
	p.set(rate, head)
}

// share returns the rate that the median receiver gets, if it loses m, or half
// the present one, if nearly nothing arrives.
func (p *pace) share(m float64) float64 {
	if m > paceOutage {
		return p.rate / 2
	}
	return 0.98 * p.rate * (1 - m) / (1 - p.base)
}

// crowd lets the rate fall because most receivers have no room for what comes.
func (p *pace) crowd(head uint64, now time.Time) {
	p.ramping, p.testing, p.calm = false, false, now
	p.set(0.9*p.rate, head)
}

// set changes the rate.
func (p *pace) set(rate float64, head uint64) {
	wait := paceSettle
	if rate < p.rate {
		wait = paceDrain
	}
	p.rate = min(max(rate, p.floor), p.cap)
	p.mark = head + uint64(p.rate*wait.Seconds()/8/float64(p.wire))
	p.sent, p.lost = 0, 0
}

// lowerMedian returns the median of a list, the lower one of two. It sorts it.
func lowerMedian(list []float64) float64 {
	slices.Sort(list)
	return list[(len(list)-1)/2]
}
