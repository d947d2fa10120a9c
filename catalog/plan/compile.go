package plan

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
	"slipcast/catalog/version"
)

// A Catalog is headers that were read once and serve for any number of roots.
// It does not change and is safe for concurrent use.
type Catalog struct {
	products []*product // ordered by name
	byName   map[string]*product
	entries  []*entry // ordered by product, then from the lowest version up
}

// A product is all bundles that are versions of one thing.
type product struct {
	index   int
	name    string
	scheme  string
	entries []*entry  // from the lowest version and release up
	refs    []backref // requirements of bundles of any product that name this one
	foes    []backref // likewise, conflicts
}

// A backref is a reference, seen from the product that it names.
type backref struct {
	by  *entry
	ref *reference
}

// An entry is one bundle.
type entry struct {
	Bundle
	index     int // in Catalog.entries
	place     int // in product.entries
	rank      int // of its version in its product; releases of one version share it
	id        string
	product   *product
	version   version.Version
	from      []from
	requires  []*reference
	conflicts []*reference
	betters   []*entry // bundles of other products that supersede this one
	applies   *condition.Condition
	detect    *condition.Condition // detect.version
	present   *condition.Condition // detect.present
	fault     string               // why it cannot be planned with; empty: it can
}

// A from is one line of upgrades_from.
type from struct {
	nothing, some bool
	onto          version.Range
}

// A reference names versions of a product.
type reference struct {
	text    string   // as people read it: "vcredist >=14"
	product *product // nil if the catalog has none
	within  version.Range
}

// Compile reads the headers of a catalog. The order of bundles does not matter;
// Compile keeps their slices and changes nothing in them. A bundle that is there twice, or
// whose version has no order within its product, is an error. A bundle with
// another fault is unknown in every plan, and its cell says why.
func Compile(bundles []Bundle) (*Catalog, error) {
	c := &Catalog{byName: map[string]*product{}}
	conditions := &conditions{compiled: map[string]*condition.Condition{}, faults: map[string]error{}}
	for i := range bundles {
		if err := c.add(&bundles[i], conditions); err != nil {
			return nil, err
		}
	}
	for _, p := range c.byName {
		if err := p.sort(); err != nil {
			return nil, err
		}
		c.products = append(c.products, p)
	}
	slices.SortFunc(c.products, func(a, b *product) int { return cmp.Compare(a.name, b.name) })
	for i, p := range c.products {
		p.index = i
		for _, e := range p.entries {
			e.index = len(c.entries)
			c.entries = append(c.entries, e)
		}
	}
	for _, e := range c.entries {
		c.link(e)
	}
	return c, nil
}

// add makes an entry of b.
func (c *Catalog) add(b *Bundle, conditions *conditions) error {
	e := &entry{Bundle: *b, id: b.ID()}
	v, err := version.Parse(b.Scheme, b.Version)
	if err != nil {
		return fmt.Errorf("bundle %s: %w", e.id, err)
	}
	e.version = v
	p := c.byName[b.Product()]
	if p == nil {
		p = &product{name: b.Product(), scheme: b.Scheme}
		c.byName[p.name] = p
	}
	if p.scheme != b.Scheme {
		return fmt.Errorf("bundle %s: its scheme is %s, and that of other bundles of %s is %s", e.id, b.Scheme, p.name, p.scheme)
	}
	e.product = p
	p.entries = append(p.entries, e)
	e.applies = conditions.bool(e, b.Applies)
	e.detect = conditions.text(e, b.Detect.Version)
	e.present = conditions.bool(e, b.Detect.Present)
	for _, f := range b.From {
		within, err := version.ParseRange(b.Scheme, f.Range)
		if err != nil {
			e.blame("upgrades_from", err)
		}
		e.from = append(e.from, from{nothing: f.Nothing, some: f.Range != "" || !f.Nothing, onto: within})
	}
	return nil
}

