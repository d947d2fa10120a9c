package multicast

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// A guest is a connection to the control port that has not shown yet that it
// belongs to the session. There is a bound on guests, because anybody can be
// one.
type guest struct {
	leave func() // safe to call again
}

// guestKey is where a context has its guest.
type guestKey struct{}

// admit says that the connection to which ctx belongs is no guest any more.
func admit(ctx context.Context) {
	if g, ok := ctx.Value(guestKey{}).(*guest); ok {
		g.leave()
	}
}

// A guestBook has all guests of a control port.
type guestBook struct {
	room chan struct{} // one element for each guest

	mu   sync.Mutex
	each map[netip.Addr]int
}

func newGuestBook() *guestBook {
	return &guestBook{room: make(chan struct{}, maxGuests), each: make(map[netip.Addr]int)}
}

// enter waits for room. It returns nil if there are too many guests from the
// same address, or if ctx ends.
func (b *guestBook) enter(ctx context.Context, from net.Addr) *guest {
	remote, _ := netip.ParseAddrPort(from.String()) // those without one share the zero address
	addr := remote.Addr().Unmap()
	if !b.count(addr) {
		return nil
	}
	leave := sync.OnceFunc(func() { b.discount(addr); <-b.room })
	select {
	case b.room <- struct{}{}:
		return &guest{leave: leave}
	case <-ctx.Done():
		b.discount(addr)
		return nil
	}
}

func (b *guestBook) count(addr netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.each[addr] >= maxGuestsEach {
		return false
	}
	b.each[addr]++
	return true
}

func (b *guestBook) discount(addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.each[addr]--; b.each[addr] == 0 {
		delete(b.each, addr)
	}
}
