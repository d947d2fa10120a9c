package store

import (
	"errors"
	"fmt"
	"strings"
)

// maxName is how long a name or a version may be, in bytes.
const maxName = 63

// ErrName reports text that names no image in a store.
var ErrName = errors.New("not the name of an image in a store")

// A Ref names an image in a store: NAME is its newest version, NAME@VERSION
// that one.
type Ref struct {
	Name    string
	Version string // empty for the newest
}

// ParseRef reads NAME or NAME@VERSION. An error wraps [ErrName].
func ParseRef(text string) (Ref, error) {
	name, version, found := strings.Cut(text, "@")
	if err := checkName(name); err != nil {
		return Ref{}, err
	}
	if !found {
		return Ref{Name: name}, nil
	}
	if err := checkName(version); err != nil {
		return Ref{}, fmt.Errorf("version: %w", err)
	}
	return Ref{name, version}, nil
}

// String returns r as ParseRef reads it.
func (r Ref) String() string {
	if r.Version == "" {
		return r.Name
	}
	return r.Name + "@" + r.Version
}

// fileEndings are what names of image files end with. No name in a store does,
// so that a file that is not there is not taken for one.
func fileEndings() []string { return []string{".zst", ".gz", ".xz", ".img", ".raw", ".partial"} }

// IsFileName tells whether text ends like the name of an image file.
func IsFileName(text string) bool {
	for _, ending := range fileEndings() {
		if strings.HasSuffix(text, ending) {
			return true
		}
	}
	return false
}

// checkName accepts what may stand for a name or a version: 1 to 63 letters,
// digits, '.', '_' and '-', a letter or digit first, and no file's ending. So
// none of them leads out of its folder, is hidden, or looks like a flag.
func checkName(s string) error {
	switch {
	case s == "" || len(s) > maxName:
		return fmt.Errorf("%w: %q has %d characters, want 1 to %d", ErrName, cut(s), len(s), maxName)
	case !isAlnum(s[0]):
		return fmt.Errorf("%w: %q does not begin with a letter or digit", ErrName, s)
	case IsFileName(s):
		return fmt.Errorf("%w: %q ends like a file", ErrName, s)
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && !strings.ContainsRune("._-", rune(s[i])) {
			return fmt.Errorf("%w: %q has other characters than letters, digits, '.', '_' and '-'", ErrName, s)
		}
	}
	return nil
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// cut shortens s for a message.
func cut(s string) string { return s[:min(len(s), maxName)] }
