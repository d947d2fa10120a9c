package multicast

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A virtualNet is a network in memory, for one session at a time. In a bubble
// of synctest its time is virtual.
type virtualNet struct {
	mtu   int
	sent  int                   // datagrams
	forge func(p []byte) []byte // what else is sent, after each train
	mu    sync.Mutex
	door  *virtualListener // nil while nobody listens
	ears  []*virtualIn
	wires []net.Conn // of the senders
}

func newVirtualNet() *virtualNet { return &virtualNet{mtu: 1500} }

// ports returns a machine's view of the network. lose tells whether the next
// datagram is lost on its way to it; nil is never.
func (n *virtualNet) ports(lose func() bool) *ports {
	return &ports{
		pick: func(string, netip.Addr) (*net.Interface, error) {
			return &net.Interface{Index: 1, Name: "virtual0", MTU: n.mtu}, nil
		},
		beacon: func(string, netip.Addr) (*beacon, error) { return nil, errors.New("no announcements here") },
		listen: func(string) (net.Listener, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.door = &virtualListener{n: n, conns: make(chan net.Conn), closed: make(chan struct{})}
			return n.door, nil
		},
		connect: n.connect,
		send:    func(o senderOptions) (dataOut, error) { return &virtualOut{n, o.Group}, nil },
		receive: func(o receiverOptions) (dataIn, error) {
			in := &virtualIn{n: n, group: o.Group, lose: lose, queue: make(chan []byte, 4096), closed: make(chan struct{})}
			n.mu.Lock()
			defer n.mu.Unlock()
			n.ears = append(n.ears, in)
			return in, nil
		},
	}
}

func (n *virtualNet) connect(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	door := n.door
	n.mu.Unlock()
	if door == nil {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	select {
	case door.conns <- far:
		n.mu.Lock()
		defer n.mu.Unlock()
		n.wires = append(n.wires, far)
		return near, nil
	case <-door.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// cut cuts all connections.
func (n *virtualNet) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.wires {
		c.Close()
	}
	n.wires = nil
}

type virtualListener struct {
	n      *virtualNet
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *virtualListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *virtualListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.n.mu.Lock()
		defer l.n.mu.Unlock()
		if l.n.door == l {
			l.n.door = nil
		}
	})
	return nil
}

func (l *virtualListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7780} }

type virtualOut struct {
	n     *virtualNet
	group netip.AddrPort
}

func (o *virtualOut) send(train []byte, size int) error {
	o.n.mu.Lock()
	defer o.n.mu.Unlock()
	for p := range slices.Chunk(train, size) {
		o.n.sent++
		o.n.spread(o.group, p)
		if o.n.forge != nil {
			if p := o.n.forge(slices.Clone(p)); p != nil {
				o.n.spread(o.group, p)
			}
		}
	}
	return nil
}

// spread brings a datagram to all who listen. n.mu is held.
func (n *virtualNet) spread(group netip.AddrPort, p []byte) {
	for _, in := range n.ears {
		if in.group != group || in.lose != nil && in.lose() {
			continue
		}
		select {
		case in.queue <- slices.Clone(p):
		default: // its buffer is full
		}
	}
}

func (o *virtualOut) offload() string { return offloadSingle }
func (o *virtualOut) close() error    { return nil }

type virtualIn struct {
	n      *virtualNet
	group  netip.AddrPort
	lose   func() bool
	queue  chan []byte
	closed chan struct{}
	once   sync.Once
}

func (in *virtualIn) receive(each func(p []byte)) error {
	select {
	case p := <-in.queue:
		each(p)
		return nil
	case <-in.closed:
		return net.ErrClosed
	}
}

func (in *virtualIn) close() error {
	in.once.Do(func() {
		close(in.closed)
		in.n.mu.Lock()
		defer in.n.mu.Unlock()
		in.n.ears = slices.DeleteFunc(in.n.ears, func(o *virtualIn) bool { return o == in })
	})
	return nil
}

func (in *virtualIn) rejoin() error   { return nil }
func (in *virtualIn) buffer() int     { return 0 }
func (in *virtualIn) offload() string { return offloadSingle }

