package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A datagram on its way between a client and a server.
type datagram struct {
	from, to netip.AddrPort
	p        []byte
}

// A virtualNet is a network in memory with one server. In a bubble of synctest
// its time is virtual. It delivers at once, or as fate says.
type virtualNet struct {
	// fate returns when a datagram arrives, once for each copy; nil is once, at once.
	fate func(d datagram) []time.Duration

	requests chan arrival
	payloads chan []byte
	stopped  chan struct{}
	limit    int // the largest block

	mu   sync.Mutex
	ears map[netip.AddrPort]*virtualEar
	port uint16
	sent []datagram // by the server
}

// A virtualEar is a port with what has arrived there.
type virtualEar struct {
	net   *virtualNet
	at    netip.AddrPort
	peer  netip.AddrPort
	queue chan datagram
	ended chan struct{}
	once  sync.Once
}

var serverAddr = netip.MustParseAddr("10.0.0.1")

func newVirtualNet() *virtualNet {
	return &virtualNet{requests: make(chan arrival, 1000), payloads: make(chan []byte, 1000),
		stopped: make(chan struct{}), limit: 1468, ears: map[netip.AddrPort]*virtualEar{}, port: 40000}
}

func (n *virtualNet) receive(p []byte) (arrival, error) {
	select {
	case a := <-n.requests:
		a.n = copy(p, <-n.payloads)
		return a, nil
	case <-n.stopped:
		return arrival{}, net.ErrClosed
	}
}

func (n *virtualNet) stop() { close(n.stopped) }

// request brings one to the server.
func (n *virtualNet) request(from netip.AddrPort, p []byte) {
	n.payloads <- p
	n.requests <- arrival{from: from, to: serverAddr}
}

func (n *virtualNet) open(a arrival) (link, int, error) {
	n.mu.Lock()
	n.port++
	at := netip.AddrPortFrom(serverAddr, n.port)
	n.mu.Unlock()
	e := n.listen(at)
	e.peer = a.from
	return e, n.limit, nil
}

// listen opens a port.
func (n *virtualNet) listen(at netip.AddrPort) *virtualEar {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &virtualEar{net: n, at: at, queue: make(chan datagram, 4096), ended: make(chan struct{})}
	n.ears[at] = e
	return e
}

// bring sends a datagram as fate will have it.
func (n *virtualNet) bring(d datagram) {
	d.p = slices.Clone(d.p)
	n.mu.Lock()
	if d.from.Addr() == serverAddr {
		n.sent = append(n.sent, d)
	}
	arrivals := []time.Duration{0}
	if n.fate != nil {
		arrivals = n.fate(d)
	}
	n.mu.Unlock()
	for _, after := range arrivals {
		if after == 0 {
			n.deliver(d)
		} else {
			time.AfterFunc(after, func() { n.deliver(d) })
		}
	}
}

func (n *virtualNet) deliver(d datagram) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := n.ears[d.to]; e != nil {
		select {
		case e.queue <- d:
		default: // its buffer is full
		}
	}
}

// answers returns how many datagrams the server has sent.
func (n *virtualNet) answers() []datagram {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sent)
}

func (e *virtualEar) send(train []byte, size int) error {
	for p := range slices.Chunk(train, max(size, 1)) {
		e.net.bring(datagram{e.at, e.peer, p})
	}
	return nil
}

func (e *virtualEar) reply(p []byte, to netip.AddrPort) error {
	e.net.bring(datagram{e.at, to, p})
	return nil
}

func (e *virtualEar) receive(p []byte, wait time.Duration) (int, netip.AddrPort, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case d := <-e.queue:
		return copy(p, d.p), d.from, nil
	case <-timer.C:
		return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	case <-e.ended:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (e *virtualEar) end() { e.once.Do(func() { close(e.ended) }) }

func (e *virtualEar) close() error {
	e.end()
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	delete(e.net.ears, e.at)
	return nil
}

// A play is a server on a virtualNet.
type play struct {
	*virtualNet
	t      *testing.T
	server *Server
}

// perform runs a play with a server of these files. At its end all transfers
// must be over.
func perform(t *testing.T, files map[string][]byte, act func(p *play)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &play{virtualNet: newVirtualNet(), t: t, server: serveFiles(files)}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- p.server.serve(ctx, p.virtualNet) }()
		act(p)
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		if got := p.server.Stats().Active; got != 0 {
			t.Errorf("%d transfers are active after Serve, want 0", got)
		}
		for at := range p.ears {
			if at.Addr() == serverAddr {
				t.Errorf("port %v is open after Serve", at)
			}
		}
	})
}

