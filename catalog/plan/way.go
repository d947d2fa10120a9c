package plan

import (
	"cmp"
	"math"

	"slipcast/catalog/bundle"
)

// A cost is what a way costs: fewer steps are better, then fewer restarts, then
// none at its end.
type cost struct {
	steps    int
	restarts int // because of reboot: between
	final    int // 1 if a step wants a reboot at the end
}

// before returns the cost of a way that begins with e and goes on at cost c.
func (c cost) before(e *entry) cost {
	c.steps++
	switch e.Reboot {
	case bundle.Between:
		c.restarts++
	case bundle.Required:
		c.final = 1
	}
	return c
}

// less tells whether c is better than d.
func (c cost) less(d cost) bool {
	return cmp.Or(cmp.Compare(c.steps, d.steps), cmp.Compare(c.restarts, d.restarts), cmp.Compare(c.final, d.final)) < 0
}

// way returns the first step of the best way from what is there to target, the
// second, nil if there is none, and how many steps it has; first is nil if there
// is no way. Of ways with one cost that of the highest versions is the best.
// Steps go up only, unless what is there may fall.
func (r *resolver) way(target *entry, banned map[*entry]bool) (first, second *entry, steps int) {
	from := r.at[target.product.index]
	fits := func(e *entry) bool { return r.possible[e.index] && !banned[e] }
	if !fits(target) {
		return nil, nil, 0
	}
	if r.allowed(target, from) {
		return target, nil, 1
	}
	list := target.product.entries[:target.place+1]
	costs := make([]cost, len(list)) // from there to target; without a way 0, as it is for the target
	next := make([]*entry, len(list))
	best := func(n node, above int) (first *entry, least cost) {
		for i := len(list) - 1; i > above; i-- {
			if list[i] != target && next[i] == nil || !r.allowed(list[i], n) {
				continue
			}
			if c := costs[i].before(list[i]); first == nil || c.less(least) {
				first, least = list[i], c
			}
		}
		return first, least
	}
	for i := len(list) - 2; i >= 0; i-- {
		if fits(list[i]) {
			next[i], costs[i] = best(list[i].node(), i)
		}
	}
	first, least := best(from, -1)
	if first == nil {
		return nil, nil, 0
	}
	return first, next[first.place], least.steps
}

// distance returns how many steps there are to e; many if there is no way.
func (r *resolver) distance(e *entry) int {
	first, _, steps := r.way(e, nil)
	if first == nil {
		return math.MaxInt
	}
	return steps
}

// node returns what is there when e is.
func (e *entry) node() node {
	return node{there: true, version: e.version, release: e.Release, entry: e}
}

// findPossible finds the bundles that nothing rules out for good: they are
// usable, their secrets can be given, there is a way to them from what is there,
// and whatever they require is possible, too. Conflicts do not count here, and
// neither does what goes away while something else comes. What cannot be is so
// ruled out once, and not at every place that asks for it.
func (r *resolver) findPossible() {
	waits := make([]bool, len(r.catalog.products))
	var queue []*product
	enqueue := func(p *product) {
		if !waits[p.index] {
			waits[p.index] = true
			queue = append(queue, p)
		}
	}
	for _, p := range r.catalog.products {
		enqueue(p)
	}
	for ; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		waits[p.index] = false
		gained := false
		for _, e := range p.entries {
			if !r.possible[e.index] && r.canBe(e) {
				r.possible[e.index], gained = true, true
			}
		}
		if gained {
			for _, ref := range p.refs {
				enqueue(ref.by.product)
			}
			enqueue(p) // a higher one may be what a lower one is reached from, where a recalled one falls
		}
	}
}

// canBe tells whether e is possible with what is known to be possible.
func (r *resolver) canBe(e *entry) bool {
	if !r.usable(e) || r.ungiven(e) != "" {
		return false
	}
	for _, ref := range e.requires {
		if !r.canHold(ref) {
			return false
		}
	}
	start := r.findings.products[e.product.index].node
	if r.allowed(e, start) {
		return true
	}
	for _, o := range e.product.entries[:e.place] {
		if r.possible[o.index] && r.allowed(e, o.node()) {
			return true
		}
	}
	return false
}

// canHold tells whether what ref names is there, or possible.
func (r *resolver) canHold(ref *reference) bool {
	if ref.product == nil {
		return false
	}
	start := r.findings.products[ref.product.index]
	if start.there && ref.has(start.version) {
		return true
	}
	for _, o := range ref.product.entries {
		if r.possible[o.index] && ref.has(o.version) {
			return true
		}
	}
	return false
}
