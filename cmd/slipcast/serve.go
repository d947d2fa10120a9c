package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/fleet"
	"slipcast/pxe"
)

// serveOptions are the settings of serve, as they are given.
type serveOptions struct {
	config       string
	check        bool
	iface        string
	dhcp         string
	pool         string
	router       string
	dns          []string
	proxyRequest bool
	boot         string
	store        string
	state        string
	http         uint16
	https        uint16
	tlsCert      string
	tlsKey       string
	onlineKey    string
	unknown      string
	loader       string
	args         []string
	networks     []string
	sharedUUIDs  []string
	tokenless    bool
	private      bool
	rate         bitRate
	gather       time.Duration
}

// Words of --unknown.
const (
	unknownInventory = "inventory"
	unknownIgnore    = "ignore"
)

func newServeCmd(env *env) *cobra.Command {
	var opt serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Boot machines from the network and rebuild them",
		Long: `Serve boots machines from the network, gives them their jobs, and sends them
their images. It is one process: proxyDHCP, TFTP, HTTP, HTTPS, multicast
sessions, and a status page. It needs a boot folder (slipcast boot build), a
store (slipcast store add) and in that a catalog, which says what machines may be
given (slipcast catalog init); jobs are made by slipcast job create, also while it
runs, or on its page.

By default it stands beside the network's DHCP server and answers only machines
that boot from the network. A machine that it does not know boots once to tell
what it is made of, and then its own disk. A machine without a job boots its own
disk at once.

Serve ends with Ctrl-C or SIGTERM, and then with the exit code 0. What is under
way goes on when it is started again.

Every flag but --check and --config may be a line of the configuration file,
such as "dhcp: proxy", or a variable, such as SLIPCAST_DHCP.`,
		Example: `  slipcast serve --check
  slipcast serve --interface enp3s0
  slipcast serve --interface enp3s0 --dhcp full --pool 10.0.5.100-10.0.5.200`,
		Args: operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runServe(cmd.Context(), env, opt)
		},
	}
	cmd.Flags().StringVar(&opt.config, "config", "", "read settings from `FILE` (default: /etc/slipcast/config.yaml, if there is one)")
	cmd.Flags().BoolVar(&opt.check, "check", false, "say what is wrong, and start nothing")
	addNetworkSettings(cmd, &opt)
	addServerSettings(cmd, &opt)
	settings(cmd, "interface", "dhcp", "pool", "router", "dns", "proxy-request", "boot", "store", "state", "http", "https",
		"tls-cert", "tls-key", "online-key", "unknown", "loader", "args", "networks", "shared-uuids", "tokenless", "private", "rate", "gather")
	completeWords(cmd, "dhcp", dhcpModes()...)
	completeWords(cmd, "unknown", unknownInventory, unknownIgnore)
	completeWords(cmd, "loader", loaders()...)
	return cmd
}

// addNetworkSettings adds what is said of the network and its DHCP.
func addNetworkSettings(cmd *cobra.Command, o *serveOptions) {
	f := cmd.Flags()
	f.StringVar(&o.iface, "interface", "", "serve the network at the interface `NAME` (default: that of the default route)")
	f.StringVar(&o.dhcp, "dhcp", string(pxe.Proxy), "answer DHCP `HOW`: "+strings.Join(dhcpModes(), ", "))
	f.StringVar(&o.pool, "pool", "", "addresses to give, `FIRST-LAST`, for --dhcp targeted and full")
	f.StringVar(&o.router, "router", "", "router to tell with --dhcp full, `ADDR`")
	f.StringSliceVar(&o.dns, "dns", nil, "name servers to tell with --dhcp full, `ADDR`s")
	f.BoolVar(&o.proxyRequest, "proxy-request", false, "answer requests on port 67 as a proxy, too, for firmware that wants it")
	f.StringSliceVar(&o.networks, "networks", nil, "answer machines behind a router or DHCP relay on these networks, too, `PREFIXES` like 10.0.6.0/24")
}