func serveFiles(files map[string][]byte) *Server {
	return &Server{Files: func(_ context.Context, r Request) (File, error) {
		p, ok := files[r.Name]
		if !ok {
			return File{}, fmt.Errorf("%s: %w", r.Name, fs.ErrNotExist)
		}
		return File{ReaderAt: bytes.NewReader(p), Size: int64(len(p))}, nil
	}}
}

// want checks the counters, all but those of transfers that run.
func (p *play) want(want Stats) {
	p.t.Helper()
	synctest.Wait()
	got := p.server.Stats()
	got.Active, got.Bytes, want.Active, want.Bytes = 0, 0, 0, 0
	if got != want {
		p.t.Errorf("Stats = %+v, want %+v", got, want)
	}
}

// ask makes a request of strings: the name, the mode, names and values of options.
func ask(op opcode, words ...string) []byte {
	p := binary.BigEndian.AppendUint16(nil, uint16(op))
	for _, w := range words {
		p = append(append(p, w...), 0)
	}
	return p
}

func ack(block uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{0, byte(opAck)}, block)
}

// A client is a receiver by the book.
type client struct {
	*virtualEar
	options       []string // names and values
	block, window int
	agreed        []byte // the answer to the options
	acks          int    // acknowledgements that were sent
	buf           [2048]byte
}

func (p *play) client(i int, options ...string) *client {
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 2070)
	c := &client{virtualEar: p.listen(at), options: options, block: 512, window: 1}
	p.t.Cleanup(func() { c.close() })
	return c
}

// next waits for a datagram of the server for a second.
func (c *client) next() ([]byte, error) {
	n, from, err := c.receive(c.buf[:], time.Second)
	if err == nil && c.peer.IsValid() && from != c.peer {
		return c.next()
	}
	if err == nil {
		c.peer = from
	}
	return c.buf[:n], err
}

// fetch gets a file.
func (c *client) fetch(name string) ([]byte, error) {
	defer c.close()
	request := ask(opRead, append([]string{name, "octet"}, c.options...)...)
	c.net.request(c.at, request)
	var file []byte
	var got, due int
	lost := false
	for silence := 0; ; {
		p, err := c.next()
		if err != nil {
			if silence++; silence > 20 {
				return file, err
			}
			if got > 0 || c.agreed != nil {
				c.ack(got)
			} else {
				c.net.request(c.at, request)
			}
			due = 0
			continue
		}
		silence = 0
		switch op := opcode(binary.BigEndian.Uint16(p)); {
		case op == opOptions:
			if c.agreed == nil {
				c.accept(p)
			}
			c.ack(got)
		case op != opData:
			return file, fmt.Errorf("answer %q", p)
		case binary.BigEndian.Uint16(p[2:]) != uint16(got+1):
			if !lost && c.window > 1 {
				c.ack(got)
				due, lost = 0, true
			} else if c.window == 1 && binary.BigEndian.Uint16(p[2:]) == uint16(got) {
				c.ack(got) // it seems that our acknowledgement was lost
			}
		default:
			file, got, lost = append(file, p[4:]...), got+1, false
			if due++; due >= c.window || len(p)-4 < c.block {
				c.ack(got)
				due = 0
			}
			if len(p)-4 < c.block {
				return file, nil
			}
		}
	}
}

func (c *client) ack(block int) {
	c.acks++
	c.net.bring(datagram{c.at, c.peer, ack(uint16(block))})
}

// accept takes the answer to the options.
func (c *client) accept(p []byte) {
	c.agreed = slices.Clone(p[2:])
	for _, o := range parseOptions(p[2:]) {
		switch o.name {
		case blockSize:
			c.block = int(o.value)
		case windowSize:
			c.window = int(o.value)
		}
	}
}
