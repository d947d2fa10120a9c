package main

import (
	"context"
	"fmt"

	"slipcast/image"
	"slipcast/internal/blockdev"
	"slipcast/partition"
)

// after does what comes after the data is on the target: the kernel learns the
// new table, and the last file system grows.
func (r *restoring) after(ctx context.Context, stats image.RestoreStats) error {
	if r.target.Info().Kind == blockdev.Disk && r.opt.partition == 0 {
		if err := r.tellKernel(); err != nil {
			r.env.note(r.dst, fmt.Sprintf("the kernel does not have its new partitions: %v", err))
		}
	}
	if !r.opt.grow {
		return nil
	}
	return r.grow(ctx, stats.Grown)
}

// tellKernel makes the kernel have the partitions that are on the disk now,
// also if it was built without a parser for their table.
func (r *restoring) tellKernel() error {
	if err := r.target.RereadTable(); err != nil {
		return err
	}
	table, err := partition.Read(r.target, r.target.Size(), r.target.sector())
	if err != nil {
		return nil // a table of others that is restored, but not understood
	}
	var parts []blockdev.Range
	for _, p := range table.Partitions {
		if !p.Extended {
			parts = append(parts, blockdev.Range{Number: p.Number, Start: p.Start, Size: p.Size})
		}
	}
	return r.target.AddPartitions(parts)
}
