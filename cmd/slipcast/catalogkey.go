package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"slipcast/catalog/trust"
	"slipcast/internal/durable"
)

func newCatalogKeyCmd(env *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make keys, and look after them",
		Long: `A key is two files: NAME.key signs, and NAME.pub is for everybody. They are those of
minisign, https://jedisct1.github.io/minisign/, which takes them as well.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("catalog key: unknown command %q; slipcast help catalog key lists them", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usagef("catalog key: what to do is missing; slipcast help catalog key lists what there is")
		},
	}
	cmd.AddCommand(newKeyNewCmd(env), newKeyShowCmd(env), newKeyPassphraseCmd(env))
	return cmd
}

func newKeyNewCmd(env *env) *cobra.Command {
	var passphrase passphraseFlag
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a key for an author, a releaser or a server",
		Long: `New makes NAME.key and NAME.pub. With --no-passphrase who gets hold of NAME.key can
sign with it; that is what a server needs, and nobody else.

` + passphraseHelp,
		Example: "  slipcast catalog key new ann\n  slipcast catalog key new --no-passphrase online-2",
		Args:    operands("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runKeyNew(cmd.Context(), env, args[0], &passphrase); err != nil {
				return fmt.Errorf("making a key: %w", err)
			}
			return nil
		},
	}
	addPassphraseFlags(cmd, &passphrase, true)
	return cmd
}

// runKeyNew makes a key.
func runKeyNew(ctx context.Context, env *env, base string, f *passphraseFlag) error {
	if err := freeKeyFiles(base); err != nil {
		return err
	}
	passphrase, err := f.askNew(ctx, env, base+secretEnding)
	if err != nil {
		return err
	}
	k, err := newKeyFiles(base, passphrase)
	if err != nil {
		return err
	}
	if err := k.write(); err != nil {
		return err
	}
	tellKey(env, "made "+base+secretEnding+" and "+base+publicEnding, k.key.Public())
	return nil
}

// tellKey tells about a key.
func tellKey(env *env, title string, key trust.PublicKey) {
	env.sum(title, fact{"number", key.Number()}, fact{"key id", key.ID()})
	_, text, _ := strings.Cut(strings.TrimSpace(string(key.Encode())), "\n")
	env.result(map[string]any{"type": "key", "number": key.Number(), "key_id": key.ID(), "public": text}, false)
}

func newKeyShowCmd(env *env) *cobra.Command {
	var passphrase passphraseFlag
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Print the public half of a key",
		Long: `Show prints the public half of the key in FILE, which may be either of the two. So
it brings back a .pub that was lost.

` + passphraseHelp,
		Example: "  slipcast catalog key show release.key > release.pub",
		Args:    operands("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runKeyShow(cmd.Context(), env, args[0], &passphrase); err != nil {
				return fmt.Errorf("showing a key: %w", err)
			}
			return nil
		},
	}
	addPassphraseFlags(cmd, &passphrase, false)
	return cmd
}

// runKeyShow prints the public half of a key.
func runKeyShow(ctx context.Context, env *env, path string, f *passphraseFlag) error {
	key, err := readPublicKey(path)
	if err != nil {
		secret, again := f.readSecretKey(ctx, env, path)
		if again != nil {
			return again
		}
		key = secret.Public()
	}
	if !env.json {
		env.print(env.stdout, "%s", key.Encode())
	}
	tellKey(env, path, key)
	return nil
}

func newKeyPassphraseCmd(env *env) *cobra.Command {
	var old, fresh passphraseFlag
	cmd := &cobra.Command{
		Use:   "passphrase FILE",
		Short: "Give a key another passphrase",
		Long: `Passphrase encrypts the secret key in FILE anew. The old passphrase goes on opening
copies of the old file.

The old one comes from --passphrase-file, else from SLIPCAST_PASSPHRASE, the new one
from --new-passphrase-file; else they are asked for on the terminal.`,
		Example: "  slipcast catalog key passphrase /media/stick/release.key",
		Args:    operands("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runKeyPassphrase(cmd.Context(), env, args[0], &old, &fresh); err != nil {
				return fmt.Errorf("changing a passphrase: %w", err)
			}
			return nil
		},
	}
	addPassphraseFlags(cmd, &old, false)
	cmd.Flags().StringVar(&fresh.file, "new-passphrase-file", "", "read the new passphrase from the first line of `FILE`")
	cmd.Flags().BoolVar(&fresh.none, "no-passphrase", false, "do not encrypt the key: who gets hold of its file can sign")
	return cmd
}

// runKeyPassphrase encrypts a key anew. The file is the old one or the new one at
// any moment.
func runKeyPassphrase(ctx context.Context, env *env, path string, old, fresh *passphraseFlag) error {
	key, err := old.readSecretKey(ctx, env, path)
	if err != nil {
		return err
	}
	fresh.typed = true
	passphrase, err := fresh.askNew(ctx, env, path)
	if err != nil {
		return err
	}
	p, err := key.Encode(passphrase)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, 0o600, p); err != nil {
		return err
	}
	tellKey(env, path+" has another passphrase", key.Public())
	return nil
}
