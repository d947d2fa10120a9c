package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// someBytes returns n bytes that differ from place to place.
func someBytes(n int) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{7})
	rng.Read(p)
	return p
}

// files serves one file, with ranges and an ETag, after spoil, which may answer
// in another way and then returns true.
func files(p []byte, spoil func(w http.ResponseWriter, r *http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if spoil != nil && spoil(w, r) {
			return
		}
		if w.Header().Get("ETag") == "" {
			w.Header().Set("ETag", `"one"`)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p))
	})
}

// openTest opens the file of a test server.
func openTest(t *testing.T, s *httptest.Server, token string) (*remoteFile, error) {
	t.Helper()
	var pin []byte
	if c := s.Certificate(); c != nil {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		pin = sum[:]
	}
	f, err := newRemote(t.Context(), s.URL+"/disk.img.zst", token, remoteTransport(pin))
	if err == nil {
		t.Cleanup(func() { f.Close() })
	}
	return f, err
}

func mustOpenTest(t *testing.T, h http.Handler) *remoteFile {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	f, err := openTest(t, s, "")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Whatever is read in whatever order by however many, it is what the server has.
func TestRemoteReadAt(t *testing.T) {
	want := someBytes(3*aheadBlock + 12345)
	f := mustOpenTest(t, files(want, nil))
	if f.Size() != int64(len(want)) {
		t.Fatalf("size %d, want %d", f.Size(), len(want))
	}
	var next atomic.Int64
	var group sync.WaitGroup
	const step = 300_007
	for range 4 {
		group.Go(func() {
			for {
				at := next.Add(step) - step
				if at >= int64(len(want)) {
					return
				}
				checkRead(t, f, want, at, step)
			}
		})
	}
	group.Wait()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		checkRead(t, f, want, rng.Int64N(int64(len(want))), 1+rng.IntN(2*step))
	}
	checkRead(t, f, want, int64(len(want))-1, 10)
	if n, err := f.ReadAt(make([]byte, 1), int64(len(want))); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v, want EOF", n, err)
	}
	if got := len(f.ahead.blocks); got > aheadKept {
		t.Errorf("%d blocks are in memory, want at most %d", got, aheadKept)
	}
}

// checkRead reads n bytes at off, or as many as there are.
func checkRead(t *testing.T, f io.ReaderAt, want []byte, off int64, n int) {
	t.Helper()
	p := make([]byte, n)
	piece := want[off:min(int(off)+n, len(want))]
	got, err := f.ReadAt(p, off)
	if (err != nil && err != io.EOF) || got != len(piece) || !bytes.Equal(p[:got], piece) {
		t.Errorf("ReadAt(%d bytes at %d) = %d, %v, want %d and what is there", n, off, got, err, len(piece))
	}
}

