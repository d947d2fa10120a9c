package apply

import (
	"context"
	"errors"
	"time"

	"slipcast/catalog/bundle"
	"slipcast/catalog/probe"
	"slipcast/catalog/root"
)

// Options say how bundles are applied and undone. The zero value is the
// default.
type Options struct {
	Params         map[string]string // of the bundle; what is not there has its default
	Machine        *probe.Machine    // that the root belongs to; nil while an image is baked
	Scratch        string            // an empty folder for what programs write; empty: one below os.TempDir
	Time           time.Time         // what is laid was last changed then, and the receipt is of then; zero: now
	By             string            // version of slipcast, for receipts
	Installed      *string           // the version of the product that is there, "" for none; nil: Apply finds it
	AllowDowngrade bool              // something higher that is installed is no obstacle
	Force          bool              // Undo goes on if files were changed since
	Log            func(line string) // is called with what programs print and what recovery does; nil: nobody
	Progress       func(bytes int64) // is called with bytes of the bundle as they are laid; nil: nobody
}

// Apply puts a bundle onto a root: all of it, or nothing. It runs [Recover]
// first. Errors are of type [*Error]; one that wraps neither [ErrVerify] nor
// comes from the medium itself was found before the first write.
func Apply(ctx context.Context, r *root.Root, b *bundle.Bundle, opt Options) (*Receipt, error) {
	return nil, errors.ErrUnsupported
}

// Recover ends what an earlier process began: see docs/bundles.md, section 9.5.
// Apply and Undo do it themselves.
func Recover(ctx context.Context, r *root.Root, opt Options) error {
	return errors.ErrUnsupported
}

// Undo takes off what the last bundle of each of these products changed, the
// one that was applied last first.
func Undo(ctx context.Context, r *root.Root, products []string, opt Options) error {
	return errors.ErrUnsupported
}

// Receipts returns the receipts on a root, ordered by product.
func Receipts(r *root.Root) ([]Receipt, error) { return nil, errors.ErrUnsupported }

// An Item is a bundle of a plan with its parameters.
type Item struct {
	Bundle *bundle.Bundle
	Params map[string]string
}

// RunPlan applies bundles one after another. The first that is not applied
// ends it; the receipts are those of the ones before it.
func RunPlan(ctx context.Context, r *root.Root, items []Item, opt Options) ([]Receipt, error) {
	return nil, errors.ErrUnsupported
}
