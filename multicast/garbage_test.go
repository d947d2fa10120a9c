package multicast

import (
	"encoding/binary"
	"testing"
	"time"
)

// TestIntakeNoGarbage shows that a datagram costs a receiver no memory: it is
// opened in its place, and its symbol copied into that of its frame.
func TestIntakeNoGarbage(t *testing.T) {
	const frames, size, symbol = 4, 1 << 20, 1440
	secret := make([]byte, secretSize)
	x := &reception{offer: &offer{session: 1, symbolSize: symbol}}
	x.arrived.L = &x.mu
	x.coder = newCoder(symbol)
	x.asm = newAssembler(symbol, x.coder.stride(), 0, frames, func(int) int { return size }, 16<<20)
	all := newFrameSet(frames)
	all.addRange(0, all.size())
	x.asm.know(x.asm.size, all)
	in := &intake{v: &visit{x: x, interval: time.Second}, size: datagramSize(symbol), tag: 1}
	in.sealers[0] = newSealer(secret, 1, 0, 0)
	sealer := newSealer(secret, 1, 0, 0)
	p := make([]byte, datagramSize(symbol))
	c := newCut(size, symbol)
	n := 0
	next := func() {
		h := header{kind: kindData, block: uint8(n % c.blocks), symbol: uint8(n / c.blocks), sequence: uint32(n), tag: 1}
		h.append(p[:0])
		binary.LittleEndian.PutUint64(p[headerSize:], uint64(n))
		sealer.seal(p)
		in.take(p)
		n++
	}
	next() // the frame's own memory
	if got := testing.AllocsPerRun(500, next); got > 0 {
		t.Errorf("%v allocations for a datagram, want none", got)
	}
	if in.received != uint64(n) || in.bad != 0 {
		t.Errorf("%d of %d datagrams taken, %d bad", in.received, n, in.bad)
	}
}