// A play is a session on a virtualNet with its receivers.
type play struct {
	t       *testing.T
	net     *virtualNet
	source  *testSource
	sender  *Sender
	served  chan error
	stop    context.CancelFunc
	players []*player
}

// A player is a receiver of a play.
type player struct {
	*Receiver
	sink     *testSink
	ended    chan struct{}
	progress Progress
	err      error
	kill     context.CancelFunc
	began    time.Time
	took     time.Duration
	watched  []Progress
}

func newPlay(t *testing.T, source *testSource) *play {
	return &play{t: t, net: newVirtualNet(), source: source}
}

// serve starts a sender of the source, which set may change.
func (p *play) serve(set func(s *Sender)) {
	p.sender = &Sender{
		Source: p.source, Name: "room", Digest: []byte("digest"), Interface: "lo", Rate: 100e6,
		Settle: 100 * time.Millisecond, Log: testLog(p.t), ports: p.net.ports(nil),
	}
	if set != nil {
		set(p.sender)
	}
	up := make(chan struct{})
	p.sender.Up = func(Address) { close(up) }
	p.served = make(chan error, 1)
	ctx, cancel := context.WithCancel(p.t.Context())
	p.stop = cancel
	go func() { p.served <- p.sender.Serve(ctx) }()
	select {
	case <-up:
	case err := <-p.served:
		p.served <- err
	}
}

// join starts a receiver, which set may change.
func (p *play) join(set func(r *Receiver, sink *testSink)) *player {
	s := &player{sink: &testSink{want: p.source}, ended: make(chan struct{}), began: time.Now()}
	id := fmt.Sprint(len(p.players))
	s.Receiver = &Receiver{Sink: s.sink, From: "10.0.0.1:7780", ID: id, Name: "pc" + id, Log: testLog(p.t), Workers: 2, ports: p.net.ports(nil)}
	if set != nil {
		set(s.Receiver, s.sink)
	}
	s.Watch = func(now Progress) {
		if n := len(s.watched); n == 0 || s.watched[n-1].State != now.State || s.watched[n-1].Waiting != now.Waiting {
			s.watched = append(s.watched, now)
		}
	}
	p.players = append(p.players, s)
	ctx, cancel := context.WithCancel(p.t.Context())
	s.kill = cancel
	go func() {
		defer close(s.ended)
		s.progress, s.err = s.Run(ctx)
		s.took = time.Since(s.began)
	}()
	return s
}

// done waits until all receivers are done, and the sender, and checks what they
// have got. It returns what Serve did.
func (p *play) done() error {
	p.t.Helper()
	for _, s := range p.players {
		s.done(p.t)
	}
	return p.end()
}

// end waits for the sender.
func (p *play) end() error {
	p.t.Helper()
	select {
	case err := <-p.served:
		p.stop()
		if incomplete := (*IncompleteError)(nil); errors.As(err, &incomplete) {
			p.t.Logf("failed: %+v", incomplete.Failed)
		}
		return err
	case <-time.After(24 * time.Hour):
		p.t.Fatalf("the sender has not ended; its status is %+v", p.sender.Status())
		return nil
	}
}

// done waits until a receiver is done, and checks what it has got.
func (s *player) done(t *testing.T) {
	t.Helper()
	if err := s.wait(t); err != nil {
		t.Errorf("receiver %s: %v", s.ID, err)
	}
	s.sink.check(t)
	if s.progress.State != Done {
		t.Errorf("receiver %s ends in state %s, want done", s.ID, s.progress.State)
	}
}

// wait waits until a receiver ends.
func (s *player) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-s.ended:
		s.kill()
		return s.err
	case <-time.After(24 * time.Hour):
		t.Fatalf("receiver %s has not ended", s.ID)
		return nil
	}
}

// virtually runs a test in virtual time.
func virtually(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

func TestVirtual(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, newTestSource(1, append(equalFrames(16, 1<<18), 1, 1440, 1441)...))
		p.serve(nil)
		for range 3 {
			p.join(nil)
		}
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}
