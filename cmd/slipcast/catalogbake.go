package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/bake"
	"slipcast/catalog/plan"
	"slipcast/image"
	"slipcast/image/store"
)

// bakeOptions say what is baked into which image.
type bakeOptions struct {
	catalog   catalogFlag
	bundles   []string
	plan      string
	params    []string
	level     string
	scratch   string
	downgrade bool
}

func newCatalogBakeCmd(env *env) *cobra.Command {
	var opt bakeOptions
	cmd := &cobra.Command{
		Use:   "bake IMAGE NAME",
		Short: "Make an image that has bundles in it already",
		Long: `Bake makes an image of the store from IMAGE and what that lacks of the catalog, or
of --bundles and what these require, and adds it as the newest version of NAME.
Machines that are restored from it need not apply these bundles any more. IMAGE,
a file or an image of the store, stays as it is; all bundles are in the new image,
or there is none. The store keeps of it only what IMAGE does not have.

Bundles that ask for the machine are left out: they are applied after restore.
With --plan it does what a saved plan says (slipcast catalog plan --image IMAGE -o).

The same bundles in the same image are baked once: then the image that is there
already is the result. It takes root's rights. slipcast catalog release --image
NAME lets machines have the image.`,
		Example: `  slipcast catalog bake room-12 room-12
  slipcast catalog bake room-12@3 room-12-reader --bundles reader,fonts
  slipcast catalog bake room-12 room-12 --plan room-12.plan`,
		Args: operands("IMAGE", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runCatalogBake(cmd.Context(), env, args[0], args[1], &opt); err != nil {
				return fmt.Errorf("baking %s: %w", args[0], err)
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return opt.catalog.names(), cobra.ShellCompDirectiveDefault
			}
			return opt.catalog.names(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	addStoreFlag(cmd, &opt.catalog.storeFlag)
	f := cmd.Flags()
	f.StringVar(&opt.catalog.dir, "catalog", "", "the folder `DIR` of the catalog (default: catalog in the store)")
	f.StringVar(&opt.catalog.root, "trust", "", "trust the root in `FILE` (default: the one in the folder)")
	f.StringSliceVar(&opt.bundles, "bundles", nil, "bake these alone, and what they require: `NAME,...`, each maybe with @VERSION or @VERSION-RELEASE")
	f.StringVar(&opt.plan, "plan", "", "do what the plan in `FILE` says, and nothing else")
	f.StringArrayVar(&opt.params, "param", nil, "give a bundle a setting, `BUNDLE:NAME=VALUE`; =@FILE reads it from a file")
	f.StringVar(&opt.level, "level", "default", "compress what is new at `LEVEL`: "+strings.Join(image.Levels(), ", "))
	f.StringVar(&opt.scratch, "scratch", "", "write to the folder `DIR` meanwhile (default: one for temporary files)")
	f.BoolVar(&opt.downgrade, "allow-downgrade", false, "replace a recalled version by a lower one")
	completeWords(cmd, "level", image.Levels()...)
	return cmd
}

// A baking is one run of catalog bake.
type baking struct {
	env     *env
	opt     *bakeOptions
	name    string // of the new image
	source  string // IMAGE as it was given
	store   *store.Store
	catalog *openCatalog
	parent  *imageFile
	plan    *plan.Plan
	steps   []bake.Step
	payload int64 // bytes of contents in the bundles
	began   time.Time
}

// runCatalogBake plans and bakes.
func runCatalogBake(ctx context.Context, env *env, source, name string, opt *bakeOptions) (err error) {
	b := &baking{env: env, opt: opt, name: name, source: source, began: time.Now()}
	how, err := b.check()
	if err != nil {
		return err
	}
	if b.store, err = opt.catalog.storeFlag.open(); err != nil {
		return err
	}
	if b.catalog, err = opt.catalog.open(ctx, env); err != nil {
		return err
	}
	if b.parent, err = openImageFile(ctx, source, &imageFlags{storeFlag: opt.catalog.storeFlag}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.parent.Close()) }()
	if err := b.survey(ctx); err != nil {
		return err
	}
	if len(b.plan.Steps) == 0 {
		return b.nothing()
	}
	env.showSteps(b.plan.Steps)
	defer b.closeSteps()
	if err := b.openSteps(); err != nil {
		return err
	}
	how.AllowDowngrade = b.plan.Downgrade
	return b.once(ctx, how)
}

// check looks at what was given, before anything is read.
func (b *baking) check() (how bake.Options, err error) {
	if _, err := store.ParseRef(b.name + "@1"); err != nil || strings.Contains(b.name, "@") {
		return how, usagef("bake: %q is not the NAME of an image in a store; its version is the next number", plain(b.name, 100))
	}
	if b.opt.plan != "" && len(b.opt.bundles) > 0 {
		return how, usagef("a plan says itself which bundles it brings")
	}
	if isRemote(b.opt.catalog.dir) || isRemote(b.source) {
		return how, usagef("bake: image and catalog must lie on this machine")
	}
	if how.Level, err = image.ParseLevel(b.opt.level); err != nil {
		return how, usagef("bake: --level: %w", err)
	}
	how.Copy.Scratch, how.By = b.opt.scratch, program()
	how.Log = func(line string) { b.env.say("%s", plain(line, longestLine)) }
	return how, nil
}

// survey finds out what the image lacks.
func (b *baking) survey(ctx context.Context) error {
	params, err := parseParams(b.opt.params)
	if err != nil {
		return err
	}
	task := surveyTask{Goals: b.opt.bundles, Params: params, Downgrade: b.opt.downgrade}
	if b.opt.plan != "" {
		if task.Saved, err = readBoundedFile(b.opt.plan, maxPlan); err != nil {
			return err
		}
	}
	f := surveyFlag{catalog: b.opt.catalog, image: b.source, scratch: b.opt.scratch}
	s, err := f.run(ctx, b.env, task)
	if err != nil && task.Saved != nil {
		return b.unheld(task.Saved, err)
	}
	if err != nil {
		return err
	}
	b.plan = s.Plan
	if b.plan.Root != b.parent.Digest.String() {
		return fmt.Errorf("%w: it is of the image with the digest %.16s, and this one has %.16s", plan.ErrStale, b.plan.Root, b.parent.Digest)
	}
	if len(b.plan.Goals) == 0 && task.Saved == nil {
		b.tellLeftOut()
	}
	return b.reached()
}

// unheld returns the error of a saved plan that is not baked: err, or what made
// that so.
func (b *baking) unheld(saved []byte, err error) error {
	if p, bad := plan.Decode(saved); bad == nil && errors.Is(err, plan.ErrStale) {
		err = cmp.Or(b.catalog.whole(bundlesOf(p.Steps)...), err)
	}
	return fmt.Errorf("%s: %w", b.opt.plan, err)
}

// tellLeftOut tells which bundles are never baked.
func (b *baking) tellLeftOut() {
	var list []string
	for _, t := range b.catalog.Bundles {
		if t.Header.Machine && t.Recalled == "" {
			list = append(list, t.ID())
		}
	}
	switch n := len(list); n {
	case 0:
	case 1:
		b.env.note(b.name, "1 bundle asks for the machine, and is applied after restore: "+list[0])
	default:
		b.env.note(b.name, fmt.Sprintf("%d bundles ask for the machine, and are applied after restore: %s", n, few(list)))
	}
}

// few joins a list of which it names five.
func few(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// reached makes sure that the plan brings what was asked for by name. What else
// the image lacks is told.
func (b *baking) reached() error {
	for _, p := range b.plan.Products {
		if !lacks(p, b.plan.Goals) || p.After != "" && strings.HasPrefix(p.Goal, p.Name+"@"+p.After+"-") {
			continue
		}
		if p.State == plan.Unknown {
			if err := b.catalog.wholeProduct(p.Name); err != nil {
				return err
			}
		}
		if len(b.plan.Goals) > 0 {
			return fmt.Errorf("%s: %s: %s", p.Name, p.State, p.Reason)
		}
		b.env.note(p.Name, fmt.Sprintf("%s: %s", p.State, p.Reason))
	}
	return nil
}

// nothing tells that there is nothing to bake.
func (b *baking) nothing() error {
	b.env.say("%s lacks nothing; there is no new image", b.source)
	b.env.result(map[string]any{"type": "baked", "source": b.source, "parent": b.parent.Digest.String(), "bundles": []string{}, "digest": b.parent.Digest.String(),
		"new": false, "seconds": time.Since(b.began).Seconds()}, false)
	return nil
}

// openSteps opens the bundles, which must be those of the plan.
func (b *baking) openSteps() error {
	given, err := parseParams(b.opt.params)
	if err != nil {
		return err
	}
	params, err := allParams(b.plan.Steps, given)
	if err != nil {
		return err
	}
	for i, s := range b.plan.Steps {
		f, size, err := b.openBundle(s.Bundle)
		if err != nil {
			return err
		}
		b.steps, b.payload = append(b.steps, bake.Step{File: f, Params: params[i]}), b.payload+size
	}
	return nil
}

// openBundle opens the file of a bundle, and returns how much is in it, too.
func (b *baking) openBundle(id string) (*os.File, int64, error) {
	file, err := b.catalog.bundle(id)
	if err != nil {
		return nil, 0, err
	}
	local, ok := file.file.(localBundle)
	if !ok {
		return nil, 0, errors.Join(fmt.Errorf("%s: not a file on this machine", id), file.Close())
	}
	return local.File, payloadBytes(file.Bundle), nil
}

func (b *baking) closeSteps() {
	for _, s := range b.steps {
		s.File.Close()
	}
}

// recipe returns the recipe and its digest.
func (b *baking) recipe(how bake.Options) (*bake.Recipe, string, error) {
	r, err := bake.NewRecipe(b.parent.Image, b.steps, how)
	if err != nil {
		return nil, "", err
	}
	for i, s := range b.plan.Steps {
		if r.Bundles[i].Digest != s.Digest {
			return nil, "", fmt.Errorf("%s: the file in the catalog is another bundle than the one that was released", s.Bundle)
		}
	}
	digest, err := r.Digest()
	return r, digest, err
}
