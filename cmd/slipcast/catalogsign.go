package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"slipcast/catalog/trust"
	"slipcast/internal/durable"
)

func newCatalogSignCmd(env *env) *cobra.Command {
	var passphrase passphraseFlag
	var key string
	cmd := &cobra.Command{
		Use:   "sign FILE...",
		Short: "Sign bundles as their author",
		Long: `Sign writes FILE.minisig beside each FILE: the signature of its author, as minisign
makes it. It says who has made a bundle; machines take it when it was released.

` + passphraseHelp,
		Example: "  slipcast catalog sign reader.slb --key ann.key",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("sign: FILE is missing; usage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runCatalogSign(cmd.Context(), env, args, key, &passphrase); err != nil {
				return fmt.Errorf("signing: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "sign with the secret key in `FILE`")
	addPassphraseFlags(cmd, &passphrase, false)
	return cmd
}

// runCatalogSign signs files.
func runCatalogSign(ctx context.Context, env *env, paths []string, keyPath string, f *passphraseFlag) error {
	if keyPath == "" {
		return usagef("which key signs? --key FILE says so")
	}
	key, err := f.readSecretKey(ctx, env, keyPath)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := signFile(ctx, path, key); err != nil {
			return err
		}
		env.say("signed %s", path)
		env.result(map[string]any{"type": "signed", "file": path, "signature": path + signatureEnding, "author": key.Public().Number()}, false)
	}
	return nil
}

// signatureEnding is what the signature of a file has behind its name.
const signatureEnding = ".minisig"

// signFile writes the signature of a file beside it.
func signFile(ctx context.Context, path string, key *trust.SecretKey) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sig, err := trust.SignFile(ctx, f, key, "file:"+filepath.Base(path))
	if err != nil {
		return err
	}
	return durable.WriteFile(path+signatureEnding, 0o644, sig)
}
