package multicast

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A testPort is a control port that is served. Its control channels say
// CLOSE to HELLO.
type testPort struct {
	addr        netip.AddrPort
	fingerprint []byte
	stop        func() error
}

func newTestPort(t testing.TB, https http.Handler) *testPort {
	t.Helper()
	checkLeaks(t)
	cert, fingerprint := newTestIdentity(t)
	ln, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &controlServer{TLS: serverTLS(cert), Log: slog.New(slog.DiscardHandler), Control: closeAtOnce, HTTPS: https}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx, ln) }()
	stop := func() error { cancel(); return <-done }
	p := &testPort{netip.MustParseAddrPort(ln.Addr().String()), fingerprint, nil}
	stopped := false
	p.stop = func() error { stopped = true; return stop() }
	t.Cleanup(func() {
		if !stopped {
			if err := stop(); err != nil {
				t.Errorf("serve = %v", err)
			}
		}
	})
	return p
}

// closeAtOnce answers HELLO with CLOSE.
func closeAtOnce(ctx context.Context, conn *tls.Conn) {
	c := newControl(conn, fromReceiver)
	c.run(ctx, func(m message) error {
		if _, ok := m.(hello); ok {
			admit(ctx)
			return c.send(closing{})
		}
		return nil
	})
}

// dial connects like a receiver.
func (p *testPort) dial(t testing.TB, alpn string) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", p.addr.String(), clientTLS(p.fingerprint, alpn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func TestListen(t *testing.T) {
	first, err := listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := listen("")
	if err != nil {
		t.Fatalf("listening a second time: %v", err)
	}
	defer second.Close()
	if a, b := first.Addr().String(), second.Addr().String(); a == b {
		t.Errorf("both listen on %s", a)
	}
	if third, err := listen(first.Addr().String()); err == nil {
		third.Close()
		t.Errorf("listening on %v works twice", first.Addr())
	}
}

// TestControlServer has both protocols on one port.
func TestControlServer(t *testing.T) {
	p := newTestPort(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	conn, err := dialControl(withTimeout(t), connectTCP, p.addr, p.fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	c := newControl(conn, fromSender)
	errOver := errors.New("over")
	receiver := start(withTimeout(t), c, func(message) error { return errOver })
	sendAll(t, c, helloForTest)
	if err := <-receiver.done; err != errOver || names(receiver.got) != "closing" {
		t.Errorf("control channel: %v, messages %s, want closing", err, names(receiver.got))
	}

	web := p.dial(t, alpnHTTPS)
	for _, path := range []string{"/a", "/b"} { // on one connection
		fmt.Fprintf(web, "GET %s HTTP/1.1\r\nHost: sender\r\n\r\n", path)
		resp, err := http.ReadResponse(bufio.NewReader(web), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != path {
			t.Errorf("answer %q, want %q", body, path)
		}
	}
}

// TestControlServerStop stops with connections of all kinds open.
func TestControlServerStop(t *testing.T) {
	entered := make(chan struct{})
	p := newTestPort(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	raw, err := net.Dial("tcp", p.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	p.dial(t, alpnControl)
	p.dial(t, alpnHTTPS)
	fmt.Fprintf(p.dial(t, alpnHTTPS), "GET / HTTP/1.1\r\nHost: sender\r\n\r\n")
	<-entered
	if err := p.stop(); err != nil {
		t.Errorf("serve = %v, want nil", err)
	}
	if _, err := net.Dial("tcp", p.addr.String()); err == nil {
		t.Error("the port still listens")
	}
}

// TestControlServerStrangers connects with what is neither protocol.
func TestControlServerStrangers(t *testing.T) {
	p := newTestPort(t, http.NotFoundHandler())
	other := clientTLS(nil, alpnControl)
	other.NextProtos = []string{"smtp"}
	if conn, err := tls.Dial("tcp", p.addr.String(), other); err == nil {
		conn.Close()
		t.Error("a protocol that the port does not speak is accepted")
	}
	none := clientTLS(nil, "")
	none.NextProtos = nil
	if conn, err := tls.Dial("tcp", p.addr.String(), none); err == nil {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("without a protocol, %d bytes came", n)
		}
		conn.Close()
	}
	raw, err := net.Dial("tcp", p.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	fmt.Fprint(raw, "GET / HTTP/1.1\r\n\r\n")
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, raw); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection without TLS is kept")
	}
}

// A pipeListener accepts pipes, for a control port in virtual time.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// TestControlServerGuests fills the port with connections that say nothing:
// each goes after five seconds, and those from one address that are too many
// at once.
func TestControlServerGuests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, _ := newTestIdentity(t)
		s := &controlServer{TLS: serverTLS(cert), Log: slog.New(slog.DiscardHandler), Control: closeAtOnce, HTTPS: http.NotFoundHandler()}
		ln := &pipeListener{make(chan net.Conn), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.serve(ctx, ln) }()
		began := time.Now()
		lived := make(chan time.Duration)
		for range maxGuestsEach + 1 {
			near, far := net.Pipe()
			ln.conns <- far
			go func() {
				near.Read(make([]byte, 1))
				lived <- time.Since(began)
			}()
		}
		if got := <-lived; got != 0 {
			t.Errorf("the first one that is closed is so after %v, want at once", got)
		}
		for range maxGuestsEach {
			if got := <-lived; got != handshakeTime {
				t.Errorf("a connection without a handshake lives for %v, want %v", got, handshakeTime)
			}
		}
		synctest.Wait()
		if n := len(s.guests.room) + len(s.guests.each); n != 0 {
			t.Errorf("%d guests are left in the book", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve = %v", err)
		}
	})
}

// TestGuestBook fills the book from many addresses.
func TestGuestBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newGuestBook()
		var all []*guest
		for i := range maxGuests {
			all = append(all, b.enter(t.Context(), &net.TCPAddr{IP: net.IPv4(10, 0, byte(i>>4), 1)}))
		}
		entered := make(chan *guest)
		go func() { entered <- b.enter(t.Context(), &net.TCPAddr{IP: net.IPv4(10, 1, 0, 1)}) }()
		synctest.Wait()
		select {
		case g := <-entered:
			t.Fatalf("guest %d enters: %v", maxGuests+1, g)
		default:
		}
		all[0].leave()
		all[0].leave() // once is enough
		last := <-entered
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if g := b.enter(ctx, &net.TCPAddr{IP: net.IPv4(10, 1, 0, 1)}); g != nil {
			t.Error("a guest enters a full book when the context has ended")
		}
		last.leave()
		for _, g := range all {
			g.leave()
		}
		if len(b.room) != 0 || len(b.each) != 0 {
			t.Errorf("%d guests and %d addresses are left", len(b.room), len(b.each))
		}
	})
}
