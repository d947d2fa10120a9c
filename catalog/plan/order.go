package plan

import (
	"cmp"
	"container/heap"
	"slices"

	"slipcast/catalog/bundle"
)

// order puts the steps into the order in which they run: what is required
// first, then severity, then what needs no restart after it, then product. A
// step is as severe as the severest that waits for it.
func (r *resolver) order() {
	after := r.waits()
	n := len(r.steps)
	rank, before := make([]int, n), make([]int, n)
	for i := n - 1; i >= 0; i-- { // the steps are in a possible order, so what waits comes later
		rank[i] = severityRank(r.steps[i].entry.Severity)
		for _, j := range after[i] {
			rank[i] = min(rank[i], rank[j])
			before[j]++
		}
	}
	ready := &queue{steps: r.steps, rank: rank}
	for i := range n {
		if before[i] == 0 {
			heap.Push(ready, i)
		}
	}
	var ordered []*step
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		ordered = append(ordered, r.steps[i])
		for _, j := range after[i] {
			if before[j]--; before[j] == 0 {
				heap.Push(ready, j)
			}
		}
	}
	r.steps = ordered
}

// A queue holds steps that may run now.
type queue struct {
	steps []*step
	rank  []int
	items []int
}

func (q *queue) Len() int      { return len(q.items) }
func (q *queue) Swap(i, j int) { q.items[i], q.items[j] = q.items[j], q.items[i] }
func (q *queue) Push(i any)    { q.items = append(q.items, i.(int)) }

func (q *queue) Pop() any {
	i := q.items[len(q.items)-1]
	q.items = q.items[:len(q.items)-1]
	return i
}

func (q *queue) Less(i, j int) bool {
	a, b := q.items[i], q.items[j]
	return cmp.Or(cmp.Compare(q.rank[a], q.rank[b]), q.restart(a)-q.restart(b), cmp.Compare(q.steps[a].entry.index, q.steps[b].entry.index)) < 0
}

// restart is 1 for a step that divides the plan.
func (q *queue) restart(i int) int {
	if q.steps[i].entry.Reboot == bundle.Between {
		return 1
	}
	return 0
}

// waits returns for each step those that must come after it, all of which do.
func (r *resolver) waits() [][]int {
	after := make([][]int, len(r.steps))
	of := make([][]int, len(r.catalog.products)) // steps of each product
	for i, s := range r.steps {
		of[s.entry.product.index] = append(of[s.entry.product.index], i)
	}
	edge := func(i, j int) {
		if i >= 0 && j < len(r.steps) {
			after[i] = append(after[i], j)
		}
	}
	for i, s := range r.steps {
		for _, c := range r.claims(s.entry, nil) {
			first, last := r.span(of[c.product.index], i, c)
			edge(first, i)
			edge(i, last)
		}
	}
	for _, list := range of {
		for k := 1; k < len(list); k++ {
			edge(list[k-1], list[k])
		}
	}
	for i := range after { // a step counts once
		slices.Sort(after[i])
		after[i] = slices.Compact(after[i])
	}
	return after
}

// A claim is what a step wants of another product while it runs.
type claim struct {
	product *product
	fits    func(node) bool
}

// claims returns what e wants. Of a collection that is what the collection
// requires: it has no step of its own.
func (r *resolver) claims(e *entry, above []*entry) []claim {
	var list []claim
	for _, ref := range e.requires {
		if ref.product == nil || ref.product == e.product {
			continue // the steps of one product stay in their order
		}
		now := r.at[ref.product.index].entry
		if now != nil && now.collection() && !slices.Contains(above, now) {
			list = append(list, r.claims(now, append(above, e))...)
			continue
		}
		list = append(list, claim{ref.product, func(n node) bool { return n.there && ref.has(n.version) }})
	}
	for _, ref := range e.conflicts {
		list = append(list, claim{ref.product, func(n node) bool { return !n.there || !ref.has(n.version) }})
	}
	for _, foe := range e.product.foes {
		if foe.ref.has(e.version) {
			list = append(list, claim{foe.by.product, func(n node) bool { return n.entry != foe.by }})
		}
	}
	return list
}

// span returns the step of a product that must come before step i, -1 for
// none, and the one that must come after it, len(r.steps) for none, so that
// the product fits while i runs. of are the product's steps.
func (r *resolver) span(of []int, i int, c claim) (first, last int) {
	k, _ := slices.BinarySearch(of, i) // of[:k] come before i
	state := func(k int) node {        // after k steps of the product
		if k == 0 {
			return r.findings.products[c.product.index].node
		}
		return r.steps[of[k-1]].entry.node()
	}
	low, high := k, k
	for low > 0 && c.fits(state(low-1)) {
		low--
	}
	for high < len(of) && c.fits(state(high+1)) {
		high++
	}
	first, last = -1, len(r.steps)
	if low > 0 {
		first = of[low-1]
	}
	if high < len(of) {
		last = of[high]
	}
	return first, last
}
