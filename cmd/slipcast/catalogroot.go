package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"slipcast/agent/hardware"
	"slipcast/catalog/apply"
	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
	"slipcast/catalog/plan"
	"slipcast/catalog/probe"
	"slipcast/catalog/root"
	"slipcast/internal/blockdev"
	"slipcast/partition"
)

// A rootFlag says which root is meant.
type rootFlag struct {
	dir  string
	disk string
}

// addRootFlags adds --root and --disk.
func addRootFlags(cmd *cobra.Command, f *rootFlag) {
	cmd.Flags().StringVar(&f.dir, "root", "", "the system whose files lie at `DIR`; / is the one that runs")
	cmd.Flags().StringVar(&f.disk, "disk", "", "the system on the disk `DEVICE`, or in a file of one; nobody else may have it mounted")
}

// open opens the root. Of a disk it is mounted until close.
func (f *rootFlag) open(ctx context.Context, readOnly bool) (r *root.Root, closer func() error, err error) {
	switch {
	case (f.dir == "") == (f.disk == ""):
		return nil, nil, usagef("which system is meant? --root DIR or --disk DEVICE says so")
	case f.disk != "":
		return mountDisk(ctx, f.disk, readOnly)
	}
	if r, err = root.Open(f.dir); errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("%w; --disk takes a disk, or a file of one", err)
	}
	if err != nil {
		return nil, nil, err
	}
	switch {
	case !r.IsSystem(): // nothing is mounted there, perhaps
		err = root.ErrNoSystem
	case f.dir != "/":
		err = r.CheckAwake(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", f.dir, err), r.Close())
	}
	return r, r.Close, nil
}

// mountDisk mounts the system on a disk where no other program sees it.
func mountDisk(ctx context.Context, path string, readOnly bool) (*root.Root, func() error, error) {
	parts, err := readVolumes(path)
	if err != nil {
		return nil, nil, err
	}
	volumes, loops, err := attachVolumes(path, parts, readOnly)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "slipcast-root-")
	if err != nil {
		return nil, nil, errors.Join(err, closeLoops(loops))
	}
	r, err := root.Mount(ctx, root.Disk{Volumes: volumes}, dir, root.MountOptions{ReadOnly: readOnly})
	if err != nil {
		return nil, nil, errors.Join(err, closeLoops(loops), os.Remove(dir))
	}
	return r, func() error { return errors.Join(r.Close(), closeLoops(loops), os.Remove(dir)) }, nil
}

// A diskVolumes is what may have a file system on a disk.
type diskVolumes struct {
	file  bool // it is a file, not a device
	size  int64
	table *partition.Table
}

// readVolumes reads the partition table of the disk, or of the file of one.
func readVolumes(path string) (*diskVolumes, error) {
	disk, err := blockdev.OpenSource(path)
	if err != nil {
		return nil, err
	}
	info := disk.Info()
	v := &diskVolumes{file: info.Device == "", size: disk.Size()}
	v.table, err = partition.Read(disk, v.size, info.LogicalSector)
	return v, errors.Join(err, disk.Close())
}

// attachVolumes returns the volumes of a disk. Those that the kernel does not know,
// because it has no parser for the table or the disk is a file, are attached.
func attachVolumes(path string, v *diskVolumes, readOnly bool) (volumes []root.Volume, loops []*blockdev.Loop, err error) {
	parts := v.table.Partitions
	if len(parts) == 0 {
		parts = []partition.Partition{{Size: v.size}}
	}
	for _, p := range parts {
		if p.Extended {
			continue
		}
		w := root.Volume{Node: path, Name: path, Number: p.Number, PartUUID: p.UUID, PartLabel: p.Name}
		if p.Number > 0 {
			w.Node, w.Name = blockdev.PartitionPath(path, p.Number), fmt.Sprintf("partition %d", p.Number)
		}
		if v.file || !exists(w.Node) {
			l, err := attachVolume(path, blockdev.LoopOptions{Offset: p.Start, Size: p.Size, SectorSize: v.table.SectorSize, ReadOnly: readOnly})
			if err != nil {
				return nil, nil, errors.Join(fmt.Errorf("%s: %w", w.Name, err), closeLoops(loops))
			}
			w.Node, loops = l.Path(), append(loops, l)
		}
		volumes = append(volumes, w)
	}
	return volumes, loops, nil
}

// attachVolume shows a part of a disk as a device.
func attachVolume(path string, opt blockdev.LoopOptions) (*blockdev.Loop, error) {
	mode := os.O_RDWR
	if opt.ReadOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	l, err := blockdev.AttachLoop(f, opt)
	return l, errors.Join(err, f.Close())
}

func closeLoops(loops []*blockdev.Loop) (err error) {
	for _, l := range loops {
		err = errors.Join(err, l.Close())
	}
	return err
}

// localMachine describes this machine for conditions and parameters.
func localMachine(name, mac string) *probe.Machine {
	inv := hardware.Machine(hardware.Tree{Sys: os.DirFS("/sys"), Proc: os.DirFS("/proc")})
	return probeMachine(name, mac, &inv)
}

// A detector tells plans what is on a root.
type detector struct {
	*probe.Probes
	catalog  *openCatalog
	receipts []apply.Receipt // of the root
}

var _ plan.Detector = (*detector)(nil)

// Payload implements plan.Detector.
func (d *detector) Payload(ctx context.Context, b *plan.Bundle) (condition.Verdict, string) {
	file, err := d.catalog.bundle(b.ID())
	if err != nil {
		return condition.Unknown, err.Error()
	}
	defer file.Close()
	expanded := func(_ context.Context, e bundle.Entry) (string, error) { return laid(d.receipts, b.Digest, e.Path) }
	return d.Probes.Payload(ctx, file.Manifest, probe.PayloadOptions{Expanded: expanded})
}

// laid returns the digest of a file whose contents depend on parameters, as it
// was when the bundle was applied.
func laid(receipts []apply.Receipt, bundle, path string) (string, error) {
	for _, r := range receipts {
		if r.Digest != bundle {
			continue
		}
		for _, p := range r.Paths {
			if string(p.Path) == path {
				return p.SHA256, nil
			}
		}
	}
	return "", errors.New("no receipt tells with which parameters it was laid")
}

// receiptsOf returns the receipts of products on a root. One that has none is
// an error.
func receiptsOf(r *root.Root, products []string) ([]apply.Receipt, error) {
	all, err := apply.Receipts(r)
	if err != nil {
		return nil, err
	}
	var list []apply.Receipt
	for _, product := range products {
		i := slices.IndexFunc(all, func(a apply.Receipt) bool { return a.Product() == product })
		if i < 0 {
			return nil, fmt.Errorf("%s: %w", product, apply.ErrNotApplied)
		}
		list = append(list, all[i])
	}
	return list, nil
}
