package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"slipcast/agent/wire"
	"slipcast/fleet"
	"slipcast/image/store"
)

// A jobOrder is what the flags of job create say.
type jobOrder struct {
	state     stateFlag
	store     storeFlag
	yes       bool
	all       bool
	multicast bool
	separate  bool // --multicast=false was given
	image     string
	disk      string
	answer    string
	notBefore string
	notAfter  string
	end       string
	options   fleet.Options
}

func newJobCreateCmd(env *env) *cobra.Command {
	return newGroupCmd("create KIND", "Make jobs for machines",
		`Create makes a job for each MACHINE: all of them, or none if one has an open job.
Each waits until its machine boots from the network, or is woken (--wake).`,
		newJobRestoreCmd(env), newJobCaptureCmd(env),
		newJobPlainCmd(env, wire.Survey, "Make machines tell what they are made of", ""),
		newJobPlainCmd(env, wire.Wipe, "Make the disks of machines unreadable", "All data on their disks is lost. "),
		newJobPlainCmd(env, wire.Shell, "Open a console on machines, for a technician", ""))
}

// addOrderFlags adds the flags that all kinds of jobs have.
func addOrderFlags(cmd *cobra.Command, o *jobOrder) {
	addStateFlag(cmd, &o.state)
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "make it for all machines")
	f.StringVar(&o.notBefore, "not-before", "", "begin at `WHEN`: 22:30, 2026-11-30 22:30, or after a time like 2h (default: now)")
	f.StringVar(&o.notAfter, "not-after", "", "do not begin after `WHEN`; a time like 2h counts from --not-before (default: 8h)")
	f.StringVar(&o.end, "end", string(wire.Reboot), "what the machine does then, `WHAT`: reboot, poweroff, shell, stay")
	f.BoolVar(&o.options.Wake, "wake", false, "have serve wake the machines by Wake-on-LAN when the window opens")
	completeWords(cmd, "end", string(wire.Reboot), string(wire.PowerOff), string(wire.OpenShell), string(wire.Stay))
	cmd.ValidArgsFunction = o.state.machineWords()
}

// addDiskFlag adds the flag --disk.
func addDiskFlag(cmd *cobra.Command, o *jobOrder) {
	cmd.Flags().StringVar(&o.disk, "disk", "", `the `+"`RULE`"+` that says which disk is meant, like serial=S4EWNX0R or min=200G,transport=nvme (default: the machine's, or else the only internal disk)`)
}

// addImageFlag adds the flags that name an image.
func addImageFlag(cmd *cobra.Command, o *jobOrder, usage string) {
	addStoreFlag(cmd, &o.store)
	cmd.Flags().StringVar(&o.image, "image", "", usage)
	err := cmd.RegisterFlagCompletionFunc("image", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return o.store.names(), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag's name is wrong
	}
}

