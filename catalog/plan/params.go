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

// checkParams refuses values that no bundle takes, and secrets, which do not
// belong into a plan.
func (c *Catalog) checkParams(given map[string]map[string]string) error {
	for _, product := range slices.Sorted(maps.Keys(given)) {
		p := c.byName[product]
		if p == nil {
			return fmt.Errorf("parameters of %s: %w", product, ErrNotFound)
		}
		for _, name := range slices.Sorted(maps.Keys(given[product])) {
			if err := p.checkParam(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *product) checkParam(name string) error {
	for _, e := range p.entries {
		i := slices.IndexFunc(e.Params, func(q bundle.Param) bool { return q.Name == name })
		if i >= 0 && e.Params[i].Secret {
			return fmt.Errorf("parameter %s of %s is secret: whoever applies the plan gives it", name, p.name)
		}
		if i >= 0 {
			return nil
		}
	}
	return fmt.Errorf("parameter %s of %s: %w", name, p.name, ErrNotFound)
}
