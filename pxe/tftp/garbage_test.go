package tftp

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzServer brings any datagrams from two clients, to the port for requests
// and to those of transfers, with pauses. The server must not panic, must be
// done a while after, and must not send more than each datagram and each wait
// are worth.
//
// The input is steps: a byte that says whose and where to, one that says how
// many bytes follow, and those.
func FuzzServer(f *testing.F) {
	step := func(kind byte, p []byte) []byte { return append([]byte{kind, byte(len(p))}, p...) }
	f.Add(bytes.Join([][]byte{step(0, ask(opRead, "f", "octet")), step(2, ack(1)), step(4, nil), step(2, ack(2))}, nil))
	f.Add(bytes.Join([][]byte{step(0, ask(opRead, "f", "octet", "windowsize", "4")), step(2, ack(0)), step(3, ack(4)), step(2, ack(0)), step(2, ack(4))}, nil))
	f.Add(bytes.Join([][]byte{step(1, ask(opRead, "e", "octet", "tsize", "0")), step(3, appendError(nil, 8, ""))}, nil))
	files := map[string][]byte{"f": content(20_000), "e": nil}
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			n, server := newVirtualNet(), serveFiles(files)
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan error)
			go func() { served <- server.serve(ctx, n) }()
			steps := n.follow(script)
			time.Sleep(2 * idleLimit)
			synctest.Wait()
			stats := server.Stats()
			if stats.Active != 0 || stats.Started != stats.Done+stats.Failed+stats.Probes {
				t.Errorf("two minutes later: %+v", stats)
			}
			// What a datagram can cause: a window, and that window at each timeout.
			if got, most := len(n.answers()), steps*maxWindow*(maxSends+1); got > most {
				t.Errorf("%d datagrams after %d steps, want at most %d", got, steps, most)
			}
			stop()
			if err := <-served; err != nil {
				t.Errorf("Serve = %v, want nil", err)
			}
		})
	})
}

// follow takes at most 50 steps and returns how many.
func (n *virtualNet) follow(script []byte) int {
	steps := 0
	for ; len(script) >= 2 && steps < 50; steps++ {
		kind, p := script[0], script[2:]
		p = p[:min(len(p), int(script[1]))]
		script = script[2+len(p):]
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, kind & 1}), 2070)
		switch kind >> 1 & 3 {
		case 0:
			n.request(from, p)
		case 1:
			n.deliver(datagram{from, n.newest(), p})
		case 2:
			time.Sleep(time.Duration(len(p)) * 20 * time.Millisecond)
		case 3:
			n.deliver(datagram{from, netip.AddrPortFrom(serverAddr, 40000+uint16(len(p)&3)), p})
		}
		synctest.Wait()
	}
	return steps
}

// newest returns the port of the transfer that began last.
func (n *virtualNet) newest() netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	return netip.AddrPortFrom(serverAddr, n.port)
}
