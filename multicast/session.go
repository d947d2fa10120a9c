package multicast

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Defaults of a [Sender].
const (
	defaultStartAfter = 10 * time.Minute
	defaultSettle     = 5 * time.Second
	defaultRate       = 1e9 // bits per second, of a link that does not tell its own
	defaultFloor      = 5e6
	linkShare         = 0.98 // of a link's rate that a session takes
	maxLanes          = 3
	pulseTime         = 3 * time.Second
)

// Bytes of headers on the wire: Ethernet, IP, UDP.
const (
	wireHeader4 = 14 + 20 + 8
	wireHeader6 = 14 + 40 + 8
)

// A session is a Sender at work.
type session struct {
	opt Sender // its settings, defaults filled in
	log *slog.Logger
	ifi *net.Interface

	ports                    *ports
	giveUp, stall, preparing time.Duration // bounds of the patience with receivers

	id     uint64
	offer  offer // but for the proof
	annex  annex // no frames: none
	key    []byte
	pieces int
	frames int // pieces included
	cache  *frameCache
	coder  *coder
	wire   int // bytes of a datagram on the wire
	rate   float64
	floor  float64
	begun  time.Time
	web    *frameServer
	slow   *limit // of those that are behind
	quick  *limit // of those without multicast
	kick   chan struct{}
	launch func(*laneRun) // starts the loop of a lane

	mu      sync.Mutex
	members []*member
	parsed  report // the last one, for its memory
	numbers int
	lanes   []*laneRun
	start   time.Time // when source frames began to flow, or zero
	forced  bool      // the start was asked for
	first   time.Time // when the first receiver was ready, or zero
	idle    time.Time // since when all are over, or zero
	told    phase     // by the last pulse
	ended   bool
	broken  error // why the sender itself cannot go on, or nil
	address Address
}

// newSession fills in the defaults of s and prepares a session.
func newSession(s *Sender) (*session, error) {
	x := &session{
		opt: s.settings(), log: s.Log, ports: s.ports, kick: make(chan struct{}, 1), begun: time.Now(),
		giveUp: orDefault(s.giveUp, giveUp), stall: stallTime, preparing: prepareTime,
	}
	if x.ports == nil {
		x.ports = kernelPorts()
	}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	o := &x.opt
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Hops == 0 {
		o.Hops = 1
	}
	if o.StartAfter == 0 {
		o.StartAfter = defaultStartAfter
	}
	if o.Settle == 0 {
		o.Settle = defaultSettle
	}
	if o.Straggler == "" {
		o.Straggler = CatchUp
	}
	x.key = keyOf(o.Key)
	return x, nil
}

// settings returns the fields of s that its user sets.
func (s *Sender) settings() Sender {
	return Sender{
		Source: s.Source, Name: s.Name, Title: s.Title, Digest: s.Digest, Host: s.Host,
		Key: s.Key, Interface: s.Interface, IPv6: s.IPv6, Listen: s.Listen, Hops: s.Hops,
		Rate: s.Rate, MinRate: s.MinRate, Wait: s.Wait, StartAfter: s.StartAfter, Settle: s.Settle,
		Linger: s.Linger, Straggler: s.Straggler, Annex: s.Annex,
	}
}

// check refuses what no session may be.
func (s *Sender) check() error {
	switch {
	case s.Key != "" && len(s.Key) < minKey:
		return fmt.Errorf("the key has %d bytes, at least %d are needed", len(s.Key), minKey)
	case len(s.Name) > maxName:
		return fmt.Errorf("the name of the session has %d bytes, at most %d fit", len(s.Name), maxName)
	case s.Hops < 0 || s.Hops > 255:
		return fmt.Errorf("%d hops", s.Hops)
	case len(s.Digest) > maxContentName:
		return fmt.Errorf("the digest has %d bytes, at most %d fit", len(s.Digest), maxContentName)
	case s.Rate < 0 || s.MinRate < 0:
		return fmt.Errorf("rates of %d and %d bits per second", s.Rate, s.MinRate)
	case s.Wait < 0 || s.StartAfter < 0 || s.Settle < 0 || s.Linger < 0:
		return fmt.Errorf("waits for %d receivers, %v, %v and %v", s.Wait, s.StartAfter, s.Settle, s.Linger)
	case !slices.Contains([]Straggler{"", CatchUp, Park, Unicast, Drop}, s.Straggler):
		return fmt.Errorf("%q is nothing that happens to a straggler", s.Straggler)
	case s.Annex.Frames < 0 || s.Annex.Frames > s.Source.Frames() || len(s.Annex.About) > maxAbout:
		return fmt.Errorf("an annex of %d frames, about which there are %d bytes", s.Annex.Frames, len(s.Annex.About))
	case len(s.Source.Preface()) > maxPreface || s.Source.Frames() > maxTaken:
		return fmt.Errorf("%d frames and a preface of %d bytes are too many", s.Source.Frames(), len(s.Source.Preface()))
	}
	return nil
}

