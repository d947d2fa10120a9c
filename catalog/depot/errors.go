package depot

import (
	"encoding/hex"
	"errors"
	"fmt"

	"slipcast/catalog/trust"
	"slipcast/image"
)

var (
	// ErrLost reports an origin that does not answer any more.
	ErrLost = errors.New("the origin is lost")

	// ErrDenied reports an origin that does not let us have a file.
	ErrDenied = errors.New("the origin refuses it")

	// ErrWrong reports a file of an origin, or a piece of a part, whose bytes are
	// not those that the catalog names.
	ErrWrong = errors.New("it is not what the catalog names")

	// ErrNoRoot reports that nothing says why a catalog is to be trusted: the store
	// has none yet, and no root was given.
	ErrNoRoot = errors.New("nothing says why the catalog is to be trusted")

	// ErrOtherRoot reports a root that is not one of the catalog that the store has.
	ErrOtherRoot = errors.New("the root is not one of this catalog")
)

// wrong returns an error that wraps ErrWrong.
func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrWrong, fmt.Sprintf(format, args...))
}

// isWrong tells whether an error is about the bytes of one file, so that others
// may still be right.
func isWrong(err error) bool {
	return errors.Is(err, ErrWrong) || errors.Is(err, image.ErrDamaged) || errors.Is(err, image.ErrNotImage) || errors.Is(err, trust.ErrMismatch)
}

// parseDigest reads 64 hexadecimal digits.
func parseDigest(text string) (d image.Digest, ok bool) {
	p, err := hex.DecodeString(text)
	if err != nil || len(p) != len(d) {
		return d, false
	}
	return image.Digest(p), true
}
