package multicast

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Figures of the loop that sends.
const (
	trainTime = 500 * time.Microsecond // that a train takes on the wire
	lateBytes = 256 << 10              // that the loop may catch up at once, if it was late,
	minLate   = 10 * time.Millisecond  // within these bounds
	maxLate   = 60 * time.Millisecond
	prefetch  = 6                      // frames that are read before they are needed
	holdTime  = 15 * time.Millisecond  // that the preface waits for the next receiver
	maxHold   = 60 * time.Millisecond  // that it waits in all
	linkPause = 200 * time.Millisecond // before a link that is down is tried again
)

// A laneRun sends what a lane decides. The lane is guarded by session.mu.
type laneRun struct {
	x      *session
	lane   *lane
	group  netip.AddrPort
	out    dataOut
	roused chan struct{}

	sealer *sealer
	epoch  uint8
	plan   []datagram
	train  []byte
	soon   []int
	due    time.Time // when the next train may be sent
	silent time.Time // when SYNC was last sent, or data
	looked time.Time // when the lane was last sampled
	held   time.Time // until when pieces of the preface wait for more receivers
	since  time.Time // when they began to wait
}

// newLaneRun makes the lane of that number.
func (x *session) newLaneRun(id int) (*laneRun, error) {
	group := chooseGroup(x.opt.IPv6, x.opt.Hops > 1)
	out, err := x.ports.send(senderOptions{Interface: x.ifi, Group: group, Hops: x.opt.Hops, Loopback: true})
	if err != nil {
		return nil, err
	}
	r := &laneRun{x: x, group: group, out: out, roused: make(chan struct{}, 1)}
	r.lane = newLane(laneOptions{
		id: uint8(id), pieces: x.pieces, frames: x.frames, size: x.cache.size, symbol: x.coder.symbolSize,
		rate: x.rate, floor: x.floor, wire: x.wire,
	})
	r.lane.started = x.started()
	r.sealer = newSealer(x.offer.secret[:], x.id, uint8(id), 0)
	r.train = make([]byte, maxTrain*r.size())
	x.lanes = append(x.lanes, r)
	return r, nil
}

// hold lets the pieces of the preface wait a moment for more receivers, since
// those of a room come together. session.mu is held.
func (r *laneRun) hold(now time.Time) {
	if now.After(r.held) {
		r.since = now
	}
	r.held = now.Add(holdTime)
	if last := r.since.Add(maxHold); r.held.After(last) {
		r.held = last
	}
}

// size returns the length of a datagram.
func (r *laneRun) size() int { return datagramSize(r.x.coder.symbolSize) }

// wake makes a loop that has nothing to send look again.
func (r *laneRun) wake() {
	select {
	case r.roused <- struct{}{}:
	default: // it will look anyway
	}
}

// run sends until ctx ends.
func (r *laneRun) run(ctx context.Context) error {
	defer r.out.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := r.decide(time.Now())
		if len(r.plan) > 0 {
			if err := r.send(ctx); err != nil {
				r.x.fail(ctx, err)
				return err
			}
			wait = time.Until(r.due)
		}
		if wait <= 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		timer.Reset(wait)
		roused := r.roused
		if len(r.plan) > 0 {
			roused = nil // the pace is kept
		}
		select {
		case <-timer.C:
		case <-roused:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// decide plans the next train. If there is nothing to send, it returns how
// long to wait.
func (r *laneRun) decide(now time.Time) time.Duration {
	x := r.x
	x.mu.Lock()
	defer x.mu.Unlock()
	l := r.lane
	l.holding = now.Before(r.held)
	if now.Sub(r.looked) >= samplePeriod {
		r.looked = now
		for _, number := range l.sample(now) {
			x.fallBehind(r, number)
		}
	}
	r.plan = r.plan[:0]
	for most := r.trainLength(); len(r.plan) < most; {
		d, ok := l.next()
		if !ok {
			break
		}
		r.plan = append(r.plan, d)
	}
	if len(r.plan) > 0 {
		r.silent = now
		r.soon = l.upcoming(r.soon[:0], prefetch)
		x.cache.prefetch(r.soon)
		return 0
	}
	if len(l.peers) == 0 && (r != x.lanes[0] || !x.listened()) {
		return time.Second
	}
	wait, hurry := l.silence(now)
	if left := wait - now.Sub(r.silent); left > 0 {
		if l.holding {
			return min(left, r.held.Sub(now))
		}
		return left
	}
	r.silent = now
	r.plan = append(r.plan, l.sync(hurry))
	return 0
}

// rate returns the rate at which to send now: its own, less what others of the
// session may take.
func (r *laneRun) rate() float64 {
	return max(r.lane.pace.rate*r.x.share(r), 1e5)
}

func (r *laneRun) trainLength() int {
	n := int(r.rate() * trainTime.Seconds() / 8 / float64(r.x.wire))
	return min(max(n, 1), maxTrain)
}

// send builds the planned train, sends it, and notes when the next one is due.
func (r *laneRun) send(ctx context.Context) error {
	n := 0
	for _, d := range r.plan {
		if d.sequence>>32 != uint64(r.epoch) && !r.nextEpoch(d.sequence) {
			return errors.New("more datagrams than a lane may send")
		}
		if err := r.build(d, r.train[n:n+r.size()]); err != nil {
			return err
		}
		n += r.size()
	}
	err := r.out.send(r.train[:n], r.size())
	if errors.Is(err, errLinkDown) {
		r.x.log.Warn("link is down", "err", err)
	}
	for errors.Is(err, errLinkDown) { // what was lost is repaired
		pause(ctx, linkPause)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = r.out.send(r.train[:n], r.size())
	}
	r.x.mu.Lock()
	rate := r.rate()
	r.x.mu.Unlock()
	now := time.Now()
	late := time.Duration(lateBytes * 8 / rate * 1e9)
	late = min(max(late, minLate), maxLate)
	if r.due.Before(now.Add(-late)) {
		r.due = now.Add(-late)
	}
	r.due = r.due.Add(time.Duration(float64(len(r.plan)*r.x.wire*8) / rate * 1e9))
	return err
}

// nextEpoch changes the key, which has been used for every sequence.
func (r *laneRun) nextEpoch(sequence uint64) bool {
	if sequence>>32 > 255 {
		return false
	}
	r.epoch = uint8(sequence >> 32)
	r.sealer = newSealer(r.x.offer.secret[:], r.x.id, r.lane.id, r.epoch)
	return true
}

// build makes a datagram.
func (r *laneRun) build(d datagram, p []byte) error {
	h := header{
		kind: d.kind, hurry: d.hurry, block: uint8(d.block), symbol: uint8(d.symbol), sequence: uint32(d.sequence),
		frame: uint32(d.frame), tag: uint16(r.x.id), lane: r.lane.id, epoch: r.epoch,
	}
	h.append(p[:0])
	payload := p[headerSize : len(p)-sealSize]
	if d.kind == kindSync {
		r.x.mu.Lock()
		usual, hurried := r.lane.interval()
		r.x.mu.Unlock()
		putSync(payload, usual, hurried)
	} else if err := r.fill(d, payload); err != nil {
		return err
	}
	r.sealer.seal(p)
	return nil
}

// fill puts a symbol into a payload.
func (r *laneRun) fill(d datagram, payload []byte) error {
	e := r.x.cache.get(d.frame)
	defer r.x.cache.release(e)
	if e.err != nil {
		return e.err
	}
	return r.x.cache.symbol(e, d.block, d.symbol, payload)
}
