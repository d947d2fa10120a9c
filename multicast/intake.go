package multicast

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// An intake takes the datagrams of one lane.
type intake struct {
	v      *visit
	lane   uint8
	socket dataIn
	size   int // of a datagram
	tag    uint16

	mu                     sync.Mutex // guards what follows
	window                 window
	head                   uint64
	received               uint64
	bad                    int64
	first                  uint64     // position of the datagram that came first
	toldHead, toldReceived uint64     // in the last report
	counted                Progress   // what was added to that of the reception
	sealers                [2]*sealer // of the present epoch and the one before
	epoch                  uint8
	hurried                time.Duration
	heard                  time.Time // when the last datagram came, or the socket was opened
	rejoined               int       // how often the group was joined again since
	sentAt                 uint64    // datagrams that had been sent when one came last, as far as is known
}

// follow takes the lane that the sender has told, if it has told another one.
func (v *visit) follow(ctx context.Context, g *errgroup.Group) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	j := v.pending
	v.pending = nil
	if j == nil {
		return nil
	}
	v.closeIntake()
	if j.leave || v.fetching {
		return nil
	}
	socket, err := v.x.ports.receive(receiverOptions{Interface: v.ifi, Group: j.group, Buffer: socketBuffer})
	if err != nil {
		v.x.log.Warn("no multicast", "err", err)
		v.startFetching(err.Error(), true)
		return nil
	}
	x, o := v.x, v.offer
	x.mu.Lock()
	x.progress.Buffer, x.progress.Offload = socket.buffer(), socket.offload()
	x.mu.Unlock()
	in := &intake{
		v: v, lane: j.lane, socket: socket, size: datagramSize(o.symbolSize), tag: uint16(o.session),
		heard: time.Now(), hurried: 10 * time.Millisecond,
	}
	in.sealers[0] = newSealer(o.secret[:], o.session, j.lane, 0)
	v.in = in
	g.Go(func() error { return in.run() })
	return nil
}

// closeIntake leaves the lane. v.mu is held.
func (v *visit) closeIntake() {
	if v.in != nil {
		v.in.socket.close()
		v.in = nil
	}
}

func (v *visit) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closeIntake()
}

// run receives until the socket is closed.
func (in *intake) run() error {
	take := in.take
	for {
		err := in.socket.receive(take)
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, errLinkDown), errors.Is(err, os.ErrDeadlineExceeded):
			time.Sleep(linkPause) // the control channel notices if it does not come back
		default:
			return err
		}
	}
}

// take takes a datagram.
func (in *intake) take(p []byte) {
	h, err := parseHeader(p)
	if err != nil || len(p) != in.size || h.lane != in.lane || h.tag != in.tag {
		in.drop()
		return
	}
	in.mu.Lock()
	payload, ok := in.open(&h, p)
	if !ok || !in.window.take(h.position()) {
		in.bad++
		in.mu.Unlock()
		return
	}
	if in.received++; in.received == 1 {
		in.first = h.position()
	}
	in.head = max(in.head, h.position()+1)
	in.heard, in.rejoined = time.Now(), 0
	in.mu.Unlock()
	if h.kind == kindSync {
		in.sync(&h, payload)
		return
	}
	in.v.x.symbol(&h, payload)
}

// isCalm tells whether all datagrams arrived that were sent since the last
// report, as far as is known.
func (in *intake) isCalm() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.head-in.toldHead == in.received-in.toldReceived
}

func (in *intake) drop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.bad++
}

// open decrypts a datagram of the present epoch, the next, or the one before.
func (in *intake) open(h *header, p []byte) ([]byte, bool) {
	switch h.epoch {
	case in.epoch:
		payload, err := in.sealers[0].open(p)
		return payload, err == nil
	case in.epoch - 1:
		if in.sealers[1] == nil {
			return nil, false
		}
		payload, err := in.sealers[1].open(p)
		return payload, err == nil
	}
	if h.epoch < in.epoch {
		return nil, false
	}
	o := in.v.offer
	next := newSealer(o.secret[:], o.session, in.lane, h.epoch) // a forger makes us work, as with any seal
	payload, err := next.open(p)
	if err != nil {
		return nil, false
	}
	in.sealers[1] = in.sealers[0]
	if h.epoch != in.epoch+1 {
		in.sealers[1] = nil
	}
	in.sealers[0], in.epoch = next, h.epoch
	return payload, true
}

// sync takes in what SYNC says.
func (in *intake) sync(h *header, payload []byte) {
	usual, hurried, err := parseSync(payload)
	if err != nil {
		in.drop()
		return
	}
	in.mu.Lock()
	in.hurried = hurried
	in.mu.Unlock()
	in.v.mu.Lock()
	in.v.setInterval(usual)
	in.v.mu.Unlock()
	if h.hurry {
		select {
		case in.v.hurry <- struct{}{}:
		default: // it is in a hurry already
		}
	}
}

