package bake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"slipcast/catalog/apply"
	"slipcast/catalog/bundle"
	"slipcast/catalog/root"
	"slipcast/image"
)

// ErrMachine reports a bundle that asks for the machine that it is applied to:
// it is applied after restore.
var ErrMachine = errors.New("machine-specific: it cannot be baked")

// A Step is a bundle to be laid onto an image.
type Step struct {
	File   *os.File          // the bundle; it stays the caller's
	Params map[string]string // what is not there has its default

	bundle *bundle.Bundle
}

// Options say how an image is baked. The zero value is the default.
type Options struct {
	Copy CopyOptions

	Level          image.Level        // of compression, for chunks that changed
	Workers        int                // as in image.CaptureOptions
	Time           time.Time          // of what is laid; zero: when the parent was captured
	By             string             // program and version, for receipts and the origin of the image
	AllowDowngrade bool               // as in apply.Options
	Log            func(line string)  // is called with what programs print; nil: nobody
	Progress       func(Stage, int64) // is called with bytes that were done; nil: nobody. From several goroutines
}

// A Stage is a part of a bake, for progress.
type Stage string

// The stages. Of Capturing all bytes in use are counted, of Applying those of the bundles' contents.
const (
	Applying  Stage = "applying"
	Capturing Stage = "capturing"
)

// Baked is what a bake has made.
type Baked struct {
	Recipe   *Recipe
	Digest   string // of the recipe
	Receipts []apply.Receipt
	Manifest *image.Manifest // of the child
	Stats    image.CaptureStats
	Written  int64 // bytes of the disk that were written to, in blocks
}

// Bake lays bundles onto the disk in parent, in their order, and writes an image of the result,
// whose parent it is, to w. parent stays as it is. If any bundle cannot be applied, there is no child:
// the error is apply's, and nothing has been written to w. It takes root's rights.
func Bake(ctx context.Context, w io.Writer, parent *image.Image, steps []Step, opt Options) (*Baked, error) {
	if opt.Time.IsZero() {
		opt.Time = bakeTime(parent)
	}
	steps, err := openSteps(steps)
	if err != nil {
		return nil, err
	}
	b := &Baked{}
	if b.Recipe, err = newRecipe(parent, steps, opt.Time); err != nil {
		return nil, err
	}
	if b.Digest, err = b.Recipe.Digest(); err != nil {
		return nil, err
	}
	c, err := NewCopy(parent, opt.Copy)
	if err != nil {
		return nil, err
	}
	err = b.bake(ctx, w, c, steps, opt)
	return b, errors.Join(err, c.Close())
}

// NewRecipe returns the recipe that [Bake] would follow, so that a caller can
// look whether there is an image of it.
func NewRecipe(parent *image.Image, steps []Step, opt Options) (*Recipe, error) {
	if opt.Time.IsZero() {
		opt.Time = bakeTime(parent)
	}
	steps, err := openSteps(steps)
	if err != nil {
		return nil, err
	}
	return newRecipe(parent, steps, opt.Time)
}

// openSteps returns the steps with their bundles open.
func openSteps(steps []Step) ([]Step, error) {
	if len(steps) == 0 {
		return nil, errors.New("no bundles to bake")
	}
	open := make([]Step, len(steps))
	for i, s := range steps {
		b, err := openBundle(s.File)
		if err != nil {
			return nil, err
		}
		open[i] = Step{s.File, s.Params, b}
	}
	return open, nil
}

func openBundle(f *os.File) (*bundle.Bundle, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := bundle.Open(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return b, nil
}

func (b *Baked) bake(ctx context.Context, w io.Writer, c *Copy, steps []Step, opt Options) error {
	in := applyInput{Time: opt.Time, By: opt.By, AllowDowngrade: opt.AllowDowngrade}
	t := Task{Job: applyJob, Log: opt.Log, Progress: opt.progress(Applying)}
	for _, s := range steps {
		in.Digests = append(in.Digests, s.bundle.Digest)
		in.Params = append(in.Params, s.Params)
		t.Files = append(t.Files, s.File)
	}
	t.Input = in
	if err := c.Run(ctx, t, &b.Receipts); err != nil {
		return err
	}
	b.Written = c.Disk().Written()
	var err error
	b.Manifest, b.Stats, err = c.Capture(ctx, w, image.CaptureOptions{
		Level: opt.Level, Workers: opt.Workers, Progress: opt.progress(Capturing),
		Origin: image.Origin{Time: opt.Time, Tool: opt.By, Source: sourcePrefix + b.Digest},
	})
	return err
}

// progress returns the Progress of one stage.
func (o *Options) progress(s Stage) func(int64) {
	if o.Progress == nil {
		return nil
	}
	return func(bytes int64) { o.Progress(s, bytes) }
}

// applyJob is the job that applies bundles.
const applyJob = "apply"

// An applyInput is the input of that job; its files are the bundles.
type applyInput struct {
	Digests        []string            `json:"digests"`
	Params         []map[string]string `json:"params"`
	Time           time.Time           `json:"time"`
	By             string              `json:"by"`
	AllowDowngrade bool                `json:"allow_downgrade,omitempty"`
}

// applySteps is a [Job].
func applySteps(ctx context.Context, r *root.Root, w *Work) (any, error) {
	var in applyInput
	if err := w.Input(&in); err != nil {
		return nil, err
	}
	var items []apply.Item
	for i, f := range w.Files {
		b, err := openBundle(f)
		if err != nil {
			return nil, err
		}
		if b.Digest != in.Digests[i] {
			return nil, fmt.Errorf("%s: another bundle than a moment ago", f.Name())
		}
		items = append(items, apply.Item{Bundle: b, Params: in.Params[i]})
	}
	return apply.RunPlan(ctx, r, items, apply.Options{
		Time: in.Time, By: in.By, AllowDowngrade: in.AllowDowngrade, Scratch: w.Scratch, Log: w.Log, Progress: w.Progress,
	})
}
