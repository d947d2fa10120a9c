package multicast

import (
	"math"
	"time"
)

// Figures of section 8.
const (
	behindLoss   = 0.10 // that a receiver may have, whatever the others have
	behindTimes  = 5    // the lower median
	behindTime   = 200 * time.Millisecond
	behindShare  = 0.05 // of what was sent that repairs for one receiver may take
	behindBurst  = 512 << 10
	sampleLeast  = 8       // datagrams that make a sample
	sampleRoom   = 20      // peers that speak for a room
	sampleMemory = 1 << 16 // datagrams that are remembered of each peer
	sampleWeight = 4000    // datagrams of a peer that count as much as all of the others
	samplePeriod = 20 * time.Millisecond
)

// sample looks at what the receivers lose, adapts the pace and the parity in
// advance to it, and returns the peers that are behind, or stuck. It is to be
// called every samplePeriod.
func (l *lane) sample(now time.Time) (behind []int) {
	if stuck := l.allStuck(now); len(stuck) > 0 {
		return stuck // the others are looked at next time
	}
	if losses := l.losses(); len(losses) > 1 {
		behind = l.allBehind(losses, now)
	}
	if l.fresh {
		l.fresh = false
		l.extra.learn(l.chances())
		l.adapt(now)
	}
	return behind
}

// allBehind returns those that are behind, of at least two that lack something.
// losses is what these lose of late.
func (l *lane) allBehind(losses []float64, now time.Time) (behind []int) {
	var all []float64
	for _, p := range l.peers {
		if p.lacks.len() > 0 {
			all = append(all, p.lostShare())
		}
	}
	ofLate, inAll := behindTimes*lowerMedian(losses), behindTimes*lowerMedian(all)
	usual, _ := l.interval()
	patience := max(behindTime, 2*usual) // all of them have reported within
	for _, p := range l.peers {
		switch {
		case p.lacks.len() == 0:
		case !p.isLosing(ofLate) && !l.isGreedy(p, inAll):
			p.badSince = time.Time{}
		case p.badSince.IsZero():
			p.badSince = now
		case now.Sub(p.badSince) >= patience:
			behind = append(behind, p.id)
		}
	}
	return behind
}

// losses returns what the peers that lack something lose of late.
func (l *lane) losses() (list []float64) {
	for _, p := range l.peers {
		if p.lacks.len() > 0 {
			list = append(list, p.loss)
		}
	}
	return list
}

// take computes a peer's loss since the last sample.
func (p *lanePeer) take(c *pace) {
	sent := float64(p.head - p.sampleHead)
	lost := max(0, sent-float64(p.received-p.sampleRx))
	p.valid = p.sampleHead >= c.mark
	p.sampleHead, p.sampleRx = p.head, p.received
	if c.ramping && !p.valid && p.head > c.mark {
		sent, lost = p.straddle(c, sent, lost)
	}
	p.sample, p.sampled = min(lost/sent, 1), sent
	if p.samples++; p.samples == 1 {
		p.loss = p.sample
	}
	p.loss += 0.4 * (p.sample - p.loss)
	p.outage = max(p.outage, lost)
	if !p.valid || p.sample > paceOutage {
		return // it speaks of a rate that is no more, or of none
	}
	p.sentSum, p.lostSum = p.sentSum+sent, p.lostSum+lost
	if p.sentSum > sampleMemory {
		p.sentSum, p.lostSum = p.sentSum/2, p.lostSum/2
	}
}

// straddle makes use of a sample that begins before the last change of a rate
// that is still being found: if less is lost than counts as congestion, what
// was lost before the change is known well enough.
func (p *lanePeer) straddle(c *pace, sent, lost float64) (float64, float64) {
	before := sent - float64(p.head-c.mark)
	after := sent - before
	rest := max(0, lost-c.median*before)
	p.valid = before < 3*sent/4 && rest <= (c.base+paceLoss)*after
	if !p.valid {
		return sent, lost
	}
	return after, rest
}

// chances returns the loss that is to be expected of each peer that lacks
// something: what it lost, as far as that is more than chance, and else what
// all of them lost.
func (l *lane) chances() []float64 {
	var sent, lost float64
	for _, p := range l.peers {
		sent, lost = sent+p.sentSum, lost+p.lostSum
	}
	mean := lost / max(sent, 1)
	var list []float64
	for _, p := range l.peers {
		if p.lacks.len() > 0 {
			list = append(list, (p.lostSum+mean*sampleWeight)/(p.sentSum+sampleWeight))
		}
	}
	return list
}

// adapt lets the pace learn, if enough peers have been sampled at the present
// rate: half of them, or while the rate is still being found, twenty. Where
// most have full buffers, their disks set the pace.
func (l *lane) adapt(now time.Time) {
	var losses, lags []float64
	var datagrams float64
	active, full := 0, 0
	for _, p := range l.peers {
		if p.lacks.len() == 0 || now.Sub(p.heard) > 2*time.Second {
			continue
		}
		active++
		if p.full {
			full++
		}
		if p.valid {
			losses, lags = append(losses, p.sample), append(lags, float64(p.lag))
			datagrams += p.sampled
		}
	}
	if 2*len(losses) < active && !(l.pace.ramping && len(losses) >= sampleRoom) {
		return
	}
	rate := l.pace.rate
	if len(lags) > 0 {
		l.pace.lag = time.Duration(lowerMedian(lags) * float64(8*l.pace.wire) / rate * 1e9)
	}
	if 2*full > active {
		l.pace.crowd(l.head, now)
	} else {
		l.pace.learn(losses, datagrams, l.head, now)
	}
	if l.pace.rate == rate {
		return
	}
	for _, p := range l.peers {
		p.valid = false
		if l.pace.rate < rate { // what too high a rate has lost is no guide
			p.sentSum, p.lostSum = 0, 0
		}
	}
}

// isLosing tells whether a peer loses far more than is usual, of late and in
// its last sample.
func (p *lanePeer) isLosing(usual float64) bool {
	sure := p.loss - 3*math.Sqrt(p.loss*(1-p.loss)/max(p.sampled, 1)) // up to chance: three standard deviations
	return sure > behindLoss && p.sample > behindLoss && p.loss > usual
}

// lostAll returns how many datagrams a peer has lost since it joined.
func (p *lanePeer) lostAll() float64 {
	return max(0, float64(p.head-p.baseHead)-float64(p.received-p.baseRx))
}

// lostShare returns the same as a part of what was sent.
func (p *lanePeer) lostShare() float64 {
	return p.lostAll() / max(1, float64(p.head-p.baseHead))
}

// isGreedy tells whether a peer causes more repairs than it says it has lost
// datagrams, or more than its share because it loses far more than is usual.
// Its longest outage is forgiven.
func (l *lane) isGreedy(p *lanePeer, usual float64) bool {
	burst := behindBurst/float64(l.symbol) + float64(2*l.largest)
	if float64(p.caused) > p.lostAll()+burst {
		return true
	}
	allowed := behindShare*float64(l.head-p.joined) + burst + p.outage
	if p.lostShare() <= max(usual, behindShare) || float64(p.caused) <= allowed {
		return false
	}
	var others int64
	for _, q := range l.peers {
		others += q.caused
	}
	others -= p.caused
	return p.caused > 4*others/int64(len(l.peers)-1)
}
