package plan

import "fmt"

// repair looks at what is there already, or was brought before: what is moved
// since trail must not take from it what it requires, nor bring what it
// conflicts with. Where it does, a newer version of that product is brought,
// too. It returns what remains broken.
func (r *resolver) repair(trail int) string {
	for {
		broken, blame := r.firstBroken(trail)
		if broken == nil {
			return ""
		}
		if !r.mend(broken, blame) {
			return blame
		}
	}
}

// firstBroken returns the first bundle that is there and does not go together
// with what was moved since, and why. What did not fit from the start is left
// as it is.
func (r *resolver) firstBroken(trail int) (*entry, string) {
	for _, m := range r.trail[trail:] {
		p := m.product
		now, start := r.at[p.index], r.findings.products[p.index].node
		for _, b := range p.refs {
			if r.at[b.by.product.index].entry != b.by || b.by.product == p || now.there && b.ref.has(now.version) {
				continue
			}
			if r.untouched(b.by) && !(start.there && b.ref.has(start.version)) {
				continue
			}
			return b.by, fmt.Sprintf("%s needs %s, and %s", b.by.name(), b.ref.text, r.whence(b.by.product))
		}
		for _, b := range p.foes {
			if r.at[b.by.product.index].entry != b.by || !now.there || !b.ref.has(now.version) {
				continue
			}
			if r.untouched(b.by) && start.there && b.ref.has(start.version) {
				continue
			}
			return b.by, fmt.Sprintf("%s conflicts with %s, and %s", b.by.name(), b.ref.text, r.whence(b.by.product))
		}
	}
	return nil, ""
}

// untouched tells whether e is there since before the plan.
func (r *resolver) untouched(e *entry) bool {
	return r.findings.products[e.product.index].entry == e
}

// mend brings the product of e to a higher version, the highest that fits.
func (r *resolver) mend(e *entry, blame string) bool {
	list := e.product.entries
	for i := len(list) - 1; i > e.place; i-- {
		o := list[i]
		if !r.possible[o.index] || r.better(o) != nil || !r.improves(o, r.at[o.product.index]) {
			continue
		}
		if r.bring(o, blame) == "" {
			return true
		}
	}
	return false
}