// sort orders the entries of a product and gives them their ranks.
func (p *product) sort() error {
	var twice error
	sort.Slice(p.entries, func(i, j int) bool {
		a, b := p.entries[i], p.entries[j]
		order, err := a.version.Compare(b.version)
		order = cmp.Or(order, cmp.Compare(a.Release, b.Release))
		if twice == nil && (err != nil || order == 0) {
			twice = cmp.Or(err, fmt.Errorf("bundles %s and %s are one version and release", a.id, b.id))
		}
		return order < 0
	})
	if twice != nil {
		return twice
	}
	for i, e := range p.entries {
		e.place = i
		if i > 0 {
			e.rank = p.entries[i-1].rank
			if order, _ := p.entries[i-1].version.Compare(e.version); order != 0 { // one scheme
				e.rank++
			}
		}
	}
	return nil
}

// link finds what e refers to.
func (c *Catalog) link(e *entry) {
	for _, r := range e.Requires {
		ref := c.reference(e, r, "requires")
		e.requires = append(e.requires, ref)
		if ref.product != nil {
			ref.product.refs = append(ref.product.refs, backref{e, ref})
		}
	}
	for _, r := range e.Conflicts {
		ref := c.reference(e, r, "conflicts")
		if ref.product == nil || ref.product == e.product {
			continue
		}
		e.conflicts = append(e.conflicts, ref)
		ref.product.foes = append(ref.product.foes, backref{e, ref})
	}
	for _, r := range e.Supersedes {
		ref := c.reference(e, r, "supersedes")
		if ref.product == nil || ref.product == e.product {
			continue // a higher version supersedes a lower one without being asked
		}
		for _, old := range ref.product.entries {
			if ref.has(old.version) {
				old.betters = append(old.betters, e)
			}
		}
	}
}

// reference reads a reference of e.
func (c *Catalog) reference(e *entry, r bundle.Reference, field string) *reference {
	ref := &reference{text: r.Product, product: c.byName[r.Product]}
	if r.Range != "" {
		ref.text += " " + r.Range
	}
	if ref.product == nil {
		return ref
	}
	within, err := version.ParseRange(ref.product.scheme, r.Range)
	if err != nil {
		e.blame(field+": "+r.Product, err)
	}
	ref.within = within
	return ref
}

// has tells whether v, a version of the product that r names, is meant.
func (r *reference) has(v version.Version) bool {
	yes, err := r.within.Has(v)
	return err == nil && yes
}

// blame keeps the first fault of e.
func (e *entry) blame(field string, err error) {
	if e.fault == "" {
		e.fault = fmt.Sprintf("the bundle itself is faulty: %s: %v", field, err)
	}
}

// name returns the entry as people read it in a reason: its product and
// version, with the release where there is more than one.
func (e *entry) name() string {
	if e.sole() {
		return e.product.name + " " + e.Version
	}
	return fmt.Sprintf("%s %s-%d", e.product.name, e.Version, e.Release)
}

// short is name without the product.
func (e *entry) short() string {
	if e.sole() {
		return e.Version
	}
	return fmt.Sprintf("%s-%d", e.Version, e.Release)
}

// sole tells whether e is the only release of its version.
func (e *entry) sole() bool {
	list := e.product.entries
	return (e.place == 0 || list[e.place-1].rank != e.rank) && (e.place == len(list)-1 || list[e.place+1].rank != e.rank)
}

// collection tells whether e is there as soon as all is there that it requires.
func (e *entry) collection() bool {
	return e.Kind == bundle.Collection && e.detect == nil && e.present == nil
}

// conditions compiles each text once.
type conditions struct {
	compiled map[string]*condition.Condition
	faults   map[string]error
}

func (c *conditions) bool(e *entry, text string) *condition.Condition {
	return c.compile(e, "?", text, condition.CompileBool)
}

func (c *conditions) text(e *entry, text string) *condition.Condition {
	return c.compile(e, "$", text, condition.CompileText)
}

func (c *conditions) compile(e *entry, kind, text string, compile func(string) (*condition.Condition, error)) *condition.Condition {
	if text == "" {
		return nil
	}
	key := kind + text
	if _, ok := c.compiled[key]; !ok {
		c.compiled[key], c.faults[key] = compile(text)
	}
	if err := c.faults[key]; err != nil {
		e.blame(fmt.Sprintf("condition %q", text), err)
		return nil
	}
	return c.compiled[key]
}
