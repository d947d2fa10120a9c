package multicast

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Bounds of fetching.
const (
	answerWait    = 20 * time.Second // for a connection and the beginning of an answer
	byteWait      = 10 * time.Second // for more of it
	fetchPause    = 200 * time.Millisecond
	fetchPauseMax = 5 * time.Second
	fetchPatience = 5 * time.Minute // for a frame that does not come
	fetchIdle     = 30 * time.Second
	maxFetches    = 4 // connections that are kept
)

var (
	errStalled  = errors.New("nothing comes any more")
	errNoAnswer = errors.New("no answer")
	errUseless  = errors.New("there is no use in asking again")
)

// A fetcher fetches frames from a sender by HTTPS, section 10. It is safe for
// concurrent use.
type fetcher struct {
	client    *http.Client
	transport *http.Transport
	bearer    string
}

// newFetcher returns a fetcher from a control port. It connects when there is
// something to fetch.
func newFetcher(connect connector, control netip.AddrPort, fingerprint []byte, token [tokenSize]byte) *fetcher {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return connect(ctx, control)
		},
		TLSClientConfig:     clientTLS(fingerprint, alpnHTTPS),
		TLSHandshakeTimeout: dialTime,
		DisableCompression:  true,
		MaxIdleConnsPerHost: maxFetches,
		MaxConnsPerHost:     maxFetches,
		IdleConnTimeout:     fetchIdle,
	}
	keep := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &fetcher{
		client:    &http.Client{Transport: transport, CheckRedirect: keep},
		transport: transport,
		bearer:    "Bearer " + hex.EncodeToString(token[:]),
	}
}

// close ends the connections. No fetch is going on.
func (f *fetcher) close() { f.transport.CloseIdleConnections() }

// fetch returns frame n of the session, which has size bytes, in buf or a
// larger one. It tries again for some minutes if that may help.
func (f *fetcher) fetch(ctx context.Context, n, size int, buf []byte) ([]byte, error) {
	if size < 1 || size > maxFrame {
		return nil, fmt.Errorf("fetching frame %d: %w: %d bytes", n, errMalformed, size)
	}
	buf = slices.Grow(buf[:0], size)[:size]
	start := time.Now()
	for wait := fetchPause; ; wait = min(2*wait, fetchPauseMax) {
		err := f.try(ctx, n, buf)
		switch {
		case err == nil:
			return buf, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, errUseless), errors.Is(err, ErrRefused), time.Since(start) > fetchPatience:
			return nil, fmt.Errorf("fetching frame %d: %w", n, err)
		}
		pause(ctx, wait/2+rand.N(wait/2)) // so that not all come again at once
	}
}

// try fetches frame n, of the length of buf.
func (f *fetcher) try(ctx context.Context, n int, buf []byte) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(answerWait, func() { cancel(errNoAnswer) })
	defer func() { timer.Stop() }()
	resp, err := f.ask(ctx, n)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer resp.Body.Close()
	if err := checkAnswer(resp, len(buf)); err != nil {
		return err
	}
	timer.Stop()
	timer = time.AfterFunc(byteWait, func() { cancel(errStalled) })
	_, err = io.ReadFull(&watchedReader{resp.Body, timer}, buf)
	return causeOf(ctx, err)
}

// causeOf returns what has ended ctx in place of an error that follows from it.
func causeOf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// ask sends the request for frame n. The name in it means nothing: the
// transport knows where the sender is.
func (f *fetcher) ask(ctx context.Context, n int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://sender"+framesPath+strconv.Itoa(n), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", f.bearer)
	resp, err := f.client.Do(req)
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return nil, wrapped.Err
	}
	return resp, err
}

// checkAnswer returns an error unless resp has a frame of size bytes.
func checkAnswer(resp *http.Response, size int) error {
	switch {
	case resp.StatusCode >= 500:
		io.CopyN(io.Discard, resp.Body, 1<<10) // so that the connection can be used again
		return fmt.Errorf("the sender answers %s", resp.Status)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: the sender answers %s", errUseless, resp.Status)
	case resp.ContentLength != int64(size):
		return fmt.Errorf("%w: %d bytes, want %d", errUseless, resp.ContentLength, size)
	}
	return nil
}

// A watchedReader sets its timer back whenever something comes.
type watchedReader struct {
	io.Reader
	timer *time.Timer
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.timer.Reset(byteWait)
	}
	return n, err
}
