package multicast

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Sender runs one session. Set its fields, then call Serve, once.
type Sender struct {
	Source Source
	Name   string // of the session, at most 63 bytes
	Title  string // of the content, for people, at most 63 bytes
	Digest []byte // that names the content, at most 64 bytes; see [Plan.Name]
	Host   string // name of the sender, for people
	Annex  Annex  // the last frames of Source, if receivers may do without

	Key       string // that receivers must have; empty for none, else 16 bytes or more
	Interface string // name; empty chooses one
	IPv6      bool   // multicast over IPv6
	Listen    string // address and port of the control channel; empty for all addresses and port 7780, or any if that is taken
	Hops      int    // routers that data may pass and one, 1 to 255; 0 is 1

	Rate    int64 // cap in bits per second on the wire; 0 is 98 % of the link's
	MinRate int64 // below which loss does not push the rate; 0 is 5 Mbit/s or a twentieth of the cap

	// The session starts when Wait receivers are ready, or StartAfter has
	// passed since Serve, whichever comes first. Wait 0 means that it starts
	// Settle after the first receiver was ready. StartAfter 0 is ten minutes.
	Wait       int
	StartAfter time.Duration
	Settle     time.Duration // 0 is five seconds

	Linger    time.Duration // how long to stay for more receivers after the last one is done
	Straggler Straggler     // empty is CatchUp
	Log       *slog.Logger  // nil for silence

	// Up is called once, when receivers can connect. nil is allowed.
	Up func(Address)

	running atomic.Pointer[session]

	ports  *ports        // nil for that of the kernel
	giveUp time.Duration // how long a receiver that was lost is waited for; 0 is the usual time
}

// An Address tells where a session can be found.
type Address struct {
	Session     uint64
	Control     netip.AddrPort // the address is unspecified if it listens on all
	Interface   string
	Group       netip.AddrPort
	Fingerprint [32]byte // SHA-256 of the sender's certificate
	Offload     string   // gso, batch or single
	Cap         int64    // bits per second
}

// ErrNobody reports a session that no receiver joined.
var ErrNobody = errors.New("no receiver came")

// Serve runs the session until all receivers are done or given up. It returns
// nil if all are done, an [IncompleteError] if some are not, [ErrNobody] if none
// came, and the context's error if that ended it.
func (s *Sender) Serve(ctx context.Context) error {
	x, err := newSession(s)
	if err != nil {
		return err
	}
	if x.ifi, err = x.ports.pick(s.Interface, netip.Addr{}); err != nil {
		return err
	}
	cert, fingerprint, err := newIdentity()
	if err != nil {
		return err
	}
	if err := x.prepare(fingerprint); err != nil {
		return err
	}
	ln, err := x.ports.listen(s.Listen)
	if err != nil {
		return err
	}
	control := &controlServer{TLS: serverTLS(cert), Log: x.log, Control: x.serve, HTTPS: x.web}
	return x.run(ctx, s, ln, control)
}

// run runs the parts of a session until it is over.
func (x *session) run(ctx context.Context, s *Sender, ln net.Listener, control *controlServer) error {
	first, err := x.newLaneRun(0)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	port := ln.Addr().(*net.TCPAddr).AddrPort()
	from := netip.Addr{}
	if !port.Addr().IsUnspecified() {
		from = port.Addr()
	}
	beacon, err := x.ports.beacon(x.ifi.Name, from)
	if err != nil {
		x.log.Warn("session is not announced", "err", err)
	}
	x.address.Control, x.address.Group = port, first.group
	x.address.Offload = first.out.offload()
	s.running.Store(x)
	announce := newAnnouncer(beaconOf(beacon), x.announcement(port.Port()), x.key, x.log)

	g, gctx := errgroup.WithContext(ctx)
	x.launch = func(r *laneRun) { g.Go(func() error { return r.run(gctx) }) }
	x.launch(first)
	g.Go(func() error { return control.serve(gctx, ln) })
	if beacon != nil {
		g.Go(func() error { announce.run(gctx); return nil })
	}
	g.Go(func() error { return x.supervise(gctx, announce) })
	if s.Up != nil {
		s.Up(x.address)
	}
	err = g.Wait()
	x.cache.reading.Wait()
	if beacon != nil {
		beacon.close()
	}
	ended := x.result()
	switch {
	case x.broken != nil: // all have heard of it, which may have ended the session first
		return x.broken
	case errors.Is(err, errOver):
		return ended
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

// beaconOf returns b as an air, or nil.
func beaconOf(b *beacon) air {
	if b == nil {
		return nil
	}
	return b
}

func (x *session) announcement(port uint16) announcement {
	return announcement{
		keyed: x.key != nil, session: x.id, fingerprint: x.address.Fingerprint, port: port,
		name: x.offer.name, title: x.offer.title,
	}
}

// Status returns what the session is doing. It is safe for concurrent use, and
// works before and after Serve.
func (s *Sender) Status() Status {
	x := s.running.Load()
	if x == nil {
		return Status{Name: s.Name, Title: s.Title, Digest: s.Digest, State: Waiting, Now: time.Now()}
	}
	return x.status()
}

// Start starts the session now, whoever is there. It is safe for concurrent
// use.
func (s *Sender) Start() {
	x := s.running.Load()
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forced = true
	x.nudge()
}
