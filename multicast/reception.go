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
)

// A reception is a Receiver at work. It outlives the connections to its
// sender, so that what has come is not lost with one.
type reception struct {
	r        *Receiver
	log      *slog.Logger
	key      []byte
	changed  chan struct{} // something for Watch
	prepared chan struct{} // closed when the sink is prepared
	finished chan struct{} // closed when the sink is finished, or has failed

	mu        sync.Mutex
	offer     *offer // of the present or last session, nil before the first
	from      netip.AddrPort
	print     [32]byte // fingerprint of the sender
	coder     *coder
	asm       *assembler
	preface   []byte
	pieces    int
	plan      *Plan       // once the sink is prepared
	queue     []*assembly // complete frames, not yet put
	putting   int         // frames that are being put
	failures  map[uint32]int
	byHand    []int // frames to fetch, because they came wrong twice
	byHTTPS   bool  // everything is to be fetched
	fetching  map[int]bool
	confirmed bool
	progress  Progress
	arrived   sync.Cond // of queue, byHand, finishing; its lock is mu
	stopped   bool
	ended     bool
	final     error // how it ended
}

// newReception fills in the defaults of r.
func newReception(r *Receiver) (*reception, error) {
	if r.Key != "" && len(r.Key) < minKey {
		return nil, fmt.Errorf("the key has %d bytes, at least %d are needed", len(r.Key), minKey)
	}
	x := &reception{
		r: r, log: r.Log, key: keyOf(r.Key), changed: make(chan struct{}, 1),
		prepared: make(chan struct{}), finished: make(chan struct{}),
		failures: map[uint32]int{}, fetching: map[int]bool{},
	}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	x.arrived.L = &x.mu
	x.progress.State = Joining
	return x, nil
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
// later ones must be of the same content. x.mu is not held.
func (x *reception) accept(o *offer, from netip.AddrPort, print [32]byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.offer == nil {
		if o.preface > maxPreface {
			return fmt.Errorf("%w: a preface of %d bytes", ErrRefused, o.preface)
		}
		x.pieces = pieces(int(o.preface))
		x.preface = make([]byte, o.preface)
		x.coder = newCoder(o.symbolSize)
		size := func(f int) int { return min(pieceSize, int(o.preface)-f*pieceSize) }
		x.asm = newAssembler(o.symbolSize, x.coder.stride(), x.pieces, x.pieces+int(o.frames), size, x.memory())
	} else if o.prefaceDigest != x.offer.prefaceDigest || o.frames != x.offer.frames {
		return fmt.Errorf("%w: it offers other content than before", ErrRefused)
	}
	if o.symbolSize != x.coder.symbolSize { // another interface there: what is half done is of no use
		x.restart(o.symbolSize)
	}
	x.offer, x.from, x.print = o, from, print
	return nil
}

// restart forgets half-done frames for symbols of another size.
func (x *reception) restart(symbol int) {
	old := x.asm
	x.coder = newCoder(symbol)
	x.asm = newAssembler(symbol, x.coder.stride(), 0, old.lacks.size(), old.size, x.memory())
	for _, s := range old.open {
		if s.left > 0 {
			x.asm.lacks.add(int(s.frame))
		}
	}
	x.asm.lacks.merge(old.lacks)
	x.asm.known, x.asm.done = old.known, old.done
}

// described tells the offer for people. x.mu is held.
func (x *reception) described() Offer {
	o := x.offer
	return Offer{
		Session: o.session, Name: o.name, Host: o.host, From: x.from, Title: o.title, Digest: o.digest,
		Frames: int(o.frames), Bytes: int64(o.bytes), Fingerprint: x.print, Keyed: x.key != nil,
	}
}

// work puts frames that are complete, until the sink is finished or has
// failed.
func (x *reception) work(ctx context.Context) {
	stop := context.AfterFunc(ctx, x.stop)
	defer stop()
	var running sync.WaitGroup
	for range x.workers() {
		running.Go(func() { x.putAll(ctx) })
	}
	running.Wait()
}

// stop ends the workers.
func (x *reception) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopped = true
	x.arrived.Broadcast()
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
	x.arrived.Broadcast()
}

// putAll takes complete frames from the queue and puts them into the sink.
func (x *reception) putAll(ctx context.Context) {
	var buf []byte
	shards := make([][]byte, 0, maxSource+paritySymbols)
	for {
		s := x.take()
		if s == nil {
			return
		}
		var err error
		if buf, err = x.assembled(s, shards, buf); err == nil {
			err = x.put(ctx, int(s.frame), buf)
		}
		x.putDone(ctx, s, err)
	}
}

// take waits for a complete frame; it returns nil when there will be none.
func (x *reception) take() *assembly {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.queue) == 0 && !x.stopped {
		x.arrived.Wait()
	}
	if x.stopped {
		return nil
	}
	s := x.queue[0]
	x.queue = x.queue[1:]
	x.putting++
	return s
}

