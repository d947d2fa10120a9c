package multicast

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Shares of the rate, sections 8 and 10.
const (
	behindPart = 1.0 / 12 // of those that are behind, while others have work
	fetchPart  = 0.3      // of those that get no multicast
)

// maxFalls is how often a receiver may fall behind without having a frame more.
const maxFalls = 3

// fallBehind deals with a member of a lane that cannot keep up, by the
// session's policy. x.mu is held.
func (x *session) fallBehind(r *laneRun, number int) {
	m := x.memberOf(number)
	p := r.lane.peer(number)
	if m == nil || p == nil || m.control == nil {
		return
	}
	if p.stuck {
		x.abandon(m, fmt.Sprintf("it has had no frame more for %v, whatever was sent", stuckTime))
		return
	}
	if m.fallsAgain() {
		x.abandon(m, "it falls behind again and again, and has had no frame more")
		return
	}
	m.goodput = r.lane.pace.rate * (1 - p.loss)
	why := p.whyBehind()
	x.log.Warn("receiver falls behind", "receiver", m.hello.name, "err", why)
	x.detach(m)
	m.state, m.reason, m.moved = Behind, why, time.Now()
	switch x.opt.Straggler {
	case Drop:
		x.abandon(m, why)
	case Unicast:
		x.order(m, why)
	case Park:
		if x.park(m, r) {
			return
		}
		fallthrough
	default:
		m.control.send(join{lane: r.lane.id, leave: true})
	}
	x.nudge()
}

// fallsAgain counts how often m fell behind since it had a frame more, and tells
// whether that is too often.
func (m *member) fallsAgain() bool {
	if m.done > m.fellAt {
		m.falls, m.fellAt = 0, m.done
	}
	m.falls++
	return m.falls > maxFalls
}

// whyBehind tells people what makes a peer fall behind.
func (p *lanePeer) whyBehind() string {
	if p.loss > behindLoss {
		return fmt.Sprintf("it loses %.0f %% of what is sent", 100*p.loss)
	}
	return "it asks for far more repairs than the others"
}

// park moves a member to a lane that is slower than the one it was in; that it
// cannot is no loss, it waits then.
func (x *session) park(m *member, from *laneRun) bool {
	var r *laneRun
	for _, o := range x.lanes[1:] {
		if o == from {
			continue
		}
		if len(o.lane.peers) == 0 || o.lane.pace.rate <= 1.5*m.goodput {
			r = o
			break
		}
	}
	if r == nil {
		if len(x.lanes) == maxLanes {
			return false
		}
		var err error
		if r, err = x.newLaneRun(len(x.lanes)); err != nil {
			x.log.Warn("no slower lane", "err", err)
			return false
		}
		x.launch(r)
	}
	if len(r.lane.peers) == 0 {
		r.lane.pace.restart(linkShare*m.goodput, r.lane.head)
	}
	r.lane.excuse(leaveTime)
	x.assign(m, r)
	return true
}

// leaveTime is how long a switch may go on sending the group that a receiver
// has left: the last member's query interval of a querier, twice (RFC 2236,
// section 8.8), and some more.
const leaveTime = 2500 * time.Millisecond

// excuse makes the lane learn nothing from what is lost for so long.
func (l *lane) excuse(d time.Duration) {
	l.pace.mark = l.head + uint64(l.pace.rate*d.Seconds()/8/float64(l.pace.wire))
}

// listened tells whether receivers that fetch may be listening, to find out
// whether multicast works after all. x.mu is held.
func (x *session) listened() bool {
	for _, m := range x.members {
		if m.state == Fetching && m.control != nil {
			return true
		}
	}
	return false
}

// readmit lets members that were behind into the first lane again when nobody
// else there lacks anything. x.mu is held.
func (x *session) readmit() {
	r := x.lanes[0]
	if r.lane.lacking() {
		return
	}
	slowest := 0.0
	for _, m := range x.members {
		if m.state != Behind || m.lane != nil || m.control == nil {
			continue
		}
		if slowest == 0 || m.goodput < slowest {
			slowest = m.goodput
		}
		m.state = x.taking(m)
		x.assign(m, r)
		x.log.Info("receiver has its turn", "receiver", m.hello.name)
	}
	if slowest > 0 {
		r.lane.pace.restart(linkShare*slowest, r.lane.head)
	}
}

// memberOf returns the member of that number, nil if there is none.
func (x *session) memberOf(number int) *member {
	for _, m := range x.members {
		if m.number == number {
			return m
		}
	}
	return nil
}

// share returns which part of its rate a lane may take now. x.mu is held.
func (x *session) share(r *laneRun) float64 {
	busy := 0 // slower lanes with work
	for _, o := range x.lanes[1:] {
		if o.lane.lacking() {
			busy++
		}
	}
	main := x.lanes[0].lane.lacking()
	if r != x.lanes[0] {
		if main {
			return min(1, behindPart*x.lanes[0].lane.pace.rate/float64(busy)/r.lane.pace.rate)
		}
		return 1 / float64(max(busy, 1))
	}
	part := 1.0
	if busy > 0 {
		part -= behindPart
	}
	if x.quick.busy() {
		part -= fetchPart
	} else if x.slow.busy() {
		part -= behindPart
	}
	return part
}

// limiterFor returns what paces the frames that a receiver fetches.
func (x *session) limiterFor(address netip.Addr) limiter {
	x.mu.Lock()
	defer x.mu.Unlock()
	l, part := x.quick, fetchPart
	for _, m := range x.members {
		if m.address == address && m.state == Fetching && m.goodput > 0 {
			l, part = x.slow, behindPart
		}
	}
	rate := x.lanes[0].lane.pace.rate
	if !x.lanes[0].lane.lacking() {
		rate, part = x.rate, 1
	}
	l.set(rate * part)
	return l
}

// A limit lets bytes pass at a rate. It is safe for concurrent use.
type limit struct {
	mu   sync.Mutex
	rate float64 // bits per second
	due  time.Time
}

func (l *limit) set(rate float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
}

// busy tells whether bytes have passed a moment ago.
func (l *limit) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.due) < 100*time.Millisecond
}

// wait implements limiter.
func (l *limit) wait(ctx context.Context, bytes int) error {
	l.mu.Lock()
	now := time.Now()
	if l.due.Before(now) {
		l.due = now
	}
	wait := l.due.Sub(now)
	l.due = l.due.Add(time.Duration(float64(bytes*8) / l.rate * 1e9))
	l.mu.Unlock()
	pause(ctx, wait)
	return ctx.Err()
}

// fail tells all receivers why the session ends, unless its user ends it.
func (x *session) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken == nil {
		x.broken = err
	}
	for _, m := range x.members {
		if m.control != nil && !m.over() {
			x.abandon(m, "the sender fails: "+err.Error())
		}
	}
}
