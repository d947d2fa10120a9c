package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"slipcast/catalog/trust"
)

// catalogFiles are what a catalog consists of, in a folder or on a server.
type catalogFiles interface {
	// Source returns the metadata.
	Source() trust.Source
	// Open opens the file of a bundle.
	Open(f trust.File) (bundleSource, error)
}

// A bundleSource is the file of a bundle, of which nothing is verified yet.
type bundleSource interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// A catalogDir is a catalog in a folder.
type catalogDir struct{ *trust.Repository }

// Open implements catalogFiles.
func (c catalogDir) Open(f trust.File) (bundleSource, error) {
	file, err := os.Open(c.BundlePath(f))
	if err != nil {
		return nil, fmt.Errorf("its file is not in the store: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return localBundle{file, info.Size()}, nil
}

// heldFiles are a catalog of which some files of bundles have come before, and
// lie in a folder. What they hold is verified like any other's.
type heldFiles struct {
	catalogFiles
	dir string
}

// withHeld adds a folder of such files to a catalog; no name is none.
func withHeld(files catalogFiles, dir string) catalogFiles {
	if dir == "" {
		return files
	}
	return heldFiles{files, dir}
}

// Open implements catalogFiles.
func (h heldFiles) Open(f trust.File) (bundleSource, error) {
	if !isHeld(h.dir, f) {
		return h.catalogFiles.Open(f)
	}
	file, err := os.Open(heldPath(h.dir, f))
	if err != nil {
		return nil, err
	}
	return localBundle{file, f.Size}, nil
}

// A localBundle is the file of a bundle in a folder.
type localBundle struct {
	*os.File
	size int64
}

// Size returns the length of the file in bytes.
func (b localBundle) Size() int64 { return b.size }

// A catalogServer is a catalog on a server, of which only what is wanted is
// fetched, by ranges. It ends with its context.
type catalogServer struct {
	ctx       context.Context
	base      *url.URL
	token     string
	transport *http.Transport
}

// newCatalogServer returns the catalog at a URL, which is that of the folder with
// the folder metadata in it. The server is sent the token in SLIPCAST_TOKEN by
// https alone; with a pin it needs no other certificate.
func newCatalogServer(ctx context.Context, text string, pin []byte) (*catalogServer, error) {
	base, err := url.Parse(text)
	if err != nil || base.Host == "" {
		return nil, usagef("--catalog: %q is no URL", plain(text, 200))
	}
	c := &catalogServer{ctx: ctx, base: base, transport: remoteTransport(pin)}
	if base.Scheme == "https" {
		c.token = os.Getenv("SLIPCAST_TOKEN")
	}
	return c, nil
}

// Open implements catalogFiles.
func (c *catalogServer) Open(f trust.File) (bundleSource, error) {
	return newRemote(c.ctx, c.base.JoinPath("bundles", f.SHA256+".slb").String(), c.token, c.transport)
}

// Source implements catalogFiles.
func (c *catalogServer) Source() trust.Source {
	return serverSource{trust.HTTPSource(c.base, &http.Client{Transport: bearer{c.token, c.transport}})}
}

// A serverSource tells a server that is lost from one that says no.
type serverSource struct{ trust.Source }

// Metadata implements trust.Source.
func (s serverSource) Metadata(ctx context.Context, name string, most int64) ([]byte, error) {
	p, err := s.Source.Metadata(ctx, name, most)
	var lost *url.Error
	if errors.As(err, &lost) {
		if err = explainRemote(lost.Err); !errors.As(err, new(*finalError)) {
			err = fmt.Errorf("%w: %v", errRemoteSilent, err)
		}
	}
	return p, err
}

// A bearer sends a token with each request.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}
