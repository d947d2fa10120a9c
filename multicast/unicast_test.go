package multicast

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A listSource is a source with its frames in memory.
type listSource struct {
	preface []byte
	frames  [][]byte
}

func (s *listSource) Preface() []byte     { return s.preface }
func (s *listSource) Frames() int         { return len(s.frames) }
func (s *listSource) FrameSize(n int) int { return len(s.frames[n]) }

func (s *listSource) ReadFrame(n int, buf []byte) ([]byte, error) {
	if s.frames[n] == nil {
		return nil, errors.New("input/output error")
	}
	return append(buf[:0], s.frames[n]...), nil
}

// newListSource has a preface of two pieces, and three frames, of which the
// last cannot be read.
func newListSource() *listSource {
	return &listSource{
		preface: bytes.Repeat([]byte("preface "), (pieceSize+80)/8),
		frames:  [][]byte{bytes.Repeat([]byte{1}, 100), bytes.Repeat([]byte{2}, 3<<20), nil},
	}
}

// A toll is a limiter that counts and takes its time.
type toll struct {
	bytes atomic.Int64
	each  time.Duration
}

func (m *toll) wait(ctx context.Context, bytes int) error {
	m.bytes.Add(int64(bytes))
	if m.each > 0 {
		pause(ctx, m.each)
	}
	return ctx.Err()
}

var tokenForTest = [tokenSize]byte{1, 2, 3, 15: 0xff}

const bearerForTest = "Bearer 010203000000000000000000000000ff"

func newTestFrameServer(source Source, m *toll) *frameServer {
	return newFrameServer(source, tokenForTest, func(netip.Addr) limiter { return m }, slog.New(slog.DiscardHandler))
}

func TestFrameServer(t *testing.T) {
	source := newListSource()
	tests := []struct {
		name, method, path, bearer, body string
		code                             int
		want                             []byte
	}{
		{"first piece", "GET", "/v1/frames/0", bearerForTest, "", 200, source.preface[:pieceSize]},
		{"second piece", "GET", "/v1/frames/1", bearerForTest, "", 200, source.preface[pieceSize:]},
		{"first frame", "GET", "/v1/frames/2", bearerForTest, "", 200, source.frames[0]},
		{"long frame", "GET", "/v1/frames/3", bearerForTest, "", 200, source.frames[1]},
		{"token in capitals", "GET", "/v1/frames/2", strings.Replace(bearerForTest, "ff", "FF", 1), "", 200, source.frames[0]},
		{"frame that cannot be read", "GET", "/v1/frames/4", bearerForTest, "", 500, nil},
		{"after the last one", "GET", "/v1/frames/5", bearerForTest, "", 404, nil},
		{"far after it", "GET", "/v1/frames/99999999999999999999", bearerForTest, "", 404, nil},
		{"negative", "GET", "/v1/frames/-1", bearerForTest, "", 404, nil},
		{"leading zero", "GET", "/v1/frames/02", bearerForTest, "", 404, nil},
		{"no number", "GET", "/v1/frames/", bearerForTest, "", 404, nil},
		{"elsewhere", "GET", "/", bearerForTest, "", 404, nil},
		{"no token", "GET", "/v1/frames/0", "", "", 401, nil},
		{"empty token", "GET", "/v1/frames/0", "Bearer ", "", 401, nil},
		{"half a token", "GET", "/v1/frames/0", bearerForTest[:20], "", 401, nil},
		{"another token", "GET", "/v1/frames/0", strings.Replace(bearerForTest, "01", "11", 1), "", 401, nil},
		{"no token and no such frame", "GET", "/v1/frames/5", "", "", 401, nil},
		{"head", "HEAD", "/v1/frames/0", bearerForTest, "", 405, nil},
		{"body", "GET", "/v1/frames/0", bearerForTest, "what", 400, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &toll{}
			s := newTestFrameServer(source, m)
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
			r.Header.Set("Authorization", tt.bearer)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != tt.code {
				t.Errorf("code %d, want %d", w.Code, tt.code)
			}
			if tt.want == nil {
				return
			}
			if !bytes.Equal(w.Body.Bytes(), tt.want) {
				t.Errorf("%d bytes, want %d others", w.Body.Len(), len(tt.want))
			}
			if got, want := w.Header().Get("Content-Length"), fmt.Sprint(len(tt.want)); got != want {
				t.Errorf("Content-Length %s, want %s", got, want)
			}
			if given := s.given.Load(); given != int64(len(tt.want)) || m.bytes.Load() != given {
				t.Errorf("%d bytes counted, %d paced, want %d", given, m.bytes.Load(), len(tt.want))
			}
			if len(s.turns) != maxGiving {
				t.Errorf("%d turns left, want %d", len(s.turns), maxGiving)
			}
		})
	}
}

// TestFetcher fetches from three goroutines over few connections.
func TestFetcher(t *testing.T) {
	source := newListSource()
	p := newTestPort(t, newTestFrameServer(source, &toll{}))
	f := newFetcher(connectTCP, p.addr, p.fingerprint, tokenForTest)
	defer f.close()
	want := [][]byte{source.preface[:pieceSize], source.preface[pieceSize:], source.frames[0], source.frames[1]}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var buf []byte
			for range 3 {
				for n := range want {
					got, err := f.fetch(withTimeout(t), n, len(want[n]), buf)
					if err != nil || !bytes.Equal(got, want[n]) {
						t.Errorf("frame %d: %d bytes, %v, want %d bytes", n, len(got), err, len(want[n]))
						return
					}
					buf = got
				}
			}
		})
	}
	wg.Wait()
}

