package bootenv

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// An index finds the modules of one kernel by name and alias.
type index struct {
	byName  map[string]*Module
	builtin map[string]bool      // names of modules that are part of the kernel itself
	aliases map[string][]pattern // by what stands before the first colon
}

// A pattern is an alias and the module that has it.
type pattern struct {
	text   string
	module *Module
}

// newIndex makes the index of a kernel's modules. builtin is the text of
// modules.builtin.
func newIndex(modules []*Module, builtin []byte) (*index, error) {
	ix := &index{byName: map[string]*Module{}, builtin: map[string]bool{}, aliases: map[string][]pattern{}}
	for line := range strings.Lines(string(builtin)) {
		ix.builtin[moduleName(strings.TrimSpace(line))] = true
	}
	for _, m := range modules {
		if other := ix.byName[m.Name]; other != nil {
			return nil, fmt.Errorf("%w: %s and %s are one module by name", ErrMalformed, other.Path, m.Path)
		}
		ix.byName[m.Name] = m
		for _, alias := range m.Aliases {
			bus := busOf(alias)
			ix.aliases[bus] = append(ix.aliases[bus], pattern{slashless(alias), m})
		}
	}
	return ix, nil
}

// match returns the modules that are for a modalias.
func (ix *index) match(modalias string) []*Module {
	var found []*Module
	plain := slashless(modalias)
	for _, p := range ix.aliases[busOf(modalias)] {
		if ok, err := path.Match(p.text, plain); ok && err == nil {
			found = append(found, p.module)
		}
	}
	return found
}

// busOf returns the part of a modalias that says which bus it is of. No alias
// of the kernel has a wildcard there.
func busOf(alias string) string {
	bus, _, _ := strings.Cut(alias, ":")
	return bus
}

// slashless replaces what is special to path.Match, but not to fnmatch(3).
func slashless(alias string) string {
	return strings.ReplaceAll(alias, "/", "\x01")
}

// closure returns the given modules and all that they need, by path. What a
// module cannot do without must be there; what it only wishes for need not.
func (ix *index) closure(start []*Module) ([]*Module, error) {
	taken := map[*Module]bool{}
	queue := slices.Clone(start)
	for len(queue) > 0 {
		m := queue[0]
		queue = queue[1:]
		if taken[m] {
			continue
		}
		taken[m] = true
		for _, name := range m.Depends {
			needed := ix.byName[name]
			if needed == nil && !ix.builtin[name] {
				return nil, fmt.Errorf("module %s needs %s, which the kernel does not have", m.Name, name)
			}
			if needed != nil {
				queue = append(queue, needed)
			}
		}
		for _, name := range m.wishes() {
			queue = append(queue, ix.wished(name)...)
		}
	}
	return slices.SortedFunc(maps.Keys(taken), byPath), nil
}

// wishes returns the names in the soft dependencies of a module.
func (m *Module) wishes() []string {
	var names []string
	for _, text := range m.Softdeps {
		for word := range strings.FieldsSeq(text) {
			if word != "pre:" && word != "post:" {
				names = append(names, word)
			}
		}
	}
	return names
}

// wished returns the modules that a soft dependency names: one by its name, or
// some by an alias, as "crc32c" is that of all who compute it.
func (ix *index) wished(name string) []*Module {
	if m := ix.byName[canonical(name)]; m != nil {
		return []*Module{m}
	}
	return ix.match(name)
}

func byPath(a, b *Module) int { return strings.Compare(a.Path, b.Path) }
