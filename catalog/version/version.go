package version

import (
	"errors"
	"fmt"
)

// maxLength is how many bytes a version may have.
const maxLength = 256

// ErrMalformed is wrapped by every error about text that is no version or no
// range of its scheme.
var ErrMalformed = errors.New("malformed version")

// ErrScheme is wrapped by every error about a scheme that there is not, or
// about two versions of different schemes.
var ErrScheme = errors.New("scheme")

// A Version is a version of one scheme. It is a value that does not change,
// and safe for concurrent use. Two versions that are written differently may
// compare as equal; == compares how they are written. The zero value is of no
// scheme and has no order.
type Version struct {
	scheme string
	text   string
}

// Parse reads a version as the scheme writes it. The text has 1 to 256 bytes
// of printable ASCII without blanks. Errors wrap [ErrScheme] or [ErrMalformed].
func Parse(scheme, text string) (Version, error) {
	rules, err := find(scheme)
	if err != nil {
		return Version{}, err
	}
	if err := printable(text); err != nil {
		return Version{}, err
	}
	if err := rules.check(text); err != nil {
		return Version{}, fmt.Errorf("%w: %q as %s: %w", ErrMalformed, text, scheme, err)
	}
	return Version{scheme: scheme, text: text}, nil
}

// String returns the version as it was written.
func (v Version) String() string { return v.text }

// Scheme returns the name of the scheme that v is of.
func (v Version) Scheme() string { return v.scheme }

// Compare returns -1 if v is older than w, +1 if it is newer, and 0 if the
// scheme knows no difference. Versions of two schemes are an error that wraps
// [ErrScheme].
func (v Version) Compare(w Version) (int, error) {
	if v.scheme != w.scheme {
		return 0, fmt.Errorf("%w: %q is of %s and %q of %s: they have no order", ErrScheme, v.text, v.scheme, w.text, w.scheme)
	}
	rules, err := find(v.scheme)
	if err != nil {
		return 0, err
	}
	return rules.compare(v.text, w.text), nil
}

// Same tells whether two texts are one version of a scheme, however it is
// written. Text that is no version of the scheme is the same as itself alone.
func Same(scheme, a, b string) bool {
	v, err := Parse(scheme, a)
	w, err2 := Parse(scheme, b)
	if err != nil || err2 != nil {
		return a == b
	}
	order, err := v.Compare(w)
	return err == nil && order == 0
}

// printable checks what holds for versions of every scheme.
func printable(text string) error {
	if text == "" {
		return fmt.Errorf("%w: empty", ErrMalformed)
	}
	if len(text) > maxLength {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(text), maxLength)
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return fmt.Errorf("%w: %q has a blank, or what is not printable ASCII", ErrMalformed, text)
		}
	}
	return nil
}
