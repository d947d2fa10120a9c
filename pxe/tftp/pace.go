package tftp

import "time"

// How long an acknowledgement is waited for.
const (
	firstWait = time.Second            // before anything was measured
	leastWait = 200 * time.Millisecond // firmware pauses to draw a dot
	mostWait  = 5 * time.Second

	// idleLimit ends a transfer whose client acknowledges nothing new,
	// whatever it asked for with timeout.
	idleLimit = time.Minute
	// maxSends is how many times a window is sent in all.
	maxSends = 8
	// maxBlindSends is how many times the first answer is sent to a client
	// that has yet to say a word: its address may be forged (RFC 8085,
	// section 3.1.2, on waiting; the number is ours).
	maxBlindSends = 4
)

// A pace knows how long to wait for an acknowledgement: from measured round
// trips, as TCP does (RFC 6298; RFC 1123, section 4.2.3.2, asks for something
// of the kind), or as long as the client asked for (RFC 2349).
type pace struct {
	fixed        time.Duration // what the client asked for; 0 is nothing
	mean, spread time.Duration // of the round trips; 0 before the first
}

// wait returns how long to wait after a window was sent again so many times.
func (p *pace) wait(again int) time.Duration {
	if p.fixed > 0 {
		return p.fixed
	}
	w := firstWait
	if p.mean > 0 {
		w = max(leastWait, p.mean+4*p.spread)
	}
	return min(w<<again, mostWait)
}

// measured takes a round trip into account. It must not be one of a window that
// was sent again: nobody knows which of the two was acknowledged.
func (p *pace) measured(trip time.Duration) {
	trip = max(trip, 1)
	if p.mean == 0 {
		p.mean, p.spread = trip, trip/2
		return
	}
	p.spread += ((p.mean - trip).Abs() - p.spread) / 4
	p.mean += (trip - p.mean) / 8
}
