package multicast

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Figures of a receiver, sections 6 and 10.
const (
	deafTime     = 4 * time.Second        // without data before it fetches
	keepAlive    = time.Second            // between reports, at most
	calmInterval = 200 * time.Millisecond // from which on reports without loss may wait
	socketBuffer = 16 << 20               // bytes
	farewellTime = 3 * time.Second        // for the answer to DONE
)

// deafTimes are the times without data after which a receiver joins its group
// again: a switch, or another member's report, may have swallowed the first one.
var deafTimes = [...]time.Duration{300 * time.Millisecond, 800 * time.Millisecond, 2 * time.Second}

// A visit is one connection of a reception to its sender.
type visit struct {
	x       *reception
	control *control
	ifi     *net.Interface
	from    netip.AddrPort
	offered chan struct{} // closed when the offer has come, and what follows is set
	offer   *offer
	annex   annex         // comes before the offer; no frames: none
	print   [32]byte      // fingerprint of the sender
	retimed chan struct{} // the interval has become shorter

	mu       sync.Mutex // guards what follows; taken before x.mu
	in       *intake    // the lane, nil for none
	fetching bool
	deaf     bool // it fetches because nothing comes
	interval time.Duration
	hurry    chan struct{}
	pulse    pulse
	told     bool // NEED was sent
	pending  *join
	joined   chan struct{} // something for lanes
}

// errDone ends a visit because the reception has ended.
var errDone = errors.New("the reception has ended")

// visit talks to a sender until the reception ends or the connection does.
func (x *reception) visit(ctx context.Context, conn *tls.Conn, from netip.AddrPort) error {
	ifi, err := x.ports.pick(x.r.Interface, from.Addr())
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	v := &visit{
		x: x, control: newControl(conn, fromSender), ifi: ifi, from: from, offered: make(chan struct{}),
		hurry: make(chan struct{}, 1), retimed: make(chan struct{}, 1), joined: make(chan struct{}, 1), interval: keepAlive,
	}
	if err := v.greet(); err != nil {
		return errors.Join(err, conn.Close())
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return v.control.run(gctx, func(m message) error { return v.hear(m, conn) }) })
	g.Go(func() error { return v.attend(gctx) })
	return g.Wait()
}

// greet says hello.
func (v *visit) greet() error {
	exported, err := v.control.exporter()
	if err != nil {
		return err
	}
	r := v.x.r
	return v.control.send(hello{
		proof: prove(v.x.key, proofOfReceiver, exported), id: cutText(r.ID, maxString),
		name: cutText(r.Name, maxString), target: cutText(r.Target, maxString),
		speed: linkSpeed(v.ifi), buffer: socketBuffer >> 10,
	})
}

// hear takes in what the sender says.
func (v *visit) hear(m message, conn *tls.Conn) error {
	switch m := m.(type) {
	case offer:
		return v.takeOffer(&m, conn)
	case annex:
		return v.takeAnnex(&m)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch m := m.(type) {
	case join:
		v.pending = &m
		v.stir()
	case pulse:
		v.pulse = m
		v.setInterval(m.interval)
		v.showPulse(m)
	case fetch:
		v.startFetching(m.why, false)
	case dropped:
		return fmt.Errorf("%w: %s", ErrDropped, m.why)
	case closing:
		return errDone
	}
	return nil
}

// takeAnnex keeps what is offered with the offer that follows. An annex is of no
// use before the sender has proved with that one that it knows the key.
func (v *visit) takeAnnex(a *annex) error {
	if v.offer != nil || v.annex.frames > 0 {
		return fmt.Errorf("%w: a second annex, or one behind the offer", errMalformed)
	}
	v.annex = *a
	return nil
}

// takeOffer checks that the sender knows the key, and takes what it offers.
func (v *visit) takeOffer(o *offer, conn *tls.Conn) error {
	if v.offer != nil {
		return fmt.Errorf("%w: a second offer", errMalformed)
	}
	exported, err := v.control.exporter()
	if err != nil {
		return err
	}
	if !checkProof(v.x.key, proofOfSender, exported, o.proof) {
		return fmt.Errorf("%w: it does not know the key", ErrRefused)
	}
	print := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
	if err := v.x.accept(o, &v.annex, v.from, print); err != nil {
		return err
	}
	v.offer, v.print = o, print
	close(v.offered)
	return nil
}

// stir makes the lane be looked at.
func (v *visit) stir() {
	select {
	case v.joined <- struct{}{}:
	default: // it will be looked at
	}
}

// showPulse tells what is waited for. v.mu is held.
func (v *visit) showPulse(p pulse) {
	x := v.x
	x.mu.Lock()
	defer x.mu.Unlock()
	x.progress.Receivers = int(p.receivers)
	switch {
	case x.stage != filling || x.busy:
	case p.phase == phaseWaiting:
		x.change(Ready, fmt.Sprintf("the sender to start; %d of %d receivers are ready", p.ready, p.receivers))
	case v.fetching:
		x.change(Fetching, x.progress.Waiting)
	case v.in == nil:
		x.change(Behind, "the others to be done")
	default:
		x.change(Receiving, "")
	}
}

// attend takes part in the session: asks whether to, takes lanes, reports,
// says what is lacking, and that all is done.
func (v *visit) attend(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return v.reporting(gctx) })
	g.Go(func() error { return v.participate(gctx, g) })
	return g.Wait()
}

