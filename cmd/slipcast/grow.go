package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"slipcast/image"
	"slipcast/internal/blockdev"
	"slipcast/partition"
)

// grow enlarges the file system that has room to grow, if there is one.
// extended is the partition that became larger, or nil.
func (o *overwrite) grow(ctx context.Context, extended *partition.Partition) error {
	info := o.target.Info()
	dev, number := o.dst, o.opt.partition
	switch {
	case extended != nil:
		dev, number = blockdev.PartitionPath(info.Device, extended.Number), extended.Number
	case o.m == nil || number == 0 && o.m.Table.Kind != partition.None:
		return nil
	}
	v := o.volume(ctx, number)
	if extended == nil && (v.Type == "" || v.Size >= o.target.Size()) {
		return nil
	}
	if info.Kind == blockdev.File {
		return &partError{fmt.Errorf("the file system (%s) was not grown, because %s is a file; attach it with losetup and grow it there", kind(v), o.dst)}
	}
	if err := o.target.close(true); err != nil { // the driver claims the device
		return err
	}
	err := blockdev.GrowFilesystem(ctx, dev, v.Type)
	switch {
	case errors.Is(err, blockdev.ErrCannotGrow):
		o.env.note(dev, fmt.Sprintf("what is on it (%s) was left as large as it was; only ext2, ext3, ext4, XFS and btrfs are grown", kind(v)))
		return nil
	case err != nil:
		return &partError{err}
	}
	o.env.say("grew the file system (%s) on %s", kind(v), dev)
	return nil
}

// kind names what is on v.
func kind(v image.Volume) string { return cmp.Or(v.Type, "unknown") }

// volume returns what is known of a volume of the target. The image of another
// program says nothing, so the target itself is looked at.
func (o *overwrite) volume(ctx context.Context, number int) image.Volume {
	layout := &image.Layout{}
	if o.m != nil {
		layout = &o.m.Layout
	} else if found, err := image.Scan(ctx, o.target, o.target.scanOptions()); err == nil {
		layout = found
	}
	if v := layout.Volume(number); v != nil {
		return *v
	}
	return image.Volume{}
}