// prepare finds out what the network allows, and what is to be sent.
func (x *session) prepare(fingerprint [32]byte) error {
	o := &x.opt
	symbol := symbolFor(maxPayload(x.ifi, o.IPv6))
	if symbol < minSymbol {
		return fmt.Errorf("interface %s has an MTU of %d bytes, which is too little", x.ifi.Name, x.ifi.MTU)
	}
	preface := o.Source.Preface()
	x.pieces = pieces(len(preface))
	x.frames = x.pieces + o.Source.Frames()
	x.coder = newCoder(symbol)
	x.cache = newFrameCache(o.Source, x.coder)
	x.wire = symbol + headerSize + sealSize + wireHeader4
	if o.IPv6 {
		x.wire = symbol + headerSize + sealSize + wireHeader6
	}
	x.setRate()
	x.offer = offer{
		name: cutText(o.Name, maxName), host: cutText(o.Host, maxString), title: cutText(o.Title, maxName), digest: o.Digest,
		symbolSize: symbol, preface: uint32(len(preface)), prefaceDigest: sha256.Sum256(preface),
	}
	x.annex.about = o.Annex.About
	for n := range o.Source.Frames() {
		size := o.Source.FrameSize(n)
		if size < 1 || size > largestFrame(symbol) {
			return fmt.Errorf("frame %d has %d bytes, at most %d can be sent", n, size, largestFrame(symbol))
		}
		if n < o.Source.Frames()-o.Annex.Frames {
			x.offer.frames, x.offer.bytes = x.offer.frames+1, x.offer.bytes+uint64(size)
		} else {
			x.annex.frames, x.annex.bytes = x.annex.frames+1, x.annex.bytes+uint64(size)
		}
	}
	rand.Read(x.offer.secret[:])
	rand.Read(x.offer.token[:])
	for x.id == 0 {
		var p [8]byte
		rand.Read(p[:])
		x.id = binary.LittleEndian.Uint64(p[:])
	}
	x.offer.session = x.id
	x.slow, x.quick = &limit{}, &limit{}
	x.web = newFrameServer(o.Source, x.offer.token, x.limiterFor, x.log)
	x.address = Address{Session: x.id, Interface: x.ifi.Name, Fingerprint: fingerprint, Cap: int64(x.rate)}
	return nil
}

// setRate finds the cap and the floor of the rate.
func (x *session) setRate() {
	if x.rate = float64(x.opt.Rate); x.rate == 0 {
		link := float64(linkRate(x.ifi))
		if link == 0 {
			link = defaultRate
		}
		x.rate = linkShare * link
	}
	if x.floor = float64(x.opt.MinRate); x.floor == 0 {
		x.floor = min(defaultFloor, x.rate/20)
	}
}

// symbolFor returns the symbol size that fits into a UDP payload best.
func symbolFor(payload int) int {
	return min((payload-headerSize-sealSize)/symbolStep*symbolStep, maxSymbol)
}

// cutText shortens s to at most n bytes of UTF-8.
func cutText(s string, n int) string {
	s = strings.ToValidUTF8(s[:min(len(s), n+utf8.UTFMax)], "")
	for len(s) > n {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// blocks returns the number of blocks of a frame, 0 if there is no such frame.
func (x *session) blocks(frame uint32) int {
	if int64(frame) >= int64(x.frames) {
		return 0
	}
	return newCut(x.cache.size(int(frame)), x.coder.symbolSize).blocks
}

// started tells whether source frames flow. x.mu is held.
func (x *session) started() bool { return !x.start.IsZero() }

// nudge makes supervise look at once.
func (x *session) nudge() {
	select {
	case x.kick <- struct{}{}:
	default: // it will look anyway
	}
}

// errOver ends the goroutines of a session that has nothing left to do.
var errOver = errors.New("the session is over")

// supervise starts the session, watches its members, and returns errOver when
// it is over.
func (x *session) supervise(ctx context.Context, announce *announcer) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var pulsed time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-x.kick:
		}
		now := time.Now()
		x.mu.Lock()
		x.mayStart(now)
		x.watch(now)
		x.readmit()
		over := x.isOver(now)
		if now.Sub(pulsed) >= pulseTime || x.phase() != x.told {
			pulsed = now
			x.pulseAll()
		}
		announce.update(x.started(), len(x.members))
		x.mu.Unlock()
		if over {
			return errOver
		}
	}
}