func newJobRestoreCmd(env *env) *cobra.Command {
	var o jobOrder
	cmd := &cobra.Command{
		Use:   "restore --image NAME[@VERSION] MACHINE...",
		Short: "Restore an image to the disks of machines",
		Long: `Restore overwrites the disk of each MACHINE with an image of the store. All data
on it is lost. Which version that is, is settled now: a later one does not change
the job. Several machines get it in one multicast session.

The image must be one of those that the catalog names (slipcast catalog release
--image). --apply brings bundles of the catalog to what was restored, and what
these require; those that are there already are left alone.

A clone gets a name, a machine-id and SSH host keys of its own; --as-is leaves
them as they are in the image.`,
		Example: `  slipcast job create restore --image lab room12-01 room12-02
  slipcast job create restore --image lab@7 --all --not-before 22:30 --wake --end poweroff
  slipcast job create restore --image lab --all --apply '*'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.separate = cmd.Flags().Changed("multicast") && !o.multicast
			return runJobCreate(cmd.Context(), env, wire.Restore, args, o)
		},
	}
	addOrderFlags(cmd, &o)
	addImageFlag(cmd, &o, "restore the image `NAME[@VERSION]` of the store")
	addDiskFlag(cmd, &o)
	f := cmd.Flags()
	f.BoolVar(&o.yes, "yes", false, "overwrite the disks without asking")
	f.BoolVar(&o.multicast, "multicast", false, "use one session for all (default if there are several machines)")
	f.BoolVar(&o.options.Delta, "delta", false, "read the disk and write only what differs")
	f.BoolVar(&o.options.Grow, "grow", false, "extend the last partition and its file system to the end of the disk")
	f.BoolVar(&o.options.Verify, "verify", false, "read everything back at the end")
	f.StringVar(&o.options.Hostname, "hostname", "", "call the clone `NAME` (default: the machine's)")
	f.BoolVar(&o.options.AsIs, "as-is", false, "leave name, machine-id and keys as they are in the image")
	f.StringSliceVar(&o.options.Apply, "apply", nil, "apply the `BUNDLES` (NAME, NAME@VERSION), or * for all that are missing, to what was restored")
	f.StringVar(&o.answer, "answer-file", "", "the Windows answer file `FILE` for the clone")
	return cmd
}

func newJobCaptureCmd(env *env) *cobra.Command {
	var o jobOrder
	cmd := &cobra.Command{
		Use:     "capture --image NAME MACHINE",
		Short:   "Capture the disk of a machine into the store",
		Long:    "Capture makes a new version of the image NAME in the server's store from the disk\nof MACHINE. The disk is only read.",
		Example: "  slipcast job create capture --image lab room12-01",
		Args:    operands("MACHINE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runJobCreate(cmd.Context(), env, wire.Capture, args, o)
		},
	}
	addOrderFlags(cmd, &o)
	addImageFlag(cmd, &o, "capture to the image `NAME`")
	addDiskFlag(cmd, &o)
	cmd.Flags().StringVar(&o.options.Level, "level", "", "how hard to compress, `LEVEL`, as that of capture")
	return cmd
}

// newJobPlainCmd returns the command for a kind of job without an image.
func newJobPlainCmd(env *env, kind wire.Kind, short, warning string) *cobra.Command {
	var o jobOrder
	cmd := &cobra.Command{
		Use:     string(kind) + " MACHINE...",
		Short:   short,
		Long:    short + ". " + warning,
		Example: fmt.Sprintf("  slipcast job create %s room12-01", kind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runJobCreate(cmd.Context(), env, kind, args, o)
		},
	}
	addOrderFlags(cmd, &o)
	if kind == wire.Wipe {
		addDiskFlag(cmd, &o)
		cmd.Flags().BoolVar(&o.yes, "yes", false, "wipe the disks without asking")
	}
	return cmd
}

// runJobCreate makes a job of a kind for each machine.
func runJobCreate(ctx context.Context, env *env, kind wire.Kind, args []string, o jobOrder) error {
	order, err := o.order(kind, time.Now())
	if err != nil {
		return err
	}
	return o.state.use(ctx, func(db *fleet.Fleet) error {
		list, err := chosen(ctx, db, args, o.all)
		if err != nil {
			return err
		}
		for _, m := range list {
			order.Machines = append(order.Machines, m.ID)
		}
		order.Options.Multicast = kind == wire.Restore && (o.multicast || len(list) > 1 && !o.separate)
		if order.Image, err = o.resolve(ctx, kind); err != nil {
			return err
		}
		if kind == wire.Restore {
			if err := releasedIn(ctx, o.store.dir, order.Image, order.Options.Apply); err != nil {
				return err
			}
		}
		if err := o.confirm(ctx, env, order, list); err != nil {
			return err
		}
		jobs, err := db.Create(ctx, order)
		if err != nil {
			return err
		}
		for i := range jobs {
			env.tellJob(&jobs[i], "waits for its machine "+window(&jobs[i]))
		}
		return nil
	})
}

// window says when a job may begin.
func window(j *fleet.Job) string {
	until := "until " + j.NotAfter.Local().Format("Mon 2006-01-02 15:04")
	if time.Now().Before(j.NotBefore) {
		return "from " + j.NotBefore.Local().Format("Mon 2006-01-02 15:04") + " " + until
	}
	return until
}

// order returns what the flags say, without machines and image.
func (o *jobOrder) order(kind wire.Kind, now time.Time) (fleet.Order, error) {
	order := fleet.Order{Kind: kind, Options: o.options, By: person(), NotBefore: now}
	if o.image == "" && (kind == wire.Restore || kind == wire.Capture) {
		return order, usagef("%s: --image is missing; see slipcast help job create %s", kind, kind)
	}
	order.Options.End = wire.End(o.end)
	err := wire.CheckApply(order.Options.Apply)
	if err != nil {
		return order, usagef("job create: --apply: %w", err)
	}
	if order.Options.Disk, err = fleet.ParseRule(o.disk); err != nil {
		return order, usagef("job create: --disk: %w", err)
	}
	if o.notBefore != "" {
		if order.NotBefore, err = parseMoment(o.notBefore, now); err != nil {
			return order, usagef("job create: --not-before: %w", err)
		}
	}
	if order.NotAfter, err = parseMoment(cmp.Or(o.notAfter, fleet.Window.String()), order.NotBefore); err != nil {
		return order, usagef("job create: --not-after: %w", err)
	}
	if o.answer != "" {
		text, err := os.ReadFile(o.answer)
		if err != nil {
			return order, err
		}
		order.Answer = string(text)
	}
	return order, nil
}

// parseMoment reads a time of day, which is the next one after from, a date
// with a time, or a duration from then.
func parseMoment(text string, from time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return from.Add(d), nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, from.Location()); err == nil {
			return t, nil
		}
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return t, fmt.Errorf("%q is no time, like 22:30, 2h, or 2026-11-30 22:30", text)
	}
	day := from
	next := func() time.Time {
		return time.Date(day.Year(), day.Month(), day.Day(), t.Hour(), t.Minute(), 0, 0, from.Location())
	}
	if next().Before(from) {
		day = day.AddDate(0, 0, 1)
	}
	return next(), nil
}

// resolve returns the image that a job is about: to restore, the version that
// the name means now.
func (o *jobOrder) resolve(ctx context.Context, kind wire.Kind) (fleet.Image, error) {
	switch kind {
	case wire.Capture:
		ref, err := store.ParseRef(o.image)
		if err != nil || ref.Version != "" {
			return fleet.Image{}, usagef("job create: --image is a name without a version, not %q", o.image)
		}
		return fleet.Image{Ref: o.image}, nil
	case wire.Restore:
		s, err := o.store.open()
		if err != nil {
			return fleet.Image{}, err
		}
		return storeImages{s}.Resolve(ctx, o.image)
	}
	return fleet.Image{}, nil
}

// shownTargets is how many machines are named before they are overwritten.
const shownTargets = 20

// confirm names the machines whose disks will be overwritten, and asks.
func (o *jobOrder) confirm(ctx context.Context, env *env, order fleet.Order, list []fleet.Machine) error {
	if order.Kind != wire.Restore && order.Kind != wire.Wipe || o.yes {
		return nil
	}
	for i, m := range list {
		if i == shownTargets {
			env.say("  and %d more", len(list)-i)
			break
		}
		env.say("  %s, %s %s, %s", m.Name, m.Vendor, m.Product, m.MAC)
	}
	return env.confirm(ctx, fmt.Sprintf("The disks of %s will be overwritten%s.", count(len(list), "machine"), withImage(order.Image)))
}

func withImage(im fleet.Image) string {
	if im.Ref == "" {
		return ""
	}
	return " with " + im.Ref
}
