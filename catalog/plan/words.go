package plan

import (
	"fmt"
	"strings"

	"slipcast/catalog/condition"
)

// longestReason is how many bytes a reason may have that is made of others.
const longestReason = 2000

// last returns the last answer as text: where a verdict is unknown, that is
// why.
func last(probes []condition.Answer) string {
	if len(probes) == 0 {
		return "no probe was asked"
	}
	return probes[len(probes)-1].String()
}

// list returns answers as text, the last few of many.
func list(probes []condition.Answer) string {
	const most = 4
	var words []string
	if len(probes) > most {
		words = append(words, "...")
		probes = probes[len(probes)-most:]
	}
	for _, p := range probes {
		words = append(words, p.String())
	}
	if len(words) == 0 {
		return "always"
	}
	return strings.Join(words, ", ")
}

// reasonf makes a reason that is not longer than it may be.
func reasonf(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	if len(text) > longestReason {
		text = strings.ToValidUTF8(text[:longestReason], "") + " ..."
	}
	return text
}

// counted returns a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// valid returns text as UTF-8, which what was found on a root need not be.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// clean returns answers as a plan can hold them.
func clean(probes []condition.Answer) []condition.Answer {
	var list []condition.Answer
	for _, p := range probes {
		a := condition.Answer{Probe: valid(p.Probe), Value: valid(p.Value), Err: valid(p.Err)}
		for _, arg := range p.Args {
			a.Args = append(a.Args, valid(arg))
		}
		list = append(list, a)
	}
	return list
}
