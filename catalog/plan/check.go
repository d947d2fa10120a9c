package plan

import (
	"errors"
	"fmt"

	"slipcast/catalog/bundle"
	"slipcast/catalog/version"
)

// ErrStale is wrapped by every error about a saved plan that may not run any
// more: the catalog or the root is another one than when it was made.
var ErrStale = errors.New("the plan does not hold any more")

// Check tells whether a plan that was saved may run on the root of which f was
// found and whose digest is root (see [Options.Root]; empty where there is
// none). It may run from its first step if everything is as it was found then;
// or, since a plan may be cut short by a restart, from a later one, if
// everything is as it is after the steps before that. Check returns how many
// steps are done. Every error wraps [ErrStale]. A collection follows from other
// products, so it is not looked at.
func (c *Catalog) Check(p *Plan, f *Findings, root string) (done int, err error) {
	for i := range p.Steps {
		if err := c.checkStep(p, i); err != nil {
			return 0, err
		}
	}
	if p.Machine != f.machine {
		return 0, fmt.Errorf("%w: it was made with a machine to ask, or without one, and this is the other way round", ErrStale)
	}
	state := map[string]Product{}
	for _, q := range p.Products {
		state[q.Name] = q
	}
	first := c.differs(state, f)
	if first == nil && p.Root == root {
		return 0, nil
	}
	for i, s := range p.Steps {
		state[productOf(s.Bundle)] = afterStep(state[productOf(s.Bundle)], s)
		if c.differs(state, f) == nil && first != nil {
			return i + 1, nil
		}
	}
	if first == nil {
		first = fmt.Errorf("its digest is %.16s, and was %.16s when the plan was made", or(root, "not known"), or(p.Root, "not known"))
	}
	return 0, fmt.Errorf("%w: this is not the root that was looked at: %w", ErrStale, first)
}

// checkStep looks a step up in the catalog.
func (c *Catalog) checkStep(p *Plan, i int) error {
	s := &p.Steps[i]
	e := c.find(s.Bundle)
	switch {
	case e == nil:
		return fmt.Errorf("%w: step %d: the catalog has no bundle %s", ErrStale, i+1, s.Bundle)
	case e.Digest != s.Digest:
		return fmt.Errorf("%w: step %d: %s in the catalog has the digest %.16s, and had %.16s", ErrStale, i+1, s.Bundle, e.Digest, s.Digest)
	case e.Recalled != "":
		return fmt.Errorf("%w: step %d: %s is recalled: %s", ErrStale, i+1, s.Bundle, e.Recalled)
	}
	return nil
}

// find returns the bundle with an ID, or nil.
func (c *Catalog) find(id string) *entry {
	parts, err := bundle.ParseID(id)
	if err != nil || c.byName[parts.Product()] == nil {
		return nil
	}
	for _, e := range c.byName[parts.Product()].entries {
		if e.id == id {
			return e
		}
	}
	return nil
}

// productOf returns the product of a bundle's ID.
func productOf(id string) string {
	parts, err := bundle.ParseID(id)
	if err != nil {
		return id // checked by whoever read or made the plan
	}
	return parts.Product()
}

// afterStep returns how a product is found after a step.
func afterStep(p Product, s Step) Product {
	id, _ := bundle.ParseID(s.Bundle) // see productOf
	p.Unsure, p.Version, p.Release = false, id.Version, id.Release
	return p
}

// differs says which product is found otherwise than in state; nil if all are
// alike. Products that the catalog has or had not are passed over, and releases
// that nobody knows.
func (c *Catalog) differs(state map[string]Product, f *Findings) error {
	for _, p := range c.products {
		was, ok := state[p.name]
		if !ok || p.collects() {
			continue
		}
		now := &f.products[p.index]
		there, release := "", 0
		if now.there {
			there, release = now.version.String(), now.release
		}
		switch {
		case was.Unsure != (now.unknown != ""):
			return fmt.Errorf("which version of %s is there is known now and was not, or the other way round", p.name)
		case !version.Same(p.scheme, was.Version, there):
			return fmt.Errorf("%s is at %s now, and was at %s", p.name, or(there, "nothing"), or(was.Version, "nothing"))
		case was.Release != release && was.Release != 0 && release != 0:
			return fmt.Errorf("%s %s is release %d now, and was %d", p.name, there, release, was.Release)
		}
	}
	return nil
}

// collects tells whether p has a collection.
func (p *product) collects() bool {
	for _, e := range p.entries {
		if e.collection() {
			return true
		}
	}
	return false
}
