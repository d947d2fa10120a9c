package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// maxStatus is how many bytes the database of dpkg may have: ten times that of
// a system with 10,000 packages.
const maxStatus = 128 << 20

// errStatus says that the database of dpkg is damaged.
var errStatus = errors.New("damaged database of dpkg")

// debs returns the packages that dpkg has installed: var/lib/dpkg/status, and
// the files in status.d, one for each package, of images without dpkg.
func (p *Probes) debs() ([]installed, error) {
	const status, folder = "var/lib/dpkg/status", "var/lib/dpkg/status.d"
	contents, _, err := p.read(status, maxStatus)
	if err != nil {
		return nil, err
	}
	all, err := parseStatus(contents, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", status, err)
	}
	names, err := p.root.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, name := range names {
		if path.Ext(name) == ".md5sums" {
			continue
		}
		contents, _, err := p.read(path.Join(folder, name), maxStatus)
		if err != nil {
			return nil, err
		}
		more, err := parseStatus(contents, true)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", folder, name, err)
		}
		all = append(all, more...)
	}
	return all, nil
}

// parseStatus returns the installed packages of stanzas between empty lines, as
// deb822(5) has them. In those without a field Status, packages are installed
// if bare is true, else an error.
func parseStatus(contents []byte, bare bool) ([]installed, error) {
	var all []installed
	for number := 1; len(contents) > 0; number++ {
		stanza := contents
		if i := bytes.Index(contents, []byte("\n\n")); i >= 0 {
			stanza, contents = contents[:i+1], contents[i+2:]
		} else {
			contents = nil
		}
		fields, err := parseStanza(stanza)
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", errStatus, number, err)
		}
		if len(fields) == 0 {
			continue
		}
		is, err := isInstalled(fields, bare)
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", errStatus, number, err)
		}
		if is {
			all = append(all, installed{fields["package"], fields["architecture"], fields["version"]})
		}
	}
	return all, nil
}

// parseStanza returns the fields that matter here, by their names in lower
// case. Lines that go on from others are passed over.
func parseStanza(stanza []byte) (map[string]string, error) {
	fields := map[string]string{}
	for line := range bytes.Lines(stanza) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) == 0 || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return nil, fmt.Errorf("%.60q is no field", line)
		}
		switch key := strings.ToLower(string(name)); key {
		case "package", "architecture", "version", "status":
			if _, twice := fields[key]; twice {
				return nil, fmt.Errorf("two fields %s", key)
			}
			fields[key] = blank(string(value))
		}
	}
	return fields, nil
}

// isInstalled tells whether an entry is of a package that is installed and
// whole. Status has three words: what is wanted, whether it must be installed
// again, and what is there (dpkg(1)). What is wanted does not matter here: a
// package on hold is installed, too.
func isInstalled(fields map[string]string, bare bool) (bool, error) {
	if fields["package"] == "" {
		return false, errors.New("no field Package")
	}
	status, ok := fields["status"]
	if !ok {
		if !bare {
			return false, fmt.Errorf("package %.60q has no field Status", fields["package"])
		}
		return true, nil
	}
	words := strings.Fields(status)
	if len(words) != 3 {
		return false, fmt.Errorf("package %.60q: status %.60q", fields["package"], status)
	}
	return words[1] == "ok" && words[2] == "installed", nil
}
