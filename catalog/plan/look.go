package plan

import (
	"context"
	"fmt"

	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
	"slipcast/catalog/version"
)

// A Detector tells what is on one root. Its probes are those of section 3 of
// docs/bundles.md; product is not asked for, since that is what Look finds out.
// Look calls it from one goroutine.
type Detector interface {
	condition.Facts

	// Payload tells whether the payload of b lies on the root as b would
	// leave it, and why not or why nobody knows: section 9.7.
	Payload(ctx context.Context, b *Bundle) (condition.Verdict, string)
}

// LookOptions say what is known of a root besides what lies on it.
type LookOptions struct {
	Receipts []Receipt // of what was applied to it
	Machine  bool      // there is a machine that conditions can ask
}

// Findings are what was found on a root: the version of each product, and
// which bundles apply. They do not change, belong to the catalog that they were
// made by, and are safe for concurrent use.
type Findings struct {
	catalog  *Catalog
	machine  bool
	products []found   // by product.index
	bundles  []applies // by entry.index
}

// found is what is there of a product.
type found struct {
	node
	unknown string // why nobody knows; empty: somebody does
	probes  []condition.Answer
}

// A node is a state of a product: nothing, or a version of it.
type node struct {
	there   bool
	version version.Version
	release int    // 0: nobody knows, so no release of this version is newer
	entry   *entry // the bundle that gives it; nil if the catalog has none
}

// applies is whether a bundle is for this root.
type applies struct {
	verdict condition.Verdict
	reason  string // unless it is yes
	probes  []condition.Answer
}

