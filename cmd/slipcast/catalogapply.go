package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/apply"
	"slipcast/catalog/bundle"
	"slipcast/catalog/plan"
	"slipcast/catalog/probe"
	"slipcast/catalog/root"
	"slipcast/internal/progress"
)

// applyOptions say what is applied to which root.
type applyOptions struct {
	catalog   catalogFlag
	root      rootFlag
	plan      string
	params    []string
	name      string
	scratch   string
	downgrade bool
	yes       bool
}

func newCatalogApplyCmd(env *env) *cobra.Command {
	var opt applyOptions
	cmd := &cobra.Command{
		Use:   "apply [BUNDLE...]",
		Short: "Bring bundles to a system",
		Long: `Apply brings to a system what it lacks of the catalog, or of each BUNDLE (NAME,
NAME@VERSION or NAME@VERSION-RELEASE), and what these require. It shows what it is
going to do, and asks.

Each bundle happens as a whole or not at all, also when the power fails: the next
apply ends what was begun. Programs of bundles, and package managers, run beside
the system; what they have changed goes onto it with the rest, and slipcast
catalog undo takes it away again.

With --plan it does what a saved plan says, if the system and the catalog are
still as they were when it was made.`,
		Example: `  slipcast catalog apply --root /
  slipcast catalog apply reader --disk /dev/sdb --yes
  slipcast catalog apply --root /mnt --plan room-12.plan`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runCatalogApply(cmd.Context(), env, args, &opt); err != nil {
				return fmt.Errorf("applying: %w", err)
			}
			return nil
		},
	}
	addCatalogFlags(cmd, &opt.catalog)
	addTicketFlags(cmd, &opt.catalog)
	addRootFlags(cmd, &opt.root)
	f := cmd.Flags()
	f.StringVar(&opt.catalog.held, "files", "", "take files of bundles, SHA256.slb, from the folder `DIR` if they are there")
	f.StringVar(&opt.plan, "plan", "", "do what the plan in `FILE` says, and nothing else")
	f.StringArrayVar(&opt.params, "param", nil, "give a bundle a setting, `BUNDLE:NAME=VALUE`; =@FILE reads it from a file")
	f.StringVar(&opt.name, "name", "", "what this machine is called, for conditions and parameters (default: its host name)")
	f.StringVar(&opt.scratch, "scratch", "", "let programs write to the folder `DIR` meanwhile (default: one for temporary files)")
	f.BoolVar(&opt.downgrade, "allow-downgrade", false, "replace a recalled version by a lower one")
	f.BoolVar(&opt.yes, "yes", false, "do not ask")
	return cmd
}

// runCatalogApply plans, asks, and applies.
func runCatalogApply(ctx context.Context, env *env, goals []string, opt *applyOptions) (err error) {
	if opt.plan != "" && len(goals) > 0 {
		return usagef("a plan says itself which bundles it brings")
	}
	params, err := parseParams(opt.params)
	if err != nil {
		return err
	}
	catalog, err := opt.catalog.open(ctx, env)
	if err != nil {
		return err
	}
	r, closer, err := opt.root.open(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer()) }()
	a := &applying{env: env, opt: opt, catalog: catalog, root: r, machine: localMachine(opt.machineName(), opt.catalog.machine), params: params}
	if err := apply.Recover(ctx, r, a.options(nil)); err != nil {
		return err
	}
	if err := a.plan(ctx, goals); err != nil {
		return err
	}
	if len(a.steps) == 0 {
		if err := a.whole(); err != nil {
			return err
		}
		env.say("nothing to do")
		return a.conclude(ctx, nil)
	}
	a.env.showSteps(a.steps)
	if a.values, err = allParams(a.steps, params); err != nil {
		return err
	}
	if !opt.yes {
		if err := env.confirm(ctx, fmt.Sprintf("%s will be applied.", count(len(a.steps), "bundle"))); err != nil {
			return err
		}
	}
	return a.conclude(ctx, a.run(ctx))
}

func (o *applyOptions) machineName() string {
	if o.name != "" {
		return o.name
	}
	name, _ := os.Hostname() // without one it has none
	return name
}

