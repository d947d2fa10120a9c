package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"slipcast/catalog/bundle"
)

// ErrNotFound is wrapped by errors about a goal that is not in the catalog.
var ErrNotFound = errors.New("not in the catalog")

// goal is what a product is wanted to be at.
type goal struct {
	product *product
	named   bool     // by whoever wants the plan
	choices []*entry // that would do, from the best down; others come before they are given up
}

// goals reads what was named, or takes all products. They are ordered by
// severity, then product.
func (r *resolver) goals(names []string) ([]*goal, error) {
	var list []*goal
	for _, name := range names {
		g, err := r.named(name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(o *goal) bool { return o.product == g.product }) {
			return nil, fmt.Errorf("goal %s: %s is named twice", name, g.product.name)
		}
		list = append(list, g)
	}
	if len(names) == 0 {
		for _, p := range r.catalog.products {
			list = append(list, &goal{product: p, choices: r.choices(p, func(e *entry) bool { return r.better(e) == nil })})
		}
	}
	slices.SortFunc(list, func(a, b *goal) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.product.name, b.product.name))
	})
	return list, nil
}

// why says why a choice of g is in the plan.
func (g *goal) why(first bool) string {
	switch {
	case !first:
		return "the highest that there is a way to"
	case g.named:
		return "it was asked for"
	}
	return "the highest that applies"
}

// rank returns the rank of the severity of the best choice.
func (g *goal) rank() int {
	if len(g.choices) == 0 {
		return severityRank(bundle.Low)
	}
	return severityRank(g.choices[0].Severity)
}

// severityRank orders severities from the highest, which is 0.
func severityRank(s bundle.Severity) int {
	i := slices.Index([]bundle.Severity{bundle.Critical, bundle.Important, bundle.Moderate}, s)
	if i < 0 {
		return 3
	}
	return i
}

// named reads NAME, NAME@VERSION or NAME@VERSION-RELEASE, each with /TRACK
// behind NAME where there is one.
func (r *resolver) named(text string) (*goal, error) {
	name, wanted, pinned := strings.Cut(text, "@")
	p := r.catalog.byName[name]
	if p == nil {
		return nil, fmt.Errorf("goal %s: %w", text, ErrNotFound)
	}
	if !pinned {
		return &goal{product: p, named: true, choices: r.choices(p, func(*entry) bool { return true })}, nil
	}
	fits := p.meant(wanted)
	if !slices.ContainsFunc(p.entries, fits) {
		return nil, fmt.Errorf("goal %s: %w", text, ErrNotFound)
	}
	return &goal{product: p, named: true, choices: r.choices(p, fits)}, nil
}

// meant tells which entries VERSION or VERSION-RELEASE means: 2-1 is release 1 of
// version 2 if there is such a bundle, and else a version.
func (p *product) meant(text string) func(*entry) bool {
	exact := func(e *entry) bool { return e.Version+"-"+strconv.Itoa(e.Release) == text }
	if slices.ContainsFunc(p.entries, exact) {
		return exact
	}
	return func(e *entry) bool { return e.Version == text }
}

// choices returns the usable entries of p that fit, from the highest down.
func (r *resolver) choices(p *product, fits func(*entry) bool) []*entry {
	var list []*entry
	for i := len(p.entries) - 1; i >= 0; i-- {
		if e := p.entries[i]; r.usable(e) && fits(e) {
			list = append(list, e)
		}
	}
	return list
}
