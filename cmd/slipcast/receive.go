package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

type receiveOptions struct {
	restoreOptions
	session     string
	from        string
	key         string
	fingerprint fingerprint
	iface       string
	unicast     bool
	search      time.Duration
	memory      byteSize
	id          string
	bundlesTo   string
}

func newReceiveCmd(env *env) *cobra.Command {
	var opt receiveOptions
	cmd := &cobra.Command{
		Use:   "receive TARGET",
		Short: "Write the image that slipcast send sends to a disk, a partition or a file",
		Long: `Receive finds the session of a slipcast send on the network and writes its image
to TARGET, like restore: every chunk is checked before it is written, the
partition table comes last, all data on TARGET is lost, and off a terminal
receive refuses to start without --yes.

It may come late and leave at any moment. Started again, it goes on with what is
right on TARGET. Where multicast does not work, it says so and fetches by HTTPS
from the same sender. If several sessions are on the network, --session or
--from chooses one.

Without --key or --fingerprint any sender on the network is believed; what it
sends is shown before it is confirmed.`,
		Example: `  slipcast receive /dev/sda
  slipcast receive --session room-12 --yes --delta /dev/sda`,
		Args: operands("TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runReceive(cmd.Context(), env, args[0], opt)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opt.session, "session", "", "take part in the session `NAME` (default: the only one there is)")
	f.StringVar(&opt.from, "from", "", "take the session of the sender at `ADDR`, with or without a port")
	f.StringVar(&opt.key, "key", "", "take part only if the sender knows this `KEY` (also SLIPCAST_KEY, which ps does not show)")
	f.Var(&opt.fingerprint, "fingerprint", "take part only if this is the sender's fingerprint")
	f.StringVar(&opt.iface, "interface", "", "receive on the interface `NAME`")
	f.BoolVar(&opt.unicast, "unicast", false, "do without multicast")
	f.DurationVar(&opt.search, "search", 10*time.Minute, "look this `time` for the session")
	f.Var(&opt.memory, "memory", "keep frames on their way in this much memory, like 512MiB (default: 128MiB)")
	f.StringVar(&opt.id, "id", "", "be this `NAME` to the sender, which tells machines apart by it (default: MAC address and TARGET)")
	f.StringVar(&opt.bundlesTo, "bundles-to", "", "keep bundles that come behind the image in the folder `DIR`, in half of what is free there")
	addOverwriteFlags(cmd, &opt.restoreOptions)
	return cmd
}

// usualMemory is how much memory frames on their way take, in bytes, unless
// --memory says otherwise.
const usualMemory = 128 << 20

// runReceive receives an image to the target at dst.
func runReceive(ctx context.Context, env *env, dst string, opt receiveOptions) (err error) {
	switch {
	case dst == "-":
		return usagef("receive: TARGET must be a disk, a partition or a file; what comes is in no order, so a pipe cannot take it")
	case opt.search < 0:
		return usagef("receive: --search is a time from now on")
	}
	if err := checkSessionName("receive", "session", opt.session); err != nil {
		return err
	}
	if opt.key, err = sessionKey(opt.key); err != nil {
		return err
	}
	r := &receiving{how: opt, began: time.Now(), view: newReceiveView(env)}
	r.overwrite = overwrite{
		env: env, dst: dst, opt: opt.restoreOptions,
		again: "receive it again before it is used; what is right already is kept",
	}
	if err := r.hold(func() error { return r.run(ctx) }); err != nil {
		return fmt.Errorf("receiving to %s: %w", dst, err)
	}
	return nil
}
