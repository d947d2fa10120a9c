package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"slipcast/catalog/apply"
)

// undoOptions say what is taken off which root.
type undoOptions struct {
	root  rootFlag
	force bool
	yes   bool
}

func newCatalogUndoCmd(env *env) *cobra.Command {
	var opt undoOptions
	cmd := &cobra.Command{
		Use:   "undo PRODUCT...",
		Short: "Take off what was applied last",
		Long: `Undo takes off what the last bundle of each PRODUCT has changed: afterwards all files
are as they were before. It refuses if something was changed since, or if a bundle
that came later has changed the same file; name both products to undo both.`,
		Example: "  slipcast catalog undo reader --root /\n  slipcast catalog undo reader fonts --disk /dev/sdb --yes",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("undo: PRODUCT is missing; usage: %s", cmd.UseLine())
			}
			if err := runCatalogUndo(cmd.Context(), env, args, &opt); err != nil {
				return fmt.Errorf("undoing: %w", err)
			}
			return nil
		},
	}
	addRootFlags(cmd, &opt.root)
	cmd.Flags().BoolVar(&opt.force, "force", false, "undo also what was changed since; those changes are lost")
	cmd.Flags().BoolVar(&opt.yes, "yes", false, "do not ask")
	return cmd
}

// runCatalogUndo takes bundles off a root.
func runCatalogUndo(ctx context.Context, env *env, products []string, opt *undoOptions) (err error) {
	r, closer, err := opt.root.open(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer()) }()
	machine := localMachine((&applyOptions{}).machineName(), "") // what was cut short may ask for it
	how := apply.Options{Machine: machine, By: program(), Force: opt.force, Log: func(line string) { env.say("%s", plain(line, longestLine)) }}
	if err := apply.Recover(ctx, r, how); err != nil {
		return err
	}
	there, err := receiptsOf(r, products)
	if err != nil {
		return err
	}
	for _, receipt := range there {
		env.say("%s, applied %s, has changed %s", receipt.Ident(), receipt.Time.Local().Format("2006-01-02 15:04"), count(len(receipt.Paths), "path"))
	}
	if !opt.yes {
		if err := env.confirm(ctx, "They will be as they were before."); err != nil {
			return err
		}
	}
	if err := apply.Undo(ctx, r, products, how); err != nil {
		return err
	}
	for _, receipt := range there {
		env.say("undone %s", receipt.Ident())
		env.result(map[string]any{"type": "undone", "bundle": receipt.Ident().String(), "paths": len(receipt.Paths)}, false)
	}
	return nil
}
