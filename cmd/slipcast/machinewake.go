package main

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"slipcast/fleet"
	"slipcast/pxe"
)

func newMachineWakeCmd(env *env) *cobra.Command {
	var state stateFlag
	var all bool
	var iface string
	cmd := &cobra.Command{
		Use:   "wake MACHINE...",
		Short: "Switch machines on by Wake-on-LAN",
		Long: `Wake sends magic packets to all network cards of the machines, on every network
of this computer. Whether a machine listens is set in its firmware; nothing
answers.`,
		Example: "  slipcast machine wake room12-01 room12-02\n  slipcast machine wake --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			return state.use(cmd.Context(), func(db *fleet.Fleet) error {
				list, err := chosen(cmd.Context(), db, args, all)
				if err != nil {
					return err
				}
				return wakeMachines(cmd.Context(), env, db, list, iface)
			})
		},
	}
	addStateFlag(cmd, &state)
	cmd.Flags().BoolVar(&all, "all", false, "wake all machines")
	cmd.Flags().StringVar(&iface, "interface", "", "send on the interface `NAME` alone")
	cmd.ValidArgsFunction = state.machineWords()
	return cmd
}

func wakeMachines(ctx context.Context, env *env, db *fleet.Fleet, list []fleet.Machine, iface string) error {
	for _, m := range list {
		m, err := db.Machine(ctx, m.ID) // with its addresses
		if err != nil {
			return err
		}
		for _, text := range m.MACs {
			mac, err := net.ParseMAC(text)
			if err != nil {
				return err
			}
			if err := pxe.Wake(ctx, mac, pxe.WakeOptions{Interface: iface}); err != nil {
				return fmt.Errorf("waking %s: %w", m.Name, err)
			}
		}
		if len(m.MACs) == 0 {
			return fmt.Errorf("waking %s: it has no network card of its own", m.Name)
		}
		env.say("woke %s", m.Name)
	}
	return nil
}
