package main

import (
	"slices"
	"sync"
)

// Reading ahead of those who read a remote file from front to back.
const (
	aheadBlock  = 4 << 20 // bytes that are asked for at once
	aheadBlocks = 4       // that are under way or wait, beyond the one that is read
	aheadKept   = 10      // blocks in memory: 40 MiB
	aheadReach  = 8 << 20 // bytes around the end of the last read in which one that follows begins
	aheadStreak = 4       // reads in a row before anything is read ahead
)

// A readAhead reads a remote file. Reads that follow each other, as those of
// several workers do in about the order of the file, are served from large
// blocks that are fetched side by side; all others fetch exactly what they ask for.
type readAhead struct {
	r     *remoteFile
	exact bool // fetch nothing but what is asked for; set before others read

	mu     sync.Mutex
	end    int64 // the furthest that was read
	streak int
	blocks []*block // the most recently used last

	fetching sync.WaitGroup
}

// A block is a part of the file that is fetched at once. Its fields are set when
// done is closed.
type block struct {
	number int64
	done   chan struct{}
	data   []byte
	err    error
}

// read fills p, which ends within the file.
func (a *readAhead) read(p []byte, off int64) (n int, err error) {
	if !a.follows(off, int64(len(p))) {
		return a.r.fetch(p, off, remoteSilent)
	}
	for n < len(p) {
		b := a.get((off + int64(n)) / aheadBlock)
		select {
		case <-b.done:
		case <-a.r.ctx.Done():
			return n, a.r.ctx.Err()
		}
		if b.err != nil {
			return n, b.err
		}
		n += copy(p[n:], b.data[off+int64(n)-b.number*aheadBlock:])
	}
	return n, nil
}

// follows notes a read and tells whether it belongs to a row of them.
func (a *readAhead) follows(off, n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.exact {
		return false
	}
	near := off >= a.end-aheadReach && off <= a.end+aheadReach/8
	if !near {
		a.streak, a.end = 0, off
	}
	a.streak++
	a.end = max(a.end, off+n)
	return a.streak > aheadStreak
}

// get returns a block, which may be under way, and has those behind it fetched.
func (a *readAhead) get(number int64) *block {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.start(number)
	for next := number + 1; next <= number+aheadBlocks && next*aheadBlock < a.r.size; next++ {
		a.start(next)
	}
	return b
}

// start returns a block, the most recently used one now, and has it fetched
// unless it is there.
func (a *readAhead) start(number int64) *block {
	if i := slices.IndexFunc(a.blocks, func(b *block) bool { return b.number == number && !b.failed() }); i >= 0 {
		b := a.blocks[i]
		a.blocks = append(slices.Delete(a.blocks, i, i+1), b)
		return b
	}
	a.blocks = slices.DeleteFunc(a.blocks, func(b *block) bool { return b.number == number })
	if len(a.blocks) >= aheadKept {
		a.blocks = slices.Delete(a.blocks, 0, 1) // who waits for it still has it
	}
	off := number * aheadBlock
	b := &block{number: number, done: make(chan struct{}), data: make([]byte, min(aheadBlock, a.r.size-off))}
	a.blocks = append(a.blocks, b)
	a.fetching.Go(func() { // ends with the context of the file, or after remoteSilent without a byte
		defer close(b.done)
		_, b.err = a.r.fetch(b.data, off, remoteSilent)
	})
	return b
}

// wait waits for all that is under way.
func (a *readAhead) wait() { a.fetching.Wait() }

// failed tells whether b is of no use.
func (b *block) failed() bool {
	select {
	case <-b.done:
		return b.err != nil
	default:
		return false
	}
}
