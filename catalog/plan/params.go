package plan

import (
	"fmt"
	"maps"
	"slices"

	"slipcast/catalog/bundle"
)

// values returns the settings of e, of which given are by name.
func values(e *entry, given map[string]string) []Value {
	var list []Value
	for _, p := range e.Params {
		v := Value{Name: p.Name, Value: p.Default}
		text, ok := given[p.Name]
		switch {
		case p.Secret:
			v = Value{Name: p.Name, Secret: true}
		case ok:
			v.Value = text
		case p.Machine != "":
			v = Value{Name: p.Name, Machine: p.Machine}
		}
		list = append(list, v)
	}
	return list
}

// checkParams refuses values that no bundle takes. Those of secrets are taken
// and left out: whoever applies the plan has them.
func (c *Catalog) checkParams(given map[string]map[string]string) error {
	for _, product := range slices.Sorted(maps.Keys(given)) {
		p := c.byName[product]
		if p == nil {
			return fmt.Errorf("parameters of %s: %w", product, ErrNotFound)
		}
		for _, name := range slices.Sorted(maps.Keys(given[product])) {
			if !p.hasParam(name) {
				return fmt.Errorf("parameter %s of %s: %w", name, product, ErrNotFound)
			}
		}
	}
	return nil
}

// hasParam tells whether a bundle of p has a parameter.
func (p *product) hasParam(name string) bool {
	for _, e := range p.entries {
		if slices.ContainsFunc(e.Params, func(q bundle.Param) bool { return q.Name == name }) {
			return true
		}
	}
	return false
}
