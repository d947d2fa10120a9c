package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"slipcast/pxe/bootenv"
)

func newBootCheckCmd(env *env) *cobra.Command {
	return &cobra.Command{
		Use:   "check [DIR]",
		Short: "Check the boot folder and say who signed what",
		Long: `Check compares every file of the boot folder with what was built. It verifies the
signatures, prints who made them, the SBAT levels and the GRUB's version, and
that kernel, modules and agent belong together.`,
		Example: "  slipcast boot check",
		Args:    operands("[DIR]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := bootDir()
			if len(args) > 0 {
				dir = args[0]
			}
			return runBootCheck(cmd.Context(), env, dir)
		},
	}
}

// runBootCheck checks the boot folder at dir.
func runBootCheck(ctx context.Context, env *env, dir string) error {
	report, err := bootenv.Check(ctx, dir)
	if err != nil {
		return fmt.Errorf("checking %s: %w", dir, err)
	}
	for _, name := range report.Foreign {
		env.note(name, "no build of slipcast has put it into "+dir)
	}
	env.warnBoot(report.Findings)
	env.showBoot(dir, report.Manifest, report.Findings, "")
	env.say("%s is whole: %s", dir, count(len(report.Manifest.Files), "file"))
	return nil
}
