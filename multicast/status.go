package multicast

import (
	"fmt"
	"net/netip"
	"time"
)

// A Straggler is what happens to a receiver that cannot keep up.
type Straggler string

// The policies of section 8.
const (
	CatchUp Straggler = "catchup" // it waits until the others are done
	Park    Straggler = "park"    // it gets a slower lane of its own
	Unicast Straggler = "unicast" // it fetches by HTTPS
	Drop    Straggler = "drop"    // it is given up
)

// A State is what a session or one of its receivers is doing.
type State string

// States of a session.
const (
	Waiting State = "waiting" // for receivers
	Sending State = "sending"
	Idle    State = "idle" // nothing left to send; the last receivers write
	Over    State = "over"
)

// States of a receiver.
const (
	Joining   State = "joining"   // learns what there is, compares its disk
	Ready     State = "ready"     // waits for the start
	Receiving State = "receiving" // takes frames by multicast
	Behind    State = "behind"    // cannot keep up, see [Straggler]
	Fetching  State = "fetching"  // takes frames by HTTPS
	Done      State = "done"      // all is on its disk
	Failed    State = "failed"    // it gave up, see Reason
	Lost      State = "lost"      // has not been heard of; may come again
)

// A Status is a session at one moment.
type Status struct {
	Session  uint64
	Name     string
	Title    string // of the content
	Digest   []byte // that names the content
	State    State
	Started  time.Time      // when the first source frame was sent, or zero
	Now      time.Time      // of this status
	Control  netip.AddrPort // where receivers connect
	Group    netip.AddrPort // of the first lane
	Offload  string         // gso, batch or single
	Frames   int            // of the source
	Bytes    int64          // of all frames of the source
	Lacking  int            // frames that at least one receiver lacks
	Rate     int64          // at which the first lane sends, bits per second
	Cap      int64          // that it will not exceed, bits per second
	Sent     int64          // datagrams
	Repairs  int64          // of these, parity and repeated symbols
	Wire     int64          // bytes of these on the wire, Ethernet headers included
	Fetched  int64          // bytes given by HTTPS
	Dropped  int64          // datagrams that receivers dropped because of their seal
	Needed   int            // receivers that the start waits for, 0 if none
	Starting time.Time      // when the session starts at the latest, or zero

	Receivers []ReceiverStatus // in the order of their arrival
}

// A ReceiverStatus is a receiver as its sender sees it.
type ReceiverStatus struct {
	ID      string
	Name    string
	Target  string
	Address netip.Addr
	State   State
	Reason  string  // why it is behind, fetching, failed or lost
	Lacked  int     // frames that it lacked when it joined
	Done    int     // of these, how many it has
	Written int64   // bytes of frames
	Loss    float64 // 0 to 1, of late
	Rate    int64   // of late, bits of frames per second
	Lane    int     // -1 if none
	Full    bool    // its disk cannot keep up
}

// status returns what the session is doing.
func (x *session) status() Status {
	x.mu.Lock()
	defer x.mu.Unlock()
	first := x.lanes[0]
	s := Status{
		Session: x.id, Name: x.offer.name, Title: x.offer.title, Digest: x.offer.digest,
		State: x.state(), Started: x.start, Now: time.Now(),
		Control: x.address.Control, Group: first.group, Offload: first.out.offload(),
		Frames: x.frames - x.pieces, Bytes: int64(x.offer.bytes + x.annex.bytes),
		Rate: int64(first.lane.pace.rate), Cap: int64(x.rate), Fetched: x.web.given.Load(), Needed: x.opt.Wait,
	}
	if !x.started() {
		s.Starting = x.begun.Add(x.opt.StartAfter)
		if x.opt.Wait == 0 && !x.first.IsZero() {
			s.Starting = x.first.Add(x.opt.Settle)
		}
	}
	for _, r := range x.lanes {
		s.Sent += r.lane.datagrams
		s.Repairs += r.lane.repaired
	}
	s.Wire = s.Sent * int64(x.wire)
	lacking := newFrameSet(x.frames)
	for _, m := range x.members {
		s.Dropped += m.before + int64(m.bad)
		s.Receivers = append(s.Receivers, x.statusOf(m))
		if m.lacks != nil && !m.over() {
			lacking.merge(m.lacks)
		}
	}
	s.Lacking = lacking.len()
	return s
}

// state tells what the session is doing. x.mu is held.
func (x *session) state() State {
	switch {
	case x.ended:
		return Over
	case x.phase() == phaseWaiting:
		return Waiting
	case x.phase() == phaseSending:
		return Sending
	}
	return Idle
}

// statusOf returns what one receiver is doing. x.mu is held.
func (x *session) statusOf(m *member) ReceiverStatus {
	s := ReceiverStatus{
		ID: m.hello.id, Name: m.hello.name, Target: m.hello.target, Address: m.address, State: m.state, Reason: m.reason,
		Lacked: m.lacked, Done: m.done, Written: m.written, Rate: int64(8 * m.rate.rate), Lane: -1, Full: m.full,
	}
	if m.lane != nil {
		s.Lane = int(m.lane.lane.id)
		if p := m.lane.lane.peer(m.number); p != nil {
			s.Loss = p.loss
		}
	}
	return s
}

// An IncompleteError reports receivers that a session could not serve.
type IncompleteError struct {
	Failed []ReceiverStatus
	Of     int // receivers in all
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("%d of %d receivers failed", len(e.Failed), e.Of)
}
