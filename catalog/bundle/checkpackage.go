package bundle

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"slipcast/catalog/version"
)

// A packageKind is what packages of one package manager have in common. Its
// name is also the scheme of their versions, and how their files end.
type packageKind struct {
	name    string
	pattern *regexp.Regexp
}

// The names of packages: Debian Policy 5.6.1 (upper case is for old ones); RPM,
// "Spec file format", preamble, Name.
var (
	debKind = packageKind{"deb", regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}$`)}
	rpmKind = packageKind{"rpm", regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}$`)}
)

var archPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// check returns which rule p breaks.
func (k packageKind) check(p *Package) error {
	switch {
	case !k.pattern.MatchString(p.Name):
		return at("name", fmt.Errorf("%q is not the name of a %s package", p.Name, k.name))
	case !archPattern.MatchString(p.Arch):
		return at("arch", fmt.Errorf("%q is not an architecture", p.Arch))
	case !strings.HasSuffix(p.File, "."+k.name):
		return at("file", fmt.Errorf("%q does not end in .%s", p.File, k.name))
	}
	_, err := version.Parse(k.name, p.Version)
	return cmp.Or(at("file", checkFileName(p.File)), at("version", err))
}
