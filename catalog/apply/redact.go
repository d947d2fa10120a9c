package apply

import (
	"slices"
	"strings"

	"slipcast/catalog/bundle"
)

// redactedText stands where the value of a secret parameter stood.
const redactedText = "(secret)"

// redacted returns a log without the values of secret parameters, which a
// program may print. A value of several lines is taken out line by line.
func redacted(log func(line string), list []bundle.Param, values map[string]string) func(line string) {
	var pairs []string
	for _, secret := range secretLines(list, values) {
		pairs = append(pairs, secret, redactedText)
	}
	if log == nil || len(pairs) == 0 {
		return log
	}
	r := strings.NewReplacer(pairs...)
	return func(line string) { log(r.Replace(line)) }
}

// secretLines returns all lines of the values of secret parameters, the longest
// first: one may have another in it.
func secretLines(list []bundle.Param, values map[string]string) []string {
	var lines []string
	for _, p := range list {
		if !p.Secret {
			continue
		}
		for line := range strings.SplitSeq(values[p.Name], "\n") {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return len(b) - len(a) })
	return lines
}
