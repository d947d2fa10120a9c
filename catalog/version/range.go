package version

import (
	"fmt"
	"strings"
)

// maxRange is how many bytes a range may have.
const maxRange = 4096

// A Range is a set of versions of one scheme: all for which each of its
// comparisons holds. It is a value that does not change, and safe for
// concurrent use. The zero value is of no scheme.
type Range struct {
	scheme string
	bounds []bound
}

// A bound is one comparison.
type bound struct {
	operator string
	version  Version
}

// ParseRange reads comparisons between blanks: ">=9.2 <9.3". Each is one of
// <, <=, =, >=, > and != and a version of the scheme, maybe with blanks between
// them. Without any, every version is in the range. The text has at most 4096
// bytes. Errors wrap [ErrScheme] or [ErrMalformed].
func ParseRange(scheme, text string) (Range, error) {
	if _, err := find(scheme); err != nil {
		return Range{}, err
	}
	if len(text) > maxRange {
		return Range{}, fmt.Errorf("%w: a range of %d bytes, at most %d", ErrMalformed, len(text), maxRange)
	}
	r := Range{scheme: scheme}
	for rest := trim(text); rest != ""; {
		operator := cutOperator(rest)
		if operator == "" {
			return Range{}, fmt.Errorf("%w: range %q: %q does not start with <, <=, =, >=, > or !=", ErrMalformed, text, rest)
		}
		var word string
		word, rest, _ = strings.Cut(trim(rest[len(operator):]), " ")
		v, err := Parse(scheme, word)
		if err != nil {
			return Range{}, fmt.Errorf("range %q: %w", text, err)
		}
		r.bounds = append(r.bounds, bound{operator, v})
		rest = trim(rest)
	}
	return r, nil
}

func trim(s string) string { return strings.Trim(s, " ") }

// cutOperator returns the operator that s starts with, or nothing.
func cutOperator(s string) string {
	for _, operator := range []string{"<=", ">=", "!=", "<", ">", "="} {
		if strings.HasPrefix(s, operator) {
			return operator
		}
	}
	return ""
}

// Has tells whether v is in the range. A version of another scheme is an error
// that wraps [ErrScheme].
func (r Range) Has(v Version) (bool, error) {
	if r.scheme != v.scheme {
		return false, fmt.Errorf("%w: a range of %s and %q of %s", ErrScheme, r.scheme, v.text, v.scheme)
	}
	for _, b := range r.bounds {
		c, err := v.Compare(b.version)
		if err != nil {
			return false, err
		}
		if !holds(c, b.operator) {
			return false, nil
		}
	}
	return true, nil
}

// holds tells whether an order is what the operator asks for.
func holds(c int, operator string) bool {
	switch operator {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	case ">":
		return c > 0
	default:
		return c != 0
	}
}

// String returns the range with one blank between its comparisons and none
// within them. [ParseRange] reads it back.
func (r Range) String() string {
	var words []string
	for _, b := range r.bounds {
		words = append(words, b.operator+b.version.text)
	}
	return strings.Join(words, " ")
}

// Scheme returns the name of the scheme whose versions r has.
func (r Range) Scheme() string { return r.scheme }