// setInterval changes the time between reports. v.mu is held.
func (v *visit) setInterval(d time.Duration) {
	if d < v.interval {
		select {
		case v.retimed <- struct{}{}:
		default: // it will look anyway
		}
	}
	v.interval = d
}

func (v *visit) hurried() time.Duration {
	v.mu.Lock()
	in := v.in
	v.mu.Unlock()
	if in == nil {
		return keepAlive
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.hurried
}

// symbol takes a symbol, and queues the frame that is complete with it.
func (x *reception) symbol(h *header, payload []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.failures) > 0 && x.isMistrusted(int(h.frame)) {
		return
	}
	if s := x.asm.take(h, payload); s != nil {
		x.enqueue(&parcel{frame: int(s.frame), s: s, asm: x.asm, coder: x.coder})
	}
}

// isIncomplete tells whether symbols are lacking.
func (x *reception) isIncomplete() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.asm != nil && x.asm.lacks.len() > 0
}

// sendReport tells the sender what there is.
func (v *visit) sendReport() {
	v.mu.Lock()
	in, told := v.in, v.told
	v.mu.Unlock()
	x := v.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.asm == nil {
		return
	}
	r := &report{written: uint64(x.progress.Written)}
	if in != nil {
		in.mu.Lock()
		r.lane, r.head, r.received = in.lane, in.head, in.received
		in.toldHead, in.toldReceived = in.head, in.received
		in.count(&x.progress)
		in.mu.Unlock()
	}
	r.bad = uint32(min(x.progress.Dropped, math.MaxUint32))
	x.asm.report(r)
	if in == nil || r.head == 0 {
		r.open = nil
	}
	if told {
		r.done = below(r.done, x.limit())
	} else {
		r.done = below(r.done, x.pieces)
	}
	v.control.send(r)
}

// count adds to a progress what has come since the last time. What was sent
// before the first datagram came was not missed. in.mu is held.
func (in *intake) count(p *Progress) {
	now := Progress{Datagrams: int64(in.received), Dropped: in.bad}
	if in.received > 0 {
		now.Missed = max(int64(in.head-in.first)-now.Datagrams, 0)
	}
	p.Datagrams += now.Datagrams - in.counted.Datagrams
	p.Dropped += now.Dropped - in.counted.Dropped
	p.Missed += now.Missed - in.counted.Missed
	in.counted = now
}

// below returns the numbers of an ascending list that are below n.
func below(list []uint32, n int) []uint32 {
	for i, f := range list {
		if int(f) >= n {
			return list[:i]
		}
	}
	return list
}

// listen notices that no data come although some were sent, joins the group
// again, and at last fetches by HTTPS, until data come after all.
func (v *visit) listen(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	in := v.in
	if in == nil {
		return
	}
	in.mu.Lock()
	silent, rejoined, received := now.Sub(in.heard), in.rejoined, in.received
	if silent < deafTimes[0] {
		in.sentAt = v.pulse.sent
	}
	sent := v.pulse.sent > in.sentAt || received == 0
	in.mu.Unlock()
	switch {
	case v.fetching:
		if v.deaf && received > 0 && silent < deafTimes[0] {
			v.stopFetching()
		}
	case rejoined == len(deafTimes):
		if silent >= deafTime && sent {
			v.deaf = true
			v.startFetching("no multicast arrives on "+v.ifi.Name, true)
		}
	case silent >= deafTimes[rejoined]:
		v.x.log.Debug("no multicast, joining again", "lane", in.lane)
		in.socket.rejoin() // an error is the same silence
		in.mu.Lock()
		in.rejoined++
		in.mu.Unlock()
	}
}

// startFetching fetches from now on. own tells that this is the receiver's
// decision, of which the sender is told. A receiver that is merely deaf goes on
// listening. v.mu is held.
func (v *visit) startFetching(why string, own bool) {
	if !own {
		v.deaf = false // the sender wants no word of multicast any more
	}
	if !v.deaf {
		v.closeIntake()
	}
	if v.fetching {
		return
	}
	v.fetching = true
	if own {
		v.control.send(mode{fetches: true, why: cutText(why, maxString)})
	}
	x := v.x
	x.mu.Lock()
	defer x.mu.Unlock()
	x.byHTTPS = true
	x.change(Fetching, why)
	x.wanted.Broadcast()
}

// stopFetching takes multicast again. v.mu is held.
func (v *visit) stopFetching() {
	v.fetching, v.deaf = false, false
	v.control.send(mode{})
	x := v.x
	x.mu.Lock()
	defer x.mu.Unlock()
	x.byHTTPS = false
	x.change(Receiving, "")
}
