package bake

import (
	"context"
	"errors"

	"slipcast/catalog/apply"
	"slipcast/catalog/bundle"
	"slipcast/catalog/plan"
	"slipcast/catalog/root"
)

// A fault is an error on its way from one process to another: its text, and
// which of the errors that callers ask for it wraps.
type fault struct {
	Text    string             `json:"text"`
	Wraps   []string           `json:"wraps,omitempty"`
	Refused *root.RefusedError `json:"refused,omitempty"` // without its Err
}

// carried are the errors that a fault keeps, by names for the way.
func carried() map[string]error {
	return map[string]error{
		"canceled": context.Canceled, "deadline": context.DeadlineExceeded,
		"not a bundle": bundle.ErrNotBundle, "bundle damaged": bundle.ErrDamaged,
		"locked": apply.ErrLocked, "read-only": apply.ErrReadOnly, "space": apply.ErrNoSpace,
		"downgrade": apply.ErrDowngrade, "from": apply.ErrFrom, "conflict": apply.ErrConflict,
		"changed": apply.ErrChanged, "verify": apply.ErrVerify, "damaged": apply.ErrDamaged,
		"not applied": apply.ErrNotApplied, "first boot": apply.ErrFirstBoot,
		"no system": root.ErrNoSystem, "several systems": root.ErrSeveralSystems,
		"stale": plan.ErrStale, "no such goal": plan.ErrNotFound, "malformed plan": plan.ErrMalformed,
	}
}

// newFault returns err as a fault, nil if it is none.
func newFault(err error) *fault {
	if err == nil {
		return nil
	}
	f := &fault{Text: err.Error()}
	for name, kind := range carried() {
		if errors.Is(err, kind) {
			f.Wraps = append(f.Wraps, name)
		}
	}
	var refused *root.RefusedError
	if errors.As(err, &refused) {
		f.Refused = &root.RefusedError{Volume: refused.Volume, Reason: refused.Reason, Detail: refused.Detail}
	}
	return f
}

// Error implements error.
func (f *fault) Error() string { return f.Text }

// As makes errors.As find the volume that was refused.
func (f *fault) As(target any) bool {
	refused, ok := target.(**root.RefusedError)
	if !ok || f.Refused == nil {
		return false
	}
	*refused = f.Refused
	return true
}

// Is makes errors.Is find what the error wrapped before it went its way.
func (f *fault) Is(target error) bool {
	kinds := carried()
	for _, name := range f.Wraps {
		if kinds[name] == target {
			return true
		}
	}
	return false
}
