package main

import (
	"github.com/spf13/cobra"
)

func newCatalogCmd(env *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "catalog",
		Short: "Say what machines may be given, and bring it to them",
		Long: `The catalog is the signed list of everything that a machine may be given: bundles
and images. It lies in the store. Init makes it with its keys, release signs what
is new; plan tells what a root lacks, apply brings it there and undo takes it
away again.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("catalog: unknown command %q; slipcast help catalog lists them", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usagef("catalog: what to do is missing; slipcast help catalog lists what there is")
		},
	}
	cmd.AddCommand(newCatalogInitCmd(env), newCatalogReleaseCmd(env), newCatalogListCmd(env),
		newCatalogPlanCmd(env), newCatalogComplianceCmd(env), newCatalogImpactCmd(env), newCatalogApplyCmd(env), newCatalogUndoCmd(env),
		newCatalogBakeCmd(env),
		newCatalogRefreshCmd(env), newCatalogRotateCmd(env), newCatalogKeyCmd(env), newCatalogSignCmd(env))
	return cmd
}
