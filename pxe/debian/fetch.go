package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// stall is how long a mirror may send nothing before it is given up.
const stall = 60 * time.Second

// newClient returns the client that is used where the caller has none. It
// takes its proxy from the environment (http_proxy) and waits for nobody
// without end; what happens after the header of an answer, a [stallReader]
// watches.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   20 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout:       30 * time.Second,
		DisableCompression:    true,
	}}
}

// errStalled reports a mirror that stopped sending.
var errStalled = fmt.Errorf("the mirror sent nothing for %v", stall)

// A stallReader ends a context with [errStalled] when a read takes too long.
type stallReader struct {
	io.Reader
	timer *time.Timer
}

func (r *stallReader) Read(p []byte) (int, error) {
	r.timer.Reset(stall)
	return r.Reader.Read(p)
}

// get asks for a URL and hands the body of the answer to use. An answer other
// than 200 is an error.
func (a *Archive) get(ctx context.Context, url string, use func(io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer timer.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "slipcast")
	answer, err := a.client.Do(request)
	if err != nil {
		return err // names the URL
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, answer.Status)
	}
	if err := use(&stallReader{answer.Body, timer}); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("GET %s: %w", url, err)
	}
	return nil
}

// getBytes returns the body of an answer, of at most limit bytes.
func (a *Archive) getBytes(ctx context.Context, url string, limit int64) ([]byte, error) {
	var body []byte
	err := a.get(ctx, url, func(r io.Reader) (err error) {
		body, err = io.ReadAll(io.LimitReader(r, limit+1))
		if err == nil && int64(len(body)) > limit {
			err = fmt.Errorf("%w: more than %d bytes", ErrMalformed, limit)
		}
		return err
	})
	return body, err
}

// fetch makes sure that the file at path in the cache is the one with that
// digest and size, and downloads it if it is not.
func (a *Archive) fetch(ctx context.Context, url, path string, want releaseEntry) error {
	if err := check(path, want); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrDigest) {
		return err
	}
	return replace(path, func(f *os.File) error {
		return a.get(ctx, url, func(r io.Reader) error { return a.copyChecked(f, r, want) })
	})
}

// check compares a file with the digest and size that it must have.
func check(path string, want releaseEntry) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	digest := sha256.New()
	n, err := io.Copy(digest, io.LimitReader(f, want.size+1))
	if err != nil {
		return err
	}
	return compare(digest.Sum(nil), n, want)
}

// compare says how a digest and a size differ from those that were signed for.
func compare(digest []byte, size int64, want releaseEntry) error {
	if size != want.size || !bytes.Equal(digest, want.digest[:]) {
		return fmt.Errorf("%w: %d bytes with SHA-256 %x, signed for are %d bytes with %x",
			ErrDigest, size, digest, want.size, want.digest)
	}
	return nil
}

// copyChecked copies r to f and compares it with what it must be.
func (a *Archive) copyChecked(f *os.File, r io.Reader, want releaseEntry) error {
	digest := sha256.New()
	dst := io.MultiWriter(f, digest, meter(a.src.Progress))
	n, err := io.Copy(dst, io.LimitReader(r, want.size+1))
	if err != nil {
		return err
	}
	return compare(digest.Sum(nil), n, want)
}

// A meter tells a function how much is written to it. It may be nil.
type meter func(bytes int64)

func (m meter) Write(p []byte) (int, error) {
	if m != nil {
		m(int64(len(p)))
	}
	return len(p), nil
}

// replace writes a file beside its place and renames it once fill has
// succeeded and the data is on the disk. Two processes may do so at once.
func replace(path string, fill func(f *os.File) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*.partial")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // finds nothing after the rename
	err = errors.Join(fill(f), f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
