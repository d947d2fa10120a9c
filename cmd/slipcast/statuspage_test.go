package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"slipcast/multicast"
)

// testPage returns a page of the room, hostile names included.
func testPage(state multicast.State) *statusPage {
	return newStatusPage(func() multicast.Status { return plainStatus(room(state)) })
}

func ask(p *statusPage, method, path string) *http.Response {
	w := httptest.NewRecorder()
	p.handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Result()
}

func TestStatusPage(t *testing.T) {
	p := testPage(multicast.Sending)
	for _, tt := range []struct {
		method, path string
		code         int
		kind         string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/status", 200, "application/json"},
		{"GET", "/nothing", 404, "text/plain; charset=utf-8"},
		{"GET", "/status/", 404, "text/plain; charset=utf-8"},
		{"POST", "/status", 405, "text/plain; charset=utf-8"},
		{"HEAD", "/", 405, "text/plain; charset=utf-8"},
		{"DELETE", "/nothing", 405, "text/plain; charset=utf-8"},
	} {
		r := ask(p, tt.method, tt.path)
		if got := r.Header.Get("Content-Type"); r.StatusCode != tt.code || got != tt.kind {
			t.Errorf("%s %s = %d, %s; want %d, %s", tt.method, tt.path, r.StatusCode, got, tt.code, tt.kind)
		}
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		} {
			if got := r.Header.Get(header); got != want {
				t.Errorf("%s %s: %s is %q, want %q", tt.method, tt.path, header, got, want)
			}
		}
		if csp := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s %s: policy %q", tt.method, tt.path, csp)
		}
	}
}

// The page needs nothing from elsewhere and writes no markup from data.
func TestStatusPageIsClosed(t *testing.T) {
	for _, bad := range []string{"http://", "https://", "src=", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", " style=", " onclick"} {
		if strings.Contains(statusHTML, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, element := range []string{"style", "script"} {
		if n := strings.Count(statusHTML, "<"+element); n != 1 || !strings.Contains(statusHTML, "<"+element+">") {
			t.Errorf("%d elements %s, want one without attributes, for its hash", n, element)
		}
	}
}

func TestStatusPageObject(t *testing.T) {
	text, err := io.ReadAll(ask(testPage(multicast.Waiting), "GET", "/status").Body)
	if err != nil {
		t.Fatal(err)
	}
	if kind, err := checkObject(string(text)); kind != "receivers" || err != nil {
		t.Errorf("%s: type %q, %v", text, kind, err)
	}
	if strings.ContainsAny(string(text), "\x1b\u202e<>") {
		t.Errorf("what a receiver calls itself gets through: %s", text)
	}
}

// listening returns a page that serves, and how to end its session.
func listening(t *testing.T, status func() multicast.Status) (p *statusPage, end func() error) {
	t.Helper()
	p, err := openStatusPage("127.0.0.1:0", status)
	if err != nil {
		t.Fatal(err)
	}
	ended, served := make(chan struct{}), make(chan error, 1)
	go func() { served <- p.serve(ended) }()
	return p, func() error {
		close(ended)
		return <-served
	}
}

// The events begin at once and end with the session, and so does the server.
func TestStatusPageEvents(t *testing.T) {
	p, end := listening(t, func() multicast.Status { return plainStatus(room(multicast.Sending)) })
	r, err := http.Get(p.url() + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if got := r.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	events := bufio.NewReader(r.Body)
	wantEvent(t, events, "status")
	if err := end(); err != nil {
		t.Errorf("serve = %v", err)
	}
	rest, err := io.ReadAll(events)
	if err != nil {
		t.Errorf("the stream ends with %v", err)
	}
	_, last, found := strings.Cut(string(rest), "event: end\n")
	if !found {
		t.Fatalf("no end in %q", rest)
	}
	wantData(t, strings.TrimSpace(last))
	if _, err := http.Get(p.url()); err == nil {
		t.Error("the page is still there")
	}
}

func wantEvent(t *testing.T, r *bufio.Reader, kind string) {
	t.Helper()
	name, err := r.ReadString('\n')
	if err != nil || name != "event: "+kind+"\n" {
		t.Fatalf("got %q, %v; want event %s", name, err, kind)
	}
	data, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	wantData(t, strings.TrimSpace(data))
}

func wantData(t *testing.T, line string) {
	t.Helper()
	text, found := strings.CutPrefix(line, "data: ")
	if !found || !json.Valid([]byte(text)) {
		t.Errorf("got %q, want data", line)
	}
}

// Those who look on have no more than so many connections, and a browser that
// goes makes room.
func TestStatusPageBound(t *testing.T) {
	p, end := listening(t, func() multicast.Status { return multicast.Status{} })
	var dialer net.Dialer
	dial := func(ctx context.Context) net.Conn {
		conn, err := dialer.DialContext(ctx, "tcp", p.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	var open []net.Conn
	for range pageConns {
		open = append(open, dial(t.Context()))
	}
	extra := dial(t.Context())
	if n, err := extra.Read(make([]byte, 1)); err == nil {
		t.Errorf("one connection too many reads %d bytes, want it closed", n)
	}
	extra.Close()
	for _, conn := range open {
		conn.Close()
	}
	for { // the server learns of it in its own time
		r, err := http.Get(p.url() + "status")
		if err == nil {
			r.Body.Close()
			break
		}
	}
	if err := end(); err != nil {
		t.Errorf("serve = %v", err)
	}
}

func TestStatusPageAddress(t *testing.T) {
	if _, err := openStatusPage("nowhere.invalid:http:1", nil); err == nil || !strings.HasPrefix(err.Error(), "--status: ") {
		t.Errorf("got %v, want an error of --status", err)
	}
}
