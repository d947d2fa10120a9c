package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"slipcast/agent"
)

// startedByKernel tells whether this process is one of a boot environment that
// the kernel started, and does what the kernel wants then: process 1 never
// returns.
func startedByKernel(args []string) (code int, ok bool) {
	if agent.ProcessOne(os.Getpid(), args) {
		agent.Boot()
	}
	if agent.CalledByKernel(args) {
		return agent.Modprobe(args[1:]), true
	}
	return 0, false
}

func newAgentCmd(env *env) *cobra.Command {
	var crashed bool
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Do what the server wants of a machine that booted from the network",
		Long: `Agent is what runs on a machine that booted from slipcast serve: it tells the
server what the machine is made of, does the job that the server has for it, and
reports. It starts by itself as the first process of the boot environment, which
slipcast boot build makes, and refuses to start anywhere else: the disks of this
system are safe from it.`,
		Example: "  slipcast help agent",
		Args:    operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runAgent(cmd.Context(), crashed)
		},
	}
	cmd.Flags().BoolVar(&crashed, "crashed", false, "report that an agent before this one has crashed")
	return cmd
}

func runAgent(ctx context.Context, crashed bool) error {
	err := agent.Main(ctx, version, crashed)
	if errors.Is(err, agent.ErrNoBootEnvironment) {
		return usagef("agent: %w", err)
	}
	return err
}