// mayStart starts the session if its rule is met.
func (x *session) mayStart(now time.Time) {
	if x.started() {
		return
	}
	ready, preparing := 0, 0
	for _, m := range x.members {
		switch m.state {
		case Ready, Done:
			ready++
		case Joining:
			preparing++
		case Fetching:
			if m.ready {
				ready++
			} else {
				preparing++
			}
		}
	}
	if ready > 0 && x.first.IsZero() {
		x.first = now
	}
	if ready == 0 || !x.isTime(ready, preparing, now) {
		return
	}
	x.start = now
	for _, r := range x.lanes {
		r.lane.started = true
		r.wake()
	}
	for _, m := range x.members {
		if m.state == Ready {
			m.state = Receiving
		}
	}
	x.pulseAll()
	x.log.Info("session starts", "session", x.opt.Name, "receivers", ready)
}

// isTime tells whether it is time to start with so many receivers. By default
// those that still compare their disks are waited for, but at most as long
// again as the first one took.
func (x *session) isTime(ready, preparing int, now time.Time) bool {
	if x.forced || now.Sub(x.begun) >= x.opt.StartAfter {
		return true
	}
	if x.opt.Wait > 0 {
		return ready >= x.opt.Wait
	}
	since := now.Sub(x.first)
	return since >= x.opt.Settle && (preparing == 0 || since >= x.first.Sub(x.begun))
}

// watch gives up those that have not been heard of for too long, and those
// that do not get on.
func (x *session) watch(now time.Time) {
	for _, m := range x.members {
		switch {
		case m.over():
		case m.state == Lost:
			if now.Sub(m.heard) >= x.giveUp {
				m.state, m.reason = Failed, m.reason+", and has not been heard of since"
			}
		case !m.ready && now.Sub(m.since) >= x.preparing:
			x.abandon(m, fmt.Sprintf("it has not told what it lacks for %v", x.preparing))
		case m.ready && x.started() && !m.waits() && now.Sub(later(m.moved, x.start)) >= x.stall:
			x.abandon(m, fmt.Sprintf("it has got nothing done for %v", x.stall))
		}
	}
}

// abandon gives up a member that is connected.
func (x *session) abandon(m *member, why string) {
	x.detach(m)
	m.state, m.reason = Failed, why
	m.control.send(dropped{cutText(why, maxString)})
	x.log.Warn("receiver given up", "receiver", m.hello.name, "err", why)
	x.nudge()
}

// pulse returns what a pulse tells all.
func (x *session) pulse() pulse {
	p := pulse{receivers: uint32(len(x.members)), interval: time.Second, phase: x.phase()}
	for _, o := range x.members {
		if o.ready && o.state != Lost && o.state != Failed {
			p.ready++
		}
	}
	return p
}

// pulseFor adds to a pulse what it tells one member.
func pulseFor(m *member, p pulse) pulse {
	if r := m.lane; r != nil {
		p.interval, _ = r.lane.interval()
		p.sent = uint64(r.lane.datagrams)
		p.rate = uint64(r.lane.pace.rate)
	}
	return p
}

// phase tells what the session is doing.
func (x *session) phase() phase {
	if !x.started() {
		return phaseWaiting
	}
	for _, m := range x.members {
		if m.ready && m.state != Lost && !m.over() && m.lacks.len() > 0 {
			return phaseSending
		}
	}
	return phaseIdle
}

func (x *session) pulseAll() {
	p := x.pulse()
	x.told = p.phase
	for _, m := range x.members {
		if m.control != nil && !m.over() {
			m.control.send(pulseFor(m, p)) // an error shows in its own goroutine
		}
	}
}

// isOver tells whether nothing is left to do.
func (x *session) isOver(now time.Time) bool {
	for _, m := range x.members {
		if !m.over() {
			x.idle = time.Time{}
			return false
		}
	}
	if len(x.members) == 0 {
		return now.Sub(x.begun) >= x.opt.StartAfter
	}
	if x.idle.IsZero() {
		x.idle = now
	}
	return x.isEnough(now) && now.Sub(x.idle) >= x.opt.Linger
}

// isEnough tells whether no more receivers are waited for, where all that came
// are over.
func (x *session) isEnough(now time.Time) bool {
	switch {
	case x.started(), x.forced, now.Sub(x.begun) >= x.opt.StartAfter:
		return true
	case x.opt.Wait > 0:
		return len(x.members) >= x.opt.Wait
	}
	return now.Sub(x.idle) >= x.opt.Settle // those of a room come together
}

// result returns what Serve returns.
func (x *session) result() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	if len(x.members) == 0 {
		return ErrNobody
	}
	var bad []ReceiverStatus
	for _, m := range x.members {
		if m.state != Done {
			bad = append(bad, x.statusOf(m))
		}
	}
	if len(bad) > 0 {
		return &IncompleteError{Failed: bad, Of: len(x.members)}
	}
	return nil
}