// Look finds out what is on a root. An error is ctx's: whatever else goes wrong
// makes a product or a bundle unknown, and is its reason.
func (c *Catalog) Look(ctx context.Context, d Detector, opt LookOptions) (*Findings, error) {
	l := &looker{
		Detector: d, catalog: c, opt: opt,
		receipts: map[string]Receipt{}, verdicts: map[*condition.Condition]applies{},
		done: make([]bool, len(c.products)), busy: make([]bool, len(c.products)),
		findings: &Findings{catalog: c, machine: opt.Machine, products: make([]found, len(c.products)), bundles: make([]applies, len(c.entries))},
	}
	for _, r := range opt.Receipts {
		l.receipts[r.Product] = r
	}
	family, err := d.Probe(ctx, "family")
	if err == nil {
		l.family, _ = family.(string)
	} else {
		l.noFamily = err.Error()
	}
	for _, p := range c.products {
		l.product(ctx, p)
	}
	for _, e := range c.entries {
		l.findings.bundles[e.index] = l.applies(ctx, e)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.findings, nil
}

// A looker makes findings. It answers the probe product itself.
type looker struct {
	Detector
	catalog  *Catalog
	opt      LookOptions
	family   string
	noFamily string // why the family is unknown
	receipts map[string]Receipt
	verdicts map[*condition.Condition]applies
	done     []bool
	busy     []bool
	findings *Findings
}

// Probe implements condition.Facts.
func (l *looker) Probe(ctx context.Context, name string, args ...string) (any, error) {
	if name != "product" || len(args) != 1 {
		return l.Detector.Probe(ctx, name, args...)
	}
	p := l.catalog.byName[args[0]]
	if p == nil {
		return "", nil // what no bundle can bring is not there
	}
	if l.busy[p.index] {
		return nil, fmt.Errorf("whether %s is there is asked in a circle", p.name)
	}
	f := l.product(ctx, p)
	switch {
	case f.unknown != "":
		return nil, fmt.Errorf("%s is unknown: %s", p.name, f.unknown)
	case !f.there:
		return "", nil
	}
	return f.version.String(), nil
}

// product finds out which version of p is there, once.
func (l *looker) product(ctx context.Context, p *product) *found {
	f := &l.findings.products[p.index]
	if l.done[p.index] {
		return f
	}
	l.busy[p.index] = true
	*f = l.detect(ctx, p)
	l.busy[p.index], l.done[p.index] = false, true
	return f
}

// detect asks detect.version of the highest release that has one; without any
// it looks from the highest release down for one that is there.
func (l *looker) detect(ctx context.Context, p *product) found {
	if e := l.teller(p); e != nil {
		return l.tell(ctx, e)
	}
	var probes []condition.Answer
	for i := len(p.entries) - 1; i >= 0; i-- {
		e := p.entries[i]
		if !l.ours(e) {
			continue
		}
		verdict, reason, asked := l.there(ctx, e)
		probes = append(probes, asked...)
		switch verdict {
		case condition.Yes:
			return found{node: node{there: true, version: e.version, release: e.Release, entry: e}, probes: asked}
		case condition.Unknown:
			return found{unknown: reason, probes: asked}
		}
	}
	return found{probes: probes}
}

// ours tells whether e is for the root's family of systems. What is for another
// is not looked for.
func (l *looker) ours(e *entry) bool { return l.family == "" || e.Family == l.family }

// teller returns the entry whose detect.version is asked: of those that are not
// recalled if there is one, since a faulty rule is a reason to recall.
func (l *looker) teller(p *product) *entry {
	var recalled *entry
	for i := len(p.entries) - 1; i >= 0; i-- {
		e := p.entries[i]
		if e.detect == nil || !l.ours(e) {
			continue
		}
		if e.Recalled == "" {
			return e
		}
		if recalled == nil {
			recalled = e
		}
	}
	return recalled
}

// tell asks detect.version of e.
func (l *looker) tell(ctx context.Context, e *entry) found {
	text, known, probes := e.detect.Text(ctx, l)
	switch {
	case !known:
		return found{unknown: last(probes), probes: probes}
	case text == "":
		return found{probes: probes}
	}
	v, err := version.Parse(e.Scheme, text)
	if err != nil {
		return found{unknown: "detection finds what is no version: " + err.Error(), probes: probes}
	}
	return found{node: l.known(e.product, v), probes: probes}
}

// known returns the node of a version of p. Which release it is only a receipt
// can tell. Without one it is taken for a recalled one if there is such, and
// else for the highest, so that nothing is brought again that is there.
func (l *looker) known(p *product, v version.Version) node {
	n := node{there: true, version: v}
	id, err := bundle.ParseID(l.receipts[p.name].Bundle)
	for _, e := range p.entries {
		if order, _ := e.version.Compare(v); order != 0 { // one scheme
			continue
		}
		if err == nil && id.Version == e.Version && id.Release == e.Release {
			return node{there: true, version: v, release: e.Release, entry: e}
		}
		if n.release == 0 {
			n.entry = e
		}
		if e.Recalled != "" {
			n.entry, n.release = e, e.Release
		}
	}
	return n
}

// there tells whether this very version and release is on the root.
func (l *looker) there(ctx context.Context, e *entry) (condition.Verdict, string, []condition.Answer) {
	switch {
	case e.fault != "":
		return condition.Unknown, e.fault, nil
	case e.present != nil:
		verdict, probes := e.present.Verdict(ctx, l)
		return verdict, last(probes), probes
	case e.collection():
		verdict, reason := l.gathered(ctx, e)
		return verdict, reason, nil
	}
	verdict, reason := l.Payload(ctx, &e.Bundle)
	if verdict == condition.Yes {
		return verdict, "", nil
	}
	probe := condition.Answer{Probe: "payload", Args: []string{e.id}, Value: reason}
	if verdict == condition.Unknown {
		probe.Value, probe.Err = "", reason
	}
	return verdict, reason, []condition.Answer{probe}
}

// gathered tells whether all is there that a collection requires.
func (l *looker) gathered(ctx context.Context, e *entry) (condition.Verdict, string) {
	for _, ref := range e.requires {
		if ref.product == nil {
			return condition.No, ""
		}
		if l.busy[ref.product.index] {
			return condition.No, "" // a circle is never complete
		}
		f := l.product(ctx, ref.product)
		switch {
		case f.unknown != "":
			return condition.Unknown, fmt.Sprintf("%s is unknown: %s", ref.product.name, f.unknown)
		case !f.there || !ref.has(f.version):
			return condition.No, ""
		}
	}
	return condition.Yes, ""
}

// applies finds out whether e is for this root.
func (l *looker) applies(ctx context.Context, e *entry) applies {
	switch {
	case e.fault != "":
		return applies{reason: e.fault}
	case l.family == "":
		return applies{reason: "which system this is is unknown: " + l.noFamily}
	case !l.ours(e):
		return applies{verdict: condition.No, reason: fmt.Sprintf("it is for %s, and this is %s", e.Family, l.family)}
	case e.Machine && !l.opt.Machine:
		return applies{verdict: condition.No, reason: "it asks for the machine, so it is applied after restore and to nothing else"}
	case e.applies == nil:
		return applies{verdict: condition.Yes}
	}
	a, ok := l.verdicts[e.applies]
	if !ok {
		a.verdict, a.probes = e.applies.Verdict(ctx, l)
		switch a.verdict {
		case condition.No:
			a.reason = "its condition says no: " + list(a.probes)
		case condition.Unknown:
			a.reason = "its condition has no answer: " + last(a.probes)
		}
		l.verdicts[e.applies] = a
	}
	return a
}
