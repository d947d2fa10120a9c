package plan

import (
	"cmp"
	"fmt"
	"slices"

	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
)

// plan returns what was resolved.
func (r *resolver) plan(goals []*goal) *Plan {
	p := &Plan{Schema: schema, Root: r.opt.Root, Catalog: r.opt.Version, Machine: r.findings.machine, Downgrade: r.opt.Downgrade}
	p.Goals = slices.Sorted(slices.Values(r.opt.Goals))
	numbers := map[*entry]int{}
	restart := false
	for i, s := range r.steps {
		numbers[s.entry] = i + 1
		p.Steps = append(p.Steps, r.stepOf(s, restart))
		restart = s.entry.Reboot == bundle.Between
	}
	byProduct := map[*product]*goal{}
	for _, g := range goals {
		byProduct[g.product] = g
	}
	for _, product := range r.catalog.products {
		o := &outcome{resolver: r, product: product, goal: byProduct[product], numbers: numbers}
		p.Products = append(p.Products, o.row())
		for i := len(product.entries) - 1; i >= 0; i-- {
			p.Cells = append(p.Cells, o.cell(product.entries[i]))
		}
	}
	return p
}

// stepOf returns a step as the plan has it.
func (r *resolver) stepOf(s *step, restart bool) Step {
	e := s.entry
	out := Step{
		Bundle: e.id, Digest: e.Digest, Severity: e.Severity, Bytes: e.Size, Reboot: e.Reboot, Restart: restart,
		Params: values(e, r.opt.Params[e.product.name]), Why: valid(s.why),
	}
	if s.from.there {
		out.From, out.FromRelease = s.from.version.String(), s.from.release
		order, _ := e.version.Compare(s.from.version) // one scheme
		out.Downgrade = order < 0 || order == 0 && compare(e, s.from) < 0
	}
	return out
}

// An outcome is how the plan ends for one product.
type outcome struct {
	*resolver
	product *product
	goal    *goal // nil: it is none
	numbers map[*entry]int
}

// start returns what was found of the product.
func (o *outcome) start() *found { return &o.findings.products[o.product.index] }

// wanted returns what ought to be there; nil if that is nothing, or what is
// there already.
func (o *outcome) wanted() *entry {
	choices := []*entry{}
	if o.goal != nil {
		choices = o.goal.choices
	}
	if len(choices) > 0 && o.improves(choices[0], o.start().node) {
		return choices[0]
	}
	if now := o.at[o.product.index].entry; o.numbers[now] > 0 {
		return now
	}
	return nil
}

// row returns the outcome of the product.
func (o *outcome) row() Product {
	f := o.start()
	p := Product{Name: o.product.name, Probes: clean(f.probes), Unsure: f.unknown != ""}
	if f.there {
		p.Version, p.Release = f.version.String(), f.release
	}
	if now := o.at[o.product.index]; o.numbers[now.entry] > 0 {
		p.After = now.entry.Version
	}
	wanted := o.wanted()
	if wanted != nil {
		p.Goal, p.Severity = wanted.id, o.severity(wanted)
	}
	p.State, p.Reason = o.judge(wanted)
	if p.State == Recalled && wanted == nil {
		p.Severity = severe(f.entry)
	}
	p.Reason = valid(p.Reason)
	return p
}

// severity returns that of the severest bundle that is newer than what is
// there, up to the one that is wanted.
func (o *outcome) severity(wanted *entry) bundle.Severity {
	worst := severe(wanted)
	for _, e := range o.product.entries[:wanted.place] {
		if o.usable(e) && o.improves(e, o.start().node) && severityRank(e.Severity) < severityRank(worst) {
			worst = e.Severity
		}
	}
	return worst
}

// severe returns the severity of e; one that has none has the lowest.
func severe(e *entry) bundle.Severity { return cmp.Or(e.Severity, bundle.Low) }