// A server that cuts every connection after a while, or says now and then that it
// is busy, is read to the end.
func TestRemoteCuts(t *testing.T) {
	want := someBytes(1 << 20)
	var asked atomic.Int64
	f := mustOpenTest(t, files(want, func(w http.ResponseWriter, r *http.Request) bool {
		switch n := asked.Add(1); {
		case n == 1:
			return false
		case n%5 == 0:
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return true
		}
		first, last, _ := testRange(r)
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(want)))
		w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(want[first : first+(last-first)/2+1])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	checkRead(t, f, want, 1000, 50_000)
	if asked.Load() < 8 {
		t.Errorf("the server was asked %d times, want many; this test shows nothing", asked.Load())
	}
}

// testRange reads the range of a request of ours.
func testRange(r *http.Request) (first, last int, err error) {
	_, err = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
	return first, last, err
}

// A server that lies, or whose file changes, is told from one that is slow.
func TestRemoteLies(t *testing.T) {
	want := someBytes(1 << 20)
	part := func(header string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			first, last, _ := testRange(r)
			w.Header().Set("ETag", `"one"`)
			w.Header().Set("Content-Range", strings.NewReplacer("F", fmt.Sprint(first), "L", fmt.Sprint(last)).Replace(header))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(want[first : last+1])
			return true
		}
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
	}
	tests := []struct {
		name, want string
		spoil      func(http.ResponseWriter, *http.Request) bool
	}{
		{"other bytes", "other bytes than were asked for", part("bytes 0-9/1048576")},
		{"no range", "other bytes than were asked for", part("")},
		{"unknown size", "other bytes than were asked for", part("bytes F-L/*")},
		{"smaller than its range", "other bytes than were asked for", part("bytes F-L/1000")},
		{"another size", "has changed", part("bytes F-L/1048577")},
		{"another ETag", "has changed", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("ETag", `"two"`)
			return false
		}},
		{"no ranges any more", "does not know ranges", func(w http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Range")
			return false
		}},
		{"gone", "it is not there", status(404)},
		{"forbidden", "refuses it", status(403)},
		{"nonsense", "says 418", status(418)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			f := mustOpenTest(t, files(want, func(w http.ResponseWriter, r *http.Request) bool {
				return asked.Add(1) > 1 && tt.spoil(w, r)
			}))
			n, err := f.ReadAt(make([]byte, 100), 5000)
			if n != 0 || err == nil || !strings.Contains(err.Error(), tt.want) || asked.Load() != 2 {
				t.Errorf("ReadAt = %d, %v after %d requests, want %q at once", n, err, asked.Load(), tt.want)
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v looks like the end of the file", err)
			}
		})
	}
}

// The server is asked for an empty file, and for one without ranges.
func TestRemoteOpenRefuses(t *testing.T) {
	for want, h := range map[string]http.Handler{
		"it is empty":           files(nil, func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(416); return true }),
		"does not know ranges":  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("all")) }),
		"it is not there (404 ": http.NotFoundHandler(),
	} {
		s := httptest.NewServer(h)
		if _, err := openTest(t, s, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("openRemote: %v, want %q", err, want)
		}
		s.Close()
	}
}

// The token is for servers that are known by TLS, and those of the pin only.
func TestRemoteTrust(t *testing.T) {
	var token atomic.Value
	h := files(someBytes(100), func(_ http.ResponseWriter, r *http.Request) bool {
		token.Store(r.Header.Get("Authorization"))
		return false
	})
	plain, safe := httptest.NewServer(h), httptest.NewTLSServer(h)
	defer plain.Close()
	defer safe.Close()
	if _, err := openTest(t, plain, "secret"); err != nil || token.Load() != "" {
		t.Errorf("http: %v, token %q, want none", err, token.Load())
	}
	if _, err := openTest(t, safe, "secret"); err != nil || token.Load() != "Bearer secret" {
		t.Errorf("https: %v, token %q, want Bearer secret", err, token.Load())
	}
	token.Store("none")
	began := time.Now()
	other := new(pinError)
	if _, err := newRemote(t.Context(), safe.URL, "secret", remoteTransport(make([]byte, 32))); !errors.As(err, &other) || token.Load() != "none" {
		t.Errorf("another key: %v, token %q, want a pinError and no request", err, token.Load())
	}
	if _, err := newRemote(t.Context(), safe.URL, "secret", remoteTransport(nil)); err == nil || token.Load() != "none" {
		t.Errorf("a certificate that nobody signed: %v, token %q, want an error and no request", err, token.Load())
	}
	if took := time.Since(began); took > remoteFirst/2 {
		t.Errorf("it took %s to refuse two servers", took)
	}
	away := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer away.Close()
	if _, err := openTest(t, away, "secret"); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("sent on to http: %v, want an error", err)
	}
}

// pipeNet is a network in memory, whose time is that of the bubble.
type pipeNet struct{ conns chan net.Conn }

