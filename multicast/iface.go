package multicast

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// sysNet is where the kernel tells about interfaces, each in a folder.
const sysNet = "/sys/class/net"

// maxPayload returns the largest payload of a UDP datagram that leaves by ifi
// in one piece: what is left of its MTU by the headers of IP and UDP.
func maxPayload(ifi *net.Interface, is6 bool) int {
	header := 20 + 8
	if is6 {
		header = 40 + 8
	}
	return max(0, min(ifi.MTU-header, maxMessage))
}

// linkRate returns the speed of the link of ifi in bits per second, 0 if it is
// not known: the interface is wireless, virtual or down.
func linkRate(ifi *net.Interface) int64 { return linkRateIn(filepath.Join(sysNet, ifi.Name)) }

func linkRateIn(dir string) int64 {
	p, err := os.ReadFile(filepath.Join(dir, "speed")) // an error while the interface is down
	if err != nil {
		return 0
	}
	mbits, err := strconv.ParseInt(strings.TrimSpace(string(p)), 10, 32)
	if err != nil || mbits < 0 { // -1 is unknown
		return 0
	}
	return mbits * 1e6
}

// isWireless returns whether ifi is Wi-Fi.
func isWireless(ifi *net.Interface) bool { return isWirelessIn(filepath.Join(sysNet, ifi.Name)) }

func isWirelessIn(dir string) bool { return exists(dir, "wireless") || exists(dir, "phy80211") }

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// pickInterface returns the interface called name. Without a name, it is the
// one that leads to peer; without a peer, the only one that is fit for a
// session or, of several, that of the default route.
func pickInterface(name string, peer netip.Addr) (*net.Interface, error) {
	switch {
	case name != "":
		return namedInterface(name)
	case peer.IsValid():
		return interfaceTo(peer)
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var fit []*net.Interface
	for i := range all {
		if isFit(&all[i]) {
			fit = append(fit, &all[i])
		}
	}
	return choose(fit, defaultRoutes())
}

// namedInterface returns the interface called name, if it can do multicast.
// The loopback interface can for IPv4, although it does not say so.
func namedInterface(name string) (*net.Interface, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	switch {
	case ifi.Flags&net.FlagUp == 0:
		return nil, fmt.Errorf("interface %s: %w", name, errLinkDown)
	case ifi.Flags&(net.FlagMulticast|net.FlagLoopback) == 0:
		return nil, fmt.Errorf("interface %s cannot do multicast", name)
	}
	return ifi, nil
}

// isFit returns whether a session can use ifi: it is up, has a carrier and can
// do multicast, and it is not a part of a bridge or bond, which is to be used
// in its place.
func isFit(ifi *net.Interface) bool {
	const need = net.FlagUp | net.FlagRunning | net.FlagMulticast
	return ifi.Flags&need == need && ifi.Flags&(net.FlagLoopback|net.FlagPointToPoint) == 0 &&
		!exists(filepath.Join(sysNet, ifi.Name), "master")
}

// choose returns the only one of the interfaces or that of the first route that
// leads to one.
func choose(fit []*net.Interface, routes []string) (*net.Interface, error) {
	if len(fit) == 1 {
		return fit[0], nil
	}
	var names []string
	for _, ifi := range fit {
		names = append(names, ifi.Name)
	}
	for _, route := range routes {
		for i, name := range names {
			if name == route {
				return fit[i], nil
			}
		}
	}
	if len(fit) == 0 {
		return nil, errors.New("no interface is up and can do multicast")
	}
	return nil, fmt.Errorf("several interfaces can do multicast: %s", strings.Join(names, ", "))
}

// interfaceTo returns the interface by which datagrams to peer leave: the one
// that has the address from which the kernel would send them.
func interfaceTo(peer netip.Addr) (*net.Interface, error) {
	if peer.Zone() != "" {
		return namedInterface(peer.Zone())
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer, 9)))
	if err != nil {
		return nil, fmt.Errorf("interface to %v: %w", peer, err)
	}
	defer conn.Close() // nothing was sent
	from := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for i := range all {
		if hasAddr(&all[i], from) {
			return namedInterface(all[i].Name)
		}
	}
	return nil, fmt.Errorf("interface to %v: none has the address %v", peer, from)
}

// hasAddr returns whether ifi has the address.
func hasAddr(ifi *net.Interface, addr netip.Addr) bool {
	addrs, err := ifi.Addrs()
	if err != nil {
		return false // it is gone
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(addr.AsSlice()) {
			return true
		}
	}
	return false
}

// defaultRoutes returns the names of the interfaces that have a default route,
// the best first, those of IPv4 before those of IPv6. It reads the tables of
// the calling thread's network namespace.
func defaultRoutes() []string {
	var names []string
	for _, table := range []struct {
		file  string
		parse func(io.Reader) []string
	}{
		{"/proc/thread-self/net/route", defaultRoutes4},
		{"/proc/thread-self/net/ipv6_route", defaultRoutes6},
	} {
		f, err := os.Open(table.file)
		if err != nil {
			continue // the kernel does without this family
		}
		names = append(names, table.parse(f)...)
		f.Close()
	}
	return names
}

// defaultRoutes4 reads a table of routes as the kernel prints it for IPv4, in
// hexadecimal, and the better of equal routes first: interface, destination,
// gateway, flags, references, uses, metric, mask and more.
func defaultRoutes4(r io.Reader) []string {
	var names []string
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
			names = append(names, f[0])
		}
	}
	return names
}

// defaultRoutes6 is defaultRoutes4 for IPv6: destination and length of its
// prefix, the same of the source, gateway, metric, references, uses, flags and
// interface.
func defaultRoutes6(r io.Reader) []string {
	var names []string
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) > 9 && strings.Trim(f[0], "0") == "" && f[1] == "00" {
			names = append(names, f[9])
		}
	}
	return names
}
