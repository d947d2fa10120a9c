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
func (o *overwrite) after(ctx context.Context, stats image.RestoreStats) error {
	if o.target.Info().Kind == blockdev.Disk && o.opt.partition == 0 {
		if err := o.tellKernel(); err != nil {
			o.env.note(o.dst, fmt.Sprintf("the kernel does not have its new partitions: %v", err))
		}
	}
	if !o.opt.grow {
		return nil
	}
	return o.grow(ctx, stats.Grown)
}

// tellKernel makes the kernel have the partitions that are on the disk now,
// also if it was built without a parser for their table.
func (o *overwrite) tellKernel() error {
	if err := o.target.RereadTable(); err != nil {
		return err
	}
	table, err := partition.Read(o.target, o.target.Size(), o.target.sector())
	if err != nil {
		return nil // a table of others that is restored, but not understood
	}
	var parts []blockdev.Range
	for _, p := range table.Partitions {
		if !p.Extended {
			parts = append(parts, blockdev.Range{Number: p.Number, Start: p.Start, Size: p.Size})
		}
	}
	return o.target.AddPartitions(parts)
}
