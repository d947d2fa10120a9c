package bootenv

import (
	"fmt"
	"slices"
	"strings"
)

// depLines returns modules.dep for modules: each with all that it needs,
// directly or not, so that loading the line from its end to its begin works.
func depLines(modules []*Module) ([]byte, error) {
	byName := make(map[string]*Module, len(modules))
	for _, m := range modules {
		byName[m.Name] = m
	}
	var b strings.Builder
	for _, m := range modules {
		needed, err := loadOrder(m, byName)
		if err != nil {
			return nil, err
		}
		b.WriteString(m.Path + ":")
		for _, d := range slices.Backward(needed) {
			b.WriteString(" " + d.Path)
		}
		b.WriteByte('\n')
	}
	return []byte(b.String()), nil
}

// loadOrder returns what must be loaded before m, in an order that works.
// Names that are not among the modules are part of the kernel.
func loadOrder(m *Module, byName map[string]*Module) ([]*Module, error) {
	var order []*Module
	done := map[*Module]bool{}
	under := map[*Module]bool{}
	var visit func(*Module) error
	visit = func(m *Module) error {
		if under[m] {
			return fmt.Errorf("%w: module %s needs itself", ErrMalformed, m.Name)
		}
		if done[m] {
			return nil
		}
		under[m] = true
		for _, name := range m.Depends {
			if d := byName[name]; d != nil {
				if err := visit(d); err != nil {
					return err
				}
			}
		}
		under[m], done[m] = false, true
		order = append(order, m)
		return nil
	}
	if err := visit(m); err != nil {
		return nil, err
	}
	return order[:len(order)-1], nil
}

// aliasLines returns modules.alias. Aliases stand there as they are in the
// modules, with dashes and underscores.
func aliasLines(modules []*Module) []byte {
	var b strings.Builder
	b.WriteString("# Aliases extracted from modules themselves.\n")
	for _, m := range modules {
		for _, alias := range m.Aliases {
			fmt.Fprintf(&b, "alias %s %s\n", alias, m.Name)
		}
	}
	return []byte(b.String())
}

// softdepLines returns modules.softdep.
func softdepLines(modules []*Module) []byte {
	var b strings.Builder
	b.WriteString("# Soft dependencies extracted from modules themselves.\n")
	for _, m := range modules {
		for _, text := range m.Softdeps {
			fmt.Fprintf(&b, "softdep %s %s\n", m.Name, text)
		}
	}
	return []byte(b.String())
}
