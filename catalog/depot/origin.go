package depot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of the wait for an origin.
const (
	silence   = 2 * time.Minute        // without progress on a file
	stall     = 20 * time.Second       // without a byte on one connection, before another one is tried
	breath    = 100 * time.Millisecond // before the first retry, twice that before the next
	longest   = 5 * time.Second        // between two of them
	progress  = 4 << 10                // bytes that count as progress
	requests  = 8                      // at once
	readSize  = 32 << 10               // bytes of one read
	burstSize = 2 * readSize           // bytes that may come at once where a rate is bounded
)

// An origin is a web server that shows the folder of a store. It is safe for
// concurrent use.
type origin struct {
	base     *url.URL
	client   *http.Client
	hopeless func(error) bool // tells an error of client that another try would not change
	limit    *rate.Limiter    // nil without a bound; it is one for all requests
}

// newOrigin returns the origin of opt.
func newOrigin(opt *MirrorOptions) *origin {
	client := http.DefaultClient
	if opt.Client != nil {
		client = opt.Client
	}
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o := &origin{base: opt.URL, client: &c, hopeless: opt.Hopeless}
	if opt.Rate > 0 {
		o.limit = rate.NewLimiter(rate.Limit(opt.Rate), burstSize)
	}
	return o
}

// A wanted is a file of an origin.
type wanted struct {
	path  string
	size  int64 // bytes; -1 if nobody knows
	most  int64 // bytes, if nobody knows
	fresh bool  // it changes: after a break it begins anew
}

// A sink takes a file as it comes.
type sink interface {
	io.Writer
	Len() int64   // bytes that it has
	Reset() error // forgets them
}

// A finalError is one that another try would not change.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// fetch brings a file, and goes on with another connection where one breaks, until
// there was no progress for as long as silence. What to has is the file's
// beginning. An error wraps ErrLost, ErrDenied, ErrWrong or fs.ErrNotExist, or is
// one of ctx or of to.
func (o *origin) fetch(ctx context.Context, w wanted, to sink) error {
	last, mark, wait := time.Now(), to.Len(), breath
	for {
		err := o.try(ctx, w, to)
		if err == nil {
			return nil
		}
		if final := new(finalError); errors.As(err, &final) {
			return fmt.Errorf("%s: %w", w.path, final.err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if to.Len()-mark >= progress { // not what came before, and was forgotten
			last, mark, wait = time.Now(), to.Len(), breath
		}
		if time.Since(last)+wait > silence {
			return fmt.Errorf("%s: %w: no progress for %s: %v", w.path, ErrLost, time.Since(last).Round(time.Second), err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, longest)
		if w.fresh {
			if err := to.Reset(); err != nil {
				return err
			}
		}
	}
}

// try asks once for what to lacks of a file.
func (o *origin) try(ctx context.Context, w wanted, to sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.base.JoinPath(w.path).String(), nil)
	if err != nil {
		return &finalError{err}
	}
	req.Header.Set("Accept-Encoding", "identity") // the bytes count, not what they stand for
	if to.Len() > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", to.Len()))
	}
	answering := time.AfterFunc(stall, cancel)
	answer, err := o.client.Do(req)
	answering.Stop()
	if err != nil {
		return o.explain(err)
	}
	defer answer.Body.Close()
	if err := check(answer, w, to); err != nil {
		return err
	}
	return o.pour(ctx, cancel, answer.Body, w, to)
}

// explain tells errors that will not go away from those that may.
func (o *origin) explain(err error) error {
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) || o.hopeless != nil && o.hopeless(err) {
		return &finalError{err}
	}
	return err
}

// check looks whether an answer brings what to lacks.
func check(answer *http.Response, w wanted, to sink) error {
	code := answer.StatusCode
	switch {
	case code == http.StatusOK:
		if to.Len() > 0 { // it knows no ranges
			if err := to.Reset(); err != nil {
				return &finalError{err}
			}
		}
		if w.size >= 0 && answer.ContentLength >= 0 && answer.ContentLength != w.size {
			return &finalError{wrong("the origin's has %d bytes, and not %d", answer.ContentLength, w.size)}
		}
		return nil
	case code == http.StatusPartialContent:
		return checkRange(answer.Header.Get("Content-Range"), w, to)
	case code == http.StatusRequestedRangeNotSatisfiable:
		if err := to.Reset(); err != nil {
			return &finalError{err}
		}
		return errors.New("what has come of it is more than all of it")
	case code == http.StatusNotFound, code == http.StatusGone:
		return &finalError{fmt.Errorf("the origin has none: %w", fs.ErrNotExist)}
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return &finalError{fmt.Errorf("%w (%s)", ErrDenied, answer.Status)}
	case code >= 300 && code < 400:
		return &finalError{fmt.Errorf("the origin sends us on to %.200q, and nobody is followed there; give its own URL", answer.Header.Get("Location"))}
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return fmt.Errorf("the origin says %s", answer.Status)
	}
	return &finalError{fmt.Errorf("the origin says %s", answer.Status)}
}

// checkRange makes sure that an answer goes on where to ends. What else the header
// says, the bytes show.
func checkRange(header string, w wanted, to sink) error {
	var first, last, size int64
	n, _ := fmt.Sscanf(header, "bytes %d-%d/%d", &first, &last, &size)
	if n != 3 || first != to.Len() || to.Len() == 0 {
		return &finalError{fmt.Errorf("the origin answers with other bytes than were asked for (%.80q)", header)}
	}
	if w.size >= 0 && size != w.size {
		return &finalError{wrong("the origin's has %d bytes, and not %d", size, w.size)}
	}
	return nil
}

// pour takes the body of an answer.
func (o *origin) pour(ctx context.Context, cancel func(), body io.Reader, w wanted, to sink) error {
	most := w.most
	if w.size >= 0 {
		most = w.size
	}
	since, mark := time.Now(), to.Len()
	buf := make([]byte, readSize)
	stalled := time.AfterFunc(stall, cancel)
	defer stalled.Stop()
	for {
		n, err := body.Read(buf)
		stalled.Stop()
		if to.Len()+int64(n) > most {
			return &finalError{errors.Join(wrong("the origin's has more than %d bytes", most), to.Reset())}
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return &finalError{err}
		}
		if o.limit != nil && n > 0 {
			if err := o.limit.WaitN(ctx, n); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && w.size >= 0 && to.Len() < w.size:
			return fmt.Errorf("the connection ended after %d bytes of %d", to.Len(), w.size)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("the connection broke after %d bytes: %w", to.Len(), err)
		case to.Len()-mark >= progress:
			since, mark = time.Now(), to.Len()
		case time.Since(since) > silence:
			return fmt.Errorf("fewer than %d bytes in %s", progress, silence)
		}
		stalled.Reset(stall)
	}
}
