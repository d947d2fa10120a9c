package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/agent/wire"
	"slipcast/catalog/trust"
	"slipcast/internal/progress"
	"slipcast/pxe/bootenv"
	"slipcast/pxe/debian"
)

// bootBuildOptions are the flags of boot build.
type bootBuildOptions struct {
	build  bootenv.Options
	arch   string
	suite  string
	inUse  string // --for
	server string
	pin    pin
	trust  string // file of a root
	state  string
	store  string
}

func newBootBuildCmd(env *env) *cobra.Command {
	var opt bootBuildOptions
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Make the boot folder",
		Long: `Build makes the folder that slipcast serve hands out: boot loaders from Debian's
packages, which it fetches, checks and unpacks itself; a kernel with the modules
and firmware for the network cards and disks of many machines; and this program
as the agent.

The kernel of Debian is signed for Secure Boot; that of this host, or one in a
file, boots with Secure Boot only where Debian has signed it.

The set virt is for virtual machines; desk has desktops and laptops, too; wide
has servers. --for trims to the machines in FILE: what slipcast machine show
--json prints of each.

With --server it also makes ARCH/boot.img, one file for UEFI HTTP boot and for a
USB stick (dd if=boot.img of=/dev/sdX), whose agent goes to that server. It has
the root of the catalog in the store built in, by which the agent knows what it may
restore; without one it restores nothing.

A server that hands out the folder goes on meanwhile: the new folder takes the
place of the old one in one step, when it is whole.`,
		Example: `  slipcast boot build
  slipcast boot build --set virt -o boot
  slipcast boot build --server https://10.0.5.1:8443`,
		Args: operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applySettings(cmd); err != nil {
				return err
			}
			return runBootBuild(cmd.Context(), env, opt)
		},
	}
	addBootBuildFlags(cmd, &opt)
	return cmd
}

func addBootBuildFlags(cmd *cobra.Command, opt *bootBuildOptions) {
	b, f := &opt.build, cmd.Flags()
	f.StringVarP(&b.Dir, "output", "o", bootDir(), "make the folder `DIR`")
	f.StringVar(&opt.arch, "arch", "x64", "build for `ARCH`: x64 or arm64")
	f.StringVar(&b.Set, "set", bootenv.Desk, "take the modules of `SET`: virt, desk or wide")
	f.StringVar(&opt.inUse, "for", "", "take only what the machines in `FILE` need")
	f.StringArrayVar(&b.AddModules, "add-module", nil, "take the module `NAME` and what it needs, too; may be given several times")
	f.StringVar(&b.Kernel, "kernel", bootenv.DebianKernel, "take the `KERNEL` of debian, of this host, or in a file")
	f.StringVar(&b.Modules, "modules", "", "take the modules of a kernel in a file from the folder `DIR`")
	f.StringVar(&b.Firmware, "firmware", "", "take firmware from the folder `DIR` and not from Debian")
	f.StringVar(&b.Agent, "agent", "", "take the static program `FILE` as the agent (default: this program)")
	f.StringVar(&opt.server, "server", "", "make a boot.img whose agent goes to the server at `URL`")
	f.StringSliceVar(&opt.build.Args, "args", nil, "`WORDS` for the command line of the kernel in boot.img, like console=ttyS0")
	f.Var(&opt.pin, "pin", "that server's key: SHA-256 in `HEX` (default: the key of the server of this host)")
	f.StringVar(&opt.trust, "trust", "", "that server's catalog is the one of the root in `FILE` (default: that of the store of this host)")
	f.StringVar(&opt.state, "state", stateDir(""), "the folder `DIR` of that server (also SLIPCAST_STATE)")
	f.StringVar(&opt.store, "store", defaultStore, "the store `DIR` of that server")
	f.StringVar(&opt.suite, "suite", "trixie", "the suite `NAME` of Debian, with its updates and security updates")
	f.StringVar(&b.Debian.Mirror, "mirror", "http://deb.debian.org/debian", "fetch packages from `URL`")
	f.StringVar(&b.Debian.Security, "security-mirror", "http://deb.debian.org/debian-security", "fetch security updates from `URL`")
	f.StringVar(&b.Debian.Keyring, "keyring", "", "trust the keys in `FILE` (default: Debian's in /usr/share/keyrings)")
	f.StringVar(&b.Debian.Cache, "cache", cacheDir(), "keep packages in the folder `DIR`")
	settings(cmd, "state", "store")
}

// cacheDir returns the folder for what may be deleted.
func cacheDir() string {
	if os.Geteuid() == 0 {
		return "/var/cache/slipcast"
	}
	home, err := os.UserCacheDir()
	if err != nil {
		home = os.TempDir()
	}
	return filepath.Join(home, "slipcast")
}