func (n *pipeNet) Accept() (net.Conn, error) {
	c, ok := <-n.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (n *pipeNet) Close() error   { return nil }
func (n *pipeNet) Addr() net.Addr { return &net.IPAddr{} }

func (n *pipeNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case n.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inMemory serves h on a network in memory and opens the file there.
func inMemory(t *testing.T, h http.Handler) (*remoteFile, error) {
	t.Helper()
	n := &pipeNet{make(chan net.Conn)}
	s := &http.Server{Handler: h}
	ended := make(chan error)
	go func() { ended <- s.Serve(n) }() // awaited by the cleanup
	transport := remoteTransport(nil)
	transport.DialContext = n.dial
	f, err := newRemote(t.Context(), "http://server/disk.img.zst", "", transport)
	t.Cleanup(func() {
		if err == nil {
			f.Close()
		}
		transport.CloseIdleConnections()
		close(n.conns)
		s.Close()
		<-ended
	})
	return f, err
}

// A server that falls silent for a minute is waited for; one that is silent for
// longer than two minutes is given up.
func TestRemoteSilence(t *testing.T) {
	want := someBytes(1000)
	for _, tt := range []struct {
		silence time.Duration
		lost    bool
	}{{time.Minute, false}, {3 * time.Minute, true}} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			f, err := inMemory(t, files(want, func(w http.ResponseWriter, r *http.Request) bool {
				if first, _, _ := testRange(r); first > 0 && time.Since(began) < tt.silence {
					<-r.Context().Done()
					panic(http.ErrAbortHandler)
				}
				return false
			}))
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.ReadAt(make([]byte, 10), 100)
			took := time.Since(began)
			if errors.Is(err, errRemoteSilent) != tt.lost || (err != nil) != tt.lost {
				t.Errorf("silent for %s: %v after %s", tt.silence, err, took)
			}
			if tt.lost && (took < remoteSilent-remoteStall || took > remoteSilent+remoteStall+remotePause) {
				t.Errorf("given up after %s, want about %s", took, remoteSilent)
			}
		})
	}
}

// A server that is slow, but not silent, is not given up.
func TestRemoteSlow(t *testing.T) {
	want := someBytes(40)
	synctest.Test(t, func(t *testing.T) {
		f, err := inMemory(t, files(want, func(w http.ResponseWriter, r *http.Request) bool {
			first, last, _ := testRange(r)
			w.Header().Set("ETag", `"one"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(want)))
			w.WriteHeader(http.StatusPartialContent)
			for i := first; i <= last; i++ {
				w.Write(want[i : i+1])
				w.(http.Flusher).Flush()
				select {
				case <-time.After(10 * time.Second):
				case <-r.Context().Done():
					return true
				}
			}
			return true
		}))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		checkRead(t, f, want, 1, 30)
		if took := time.Since(began); took < remoteSilent {
			t.Errorf("it took %s; this test shows nothing", took)
		}
	})
}

// Nobody there: that is told within a quarter of a minute.
func TestRemoteNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := remoteTransport(nil)
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("connection refused")
		}
		began := time.Now()
		_, err := newRemote(t.Context(), "http://server/", "", transport)
		if !errors.Is(err, errRemoteSilent) || exitCode(t.Context(), err) != exitNobody || time.Since(began) > remoteFirst {
			t.Errorf("%v after %s, want errRemoteSilent within %s", err, time.Since(began), remoteFirst)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := newRemote(ctx, "http://server/", "", transport); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("called off: %v, want the error of the context", err)
		}
	})
}

// A Content-Range that is accepted says what it is made of.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/100", "bytes 0-9/*", "bytes */100", "bytes 9-0/100", "bytes 0-100/100", "bytes -1-9/10", "items 0-9/10", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, last, size, ok := parseContentRange(text)
		if !ok {
			return
		}
		if first < 0 || first > last || last >= size {
			t.Errorf("%q is taken for %d to %d of %d", text, first, last, size)
		}
		a, b, c, again := parseContentRange(fmt.Sprintf("bytes %d-%d/%d", first, last, size))
		if !again || a != first || b != last || c != size {
			t.Errorf("%q is read as %d to %d of %d, and that as %d to %d of %d", text, first, last, size, a, b, c)
		}
	})
}
