package multicast

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// Defaults of a [Receiver].
const (
	defaultMemory = 128 << 20
	defaultWait   = 10 * time.Minute
	defaultRetry  = 2 * time.Minute
	maxPreface    = 1 << 30 // bytes that a receiver takes
	maxTaken      = 1 << 26 // frames of a session that a receiver takes
)

// A stage is what a reception is to do next.
type stage int

const (
	confirming stage = iota // its user is asked whether to take what is offered
	preparing               // the preface comes, then the sink is prepared
	filling                 // the frames come, then the sink is finished
)

// A reception is a Receiver at work. It outlives the connections to its
// sender, so that what has come is not lost with one.
type reception struct {
	r         *Receiver
	ports     *ports
	log       *slog.Logger
	key       []byte
	calling   context.Context // while a sender is needed
	hangUp    context.CancelFunc
	changed   chan struct{} // something for Watch
	confirmed chan struct{} // closed when the user wants what is offered
	prepared  chan struct{} // closed when the sink is prepared
	finished  chan struct{} // closed when the sink is finished, or has failed

	mu       sync.Mutex
	offer    *offer // of the present or last session, nil before the first
	annex    annex  // no frames: none, or it is forgone
	annexed  bool   // the sink takes the annex
	from     netip.AddrPort
	print    [32]byte // fingerprint of the sender
	coder    *coder
	asm      *assembler
	preface  []byte
	pieces   int
	plan     *Plan // once the sink is prepared
	stage    stage
	busy     bool         // the stage ends: Confirm, Prepare or Finish runs
	distrust bool         // the preface has come wrong
	queue    []*parcel    // not yet put
	taken    map[int]bool // frames in queue and those that are being put
	brought  int          // of these, how many were fetched
	failures map[int]int  // how often frames came wrong
	byHTTPS  bool         // everything is to be fetched
	fetching map[int]bool // frames that are being fetched
	progress Progress
	arrived  sync.Cond // something for the workers; its lock is mu
	wanted   sync.Cond // something for those that fetch, or wait for the end; likewise
	stopped  bool
	ended    bool
	final    error // how it ended
}

// newReception fills in the defaults of r.
func newReception(ctx context.Context, r *Receiver) (*reception, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	x := &reception{
		r: r, ports: r.ports, log: r.Log, key: keyOf(r.Key), changed: make(chan struct{}, 1),
		confirmed: make(chan struct{}), prepared: make(chan struct{}), finished: make(chan struct{}),
		taken: map[int]bool{}, failures: map[int]int{}, fetching: map[int]bool{},
	}
	x.calling, x.hangUp = context.WithCancel(ctx)
	if x.ports == nil {
		x.ports = kernelPorts()
	}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	x.arrived.L, x.wanted.L = &x.mu, &x.mu
	x.progress.State = Joining
	return x, nil
}

// check refuses what no receiver may be.
func (r *Receiver) check() error {
	switch {
	case r.Key != "" && len(r.Key) < minKey:
		return fmt.Errorf("the key has %d bytes, at least %d are needed", len(r.Key), minKey)
	case cutText(r.ID, maxString) == "":
		return errors.New("the receiver has no ID")
	case len(r.Session) > maxName:
		return fmt.Errorf("the name of the session has %d bytes, at most %d fit", len(r.Session), maxName)
	}
	return nil
}

func (x *reception) memory() int          { return int(orDefault(x.r.Memory, defaultMemory)) }
func (x *reception) workers() int         { return orDefault(x.r.Workers, runtime.GOMAXPROCS(0)) }
func (x *reception) wait() time.Duration  { return orDefault(x.r.Wait, defaultWait) }
func (x *reception) retry() time.Duration { return orDefault(x.r.Retry, defaultRetry) }

// orDefault returns v, or if that is zero what else there is.
func orDefault[T comparable](v, otherwise T) T {
	if v == *new(T) {
		return otherwise
	}
	return v
}

