package main

import (
	"context"

	"github.com/spf13/cobra"

	"slipcast/fleet"
)

// A machineSet is what machine set is to set.
type machineSet struct {
	state    stateFlag
	name     string
	disk     string
	loader   string
	args     []string
	hostname string
	note     string
	given    func(flag string) bool
}

func newMachineSetCmd(env *env) *cobra.Command {
	var opt machineSet
	cmd := &cobra.Command{
		Use:   "set MACHINE...",
		Short: "Set a machine's name, disk rule, loader and note",
		Long: `Set changes what is given and leaves the rest; an empty text goes back to the
default. The disk rule is for jobs that have none of their own: serial, wwn,
path, model, transport, min, max, as in "min=200G,transport=nvme". Without any,
the only internal disk is taken.`,
		Example: `  slipcast machine set pc-0e12ab --name room12-01
  slipcast machine set room12-01 --disk transport=nvme --note "window seat"`,
		Args: atLeast(1, "MACHINE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.given = cmd.Flags().Changed
			return opt.state.use(cmd.Context(), func(db *fleet.Fleet) error { return setMachines(cmd.Context(), env, db, args, opt) })
		},
	}
	addStateFlag(cmd, &opt.state)
	f := cmd.Flags()
	f.StringVar(&opt.name, "name", "", "call the machine `NAME`, a host name")
	f.StringVar(&opt.disk, "disk", "", "the `RULE` that says which disk is meant")
	f.StringVar(&opt.loader, "loader", "", "what UEFI loads first, `WHAT`: shim, ipxe, image (default: that of serve)")
	f.StringSliceVar(&opt.args, "args", nil, "`WORDS` for the kernel's command line, like nomodeset")
	f.StringVar(&opt.hostname, "hostname", "", "call clones `NAME` (default: the machine's name)")
	f.StringVar(&opt.note, "note", "", "a `TEXT` for people")
	completeWords(cmd, "loader", loaders()...)
	cmd.ValidArgsFunction = opt.state.machineWords()
	return cmd
}

// change returns what is to be set.
func (o *machineSet) change() (c fleet.Change, err error) {
	for flag, place := range map[string]**string{"name": &c.Name, "loader": &c.Loader, "hostname": &c.Hostname, "note": &c.Note} {
		value := map[string]string{"name": o.name, "loader": o.loader, "hostname": o.hostname, "note": o.note}[flag]
		if o.given(flag) {
			*place = &value
		}
	}
	if o.given("args") {
		c.Args = &o.args
	}
	if o.given("disk") {
		rule, err := fleet.ParseRule(o.disk)
		if err != nil {
			return c, usagef("machine set: --disk: %w", err)
		}
		c.Disk = &rule
	}
	return c, nil
}

func setMachines(ctx context.Context, env *env, db *fleet.Fleet, args []string, opt machineSet) error {
	c, err := opt.change()
	if err != nil {
		return err
	}
	if c == (fleet.Change{}) {
		return usagef("machine set: nothing is to be set; see slipcast help machine set")
	}
	list, err := chosen(ctx, db, args, false)
	if err != nil {
		return err
	}
	if len(list) > 1 && (c.Name != nil || c.Hostname != nil) {
		return usagef("machine set: %d machines cannot have the same name", len(list))
	}
	for _, m := range list {
		m, err := db.SetMachine(ctx, m.ID, c, person())
		if err != nil {
			return err
		}
		if env.json {
			env.object(env.stdout, asObject("machine", m))
		}
		env.say("set %s", m.Name)
	}
	return nil
}
