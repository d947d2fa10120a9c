package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"slipcast/catalog/trust"
)

// rotateOptions say which keys of a catalog change.
type rotateOptions struct {
	sign        signFlags
	add, remove []string // files of public keys
	threshold   int
	newOnline   string // file of a secret key
}

func newCatalogRotateCmd(env *env) *cobra.Command {
	var opt rotateOptions
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace keys of the catalog",
		Long: `Rotate makes a new root for the catalog, in which release keys are added or removed,
or the online key is another one. It is signed by as many of the old release keys as
must sign, and by as many of the new ones, so machines that know the old root take
it. What a key has signed that is removed is signed anew. Without any change the root
is good for another five years.

The online key stays unless --new-online-key says otherwise: a file at --online-key
that is another key, such as a stolen one that was replaced, is refused.

After a key was stolen, build the boot environments anew (slipcast boot build): a
machine that knows the old root alone, and is shown nothing else, still trusts the
old key.

` + passphraseHelp,
		Example: `  slipcast catalog rotate --key old/release.key --key new/release.key \
    --add-key new/release.pub --remove-key old/release.pub
  slipcast catalog rotate --key release.key --new-online-key online-2.key`,
		Args: operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := runCatalogRotate(cmd.Context(), env, &opt); err != nil {
				return fmt.Errorf("replacing keys: %w", err)
			}
			return nil
		},
	}
	addSignFlags(cmd, &opt.sign, true)
	f := cmd.Flags()
	f.StringArrayVar(&opt.add, "add-key", nil, "the public key in `FILE` becomes a release key; may be given several times")
	f.StringArrayVar(&opt.remove, "remove-key", nil, "the public key in `FILE` is no release key any more; may be given several times")
	f.IntVar(&opt.threshold, "threshold", 0, "`COUNT` release keys must sign from now on (default: as many as now)")
	f.StringVar(&opt.newOnline, "new-online-key", "", "the secret key in `FILE` is the online key from now on")
	return cmd
}

// runCatalogRotate replaces keys.
func runCatalogRotate(ctx context.Context, env *env, opt *rotateOptions) error {
	r, err := opt.sign.repository()
	if err != nil {
		return err
	}
	rotate, err := opt.read(ctx, env)
	if err != nil {
		return err
	}
	done, err := r.Rotate(ctx, *rotate)
	if err != nil {
		return err
	}
	env.say("version %d of the root says which keys count", done.Versions.Root)
	if opt.newOnline != "" {
		env.note(opt.newOnline, "the server needs it in place of the old online key, as "+defaultOnlineKey)
	}
	env.result(versionsObject(map[string]any{"type": "rotated", "pending": done.Pending}, done.Versions), false)
	return warnExpiry(ctx, env, r)
}

// read reads all keys.
func (opt *rotateOptions) read(ctx context.Context, env *env) (*trust.RotateOptions, error) {
	rotate := &trust.RotateOptions{Threshold: opt.threshold}
	var err error
	if rotate.Add, err = readPublicKeys(opt.add); err != nil {
		return nil, err
	}
	if rotate.Remove, err = readPublicKeys(opt.remove); err != nil {
		return nil, err
	}
	if rotate.Keys, err = opt.sign.releaseKeys(ctx, env); err != nil {
		return nil, err
	}
	if rotate.Online, err = opt.sign.onlineKey(ctx, env); err != nil || opt.newOnline == "" {
		return rotate, err
	}
	rotate.NewOnline, err = opt.sign.readSecretKey(ctx, env, opt.newOnline)
	return rotate, err
}
