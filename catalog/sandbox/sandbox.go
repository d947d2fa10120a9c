package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"slipcast/catalog/root"
)

// ErrFamily reports a root of Windows, whose programs do not run here.
var ErrFamily = errors.New("programs of Windows do not run here")

// Options change what programs see. The zero value is the default.
type Options struct {
	Processes int // that may exist at once, threads included; 0 is 512
}

// maxProcesses is how many processes and threads there may be at once.
const maxProcesses = 512

// An Overlay is a root with a layer over it that takes all writes. Its methods
// must not be called by two goroutines at once.
type Overlay struct {
	root    *root.Root // what lies below
	merged  *root.Root // what programs see
	scratch string
	opt     Options
	layers  []*layer
}

// New lays an overlay over r. The scratch folder must be empty and have room
// for what will be written; it may lie on a tmpfs, but not on an overlay. It
// stays the caller's, to be removed after Close. r must stay open, and must not
// be changed, until then.
func New(ctx context.Context, r *root.Root, scratch string, opt Options) (*Overlay, error) {
	o, err := newOverlay(ctx, r, scratch, opt, needsCopy)
	if err != nil {
		return nil, fmt.Errorf("laying an overlay over the root: %w", err)
	}
	return o, nil
}

// newOverlay is New with the choice of those file systems that are copied.
func newOverlay(ctx context.Context, r *root.Root, scratch string, opt Options, copied func(*root.Filesystem) bool) (*Overlay, error) {
	if r.Family() == root.Windows {
		return nil, ErrFamily
	}
	if opt.Processes == 0 {
		opt.Processes = maxProcesses
	}
	scratch, err := filepath.Abs(scratch)
	if err != nil {
		return nil, err
	}
	o := &Overlay{root: r, scratch: scratch, opt: opt}
	if err := os.Mkdir(o.place("merged"), 0o700); err != nil {
		return nil, err
	}
	if err := o.plan(ctx, copied); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	if err := r.Within(o.mount); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// place returns the path of something in the scratch folder.
func (o *Overlay) place(name string) string { return filepath.Join(o.scratch, name) }

// Root returns the tree as programs see it. It can be written to; it belongs
// to the overlay, and ends with it.
func (o *Overlay) Root() *root.Root { return o.merged }

// Close ends the overlay. The scratch folder may be removed afterwards, and the
// contents of changes are not to be opened any more.
func (o *Overlay) Close() error {
	var errs []error
	for _, l := range o.layers {
		if l.upper != nil {
			errs = append(errs, l.upper.Close())
		}
	}
	if o.merged != nil {
		errs = append(errs, o.merged.Close())
	}
	return errors.Join(errs...)
}