// assembled returns the bytes of a complete frame in buf, which it grows as
// needed.
func (x *reception) assembled(s *assembly, shards [][]byte, buf []byte) ([]byte, error) {
	symbol, stride := s.cut.symbolSize, x.coder.stride()
	for b := range s.blocks {
		if err := x.restore(s, b, shards); err != nil {
			return buf, err
		}
	}
	if cap(buf) < s.cut.length {
		buf = make([]byte, s.cut.length)
	}
	buf = buf[:s.cut.length]
	for i := range s.cut.symbols {
		copy(buf[i*symbol:], s.data[i*stride:i*stride+symbol])
	}
	return buf, nil
}

// restore computes the source symbols of a block that did not come.
func (x *reception) restore(s *assembly, block int, shards [][]byte) error {
	b := &s.blocks[block]
	if len(b.extra) == 0 {
		return nil
	}
	k, first, stride := s.cut.source(block), s.cut.first(block), x.coder.stride()
	shards = shards[:k+paritySymbols]
	clear(shards)
	for i := range k {
		at := (first + i) * stride
		shards[i] = s.data[at : at+stride : at+stride]
		if b.held[i>>6]>>(i&63)&1 == 0 {
			shards[i] = shards[i][:0]
		}
	}
	for _, e := range b.extra {
		shards[e.number] = e.data
	}
	return x.coder.restore(shards, k)
}

// put gives a frame to whom it belongs.
func (x *reception) put(ctx context.Context, frame int, data []byte) error {
	if frame < x.pieces {
		copy(x.preface[frame*pieceSize:], data)
		return nil
	}
	return x.r.Sink.PutFrame(ctx, frame-x.pieces, data)
}

// putDone notes how putting a frame went.
func (x *reception) putDone(ctx context.Context, s *assembly, err error) {
	x.mu.Lock()
	x.putting--
	good := err == nil
	bad := errors.Is(err, ErrBadFrame)
	x.asm.finish(s, good)
	if good {
		x.count(int(s.frame), int64(s.cut.length))
		for b := range s.blocks {
			x.progress.Repaired += int64(len(s.blocks[b].extra))
		}
	}
	if bad {
		if x.failures[s.frame]++; x.failures[s.frame] > 1 {
			x.byHand = append(x.byHand, int(s.frame))
		}
		x.log.Warn("frame is damaged", "chunk", s.frame, "err", err)
	}
	last := good && x.isComplete()
	x.arrived.Broadcast()
	x.mu.Unlock()
	if err != nil && !bad {
		x.end(err)
	}
	if last {
		x.complete(ctx)
	}
}

// count notes that a frame is where it belongs. x.mu is held.
func (x *reception) count(frame int, size int64) {
	if frame >= x.pieces {
		x.progress.Got++
		x.progress.Written += size
	}
}

// isComplete tells whether all that is known to be lacking is there: the
// preface before the sink is prepared, all frames after. x.mu is held.
func (x *reception) isComplete() bool {
	return x.asm.lacks.len() == 0 && len(x.queue) == 0 && x.putting == 0
}

// complete goes on when the preface, or everything, is there.
func (x *reception) complete(ctx context.Context) {
	x.mu.Lock()
	prepared := x.plan != nil
	x.mu.Unlock()
	if prepared {
		x.finish(ctx)
		return
	}
	if err := x.prepare(ctx); err != nil {
		x.end(err)
	}
}

// prepare checks the preface and asks the sink what is lacking.
func (x *reception) prepare(ctx context.Context) error {
	if sha256.Sum256(x.preface) != x.offer.prefaceDigest {
		return fmt.Errorf("%w: the preface is not what it offered", ErrRefused)
	}
	x.mu.Lock()
	x.change(Joining, "the comparison with what is there")
	x.mu.Unlock()
	plan, err := x.r.Sink.Prepare(ctx, x.preface)
	if err != nil {
		return err
	}
	frames := int(x.offer.frames)
	lacks := newFrameSet(x.pieces + frames)
	for n := range frames {
		size := plan.Sizes(n)
		if size < 1 || size > largestFrame(x.coder.symbolSize) {
			return fmt.Errorf("%w: frame %d has %d bytes", ErrRefused, n, size)
		}
		if plan.Lacks(n) {
			lacks.add(x.pieces + n)
		}
	}
	x.mu.Lock()
	x.plan = &plan
	x.progress.Lacked = lacks.len()
	x.asm.know(x.sizeOf, lacks)
	x.change(Ready, "the sender to start")
	nothing := x.isComplete()
	close(x.prepared)
	x.arrived.Broadcast()
	x.mu.Unlock()
	if nothing {
		x.finish(ctx)
	}
	return nil
}

// sizeOf returns the length of a frame of the session.
func (x *reception) sizeOf(frame int) int {
	if frame < x.pieces {
		return min(pieceSize, len(x.preface)-frame*pieceSize)
	}
	return x.plan.Sizes(frame - x.pieces)
}

// finish finishes the sink.
func (x *reception) finish(ctx context.Context) {
	x.mu.Lock()
	x.change(Receiving, "the disk")
	x.mu.Unlock()
	x.end(x.r.Sink.Finish(ctx))
}

// linkSpeed returns the link speed of an interface in Mbit/s, 0 if it is not
// known.
func linkSpeed(ifi *net.Interface) uint32 { return uint32(linkRate(ifi) / 1e6) }