// change makes Watch be called. x.mu is held.
func (x *reception) change(state State, waiting string) {
	x.progress.State, x.progress.Waiting = state, waiting
	select {
	case x.changed <- struct{}{}:
	default: // it will be called anyway
	}
}

// accept takes in what a sender offers. The first offer decides what comes;
// later ones must be of the same content.
func (x *reception) accept(o *offer, a *annex, from netip.AddrPort, print [32]byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.offer == nil:
		if err := x.begin(o, a); err != nil {
			return err
		}
	case o.prefaceDigest != x.offer.prefaceDigest || o.preface != x.offer.preface || o.frames != x.offer.frames:
		return fmt.Errorf("%w: it offers other content than before", ErrRefused)
	case o.symbolSize != x.coder.symbolSize: // another interface there: what is half done is of no use
		x.restart(o.symbolSize)
	}
	x.offer, x.from, x.print = o, from, print
	if !a.equal(&x.annex) {
		x.forgo() // what is there of another one is of no use
	}
	if x.stage != filling {
		x.change(Joining, x.doing())
	}
	x.arrived.Broadcast() // Confirm is due
	return nil
}

// begin makes room for the content of the first offer. x.mu is held.
func (x *reception) begin(o *offer, a *annex) error {
	x.annex = *a
	if o.preface > maxPreface || uint64(o.frames)+uint64(a.frames) > maxTaken {
		return fmt.Errorf("%w: it has %d frames and a preface of %d bytes", ErrRefused, o.frames, o.preface)
	}
	x.pieces = pieces(int(o.preface))
	x.preface = make([]byte, o.preface)
	x.coder = newCoder(o.symbolSize)
	size := func(f int) int { return min(pieceSize, int(o.preface)-f*pieceSize) }
	x.asm = newAssembler(o.symbolSize, x.coder.stride(), x.pieces, x.pieces+int(o.frames+a.frames), size, x.memory())
	return nil
}

// restart forgets half-done frames for symbols of another size. Frames that
// are complete are still put by what they were made with. x.mu is held.
func (x *reception) restart(symbol int) {
	old := x.asm
	x.coder = newCoder(symbol)
	x.asm = newAssembler(symbol, x.coder.stride(), 0, old.lacks.size(), old.size, x.memory())
	x.asm.lacks.merge(old.lacks)
	x.asm.known, x.asm.done = old.known, old.done
}

// described tells the offer for people. x.mu is held.
func (x *reception) described() Offer {
	o := x.offer
	return Offer{
		Session: o.session, Name: o.name, Host: o.host, From: x.from, Title: o.title, Digest: o.digest,
		Frames: int(o.frames), Bytes: int64(o.bytes), Fingerprint: x.print, Keyed: x.key != nil,
		Annex: Annex{int(x.annex.frames), x.annex.about},
	}
}

// stop ends the workers.
func (x *reception) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopped = true
	x.arrived.Broadcast()
	x.wanted.Broadcast()
}

// end tells how the reception ended. Only the first time counts.
func (x *reception) end(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return
	}
	x.ended, x.final, x.stopped = true, err, true
	if err == nil {
		x.change(Done, "")
	}
	close(x.finished)
	x.hangUp()
	x.arrived.Broadcast()
	x.wanted.Broadcast()
}

// isComplete tells whether all that is known to be lacking is there: the
// preface before the sink is prepared, all frames after. x.mu is held.
func (x *reception) isComplete() bool { return x.asm.lacks.len() == 0 && len(x.taken) == 0 }

// isDue tells whether the present stage is to end. x.mu is held.
func (x *reception) isDue() bool {
	return !x.busy && x.offer != nil && (x.stage == confirming || x.isComplete())
}

// doing tells what the end of the present stage waits for. x.mu is held.
func (x *reception) doing() string {
	switch {
	case !x.busy:
		return ""
	case x.stage == confirming:
		return "a confirmation"
	case x.stage == preparing:
		return "the comparison with what is there"
	}
	return "the disk"
}