// runBootBuild makes a boot folder.
func runBootBuild(ctx context.Context, env *env, opt bootBuildOptions) error {
	began := time.Now()
	if err := opt.settle(); err != nil {
		return err
	}
	if err := opt.settleTicket(ctx, env); err != nil {
		return err
	}
	meter := env.meter("reading Debian's lists of packages", "build", 0)
	opt.build.Stage = meter.Relabel
	opt.build.Debian.Progress = meter.Add
	result, err := bootenv.Build(ctx, opt.build)
	meter.Done(err)
	if err != nil {
		return fmt.Errorf("building %s: %w", opt.build.Dir, err)
	}
	for _, r := range result.Releases {
		if r.Offline != nil {
			env.note(r.Suite, offlineNote(r))
		}
	}
	env.warnBoot(result.Findings)
	env.showBoot(opt.build.Dir, result.Manifest, result.Findings, result.Arch)
	env.say("built %s for %s in %s", opt.build.Dir, result.Arch, progress.Duration(time.Since(began)))
	return nil
}

// offlineNote says that the mirror was not asked.
func offlineNote(r debian.Release) string {
	text := "the mirror does not answer; packages are those of " + r.Date.Format(time.DateOnly)
	if r.Expired(time.Now()) {
		text += ", and newer ones must be there"
	}
	return text
}

// settle checks the flags and fills in what they stand for.
func (opt *bootBuildOptions) settle() error {
	b := &opt.build
	b.Arch, b.Version = bootenv.Arch(opt.arch), version
	if b.Arch != bootenv.X64 && b.Arch != bootenv.ARM64 {
		return usagef("boot build: --arch: %q is neither x64 nor arm64", opt.arch)
	}
	if b.Set != bootenv.Virt && b.Set != bootenv.Desk && b.Set != bootenv.Wide {
		return usagef("boot build: --set: %q is not virt, desk or wide", b.Set)
	}
	inFile := b.Kernel != bootenv.DebianKernel && b.Kernel != bootenv.HostKernel
	if inFile != (b.Modules != "") {
		return usagef("boot build: --modules goes with a --kernel in a file")
	}
	b.Debian.Suites = []string{opt.suite, opt.suite + "-updates", opt.suite + "-security"}
	if err := opt.settleAgent(); err != nil {
		return err
	}
	if opt.inUse == "" {
		return nil
	}
	var err error
	b.Modaliases, err = readModaliases(opt.inUse)
	return err
}

// settleAgent finds the program that becomes the agent.
func (opt *bootBuildOptions) settleAgent() (err error) {
	if opt.build.Agent == "" {
		opt.build.Agent, err = os.Executable()
	}
	return err
}

// settleTicket makes what a boot.img has built in, docs/boot.md, section 5.
func (opt *bootBuildOptions) settleTicket(ctx context.Context, env *env) error {
	if opt.server == "" {
		return opt.refuseTicket()
	}
	for _, w := range opt.build.Args {
		if err := bootenv.CheckArg(w); err != nil {
			return usagef("boot build: --args: %w", err)
		}
	}
	u, err := url.Parse(opt.server)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return usagef("boot build: --server: %q is not https://ADDRESS:PORT", opt.server)
	}
	pin, err := opt.serverPin()
	if err != nil {
		return err
	}
	ticket, err := json.Marshal(wire.Ticket{Schema: wire.Schema, Servers: []string{"https://" + u.Host}, Pin: pin})
	if err != nil {
		return err
	}
	opt.build.Ticket = []bootenv.Entry{{Name: wire.TicketPath, Data: ticket}}
	root, err := opt.trusted(ctx)
	if errors.Is(err, trust.ErrNotCatalog) {
		env.note("boot.img", "the store has no catalog, so machines that start from it restore nothing; slipcast catalog init makes one")
		return nil
	}
	if err != nil {
		return err
	}
	opt.build.Ticket = append(opt.build.Ticket, bootenv.Entry{Name: wire.RootPath, Data: root})
	return nil
}

// refuseTicket refuses flags that are for a boot.img alone.
func (opt *bootBuildOptions) refuseTicket() error {
	switch {
	case len(opt.pin) > 0:
		return usagef("boot build: --pin needs a --server")
	case opt.trust != "":
		return usagef("boot build: --trust needs a --server; slipcast serve gives machines that boot from the network the root of its catalog")
	case len(opt.build.Args) > 0:
		return usagef("boot build: --args needs a --server; slipcast serve --args is for machines that boot from the network")
	}
	return nil
}

// trusted returns the root of the server's catalog.
func (opt *bootBuildOptions) trusted(ctx context.Context) ([]byte, error) {
	if opt.trust != "" {
		text, err := readBoundedFile(opt.trust, wire.MaxRoot)
		if err == nil {
			_, err = trust.ParseRoot(text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", opt.trust, err)
		}
		return text, nil
	}
	repository, err := trust.OpenRepository(filepath.Join(opt.store, catalogFolder))
	if err != nil {
		return nil, err
	}
	root, err := repository.Root(ctx)
	if err != nil {
		return nil, err
	}
	return root.Encode(), nil
}

// serverPin returns the pin of the server: that which was given, else that of
// this host's server.
func (opt *bootBuildOptions) serverPin() (string, error) {
	if len(opt.pin) > 0 {
		return hex.EncodeToString(opt.pin), nil
	}
	key, err := openServerKey(cmp.Or(opt.state, stateDir("")))
	if err != nil {
		return "", err
	}
	return key.pin, nil
}
