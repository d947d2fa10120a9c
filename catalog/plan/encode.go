package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"slipcast/catalog/bundle"
)

// maxPlan is how many bytes a saved plan may have. One of 5,000 bundles has
// about one million.
const maxPlan = 64 << 20

// ErrMalformed is wrapped by every error about bytes that are no plan.
var ErrMalformed = errors.New("malformed plan")

// Encode returns the canonical JSON of p: docs/bundles.md, section 8.1.
func (p *Plan) Encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		panic(err) // all fields are texts, numbers, and lists of them
	}
	return b.Bytes()
}

// Digest returns the SHA-256 of the encoded plan, in hexadecimal: its name.
func (p *Plan) Digest() string {
	sum := sha256.Sum256(p.Encode())
	return hex.EncodeToString(sum[:])
}

// Decode reads a plan that [Plan.Encode] wrote. It takes nothing else: not a
// key that is not known, not one twice, and no other way of writing the same
// plan. Every error wraps [ErrMalformed].
func Decode(text []byte) (*Plan, error) {
	if len(text) > maxPlan {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(text), maxPlan)
	}
	p := new(Plan)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if p.Schema != schema {
		return nil, fmt.Errorf("%w: schema %d, want %d", ErrMalformed, p.Schema, schema)
	}
	if !bytes.Equal(p.Encode(), text) {
		return nil, fmt.Errorf("%w: it is not canonical", ErrMalformed)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return p, nil
}

// check checks what the types do not.
func (p *Plan) check() error {
	if p.Root != "" && !isDigest(p.Root) {
		return fmt.Errorf("root %.80q is no digest", p.Root)
	}
	for _, s := range p.Steps {
		if err := s.check(); err != nil {
			return err
		}
	}
	for i, q := range p.Products {
		if _, _, err := bundle.ParseProduct(q.Name); err != nil {
			return err
		}
		if i > 0 && p.Products[i-1].Name >= q.Name {
			return fmt.Errorf("product %s is not in its place", q.Name)
		}
		if !q.State.known() || q.Reason == "" {
			return fmt.Errorf("product %s: state %.20q, reason %.20q", q.Name, q.State, q.Reason)
		}
	}
	for _, c := range p.Cells {
		if _, err := bundle.ParseID(c.Bundle); err != nil {
			return err
		}
		if !c.State.known() || c.Reason == "" {
			return fmt.Errorf("bundle %s: state %.20q, reason %.20q", c.Bundle, c.State, c.Reason)
		}
	}
	return nil
}

func (s *Step) check() error {
	if _, err := bundle.ParseID(s.Bundle); err != nil {
		return err
	}
	switch {
	case !isDigest(s.Digest):
		return fmt.Errorf("step %s: %.80q is no digest", s.Bundle, s.Digest)
	case !slices.Contains([]bundle.Reboot{"", bundle.Never, bundle.Deferred, bundle.Required, bundle.Between}, s.Reboot):
		return fmt.Errorf("step %s: reboot %.20q", s.Bundle, s.Reboot)
	case !slices.Contains([]bundle.Severity{"", bundle.Critical, bundle.Important, bundle.Moderate, bundle.Low}, s.Severity):
		return fmt.Errorf("step %s: severity %.20q", s.Bundle, s.Severity)
	case s.Bytes < 0 || s.FromRelease < 0:
		return fmt.Errorf("step %s: a number below 0", s.Bundle)
	}
	return nil
}

// known tells whether s is one of the states.
func (s State) known() bool {
	return slices.Contains([]State{Installed, Missing, NotApplicable, Unknown, Superseded, Recalled}, s)
}

// isDigest tells whether text is a SHA-256 in lower-case hexadecimal.
func isDigest(text string) bool {
	p, err := hex.DecodeString(text)
	return err == nil && len(p) == sha256.Size && hex.EncodeToString(p) == text
}
