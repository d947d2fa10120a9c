package multicast

import (
	"fmt"
	"slices"
	"sync"
)

// What a session keeps in memory for repairs. Frames that are in use, or that
// were asked for a moment ago, come on top, and their parity, which takes a third
// of a frame.
const (
	cacheFrames = 64
	cacheBytes  = 128 << 20
)

// A frameCache reads the frames of a session, each once as long as it is in
// use, and keeps the last ones with their parity. It is safe for concurrent
// use.
type frameCache struct {
	source Source
	coder  *coder
	pieces int

	mu      sync.Mutex
	frames  map[int]*cachedFrame
	order   []int // of frames, the least recently used first
	held    int   // bytes of these
	spare   [][]byte
	parity  [][]byte // spare buffers
	reading sync.WaitGroup
}

// A cachedFrame is a frame in memory, once loaded is closed.
type cachedFrame struct {
	loaded chan struct{}
	data   []byte
	err    error
	users  int

	coding sync.Mutex // guards what follows while there are users: lanes may share a frame
	parity [][]byte   // of each block, nil until it is asked for
}

func newFrameCache(source Source, c *coder) *frameCache {
	return &frameCache{source: source, coder: c, pieces: pieces(len(source.Preface())), frames: map[int]*cachedFrame{}}
}

// size returns the length of a frame of the session.
func (c *frameCache) size(frame int) int {
	if frame < c.pieces {
		return min(pieceSize, len(c.source.Preface())-frame*pieceSize)
	}
	return c.source.FrameSize(frame - c.pieces)
}

// prefetch makes frames be read that will be needed soon.
func (c *frameCache) prefetch(frames []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range frames {
		c.entry(f)
	}
}

// get returns a frame, and waits until it is read. The caller releases it.
func (c *frameCache) get(frame int) *cachedFrame {
	c.mu.Lock()
	e := c.entry(frame)
	e.users++
	c.mu.Unlock()
	<-e.loaded
	return e
}

func (c *frameCache) release(e *cachedFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.users--
}

// entry returns a frame that is in memory or being read. c.mu is held.
func (c *frameCache) entry(frame int) *cachedFrame {
	if e := c.frames[frame]; e != nil {
		i := slices.Index(c.order, frame)
		c.order = append(slices.Delete(c.order, i, i+1), frame)
		return e
	}
	c.evict()
	c.held += c.size(frame)
	e := &cachedFrame{loaded: make(chan struct{}), parity: make([][]byte, newCut(c.size(frame), c.coder.symbolSize).blocks)}
	c.frames[frame] = e
	c.order = append(c.order, frame)
	var buf []byte
	if n := len(c.spare); n > 0 {
		buf, c.spare = c.spare[n-1], c.spare[:n-1]
	}
	c.reading.Go(func() {
		e.data, e.err = c.read(frame, buf)
		close(e.loaded)
	})
	return e
}

// isFull tells whether there is no room for another frame.
func (c *frameCache) isFull() bool { return len(c.order) >= cacheFrames || c.held >= cacheBytes }

// evict makes room for one frame, if it can.
func (c *frameCache) evict() {
	for i := 0; i < len(c.order) && c.isFull(); i++ {
		e := c.frames[c.order[i]]
		select {
		case <-e.loaded:
		default:
			continue
		}
		if e.users > 0 {
			continue
		}
		if c.order[i] >= c.pieces && e.err == nil && len(c.spare) < prefetch {
			c.spare = append(c.spare, e.data)
		}
		for _, p := range e.parity {
			if p != nil {
				c.parity = append(c.parity, p)
			}
		}
		c.held -= c.size(c.order[i])
		delete(c.frames, c.order[i])
		c.order = slices.Delete(c.order, i, i+1)
		i--
	}
}

// read reads a frame, into buf if that helps.
func (c *frameCache) read(frame int, buf []byte) ([]byte, error) {
	if frame < c.pieces {
		start := frame * pieceSize
		return c.source.Preface()[start : start+c.size(frame)], nil
	}
	data, err := c.source.ReadFrame(frame-c.pieces, buf)
	if want := c.size(frame); err == nil && len(data) != want {
		return nil, fmt.Errorf("frame %d has become %d bytes long, was %d", frame-c.pieces, len(data), want)
	}
	return data, err
}

// symbol copies a symbol of a block into dst, zeros behind its end.
func (c *frameCache) symbol(e *cachedFrame, block, number int, dst []byte) error {
	cut := newCut(len(e.data), c.coder.symbolSize)
	k := cut.source(block)
	if number < k {
		start := (cut.first(block) + number) * c.coder.symbolSize
		clear(dst[copy(dst, e.data[start:]):])
		return nil
	}
	e.coding.Lock()
	defer e.coding.Unlock()
	if e.parity[block] == nil {
		if err := c.code(e, cut, block); err != nil {
			return err
		}
	}
	copy(dst, e.parity[block][(number-k)*c.coder.stride():])
	return nil
}

// code computes the parity of a block.
func (c *frameCache) code(e *cachedFrame, cut cut, block int) error {
	var buf []byte
	c.mu.Lock()
	if n := len(c.parity); n > 0 {
		buf, c.parity = c.parity[n-1], c.parity[:n-1]
	}
	c.mu.Unlock()
	start, end := cut.span(block)
	var err error
	e.parity[block], err = c.coder.parity(e.data[start:end], cut.source(block), buf)
	return err
}
