package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"slipcast/fleet"
	"slipcast/multicast"
)

//go:embed statuspage.html
var statusHTML string

const (
	// pageConns is how many connections there are at a time, those that follow
	// the events included. A room of people looks on, not the world.
	pageConns = 128

	// pagePatience is how long a browser may take to send a request, or to
	// take an answer or an event.
	pagePatience = 10 * time.Second

	// pageFarewell is how long the page stays for browsers to learn how the
	// session ended.
	pageFarewell = 2 * time.Second
)

// A statusPage shows a session to browsers. It is read-only.
type statusPage struct {
	status   func() multicast.Status // plain
	listener net.Listener
	ended    chan struct{} // closed with the session
	csp      string
}

// openStatusPage listens at addr.
func openStatusPage(addr string, status func() multicast.Status) (*statusPage, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--status: %w", err)
	}
	p := newStatusPage(status)
	p.listener = &boundedListener{l, make(chan struct{}, pageConns)}
	return p, nil
}

func newStatusPage(status func() multicast.Status) *statusPage {
	return &statusPage{status: status, ended: make(chan struct{}), csp: fleet.ContentPolicy(statusHTML)}
}

// url returns where the page is.
func (p *statusPage) url() string {
	addr := p.listener.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = hostName()
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port)) + "/"
}

// serve answers browsers until the session has ended.
func (p *statusPage) serve(ended <-chan struct{}) error {
	server := &http.Server{
		Handler: p.handler(), ReadTimeout: pagePatience, IdleTimeout: 3 * pagePatience, MaxHeaderBytes: 16 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(p.listener) }() // awaited below
	select {
	case err := <-failed:
		return fmt.Errorf("status page: %w", err)
	case <-ended:
	}
	close(p.ended)
	ctx, cancel := context.WithTimeout(context.Background(), pageFarewell)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		server.Close()
	}
	<-failed
	return nil
}

// handler returns what answers requests.
func (p *statusPage) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.servePage)
	mux.HandleFunc("GET /status", p.serveStatus)
	mux.HandleFunc("GET /events", p.serveEvents)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", p.csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pagePatience)) // recorders of tests have none
		if r.Method != http.MethodGet {
			h.Set("Allow", http.MethodGet)
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (p *statusPage) servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, statusHTML) // a browser that has gone needs nothing
}

func (p *statusPage) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "%s\n", p.object())
}

// serveEvents sends the status once a second, and at the end of the session.
func (p *statusPage) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for kind := "status"; ; {
		control.SetWriteDeadline(time.Now().Add(pagePatience))
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, p.object()); err != nil {
			return
		}
		if control.Flush() != nil || kind == "end" {
			return
		}
		select {
		case <-tick.C:
		case <-p.ended:
			kind = "end"
		case <-r.Context().Done():
			return
		}
	}
}

// object returns the status as JSON.
func (p *statusPage) object() []byte {
	text, err := json.Marshal(statusObject(p.status()))
	if err != nil {
		panic(err) // all values are strings, finite numbers, and lists of them
	}
	return text
}

// A boundedListener has at most as many connections as there is room in open;
// it closes the others.
type boundedListener struct {
	net.Listener
	open chan struct{}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.open <- struct{}{}:
			return &boundedConn{Conn: conn, open: l.open}, nil
		default:
			conn.Close()
		}
	}
}

type boundedConn struct {
	net.Conn
	open chan struct{}
	once sync.Once
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.once.Do(func() { <-c.open })
	return c.Conn.Close()
}
