package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/depot"
	"slipcast/internal/progress"
)

// exportOptions say what is exported, and in parts of which length.
type exportOptions struct {
	storeFlag
	since   int64
	part    partSize
	payload payloadFlag
}

func newStoreExportCmd(env *env) *cobra.Command {
	opt := exportOptions{part: depot.DefaultPart}
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write what the catalog names to a stick",
		Long: `Export writes what the store's catalog names, bundles and images, into the folder DIR:
as parts slipcast-SNAPSHOT-001.slx and so on, and a list slipcast-SNAPSHOT.json with
their lengths and digests. No part is longer than --max-part, so that FAT32 takes
them. With --since N only what the snapshot N did not name is written; the result of
the last export tells its number. What has been recalled is left out.

Everything is read and checked before it is written. slipcast store import takes the
parts where there is no network.`,
		Example: `  slipcast store export /media/stick
  slipcast store export --since 7 --max-part 700MB /media/stick`,
		Args: operands("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runStoreExport(cmd.Context(), env, args[0], &opt); err != nil {
				return fmt.Errorf("exporting to %s: %w", plain(args[0], 200), depotError(err))
			}
			return nil
		},
	}
	addStoreFlag(cmd, &opt.storeFlag)
	cmd.Flags().Int64Var(&opt.since, "since", 0, "leave out what the snapshot `N` of the catalog named")
	cmd.Flags().Var(&opt.part, "max-part", "make no part longer than that")
	cmd.Flags().Var(&opt.payload, "payload", "write `WHAT` beside the catalog: all, critical or none")
	return cmd
}

func runStoreExport(ctx context.Context, env *env, dir string, opt *exportOptions) error {
	s, err := opt.open()
	if err != nil {
		return err
	}
	if opt.since < 0 {
		return usagef("--since: want the number of a snapshot")
	}
	began := time.Now()
	var meter *progress.Meter
	done, err := depot.Export(ctx, s, dir, depot.ExportOptions{
		Since: opt.since, MaxPart: int64(opt.part), Payload: depot.Payload(opt.payload),
		Begin:    func(total int64) { meter = env.meter("exporting", "export", total) },
		Progress: func(n int64) { meter.Add(n) },
	})
	if meter != nil {
		meter.Done(err)
	}
	if errors.Is(err, depot.ErrPart) || errors.Is(err, depot.ErrSince) {
		return &usageError{err}
	}
	if err != nil {
		return err
	}
	c, took := done.Catalog, time.Since(began)
	if c.Expired {
		env.note(s.Dir(), "its catalog has expired, and nobody takes it anew; slipcast catalog refresh signs it")
	}
	env.sum(fmt.Sprintf("exported snapshot %d to %s in %s", c.Versions.Snapshot, dir, speed(done.Bytes, took)),
		fact{"wrote", fmt.Sprintf("%s, %s: %s, %s", count(len(done.Parts), "part"), progress.Bytes(done.Bytes), count(done.Bundles, "bundle"), count(done.Images, "image"))},
		fact{"list", done.List})
	env.result(versionsObject(map[string]any{
		"type": "exported", "dir": dir, "parts": done.Parts, "list": done.List, "written_bytes": done.Bytes,
		"bundles": done.Bundles, "images": done.Images, "chunks": done.Frames, "seconds": took.Seconds(),
	}, c.Versions), false)
	return nil
}

// A partSize is the value of a flag for the length of a part in bytes.
type partSize int64

// Set implements pflag.Value.
func (p *partSize) Set(text string) error {
	n, ok := parseUnits(text, []unit{
		{"tib", 1 << 40}, {"gib", 1 << 30}, {"mib", 1 << 20}, {"kib", 1 << 10}, {"tb", 1e12}, {"gb", 1e9}, {"mb", 1e6}, {"kb", 1e3},
	})
	if !ok || n < 1 {
		return errors.New("want a length like 700MB or 3.9GiB")
	}
	*p = partSize(n)
	return nil
}

// String implements pflag.Value.
func (p *partSize) String() string { return fmt.Sprintf("%.1fGiB", float64(*p)/(1<<30)) }

// Type implements pflag.Value.
func (p *partSize) Type() string { return "size" }
