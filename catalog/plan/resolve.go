package plan

import (
	"cmp"
	"fmt"
	"slices"

	"slipcast/catalog/condition"
)

// maxTries is how many bundles are tried for one plan. A catalog of ten
// thousand bundles needs as many; one that is made to be hard to solve ends
// here, with what was found until then.
const maxTries = 1 << 18

// Options say what a plan is to reach. The zero value is all products, and no
// version is ever replaced by a lower one.
type Options struct {
	Goals      []string                     // NAME[/TRACK], NAME@VERSION or NAME@VERSION-RELEASE; empty: all products
	Downgrade  bool                         // a recalled version may be replaced by a lower one
	Root       string                       // see Plan.Root
	Version    int64                        // see Plan.Catalog
	Params     map[string]map[string]string // values by product and name; what is not here has the bundle's default
	Unattended bool                         // nobody can give a secret when the plan runs: what wants one that Params lacks is left out
}

// Resolve makes a plan for a root of which f was found. An error is about opt:
// a goal that is not in the catalog wraps [ErrNotFound], and so does a
// parameter that no bundle has. That something cannot be reached is no error,
// but the reason of its cell.
func (c *Catalog) Resolve(f *Findings, opt Options) (*Plan, error) {
	if err := c.checkParams(opt.Params); err != nil {
		return nil, err
	}
	r := newResolver(c, f, opt)
	goals, err := r.goals(opt.Goals)
	if err != nil {
		return nil, err
	}
	r.settle(goals)
	r = r.reordered(goals)
	r.order()
	return r.plan(goals), nil
}

// A resolver makes one plan.
type resolver struct {
	catalog  *Catalog
	findings *Findings
	opt      Options
	betters  []*entry          // by entry.index: what supersedes it, nil if nothing does
	possible []bool            // by entry.index: nothing rules it out for good
	onto     map[*entry][]bool // by entry.place: which of its product's versions it takes

	at    []node // by product.index: what is there after the steps
	steps []*step
	trail []move // what was changed in at, to take it back
	stack []*entry
	busy  map[*entry]bool
	tries int

	straight bool              // no detours: see meet
	failed   map[*entry]string // why a goal was not reached
}

// A step is a bundle in the plan.
type step struct {
	entry *entry
	from  node
	why   string
}

// A move is a change of at.
type move struct {
	product *product
	from    node
}

func newResolver(c *Catalog, f *Findings, opt Options) *resolver {
	r := &resolver{
		catalog: c, findings: f, opt: opt, at: make([]node, len(c.products)),
		possible: make([]bool, len(c.entries)), onto: map[*entry][]bool{},
		busy: map[*entry]bool{}, failed: map[*entry]string{},
	}
	for i := range f.products {
		r.at[i] = f.products[i].node
	}
	r.findBetter()
	r.findPossible()
	return r
}

// usable tells whether e may be a part of a plan at all.
func (r *resolver) usable(e *entry) bool {
	return e.fault == "" && e.Recalled == "" && r.findings.products[e.product.index].unknown == "" &&
		r.findings.bundles[e.index].verdict == condition.Yes
}

// better returns what supersedes e, or nil.
func (r *resolver) better(e *entry) *entry { return r.betters[e.index] }

