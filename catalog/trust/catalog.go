package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"slipcast/catalog/bundle"
)

// Versions are the numbers of the metadata of a catalog, from 1. Zero is any.
type Versions struct {
	Root      int64 `json:"root"`
	Timestamp int64 `json:"timestamp"`
	Snapshot  int64 `json:"snapshot"`
	Targets   int64 `json:"targets"`
}

// A Catalog is what a machine may be given. It is not changed by anybody once
// it was loaded, so it is safe for concurrent use.
type Catalog struct {
	Versions Versions
	Root     *Root          // the newest there is: what the next Load should start from
	Expires  time.Time      // when the first of its metadata does
	Fresh    bool           // by a ticket: this is the catalog of the server now, nobody shows an old one
	Expired  bool           // it has expired, and is one that was known before (LoadOptions.Known)
	Claims   *Claims        // of the ticket, nil without one
	Bundles  []BundleTarget // ordered by name
	Images   []ImageTarget  // ordered by name
}

// A BundleTarget is a bundle that was released.
type BundleTarget struct {
	Header   bundle.Header
	Digest   string // of its manifest, in hexadecimal
	File     File
	Author   string // the key ID of minisign of the author whose signature was checked at the release, empty if none was
	Recalled string // why it is not to be used any more, empty if it is not recalled
}

// ID returns NAME@VERSION-RELEASE, or NAME/TRACK@VERSION-RELEASE.
func (b *BundleTarget) ID() string { return b.Header.ID() }

// Open opens the bundle in the size bytes behind r, and makes sure that it is b
// before any of it is parsed. That settles the digest of everything in it, which
// is checked as it is read. An error wraps [ErrMismatch], or is one of
// [bundle.Open].
func (b *BundleTarget) Open(r io.ReaderAt, size int64) (*bundle.Bundle, error) {
	opened, err := bundle.OpenSigned(r, size, b.Digest)
	if errors.Is(err, bundle.ErrOther) {
		return nil, fmt.Errorf("%s: %w: %w", b.ID(), ErrMismatch, err)
	}
	return opened, err
}

// A File is the file of a bundle: catalog/bundles/SHA256.slb.
type File struct {
	SHA256 string // of the file, in hexadecimal
	Size   int64  // bytes
}

// Verify makes sure that r has the bytes of f, and no more. Of more than that one
// byte is read. An error wraps [ErrMismatch], or is one of r.
func (f File) Verify(ctx context.Context, r io.Reader) error {
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(ctxReader{ctx, r}, f.Size+1))
	if err != nil {
		return err
	}
	if n != f.Size {
		return fmt.Errorf("%w: its length is not %d bytes", ErrMismatch, f.Size)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%w: it has the SHA-256 %.12s, and not %.12s", ErrMismatch, got, f.SHA256)
	}
	return nil
}

// An ImageTarget is an image that was released.
type ImageTarget struct {
	Name     string   // in the store
	Version  string   // in the store
	Digest   string   // of the image, in hexadecimal
	Size     int64    // bytes of its disk
	Parent   string   // digest of the image that it was baked from, empty if it was not
	Bundles  []string // IDs of the bundles that were baked in, in their order
	Recalled string   // why it is not to be used any more, empty if it is not recalled
}

// ID returns NAME@VERSION.
func (i *ImageTarget) ID() string { return i.Name + "@" + i.Version }

// Bundle returns the bundle with this ID, NAME@VERSION-RELEASE. An error wraps
// [ErrNotFound].
func (c *Catalog) Bundle(id string) (*BundleTarget, error) {
	for i := range c.Bundles {
		if c.Bundles[i].ID() == id {
			return &c.Bundles[i], nil
		}
	}
	return nil, fmt.Errorf("bundle %s: %w", id, ErrNotFound)
}

// Image returns the image with this digest. Of several with the same contents,
// one that is recalled speaks for all. An error wraps [ErrNotFound].
func (c *Catalog) Image(digest string) (*ImageTarget, error) {
	var found *ImageTarget
	for i := range c.Images {
		if c.Images[i].Digest == digest && (found == nil || found.Recalled == "") {
			found = &c.Images[i]
		}
	}
	if found == nil {
		return nil, fmt.Errorf("an image with the digest %s: %w", digest, ErrNotFound)
	}
	return found, nil
}

// ImageRecalled tells whether an image with this digest is recalled, under whichever
// name: of several with the same contents, one that is recalled speaks for all.
func (c *Catalog) ImageRecalled(digest string) bool {
	i, err := c.Image(digest)
	return err == nil && i.Recalled != ""
}
