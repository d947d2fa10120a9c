package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/agent/wire"
	"slipcast/catalog/bundle"
	"slipcast/catalog/plan"
	"slipcast/catalog/probe"
	"slipcast/fleet"
)

// A machineFlag says which machine of serve is meant.
type machineFlag struct {
	stateFlag
	name string
}

// addMachineFlag adds --machine, and --state where the machines are.
func addMachineFlag(cmd *cobra.Command, f *machineFlag, usage string) {
	addStateFlag(cmd, &f.stateFlag)
	cmd.Flags().StringVar(&f.name, "machine", "", usage)
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("machine", f.machineWords()))
}

// restored returns which image the machine got last, and what it is made of.
func (f *machineFlag) restored(ctx context.Context) (ref, digest string, m *probe.Machine, err error) {
	err = f.use(ctx, func(db *fleet.Fleet) error {
		machine, err := db.Machine(ctx, f.name)
		if err != nil {
			return err
		}
		if machine.Inventory == nil {
			return fmt.Errorf("%s has never told what it is made of", machine.Name)
		}
		m = probeMachine(machine.Name, machine.MAC, machine.Inventory)
		jobs, err := db.Jobs(ctx, machine.ID, false, mostJobs)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(jobs, func(j fleet.Job) bool { return j.Kind == wire.Restore && j.State == fleet.Done })
		if i < 0 {
			return fmt.Errorf("%s was never restored, so nobody knows what is on its disk", machine.Name)
		}
		ref, digest = jobs[i].Image, jobs[i].Digest
		return nil
	})
	return ref, digest, m, err
}

// mostJobs is how many jobs of a machine are looked through for its last
// restore.
const mostJobs = 1000

// probeMachine returns a machine as conditions and parameters see it.
func probeMachine(name, mac string, inv *wire.Inventory) *probe.Machine {
	return &probe.Machine{
		Name: name, UUID: inv.UUID, MAC: mac, Vendor: inv.Vendor, Product: inv.Product, Serial: inv.Serial, Board: inv.Board, BIOS: inv.BIOS,
		Modaliases: inv.Modaliases, Memory: inv.Memory, UEFI: inv.Firmware == "uefi",
	}
}

// matrix returns how machines stood when their last restores were done: the one
// that is named, or all.
func (f *machineFlag) matrix(ctx context.Context) (*plan.Matrix, error) {
	m := &plan.Matrix{Time: time.Now()}
	err := f.use(ctx, func(db *fleet.Fleet) error {
		list, err := db.Compliance(ctx, f.name)
		if err != nil {
			return err
		}
		for _, c := range list {
			if f.name == "" { // the list has only what is not good
				full, err := db.Compliance(ctx, c.ID)
				if err != nil {
					return err
				}
				c = full[0]
			}
			m.Standings = append(m.Standings, machineStandings(&c)...)
		}
		return nil
	})
	slices.SortStableFunc(m.Standings, func(a, b plan.Standing) int { return strings.Compare(a.Root, b.Root) })
	return m, err
}

// machineStandings returns how the products stand on a machine. One that has
// never told is unknown as a whole: it might lack anything.
func machineStandings(c *fleet.MachineCompliance) []plan.Standing {
	if c.Compliance == nil {
		return []plan.Standing{{Root: c.Name, Product: "-", State: plan.Unknown,
			Reason: "it was not restored since there is a catalog, or its last restore did not end well"}}
	}
	limits := plan.DefaultLimits()
	var list []plan.Standing
	for _, cell := range c.Cells {
		s := plan.Standing{
			Root: c.Name, Product: cell.Product, State: plan.State(cell.State), Version: cell.Version,
			Severity: bundle.Severity(cell.Severity), Reason: cell.Reason,
		}
		if !s.State.Compliant() {
			s.Since = cell.Since
			limit, ok := limits[s.Severity]
			s.Overdue = ok && time.Since(cell.Since) > limit
		}
		list = append(list, s)
	}
	return list
}
