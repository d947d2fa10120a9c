package apply

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrLocked reports a root to which something is applied right now.
	ErrLocked = errors.New("something else is being applied to this root")

	// ErrReadOnly reports a file system that cannot be written to.
	ErrReadOnly = errors.New("mounted read-only")

	// ErrNoSpace reports a root without room for a bundle, or for undoing
	// one, with the way back. Nothing was changed.
	ErrNoSpace = errors.New("not enough space")

	// ErrSubvolume reports a path in a subvolume that is not mounted by itself:
	// nothing can be renamed into it.
	ErrSubvolume = errors.New("in a subvolume that is not mounted by itself")

	// ErrDowngrade reports that something higher is installed.
	ErrDowngrade = errors.New("would be a downgrade")

	// ErrFrom reports a version that the bundle does not upgrade.
	ErrFrom = errors.New("cannot be applied onto what is installed")

	// ErrConflict reports parts of a bundle that contradict each other, or a
	// file that belongs to another product.
	ErrConflict = errors.New("conflict")

	// ErrChanged reports something that was changed after a bundle was applied,
	// so that undoing it would destroy that change.
	ErrChanged = errors.New("changed since")

	// ErrVerify reports a bundle that was applied without a fault and was not
	// found afterwards. It was undone.
	ErrVerify = errors.New("applied, but not found afterwards")

	// ErrDamaged reports a receipt or a journal that is not as it was written.
	ErrDamaged = errors.New("damaged")

	// ErrReimage reports a bundle that says of itself that only restoring the
	// image undoes it.
	ErrReimage = errors.New("only restoring the image undoes it")

	// ErrNoUndo reports a bundle that cannot be undone any more: what is needed
	// for it was taken away, since too many versions came after it.
	ErrNoUndo = errors.New("what is needed to undo it is not on the root any more")

	// ErrNotApplied reports a product without a receipt.
	ErrNotApplied = errors.New("not applied to this root")
)

// damaged returns an error that wraps ErrDamaged and says what is wrong.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// An Error says what of which bundle went wrong where.
type Error struct {
	Bundle string // NAME@VERSION-RELEASE
	Step   string // checks, programs, staging, commit, files, verify, receipt, undo
	Path   string // in the root; empty if it is about none
	Err    error
}

// Error returns "BUNDLE: STEP: PATH: reason".
func (e *Error) Error() string {
	parts := make([]string, 0, 4)
	for _, part := range []string{e.Bundle, e.Step, e.Path} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(append(parts, e.Err.Error()), ": ")
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// at returns err with the path that it is about; nil if err is nil.
func at(path string, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) && e.Path != "" {
		return err
	}
	return &Error{Path: path, Err: err}
}

// within returns err with the bundle and the step in which it happened; nil if
// err is nil.
func within(bundle, step string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok {
		whole := *e
		if whole.Step == "" {
			whole.Step = step
		}
		if whole.Bundle == "" {
			whole.Bundle = bundle
		}
		return &whole
	}
	return &Error{Bundle: bundle, Step: step, Err: err}
}
