package plan

import (
	"fmt"
	"slices"
	"strings"

	"slipcast/catalog/condition"
)

// onto returns what e goes onto, as people read it.
func (e *entry) onto() string {
	var words []string
	for _, f := range e.from {
		if f.nothing {
			words = append(words, "nothing")
		}
		if text := f.onto.String(); f.some && text != "" {
			words = append(words, text)
		} else if f.some {
			words = append(words, "any lower version")
		}
	}
	if len(words) == 0 {
		return "nothing or any lower version"
	}
	return strings.Join(words, " or ")
}

// text returns what is there of a product.
func (n node) text() string {
	switch {
	case !n.there:
		return "nothing"
	case n.entry != nil && n.release > 0:
		return n.entry.short()
	}
	return n.version.String()
}

// whence says that a product is there, and whether the plan brought it.
func (r *resolver) whence(p *product) string {
	n := r.at[p.index]
	switch {
	case !n.there:
		return fmt.Sprintf("%s is not there", p.name)
	case slices.ContainsFunc(r.steps, func(s *step) bool { return s.entry == n.entry }):
		return fmt.Sprintf("the plan brings %s %s", p.name, n.text())
	}
	return fmt.Sprintf("%s %s is there", p.name, n.text())
}

// unusable says why e cannot be a part of a plan; empty if it can.
func (r *resolver) unusable(e *entry) string {
	f, a := &r.findings.products[e.product.index], &r.findings.bundles[e.index]
	switch {
	case e.fault != "":
		return e.fault
	case e.Recalled != "":
		return "it is recalled: " + e.Recalled
	case f.unknown != "":
		return fmt.Sprintf("which version of %s is there is unknown: %s", e.product.name, f.unknown)
	case a.verdict == condition.Yes:
		return ""
	case a.verdict == condition.No:
		return "it does not apply: " + a.reason
	}
	return "whether it applies is unknown: " + a.reason
}

// ungiven says which secret of e nobody can give; empty if there is none.
func (r *resolver) ungiven(e *entry) string {
	if !r.opt.Unattended {
		return ""
	}
	given := r.opt.Params[e.product.name]
	for _, p := range e.Params {
		if _, ok := given[p.Name]; p.Secret && !ok {
			return fmt.Sprintf("it wants the secret %s, which nobody can give here: bake the bundle into the image, or apply it by hand", p.Name)
		}
	}
	return ""
}

// whyNot says why e is not possible. above are the bundles that it was asked
// for.
func (r *resolver) whyNot(e *entry, above []*entry) string {
	if slices.Contains(above, e) {
		return "these need each other in a circle"
	}
	if why := or(r.unusable(e), r.ungiven(e)); why != "" {
		return reasonf("of %s: %s", e.name(), why)
	}
	for _, ref := range e.requires {
		if !r.canHold(ref) {
			return reasonf("%s needs %s, but %s", e.name(), ref.text, r.lacking(ref, append(above, e)))
		}
	}
	return r.noWay(e)
}

// lacking says why what ref names cannot be there.
func (r *resolver) lacking(ref *reference, above []*entry) string {
	if ref.product == nil {
		return "no bundle of the catalog is of that product"
	}
	if unknown := r.findings.products[ref.product.index].unknown; unknown != "" {
		return fmt.Sprintf("which version of %s is there is unknown: %s", ref.product.name, unknown)
	}
	n, list := r.at[ref.product.index], ref.product.entries
	var meant []*entry // from the highest down
	for i := len(list) - 1; i >= 0; i-- {
		if ref.has(list[i].version) {
			meant = append(meant, list[i])
		}
	}
	if len(meant) == 0 {
		return fmt.Sprintf("the highest of the catalog is %s", list[len(list)-1].short())
	}
	higher := slices.IndexFunc(meant, func(e *entry) bool { return r.improves(e, n) && r.usable(e) })
	switch {
	case higher >= 0:
		return r.whyNot(meant[higher], above)
	case !r.improves(meant[0], n):
		return r.whence(ref.product) + ", and nothing goes back to a lower version"
	}
	return r.whyNot(meant[0], above)
}

// noWay says which steps a way to e would need, and where it ends.
func (r *resolver) noWay(e *entry) string {
	n := r.at[e.product.index]
	text := fmt.Sprintf("no way from %s to %s: %s goes onto %s", n.text(), e.name(), e.short(), e.onto())
	for range 8 {
		under := r.under(e)
		if under == nil {
			return text + ", and the catalog has nothing between"
		}
		if why := or(r.unusable(under), r.ungiven(under)); why != "" {
			return reasonf("%s; of %s: %s", text, under.short(), why)
		}
		text = reasonf("%s; %s goes onto %s", text, under.short(), under.onto())
		e = under
	}
	return text
}

// under returns the highest version below e that e goes onto, one that is
// usable if there is one.
func (r *resolver) under(e *entry) *entry {
	var other *entry
	for i := e.place - 1; i >= 0; i-- {
		o := e.product.entries[i]
		if !e.takes(o.node()) || !r.improves(o, r.at[e.product.index]) {
			continue
		}
		if r.usable(o) {
			return o
		}
		if other == nil {
			other = o
		}
	}
	return other
}

// circle says that e needs itself.
func (r *resolver) circle(e *entry) string {
	start := slices.IndexFunc(r.stack, func(o *entry) bool { return o.product == e.product })
	var words []string
	for _, o := range append(slices.Clone(r.stack[start:]), e) {
		words = append(words, o.name())
	}
	return reasonf("%s: these need each other in a circle", strings.Join(words, " needs "))
}
