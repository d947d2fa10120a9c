package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Bounds of the wait for a web server.
const (
	remoteFirst  = 15 * time.Second       // for the first byte of all
	remoteSilent = 2 * time.Minute        // without a byte, in the middle of an image
	remoteStall  = 20 * time.Second       // without a byte on one connection, before another one is tried
	remoteBreath = 100 * time.Millisecond // before the first retry, twice that before the next
	remotePause  = 5 * time.Second        // the longest between two of them
	remoteHeader = 64 << 10               // bytes of the header of an answer
	remoteConns  = 8                      // at once
)

// errRemoteSilent reports a web server that does not answer any more.
var errRemoteSilent = errors.New("nobody answers")

// isRemote tells whether IMAGE is a URL.
func isRemote(path string) bool {
	return strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://")
}

// A remoteFile is a file on a web server that is read at random. It is safe for
// concurrent use and ends with its context.
type remoteFile struct {
	ctx    context.Context
	cancel context.CancelFunc
	url    string
	token  string // for a server that is known by TLS
	client *http.Client

	size int64
	same string // ETag or date of the file: it must not become another one

	ahead readAhead
}

// openRemote finds out how large the file at url is. pin, if it is not nil, is the
// SHA-256 of the SubjectPublicKeyInfo of the server's certificate, which then need not
// be signed by anybody.
func openRemote(ctx context.Context, url string, pin []byte) (*remoteFile, error) {
	return newRemote(ctx, url, os.Getenv("SLIPCAST_TOKEN"), remoteTransport(pin))
}

func newRemote(ctx context.Context, url, token string, transport *http.Transport) (*remoteFile, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &remoteFile{
		ctx: ctx, cancel: cancel, url: url, size: -1,
		client: &http.Client{Transport: transport, CheckRedirect: checkRedirect},
	}
	if strings.HasPrefix(url, "https://") {
		r.token = token
	}
	r.ahead.r = r
	start := make([]byte, 1)
	if _, err := r.fetch(start, 0, remoteFirst); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// remoteTransport returns connections to a web server. An image is not compressed
// once more, and several plain connections are faster than one.
func remoteTransport(pin []byte) *http.Transport {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ResponseHeaderTimeout:  remoteStall,
		MaxResponseHeaderBytes: remoteHeader,
		MaxConnsPerHost:        remoteConns,
		MaxIdleConnsPerHost:    remoteConns,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true,
	}
	if pin != nil {
		t.TLSClientConfig.InsecureSkipVerify = true // VerifyConnection asks for more
		t.TLSClientConfig.VerifyConnection = func(s tls.ConnectionState) error { return checkPin(s, pin) }
	}
	return t
}

// checkPin refuses every server but the one with the key of pin.
func checkPin(s tls.ConnectionState, pin []byte) error {
	if len(s.PeerCertificates) == 0 {
		return &pinError{"none"}
	}
	sum := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
	if string(sum[:]) != string(pin) {
		return &pinError{hex.EncodeToString(sum[:])}
	}
	return nil
}

// A pinError reports a server with another key than --pin wants.
type pinError struct{ have string }

func (e *pinError) Error() string {
	return "the server's key is not the one of --pin; its SHA-256 is " + e.have
}

// checkRedirect follows a server that sends us on, but not out of TLS.
func checkRedirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > 5:
		return errors.New("sent on six times")
	case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
		return errors.New("sent on from https to " + r.URL.Scheme)
	}
	return nil
}

// Size returns the length of the file in bytes.
func (r *remoteFile) Size() int64 { return r.size }

// Close ends what is read ahead and frees the connections. No method may be
// running.
func (r *remoteFile) Close() error {
	r.cancel()
	r.ahead.wait()
	r.client.CloseIdleConnections()
	return nil
}

// ReadAt implements io.ReaderAt. Its error is never one of those that stand for
// the end of a file, but at the end of the file.
func (r *remoteFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= r.size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), r.size-off)]
	n, err := r.ahead.read(p, off)
	if err == nil && n < want {
		err = io.EOF
	}
	return n, err
}

// fetch fills p from offset off of the file. It goes on with another connection
// where one breaks, until there was no byte for as long as patience says.
func (r *remoteFile) fetch(p []byte, off int64, patience time.Duration) (n int, err error) {
	last, wait := time.Now(), remoteBreath
	for n < len(p) {
		got, err := r.try(p[n:], off+int64(n))
		if got > 0 {
			n, last, wait = n+got, time.Now(), remoteBreath
		}
		if err == nil {
			continue
		}
		if final := new(finalError); errors.As(err, &final) {
			return n, err
		}
		if r.ctx.Err() != nil {
			return n, r.ctx.Err()
		}
		if time.Since(last)+wait > patience {
			return n, fmt.Errorf("%w: no byte for %s: %v", errRemoteSilent, time.Since(last).Round(time.Second), err)
		}
		select {
		case <-time.After(wait):
		case <-r.ctx.Done():
			return n, r.ctx.Err()
		}
		wait = min(2*wait, remotePause)
	}
	return n, nil
}

// A finalError is one that another try would not change.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

func final(format string, args ...any) error { return &finalError{fmt.Errorf(format, args...)} }

// try asks once for the bytes of p. An error says nothing of how many came.
func (r *remoteFile) try(p []byte, off int64) (n int, err error) {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return 0, &finalError{err}
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1))
	req.Header.Set("User-Agent", "slipcast/"+version)
	if strings.HasPrefix(r.same, `"`) { // RFC 9110 section 13.1.5: a weak one must not be sent
		req.Header.Set("If-Range", r.same)
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	answer, err := r.client.Do(req)
	if err != nil {
		return 0, explainRemote(err)
	}
	defer answer.Body.Close()
	if err := r.check(answer, off, len(p)); err != nil {
		return 0, err
	}
	stalled := time.AfterFunc(remoteStall, cancel)
	defer stalled.Stop()
	for n < len(p) && err == nil {
		var got int
		got, err = answer.Body.Read(p[n:])
		n += got
		stalled.Reset(remoteStall)
	}
	if n == len(p) {
		return n, nil
	}
	return n, fmt.Errorf("the connection broke after %d bytes: %v", n, err)
}

// explainRemote tells errors that will not go away from those that may.
func explainRemote(err error) error {
	var pinned *pinError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &pinned):
		return &finalError{pinned}
	case errors.As(err, &cert):
		return &finalError{cert}
	case strings.Contains(err.Error(), "sent on "):
		return &finalError{err}
	}
	return err
}
