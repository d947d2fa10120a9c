package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"slipcast/agent/wire"
	"slipcast/internal/blockdev"
)

// Sizes of wiping, in bytes.
const (
	wipePiece  = 64 << 20
	wipeLook   = 1 << 20 // is read back at each of the places that are looked at
	wipePlaces = 64
)

// wipeDisk writes zeros over all of a disk, looks at its beginning, its end and
// places between whether they are there, and then tells the disk that all of it
// is free. A disk that is not the one that was chosen, or in use, is refused.
func wipeDisk(ctx context.Context, path string, d wire.Disk, progress func(done, total int64)) (err error) {
	dev, err := blockdev.OpenTarget(path, blockdev.TargetOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if info := dev.Info(); info.Kind == blockdev.Disk && info.Serial != d.Serial || dev.Size() != d.Size {
		return fmt.Errorf("%s is not the disk that was chosen: its serial number is %q, its size %d", path, info.Serial, dev.Size())
	}
	for off := int64(0); off < d.Size; off += wipePiece {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := dev.Zero(off, min(wipePiece, d.Size-off)); err != nil {
			return fmt.Errorf("wiping %s: %w", path, err)
		}
		progress(min(off+wipePiece, d.Size), d.Size)
	}
	if err := dev.Sync(); err != nil {
		return fmt.Errorf("wiping %s: %w", path, err)
	}
	if err := lookWiped(dev, d.Size); err != nil {
		return fmt.Errorf("wiping %s: %w", path, err)
	}
	if err := dev.Discard(0, d.Size); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("wiping %s: all is zeros, but the disk keeps it: %w", path, err)
	}
	if dev.Info().Kind == blockdev.Disk {
		return dev.RereadTable()
	}
	return nil
}

// lookWiped reads some places of a disk past all caches.
func lookWiped(dev *blockdev.Device, size int64) error {
	if err := dev.DropCache(); err != nil {
		return err
	}
	n := min(wipeLook, size)
	buffer := blockdev.AlignedBuffer(int(n))
	zeros := make([]byte, n)
	for i := range int64(wipePlaces) {
		off := (size - n) / (wipePlaces - 1) * i &^ 4095
		if i == wipePlaces-1 {
			off = size - n
		}
		if _, err := dev.ReadAt(buffer, off); err != nil {
			return err
		}
		if !bytes.Equal(buffer, zeros) {
			return fmt.Errorf("at byte %d it does not hold the zeros that were written", off)
		}
	}
	return nil
}
