package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"slipcast/image/store"
	"slipcast/internal/progress"
)

func newStoreRemoveCmd(env *env) *cobra.Command {
	var where storeFlag
	cmd := &cobra.Command{
		Use:   "remove NAME@VERSION...",
		Short: "Remove images from the store",
		Long: `Remove forgets versions of images. Their room is free after slipcast store gc. A
version that somebody reads just now is not removed.`,
		Example: "  slipcast store remove room-12@3",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("remove: NAME@VERSION is missing; usage: %s", cmd.UseLine())
			}
			for _, text := range args {
				if err := runStoreRemove(cmd.Context(), env, text, &where); err != nil {
					return fmt.Errorf("removing %s: %w", text, err)
				}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return where.refs(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	addStoreFlag(cmd, &where)
	return cmd
}

// refs returns all versions in the store for the shell, which hears of no error.
func (f *storeFlag) refs() []string {
	s, err := f.open()
	if err != nil {
		return nil
	}
	list, err := s.List()
	if err != nil {
		return nil
	}
	var refs []string
	for _, e := range list {
		refs = append(refs, e.Ref.String())
	}
	return refs
}

func runStoreRemove(ctx context.Context, env *env, text string, where *storeFlag) error {
	r, err := store.ParseRef(text)
	if err != nil {
		return &usageError{err}
	}
	if r.Version == "" {
		return usagef("say which version: %s@VERSION; slipcast store list %s lists them", text, text)
	}
	s, err := where.open()
	if err != nil {
		return err
	}
	if err := s.Remove(ctx, r); err != nil {
		return err
	}
	env.say("removed %v", r)
	env.result(map[string]any{"type": "removed", "image": r.String()}, false)
	return nil
}

func newStoreGCCmd(env *env) *cobra.Command {
	var where storeFlag
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Free the room of what no image needs",
		Long: `Gc removes the data that no image in the store needs any more, and what was left
where slipcast store add was killed, or where a mirror or an import was cut off and
nobody has gone on with it for a week. Images may be added and read meanwhile. While
slipcast store verify runs, it waits.`,
		Example: "  slipcast store gc",
		Args:    operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := runStoreGC(cmd.Context(), env, &where); err != nil {
				return fmt.Errorf("collecting garbage: %w", err)
			}
			return nil
		},
	}
	addStoreFlag(cmd, &where)
	return cmd
}

func runStoreGC(ctx context.Context, env *env, where *storeFlag) error {
	s, err := where.open()
	if err != nil {
		return err
	}
	c, err := s.GC(ctx)
	if err != nil {
		return err
	}
	env.say("freed %s of %s; %d are in use", progress.Bytes(c.Freed), count(c.Removed, "chunk"), c.Kept)
	env.result(map[string]any{
		"type": "collected", "removed_chunks": c.Removed, "freed_bytes": c.Freed, "chunks": c.Kept, "removed_adds": c.Folders,
	}, false)
	return nil
}
