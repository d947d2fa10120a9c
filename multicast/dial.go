package multicast

import (
	"context"
	"crypto/tls"
	"net/netip"
	"time"
)

// Bounds of calling a sender.
const (
	dialAgain = 150 * time.Millisecond // after which another connection is tried beside the first
	maxDials  = 6                      // at a time
)

// dialFirst connects to a sender by the first connection that works: to each
// address in turn, and a little later to the first one again. Where the
// datagram that opens a TCP connection is lost, the kernel waits a second
// before it sends another (RFC 6298, section 2), which is too long for a room
// that waits for its last receiver.
func dialFirst(ctx context.Context, connect connector, addrs []netip.AddrPort, fingerprint []byte) (*tls.Conn, netip.AddrPort, error) {
	type dialed struct {
		conn *tls.Conn
		from netip.AddrPort
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan dialed)
	calls, open := 0, 0
	call := func() {
		from := addrs[calls%len(addrs)]
		calls++
		open++
		go func() { // dialFirst takes every result
			conn, err := dialControl(ctx, connect, from, fingerprint)
			results <- dialed{conn, from, err}
		}()
	}
	defer func() { // the others end soon, since ctx has ended
		cancel()
		for ; open > 0; open-- {
			if d := <-results; d.conn != nil {
				d.conn.NetConn().Close()
			}
		}
	}()
	call()
	again := time.NewTicker(dialAgain)
	defer again.Stop()
	for {
		select {
		case d := <-results:
			open--
			if d.err == nil || open == 0 && calls >= len(addrs) || ctx.Err() != nil {
				return d.conn, d.from, d.err
			}
			if calls < len(addrs) {
				call()
			}
		case <-again.C:
			if open < maxDials {
				call()
			}
		}
	}
}