// findBetter finds out what is superseded. Bundles that supersede each other in
// a circle, and nothing else, do not: one of them is wanted.
func (r *resolver) findBetter() {
	r.betters = make([]*entry, len(r.catalog.entries))
	worse := map[*entry][]*entry{}
	var queue []*entry
	for _, e := range r.catalog.entries {
		free := true
		for _, b := range e.betters {
			if r.usable(b) {
				worse[b] = append(worse[b], e)
				free = false
			}
		}
		if free {
			queue = append(queue, e)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, e := range worse[queue[0]] {
			if r.betters[e.index] == nil {
				r.betters[e.index] = queue[0]
				queue = append(queue, e)
			}
		}
	}
}

// settle reaches as many goals as it can, the highest choice of each first.
// Whatever a step brought may make another goal possible, so it goes on until
// nothing more is.
func (r *resolver) settle(goals []*goal) {
	for r.pass(goals, true) || r.pass(goals, false) {
	}
}

// pass tries the goals that are not reached: the first choice of each, or the
// others, of which it takes one. It tells whether there is a step more.
func (r *resolver) pass(goals []*goal, first bool) bool {
	before := len(r.steps)
	for _, g := range goals {
		choices := r.above(g)
		if len(choices) > 0 && first {
			choices = choices[:1]
		} else if len(choices) > 0 {
			choices = choices[1:]
		}
		for _, e := range choices {
			if r.add(e, g.why(first)) && !first {
				return true
			}
		}
	}
	return len(r.steps) > before
}

// maxReorders is how many goals that were not reached are tried as the first.
const maxReorders = 8

// reordered returns a plan that reaches more, or r: a goal that was not reached
// may be if it comes before the others, because what it needs on its way has
// not been replaced then. No other goal may lose by that.
func (r *resolver) reordered(goals []*goal) *resolver {
	best, left := r, maxReorders
	for i, g := range goals {
		choices := best.above(g)
		if len(choices) == 0 || !best.possible[choices[0].index] {
			continue
		}
		if left--; left < 0 {
			break
		}
		other := newResolver(r.catalog, r.findings, r.opt)
		other.settle(slices.Concat([]*goal{g}, goals[:i], goals[i+1:]))
		if other.exceeds(best, goals) {
			best = other
		}
	}
	return best
}

// exceeds tells whether r reaches more than o, and nothing less.
func (r *resolver) exceeds(o *resolver, goals []*goal) bool {
	more := false
	for _, g := range goals {
		mine, others := len(r.above(g)), len(o.above(g))
		if mine > others {
			return false
		}
		more = more || mine < others
	}
	return more
}

// above returns the choices of g that are an improvement.
func (r *resolver) above(g *goal) []*entry {
	now := r.at[g.product.index]
	for i, e := range g.choices {
		if !r.improves(e, now) {
			return g.choices[:i]
		}
	}
	return g.choices
}

// improves tells whether a product that is at n ought rather to be at e.
func (r *resolver) improves(e *entry, n node) bool {
	return !n.there || compare(e, n) > 0 || r.mayFall(n)
}

// mayFall tells whether what is there may be replaced by something lower.
func (r *resolver) mayFall(n node) bool {
	return r.opt.Downgrade && n.entry != nil && n.entry.Recalled != ""
}

// compare compares the bundle e with what is there, which is of its product.
// A release that nobody knows is the highest.
func compare(e *entry, n node) int {
	order, _ := e.version.Compare(n.version) // one scheme
	switch {
	case order != 0:
		return order
	case n.release == 0 || e.Release < n.release:
		return -1
	case e.Release > n.release:
		return 1
	}
	return 0
}

// add brings one product to e and whatever that needs, or changes nothing.
func (r *resolver) add(e *entry, because string) bool {
	if !r.possible[e.index] {
		if r.failed[e] == "" {
			r.failed[e] = r.whyNot(e, nil)
		}
		return false
	}
	steps, trail := len(r.steps), len(r.trail)
	why := r.bring(e, because)
	if why == "" {
		why = r.repair(trail)
	}
	if why != "" {
		r.back(steps, trail)
		r.failed[e] = why
		return false
	}
	return true
}

// back takes everything back that was done since.
func (r *resolver) back(steps, trail int) {
	for len(r.trail) > trail {
		m := r.trail[len(r.trail)-1]
		r.at[m.product.index] = m.from
		r.trail = r.trail[:len(r.trail)-1]
	}
	r.steps = r.steps[:steps]
}

// bring brings the product of e to e, without detours if there is such a way: a
// detour is a step of a product that waits for what is brought here. It returns
// why it cannot, having changed nothing then.
func (r *resolver) bring(e *entry, why string) string {
	if r.straight {
		return r.walk(e, why)
	}
	r.straight = true
	reason := r.walk(e, why)
	r.straight = false
	if reason == "" {
		return ""
	}
	return r.walk(e, why)
}

// walk tries one way to e after the other.
func (r *resolver) walk(e *entry, why string) string {
	steps, trail := len(r.steps), len(r.trail)
	banned := map[*entry]bool{}
	reason := ""
	for r.at[e.product.index].entry != e {
		next, second, _ := r.way(e, banned)
		if next == nil {
			r.back(steps, trail)
			return or(reason, r.noWay(e))
		}
		because := why
		if second != nil {
			because = fmt.Sprintf("%s goes onto %s: %s comes first", second.name(), second.onto(), next.short())
		}
		if blame := r.apply(next, because); blame != "" {
			r.back(steps, trail)
			banned[next] = true
			reason = or(reason, blame)
		}
	}
	return ""
}

// apply makes e the next step, after those that it requires. It returns why it
// cannot, having changed nothing then.
func (r *resolver) apply(e *entry, why string) string {
	if r.tries++; r.tries > maxTries {
		return fmt.Sprintf("it was given up after %d attempts at other bundles", maxTries)
	}
	if r.busy[e] || r.straight && r.underway(e.product) {
		return r.circle(e)
	}
	r.busy[e], r.stack = true, append(r.stack, e)
	steps, trail := len(r.steps), len(r.trail)
	blame := or(r.meetAll(e), r.conflict(e))
	r.stack = r.stack[:len(r.stack)-1]
	delete(r.busy, e)
	if now := r.at[e.product.index]; blame == "" && !r.allowed(e, now) {
		blame = fmt.Sprintf("%s goes onto %s, and what it needs brings %s", e.name(), e.onto(), now.version)
	}
	if blame != "" {
		r.back(steps, trail)
		return blame
	}
	r.move(e, why)
	return ""
}

// move makes e what is there of its product. A collection is there without a
// step of its own.
func (r *resolver) move(e *entry, why string) {
	now := &r.at[e.product.index]
	if !e.collection() {
		r.steps = append(r.steps, &step{entry: e, from: *now, why: why})
	}
	r.trail = append(r.trail, move{e.product, *now})
	*now = node{there: true, version: e.version, release: e.Release, entry: e}
}

// allowed tells whether e goes onto what is there of its product.
func (r *resolver) allowed(e *entry, n node) bool {
	if !n.there {
		return len(e.from) == 0 || slices.ContainsFunc(e.from, func(f from) bool { return f.nothing })
	}
	switch order, _ := e.version.Compare(n.version); {
	case order < 0:
		return r.mayFall(n) && r.takes(e, n)
	case order == 0:
		return compare(e, n) > 0 || r.mayFall(n)
	}
	return r.takes(e, n)
}

// takes tells whether upgrades_from of e has the version that is there.
func (r *resolver) takes(e *entry, n node) bool {
	if len(e.from) == 0 {
		return true
	}
	if n.entry == nil {
		return e.takes(n)
	}
	known, ok := r.onto[e]
	if !ok {
		known = make([]bool, len(e.product.entries))
		for i, o := range e.product.entries {
			known[i] = e.takes(node{there: true, version: o.version})
		}
		r.onto[e] = known
	}
	return known[n.entry.place]
}

func (e *entry) takes(n node) bool {
	return slices.ContainsFunc(e.from, func(f from) bool {
		yes, err := f.onto.Has(n.version)
		return f.some && err == nil && yes
	})
}

// meetAll brings what e requires. One requirement may undo another, so all are
// looked at until they hold together.
func (r *resolver) meetAll(e *entry) string {
	for range len(e.requires) + 1 {
		i := slices.IndexFunc(e.requires, func(ref *reference) bool { return !r.holds(ref) })
		if i < 0 {
			return ""
		}
		if blame := r.meet(e, e.requires[i]); blame != "" {
			return blame
		}
	}
	return fmt.Sprintf("%s needs %s, which is never there together with the rest that it needs", e.name(), e.requires[0].text)
}

// holds tells whether what ref names is there.
func (r *resolver) holds(ref *reference) bool {
	if ref.product == nil {
		return false
	}
	n := r.at[ref.product.index]
	return n.there && ref.has(n.version)
}

// meet brings what one requirement of e names: a version that there is a way to
// without a detour, if there is one.
func (r *resolver) meet(e *entry, ref *reference) string {
	reason := ""
	if ref.product != nil {
		outer := r.straight
		r.straight = true
		reason = r.meetBy(e, ref)
		r.straight = outer
		if reason != "" && !outer {
			reason = r.meetBy(e, ref)
		}
		if r.holds(ref) {
			return ""
		}
	}
	return reasonf("%s needs %s, but %s", e.name(), ref.text, or(reason, r.lacking(ref, nil)))
}

// meetBy tries the versions that meet a requirement, the best first, and
// returns why the first of them cannot be; empty if there is none.
func (r *resolver) meetBy(e *entry, ref *reference) string {
	reason := ""
	for _, o := range r.meeting(ref) {
		blame := r.bring(o, fmt.Sprintf("%s needs %s", e.name(), ref.text))
		if blame == "" {
			return ""
		}
		reason = or(reason, blame)
	}
	return reason
}

// meeting returns the versions that meet a requirement, the best first: the
// highest, then those with the fewest steps, since they are but on the way to
// it. On a detour all are on the way to something else.
func (r *resolver) meeting(ref *reference) []*entry {
	var list []*entry
	for i := len(ref.product.entries) - 1; i >= 0; i-- {
		o := ref.product.entries[i]
		if r.possible[o.index] && ref.has(o.version) && r.improves(o, r.at[o.product.index]) {
			list = append(list, o)
		}
	}
	rest := list[min(1, len(list)):]
	if r.underway(ref.product) {
		rest = list
	}
	slices.SortStableFunc(rest, func(a, b *entry) int { return cmp.Compare(r.distance(a), r.distance(b)) })
	return list
}

// underway tells whether a step of p waits for what is brought now.
func (r *resolver) underway(p *product) bool {
	return slices.ContainsFunc(r.stack, func(e *entry) bool { return e.product == p })
}

// conflict returns what e does not go together with.
func (r *resolver) conflict(e *entry) string {
	for _, ref := range e.conflicts {
		n := r.at[ref.product.index]
		if unknown := r.findings.products[ref.product.index].unknown; unknown != "" {
			return reasonf("%s conflicts with %s, of which nobody knows whether it is there: %s", e.name(), ref.text, unknown)
		}
		if n.there && ref.has(n.version) {
			return fmt.Sprintf("%s conflicts with %s, and %s", e.name(), ref.text, r.whence(ref.product))
		}
	}
	for _, foe := range e.product.foes {
		if r.at[foe.by.product.index].entry == foe.by && foe.ref.has(e.version) {
			return fmt.Sprintf("%s conflicts with %s, and %s", foe.by.name(), foe.ref.text, r.whence(foe.by.product))
		}
	}
	return ""
}

// or returns the first text that is not empty, as cmp.Or would.
func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
