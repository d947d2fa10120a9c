package depot

import (
	"context"
	"errors"
	"io"
	"os"

	"slipcast/catalog/bundle"
	"slipcast/catalog/trust"
)

// hasBundle tells whether the file of a bundle has its place in the store.
func (y *yard) hasBundle(b *trust.BundleTarget) bool {
	return sizeOf(y.place(bundlePath(b.File))) == b.File.Size
}

// takeBundle checks the file of a bundle at from, byte by byte, and gives it its
// place. A file that is wrong is removed; the error wraps ErrWrong then.
func (y *yard) takeBundle(ctx context.Context, b *trust.BundleTarget, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	err = checkBundle(ctx, b, f)
	if err = errors.Join(err, f.Close()); err == nil {
		return y.settle(from, bundlePath(b.File))
	}
	if isWrong(err) || errors.Is(err, bundle.ErrDamaged) || errors.Is(err, bundle.ErrNotBundle) {
		err = errors.Join(wrong("%s: %v", bundlePath(b.File), err), os.Remove(from))
	}
	return err
}

func checkBundle(ctx context.Context, b *trust.BundleTarget, f *os.File) error {
	if err := b.File.Verify(ctx, io.NewSectionReader(f, 0, b.File.Size+1)); err != nil {
		return err
	}
	_, err := b.Open(f, b.File.Size)
	return err
}

// severest returns how much it matters that a bundle comes before others.
func severest(b *trust.BundleTarget) int {
	switch b.Header.Severity {
	case bundle.Critical:
		return 4
	case bundle.Important:
		return 3
	case bundle.Moderate:
		return 2
	case bundle.Low:
		return 1
	}
	return 0
}
