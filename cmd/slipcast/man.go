package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newManCmd(env *env) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages into a directory",
		Long:    "Man writes one manual page for each command into DIR, which it creates.",
		Example: "  slipcast man /usr/local/share/man/man1",
		Args:    operands("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return err
			}
			header := &doc.GenManHeader{Title: "SLIPCAST", Section: "1", Source: "slipcast " + version, Manual: "slipcast"}
			if err := doc.GenManTree(cmd.Root(), header, args[0]); err != nil {
				return fmt.Errorf("writing manual pages to %s: %w", args[0], err)
			}
			env.say("wrote the manual pages to %s; man -l %s/slipcast.1 shows the first", args[0], args[0])
			return nil
		},
	}
}
