package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
	"slipcast/catalog/probe"
	"slipcast/catalog/root"
)

// Options say how bundles are applied and undone. The zero value is the
// default.
type Options struct {
	Params         map[string]string // of the bundle; what is not there has its default
	Machine        *probe.Machine    // that the root belongs to; nil while an image is baked
	Scratch        string            // a folder for what programs write, with room for it; empty: os.TempDir
	Time           time.Time         // what is laid was last changed then, and the receipt is of then; zero: now
	By             string            // version of slipcast, for receipts
	Installed      *string           // the version of the product that is there, "" for none; nil: Apply finds it
	AllowDowngrade bool              // something higher that is installed is no obstacle
	Force          bool              // Undo goes on if files were changed since
	Log            func(line string) // is called with what programs print and what recovery does; nil: nobody
	Progress       func(bytes int64) // is called with bytes of the bundle as they are laid; nil: nobody
}

// Apply puts a bundle onto a root: all of it, or nothing. It runs [Recover]
// first, and returns the receipt that it leaves. Errors are of type [*Error].
// Nobody else must change the root meanwhile.
func Apply(ctx context.Context, r *root.Root, b *bundle.Bundle, opt Options) (*Receipt, error) {
	if opt.Time.IsZero() {
		opt.Time = time.Now()
	}
	var receipt *Receipt
	err := withEngine(ctx, r, opt, true, func(e *engine) (err error) {
		a := &application{e: e, r: r, b: b, opt: opt}
		receipt, err = a.run(ctx)
		return err
	})
	if err != nil {
		return nil, within(b.Manifest.ID(), "checks", err)
	}
	return receipt, nil
}

// Recover ends what an earlier process began and did not end, if anything: see
// docs/bundles.md, section 9.5. Apply and Undo do it themselves.
func Recover(ctx context.Context, r *root.Root, opt Options) error {
	err := withEngine(ctx, r, opt, false, func(*engine) error { return nil })
	if err != nil {
		return fmt.Errorf("recovering the root at %s: %w", r.Dir(), err)
	}
	return nil
}

// Undo takes off what the last bundle of each of these products changed, the
// one that was applied last first. Errors are of type [*Error].
func Undo(ctx context.Context, r *root.Root, products []string, opt Options) error {
	undone := false
	err := withEngine(ctx, r, opt, false, func(e *engine) error {
		undone = true
		return e.undo(ctx, products, opt.Force)
	})
	if err == nil && !undone && len(products) > 0 {
		err = within(products[0], "undo", ErrNotApplied)
	}
	return err
}

// Receipts returns the receipts on a root, ordered by product. An error wraps
// [ErrDamaged] if one of them is not as it was written.
func Receipts(r *root.Root) ([]Receipt, error) {
	d := tree{r: r}
	state, err := newDraft(d).resolve(stateFolder(r), false)
	if err != nil {
		return nil, err
	}
	e := newEngine(d, state)
	if err := e.sound(); err != nil {
		return nil, err
	}
	list, err := e.receipts()
	for i := range list {
		_, gone := e.d.stat(e.folder(list[i].Tx) + "/tx.json")
		list[i].Undo = gone == nil
	}
	return list, err
}

// An Item is a bundle of a plan with its parameters.
type Item struct {
	Bundle *bundle.Bundle
	Params map[string]string
}

// RunPlan applies bundles one after another. The first that is not applied
// ends it; the receipts are those of the ones before it.
func RunPlan(ctx context.Context, r *root.Root, items []Item, opt Options) ([]Receipt, error) {
	var done []Receipt
	for _, item := range items {
		opt.Params = item.Params
		receipt, err := Apply(ctx, r, item.Bundle, opt)
		if err != nil {
			return done, err
		}
		done = append(done, *receipt)
	}
	return done, nil
}

// withEngine calls f with the engine of a root that is locked and recovered.
// Without create it is not called where nothing was ever applied.
func withEngine(ctx context.Context, r *root.Root, opt Options, create bool, f func(e *engine) error) (err error) {
	e, unlock, err := open(r, opt, create)
	if err != nil || e == nil {
		return err
	}
	defer func() {
		if end := unlock(); end != nil {
			err = errors.Join(err, end)
		}
	}()
	e.verify = func(ctx context.Context, t *transaction) error { return found(ctx, t, e.facts(r, opt.Machine)) }
	if err := e.recover(ctx); err != nil {
		return err
	}
	return f(e)
}

// facts returns the probes of a root as it is now. A product is what its
// receipt says.
func (e *engine) facts(r *root.Root, m *probe.Machine) condition.Facts {
	p := probe.New(r, m)
	p.SetProducts(func(_ context.Context, name string) (string, error) {
		list, err := e.receipts()
		if have := receiptOf(list, name); have != nil {
			return have.Version, nil
		}
		return "", err
	})
	return p
}

