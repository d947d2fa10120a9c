package version

import "fmt"

// rules are how a scheme reads and orders versions.
type rules struct {
	name    string
	check   func(text string) error
	compare func(a, b string) int // of two texts that check takes
}

// schemes returns the rules of all schemes, in the order of docs/bundles.md.
func schemes() [6]rules {
	return [...]rules{
		{"deb", checkDeb, compareDeb},
		{"rpm", checkRPM, compareRPM},
		{"semver", checkSemver, compareSemver},
		{"dotted", checkDotted, compareDotted},
		{"windows", checkWindows, compareDotted},
		{"date", checkDate, compareDate},
	}
}

// Schemes returns the names of all schemes. The caller owns the slice.
func Schemes() []string {
	var names []string
	for _, r := range schemes() {
		names = append(names, r.name)
	}
	return names
}

// find returns the rules of a scheme.
func find(name string) (rules, error) {
	for _, r := range schemes() {
		if r.name == name {
			return r, nil
		}
	}
	return rules{}, fmt.Errorf("%w: there is none called %.40q", ErrScheme, name)
}