// addServerSettings adds what is said of the server and its machines.
func addServerSettings(cmd *cobra.Command, o *serveOptions) {
	f := cmd.Flags()
	f.StringVar(&o.boot, "boot", "", "hand out the boot folder `DIR` (default: boot in the state folder)")
	f.StringVar(&o.store, "store", defaultStore, "take images from the store `DIR`; it is made if there is none")
	f.StringVar(&o.state, "state", stateDir(""), "keep machines, jobs and the server's key in `DIR`")
	f.Uint16Var(&o.http, "http", 80, "hand out boot files by HTTP at `PORT`")
	f.Uint16Var(&o.https, "https", 8443, "talk to agents, and show the status page, at `PORT`")
	f.StringVar(&o.tlsCert, "tls-cert", "", "certificate for HTTPS, `FILE` (default: one that is made)")
	f.StringVar(&o.tlsKey, "tls-key", "", "its key, `FILE`")
	f.StringVar(&o.onlineKey, "online-key", "", "sign jobs, and the catalog once a day, with the key in `FILE` (default: online.key in the state folder)")
	f.StringVar(&o.unknown, "unknown", unknownInventory, "what to do with unknown machines, `WHAT`: inventory, ignore")
	f.StringVar(&o.loader, "loader", string(pxe.Shim), "what UEFI machines load first, `WHAT`: "+strings.Join(loaders(), ", "))
	f.StringSliceVar(&o.args, "args", nil, "`WORDS` for the kernel's command line, like console=ttyS0")
	f.StringSliceVar(&o.sharedUUIDs, "shared-uuids", nil, "tell machines with these `UUIDS` apart by other means: several boards have them")
	f.BoolVar(&o.tokenless, "tokenless", false, "give jobs to machines that were started from a stick, too")
	f.BoolVar(&o.private, "private", false, "show the status page to those only who sign in")
	f.Var(&o.rate, "rate", "never send images faster than this, like 900mbit (default: 98 % of the link)")
	f.DurationVar(&o.gather, "gather", defaultGather, "wait this `time` for all machines of a session to boot")
}

// dhcpModes returns the words for --dhcp.
func dhcpModes() []string {
	return []string{string(pxe.Proxy), string(pxe.Targeted), string(pxe.Full), string(pxe.Off)}
}

// loaders returns the words for --loader.
func loaders() []string {
	return []string{string(pxe.Shim), string(pxe.IPXE), string(pxe.Image)}
}

// verify refuses settings that make no sense.
func (o *serveOptions) verify() error {
	switch {
	case !slices.Contains(dhcpModes(), o.dhcp):
		return usagef("serve: --dhcp is %s, not %q", strings.Join(dhcpModes(), ", "), o.dhcp)
	case !slices.Contains(loaders(), o.loader):
		return usagef("serve: --loader is %s, not %q", strings.Join(loaders(), ", "), o.loader)
	case o.unknown != unknownInventory && o.unknown != unknownIgnore:
		return usagef("serve: --unknown is inventory or ignore, not %q", o.unknown)
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return usagef("serve: --tls-cert and --tls-key belong together")
	case o.http == 0 || o.https == 0 || o.http == o.https:
		return usagef("serve: --http and --https are two ports")
	case o.gather <= 0:
		return usagef("serve: --gather is a time to wait, not %v", o.gather)
	case slices.ContainsFunc(o.sharedUUIDs, func(text string) bool { return !fleet.IsUUID(text) }):
		return usagef("serve: --shared-uuids are UUIDs in lower case, not %q", o.sharedUUIDs)
	case o.pool != "" && (o.dhcp == string(pxe.Proxy) || o.dhcp == string(pxe.Off)):
		return usagef("serve: --pool is for --dhcp targeted or full")
	}
	return nil
}

// runServe serves until ctx ends.
func runServe(ctx context.Context, env *env, opt serveOptions) error {
	if err := opt.verify(); err != nil {
		return err
	}
	s := &server{env: env, opt: opt, log: env.serverLog()}
	if err := s.serve(ctx); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
