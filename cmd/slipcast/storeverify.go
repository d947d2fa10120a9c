package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"slipcast/image"
	"slipcast/image/store"
	"slipcast/internal/progress"
)

func newStoreVerifyCmd(env *env) *cobra.Command {
	var where storeFlag
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check everything in the store",
		Long: `Verify reads all data in the store, checks it against its digests, and checks that
every image has what it needs. It prints what is damaged, and which images that
concerns; adding one of these again (slipcast store add) brings back what is
damaged.`,
		Example: "  slipcast store verify",
		Args:    operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := runStoreVerify(cmd.Context(), env, &where); err != nil {
				return fmt.Errorf("verifying the store: %w", err)
			}
			return nil
		},
	}
	addStoreFlag(cmd, &where)
	return cmd
}

func runStoreVerify(ctx context.Context, env *env, where *storeFlag) error {
	began := time.Now()
	s, err := where.open()
	if err != nil {
		return err
	}
	meter := env.meter("verifying", "verify", 0)
	var faults []store.Fault
	v, err := s.Verify(ctx, store.VerifyOptions{Progress: meter.Add, Found: func(f store.Fault) { faults = append(faults, f) }})
	meter.Done(err)
	if err != nil {
		return err
	}
	env.showFaults(faults)
	took := time.Since(began)
	env.result(map[string]any{
		"type": "store_verified", "store": s.Dir(), "images": v.Images, "chunks": v.Frames, "frame_bytes": v.Bytes,
		"faults": v.Faults, "seconds": took.Seconds(),
	}, false)
	if v.Faults > 0 {
		return fmt.Errorf("%w: found %s in %s", image.ErrDamaged, count(v.Faults, "fault"), s.Dir())
	}
	env.sum(fmt.Sprintf("verified %s in %s", s.Dir(), speed(v.Bytes, took)),
		fact{"checked", fmt.Sprintf("%s of %s, %s", count(v.Frames, "chunk"), count(v.Images, "image"), progress.Bytes(v.Bytes))})
	return nil
}

// showFaults prints what is damaged.
func (e *env) showFaults(faults []store.Fault) {
	for _, f := range faults {
		if !e.json {
			e.print(e.stdout, "%v\n", f)
			continue
		}
		o := map[string]any{"type": "fault", "path": f.Path, "text": f.Err.Error()}
		if f.Image.Name != "" {
			o["image"] = f.Image.String()
		}
		e.object(e.stdout, o)
	}
}
