package bake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	"slipcast/image"
)

// ErrRecord reports bytes that are no record.
var ErrRecord = errors.New("not a record of a bake")

// MaxRecord is the size of the largest record in bytes.
const MaxRecord = 1 << 20

// A Record says which image in a store was baked by a recipe, and of what: section 10.3
// of docs/bundles.md.
type Record struct {
	Schema  int      `json:"schema"` // 1
	Name    string   `json:"name"`   // in the store
	Version string   `json:"version"`
	Digest  string   `json:"digest"`  // of the image, in hexadecimal
	Parent  string   `json:"parent"`  // its digest
	Bundles []string `json:"bundles"` // digests of their manifests, in the order in which they were applied
}

// NewRecord returns the record of the image name@version, which r has made.
func NewRecord(r *Recipe, name, version, digest string) *Record {
	rec := &Record{Schema: recipeSchema, Name: name, Version: version, Digest: digest, Parent: r.Parent, Bundles: []string{}}
	for _, b := range r.Bundles {
		rec.Bundles = append(rec.Bundles, b.Digest)
	}
	return rec
}

// Encode returns the record as it lies in a file.
func (r *Record) Encode() ([]byte, error) {
	p, err := json.Marshal(r)
	return append(p, '\n'), err
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// DecodeRecord reads what Encode returned, and nothing else. The error wraps [ErrRecord].
func DecodeRecord(p []byte) (*Record, error) {
	if len(p) > MaxRecord {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrRecord, MaxRecord)
	}
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	var r Record
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if _, err := d.Token(); err != io.EOF || r.Schema != recipeSchema || r.Name == "" || r.Version == "" || len(r.Bundles) == 0 {
		return nil, fmt.Errorf("%w: something is missing, or too much", ErrRecord)
	}
	for _, digest := range append([]string{r.Digest, r.Parent}, r.Bundles...) {
		if !digestForm.MatchString(digest) {
			return nil, fmt.Errorf("%w: %.100q is no digest", ErrRecord, digest)
		}
	}
	return &r, nil
}

// Of tells whether r is of the image with this digest and origin. The origin is
// not part of what the digest stands for, so both must say the same.
func (r *Record) Of(digest image.Digest, o image.Origin) bool {
	return r.Digest == digest.String() && r.Parent == o.Parent
}
