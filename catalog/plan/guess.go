package plan

import (
	"cmp"
	"slices"
	"strings"
)

// Guess returns the bundles that systems of which nothing is known may want: of
// each product that is named (NAME, NAME@VERSION or NAME@VERSION-RELEASE), or of
// all if none is, the highest that is meant and not recalled, and the highest of
// what each of these requires. Those in have, IDs of bundles that are there
// already, are left out. Names that the catalog has not are passed over.
//
// The way there counts, too: where a bundle goes onto versions alone of which
// systems have none, as far as have knows, the lowest of these.
//
// It is no plan: what applies, and what something else supersedes, only a look at
// the system tells. Bundles of named products come in that order, else the most
// severe first, each before what it needs.
func (c *Catalog) Guess(names []string, have map[string]bool) []Bundle {
	g := &guess{have: have, taken: map[*entry]bool{}}
	for _, name := range names {
		product, wanted, pinned := strings.Cut(name, "@")
		switch p := c.byName[product]; {
		case p == nil:
		case pinned:
			g.take(p, p.meant(wanted))
		default:
			g.take(p, func(*entry) bool { return true })
		}
	}
	if len(names) == 0 {
		for _, p := range c.severest() {
			g.take(p, func(*entry) bool { return true })
		}
	}
	return g.list
}

// severest returns all products, those first whose highest bundle is most severe.
func (c *Catalog) severest() []*product {
	rank := func(p *product) int { return severityRank(p.entries[len(p.entries)-1].Severity) }
	list := slices.Clone(c.products)
	slices.SortStableFunc(list, func(a, b *product) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

// A guess is a Guess under way.
type guess struct {
	have  map[string]bool
	taken map[*entry]bool
	list  []Bundle
}

// take adds the highest bundle of a product that fits. There is none of no
// product.
func (g *guess) take(p *product, fits func(*entry) bool) {
	if p == nil {
		return
	}
	for _, e := range slices.Backward(p.entries) {
		if e.mayBe() && fits(e) {
			g.add(e)
			return
		}
	}
}

// mayBe tells whether e may be a part of some plan.
func (e *entry) mayBe() bool { return e.Recalled == "" && e.fault == "" }

// add adds a bundle, what it goes onto, and what it requires, unless it is there.
func (g *guess) add(e *entry) {
	if g.taken[e] || g.have[e.id] {
		return
	}
	g.taken[e] = true
	g.list = append(g.list, e.Bundle)
	if below := g.below(e); below != nil {
		g.add(below)
	}
	for _, ref := range e.requires {
		g.take(ref.product, func(e *entry) bool { return ref.has(e.version) })
	}
}

// below returns the lowest bundle that must be there before e, nil if none must.
func (g *guess) below(e *entry) *entry {
	var lowest *entry
	there := false // something of the product is
	for _, o := range e.product.entries[:e.place] {
		there = there || g.have[o.id]
		switch {
		case !e.onTop(o):
		case g.have[o.id]:
			return nil
		case lowest == nil && o.mayBe():
			lowest = o
		}
	}
	if !there && slices.ContainsFunc(e.from, func(f from) bool { return f.nothing }) {
		return nil
	}
	return lowest
}

// onTop tells whether e goes onto o, and not onto everything.
func (e *entry) onTop(o *entry) bool {
	return slices.ContainsFunc(e.from, func(f from) bool {
		yes, err := f.onto.Has(o.version)
		return f.some && err == nil && yes
	})
}
