package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"time"
)

// A Source gives the metadata of a catalog. It need not be trusted.
type Source interface {
	// Metadata returns the file called name of catalog/metadata. An error wraps
	// fs.ErrNotExist if there is none, and ErrMalformed if it has more than max
	// bytes; of such a file no more than that is read.
	Metadata(ctx context.Context, name string, max int64) ([]byte, error)
}

// DirSource returns the metadata of a catalog in a folder: that with the folder
// metadata in it. It is safe for concurrent use if fsys is.
func DirSource(fsys fs.FS) Source { return dirSource{fsys} }

type dirSource struct{ fsys fs.FS }

// Metadata implements Source.
func (s dirSource) Metadata(ctx context.Context, name string, most int64) ([]byte, error) {
	path := metadataFolder + "/" + name
	info, err := fs.Stat(s.fsys, path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe might take for ever
		return nil, malformed("not a plain file")
	}
	f, err := s.fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(ctxReader{ctx, f}, most)
}

// readBounded reads all of r, which may be most bytes.
func readBounded(r io.Reader, most int64) ([]byte, error) {
	p, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(p)) > most {
		return nil, malformed("more than %d bytes", most)
	}
	return p, nil
}

// How long a web server may take: at least patience, and so many bytes a second.
const (
	patience    = 30 * time.Second
	slowestRate = 128 << 10
)

// HTTPSource returns the metadata of a catalog on a web server. base is the URL of
// the folder with the folder metadata in it. Redirects are not followed. client
// may be nil; it is used by nobody's rules but its own, and for each file no longer
// than 30 s and the time of 128 KiB a second. The Source is safe for concurrent use.
func HTTPSource(base *url.URL, client *http.Client) Source {
	if client == nil {
		client = http.DefaultClient
	}
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return httpSource{base, &c}
}

type httpSource struct {
	base   *url.URL
	client *http.Client
}

// Metadata implements Source.
func (s httpSource) Metadata(ctx context.Context, name string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience+time.Duration(most/slowestRate)*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath(metadataFolder, name).String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return readBounded(resp.Body, most)
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("the web server has no %s: %w", name, fs.ErrNotExist)
	}
	return nil, errors.New("the web server says " + resp.Status)
}