// participate waits for the offer and confirmation, then follows the lanes
// until the reception ends.
func (v *visit) participate(ctx context.Context, g *errgroup.Group) error {
	select {
	case <-v.offered:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-v.x.confirmed:
	case <-v.x.finished:
		return v.farewell(ctx, v.x.final)
	case <-ctx.Done():
		return ctx.Err()
	}
	if v.x.r.Unicast || isWireless(v.ifi) && v.x.r.Interface == "" {
		v.mu.Lock()
		v.startFetching("it does without multicast", true)
		v.mu.Unlock()
	}
	g.Go(func() error { return v.fetchAll(ctx) })
	defer v.leave()
	prepared := v.x.prepared
	watch := time.NewTicker(100 * time.Millisecond)
	defer watch.Stop()
	for {
		if err := v.follow(ctx, g); err != nil {
			return err
		}
		select {
		case <-v.joined:
		case <-watch.C:
			v.listen(time.Now())
		case <-prepared:
			prepared = nil
			v.tellNeed()
		case <-v.x.finished:
			return v.farewell(ctx, v.x.final)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// farewell tells the sender how the reception ended.
func (v *visit) farewell(ctx context.Context, err error) error {
	v.leave()
	if err != nil {
		v.control.send(failed{cutText(err.Error(), maxString)})
		return errDone
	}
	v.tellNeed()
	v.sendReport()
	v.control.send(done{v.offer.digest})
	select {
	case <-time.After(farewellTime): // it is done all the same
	case <-ctx.Done():
	}
	return errDone
}

// tellNeed says what is lacking, once that is known.
func (v *visit) tellNeed() {
	x := v.x
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.told {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.plan == nil {
		return
	}
	lacks := x.asm.lacks.clone()
	for f := range x.taken {
		if f < x.limit() {
			lacks.add(f)
		}
	}
	v.told = true
	n := newNeed(lacks)
	n.frames = uint32(x.limit())
	v.control.send(n)
}

// reporting sends reports until ctx ends: after each interval, or when asked to
// hurry. Where the interval is long, one that would tell of no loss may wait.
func (v *visit) reporting(ctx context.Context) error {
	sent, looked := time.Now(), time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	first := true
	for {
		interval, taking := v.reportInterval()
		if first && taking {
			first = false
			looked = looked.Add(-time.Duration(rand.Float64() * float64(interval)))
		}
		timer.Reset(max(interval-time.Since(looked), 0))
		select {
		case <-timer.C:
			looked = time.Now()
			if interval >= calmInterval && looked.Sub(sent) < keepAlive-interval/2 && v.isCalm() {
				continue
			}
		case <-v.retimed:
			continue
		case <-v.hurry:
			if !v.x.isIncomplete() {
				continue
			}
			if wait := v.hurried() - time.Since(sent); wait > 0 {
				pause(ctx, wait)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		sent, looked = time.Now(), time.Now()
		v.sendReport()
	}
}

// reportInterval returns the time between reports, and whether there is a lane.
func (v *visit) reportInterval() (interval time.Duration, taking bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.in == nil {
		return keepAlive, false
	}
	return v.interval, true
}

// isCalm tells whether nothing was lost since the last report.
func (v *visit) isCalm() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.in == nil {
		return false
	}
	return v.in.isCalm()
}
