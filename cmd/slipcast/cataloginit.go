package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"slipcast/catalog/trust"
)

// catalogInitOptions say which keys a new catalog has.
type catalogInitOptions struct {
	where      storeFlag
	passphrase passphraseFlag
	dir        string   // for new keys
	release    []string // files of public release keys that there are already
	keys       []string // files of secret ones, that sign
	threshold  int
}

func newCatalogInitCmd(env *env) *cobra.Command {
	var opt catalogInitOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a catalog in the store, with its keys",
		Long: `Init makes an empty catalog in the store, and its keys in the folder of --keys:

  release.key   signs what machines may be given; encrypted with a passphrase.
                Keep it on a stick, and a copy of the stick somewhere else.
  online.key    signs that the catalog is the newest, every day; not encrypted,
                because a server does that. It can add nothing to the catalog.
  *.pub         their public halves.

Where several people must agree, each makes a key (slipcast catalog key new), and
init takes the public halves with --release-key, how many of them must sign with
--threshold, and with --key as many secret ones as that.

` + passphraseHelp,
		Example: `  slipcast catalog init --keys /media/stick
  slipcast catalog init --keys . --release-key ann.pub --release-key bob.pub --release-key cy.pub \
    --threshold 2 --key ann.key --key bob.key`,
		Args: operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := runCatalogInit(cmd.Context(), env, &opt); err != nil {
				return fmt.Errorf("making a catalog: %w", err)
			}
			return nil
		},
	}
	addStoreFlag(cmd, &opt.where)
	f := cmd.Flags()
	f.StringVar(&opt.dir, "keys", "", "put new keys into the folder `DIR`")
	f.StringArrayVar(&opt.release, "release-key", nil, "the public release key in `FILE` is one of this catalog; may be given several times")
	f.StringArrayVar(&opt.keys, "key", nil, "sign with the secret release key in `FILE`; may be given several times")
	f.IntVar(&opt.threshold, "threshold", 1, "`COUNT` release keys must sign")
	addPassphraseFlags(cmd, &opt.passphrase, true)
	return cmd
}

// runCatalogInit makes keys and a catalog. Where there is an error there is neither,
// or, once the catalog is there, both.
func runCatalogInit(ctx context.Context, env *env, opt *catalogInitOptions) error {
	if opt.dir == "" {
		return usagef("where do the keys go? --keys DIR says so")
	}
	if len(opt.release) == 0 && (len(opt.keys) > 0 || opt.threshold != 1) {
		return usagef("--key and --threshold are about release keys that there are already: --release-key names them")
	}
	s, err := opt.where.open()
	if err != nil {
		return err
	}
	dir := filepath.Join(s.Dir(), "catalog")
	if _, err := trust.OpenRepository(dir); !errors.Is(err, trust.ErrNotCatalog) {
		return errors.Join(err, fmt.Errorf("%s: %w", dir, os.ErrExist))
	}
	init, made, err := opt.makeKeys(ctx, env)
	if err != nil {
		return err
	}
	r, err := trust.Init(ctx, dir, init)
	if err != nil {
		return errors.Join(err, removeUnused(dir, made, err))
	}
	return tellCatalogInit(context.WithoutCancel(ctx), env, r, made) // there it is, whatever comes
}

// removeUnused removes new keys after an Init that failed, unless the catalog in dir is
// there: then it is theirs, or somebody else's who was faster.
func removeUnused(dir string, made []*newKey, failed error) error {
	if _, err := trust.OpenRepository(dir); !errors.Is(err, trust.ErrNotCatalog) && !errors.Is(failed, os.ErrExist) {
		return err
	}
	var errs []error
	for _, k := range made {
		errs = append(errs, k.remove())
	}
	return errors.Join(errs...)
}

// makeKeys makes the keys that are not there yet, and reads the others.
func (opt *catalogInitOptions) makeKeys(ctx context.Context, env *env) (init trust.InitOptions, made []*newKey, err error) {
	if init.Release, err = readPublicKeys(opt.release); err != nil {
		return init, nil, err
	}
	if init.Keys, err = opt.passphrase.readSecretKeys(ctx, env, opt.keys); err != nil {
		return init, nil, err
	}
	init.Threshold = opt.threshold
	names := []string{"online"}
	if len(init.Release) == 0 {
		names = append(names, "release")
	}
	for _, name := range names {
		if err := freeKeyFiles(filepath.Join(opt.dir, name)); err != nil {
			return init, nil, err
		}
	}
	if made, err = opt.generate(ctx, env, names); err != nil {
		return init, nil, err
	}
	init.Online = made[0].key
	if len(made) > 1 {
		init.Release, init.Keys = []trust.PublicKey{made[1].key.Public()}, []*trust.SecretKey{made[1].key}
	}
	return init, made, nil
}

// generate makes keys and writes their files. Only the release key has a passphrase.
func (opt *catalogInitOptions) generate(ctx context.Context, env *env, names []string) (made []*newKey, err error) {
	if err := os.MkdirAll(opt.dir, 0o700); err != nil {
		return nil, err
	}
	for _, name := range names {
		base, passphrase := filepath.Join(opt.dir, name), ""
		if name == "release" {
			if passphrase, err = opt.passphrase.askNew(ctx, env, base+secretEnding); err != nil {
				return nil, err
			}
		}
		k, err := newKeyFiles(base, passphrase)
		if err != nil {
			return nil, err
		}
		made = append(made, k)
	}
	for i, k := range made {
		if err := k.write(); err != nil {
			for _, written := range made[:i] {
				err = errors.Join(err, written.remove())
			}
			return nil, err
		}
	}
	return made, nil
}

// tellCatalogInit tells what was made.
func tellCatalogInit(ctx context.Context, env *env, r *trust.Repository, made []*newKey) error {
	root, err := r.Root(ctx)
	if err != nil {
		return err
	}
	facts := []fact{{"online", fmt.Sprintf("%s.key, which the server needs as %s", made[0].base, defaultOnlineKey)}}
	o := map[string]any{"type": "catalog", "catalog": r.Dir(), "online_key": made[0].base + secretEnding, "expires": rfc3339(root.Expires())}
	if len(made) > 1 {
		facts = append(facts, fact{"release", made[1].base + ".key, which belongs on a stick, and a copy of that somewhere else"})
		o["release_key"] = made[1].base + secretEnding
	}
	env.sum("made a catalog in "+r.Dir(), append(facts, fact{"root", "good until " + clock(root.Expires())})...)
	env.result(o, false)
	return nil
}
