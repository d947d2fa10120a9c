package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"slipcast/catalog/apply"
	"slipcast/catalog/bake"
	"slipcast/catalog/bundle"
	"slipcast/catalog/plan"
	"slipcast/catalog/root"
	"slipcast/catalog/trust"
	"slipcast/fleet"
	"slipcast/image"
	"slipcast/image/store"
	"slipcast/internal/blockdev"
	"slipcast/multicast"
	"slipcast/pxe/bootenv"
)

// Exit codes, see exitCodes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPart        = 3
	exitDamaged     = 4
	exitRefused     = 5
	exitNobody      = 6
	exitInterrupted = 130
)

// An exitMeaning explains an exit code.
type exitMeaning struct {
	code    int
	meaning string
}

// exitCodes returns what the exit codes mean. slipcast help exit-codes and
// docs/cli.md are printed from it.
func exitCodes() []exitMeaning {
	return []exitMeaning{
		{exitDone, "done"},
		{exitFailed, "any other failure; verify found differences"},
		{exitUsage, "wrong arguments, flags or configuration"},
		{exitPart, "done in part: some receivers or bundles failed, what could not be read was left out, or less is compliant than is required"},
		{exitDamaged, "an image, chunk or bundle is damaged, or a file is neither image nor bundle; a catalog is not what was signed"},
		{exitRefused, "the source, target, system or version in a store was refused, a plan does not hold any more, or an image is not released; nothing was written"},
		{exitNobody, "nobody answered: no receiver came, no session was found, or the sender or web server was lost"},
		{exitInterrupted, "interrupted"},
	}
}

// exitCode returns the exit code for the error that a command ended with.
func exitCode(ctx context.Context, err error) int {
	var usage *usageError
	var refused *blockdev.RefusedError
	var unwilling *refusal
	var small *image.TooSmallError
	var part *partError
	var incomplete *multicast.IncompleteError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.Is(err, fleet.ErrMalformed):
		return exitUsage
	case errors.As(err, &part), errors.As(err, &incomplete):
		return exitPart
	case errors.As(err, &refused), errors.As(err, &unwilling), errors.As(err, &small), errors.Is(err, fleet.ErrNotReleased), errors.Is(err, image.ErrSectorSize),
		errors.Is(err, store.ErrExists), errors.Is(err, store.ErrInUse), errors.Is(err, bootenv.ErrForeign),
		errors.Is(err, bundle.ErrNotEmpty), errors.Is(err, trust.ErrExists), isRootRefused(err):
		return exitRefused
	case errors.Is(err, image.ErrDamaged), errors.Is(err, image.ErrNotImage), errors.Is(err, bootenv.ErrDamaged),
		errors.Is(err, bundle.ErrDamaged), errors.Is(err, bundle.ErrNotBundle), isUntrusted(err):
		return exitDamaged
	case errors.Is(err, multicast.ErrNobody), errors.Is(err, multicast.ErrNoSession), errors.Is(err, errRemoteSilent):
		return exitNobody
	case ctx.Err() != nil:
		return exitInterrupted
	}
	return exitFailed
}

// isRootRefused tells whether nothing was applied to a root, or undone, because
// that would do harm.
func isRootRefused(err error) bool {
	var refused *root.RefusedError
	return errors.As(err, &refused) || slices.ContainsFunc([]error{
		plan.ErrStale, apply.ErrLocked, apply.ErrReadOnly, apply.ErrNoSpace, apply.ErrDowngrade, apply.ErrFrom, apply.ErrConflict, apply.ErrChanged,
		bake.ErrMachine, root.ErrNoSystem, root.ErrSeveralSystems,
	}, func(is error) bool { return errors.Is(err, is) })
}

// A partError reports work that was done in part.
type partError struct{ err error }

func (e *partError) Error() string { return e.err.Error() }
func (e *partError) Unwrap() error { return e.err }

// A refusal reports a target that slipcast does not want to overwrite.
type refusal struct{ reason string }

func (e *refusal) Error() string { return e.reason }

// noTerminal is the refusal where nobody can be asked.
const noTerminal = "nobody can be asked whether to overwrite it: this is not a terminal"

// newExitCodesTopic returns the help topic of that name.
func newExitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long:  "Every command ends with one of these exit codes:\n\n" + exitCodeTable(),
	}
}

func exitCodeTable() string {
	var b strings.Builder
	for _, e := range exitCodes() {
		fmt.Fprintf(&b, "%5d  %s\n", e.code, e.meaning)
	}
	return strings.TrimRight(b.String(), "\n")
}
