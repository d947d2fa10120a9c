package multicast

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Bounds of the control port.
const (
	handshakeTime = 5 * time.Second
	requestTime   = 5 * time.Second  // for the header of a request
	answerTime    = 10 * time.Second // to write an answer that is no frame
	idleTime      = 60 * time.Second // between two requests
	maxGuests     = 256              // at a time
	maxGuestsEach = 64               // from one address
	maxHeader     = 4 << 10          // bytes of a request
)

// controlPort is the TCP port of the control channel and the UDP port of
// announcements.
const controlPort = "7780"

// listen listens on addr, or on port 7780 of all addresses if it is empty, and
// on any port if that one is taken.
func listen(addr string) (net.Listener, error) {
	if addr != "" {
		return net.Listen("tcp", addr)
	}
	ln, err := net.Listen("tcp", ":"+controlPort)
	if errors.Is(err, syscall.EADDRINUSE) {
		return net.Listen("tcp", ":0")
	}
	return ln, err
}

// A controlServer serves the control port: control channels and HTTPS, which
// ALPN tells apart. Set its fields, then call serve, once.
type controlServer struct {
	TLS *tls.Config
	Log *slog.Logger

	// Control is called for each control channel, in a goroutine of its own,
	// after the handshake, and returns when its context has ended. It calls
	// [admit] with that once the peer belongs to the session.
	Control func(ctx context.Context, conn *tls.Conn)

	// HTTPS serves requests. It calls [admit] with their contexts, too.
	HTTPS http.Handler

	guests  *guestBook
	https   chan net.Conn
	running sync.WaitGroup
}

// serve serves what comes on ln until ctx ends, which is no error, or ln
// breaks. It closes ln and returns when all goroutines have ended.
func (s *controlServer) serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	s.guests = newGuestBook()
	s.https = make(chan net.Conn)
	s.running.Go(func() { <-ctx.Done(); ln.Close() })
	s.running.Go(func() { s.serveHTTPS(ctx, ln.Addr()) })
	err := s.accept(ctx, ln)
	cancel()
	s.running.Wait()
	return err
}

// accept takes connections until ctx ends. While there are too many guests, the
// others wait in the kernel's queue.
func (s *controlServer) accept(ctx context.Context, ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) {
			pause(ctx, 100*time.Millisecond) // others may close some
			continue
		}
		if err != nil {
			return err
		}
		g := s.guests.enter(ctx, conn.RemoteAddr())
		if g == nil {
			conn.Close()
			continue
		}
		s.running.Go(func() { s.welcome(ctx, conn, g) })
	}
}

// welcome makes the handshake and hands the connection to whom it is for.
func (s *controlServer) welcome(ctx context.Context, raw net.Conn, g *guest) {
	conn := tls.Server(raw, s.TLS)
	hctx, cancel := context.WithTimeout(ctx, handshakeTime)
	err := conn.HandshakeContext(hctx)
	cancel()
	protocol := conn.ConnectionState().NegotiatedProtocol
	if err == nil && protocol == alpnHTTPS {
		select {
		case s.https <- &webConn{Conn: conn, guest: g}:
			return // it is the web server's now
		case <-ctx.Done():
		}
	}
	if err == nil && protocol == alpnControl {
		s.Control(context.WithValue(ctx, guestKey{}, g), conn)
	}
	g.leave()
	raw.Close()
}

// serveHTTPS runs the web server until ctx ends.
func (s *controlServer) serveHTTPS(ctx context.Context, addr net.Addr) {
	web := &http.Server{
		Handler:           s.HTTPS,
		ReadHeaderTimeout: requestTime,
		WriteTimeout:      answerTime, // but for frames
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, guestKey{}, conn.(*webConn).guest)
		},
		ConnState: s.countHTTPS,
	}
	web.Serve(&webListener{ctx: ctx, conns: s.https, addr: addr}) // its error is that ctx has ended
	web.Close()
}

// countHTTPS counts the goroutines of the web server, which does not wait for
// them by itself.
func (s *controlServer) countHTTPS(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.running.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.running.Done()
	}
}

// A webConn is a connection of a guest to the web server.
type webConn struct {
	*tls.Conn
	guest *guest
}

func (c *webConn) Close() error {
	c.guest.leave()
	return c.Conn.Close()
}

// A webListener gives the web server its connections until ctx ends.
type webListener struct {
	ctx   context.Context
	conns chan net.Conn
	addr  net.Addr
}

func (l *webListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *webListener) Close() error   { return nil }
func (l *webListener) Addr() net.Addr { return l.addr }

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
