package version

import (
	"errors"
	"strings"

	"golang.org/x/mod/semver"
)

// checkSemver takes what Semantic Versioning 2.0.0 takes, with or without a v
// before it. The library takes v1 and v1.2, too, which the standard does not.
func checkSemver(text string) error {
	v := withV(text)
	if !semver.IsValid(v) {
		return errors.New("is no Semantic Versioning 2.0.0")
	}
	core, _ := cutAt(v, func(c byte) bool { return c == '-' || c == '+' })
	if strings.Count(core, ".") != 2 {
		return errors.New("has not three numbers")
	}
	return nil
}

func compareSemver(a, b string) int { return semver.Compare(withV(a), withV(b)) }

func withV(text string) string {
	if strings.HasPrefix(text, "v") {
		return text
	}
	return "v" + text
}
