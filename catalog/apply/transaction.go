package apply

import (
	"path"
	"slices"
	"strings"

	"slipcast/catalog/bundle"
)

// Bounds of what is read from a root.
const (
	maxTransaction = 512 << 20 // bytes of tx.json
	maxReceipt     = 64 << 20  // bytes of a receipt
	inverseGrows   = 4096      // bytes that tx.json of an inverse may have more
	maxCommit      = 65        // a digest and a newline
	maxPath        = 4096
	maxID          = 99999999
)

// A transaction is all that tx.json says: what happens, and what the receipt
// says about it. Each is its own inverse with the steps turned round.
type transaction struct {
	Schema   int           `json:"schema"` // 1
	ID       string        `json:"id"`
	Bundle   bundle.Header `json:"bundle"`
	Undoes   string        `json:"undoes,omitempty"`   // the transaction whose inverse this is
	Rollback bool          `json:"rollback,omitempty"` // that one was never finished
	Volumes  []Name        `json:"volumes"`            // tops of the file systems that it changes, the root's own is ""
	Steps    []step        `json:"steps,omitempty"`    // ordered by path
	Receipt  *Receipt      `json:"receipt,omitempty"`  // of the product afterwards
	Previous *Receipt      `json:"previous,omitempty"` // of the product before
}

// A step says what a path is before a transaction and what it is to be after
// it; nil is nothing. Doing a step twice is doing it once.
type step struct {
	Path   Name  `json:"path"`
	Before *Node `json:"before,omitempty"`
	After  *Node `json:"after,omitempty"`
	How    how   `json:"how,omitempty"`
	Own    bool  `json:"own,omitempty"` // Path.Own of the receipt
}

// how says how a step changes its path.
type how string

const (
	replace how = ""           // made, taken away, or put in the place of what was there
	alter   how = "attributes" // of the same file or directory
	touch   how = "time"       // of a directory, because of what happened in it
	nothing how = "keep"       // the bundle needs what is there already
)

// inPlace reports whether the step is about attributes of what stays.
func (s *step) inPlace() bool { return s.How == alter || s.How == touch }

// inverse returns the step back, without numbers.
func (s *step) inverse() step {
	back := step{Path: s.Path, How: s.How, Own: s.Own}
	back.Before, back.After = copyNode(s.After), copyNode(s.Before)
	return back
}

func copyNode(n *Node) *Node {
	if n == nil {
		return nil
	}
	c := *n
	c.Data = 0
	return &c
}

// made reports whether r is the receipt that the transaction left.
func (t *transaction) made(r *Receipt) bool {
	return t.Undoes == "" && t.Receipt.Product() == r.Product() && t.Receipt.Digest == r.Digest && t.Receipt.Tx == r.Tx
}

// encode returns tx.json.
func (t *transaction) encode() ([]byte, error) {
	p, err := canonical(t)
	return append(p, '\n'), err
}

// decodeTransaction reads a tx.json. Nothing in it is trusted: it lay on a
// disk. The error wraps [ErrDamaged].
func decodeTransaction(p []byte) (*transaction, error) {
	t := new(transaction)
	if err := decode(p, t); err != nil {
		return nil, err
	}
	return t, t.check()
}

func (t *transaction) check() error {
	switch {
	case t.Schema != 1:
		return damaged("schema %d", t.Schema)
	case !isID(t.ID):
		return damaged("id %q", t.ID)
	case t.Undoes != "" && (!isID(t.Undoes) || t.Undoes >= t.ID), t.Rollback && t.Undoes == "":
		return damaged("undoes %q", t.Undoes)
	}
	if t.Undoes == "" && (t.Receipt == nil || t.Receipt.Tx != t.ID) {
		return damaged("no receipt of what it applies")
	}
	if _, _, err := bundle.ParseProduct(t.Bundle.Product()); err != nil {
		return damaged("%v", err)
	}
	for _, r := range []*Receipt{t.Receipt, t.Previous} {
		if r == nil {
			continue
		}
		if err := r.check(); err != nil {
			return err
		}
		if r.Product() != t.Bundle.Product() {
			return damaged("a receipt of %s in a transaction of %s", r.Product(), t.Bundle.Product())
		}
	}
	return t.checkSteps()
}

func (t *transaction) checkSteps() error {
	last := Name("")
	for i := range t.Steps {
		s := &t.Steps[i]
		if err := s.check(); err != nil {
			return damaged("step %d: %v", i, err)
		}
		if i > 0 && s.Path <= last {
			return damaged("step %d: %q is not in its place", i, s.Path)
		}
		last = s.Path
	}
	return nil
}

func (s *step) check() error {
	if err := checkPath(string(s.Path)); err != nil {
		return err
	}
	if s.Before == nil && s.After == nil {
		return damaged("%s: from nothing to nothing", s.Path)
	}
	if s.Path == "." && (!s.inPlace() || !s.After.dir()) {
		return damaged("the root itself: how %q", s.How)
	}
	stays := s.Before != nil && s.After != nil && s.Before.Type == s.After.Type
	switch s.How {
	case replace:
	case nothing, touch, alter:
		if !stays || s.How == touch && !s.After.dir() {
			return damaged("%s: how %q", s.Path, s.How)
		}
	default:
		return damaged("%s: how %q", s.Path, s.How)
	}
	for _, n := range []*Node{s.Before, s.After} {
		if err := n.check(); err != nil {
			return damaged("%s: %v", s.Path, err)
		}
	}
	return nil
}

func (n *Node) check() error {
	if n == nil {
		return nil
	}
	switch {
	case !slices.Contains([]Type{File, Dir, Symlink, Special}, n.Type):
		return damaged("type %q", n.Type)
	case n.Mode > 0o7777, n.Size < 0, n.Data < 0, n.Time.Nsec < 0 || n.Time.Nsec > 999999999:
		return damaged("a number that cannot be")
	case n.SHA256 != "" && !isDigest(n.SHA256):
		return damaged("digest %q", n.SHA256)
	case (n.Link != "") != (n.Type == Symlink):
		return damaged("a link text of %s", n.name())
	}
	return nil
}

// checkPath refuses what is not a clean path in a root.
func checkPath(p string) error {
	if p == "" || len(p) > maxPath || p != path.Clean(p) || p[0] == '/' || p == ".." ||
		strings.HasPrefix(p, "../") || strings.ContainsRune(p, 0) {
		return damaged("path %q", p)
	}
	return nil
}

// isID reports whether text is a number of a transaction.
func isID(text string) bool {
	return len(text) == 8 && strings.Trim(text, "0123456789") == ""
}

func isDigest(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}