// step ends the present stage. Only one worker at a time does.
func (x *reception) step(ctx context.Context) {
	x.mu.Lock()
	now := x.stage
	if now == filling {
		x.change(Receiving, x.doing())
	} else {
		x.change(Joining, x.doing())
	}
	x.mu.Unlock()
	var err error
	switch now {
	case confirming:
		err = x.confirm(ctx)
	case preparing:
		err = x.prepare(ctx)
	default:
		err = x.r.Sink.Finish(ctx)
	}
	switch {
	case ctx.Err() != nil: // all ends
	case err != nil || now == filling:
		x.end(err)
	default:
		x.mu.Lock()
		defer x.mu.Unlock()
		x.busy = false
		x.arrived.Broadcast()
	}
}

// confirm asks the user whether to take what is offered.
func (x *reception) confirm(ctx context.Context) error {
	x.mu.Lock()
	o := x.described()
	x.mu.Unlock()
	if x.r.Confirm != nil {
		if err := x.r.Confirm(ctx, o); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stage = preparing
	close(x.confirmed)
	return nil
}

// prepare checks the preface and asks the sink what is lacking.
func (x *reception) prepare(ctx context.Context) error {
	x.mu.Lock()
	digest, frames, largest := x.offer.prefaceDigest, int(x.offer.frames), largestFrame(x.coder.symbolSize)
	annex := int(x.annex.frames)
	x.mu.Unlock()
	if sha256.Sum256(x.preface) != digest {
		return x.prefaceIsWrong()
	}
	plan, err := x.r.Sink.Prepare(ctx, x.preface)
	if err != nil {
		return err
	}
	if plan.Annex {
		frames += annex
	}
	lacks := newFrameSet(x.pieces + frames)
	for n := range frames {
		if size := plan.Sizes(n); size < 1 || size > largest {
			return fmt.Errorf("%w: frame %d has %d bytes", ErrRefused, n, size)
		}
		if plan.Lacks(n) {
			lacks.add(x.pieces + n)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.plan, x.stage, x.annexed = &plan, filling, plan.Annex && annex > 0
	x.progress.Lacked = lacks.len()
	x.asm.know(x.sizeOf, lacks)
	if int(x.annex.frames) != annex {
		x.forgo() // the sender has changed meanwhile
	}
	x.change(Ready, "the sender to start")
	close(x.prepared)
	x.wanted.Broadcast()
	return nil
}

// prefaceIsWrong makes the preface come again, by HTTPS: a member of the
// session can forge its datagrams. If it has come so, the sender is to blame.
func (x *reception) prefaceIsWrong() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.distrust {
		return fmt.Errorf("%w: the preface is not what it offered", ErrRefused)
	}
	x.distrust = true
	x.log.Warn("the preface is damaged")
	for f := range x.pieces {
		x.failures[f] = mistrust
		x.asm.lacks.add(f)
	}
	x.wanted.Broadcast()
	return nil
}

// sizeOf returns the length of a frame of the session.
func (x *reception) sizeOf(frame int) int {
	if frame < x.pieces {
		return min(pieceSize, len(x.preface)-frame*pieceSize)
	}
	return x.plan.Sizes(frame - x.pieces)
}

// settle waits for the end if all is there, since no sender is needed then.
// Else, or if the sender has given up the receiver, it returns err, which says
// why there is none.
func (x *reception) settle(ctx context.Context, err error) error {
	stop := context.AfterFunc(ctx, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.wanted.Broadcast()
	})
	defer stop()
	x.mu.Lock()
	defer x.mu.Unlock()
	for !x.ended {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if x.stage != filling || x.asm.lacks.len() > 0 || errors.Is(err, ErrDropped) {
			return err
		}
		x.wanted.Wait()
	}
	return x.final
}

// linkSpeed returns the link speed of an interface in Mbit/s, 0 if it is not
// known.
func linkSpeed(ifi *net.Interface) uint32 { return uint32(linkRate(ifi) / 1e6) }
