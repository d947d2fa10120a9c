package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"slipcast/catalog/trust"
)

func newCatalogRefreshCmd(env *env) *cobra.Command {
	var sign signFlags
	cmd := &cobra.Command{
		Use:   "refresh",
		Short: "Sign with the online key that the catalog is the newest",
		Long: `Refresh signs what the online key has to sign: a list that was released elsewhere,
and what is older than half a day. Slipcast serve does the same every day; without
either the catalog expires after two weeks, and machines take nothing from it.`,
		Example: "  slipcast catalog refresh --online-key /var/lib/slipcast/online.key",
		Args:    operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := runCatalogRefresh(cmd.Context(), env, &sign); err != nil {
				return fmt.Errorf("refreshing the catalog: %w", err)
			}
			return nil
		},
	}
	addSignFlags(cmd, &sign, false)
	addPassphraseFlags(cmd, &sign.passphraseFlag, false)
	return cmd
}

// runCatalogRefresh signs what is due.
func runCatalogRefresh(ctx context.Context, env *env, sign *signFlags) error {
	r, err := sign.repository()
	if err != nil {
		return err
	}
	online, err := sign.readSecretKey(ctx, env, sign.online)
	if err != nil {
		return err
	}
	done, err := r.Refresh(ctx, online)
	if err != nil {
		return err
	}
	env.say("%s", refreshedText(done))
	env.result(versionsObject(map[string]any{"type": "refreshed", "signed": done.Timestamp}, done.Versions), false)
	return warnExpiry(ctx, env, r)
}

// refreshedText tells people what was signed.
func refreshedText(done trust.Refreshed) string {
	if !done.Timestamp {
		return "nothing was due"
	}
	return fmt.Sprintf("signed: version %d of the list is the newest, as of version %d of the timestamp", done.Versions.Targets, done.Versions.Timestamp)
}