// parseParams reads BUNDLE:NAME=VALUE.
func parseParams(list []string) (map[string]map[string]string, error) {
	params := map[string]map[string]string{}
	for _, text := range list {
		product, rest, ok := strings.Cut(text, ":")
		name, value, eq := strings.Cut(rest, "=")
		if !ok || !eq || product == "" || name == "" {
			return nil, usagef("--param: %q is not BUNDLE:NAME=VALUE", plain(text, 100))
		}
		if file, ok := strings.CutPrefix(value, "@"); ok {
			p, err := readBoundedFile(file, 64<<10)
			if err != nil {
				return nil, err
			}
			value = strings.TrimSuffix(string(p), "\n")
		}
		if params[product] == nil {
			params[product] = map[string]string{}
		}
		params[product][name] = value
	}
	return params, nil
}

// applying is one run of catalog apply.
type applying struct {
	env     *env
	opt     *applyOptions
	catalog *openCatalog
	root    *root.Root
	machine *probe.Machine
	params  map[string]map[string]string

	goals   []string // empty: all products
	steps   []plan.Step
	values  []map[string]string // parameters of each step
	unknown []string            // products of which nobody knows whether they are there
	failed  *plan.Receipt       // of the step that failed, nil if none did
}

// look finds out what is on the root.
func (a *applying) look(ctx context.Context) (*plan.Findings, []apply.Receipt, error) {
	receipts, err := apply.Receipts(a.root)
	if err != nil {
		return nil, nil, err
	}
	d := &detector{probe.New(a.root, a.machine), a.catalog, receipts}
	found, err := a.catalog.plans.Look(ctx, d, plan.LookOptions{Receipts: planReceipts(receipts), Machine: true})
	return found, receipts, err
}

// planReceipts returns what plans want to know of receipts.
func planReceipts(list []apply.Receipt) []plan.Receipt {
	var out []plan.Receipt
	for i := range list {
		r := &list[i]
		out = append(out, plan.Receipt{Product: r.Product(), Bundle: r.Ident().String(), Scheme: r.Scheme, Digest: r.Digest, Applied: r.Times})
	}
	return out
}

// plan finds out which steps are to be done: those of the saved plan that are
// left, or those that a new plan has.
func (a *applying) plan(ctx context.Context, goals []string) error {
	found, _, err := a.look(ctx)
	if err != nil {
		return err
	}
	if a.opt.plan != "" {
		return a.saved(ctx, found)
	}
	a.goals = goals
	p, err := a.catalog.plans.Resolve(found, a.resolveOptions())
	if err != nil {
		return err
	}
	a.steps = p.Steps
	for _, product := range p.Products {
		if product.State == plan.Unknown && lacks(product, goals) {
			a.unknown = append(a.unknown, product.Name)
		}
	}
	return nil
}

// whole tells whether nothing is to be done only because the file of a bundle
// is damaged.
func (a *applying) whole() (err error) {
	for _, product := range a.unknown {
		err = cmp.Or(err, a.catalog.wholeProduct(product))
	}
	return err
}

// saved reads the saved plan, which must hold.
func (a *applying) saved(ctx context.Context, found *plan.Findings) error {
	p, err := readPlan(a.opt.plan)
	if err != nil {
		return err
	}
	digest, err := planRoot(ctx, a.root, a.opt.root.dir)
	if err != nil {
		return err
	}
	done, err := a.catalog.plans.Check(p, found, digest)
	if err != nil {
		return cmp.Or(a.catalog.whole(bundlesOf(p.Steps)...), fmt.Errorf("%s: %w", a.opt.plan, err))
	}
	a.goals, a.steps = p.Goals, p.Steps[done:]
	return nil
}

