package kmod

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxIndex is the size in bytes of the largest file of an index. That of all
// modules of Debian's kernel is 1.3 MiB.
const maxIndex = 64 << 20

// An Index is what depmod knows of the modules of one kernel. It is safe for
// concurrent use, since nothing changes it.
type Index struct {
	paths   map[string]string         // of a module's name: its file, below the folder of the index
	depends map[string][]string       // names, in the order of modules.dep: each after those behind it
	soft    map[string]softdep        //
	builtin map[string]bool           //
	aliases map[string][]aliasPattern // by the text up to the first colon or wildcard, see bus
}

type softdep struct{ pre, post []string }

type aliasPattern struct{ pattern, module string }

// ReadIndex reads the index of the modules in folder, the root of
// /lib/modules/VERSION. modules.dep must be there; the other files may be
// absent. Lines that are not understood are passed over.
func ReadIndex(folder fs.FS) (*Index, error) {
	x := &Index{
		paths: map[string]string{}, depends: map[string][]string{}, soft: map[string]softdep{},
		builtin: map[string]bool{}, aliases: map[string][]aliasPattern{},
	}
	for _, f := range []struct {
		name string
		line func(string)
	}{
		{"modules.dep", x.addDepends}, {"modules.alias", x.addAlias},
		{"modules.softdep", x.addSoftdep}, {"modules.builtin", x.addBuiltin},
	} {
		err := eachLine(folder, f.name, f.line)
		if err != nil && (f.name == "modules.dep" || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
	}
	return x, nil
}

// eachLine calls line for each line of a file that is not empty and no comment.
func eachLine(folder fs.FS, name string, line func(string)) error {
	info, err := fs.Stat(folder, name)
	if err != nil {
		return err
	}
	if info.Size() > maxIndex {
		return fmt.Errorf("%s: it has %d bytes, more than %d", name, info.Size(), maxIndex)
	}
	text, err := fs.ReadFile(folder, name)
	if err != nil {
		return err
	}
	scan := bufio.NewScanner(bytes.NewReader(text))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if s := strings.TrimSpace(scan.Text()); s != "" && s[0] != '#' {
			line(s)
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// addDepends reads a line of modules.dep: FILE: FILE...
func (x *Index) addDepends(line string) {
	file, rest, ok := strings.Cut(line, ":")
	name := ModuleName(file)
	if !ok || name == "" || !fs.ValidPath(file) {
		return
	}
	x.paths[name] = file
	for _, f := range strings.Fields(rest) {
		if needed := ModuleName(f); needed != "" && needed != name {
			x.depends[name] = append(x.depends[name], needed)
		}
	}
}

// addAlias reads a line of modules.alias: alias PATTERN MODULE
func (x *Index) addAlias(line string) {
	f := strings.Fields(line)
	if len(f) != 3 || f[0] != "alias" {
		return
	}
	b := bus(f[1])
	x.aliases[b] = append(x.aliases[b], aliasPattern{f[1], ModuleName(f[2])})
}

// addSoftdep reads a line of modules.softdep: softdep MODULE pre: ... post: ...
func (x *Index) addSoftdep(line string) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "softdep" {
		return
	}
	name := ModuleName(f[1])
	d := x.soft[name]
	var list *[]string
	for _, word := range f[2:] {
		switch {
		case word == "pre:":
			list = &d.pre
		case word == "post:":
			list = &d.post
		case list != nil:
			*list = append(*list, word)
		}
	}
	x.soft[name] = d
}

// addBuiltin reads a line of modules.builtin: FILE
func (x *Index) addBuiltin(line string) {
	if name := ModuleName(line); name != "" {
		x.builtin[name] = true
	}
}

// ModuleName returns the name of the module in a file, or of one that is
// written with dashes, as the kernel writes it: of kernel/fs/nls/nls_iso8859-1.ko
// nls_iso8859_1.
func ModuleName(file string) string {
	name := path.Base(strings.TrimSpace(file))
	if i := strings.Index(name, ".ko"); i >= 0 {
		name = name[:i]
	}
	if name == "." || name == "/" {
		return ""
	}
	return strings.ReplaceAll(name, "-", "_")
}

// Match returns the names of the modules for an alias, such as the modalias of
// a device, sorted. A module's own name is an alias of it.
func (x *Index) Match(alias string) []string {
	var names []string
	if name := ModuleName(alias); !strings.Contains(alias, ":") && (x.paths[name] != "" || x.builtin[name]) {
		names = append(names, name)
	}
	for _, b := range []string{bus(alias), ""} {
		for _, a := range x.aliases[b] {
			if match(a.pattern, alias) {
				names = append(names, a.module)
			}
		}
		if b == "" {
			break
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// bus returns what an alias and all patterns that match it have in common: the
// text up to the first colon. A pattern without, or with a wildcard before it,
// is in the class of all that have none.
func bus(alias string) string {
	i := strings.IndexAny(alias, ":*?[\\")
	if i < 0 || alias[i] != ':' {
		return ""
	}
	return alias[:i]
}
