package bake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"slipcast/catalog/apply"
	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
	"slipcast/catalog/plan"
	"slipcast/catalog/probe"
	"slipcast/catalog/root"
	"slipcast/catalog/version"
	"slipcast/image"
)

// TestOptions say how a bundle is tested. The zero value is the default.
type TestOptions struct {
	Copy     CopyOptions
	Params   map[string]string
	By       string            // program and version, for receipts
	Log      func(line string) // is called with what programs print; nil: nobody
	Progress func(bytes int64) // is called with bytes of the bundle as they are laid; nil: nobody
}

// A Report is how the test of a bundle on an image went.
type Report struct {
	Bundle string  `json:"bundle"` // NAME@VERSION-RELEASE
	Digest string  `json:"digest"` // of its manifest
	Image  string  `json:"image"`  // digest of the image
	Checks []Check `json:"checks"` // in the order in which they were made; the first that is Failed is the last
}

// Passed reports whether no check failed.
func (r *Report) Passed() bool {
	for _, c := range r.Checks {
		if c.Result == Failed {
			return false
		}
	}
	return true
}

// A Check is one thing that a test looks at.
type Check struct {
	Name   string  `json:"name"` // what ought to be
	Result Result  `json:"result"`
	Detail string  `json:"detail,omitempty"`
	Took   float64 `json:"seconds"`
}

// A Result is how a check went.
type Result string

// The results.
const (
	OK      Result = "ok"
	Failed  Result = "failed"
	Skipped Result = "skipped" // it does not apply, and the reason is in the check
)

// Test tries a bundle on a copy of an image: it is for that image, can be
// applied, is found afterwards in its version, leaves its payload as its manifest says, and
// can be undone so that the tree is the one that it was. What the bundle does
// wrong is in the report; an error means that no report could be made. The
// image stays as it is. It takes root's rights.
func Test(ctx context.Context, file *os.File, im *image.Image, opt TestOptions) (r *Report, err error) {
	b, err := openBundle(file)
	if err != nil {
		return nil, err
	}
	if b.Manifest.Machine {
		return nil, fmt.Errorf("%s: %w", b.Manifest.ID(), ErrMachine)
	}
	if err := b.Verify(ctx, nil); err != nil {
		return nil, err
	}
	c, err := NewCopy(im, opt.Copy)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r = &Report{Bundle: b.Manifest.ID(), Digest: b.Digest, Image: im.Digest.String()}
	task := Task{
		Job: testJob, Files: []*os.File{file}, Log: opt.Log, Progress: opt.Progress,
		Input: testInput{Params: opt.Params, By: opt.By, Time: bakeTime(im)},
	}
	if err := c.Run(ctx, task, &r.Checks); err != nil {
		return nil, err
	}
	return r, nil
}

// testJob is the job that tests a bundle.
const testJob = "test"

// A testInput is the input of that job; its file is the bundle.
type testInput struct {
	Params map[string]string `json:"params,omitempty"`
	By     string            `json:"by"`
	Time   time.Time         `json:"time"`
}

// A trial is a test of a bundle under way.
type trial struct {
	root    *root.Root
	work    *Work
	bundle  *bundle.Bundle
	opt     apply.Options
	receipt *apply.Receipt
	before  []root.Entry
}

// errSkip is the reason of a check that is skipped.
var errSkip = errors.New("skipped")

// testBundle is a [Job].
func testBundle(ctx context.Context, r *root.Root, w *Work) (any, error) {
	var in testInput
	if err := w.Input(&in); err != nil {
		return nil, err
	}
	b, err := openBundle(w.Files[0])
	if err != nil {
		return nil, err
	}
	t := &trial{root: r, work: w, bundle: b, opt: apply.Options{
		Params: in.Params, Time: in.Time, By: in.By, Scratch: w.Scratch, Log: w.Log, Progress: w.Progress,
	}}
	if t.before, err = r.Tree(ctx, root.TreeOptions{}); err != nil {
		return nil, err
	}
	return t.run(ctx)
}

// run makes all checks, up to the first that fails.
func (t *trial) run(ctx context.Context) ([]Check, error) {
	var checks []Check
	for _, c := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"is for this image", t.applies},
		{"can be applied", t.apply},
		{"is found afterwards", t.found},
		{"its payload is there", t.payload},
		{"can be undone", t.undo},
		{"the tree is as before", t.same},
	} {
		start := time.Now()
		detail, err := c.do(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		check := Check{Name: c.name, Result: OK, Detail: detail, Took: time.Since(start).Seconds()}
		if errors.Is(err, errSkip) {
			check.Result = Skipped
		} else if err != nil {
			check.Result, check.Detail = Failed, err.Error()
		}
		if checks = append(checks, check); check.Result == Failed {
			break
		}
	}
	return checks, nil
}