// readPlan reads the plan in a file.
func readPlan(path string) (*plan.Plan, error) {
	text, err := readBoundedFile(path, maxPlan)
	if err != nil {
		return nil, err
	}
	p, err := plan.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// stepParams returns the parameters of a step: those of the plan, and given, which
// has the secret ones. What a machine fills in is not there, unless it was
// given when the plan was made.
func stepParams(s *plan.Step, given map[string]string) (map[string]string, error) {
	params := map[string]string{}
	for _, v := range s.Params {
		text, ok := given[v.Name]
		switch {
		case v.Secret && ok:
			params[v.Name] = text
		case v.Secret:
			return nil, usagef("%s wants a secret: --param %s:%s=@FILE gives it", s.Bundle, productOf(s.Bundle), v.Name)
		case ok && text != v.Value:
			return nil, usagef("--param: the plan was made with another %s for %s", v.Name, s.Bundle)
		case v.Machine == "":
			params[v.Name] = v.Value
		}
	}
	return params, nil
}

// allParams returns the parameters of each step.
func allParams(steps []plan.Step, given map[string]map[string]string) ([]map[string]string, error) {
	var all []map[string]string
	for i := range steps {
		params, err := stepParams(&steps[i], given[productOf(steps[i].Bundle)])
		if err != nil {
			return nil, err
		}
		all = append(all, params)
	}
	return all, nil
}

// bundlesOf returns the bundles of steps.
func bundlesOf(steps []plan.Step) (ids []string) {
	for i := range steps {
		ids = append(ids, steps[i].Bundle)
	}
	return ids
}

// productOf returns the product of a bundle, NAME or NAME/TRACK.
func productOf(id string) string {
	product, _, _ := strings.Cut(id, "@")
	return product
}

// maxPlan is the size in bytes of the largest plan.
const maxPlan = 64 << 20

// planRoot returns what a plan calls a root: the digest of its tree, or nothing
// for the system that runs, which changes all the time.
func planRoot(ctx context.Context, r *root.Root, dir string) (string, error) {
	if dir == "/" {
		return "", nil
	}
	return r.TreeDigest(ctx, root.TreeOptions{})
}

func (a *applying) resolveOptions() plan.Options {
	return plan.Options{
		Goals: a.goals, Downgrade: a.opt.downgrade, Version: a.catalog.Versions.Targets, Params: a.params,
		Unattended: a.opt.catalog.ticket != "", // an agent runs this
	}
}

// showSteps tells which bundles a plan brings.
func (e *env) showSteps(steps []plan.Step) {
	for i, s := range steps {
		e.say("%d. %s (%s): %s", i+1, s.Bundle, progress.Bytes(s.Bytes), plain(s.Why, longestLine))
	}
}

// run applies steps until one fails, or until the running system must be
// started anew.
func (a *applying) run(ctx context.Context) error {
	if err := a.waits(); err != nil {
		return err
	}
	for i, s := range a.steps {
		if s.Restart && i > 0 && a.opt.root.dir == "/" {
			return &partError{fmt.Errorf("%s: this system must be started anew first; then run slipcast catalog apply again", s.Bundle)}
		}
		if err := a.step(ctx, s, a.values[i]); err != nil {
			if i > 0 {
				return &partError{err}
			}
			return err
		}
	}
	return nil
}

// waits refuses to apply anything to a running system that must be started anew
// first, because of a bundle that was applied before.
func (a *applying) waits() error {
	if a.opt.root.dir != "/" {
		return nil
	}
	started, err := bootTime()
	if err != nil {
		return err
	}
	receipts, err := apply.Receipts(a.root)
	if err != nil {
		return err
	}
	for i := range receipts {
		if r := &receipts[i]; r.Reboot == bundle.Between && waitsForReboot(r, started) {
			return &refusal{r.Ident().String() + " was applied, and this system must be started anew before anything else is"}
		}
	}
	return nil
}

// step applies one bundle, and tells what came of it.
func (a *applying) step(ctx context.Context, s plan.Step, params map[string]string) error {
	receipt, err := a.bring(ctx, s, params)
	if err != nil {
		reason := strings.TrimPrefix(err.Error(), s.Bundle+": ")
		a.failed = &plan.Receipt{Product: productOf(s.Bundle), Bundle: s.Bundle, Digest: s.Digest, Failed: reason}
		a.env.result(map[string]any{"type": "failed", "bundle": s.Bundle, "digest": s.Digest, "reason": reason}, false)
		return err
	}
	a.env.say("applied %s", s.Bundle)
	a.env.result(map[string]any{
		"type": "applied", "bundle": s.Bundle, "digest": s.Digest, "paths": len(receipt.Paths), "reboot": string(receipt.Reboot),
		"first_boot": len(receipt.Queue) > 0,
	}, false)
	return nil
}

// bring opens the bundle of a step and brings it to the root.
func (a *applying) bring(ctx context.Context, s plan.Step, params map[string]string) (*apply.Receipt, error) {
	file, err := a.catalog.bundle(s.Bundle)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if file.Digest != s.Digest {
		return nil, fmt.Errorf("%s: the plan has another bundle of that name", s.Bundle)
	}
	meter := a.env.meter("applying "+s.Bundle, "apply", payloadBytes(file.Bundle))
	opt := a.options(params)
	opt.AllowDowngrade, opt.Installed = s.Downgrade, &s.From
	opt.Progress = meter.Add
	receipt, err := apply.Apply(ctx, a.root, file.Bundle, opt)
	meter.Done(err)
	return receipt, err
}

// payloadBytes returns how much a bundle has in its files.
func payloadBytes(b *bundle.Bundle) (n int64) {
	for _, f := range b.Manifest.Files {
		n += f.Size
	}
	return n
}

// options returns how bundles are applied.
func (a *applying) options(params map[string]string) apply.Options {
	return apply.Options{
		Params: params, Machine: a.machine, Scratch: a.opt.scratch, By: program(),
		Log: func(line string) { a.env.say("%s", plain(line, longestLine)) },
	}
}

// longestLine is how much of a line of a program is shown, in characters.
const longestLine = 400

// conclude looks once more at what is there, and tells how each product
// stands that was meant.
func (a *applying) conclude(ctx context.Context, failed error) error {
	if ctx.Err() != nil {
		return cmp.Or(failed, ctx.Err())
	}
	found, receipts, err := a.look(ctx)
	if err != nil {
		return errors.Join(failed, err)
	}
	p, err := a.catalog.plans.Resolve(found, a.resolveOptions())
	if err != nil {
		return errors.Join(failed, err)
	}
	standings := a.standings(p, receipts)
	lacking := 0
	for _, product := range p.Products {
		i := slices.IndexFunc(standings, func(s plan.Standing) bool { return s.Product == product.Name })
		a.env.result(productObject(standings[i]), false)
		if !lacks(product, a.goals) {
			continue
		}
		lacking++
		a.env.note(product.Name, fmt.Sprintf("%s: %s", standings[i].State, standings[i].Reason))
	}
	if failed == nil && lacking > 0 {
		return &partError{fmt.Errorf("%s: not as the catalog wants it", count(lacking, "product"))}
	}
	return failed
}

// standings judges the products after a run.
func (a *applying) standings(p *plan.Plan, receipts []apply.Receipt) []plan.Standing {
	var known []plan.Receipt
	if a.failed != nil { // which says more than an older receipt of the product
		known = append(known, *a.failed)
	}
	known = append(known, planReceipts(receipts)...)
	return plan.Comply([]plan.Report{{Plan: p, Receipts: known}}, plan.ComplyOptions{Now: time.Now()}).Standings
}

// lacks tells whether a product is a goal, which all are if none are named, and
// is not as it ought to be.
func lacks(p plan.Product, goals []string) bool {
	if p.State == plan.Installed || p.State == plan.NotApplicable && len(goals) == 0 {
		return false
	}
	return len(goals) == 0 || slices.ContainsFunc(goals, func(goal string) bool { return productOf(goal) == p.Name })
}

// productObject returns how a product stands for programs.
func productObject(s plan.Standing) map[string]any {
	return map[string]any{
		"type": "product", "product": s.Product, "state": string(s.State), "version": s.Version, "goal": s.Goal,
		"severity": string(s.Severity), "reason": s.Reason,
	}
}
