package apply

import (
	"strings"
	"time"

	"slipcast/catalog/bundle"
)

// A Receipt says what was applied. It lies on the root that it is about, so
// that whoever restores the root restores the truth with it.
type Receipt struct {
	Schema  int           `json:"schema"` // 1
	Name    string        `json:"name"`
	Track   string        `json:"track,omitempty"`
	Version string        `json:"version"`
	Scheme  string        `json:"scheme"`
	Release int           `json:"release"`
	Digest  string        `json:"digest"` // of the bundle's manifest
	Time    time.Time     `json:"time"`   // when, in UTC and whole seconds
	By      string        `json:"by,omitempty"`
	Times   int           `json:"times"`             // how often this very bundle was applied in a row; from 1
	Params  []Setting     `json:"params,omitempty"`  // that are not secret, ordered by name
	Secrets []string      `json:"secrets,omitempty"` // names of those that are
	Queue   []string      `json:"queue,omitempty"`   // names in the folder queue
	Reboot  bundle.Reboot `json:"reboot,omitempty"`
	Tx      string        `json:"tx"`              // the folder below tx with what undoes it
	Paths   []Path        `json:"paths,omitempty"` // ordered

	Undo bool `json:"-"` // set by Receipts: what undoes it is on the root
}

// A Setting is a parameter of a bundle and what it was.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A Path is something that a bundle changed, as it was afterwards. An empty
// type says that it was taken away.
type Path struct {
	Path   Name   `json:"path"`
	Type   Type   `json:"type,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // of a file: of its contents
	Link   Name   `json:"link,omitempty"`   // of a symlink: its text
	Own    bool   `json:"own,omitempty"`    // an overlay of the bundle laid it: no other product may
}

// Ident returns which bundle the receipt is of.
func (r *Receipt) Ident() bundle.ID {
	return bundle.ID{Name: r.Name, Track: r.Track, Version: r.Version, Release: r.Release}
}

// Product returns NAME, or NAME/TRACK.
func (r *Receipt) Product() string { return r.Ident().Product() }

// encode returns the receipt as it is written.
func (r *Receipt) encode() ([]byte, error) {
	p, err := canonical(r)
	return append(p, '\n'), err
}

// DecodeReceipt reads a receipt. Nothing in it is trusted: it lay on a disk.
// The error wraps [ErrDamaged].
func DecodeReceipt(p []byte) (*Receipt, error) {
	if len(p) > maxReceipt {
		return nil, damaged("%d bytes", len(p))
	}
	r := new(Receipt)
	if err := decode(p, r); err != nil {
		return nil, err
	}
	return r, r.check()
}

func (r *Receipt) check() error {
	id, err := bundle.ParseID(r.Ident().String())
	switch {
	case err != nil:
		return damaged("%v", err)
	case id != r.Ident():
		return damaged("%s is a bundle of another name", r.Ident())
	case r.Schema != 1:
		return damaged("schema %d", r.Schema)
	case !isID(r.Tx):
		return damaged("transaction %q", r.Tx)
	case !isDigest(r.Digest):
		return damaged("digest %q", r.Digest)
	case r.Times < 1:
		return damaged("applied %d times", r.Times)
	}
	for i, p := range r.Paths {
		if err := checkPath(string(p.Path)); err != nil {
			return err
		}
		if i > 0 && p.Path <= r.Paths[i-1].Path {
			return damaged("%s is not in its place", p.Path)
		}
	}
	for _, name := range r.Queue {
		if checkPath(name) != nil || name == "." || strings.ContainsRune(name, '/') {
			return damaged("queue %q", name)
		}
	}
	return nil
}

// fileName is what the receipt of a product is called.
func fileName(product string) string {
	return strings.Replace(product, "/", "+", 1) + ".json"
}

// changed returns the paths of a receipt for these steps.
func changed(steps []step) []Path {
	var list []Path
	for i := range steps {
		s := &steps[i]
		if s.How == touch {
			continue
		}
		p := Path{Path: s.Path, Own: s.Own}
		if s.After != nil {
			p.Type, p.SHA256, p.Link = s.After.Type, s.After.SHA256, s.After.Link
		}
		list = append(list, p)
	}
	return list
}
