package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"slipcast/catalog/bake"
	"slipcast/catalog/trust"
	"slipcast/image/store"
)

// releaseOptions say what becomes part of a catalog.
type releaseOptions struct {
	sign    signFlags
	images  []string
	authors []string
	recall  []string
	reason  string
}

func newCatalogReleaseCmd(env *env) *cobra.Command {
	var opt releaseOptions
	cmd := &cobra.Command{
		Use:   "release [FILE...]",
		Short: "Sign bundles and images for machines, or recall them",
		Long: `Release checks every byte of the bundles in each FILE, copies them into the store,
and signs a new list of what machines may be given: what was in it before, these
bundles, and each --image of the store. What was released does not change any more;
the same once more is no error. Without anything new it signs the list for another
year.

With --author a bundle is taken only if FILE.minisig beside it is the signature of
one of these keys (slipcast catalog sign, or minisign).

Recall is for what turned out to be bad: it stays in the list, with the reason, and
no machine is given it any more. That cannot be taken back.

Without the online key at hand the release counts after slipcast catalog refresh
on the server.

` + passphraseHelp,
		Example: `  slipcast catalog release reader.slb --key /media/stick/release.key
  slipcast catalog release *.slb --image room-12 --author ann.pub --key release.key
  slipcast catalog release --recall reader@9.3-1 --reason 'printing fails' --key release.key`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runCatalogRelease(cmd.Context(), env, args, &opt); err != nil {
				return fmt.Errorf("releasing: %w", err)
			}
			return nil
		},
	}
	addSignFlags(cmd, &opt.sign, true)
	f := cmd.Flags()
	f.StringArrayVar(&opt.images, "image", nil, "release the image `NAME[@VERSION]` of the store; may be given several times")
	f.StringArrayVar(&opt.authors, "author", nil, "take bundles by the author with the public key in `FILE`, and no others; may be given several times")
	f.StringArrayVar(&opt.recall, "recall", nil, "recall the bundle or image `ID`, as slipcast catalog list shows it; may be given several times")
	f.StringVar(&opt.reason, "reason", "", "`TEXT` that says why, for --recall")
	return cmd
}

// runCatalogRelease signs a new list.
func runCatalogRelease(ctx context.Context, env *env, paths []string, opt *releaseOptions) error {
	if (opt.reason == "") != (len(opt.recall) == 0) {
		return usagef("--recall and --reason belong together")
	}
	r, err := opt.sign.repository()
	if err != nil {
		return err
	}
	release := trust.ReleaseOptions{Bundles: paths, Recall: map[string]string{}}
	for _, id := range opt.recall {
		release.Recall[id] = opt.reason
	}
	if release.Images, err = opt.findImages(ctx, env, r); err != nil {
		return err
	}
	if release.Authors, err = readPublicKeys(opt.authors); err != nil {
		return err
	}
	if release.Keys, err = opt.sign.releaseKeys(ctx, env); err != nil {
		return err
	}
	if release.Online, err = opt.sign.onlineKey(ctx, env); err != nil {
		return err
	}
	meter := env.meter("taking in", "release", totalSize(paths))
	release.Progress = meter.Add
	done, err := r.Release(ctx, release)
	meter.Done(err)
	if err != nil {
		return err
	}
	tellReleased(env, done)
	return warnExpiry(ctx, env, r)
}

// totalSize returns the size of all files that are there.
func totalSize(paths []string) int64 {
	var size int64
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			size += info.Size()
		}
	}
	return size
}

// findImages looks the images up in the store, and what was baked into them.
func (opt *releaseOptions) findImages(ctx context.Context, env *env, r *trust.Repository) ([]trust.ImageTarget, error) {
	if len(opt.images) == 0 {
		return nil, nil
	}
	s, err := opt.sign.storeFlag.open()
	if err != nil {
		return nil, err
	}
	catalog, err := r.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	var list []trust.ImageTarget
	for _, text := range opt.images {
		ref, err := store.ParseRef(text)
		if err != nil {
			return nil, &usageError{err}
		}
		i, err := findImage(env, s, ref, catalog.Bundles)
		if err != nil {
			return nil, err
		}
		list = append(list, *i)
	}
	return list, nil
}

// findImage looks an image up in the store.
func findImage(env *env, s *store.Store, ref store.Ref, known []trust.BundleTarget) (*trust.ImageTarget, error) {
	im, err := s.OpenImage(ref)
	if err != nil {
		return nil, err
	}
	defer im.Close()
	i := &trust.ImageTarget{Name: im.Name, Version: im.Version, Digest: im.Entry.Digest.String(), Size: im.DiskSize}
	if i.Parent, i.Bundles, err = newRecipeBook(s).baked(im, known); err != nil {
		return nil, err
	}
	if i.Parent == "" && bake.RecipeOf(im.Assembled.Image.Origin) != "" {
		env.note(i.ID(), "it says that it was baked, and the store has no record of that; the list will not tell which bundles are in it")
	}
	return i, nil
}

// tellReleased tells what was released.
func tellReleased(env *env, done *trust.Released) {
	var bundles, images []string
	for _, b := range done.Bundles {
		bundles = append(bundles, b.ID())
	}
	for _, i := range done.Images {
		images = append(images, i.ID())
	}
	var facts []fact
	for _, f := range []struct {
		about string
		list  []string
	}{{"bundles", bundles}, {"images", images}, {"recalled", done.Recalled}} {
		if len(f.list) > 0 {
			facts = append(facts, fact{f.about, strings.Join(f.list, ", ")})
		}
	}
	env.sum(fmt.Sprintf("signed version %d of the list", done.Versions.Targets), facts...)
	env.result(versionsObject(map[string]any{
		"type": "released", "bundles": list(bundles), "images": list(images), "recalled": list(done.Recalled), "pending": done.Pending,
	}, done.Versions), false)
}

// list returns a list that is not null in JSON.
func list(l []string) []string { return append([]string{}, l...) }
