package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"slipcast/agent/wire"
)

// Bounds of a request in time.
const (
	dialTime    = 5 * time.Second
	requestTime = 20 * time.Second
	answerTime  = 5 * time.Minute // until an image that was sent is in the store
)

// ErrPin reports a server that has another key than the ticket says.
var ErrPin = errors.New("another server answers: it has not the key of the ticket")

// A StatusError is a request that the server refused.
type StatusError struct {
	Status  int    // of HTTP
	Message string // of the server, for people
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answers %d: %s", e.Status, e.Message)
}

// final tells whether asking again is of no use.
func final(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Status < 500 &&
		status.Status != http.StatusRequestTimeout && status.Status != http.StatusTooManyRequests
}

// A client talks to the servers of a ticket, and to no other: it knows them by
// the key of their certificate, whatever else that says and whatever the clock
// says. Its methods are safe for concurrent use.
type client struct {
	http *http.Client

	mu      sync.Mutex
	servers []string // the one that answered last comes first
	token   string   // of the session
}

// newClient returns a client for a ticket that was checked.
func newClient(t wire.Ticket) (*client, error) {
	pin, err := parsePin(t.Pin)
	if err != nil {
		return nil, err
	}
	c := &client{}
	for _, s := range t.Servers {
		c.servers = append(c.servers, strings.TrimRight(s, "/"))
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: dialTime, KeepAlive: 10 * time.Second}).DialContext,
			TLSClientConfig:       pinned(pin),
			TLSHandshakeTimeout:   dialTime * 2,
			ResponseHeaderTimeout: answerTime,
			IdleConnTimeout:       time.Minute,

			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// pinned returns a configuration that takes the server with this key alone.
func pinned(pin [32]byte) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // names and dates say nothing here; the key is verified below
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo) != pin {
				return ErrPin
			}
			return nil
		},
	}
}

// order returns the servers, the one that answered last first, and the token.
func (c *client) order() ([]string, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.servers...), c.token
}

// server returns the server that answered last.
func (c *client) server() string {
	servers, _ := c.order()
	return servers[0]
}

// answered puts a server first.
func (c *client) answered(server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []string{server}
	for _, s := range c.servers {
		if s != server {
			list = append(list, s)
		}
	}
	c.servers = list
}

func (c *client) setToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if token != "" {
		c.token = token
	}
}

// call posts in to path at the first server that answers, and reads its answer
// into out.
func (c *client) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if len(body) > wire.MaxBody {
		return fmt.Errorf("a body of %d bytes is too large to be sent", len(body))
	}
	servers, token := c.order()
	var errs []error
	for _, server := range servers {
		err := c.post(ctx, server, path, token, body, out)
		if err == nil || final(err) {
			c.answered(server)
			return err
		}
		errs = append(errs, fmt.Errorf("%s: %w", server, plainURL(err)))
	}
	return errors.Join(errs...)
}

// plainURL takes from an error of package http what the caller says.
func plainURL(err error) error {
	var u interface{ Unwrap() error }
	if errors.As(err, &u) && strings.Contains(err.Error(), "\"https://") {
		return u.Unwrap()
	}
	return err
}

func (c *client) post(ctx context.Context, server, path, token string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	return c.roundTrip(req, token, out)
}

// get reads what is at path at the first server that answers, most bytes of it.
func (c *client) get(ctx context.Context, path string, most int64) ([]byte, error) {
	servers, token := c.order()
	var errs []error
	for _, server := range servers {
		p, err := c.getFrom(ctx, server+path, token, most)
		if err == nil || final(err) {
			c.answered(server)
			return p, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", server, plainURL(err)))
	}
	return nil, errors.Join(errs...)
}

// slowest is how fast a server must be at least, in bytes a second.
const slowest = 128 << 10

func (c *client) getFrom(ctx context.Context, url, token string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime+time.Duration(most/slowest)*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, wire.MaxText)) // half of it is as good
		return nil, &StatusError{resp.StatusCode, refusalText(answer)}
	}
	return io.ReadAll(io.LimitReader(resp.Body, most))
}

// roundTrip sends a request and reads the answer.
func (c *client) roundTrip(req *http.Request, token string, out any) error {
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	defer time.AfterFunc(requestTime, func() { resp.Body.Close() }).Stop()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxBody+1))
	switch {
	case err != nil:
		return err
	case len(answer) > wire.MaxBody:
		return errors.New("its answer is too long")
	case resp.StatusCode != http.StatusOK:
		return &StatusError{resp.StatusCode, refusalText(answer)}
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("its answer is malformed: %w", err)
	}
	return nil
}

// refusalText returns what a server says about a request that it refuses.
func refusalText(answer []byte) string {
	var o struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(answer, &o) != nil || o.Error == "" {
		return "no reason given"
	}
	return wire.Plain(o.Error, wire.MaxText)
}

// hello says hello once.
func (c *client) hello(ctx context.Context, h wire.Hello) (wire.Welcome, error) {
	return c.welcome(ctx, "/api/v1/agent/hello", h)
}

// welcome asks for what is to be done. A server of another version is not
// understood by halves.
func (c *client) welcome(ctx context.Context, path string, in any) (w wire.Welcome, err error) {
	if err = c.call(ctx, path, in, &w); err != nil {
		return w, err
	}
	if w.Schema != wire.Schema {
		return w, fmt.Errorf("its schema is %d, this agent knows %d: the boot environment must be built anew", w.Schema, wire.Schema)
	}
	c.setToken(w.Token)
	return w, nil
}

// next asks what is to be done next.
func (c *client) next(ctx context.Context, n wire.Next) (wire.Welcome, error) {
	return c.welcome(ctx, "/api/v1/agent/next", n)
}

// report brings a report once.
func (c *client) report(ctx context.Context, r wire.Report) (reply wire.Reply, err error) {
	return reply, c.call(ctx, "/api/v1/agent/report", r, &reply)
}

// putImage sends an image to the server's store as it comes. A stream cannot
// be sent again, so there is one attempt, at the server that answered last.
func (c *client) putImage(ctx context.Context, name string, image io.Reader) (stored string, err error) {
	servers, token := c.order()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, servers[0]+"/api/v1/agent/image/"+name, image)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/zstd")
	req.ContentLength = -1
	var o struct {
		Image string `json:"image"`
	}
	if err := c.roundTrip(req, token, &o); err != nil {
		return "", fmt.Errorf("sending the image to %s: %w", servers[0], plainURL(err))
	}
	return wire.Plain(o.Image, 256), nil
}

// again calls try until it succeeds, its error is final, or limit has passed;
// ever more seconds apart, at most 15. failed, if not nil, hears of each error
// after which it tries again.
func again(ctx context.Context, limit time.Duration, try func(context.Context) error, failed func(error)) error {
	began := time.Now()
	for wait := time.Second; ; wait = min(2*wait, 15*time.Second) {
		err := try(ctx)
		if err == nil || final(err) || ctx.Err() != nil {
			return err
		}
		if time.Since(began)+wait > limit {
			return err
		}
		if failed != nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}
