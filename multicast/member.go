package multicast

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Bounds of the patience with receivers.
const (
	giveUp       = 30 * time.Second // after one was lost
	stallTime    = 30 * time.Minute // without a frame that it has written
	prepareTime  = 12 * time.Hour   // until it knows what it lacks
	maxReceivers = 4096             // of a session
	maxJoins     = 64               // of one receiver, after which it is to fetch
	talkTime     = 2 * time.Millisecond
	talkBurst    = 500 // messages that may come at once; then one each talkTime
)

// A member is a receiver of a session, as its sender sees it. All fields are
// guarded by session.mu.
type member struct {
	number  int // in all lanes
	hello   hello
	address netip.Addr
	control *control // nil if it is not connected

	state   State
	reason  string
	ready   bool      // has told what it lacks
	lacks   *frameSet // frames of the session, pieces of the preface left out
	lacked  int       // how many these were at first
	done    int       // of these
	lane    *laneRun  // nil if none
	joins   int       // how often it has joined the first lane
	ordered bool      // it was told to fetch
	goodput float64   // bits per second that it got when it fell behind
	falls   int       // how often it fell behind since it had a frame more
	fellAt  int       // done then

	joined  time.Time
	since   time.Time // when it connected
	moved   time.Time // when it last got on
	heard   time.Time // when it last said anything, or was lost
	written int64
	bad     uint32 // datagrams that it has dropped since it connected,
	before  int64  // and those before
	full    bool
	rate    meter
}

// over tells whether the session need not wait for m.
func (m *member) over() bool { return m.state == Done || m.state == Failed }

// waits tells whether m is behind and waits for its turn.
func (m *member) waits() bool { return m.state == Behind && m.lane == nil }

// A meter is a rate over the last few seconds.
type meter struct {
	at    time.Time
	bytes int64
	rate  float64 // bytes per second
}

// add takes in that so many bytes have come in all.
func (r *meter) add(bytes int64, now time.Time) {
	d := now.Sub(r.at).Seconds()
	if r.at.IsZero() {
		r.at, r.bytes = now, bytes
		return
	}
	if d < 0.5 {
		return
	}
	r.rate += min(d/2, 1) * (float64(bytes-r.bytes)/d - r.rate)
	r.at, r.bytes = now, bytes
}

// errLeft ends a control channel whose receiver has nothing more to say.
var errLeft = errors.New("done")

// serve talks to one receiver until it is done or gone.
func (x *session) serve(ctx context.Context, conn *tls.Conn) {
	c := newControl(conn, fromReceiver)
	var m *member
	var talk time.Time // when what was heard would be said at the pace that is allowed
	err := c.run(ctx, func(msg message) error {
		talk = later(talk, time.Now().Add(-talkBurst*talkTime)).Add(talkTime)
		if wait := time.Until(talk); wait > 0 {
			pause(ctx, wait) // it waits in the kernel, and at last in the receiver
		}
		if m == nil {
			h, ok := msg.(hello)
			if !ok {
				return fmt.Errorf("%w: message %d before hello", errMalformed, msg.messageType())
			}
			var err error
			m, err = x.welcome(ctx, c, conn, h)
			return err
		}
		return x.hear(m, c, msg)
	})
	x.log.Debug("control channel ended", "receiver", conn.RemoteAddr(), "err", err)
	if m != nil {
		x.lost(m, c, err)
	}
}

// welcome makes a member of a receiver that has said hello, and offers the
// session to it.
func (x *session) welcome(ctx context.Context, c *control, conn *tls.Conn, h hello) (*member, error) {
	exported, err := c.exporter()
	if err != nil {
		return nil, err
	}
	if !checkProof(x.key, proofOfReceiver, exported, h.proof) {
		x.log.Warn("receiver refused", "receiver", h.name, "address", conn.RemoteAddr(), "err", errProof)
		return nil, errors.Join(errProof, c.send(dropped{"it does not know the key of the session"}))
	}
	if h.session != 0 && h.session != x.id {
		return nil, fmt.Errorf("it wants session %016x", h.session)
	}
	admit(ctx)
	remote, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.enter(c, h, remote.Addr().Unmap())
	if m == nil {
		return nil, errors.Join(errFull, c.send(dropped{errFull.Error()}))
	}
	o := x.offer
	o.proof = prove(x.key, proofOfSender, exported)
	if x.annex.frames > 0 {
		err = c.send(x.annex)
	}
	return m, errors.Join(err, c.send(o), x.admit(m))
}

// errFull refuses a receiver.
var errFull = errors.New("the session has as many receivers as it can have")

// admit lets a member into the first lane, or makes it fetch if it comes and
// goes all the time, since each time costs the others.
func (x *session) admit(m *member) error {
	if m.joins++; m.joins <= maxJoins {
		return x.assign(m, x.lanes[0])
	}
	return x.order(m, "it has joined too often")
}

// order makes a member fetch.
func (x *session) order(m *member, why string) error {
	m.state, m.reason, m.ordered = Fetching, why, true
	return m.control.send(fetch{why})
}

