package apply

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"slipcast/catalog/bundle"
	"slipcast/catalog/probe"
)

// maxExpanded is how many bytes a file may have in which parameters are
// filled in.
const maxExpanded = 16 << 20

// parameters returns the value of each parameter of a bundle: what was given,
// what the machine says, or the default.
func parameters(list []bundle.Param, given map[string]string, m *probe.Machine) (map[string]string, error) {
	values := map[string]string{}
	for _, p := range list {
		value, ok := given[p.Name]
		if !ok && p.Machine != "" {
			var err error
			if value, err = fromMachine(p, m); err != nil {
				return nil, err
			}
		} else if !ok {
			value = p.Default
		}
		if strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("parameter %s: a zero byte in it", p.Name)
		}
		if !utf8.ValidString(value) {
			return nil, fmt.Errorf("parameter %s: its value is no UTF-8; convert it, a receipt can keep nothing else", p.Name)
		}
		values[p.Name] = value
	}
	for name := range given {
		if _, ok := values[name]; !ok {
			return nil, fmt.Errorf("%s is no parameter of this bundle", name)
		}
	}
	return values, nil
}

func fromMachine(p bundle.Param, m *probe.Machine) (string, error) {
	if m == nil {
		return "", fmt.Errorf("parameter %s is the machine's %s, and there is no machine", p.Name, p.Machine)
	}
	value := map[string]string{"name": m.Name, "uuid": m.UUID, "mac": m.MAC, "serial": m.Serial}[p.Machine]
	if value == "" {
		value = p.Default
	}
	if value == "" {
		return "", fmt.Errorf("parameter %s is the machine's %s, which is not known, and has no default", p.Name, p.Machine)
	}
	return value, nil
}

// settings returns the values for a receipt, which no secret gets into.
func settings(list []bundle.Param, values map[string]string) (open []Setting, secrets []string) {
	for _, p := range list {
		if p.Secret {
			secrets = append(secrets, p.Name)
			continue
		}
		open = append(open, Setting{Name: p.Name, Value: values[p.Name]})
	}
	slices.SortFunc(open, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(secrets)
	return open, secrets
}

// expand returns p with each {{NAME}} of a parameter replaced by its value.
// Values are not looked at again. What is no parameter stays as it is.
func expand(p []byte, values map[string]string) []byte {
	var out []byte
	for {
		i := bytes.Index(p, []byte("{{"))
		if i < 0 {
			return append(out, p...)
		}
		end := bytes.Index(p[i:], []byte("}}"))
		if end < 0 {
			return append(out, p...)
		}
		value, ok := values[string(p[i+2:i+end])]
		if !ok {
			out, p = append(out, p[:i+1]...), p[i+1:]
			continue
		}
		out, p = append(append(out, p[:i]...), value...), p[i+end+2:]
	}
}
