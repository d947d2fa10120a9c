package blockdev

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds on the time that a new partition table needs to take effect.
const (
	tableWait = 10 * time.Second // for others to let go of the old partitions
	nodeWait  = 10 * time.Second // for the nodes in /dev
	tableStep = 50 * time.Millisecond
)

// RereadTable makes the kernel read the partition table of a disk again. On
// return the nodes of the partitions exist, and nothing in memory is left of
// the old ones. It takes at most twenty seconds, if others hold on to old
// partitions. On a file, a partition, or a device of which the kernel keeps
// no partitions there is nothing to do.
func (d *Device) RereadTable() error {
	if d.info.Kind != Disk {
		return nil
	}
	err := d.rescan()
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("re-reading the partition table of %s: %w", d.info.Path, err)
	}
	parts, listErr := d.partitions()
	if listErr != nil {
		return fmt.Errorf("listing the partitions of %s: %w", d.info.Path, listErr)
	}
	if err != nil && len(parts) > 0 { // some, but this driver does not scan
		return fmt.Errorf("re-reading the partition table of %s: %w", d.info.Path, err)
	}
	if err != nil {
		return nil
	}
	return d.awaitNodes(parts)
}

// rescan asks the kernel to read the table, until nobody has an old partition
// open.
func (d *Device) rescan() error {
	for end := time.Now().Add(tableWait); ; time.Sleep(tableStep) {
		err := d.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.BLKRRPART, 0) })
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}

// partitions returns the partitions that the kernel knows of the disk.
func (d *Device) partitions() ([]*node, error) {
	id, err := statOpen(d.file)
	if err != nil {
		return nil, err
	}
	nodes, err := readTree(thisMachine().sys)
	if err != nil {
		return nil, err
	}
	disk := nodes.byDev(id.rdev)
	if disk == nil {
		return nil, unix.ENODEV
	}
	var parts []*node
	for _, name := range disk.parts {
		parts = append(parts, nodes[name])
	}
	return parts, nil
}

// awaitNodes waits until there is a device node for each partition. A devtmpfs
// has them at once; udev and mdev take their time.
func (d *Device) awaitNodes(parts []*node) error {
	end := time.Now().Add(nodeWait)
	for _, p := range parts {
		path := "/dev/" + p.devName
		for {
			id, err := statPath(path)
			if err == nil && id.isDevice() && id.rdev == p.dev {
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("re-reading the partition table of %s: no device node %s after %v", d.info.Path, path, nodeWait)
			}
			time.Sleep(tableStep)
		}
	}
	return nil
}