// enter finds or makes the member for a receiver. A new connection takes the
// place of an old one. It returns nil if there are too many.
func (x *session) enter(c *control, h hello, address netip.Addr) *member {
	now := time.Now()
	for _, m := range x.members {
		if m.hello.id != h.id {
			continue
		}
		x.detach(m)
		if m.control != nil {
			m.control.abandon(errors.New("it has connected again"))
		}
		x.numbers++
		m.number, m.hello, m.address, m.control = x.numbers, h, address, c
		m.state, m.reason, m.ready, m.lacks, m.ordered = Joining, "", false, nil, false
		m.heard, m.since, m.moved = now, now, now
		m.before, m.bad, m.written, m.full, m.goodput, m.rate = m.before+int64(m.bad), 0, 0, false, 0, meter{}
		x.log.Info("receiver is back", "receiver", h.name, "address", address)
		return m
	}
	if len(x.members) == maxReceivers {
		x.log.Warn("receiver refused", "receiver", h.name, "address", address, "err", errFull)
		return nil
	}
	x.numbers++
	m := &member{number: x.numbers, hello: h, address: address, control: c, state: Joining, joined: now, since: now, moved: now, heard: now}
	x.members = append(x.members, m)
	x.log.Info("receiver joins", "receiver", h.name, "address", address, "target", h.target)
	return m
}

// assign puts a member into a lane and tells it.
func (x *session) assign(m *member, r *laneRun) error {
	now := time.Now()
	m.lane, m.moved = r, now
	r.lane.join(m.number, now)
	if m.ready {
		r.lane.drop(m.number, x.pieces)
		r.lane.need(m.number, m.lacks)
	} else {
		r.hold(now)
	}
	r.wake()
	return errors.Join(m.control.send(join{lane: r.lane.id, group: r.group}), m.control.send(pulseFor(m, x.pulse())))
}

// detach takes a member out of its lane.
func (x *session) detach(m *member) {
	if m.lane != nil {
		m.lane.lane.leave(m.number)
		m.lane = nil
	}
}

// hear takes in what a member says.
func (x *session) hear(m *member, c *control, msg message) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if m.control != c {
		return errLeft // a newer connection has taken its place
	}
	if m.over() {
		return errLeft // it was told
	}
	m.heard = time.Now()
	switch msg := msg.(type) {
	case need:
		return x.need(m, msg)
	case rawReport:
		return x.report(m, msg)
	case mode:
		return x.mode(m, msg)
	case done:
		return x.done(m, msg)
	case failed:
		x.detach(m)
		m.state, m.reason = Failed, msg.why
		x.log.Warn("receiver failed", "receiver", m.hello.name, "err", msg.why)
		return errLeft
	}
	return fmt.Errorf("%w: message %d", errMalformed, msg.messageType())
}

// need takes in what a member lacks.
func (x *session) need(m *member, n need) error {
	lacks, err := n.set(x.frames, x.pieces, int(x.annex.frames))
	if err != nil {
		return err
	}
	if m.ready {
		return fmt.Errorf("%w: a second need", errMalformed)
	}
	m.lacks, m.ready, m.moved = lacks, true, m.heard
	m.lacked, m.done = lacks.len(), 0
	m.falls, m.fellAt = 0, 0
	if m.state == Joining {
		m.state = x.taking(m)
	}
	if m.lane != nil {
		m.lane.lane.drop(m.number, x.pieces)
		m.lane.lane.need(m.number, lacks)
		m.lane.wake()
	}
	x.log.Info("receiver is ready", "receiver", m.hello.name, "lacks", lacks.len(), "took", time.Since(m.joined))
	x.nudge()
	return nil
}

// taking returns the state of a member that takes part in a lane.
func (x *session) taking(m *member) State {
	switch {
	case !m.ready:
		return Joining
	case !x.started():
		return Ready
	}
	return Receiving
}

// report takes in a report.
func (x *session) report(m *member, raw rawReport) error {
	r := &x.parsed
	if err := r.parse(raw, x.blocks); err != nil {
		return err
	}
	if m.lacks != nil {
		for _, f := range r.done {
			if m.lacks.remove(int(f)) {
				m.done++
				m.moved = m.heard
			}
		}
	}
	m.bad, m.full, m.written = r.bad, r.full, int64(min(r.written, x.offer.bytes+x.annex.bytes))
	m.rate.add(m.written, m.heard)
	if m.lane != nil && m.lane.lane.id == r.lane {
		m.lane.lane.report(m.number, r, m.heard)
		m.lane.wake()
	}
	return nil
}

// mode takes in that a member gets no multicast, or gets it after all.
func (x *session) mode(m *member, msg mode) error {
	switch {
	case msg.fetches == (m.state == Fetching):
		return nil
	case !msg.fetches && m.ordered:
		return x.order(m, m.reason)
	case !msg.fetches:
		m.state, m.reason = x.taking(m), ""
		x.log.Info("receiver gets multicast after all", "receiver", m.hello.name)
		return x.admit(m)
	}
	x.detach(m)
	m.state, m.reason = Fetching, msg.why
	x.log.Warn("receiver gets no multicast", "receiver", m.hello.name, "err", msg.why)
	x.nudge()
	return nil
}

// done takes in that a member has all that it lacked.
func (x *session) done(m *member, msg done) error {
	if !bytes.Equal(msg.name, x.offer.digest) {
		return fmt.Errorf("%w: done with content %x", errMalformed, msg.name)
	}
	x.detach(m)
	m.state, m.reason = Done, ""
	if m.lacks != nil {
		m.done = m.lacked
	}
	x.log.Info("receiver is done", "receiver", m.hello.name, "took", time.Since(m.joined))
	x.nudge()
	if err := m.control.send(closing{}); err != nil {
		return err
	}
	return errLeft
}

// lost notes that a member's connection has ended.
func (x *session) lost(m *member, c *control, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if m.control != c {
		return
	}
	m.control = nil
	x.detach(m)
	if !m.over() {
		m.state, m.reason, m.heard = Lost, reasonOf(err), time.Now()
		x.log.Warn("receiver lost", "receiver", m.hello.name, "err", err)
	}
	x.nudge()
}

// reasonOf tells people why a connection ended.
func reasonOf(err error) string {
	if err == nil || errors.Is(err, io.EOF) {
		return "it hung up"
	}
	return err.Error()
}
