package multicast

import (
	"context"
	"errors"
	"sync"
)

// mistrust is how often a frame may come wrong by multicast before it is
// fetched.
const mistrust = 2

// A parcel is a frame that is complete: symbols of it, or what was fetched.
type parcel struct {
	frame int
	data  []byte    // nil if it came by multicast
	s     *assembly // else what came, and by what it was made
	asm   *assembler
	coder *coder
}

// work puts frames that are complete, and ends stages, until the sink is
// finished or has failed.
func (x *reception) work(ctx context.Context) {
	stop := context.AfterFunc(ctx, x.stop)
	defer stop()
	var running sync.WaitGroup
	for range x.workers() {
		running.Go(func() { x.putAll(ctx) })
	}
	running.Wait()
}

// putAll does what there is to do until there will be no more.
func (x *reception) putAll(ctx context.Context) {
	var buf []byte
	shards := make([][]byte, 0, maxSource+paritySymbols)
	for {
		p, ok := x.next()
		switch {
		case !ok:
			return
		case p == nil:
			x.step(ctx)
		default:
			frame, err := p.data, error(nil)
			if frame == nil {
				buf, err = p.assembled(shards, buf)
				frame = buf
			}
			if err == nil {
				err = x.put(ctx, p.frame, frame)
			}
			x.putDone(ctx, p, err)
		}
	}
}

// next waits for a complete frame, or for the end of a stage, which is nil. It
// returns false when there will be none.
func (x *reception) next() (*parcel, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		switch {
		case x.stopped:
			return nil, false
		case len(x.queue) > 0:
			p := x.queue[0]
			x.queue[0], x.queue = nil, x.queue[1:]
			return p, true
		case x.isDue():
			x.busy = true
			return nil, true
		}
		x.arrived.Wait()
	}
}

// enqueue gives a complete frame to the workers. x.mu is held.
func (x *reception) enqueue(p *parcel) {
	x.taken[p.frame] = true
	x.queue = append(x.queue, p)
	x.arrived.Signal()
}

// assembled returns the bytes of a frame that came by multicast in buf, which
// it grows as needed.
func (p *parcel) assembled(shards [][]byte, buf []byte) ([]byte, error) {
	s := p.s
	symbol, stride := s.cut.symbolSize, p.coder.stride()
	for b := range s.blocks {
		if err := p.restore(b, shards); err != nil {
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
func (p *parcel) restore(block int, shards [][]byte) error {
	s := p.s
	b := &s.blocks[block]
	if len(b.extra) == 0 {
		return nil
	}
	k, first, stride := s.cut.source(block), s.cut.first(block), p.coder.stride()
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
	return p.coder.restore(shards, k)
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
func (x *reception) putDone(ctx context.Context, p *parcel, err error) {
	x.mu.Lock()
	x.forget(p, err == nil)
	if p.frame >= x.limit() {
		x.asm.lacks.remove(p.frame) // it was forgone meanwhile
	}
	fetched, bad := p.data != nil, errors.Is(err, ErrBadFrame)
	if err == nil {
		x.count(p)
	}
	if bad {
		x.failures[p.frame]++
		x.log.Warn("frame is damaged", "frame", p.frame, "err", err)
	}
	if x.isDue() {
		x.arrived.Signal()
	}
	x.wanted.Broadcast()
	x.mu.Unlock()
	if err != nil && (fetched || !bad) && ctx.Err() == nil {
		x.end(err) // the disk is full, or the frame came wrong by HTTPS
	}
}

// forget gives back what a frame holds. It is done or lacking again. x.mu is
// held.
func (x *reception) forget(p *parcel, good bool) {
	delete(x.taken, p.frame)
	if p.data != nil {
		x.brought--
	} else {
		for b := range p.s.blocks {
			x.progress.Repaired += int64(len(p.s.blocks[b].extra))
		}
		p.asm.finish(p.s, good)
		if p.asm == x.asm {
			return
		}
	}
	if good {
		x.asm.done = append(x.asm.done, uint32(p.frame))
		return
	}
	x.asm.lacks.add(p.frame)
}

// count notes that a frame is where it belongs. x.mu is held.
func (x *reception) count(p *parcel) {
	size := int64(x.sizeOf(p.frame))
	if p.data != nil {
		x.progress.Fetched += size
	}
	if p.frame >= x.pieces {
		x.progress.Got++
		x.progress.Written += size
	}
}