// look plans with this bundle alone, as it would be planned for this root now.
func (t *trial) look(ctx context.Context) (plan.Product, plan.Cell, error) {
	m := t.bundle.Manifest
	c, err := plan.Compile([]plan.Bundle{{Header: m.Header, Digest: t.bundle.Digest}})
	if err != nil {
		return plan.Product{}, plan.Cell{}, err
	}
	f, err := c.Look(ctx, &detector{probe.New(t.root, nil), t}, plan.LookOptions{})
	if err != nil {
		return plan.Product{}, plan.Cell{}, err
	}
	p, err := c.Resolve(f, plan.Options{})
	if err != nil {
		return plan.Product{}, plan.Cell{}, err
	}
	if len(p.Products) != 1 || len(p.Cells) != 1 {
		return plan.Product{}, plan.Cell{}, fmt.Errorf("a plan with one bundle has %d products", len(p.Products))
	}
	return p.Products[0], p.Cells[0], nil
}

// A detector asks the root, and the payload of the bundle.
type detector struct {
	*probe.Probes
	trial *trial
}

// Payload implements plan.Detector.
func (d *detector) Payload(ctx context.Context, _ *plan.Bundle) (condition.Verdict, string) {
	return d.Probes.Payload(ctx, d.trial.bundle.Manifest, probe.PayloadOptions{Expanded: d.trial.expanded})
}

// expanded returns the digest of a file whose contents depend on parameters, as
// it was laid.
func (t *trial) expanded(_ context.Context, e bundle.Entry) (string, error) {
	if t.receipt != nil {
		for _, p := range t.receipt.Paths {
			if string(p.Path) == e.Path {
				return p.SHA256, nil
			}
		}
	}
	return "", errors.New("it was not laid")
}

func (t *trial) applies(ctx context.Context) (string, error) {
	p, c, err := t.look(ctx)
	switch {
	case err != nil:
		return "", err
	case c.State == plan.NotApplicable:
		return "", errors.New(c.Reason)
	case p.Version != "":
		return "version " + p.Version + " is there", nil
	}
	return c.Reason, nil
}

func (t *trial) apply(ctx context.Context) (string, error) {
	var err error
	t.receipt, err = apply.Apply(ctx, t.root, t.bundle, t.opt)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d paths", len(t.receipt.Paths)), nil
}

func (t *trial) found(ctx context.Context) (string, error) {
	p, _, err := t.look(ctx)
	if err != nil {
		return "", err
	}
	if m := t.bundle.Manifest; !version.Same(m.Scheme, p.Version, m.Version) {
		return "", fmt.Errorf("version %q is found, not %s: %s", p.Version, m.Version, p.Reason)
	}
	return "version " + p.Version, nil
}

func (t *trial) payload(ctx context.Context) (string, error) {
	if len(t.bundle.Manifest.Payload) == 0 {
		return "it has none", errSkip
	}
	d := &detector{probe.New(t.root, nil), t}
	if verdict, reason := d.Payload(ctx, nil); verdict != condition.Yes {
		return "", fmt.Errorf("%s: %s", verdict, reason)
	}
	return "", nil
}

func (t *trial) undo(ctx context.Context) (string, error) {
	if t.bundle.Manifest.Rollback == bundle.Reimage {
		return "it says that only restoring the image undoes it", errSkip
	}
	return "", apply.Undo(ctx, t.root, []string{t.bundle.Manifest.Product()}, t.opt)
}

func (t *trial) same(ctx context.Context) (string, error) {
	if t.bundle.Manifest.Rollback == bundle.Reimage {
		return "it was not undone", errSkip
	}
	after, err := t.root.Tree(ctx, root.TreeOptions{})
	if err != nil {
		return "", err
	}
	after = slices.DeleteFunc(after, func(e root.Entry) bool { return t.isForState(e.Path) })
	if d := differences(t.before, after); d != "" {
		return "", errors.New(d)
	}
	return fmt.Sprintf("%d paths", len(after)), nil
}

// isForState tells whether a path is a directory that was not there, and that slipcast's own
// folders lie in: they stay after an undo (docs/bundles.md, section 9.4).
func (t *trial) isForState(path string) bool {
	return strings.HasPrefix(t.root.StateDir(), path+"/") &&
		!slices.ContainsFunc(t.before, func(e root.Entry) bool { return e.Path == path })
}

// differences says which paths of two trees differ: the first few by name.
func differences(before, after []root.Entry) string {
	was := map[string]*root.Entry{}
	for i := range before {
		was[before[i].Path] = &before[i]
	}
	var list []string
	for i := range after {
		e := &after[i]
		old := was[e.Path]
		delete(was, e.Path)
		switch {
		case old == nil:
			list = append(list, e.Path+" is new")
		case !alike(*old, *e):
			list = append(list, e.Path+" differs")
		}
	}
	for i := range before {
		if was[before[i].Path] != nil {
			list = append(list, before[i].Path+" is gone")
		}
	}
	return few(list)
}

// alike compares what the tree digest is made of.
func alike(a, b root.Entry) bool {
	for _, e := range []*root.Entry{&a, &b} {
		e.Dev, e.Ino, e.Links = 0, 0, 0 // a file that was laid back may be another one
	}
	return reflect.DeepEqual(a, b)
}

// few joins a list, of which it names five.
func few(list []string) string {
	const most = 5
	text := ""
	for i, s := range list {
		if i == most {
			return fmt.Sprintf("%s; and %d more", text, len(list)-most)
		}
		if i > 0 {
			text += "; "
		}
		text += s
	}
	return text
}
