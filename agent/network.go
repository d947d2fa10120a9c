package agent

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/agent/wire"
)

// Times of the search for a network.
const (
	linkPoll  = 250 * time.Millisecond
	handicap  = 6 * time.Second // of interfaces that the machine was not booted from
	leaseWait = 3 * time.Second // between two attempts to get an address
	reachTime = 4 * time.Second
)

// A nic is a network interface that a cable goes into.
type nic struct {
	Name  string
	Index int
	MAC   string
	Link  bool
}

// A network finds the interface over which a server is reached. Its functions
// are the machine's, or a test's.
type network struct {
	nics  func() []nic // all that there are now, switched on
	lease func(ctx context.Context, n nic) (lease, error)
	use   func(n nic, l lease, remove bool) error // gives an interface the address, or takes it away
	reach func(ctx context.Context, n nic) error  // whether a server answers over it
	said  func(format string, args ...any)        // for people

	mu   sync.Mutex
	last map[string]string // of an interface: what is wrong with it
}

// A connection is an interface that a server is reached over.
type connection struct {
	nic   nic
	lease lease
}

// connect tries all interfaces that have a link, side by side, until a server
// is reached over one, or ctx is done. Interfaces may come up at any time: with
// the spanning tree of a switch, half a minute after they have a link. The one
// with the address first (mac) gets a start of six seconds if there is a link
// on it. Whatever another interface got is taken away from it.
func (w *network) connect(ctx context.Context, mac string) (connection, error) {
	ctx, cancel := context.WithCancel(ctx)
	won := make(chan connection, 1)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	w.last = map[string]string{}
	started := map[string]bool{}
	for {
		nics := w.nics()
		known := slices.ContainsFunc(nics, func(n nic) bool { return n.MAC == mac && n.Link })
		for _, n := range nics {
			if !n.Link || started[n.Name] {
				continue
			}
			started[n.Name] = true
			late := known && n.MAC != mac
			all.Go(func() { w.try(ctx, n, late, won) })
		}
		select {
		case c := <-won:
			cancel()
			all.Wait()
			return c, w.only(c, won)
		case <-ctx.Done():
			return connection{}, fmt.Errorf("no server is reached: %s", w.problem(nics))
		case <-time.After(linkPoll):
		}
	}
}

// only takes the address from an interface that won, too, and makes sure that
// the routes are those of c.
func (w *network) only(c connection, won <-chan connection) error {
	select {
	case other := <-won:
		w.use(other.nic, other.lease, true) // it may be gone
	default:
	}
	return w.use(c.nic, c.lease, false)
}

// try gets an address for an interface and tries a server, again and again.
func (w *network) try(ctx context.Context, n nic, late bool, won chan<- connection) {
	if late && !pause(ctx, handicap) {
		return
	}
	for {
		l, err := w.attempt(ctx, n)
		if err == nil {
			select {
			case won <- connection{n, l}:
				return
			default: // another was faster
			}
		}
		if l.Prefix.IsValid() {
			w.use(n, l, true) // the interface may be gone
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		w.wrong(n, err)
		if !pause(ctx, leaseWait) {
			return
		}
	}
}

// attempt tries an interface once. The lease is valid if it has its address.
func (w *network) attempt(ctx context.Context, n nic) (lease, error) {
	l, err := w.lease(ctx, n)
	if err != nil {
		return lease{}, err
	}
	if err := w.use(n, l, false); err != nil {
		return lease{}, fmt.Errorf("giving it %s: %w", l.Prefix, err)
	}
	w.said("%s has %s from %s", n.Name, l.Prefix, l.Server)
	rctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err := w.reach(rctx, n); err != nil {
		return l, fmt.Errorf("it has %s, but no server answers: %w", l.Prefix, err)
	}
	return l, nil
}

// wrong remembers, and tells once, what is wrong with an interface.
func (w *network) wrong(n nic, err error) {
	text := wire.Plain(err.Error(), 512)
	w.mu.Lock()
	fresh := w.last[n.Name] != text
	w.last[n.Name] = text
	w.mu.Unlock()
	if fresh {
		w.said("%s: %s", n.Name, text)
	}
}

// problem says for each interface what is wrong with it.
func (w *network) problem(nics []nic) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := ""
	for _, n := range nics {
		why := "no link: is the cable in?"
		if n.Link {
			why = cmp.Or(w.last[n.Name], "no DHCP server has answered yet")
		}
		text += fmt.Sprintf("; %s (%s): %s", n.Name, n.MAC, why)
	}
	return cmp.Or(text, "; the boot environment has no driver for a network interface of this machine")[2:]
}

// keep renews a lease until ctx is done. When nobody answers, the address stays
// in use beyond the lease: a disk that is half written is worse than an
// address that a server believes to be free.
func (w *network) keep(ctx context.Context, c connection, renew func(context.Context, nic, lease) (lease, error)) {
	wait := c.lease.Renew
	for pause(ctx, wait) {
		l, err := renew(ctx, c.nic, c.lease)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.wrong(c.nic, fmt.Errorf("its lease is not renewed: %w", err))
			wait = max(wait/4, minLease/2)
			continue
		case l.Prefix != c.lease.Prefix:
			w.said("%s: the DHCP server changes its address from %s to %s, which it does not take while it works", c.nic.Name, c.lease.Prefix, l.Prefix)
		default:
			c.lease = l
		}
		wait = l.Renew
	}
}

// pause waits, and tells whether ctx was not done meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// useAddress is network.use for the machine itself.
func useAddress(n nic, l lease, remove bool) error {
	if err := address(n.Index, l.Prefix, remove); err != nil || remove || !l.Router.IsValid() {
		return err
	}
	return gateway(n.Index, l.Router)
}

// reachServers returns network.reach for the machine itself: one of the
// servers takes a connection that leaves by the interface.
func reachServers(servers []netip.AddrPort) func(context.Context, nic) error {
	return func(ctx context.Context, n nic) error {
		d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			var bound error
			err := c.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), n.Name) })
			return cmp.Or(err, bound)
		}}
		var last error
		for _, s := range servers {
			conn, err := d.DialContext(ctx, "tcp", s.String())
			if err == nil {
				return conn.Close()
			}
			last = err
		}
		return last
	}
}