// An application is one bundle on its way onto a root.
type application struct {
	e   *engine
	r   *root.Root
	b   *bundle.Bundle
	opt Options

	params   map[string]string
	receipts []Receipt
	previous *Receipt // of this product
}

func (a *application) run(ctx context.Context) (*Receipt, error) {
	if err := a.checks(ctx); err != nil {
		return nil, err
	}
	c := newCompiler(newDraft(a.e.d), a.b.Manifest, a.data, a.params)
	if err := c.commands(a.b.Manifest.Needs.Commands); err != nil {
		return nil, err
	}
	done, err := a.compile(ctx, c)
	if err != nil {
		return nil, err
	}
	receipt, err := a.transact(ctx, c)
	if end := done(); end != nil {
		a.e.log(fmt.Sprintf("the folder in which programs ran is still there: %v", end))
	}
	return receipt, err
}

// checks looks at everything that can be known without the contents.
func (a *application) checks(ctx context.Context) (err error) {
	m := a.b.Manifest
	if m.Family != string(a.r.Family()) {
		return fmt.Errorf("the bundle is for %s, the root is a %s", m.Family, a.r.Family())
	}
	if a.receipts, err = a.e.receipts(); err != nil {
		return err
	}
	if r := receiptOf(a.receipts, m.Product()); r != nil {
		a.previous = r
	}
	if a.params, err = parameters(m.Params, a.opt.Params, a.opt.Machine); err != nil {
		return err
	}
	have, err := installed(ctx, &m.Header, a.e.facts(a.r, a.opt.Machine), a.previous, a.opt)
	if err != nil {
		return err
	}
	return mayReplace(&m.Header, have, a.opt)
}

// compile lays all that the bundle does into the draft. done frees what the
// draft needs until it was laid.
func (a *application) compile(ctx context.Context, c *compiler) (done func() error, err error) {
	if hasPrograms(a.b.Manifest) {
		done, err = programs(ctx, a.r, c, a.opt)
		return done, within("", "programs", err)
	}
	for i := range a.b.Manifest.Payload {
		if err := c.payload(&a.b.Manifest.Payload[i]); err != nil {
			return nil, err
		}
	}
	return func() error { return nil }, nil
}

// transact runs the transaction that makes the root the draft.
func (a *application) transact(ctx context.Context, c *compiler) (*Receipt, error) {
	queue, err := c.queue(a.e)
	if err != nil {
		return nil, err
	}
	steps, sources, err := c.steps(ctx, timeOf(a.opt.Time))
	if err != nil {
		return nil, err
	}
	m := a.b.Manifest
	if err := owners(steps, a.receipts, &m.Header); err != nil {
		return nil, err
	}
	id, err := a.e.next(a.receipts)
	if err != nil {
		return nil, err
	}
	t := &transaction{Schema: 1, ID: id, Bundle: m.Header, Steps: steps, Previous: a.previous}
	t.Receipt = a.receipt(id, queue)
	t.Receipt.Paths = changed(steps)
	if err := cmp.Or(a.e.writable(t), a.e.reachable(t), a.e.room(t, m.Needs, true)); err != nil {
		return nil, err
	}
	if err := a.e.run(ctx, t, sources); err != nil {
		return nil, err
	}
	return t.Receipt, nil
}

func (a *application) receipt(id string, queue []string) *Receipt {
	m := a.b.Manifest
	r := &Receipt{
		Schema: 1, Name: m.Name, Track: m.Track, Version: m.Version, Scheme: m.Scheme, Release: m.Release, Digest: a.b.Digest,
		Time: a.opt.Time.UTC().Truncate(time.Second), By: a.opt.By, Times: 1, Queue: queue, Reboot: m.Reboot, Tx: id,
	}
	if a.previous != nil && a.previous.Digest == r.Digest {
		r.Times = a.previous.Times + 1
	}
	r.Params, r.Secrets = settings(m.Params, a.params)
	return r
}

// data opens file n of the bundle and tells the progress.
func (a *application) data(n int) (io.ReadCloser, error) {
	r, err := a.b.Data(n)
	if err != nil || a.opt.Progress == nil {
		return r, err
	}
	return meter{r, a.opt.Progress}, nil
}

// A meter tells how much was read.
type meter struct {
	io.ReadCloser
	tell func(int64)
}

func (m meter) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.tell(int64(n))
	return n, err
}

// timeOf returns t as file systems keep it.
func timeOf(t time.Time) Time { return Time{Sec: t.Unix(), Nsec: int64(t.Nanosecond())} }
