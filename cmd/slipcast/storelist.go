package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"slipcast/image/store"
	"slipcast/internal/progress"
)

func newStoreListCmd(env *env) *cobra.Command {
	var where storeFlag
	cmd := &cobra.Command{
		Use:     "list [NAME]",
		Short:   "List the images in the store",
		Long:    `List prints all versions of all images, or of NAME, from the oldest to the newest.`,
		Example: "  slipcast store list\n  slipcast store list room-12",
		Args:    operands("[NAME]"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := runStoreList(env, args, &where); err != nil {
				return fmt.Errorf("listing images: %w", err)
			}
			return nil
		},
		ValidArgsFunction: where.completeNames,
	}
	addStoreFlag(cmd, &where)
	return cmd
}

// completeNames completes one NAME.
func (f *storeFlag) completeNames(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.names(), cobra.ShellCompDirectiveNoFileComp
}

// runStoreList lists all images, or those of one name. What is damaged does not
// hide the others.
func runStoreList(env *env, names []string, where *storeFlag) error {
	s, err := where.open()
	if err != nil {
		return err
	}
	all, err := s.List()
	list := all
	if len(names) > 0 {
		list = nil
		for _, e := range all {
			if e.Name == names[0] {
				list = append(list, e)
			}
		}
		if len(list) == 0 {
			err = errors.Join(fmt.Errorf("%s: %w", names[0], store.ErrNotFound), err)
		}
	}
	if env.json {
		for _, e := range list {
			env.object(env.stdout, entryObject("entry", e))
		}
		return err
	}
	out := bufio.NewWriter(env.stdout)
	writeEntries(out, list)
	return errors.Join(err, out.Flush())
}

// writeEntries prints a table of images.
func writeEntries(w io.Writer, list []store.Entry) {
	if len(list) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "image\tadded\tdisk\tpacked\tdigest")
	for _, e := range list {
		fmt.Fprintf(t, "%v\t%s\t%s\t%s\t%.12s\n", e.Ref, e.Added.Local().Format("2006-01-02 15:04"),
			progress.Bytes(e.DiskSize), progress.Bytes(e.ImageSize), e.Digest)
	}
	t.Flush()
}
