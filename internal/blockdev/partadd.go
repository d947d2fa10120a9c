package blockdev

import (
	"fmt"
	"unsafe"
)

// A Range is a partition as the caller knows it from the table.
type Range struct {
	Number int
	Start  int64 // bytes
	Size   int64 // bytes
}

// AddPartitions makes sure, after [Device.RereadTable], that the kernel has
// the given partitions of a disk, and waits for their nodes. Those that it
// did not find, since it does not know the kind of table, are made known to
// it. One that it has elsewhere than the caller is an error.
func (d *Device) AddPartitions(want []Range) error {
	if d.info.Kind != Disk {
		return nil
	}
	have, err := d.partitions()
	if err != nil {
		return fmt.Errorf("listing the partitions of %s: %w", d.info.Path, err)
	}
	for _, r := range want {
		if err := d.addPartition(have, r); err != nil {
			return fmt.Errorf("adding partition %d of %s: %w", r.Number, d.info.Path, err)
		}
	}
	if have, err = d.partitions(); err != nil {
		return fmt.Errorf("listing the partitions of %s: %w", d.info.Path, err)
	}
	return d.awaitNodes(have)
}

// Requests to add a partition: linux/blkpg.h.
const (
	blkpg    = 0x1269 // BLKPG
	blkpgAdd = 1      // BLKPG_ADD_PARTITION
)

// blkpgPartition is struct blkpg_partition.
type blkpgPartition struct {
	Start, Length int64 // bytes
	Number        int32
	_             [128]byte // names, which the kernel ignores
	_             int32
}

// blkpgArg is struct blkpg_ioctl_arg.
type blkpgArg struct {
	Op, Flags, Length int32
	Data              *blkpgPartition
}

// addPartition tells the kernel of a partition unless have lists it.
func (d *Device) addPartition(have []*node, r Range) error {
	for _, p := range have {
		if p.number != r.Number {
			continue
		}
		if p.start != r.Start || p.size != r.Size {
			return fmt.Errorf("the kernel has %d bytes from %d, the table %d from %d", p.size, p.start, r.Size, r.Start)
		}
		return nil
	}
	part := blkpgPartition{Start: r.Start, Length: r.Size, Number: int32(r.Number)}
	arg := blkpgArg{Op: blkpgAdd, Length: int32(unsafe.Sizeof(part)), Data: &part}
	return ioctl(d.file, blkpg, &arg)
}
