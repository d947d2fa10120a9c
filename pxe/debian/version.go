package debian

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A Version is a version of a package, see deb-version(7). Two versions that
// are written differently may be equal, as 1.0 and 1.00-0 are.
type Version struct {
	Epoch    int
	Upstream string
	Revision string
}

// ParseVersion reads a version as dpkg does: [epoch:]upstream[-revision]. Any
// error wraps [ErrMalformed].
func ParseVersion(s string) (Version, error) {
	var v Version
	rest := s
	if epoch, after, found := strings.Cut(s, ":"); found {
		n, err := strconv.ParseUint(epoch, 10, 31)
		if err != nil {
			return v, fmt.Errorf("%w: epoch of version %.100q", ErrMalformed, s)
		}
		v.Epoch, rest = int(n), after
	}
	v.Upstream = rest
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		v.Upstream, v.Revision = rest[:i], rest[i+1:]
		if v.Revision == "" {
			return v, fmt.Errorf("%w: revision of version %.100q is empty", ErrMalformed, s)
		}
	}
	if v.Upstream == "" || !isDigit(v.Upstream[0]) {
		return v, fmt.Errorf("%w: version %.100q starts with no digit", ErrMalformed, s)
	}
	if !only(v.Upstream, ".+-~:") || !only(v.Revision, ".+~") {
		return v, fmt.Errorf("%w: version %.100q has a character that none may have", ErrMalformed, s)
	}
	return v, nil
}

// only tells whether s has letters, digits and the characters of marks alone.
func only(s, marks string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) && !isLetter(s[i]) && strings.IndexByte(marks, s[i]) < 0 {
			return false
		}
	}
	return true
}

// String returns the version as it is written.
func (v Version) String() string {
	s := v.Upstream
	if v.Epoch != 0 || strings.Contains(v.Upstream, ":") {
		s = strconv.Itoa(v.Epoch) + ":" + s
	}
	if v.Revision != "" {
		s += "-" + v.Revision
	}
	return s
}

// Compare returns -1 if v is older than w, +1 if it is newer, and 0 if they
// are equal by Debian's rules.
func (v Version) Compare(w Version) int {
	return cmp.Or(
		cmp.Compare(v.Epoch, w.Epoch),
		compareParts(v.Upstream, w.Upstream),
		compareParts(v.Revision, w.Revision),
	)
}

// compareParts compares two upstream versions or two revisions: in turns what
// stands before the next digit, by character, and the digits, by their number.
func compareParts(a, b string) int {
	for a != "" || b != "" {
		var textA, textB, numberA, numberB string
		textA, a = cutAt(a, isDigit)
		textB, b = cutAt(b, isDigit)
		numberA, a = cutAt(a, notDigit)
		numberB, b = cutAt(b, notDigit)
		if c := cmp.Or(compareText(textA, textB), compareNumbers(numberA, numberB)); c != 0 {
			return c
		}
	}
	return 0
}

// cutAt cuts s before the first character that stop says yes to.
func cutAt(s string, stop func(byte) bool) (before, rest string) {
	for i := range len(s) {
		if stop(s[i]) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// compareText compares character by character; what is missing at the end
// counts as weight 0.
func compareText(a, b string) int {
	for i := range max(len(a), len(b)) {
		if c := cmp.Compare(weight(a, i), weight(b, i)); c != 0 {
			return c
		}
	}
	return 0
}

// weight orders characters: a tilde before the end of the text, that before
// letters, and these before everything else.
func weight(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] == '~':
		return -1
	case isLetter(s[i]):
		return int(s[i])
	default:
		return int(s[i]) + 256
	}
}

// compareNumbers compares digits of any length; none are zero.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func notDigit(c byte) bool { return !isDigit(c) }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
