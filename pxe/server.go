package pxe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"slipcast/pxe/tftp"
)

// A Mode is what a Server does on port 67, docs/boot.md, section 3.
type Mode string

// The modes. The empty Mode is Proxy.
const (
	Proxy    Mode = "proxy"    // names boot files, beside another DHCP server
	Targeted Mode = "targeted" // and gives an address to machines that are to boot the boot environment
	Full     Mode = "full"     // gives addresses to everybody
	Off      Mode = "off"      // no DHCP
)

// Ports are those that a Server listens on. Zero is the usual one: 67, 4011,
// 69 and 80.
type Ports struct {
	DHCP, Boot, TFTP, HTTP uint16
}

// A Server boots machines on one network. Its fields are set before its
// methods are called, and not changed after that. Its methods are safe for
// concurrent use.
type Server struct {
	// Interface is the name of the network interface. Nothing is answered on
	// any other one.
	Interface string

	// Address is ours on the interface, with the length of its network:
	// 10.0.5.1/24. See [Locate].
	Address netip.Prefix

	// Folder is the boot folder. It may be replaced at any time: each file is
	// looked up when it is asked for.
	Folder string

	// Director decides what becomes of machines. It must not be nil.
	Director Director

	Mode Mode

	// ProxyRequest answers requests on port 67 in the modes proxy and
	// targeted, too: a few ROMs wait for that. It confuses others.
	ProxyRequest bool

	// Pool, Router and DNS are what the modes targeted and full give. State is
	// the folder where they keep their leases; it must exist.
	Pool   Pool
	Router netip.Addr // not valid is none
	DNS    []netip.Addr
	State  string

	// Networks are those behind a router or relay whose machines are answered
	// too. Nobody else that is not on the network of Address is sent anything.
	Networks []netip.Prefix

	Loader Loader   // of UEFI machines, where the Director names none; empty is Shim
	Args   []string // words for the kernel's command line of every machine

	Ports Ports

	// Mounted tells that HTTPHandler is served by somebody else, at the port
	// in Ports: Serve leaves HTTP alone.
	Mounted bool

	Log *slog.Logger // nil is silence

	counters counters
	chatter  chatter
	boots    boots
	tftp     tftp.Server
}

// Serve answers machines until ctx is done, and then returns nil. An error
// that wraps [ErrPortTaken] is a *[PortError]. It is called once.
func (s *Server) Serve(ctx context.Context) error {
	if err := s.valid(); err != nil {
		return err
	}
	var leases *leases
	if s.leasing() {
		var err error
		if leases, err = s.openLeases(); err != nil {
			return err
		}
	}
	sockets, err := s.listen()
	if err != nil {
		return err
	}
	defer sockets.close()
	g, gctx := errgroup.WithContext(ctx)
	s.start(gctx, g, sockets, &responder{s: s, leases: leases})
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// start serves each socket.
func (s *Server) start(ctx context.Context, g *errgroup.Group, sockets *sockets, r *responder) {
	if sockets.dhcp != nil {
		g.Go(func() error { return s.serveDHCP(ctx, sockets.dhcp, r.onServerPort) })
		g.Go(func() error { return s.serveDHCP(ctx, sockets.boot, r.onBootPort) })
	}
	g.Go(func() error { return s.serveTFTP(ctx, sockets.tftp) })
	if sockets.http != nil {
		g.Go(func() error { return s.serveHTTP(ctx, sockets.http) })
	}
	s.log().Info("network boot is served", "interface", s.Interface, "address", s.addr(), "dhcp", s.mode(), "url", s.url())
}

// valid tells what is wrong with the fields.
func (s *Server) valid() error {
	switch {
	case s.Director == nil:
		return errors.New("no director")
	case !s.Address.IsValid() || !s.addr().Is4():
		return fmt.Errorf("%v is no IPv4 address with the length of its network", s.Address)
	case s.mode() != Proxy && s.mode() != Targeted && s.mode() != Full && s.mode() != Off:
		return fmt.Errorf("unknown mode %q: want proxy, targeted, full or off", s.Mode)
	case s.Loader != "" && s.Loader != Shim && s.Loader != IPXE && s.Loader != Image:
		return fmt.Errorf("unknown loader %q: want shim, ipxe or image", s.Loader)
	case s.leasing() && s.State == "":
		return fmt.Errorf("mode %s needs a state folder for its leases", s.mode())
	}
	if _, err := s.commandLine(nil); err != nil {
		return err
	}
	if !s.leasing() {
		return nil
	}
	return s.Pool.within(s.Address)
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// addr returns our address.
func (s *Server) addr() netip.Addr { return s.Address.Addr() }

func (s *Server) mode() Mode {
	if s.Mode == "" {
		return Proxy
	}
	return s.Mode
}

// leasing returns whether the mode gives addresses.
func (s *Server) leasing() bool { return s.mode() == Targeted || s.mode() == Full }

// ports returns the ports, none of which is zero.
func (s *Server) ports() Ports {
	p := s.Ports
	for _, x := range []struct {
		port  *uint16
		usual uint16
	}{{&p.DHCP, 67}, {&p.Boot, 4011}, {&p.TFTP, 69}, {&p.HTTP, 80}} {
		if *x.port == 0 {
			*x.port = x.usual
		}
	}
	return p
}

// host returns our address as it stands in a URL.
func (s *Server) host() string {
	if port := s.ports().HTTP; port != 80 {
		return netip.AddrPortFrom(s.addr(), port).String()
	}
	return s.addr().String()
}

// url returns where machines reach us by HTTP, without a slash at the end.
func (s *Server) url() string { return "http://" + s.host() }

// near returns whether a may be sent an answer: it is on our network, or on
// one that was named to us.
func (s *Server) near(a netip.Addr) bool {
	if !a.Is4() || a.IsMulticast() || a.IsUnspecified() || a == s.addr() || a == broadcast(s.Address) {
		return false
	}
	if s.Address.Contains(a) {
		return true
	}
	for _, n := range s.Networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Locate returns the first IPv4 address of an interface, with the length of
// its network.
func Locate(name string) (netip.Prefix, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("interface %s: %w", name, err)
	}
	addrs, err := ifi.Addrs()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("interface %s: %w", name, err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("interface %s has no IPv4 address", name)
}

// HTTPHandler returns what answers machines by HTTP, for whoever serves it
// elsewhere, see Mounted.
func (s *Server) HTTPHandler() http.Handler { return http.HandlerFunc(s.serveMachine) }

// commandLine returns the words for the kernel's command line. A kernel that
// panics starts the machine anew, and its messages stay off the screen, which
// is the agent's; later words overrule both.
func (s *Server) commandLine(more []string) (string, error) {
	words := slices.Concat([]string{"panic=30", "quiet"}, s.Args, more)
	size := 0
	for _, w := range words {
		if !plainWord(w) {
			return "", fmt.Errorf("kernel argument %q: not one plain word", w)
		}
		size += len(w) + 1
	}
	if size > maxCommandLine {
		return "", fmt.Errorf("kernel arguments of %d bytes, want at most %d", size, maxCommandLine)
	}
	return strings.Join(words, " "), nil
}

// maxCommandLine leaves room for what loaders add to the 2048 bytes of
// COMMAND_LINE_SIZE (arch/x86/include/asm/setup.h).
const maxCommandLine = 1536

// plainWord returns whether w means itself to GRUB, to iPXE and to the kernel.
func plainWord(w string) bool {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._,:=/@+-"
	return w != "" && strings.Trim(w, safe) == ""
}
