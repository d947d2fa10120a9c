package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"slipcast/partition"
	"slipcast/partition/fsmap"
)

// What is kept of the space that no partition claims, section 12.
const (
	keepBefore  = 16 << 20 // bytes before the first partition
	keepBetween = 1 << 20  // bytes of each gap between partitions
)

// ScanOptions say how a disk is to be looked at.
type ScanOptions struct {
	// Size of the disk in bytes.
	Size int64

	// Sectors in bytes. If LogicalSector is zero, it is found from the
	// table, or else 512. PhysicalSector is at least LogicalSector.
	LogicalSector, PhysicalSector int

	// NoTable takes the disk for one volume, whatever it begins with. It is
	// for partitions.
	NoTable bool

	// SkipSwapfiles is as in fsmap.Options.
	SkipSwapfiles bool
}

// Scan finds the partition table of the disk behind r, the file systems on
// it, and the bytes in use. What it does not know counts as in use and gets a
// note. The error is that of ctx, or says that the disk cannot be an image.
func Scan(ctx context.Context, r io.ReaderAt, opt ScanOptions) (*Layout, error) {
	if opt.Size <= 0 {
		return nil, errors.New("it is empty")
	}
	if opt.Size >= maxDisk {
		return nil, fmt.Errorf("%d bytes are more than an image can hold", opt.Size)
	}
	l := &Layout{Size: opt.Size}
	table := &partition.Table{Kind: partition.None, SectorSize: max(opt.LogicalSector, 512)}
	if !opt.NoTable {
		found, err := partition.Read(r, opt.Size, opt.LogicalSector)
		if err != nil {
			l.note("captured whole: %v", err)
		} else {
			table = found
			l.Notes = append(l.Notes, table.Notes...)
		}
	}
	l.LogicalSector = table.SectorSize
	l.PhysicalSector = max(opt.PhysicalSector, l.LogicalSector)
	l.Table = Table{Kind: table.Kind, ID: table.ID, Partitions: table.Partitions}
	var used partition.Builder
	if table.Kind == partition.None {
		err := l.scanVolume(ctx, r, Volume{Size: l.Size}, opt, &used)
		l.Used = used.Extents()
		return l, err
	}
	add(&used, table.Sectors(), 0)
	if err := l.scanPartitions(ctx, r, opt, &used); err != nil {
		return nil, err
	}
	l.Used = used.Extents().Within(partition.Extent{Length: l.Size})
	return l, nil
}

// scanPartitions looks at all partitions and the gaps between them.
func (l *Layout) scanPartitions(ctx context.Context, r io.ReaderAt, opt ScanOptions, used *partition.Builder) error {
	var claimed partition.Extents
	for _, p := range l.Table.Partitions {
		if !p.Extended {
			claimed = append(claimed, partition.Extent{Start: p.Start, Length: p.Size})
		}
	}
	claimed = partition.Normalize(claimed)
	keepGaps(claimed, used)
	for _, place := range claimed {
		for _, p := range l.Table.Partitions {
			if p.Extended || p.Start < place.Start || p.Start >= place.End() {
				continue
			}
			v := Volume{Number: p.Number, Start: p.Start, Size: p.Size}
			if err := l.scanVolume(ctx, r, v, opt, used); err != nil {
				return err
			}
		}
	}
	slices.SortStableFunc(l.Volumes, func(a, b Volume) int { return cmp.Compare(a.Start, b.Start) })
	return nil
}

// keepGaps adds the space that no partition claims, as far as it is kept.
func keepGaps(claimed partition.Extents, used *partition.Builder) {
	var at int64
	for i, place := range claimed {
		keep := int64(keepBetween)
		if i == 0 {
			keep = keepBefore
		}
		used.Add(at, min(keep, place.Start-at))
		at = place.End()
	}
}

// scanVolume finds what is on the volume v and adds it to the layout.
func (l *Layout) scanVolume(ctx context.Context, r io.ReaderAt, v Volume, opt ScanOptions, used *partition.Builder) error {
	place := io.NewSectionReader(r, v.Start, v.Size)
	m, err := fsmap.Read(ctx, place, v.Size, fsmap.Options{SkipSwapfiles: opt.SkipSwapfiles})
	if err != nil {
		return err
	}
	v.Type, v.Label, v.UUID = m.Type, m.Label, m.UUID
	v.BlockSize, v.Span = m.BlockSize, m.Size
	v.Whole, v.Dirty, v.Notes = m.Whole, m.Dirty, m.Notes
	l.Volumes = append(l.Volumes, v)
	add(used, m.Used, v.Start)
	return nil
}

// add adds x, moved by offset.
func add(used *partition.Builder, x partition.Extents, offset int64) {
	for _, e := range x {
		used.Add(e.Start+offset, e.Length)
	}
}

func (l *Layout) note(format string, args ...any) {
	l.Notes = append(l.Notes, fmt.Sprintf(format, args...))
}
