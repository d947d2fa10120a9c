package multicast

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"
)

// newRealPlay is a play on the loopback interface and the sockets of the
// kernel.
func newRealPlay(t *testing.T) *realPlay {
	checkLeaks(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return &realPlay{t: t, ctx: ctx, source: newTestSource(1, equalFrames(60, 1<<18)...)}
}

type realPlay struct {
	t      *testing.T
	ctx    context.Context
	source *testSource
}

// serve starts a sender that listens on an address, and waits until it is up.
func (p *realPlay) serve(listen string, set func(s *Sender)) (Address, func() error, context.CancelFunc) {
	p.t.Helper()
	s := &Sender{
		Source: p.source, Name: "room", Digest: []byte("digest"), Interface: "lo", Listen: listen, Rate: 200e6,
		Settle: 50 * time.Millisecond, Log: testLog(p.t),
	}
	if set != nil {
		set(s)
	}
	up := make(chan Address, 1)
	s.Up = func(a Address) { up <- a }
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(p.ctx)
	go func() { served <- s.Serve(ctx) }()
	select {
	case a := <-up:
		return a, func() error { defer cancel(); return <-served }, cancel
	case err := <-served:
		cancel()
		p.t.Fatal(err)
		return Address{}, nil, nil
	}
}

// join starts a receiver; the func that is returned waits until it ends.
func (p *realPlay) join(from, id string, set func(r *Receiver, sink *testSink)) func() (Progress, error) {
	sink := &testSink{want: p.source}
	r := &Receiver{Sink: sink, From: from, Interface: "lo", ID: id, Name: id, Log: testLog(p.t)}
	if set != nil {
		set(r, sink)
	}
	ended := make(chan struct{})
	var progress Progress
	var err error
	go func() {
		defer close(ended)
		progress, err = r.Run(p.ctx)
	}()
	return func() (Progress, error) {
		<-ended
		if err == nil {
			sink.check(p.t)
		}
		return progress, err
	}
}

// A sender starts again on its port.
func TestLoopbackStartsAgain(t *testing.T) {
	p := newRealPlay(t)
	a, served, stop := p.serve("127.0.0.1:0", func(s *Sender) { s.Wait = 2 })
	half := newMoment(60)
	set := func(_ *Receiver, sink *testSink) { sink.put = half.put }
	one, two := p.join(a.Control.String(), "1", set), p.join(a.Control.String(), "2", set)
	<-half.come
	stop()
	if err := served(); !errors.Is(err, context.Canceled) {
		t.Errorf("Serve = %v, want that it was cancelled", err)
	}
	_, served, _ = p.serve(a.Control.String(), func(s *Sender) { s.Wait = 2 })
	for _, wait := range []func() (Progress, error){one, two} {
		if _, err := wait(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}
	if err := served(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	if n := half.frames.Load(); n != 120 {
		t.Errorf("%d frames were put, want 120", n)
	}
}

// A proxy carries TCP connections to an address.
type proxy struct {
	ln      net.Listener
	to      string
	wrap    func(net.Conn) net.Conn // the side of those who connect; nil for nothing
	running sync.WaitGroup
	mu      sync.Mutex
	conns   []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, to: to}
	t.Cleanup(func() { ln.Close(); p.cut(); p.running.Wait() })
	p.running.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.carry(near) })
		}
	})
	return p
}

func (p *proxy) carry(near net.Conn) {
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		near.Close()
		return
	}
	p.mu.Lock()
	p.conns = append(p.conns, near, far)
	p.mu.Unlock()
	if p.wrap != nil {
		near, far = p.wrap(near), p.wrap(far)
	}
	p.running.Go(func() { io.Copy(far, near); far.Close() })
	io.Copy(near, far)
	near.Close()
}

// cut cuts all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// Control connections break; the session goes on.
func TestLoopbackCut(t *testing.T) {
	p := newRealPlay(t)
	a, served, _ := p.serve("127.0.0.1:0", nil)
	between := newProxy(t, a.Control.String())
	quarter, half := newMoment(15), newMoment(30)
	wait := p.join(between.ln.Addr().String(), "1", func(_ *Receiver, sink *testSink) {
		sink.put = func(n int) error { quarter.put(n); return half.put(n) }
	})
	<-quarter.come
	between.cut()
	<-half.come
	between.cut()
	if _, err := wait(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if err := served(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

// Someone in the middle of the connection, with a certificate of their own, is
// found out by the key.
func TestLoopbackMiddle(t *testing.T) {
	const key = "correct horse battery"
	p := newRealPlay(t)
	a, served, stop := p.serve("127.0.0.1:0", func(s *Sender) { s.Key = key })
	cert, _ := newTestIdentity(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var relaying sync.WaitGroup
	ctx, cancel := context.WithCancel(p.ctx)
	server := &controlServer{TLS: serverTLS(cert), Log: slog.New(slog.DiscardHandler), Control: func(ctx context.Context, near *tls.Conn) {
		far, err := dialControl(ctx, connectTCP, a.Control, nil)
		if err != nil {
			t.Error(err)
			return
		}
		relaying.Go(func() { io.Copy(far, near); far.Close() })
		io.Copy(near, far)
	}}
	relaying.Go(func() { server.serve(ctx, ln) })
	_, err = p.join(ln.Addr().String(), "1", func(r *Receiver, _ *testSink) { r.Key = key })()
	if !errors.Is(err, ErrDropped) && !errors.Is(err, ErrRefused) {
		t.Errorf("Run = %v, want that it is refused", err)
	}
	cancel()
	stop()
	served()
	relaying.Wait()
}

// Datagrams that another socket sends to the group, with and without a right
// header, are dropped and counted.
func TestLoopbackForged(t *testing.T) {
	p := newRealPlay(t)
	a, served, _ := p.serve("127.0.0.1:0", func(s *Sender) { s.Wait = 1 })
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	out, err := newDataSender(senderOptions{Interface: lo, Group: a.Group, Hops: 1, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer out.close()
	forge := func(n int) error {
		q := header{kind: kindData, sequence: uint32(n), frame: uint32(n), tag: uint16(a.Session)}.append(nil)
		for _, size := range []int{datagramSize(maxSymbol), datagramSize(maxSymbol) - 1, headerSize, 1} {
			p := make([]byte, size)
			copy(p, q)
			if err := out.send(p, size); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	progress, err := p.join(a.Control.String(), "1", func(_ *Receiver, sink *testSink) { sink.put = forge })()
	if err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if progress.Dropped < 100 {
		t.Errorf("%d datagrams were dropped, want 240 less the last ones", progress.Dropped)
	}
	if err := served(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

// A session is found by its name. Of two with one name, neither is taken.
func TestLoopbackByName(t *testing.T) {
	p := newRealPlay(t)
	one, two := rand.Text(), rand.Text()
	_, served, _ := p.serve("127.0.0.1:0", func(s *Sender) { s.Name = one })
	for range 2 {
		_, served, stop := p.serve("127.0.0.1:0", func(s *Sender) { s.Name = two })
		defer served()
		defer stop()
	}
	if _, err := p.join("", "1", func(r *Receiver, _ *testSink) { r.Session = one })(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if err := served(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	if _, err := p.join("", "2", func(r *Receiver, _ *testSink) { r.Session = two })(); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("Run = %v, want ErrAmbiguous", err)
	}
}
