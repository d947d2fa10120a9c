package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/multicast"
)

type sendOptions struct {
	from       *imageFlags
	name       string
	wait       int
	startAfter time.Duration
	settle     time.Duration
	linger     time.Duration
	rate       bitRate
	minRate    bitRate
	iface      string
	ipv6       bool
	hops       int
	listen     string
	straggler  string
	key        string
	status     string
}

func newSendCmd(env *env) *cobra.Command {
	opt := sendOptions{from: new(imageFlags)}
	cmd := &cobra.Command{
		Use:   "send IMAGE",
		Short: "Send an image to any number of machines at once",
		Long: `Send offers IMAGE to every machine on the network that runs slipcast receive, and
sends it to all of them at the cost of about one transmission, by UDP multicast.
It begins when --wait machines are ready or --start-after has passed, whichever
comes first; without --wait, --settle after the first one was ready. Later ones
get what they missed. It ends when all are done or given up.

A receiver that gets no multicast fetches the image by HTTPS. One that cannot
keep up does not hold up the others; --straggler says what becomes of it:
catchup serves it when the others are done, park gives it a slower channel of
its own, unicast lets it fetch by HTTPS, drop gives it up.

Receivers know the sender by --key, or by the fingerprint that send prints.
The status page shows who is there and how far they are; whoever reaches ADDR
can read it.

` + imageHelp,
		Example: `  slipcast send room-12.img.zst
  slipcast send --wait 20 --start-after 15m --rate 900mbit room-12.img.zst
  slipcast send --status :8080 --interface enp3s0 room-12.img.zst`,
		Args: operands("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSend(cmd.Context(), env, args[0], opt)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opt.name, "name", "", "call the session `NAME` (default: IMAGE without its folder and .img.zst)")
	f.IntVar(&opt.wait, "wait", 0, "begin when `N` receivers are ready")
	f.DurationVar(&opt.startAfter, "start-after", 10*time.Minute, "begin after this `time` at the latest; ends if nobody is there then")
	f.DurationVar(&opt.settle, "settle", 5*time.Second, "without --wait, begin this `time` after the first receiver was ready")
	f.DurationVar(&opt.linger, "linger", 0, "stay this `time` for more receivers after the last one is done")
	f.Var(&opt.rate, "rate", "never put more than this onto the wire, like 98mbit or 2.5gbit (default: 98 % of the link)")
	f.Var(&opt.minRate, "min-rate", "never send slower because of loss (default: 5mbit, or a twentieth of the most)")
	f.StringVar(&opt.iface, "interface", "", "send on the interface `NAME`")
	f.BoolVar(&opt.ipv6, "ipv6", false, "send by IPv6")
	f.IntVar(&opt.hops, "hops", 1, "let data pass `N`-1 routers")
	f.StringVar(&opt.listen, "listen", "", "let receivers connect to `ADDR`, address and port (default: port 7780, or any if that is taken)")
	f.StringVar(&opt.straggler, "straggler", string(multicast.CatchUp), "what becomes of receivers that cannot keep up, `WHAT`: "+strings.Join(stragglers(), ", "))
	f.StringVar(&opt.key, "key", "", "send to those only who know this `KEY` (also SLIPCAST_KEY, which ps does not show)")
	f.StringVar(&opt.status, "status", "", "show the session on a web page at `ADDR`, like :8080")
	addImageFlags(cmd, opt.from)
	completeWords(cmd, "straggler", stragglers()...)
	return cmd
}

// stragglers returns the words for --straggler.
func stragglers() []string {
	return []string{string(multicast.CatchUp), string(multicast.Park), string(multicast.Unicast), string(multicast.Drop)}
}

// check refuses what the session cannot do, and fills in the name and the key.
func (o *sendOptions) check(path string) (err error) {
	o.name = cmp.Or(o.name, imageName(path))
	if err := checkSessionName("send", "name", o.name); err != nil {
		return err
	}
	switch {
	case path == "-":
		return usagef("send: IMAGE must be a file; frames that got lost are read from it again")
	case o.wait < 0:
		return usagef("send: --wait is a number of receivers, not %d", o.wait)
	case min(o.startAfter, o.settle, o.linger) < 0:
		return usagef("send: --start-after, --settle and --linger are times from now on")
	case o.hops < 1 || o.hops > 255:
		return usagef("send: --hops is 1 to 255, not %d", o.hops)
	case o.rate != 0 && o.minRate > o.rate:
		return usagef("send: --min-rate is above --rate")
	case !slices.Contains(stragglers(), o.straggler):
		return usagef("send: --straggler is %s, not %q", strings.Join(stragglers(), ", "), o.straggler)
	}
	o.key, err = sessionKey(o.key)
	return err
}

// imageName returns what an image is called without its folder and endings.
func imageName(path string) string {
	name := filepath.Base(path)
	return cmp.Or(strings.TrimSuffix(strings.TrimSuffix(name, ".zst"), ".img"), name)
}

// runSend sends the image at path.
func runSend(ctx context.Context, env *env, path string, opt sendOptions) error {
	if err := opt.check(path); err != nil {
		return err
	}
	if err := send(ctx, env, path, opt); err != nil {
		return fmt.Errorf("sending %s: %w", path, err)
	}
	return nil
}

func send(ctx context.Context, env *env, path string, opt sendOptions) error {
	im, err := openImageFile(ctx, path, opt.from)
	if err != nil {
		return err
	}
	defer im.Close()
	source, err := newImageSource(im.Image)
	if err != nil {
		return err
	}
	s := &sending{
		env: env, path: path, opt: opt, im: im, began: time.Now(),
		up: make(chan multicast.Address, 1), notes: make(chan string, 16),
	}
	s.sender = s.newSender(source)
	if opt.status != "" {
		if s.page, err = openStatusPage(opt.status, s.status); err != nil {
			return err
		}
	}
	s.view = s.newView()
	return s.run(ctx)
}
