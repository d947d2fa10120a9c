package bundle

import (
	"errors"
	"fmt"
)

var (
	// ErrNotBundle reports a file that is no bundle at all.
	ErrNotBundle = errors.New("not a bundle")

	// ErrDamaged reports a bundle that is damaged, or that breaks a rule of
	// docs/bundles.md.
	ErrDamaged = errors.New("bundle damaged")

	// ErrOther reports a bundle that may be good, but is not the one that was
	// asked for.
	ErrOther = errors.New("not the bundle that was signed")
)

// damaged returns an error that wraps ErrDamaged and says what is wrong.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}
