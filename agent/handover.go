package agent

import (
	"context"
	"errors"
	"fmt"

	"slipcast/agent/fresh"
	"slipcast/agent/uefi"
	"slipcast/agent/wire"
	"slipcast/internal/blockdev"
	"slipcast/partition"
)

// Restored implements handover. A disk that keeps the identity of the machine
// that it was captured from is an error; firmware that does not take which disk
// boots next is a note, for the disk is good.
func (s *system) Restored(ctx context.Context, job *wire.Job, d wire.Disk) (notes []string, err error) {
	wanted := job.Fresh || job.Hostname != "" || job.Answer != ""
	if !wanted && !isUEFI() {
		return nil, nil
	}
	node := "/dev/" + d.Name
	result, err := s.personalize(ctx, job, node)
	notes = result.Notes
	for _, changed := range result.Changed {
		s.say("changed %s", changed)
	}
	if err != nil {
		err = fmt.Errorf("making %s this machine's own: %w", node, err)
		if wanted {
			return notes, err
		}
		notes = append(notes, err.Error()) // only the loader was looked for
	}
	if isUEFI() {
		if err := s.bootDisk(result.Loader); err != nil {
			notes = append(notes, fmt.Sprintf("which disk boots next: %v", err))
		}
	}
	return notes, nil
}

// personalize makes a restored disk this machine's own as the job says, and finds
// its loader.
func (s *system) personalize(ctx context.Context, job *wire.Job, node string) (fresh.Result, error) {
	table, err := readTable(node)
	if err != nil {
		return fresh.Result{}, err
	}
	return fresh.Run(ctx, fresh.Options{
		Disk: node, Table: table, Hostname: job.Hostname, Fresh: job.Fresh, Answer: job.Answer, Arch: arch(), Load: s.modules.Load,
	})
}

// readTable reads the partition table of a disk.
func readTable(node string) (table *partition.Table, err error) {
	dev, err := blockdev.OpenSource(node)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	return partition.Read(dev, dev.Size(), dev.Info().LogicalSector)
}

// bootDisk makes the firmware boot a loader of the restored disk next, and
// behind the network from then on. The error says what of that it does not.
func (s *system) bootDisk(l *fresh.Loader) error {
	if l == nil {
		s.bootLocal()
		return errors.New("the disk has no loader that UEFI firmware starts; what comes next is the firmware's choice")
	}
	entry, err := uefi.Mounted.BootDisk(uefi.Loader(*l))
	if err != nil && !errors.Is(err, uefi.ErrOrder) {
		s.bootLocal()
		return err
	}
	s.say("next boots %s, %s", entry.Description, l.File)
	return err
}
