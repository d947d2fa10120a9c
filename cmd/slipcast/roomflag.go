package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"slipcast/fleet"
)

// A stateFlag is the flag --state of the commands about machines and jobs.
type stateFlag struct {
	dir    string
	settle func() error // gives flags that were not given their settings
}

// addStateFlag adds the flag --state.
func addStateFlag(cmd *cobra.Command, f *stateFlag) {
	cmd.Flags().StringVar(&f.dir, "state", stateDir(""), "the folder `DIR` of machines and jobs (also SLIPCAST_STATE)")
	settings(cmd, "state")
	f.settle = func() error { return applySettings(cmd) }
}

// use opens the machines and jobs for work, which is free to do while serve
// runs.
func (f *stateFlag) use(ctx context.Context, work func(*fleet.Fleet) error) error {
	if err := f.settle(); err != nil {
		return err
	}
	db, err := fleet.Open(ctx, filepath.Join(f.dir, fleet.File))
	if err != nil {
		return err
	}
	return errors.Join(work(db), db.Close())
}

// words completes with what list returns. The shell hears of no error, and no
// database is made for it.
func (f *stateFlag) words(list func(context.Context, *fleet.Fleet) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		var words []string
		if err := f.settle(); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if _, err := os.Stat(filepath.Join(f.dir, fleet.File)); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		_ = f.use(cmd.Context(), func(db *fleet.Fleet) (err error) {
			words, err = list(cmd.Context(), db)
			return err
		})
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// machineWords completes names of machines.
func (f *stateFlag) machineWords() cobra.CompletionFunc {
	return f.words(func(ctx context.Context, db *fleet.Fleet) (words []string, err error) {
		list, err := db.Machines(ctx)
		for _, m := range list {
			words = append(words, m.Name+"\t"+plain(m.Product, longestName))
		}
		return words, err
	})
}

// jobWords completes numbers of jobs that want accepts.
func (f *stateFlag) jobWords(want func(fleet.State) bool) cobra.CompletionFunc {
	return f.words(func(ctx context.Context, db *fleet.Fleet) (words []string, err error) {
		list, err := db.Jobs(ctx, "", false, 100)
		for _, j := range list {
			if want(j.State) {
				words = append(words, fmt.Sprintf("%d\t%s %s, %s", j.ID, j.Kind, j.Name, j.State))
			}
		}
		return words, err
	})
}

// chosen returns the machines that the operands of a command name, each once.
func chosen(ctx context.Context, db *fleet.Fleet, args []string, all bool) ([]fleet.Machine, error) {
	switch {
	case all && len(args) > 0:
		return nil, usagef("--all takes all machines; %q is one operand too many", args[0])
	case all:
		return db.Machines(ctx)
	case len(args) == 0:
		return nil, usagef("MACHINE is missing; --all takes all machines")
	}
	var list []fleet.Machine
	for _, arg := range args {
		m, err := db.Machine(ctx, arg)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(list, func(o fleet.Machine) bool { return o.ID == m.ID }) {
			list = append(list, m)
		}
	}
	return list, nil
}

// atLeast checks that a command gets so many operands of a name or more.
func atLeast(n int, name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%s: %s is missing; usage: %s", cmd.Name(), name, cmd.UseLine())
		}
		return nil
	}
}

// newGroupCmd returns a command that has only others below it.
func newGroupCmd(use, short, long string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
				return usagef("%s has no command %q; did you mean %s?", cmd.Name(), args[0], like[0])
			}
			return usagef("%s has no command %q; slipcast help %s lists them", cmd.Name(), args[0], cmd.Name())
		},
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(below...)
	return cmd
}

// person returns who runs this program, for the history.
func person() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return plain(name, longestName)
	}
	if u, err := user.Current(); err == nil {
		return plain(u.Username, longestName)
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// columns prints rows below each other, the first of which is the head, and
// cuts lines that are too long for a terminal.
func (e *env) columns(rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell + strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
		}
		line := strings.TrimRight(b.String(), " ")
		if isTerminal(e.stdout) {
			screen, _ := screenSize(e.stdout)
			line = clip(line, screen)
		}
		e.print(e.stdout, "%s\n", line)
	}
}
