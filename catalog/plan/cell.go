package plan

import (
	"fmt"

	"slipcast/catalog/condition"
)

// cell returns how a bundle of the product stands to the root.
func (o *outcome) cell(e *entry) Cell {
	c := Cell{Bundle: e.id, Probes: clean(o.findings.bundles[e.index].probes)}
	c.State, c.Reason = o.bundleState(e)
	c.Reason = valid(c.Reason)
	return c
}

// bundleState returns the state of a bundle and why it is that.
func (o *outcome) bundleState(e *entry) (State, string) {
	f, a := o.start(), &o.findings.bundles[e.index]
	switch {
	case e.fault != "":
		return Unknown, e.fault
	case e.Recalled != "" && f.there && f.entry == e:
		return Recalled, "it is there, and is recalled: " + e.Recalled
	case e.Recalled != "":
		return Recalled, e.Recalled
	case f.unknown != "":
		return Unknown, f.unknown
	case f.there && f.entry == e:
		return o.cellThere(e)
	case o.numbers[e] > 0:
		return Missing, fmt.Sprintf("%s; it is step %d of %d: %s", o.there(), o.numbers[e], len(o.steps), o.steps[o.numbers[e]-1].why)
	case f.there && compare(e, f.node) < 0:
		return Superseded, fmt.Sprintf("%s is older than %s, which is there", e.short(), f.text())
	case a.verdict == condition.No:
		return NotApplicable, a.reason + o.passing(a)
	case a.verdict == condition.Unknown:
		return Unknown, a.reason
	}
	return o.cellAway(e)
}

// cellThere judges a bundle that is there.
func (o *outcome) cellThere(e *entry) (State, string) {
	if b := o.better(e); b != nil {
		return Superseded, fmt.Sprintf("it is there, and %s takes its place", b.name())
	}
	if o.start().release == 0 && !e.sole() {
		return Installed, "this version is there; which release of it nobody knows, so it counts as the highest"
	}
	return Installed, "it is there"
}

// cellAway judges a bundle that applies, is not there, and has no step.
func (o *outcome) cellAway(e *entry) (State, string) {
	now := o.at[o.product.index]
	switch {
	case now.entry == e:
		return Missing, "the plan brings what it is made of"
	case o.better(e) != nil:
		return Superseded, fmt.Sprintf("%s takes its place", o.better(e).name())
	}
	if why, ok := o.failed[e]; ok {
		return Missing, fmt.Sprintf("%s: %s", o.there(), why)
	}
	if now.there && o.numbers[now.entry] > 0 && compare(e, now) < 0 {
		return Superseded, fmt.Sprintf("%s, which the plan brings, takes its place", now.entry.short())
	}
	if !o.possible[e.index] {
		return Missing, fmt.Sprintf("%s: %s", o.there(), o.whyNot(e, nil))
	}
	if w := o.wanted(); w != nil && w != e && e.place < w.place {
		return Superseded, fmt.Sprintf("%s is wanted in its place", w.short())
	}
	return Missing, o.there() + ", and this is no goal of the plan"
}

// passing says that an answer will change with the plan.
func (o *outcome) passing(a *applies) string {
	for _, probe := range a.probes {
		if probe.Probe != "product" || len(probe.Args) != 1 {
			continue
		}
		p := o.catalog.byName[probe.Args[0]]
		if p == nil {
			continue
		}
		if now := o.at[p.index]; o.numbers[now.entry] > 0 {
			return fmt.Sprintf("; the plan brings %s %s, so look again after it", p.name, now.entry.short())
		}
	}
	return ""
}
