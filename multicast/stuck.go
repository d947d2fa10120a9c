package multicast

import "time"

// stuckTime is how long nothing that is sent may help, section 8.
const stuckTime = 2 * time.Minute

// progress notes that a peer has a frame more.
func (l *lane) progress(p *lanePeer) {
	p.moved = true
	l.spent = 0
}

// allStuck returns the peers that nothing of what is sent has helped: all that
// anybody lacks was sent since anybody had a frame more, and in stuckTime from
// then on they had none.
func (l *lane) allStuck(now time.Time) (list []int) {
	if !l.started || l.spent < l.owed && l.quiet == 0 {
		l.idleSince = now
	}
	for _, p := range l.peers {
		if p.moved {
			p.moved, p.since = false, now
		}
		if p.lacks.len() > 0 && now.Sub(later(l.idleSince, p.since)) >= stuckTime {
			p.stuck = true
			list = append(list, p.id)
		}
	}
	return list
}
