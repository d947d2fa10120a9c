package bundle

import (
	"fmt"
	"strings"
)

// A fault says which rule is broken, and where in the manifest.
type fault struct {
	where string // as in payload[2].overlay.entries[7].path
	err   error
}

func (f *fault) Error() string { return f.where + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// at says of a fault that it is in the part of that name.
func at(where string, err error) error {
	switch inner := err.(type) {
	case nil:
		return nil
	case *fault:
		if strings.HasPrefix(inner.where, "[") {
			return &fault{where + inner.where, inner.err}
		}
		return &fault{where + "." + inner.where, inner.err}
	}
	return &fault{where, err}
}

// each checks every element of a list called where, of which there may be most.
func each[T any](where string, most int, list []T, check func(*T) error) error {
	if len(list) > most {
		return at(where, fmt.Errorf("%d of them, at most %d are allowed", len(list), most))
	}
	for i := range list {
		if err := check(&list[i]); err != nil {
			return at(where, at(fmt.Sprintf("[%d]", i), err))
		}
	}
	return nil
}