// TestFetcherRefused has what cannot become right by asking again.
func TestFetcherRefused(t *testing.T) {
	p := newTestPort(t, newTestFrameServer(newListSource(), &toll{}))
	_, wrong := newTestIdentity(t)
	tests := []struct {
		name        string
		fingerprint []byte
		token       [tokenSize]byte
		n, size     int
		want        error
	}{
		{"fingerprint", wrong, tokenForTest, 2, 100, ErrRefused},
		{"token", p.fingerprint, [tokenSize]byte{}, 2, 100, errUseless},
		{"number", p.fingerprint, tokenForTest, 5, 100, errUseless},
		{"too long", p.fingerprint, tokenForTest, 2, 99, errUseless},
		{"too short", p.fingerprint, tokenForTest, 2, 101, errUseless},
		{"size out of bounds", p.fingerprint, tokenForTest, 2, maxFrame + 1, errMalformed},
		{"no size", p.fingerprint, tokenForTest, 2, 0, errMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFetcher(connectTCP, p.addr, tt.fingerprint, tt.token)
			defer f.close()
			if _, err := f.fetch(withTimeout(t), tt.n, tt.size, nil); !errors.Is(err, tt.want) {
				t.Errorf("fetch = %v, want %v", err, tt.want)
			}
		})
	}
}

// answerTo makes f connect by pipes, instead of TCP and TLS, to a sender that
// says to each request what answer returns, and hangs up if that is empty.
func answerTo(f *fetcher, answer func() string) {
	serve := func(conn net.Conn) {
		defer conn.Close()
		for in := bufio.NewReader(conn); ; {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			text := answer()
			if text == "" {
				return
			}
			io.WriteString(conn, text)
		}
	}
	f.transport.DialTLSContext = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go serve(far)
		return near, nil
	}
}

// TestFetcherStall has senders that stop: the fetcher asks again, with pauses,
// and gives up in the end.
func TestFetcherStall(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
	tests := []struct {
		name, answer string
		want         error
		most         time.Duration
	}{
		{"hanging up", "", io.EOF, fetchPatience + fetchPauseMax + time.Second},
		{"no answer", "HTTP/1.1 200 OK\r\n", errNoAnswer, fetchPatience + answerWait + fetchPauseMax},
		{"half a frame", head + strings.Repeat("x", 50), errStalled, fetchPatience + byteWait + fetchPauseMax},
		{"error", "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", nil, fetchPatience + fetchPauseMax + time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFetcher(connectTCP, netip.AddrPort{}, nil, tokenForTest)
				var asked atomic.Int64
				answerTo(f, func() string { asked.Add(1); return tt.answer })
				began := time.Now()
				_, err := f.fetch(t.Context(), 3, 100, nil)
				took := time.Since(began)
				if err == nil || tt.want != nil && !errors.Is(err, tt.want) || took < fetchPatience || took > tt.most {
					t.Errorf("fetch = %v after %v, want %v after %v to %v", err, took, tt.want, fetchPatience, tt.most)
				}
				if n := asked.Load(); n < 5 || n > 130 {
					t.Errorf("asked %d times, want 5 to 130", n)
				}
				f.close()
			})
		})
	}
}

// TestFetcherComesBack has a sender that answers the third time.
func TestFetcherComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFetcher(connectTCP, netip.AddrPort{}, nil, tokenForTest)
		var asked atomic.Int64
		answerTo(f, func() string {
			if asked.Add(1) < 3 {
				return ""
			}
			return "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndata"
		})
		began := time.Now()
		got, err := f.fetch(t.Context(), 3, 4, nil)
		if took := time.Since(began); string(got) != "data" || err != nil || took < 300*time.Millisecond || took > 600*time.Millisecond {
			t.Errorf("fetch = %q, %v after %v, want data after 0.3 s to 0.6 s", got, err, took)
		}
		f.close()
	})
}

// TestFrameServerSlow has a receiver that takes the beginning of a frame and
// no more.
func TestFrameServerSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestFrameServer(newListSource(), &toll{each: time.Millisecond})
		near, far := net.Pipe()
		web := &http.Server{Handler: s}
		ln := &pipeListener{make(chan net.Conn, 1), make(chan struct{})}
		ln.conns <- far
		go web.Serve(ln)
		began := time.Now()
		go fmt.Fprintf(near, "GET /v1/frames/3 HTTP/1.1\r\nHost: sender\r\nAuthorization: %s\r\n\r\n", bearerForTest)
		io.ReadFull(near, make([]byte, 1000))
		time.Sleep(10 * time.Minute)
		n, _ := io.Copy(io.Discard, near)
		if n > 2*partBytes {
			t.Errorf("%d bytes more came after %v", n, time.Since(began))
		}
		synctest.Wait()
		if len(s.turns) != maxGiving {
			t.Errorf("%d turns are free, want %d", len(s.turns), maxGiving)
		}
		near.Close()
		web.Close()
	})
}

// TestFrameServerBusy asks for more frames at once than are given at a time.
func TestFrameServerBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestFrameServer(newListSource(), &toll{each: time.Minute})
		codes := make(chan int, maxGiving+1)
		for range maxGiving + 1 {
			go func() {
				r := httptest.NewRequest("GET", "/v1/frames/2", nil)
				r.Header.Set("Authorization", bearerForTest)
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				codes <- w.Code
			}()
		}
		began := time.Now()
		if code := <-codes; code != http.StatusServiceUnavailable || time.Since(began) != turnTime {
			t.Errorf("first answer is %d after %v, want 503 after %v", code, time.Since(began), turnTime)
		}
		for range maxGiving {
			if code := <-codes; code != http.StatusOK {
				t.Errorf("answer %d, want 200", code)
			}
		}
	})
}
