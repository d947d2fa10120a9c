package tftp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A front is where requests arrive, and what opens links to who sent them.
type front interface {
	// receive waits for a datagram. It returns [net.ErrClosed] after stop.
	receive(p []byte) (arrival, error)
	// open makes a link from the address that was asked. limit is the
	// largest block that is one packet on the way to the client.
	open(a arrival) (l link, limit int, err error)
	// stop ends receive. It may be called by another goroutine.
	stop()
}

// An arrival is a datagram that has arrived at a front.
type arrival struct {
	n         int // bytes
	from      netip.AddrPort
	to        netip.Addr
	iface     int  // index of the interface; 0 is unknown
	broadcast bool // it was sent to everyone
}

// errReplaced ends a transfer whose client asks for something else.
var errReplaced = errors.New("the client has asked anew")

// A hall is a server while it serves: who is there, and what they get.
type hall struct {
	*Server
	front front
	group *errgroup.Group

	mu      sync.Mutex
	guests  map[netip.AddrPort]*guest
	count   int                // transfers, those that are being replaced as well
	perAddr map[netip.Addr]int // the same, by address
	limiter *limiter
}

// A guest is a client with a transfer.
type guest struct {
	request string // as it came
	heard   func() bool
	end     context.CancelCauseFunc
}

// serve is Serve for any front.
func (s *Server) serve(ctx context.Context, f front) error {
	g, gctx := errgroup.WithContext(ctx)
	h := &hall{Server: s, front: f, group: g, guests: map[netip.AddrPort]*guest{},
		perAddr: map[netip.Addr]int{}, limiter: newLimiter()}
	stop := context.AfterFunc(gctx, f.stop)
	defer stop()
	g.Go(func() error { return h.receive(gctx) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serving tftp: %w", err)
	}
	return nil
}

// receive takes requests until the front is stopped.
func (h *hall) receive(ctx context.Context) error {
	p := make([]byte, maxRequest+1) // one more, so that longer ones are known
	for {
		a, err := h.front.receive(p)
		if err != nil {
			return err
		}
		h.admit(ctx, p[:a.n], a)
	}
}

// plausible returns whether addr can be that of a client.
func plausible(addr netip.AddrPort) bool {
	ip := addr.Addr()
	return addr.Port() != 0 && ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() &&
		ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// admit starts a transfer for a request if there is room for it. A request to
// everyone is not answered (RFC 1123, section 4.2.3.5).
func (h *hall) admit(ctx context.Context, p []byte, a arrival) {
	if a.broadcast || !plausible(a.from) {
		h.stats.refused.Add(1)
		return
	}
	op, w, err := parseRequest(p)
	if err != nil {
		h.stats.malformed.Add(1)
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	visit := &visit{hall: h, arrival: a, op: op, wish: w}
	g := &guest{request: string(p), end: cancel, heard: visit.heard.Load}
	if !h.enter(a.from, g) {
		cancel(nil)
		return
	}
	h.group.Go(func() error {
		defer cancel(nil)
		defer h.leave(a.from, g, visit)
		visit.run(ctx)
		return nil
	})
}

// enter returns whether there is room for g. The same request from the same
// port again is the same transfer, as long as the client has not been heard of;
// another one takes its place.
func (h *hall) enter(client netip.AddrPort, g *guest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.guests[client]
	if old != nil && old.request == g.request && !old.heard() {
		return false
	}
	if h.count >= or(h.MaxTransfers, defaultTransfers) ||
		h.perAddr[client.Addr()] >= or(h.MaxPerClient, defaultPerClient) ||
		!h.limiter.take(client.Addr(), time.Now()) {
		h.stats.refused.Add(1)
		return false
	}
	if old != nil {
		old.end(errReplaced)
	}
	h.guests[client] = g
	h.count++
	h.perAddr[client.Addr()]++
	return true
}

// leave makes room.
func (h *hall) leave(client netip.AddrPort, g *guest, v *visit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.guests[client] == g {
		delete(h.guests, client)
	}
	h.count--
	if h.perAddr[client.Addr()]--; h.perAddr[client.Addr()] == 0 {
		delete(h.perAddr, client.Addr())
	}
	if v.heard.Load() {
		h.limiter.back(client.Addr(), time.Now())
	}
}
