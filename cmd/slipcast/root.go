package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newRootCmd returns the tree of all commands.
func newRootCmd(env *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "slipcast",
		Short: "Capture a disk once, and make any number of machines become it",
		Long: `Slipcast captures a good machine's disk into an image, an ordinary .img.zst file,
and restores it to any number of machines. It reads only what is in use, checks
every chunk before it is written, and never writes to a disk that is in use.

SOURCE and TARGET are a disk, a partition or a plain file; IMAGE is a file, an
image in a store, a URL, or - for standard output (capture) or standard input
(restore, inspect).

Send brings an image to a whole room at the cost of about one transmission.`,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return applySettings(cmd) },
	}
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.SetVersionTemplate("slipcast {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.PersistentFlags().BoolVar(&env.json, "json", false, "print objects for programs, one on a line")
	root.PersistentFlags().BoolVarP(&env.quiet, "quiet", "q", false, "print no progress and no summary")

	root.AddGroup(&cobra.Group{ID: "images", Title: "Images:"})
	for _, cmd := range []*cobra.Command{
		newCaptureCmd(env), newRestoreCmd(env), newVerifyCmd(env), newInspectCmd(env), newMountCmd(env),
	} {
		cmd.GroupID = "images"
		root.AddCommand(cmd)
	}
	root.AddGroup(&cobra.Group{ID: "machines", Title: "Many machines:"})
	for _, cmd := range []*cobra.Command{newSendCmd(env), newReceiveCmd(env)} {
		cmd.GroupID = "machines"
		root.AddCommand(cmd)
	}
	root.AddGroup(&cobra.Group{ID: "store", Title: "Store:"})
	storeCmd := newStoreCmd(env)
	storeCmd.GroupID = "store"
	root.AddCommand(storeCmd)
	root.AddGroup(&cobra.Group{ID: "catalog", Title: "Catalog:"})
	for _, cmd := range []*cobra.Command{newBundleCmd(env), newCatalogCmd(env)} {
		cmd.GroupID = "catalog"
		root.AddCommand(cmd)
	}
	root.AddGroup(&cobra.Group{ID: "rooms", Title: "Rooms:"})
	for _, cmd := range []*cobra.Command{newServeCmd(env), newBootCmd(env), newMachineCmd(env), newJobCmd(env)} {
		cmd.GroupID = "rooms"
		root.AddCommand(cmd)
	}
	root.AddCommand(newAgentCmd(env), newManCmd(env), newExitCodesTopic(), newJSONTopic())
	root.SetHelpCommand(newHelpCmd())
	root.DisableSuggestions, root.SuggestionsMinimumDistance = true, 2 // see explain
	return root
}

// newHelpCmd returns the command help. Unlike that of cobra it fails where
// there is nothing to explain.
func newHelpCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Explain a command or a topic",
		Long:    "Help explains a command or a topic. Without either it lists all of them.",
		Example: "  slipcast help restore\n  slipcast help exit-codes",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range cmd.Root().Commands() {
				if len(args) == 0 && !c.Hidden {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("help: there is no command or topic %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

// explain turns the error that cobra makes of a wrong command name into ours.
func explain(root *cobra.Command, err error) error {
	var name string
	if err == nil {
		return nil
	}
	if n, _ := fmt.Sscanf(err.Error(), "unknown command %q", &name); n == 0 {
		return err
	}
	if like := root.SuggestionsFor(name); len(like) > 0 {
		return usagef("unknown command %q; did you mean %s?", name, like[0])
	}
	return usagef("unknown command %q; slipcast help lists them", name)
}

// operands checks that a command gets the operands of these names; those in
// brackets are optional.
func operands(names ...string) cobra.PositionalArgs {
	least := 0
	for _, name := range names {
		if !strings.HasPrefix(name, "[") {
			least++
		}
	}
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s: %s is missing; usage: %s", cmd.Name(), names[len(args)], cmd.UseLine())
		case len(args) > len(names):
			return usagef("%s: %q is one operand too many; usage: %s", cmd.Name(), args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

// A usageError reports wrong arguments or flags.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}