// judge returns the state of the product and why it is that.
func (o *outcome) judge(wanted *entry) (State, string) {
	f := o.start()
	switch {
	case f.unknown != "":
		return Unknown, f.unknown
	case f.there && f.entry != nil && f.entry.Recalled != "":
		return Recalled, fmt.Sprintf("%s is there, and is recalled: %s; %s", f.text(), f.entry.Recalled, o.remedy(wanted))
	}
	if e := o.doubtful(wanted); e != nil {
		return Unknown, reasonf("of %s: %s", e.name(), o.unusable(e))
	}
	if wanted != nil {
		return Missing, o.lack(wanted)
	}
	return o.settled()
}

// remedy says what becomes of a recalled bundle.
func (o *outcome) remedy(wanted *entry) string {
	if wanted != nil {
		return o.lack(wanted)
	}
	for i := len(o.product.entries) - 1; i >= 0; i-- {
		if e := o.product.entries[i]; o.usable(e) && compare(e, o.start().node) < 0 {
			return fmt.Sprintf("%s is older, and only a plan that allows downgrades takes it", e.short())
		}
	}
	return "the catalog has no other"
}

// doubtful returns a bundle higher than what is wanted or there of which nobody
// knows whether it applies; nil if there is none.
func (o *outcome) doubtful(wanted *entry) *entry {
	for i := len(o.product.entries) - 1; i >= 0; i-- {
		e := o.product.entries[i]
		if e == wanted || o.start().there && compare(e, o.start().node) <= 0 {
			return nil
		}
		if e.Recalled == "" && (e.fault != "" || o.findings.bundles[e.index].verdict == condition.Unknown) {
			return e
		}
	}
	return nil
}

// lack says what becomes of a bundle that is wanted.
func (o *outcome) lack(e *entry) string {
	if n := o.numbers[e]; n > 0 {
		return fmt.Sprintf("%s, and %s comes with step %d", o.there(), e.short(), n)
	}
	if o.at[o.product.index].entry == e { // a collection has no step
		return "the plan brings what it is made of"
	}
	text := fmt.Sprintf("%s: %s", o.there(), o.obstacle(e))
	if now := o.at[o.product.index].entry; o.numbers[now] > 0 {
		text = reasonf("%s; as far as possible: %s comes with step %d", text, now.short(), o.numbers[now])
	}
	return text
}

// there says what is there.
func (o *outcome) there() string {
	if f := o.start(); f.there {
		return f.text() + " is there"
	}
	return "it is not there"
}

// obstacle says why e is not in the plan.
func (o *outcome) obstacle(e *entry) string {
	if why, ok := o.failed[e]; ok {
		return why
	}
	return o.whyNot(e, nil)
}

// settled judges a product that lacks nothing.
func (o *outcome) settled() (State, string) {
	f := o.start()
	if f.there {
		if f.entry != nil && o.better(f.entry) != nil {
			return Superseded, fmt.Sprintf("%s is there, and %s takes its place", f.text(), o.better(f.entry).name())
		}
		top := o.top()
		switch {
		case top == nil:
			return Installed, fmt.Sprintf("%s is there, and nothing newer applies", f.text())
		case top == f.entry:
			return Installed, fmt.Sprintf("%s is there, the highest that applies", f.text())
		case compare(top, f.node) < 0:
			return Installed, fmt.Sprintf("%s is there, newer than %s, the highest that applies", f.text(), top.short())
		}
		return Missing, fmt.Sprintf("%s is there, and %s is no goal of this plan", f.text(), top.short())
	}
	if top := o.top(); top != nil {
		return Missing, fmt.Sprintf("it is not there, and %s is no goal of this plan", top.short())
	}
	return NotApplicable, o.none()
}

// top returns the highest bundle that is usable and not superseded, or nil.
func (o *outcome) top() *entry {
	for i := len(o.product.entries) - 1; i >= 0; i-- {
		if e := o.product.entries[i]; o.usable(e) && o.better(e) == nil {
			return e
		}
	}
	return nil
}

// none says why nothing of the product is wanted: what holds for its highest
// bundle.
func (o *outcome) none() string {
	e := o.product.entries[len(o.product.entries)-1]
	if b := o.better(e); b != nil && o.usable(e) {
		return fmt.Sprintf("%s takes the place of %s", b.name(), e.short())
	}
	return reasonf("of %s: %s", e.short(), o.unusable(e))
}
