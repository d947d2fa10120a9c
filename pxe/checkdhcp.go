package pxe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/insomniacslk/dhcp/iana"
)

const (
	// discoverTime is how long servers have for answering. Those that look
	// first whether an address is in use take up to three seconds for it.
	discoverTime = 4 * time.Second

	// maxOffers is how many answers are looked at.
	maxOffers = 64
)

// An offer is what a DHCP server says to a machine that asks to boot.
type offer struct {
	server  netip.Addr // that it says that it is
	address bool       // it gives one
	boot    bool       // it says that it is for boot clients
	file    string     // that it names
}

// checkServers asks who else gives addresses and boot files.
func (s *Server) checkServers(ctx context.Context) []Finding {
	offers, err := discover(ctx, s.Interface)
	if err != nil {
		return []Finding{{Warning, fmt.Sprintf("the network was not asked for DHCP servers: %v", err), "run it as root"}}
	}
	return judge(s.mode(), s.addr(), offers)
}

// discover returns the answers to one DISCOVER of an unknown machine. The
// socket is one of packets, so that a DHCP client on this host, which has port
// 68, is not in the way.
func discover(ctx context.Context, iface string) ([]offer, error) {
	conn, err := nclient4.NewRawUDPConn(iface, clientPort)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetReadDeadline(time.Now().Add(discoverTime)); err != nil {
		return nil, err
	}
	m := discoverMessage()
	to := &net.UDPAddr{IP: broadcastAll.AsSlice(), Port: relayPort}
	if _, err := conn.WriteTo(m.ToBytes(), to); err != nil {
		return nil, err
	}
	var offers []offer
	p := make([]byte, maxRequest)
	for range maxOffers {
		n, _, err := conn.ReadFrom(p)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return offers, nil
		}
		if err != nil {
			return nil, err
		}
		if o, ok := parseOffer(p[:n], m); ok {
			offers = append(offers, o)
		}
	}
	return offers, nil
}

// discoverMessage returns a request of a UEFI machine with a MAC address of
// nobody.
func discoverMessage() *dhcpv4.DHCPv4 {
	var r [10]byte
	_, _ = rand.Read(r[:]) // never fails
	mac := net.HardwareAddr(r[:6])
	mac[0] = mac[0]&^1 | 2 // of one machine, locally administered
	m := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: iana.HWTypeEthernet, ClientHWAddr: mac,
		TransactionID: dhcpv4.TransactionID(r[6:]), Options: make(dhcpv4.Options),
	}
	m.SetBroadcast()
	m.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeDiscover))
	m.UpdateOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003000"))
	m.UpdateOption(dhcpv4.OptClientArch(iana.EFI_X86_64))
	m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientNetworkInterfaceIdentifier, []byte{1, 3, 0}))
	m.UpdateOption(dhcpv4.OptGeneric(optMachineID, make([]byte, 17)))
	m.UpdateOption(dhcpv4.OptParameterRequestList(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter,
		dhcpv4.OptionVendorSpecificInformation, dhcpv4.OptionServerIdentifier, dhcpv4.OptionClassIdentifier,
		dhcpv4.OptionTFTPServerName, dhcpv4.OptionBootfileName))
	return m
}

// parseOffer reads an answer to m.
func parseOffer(p []byte, m *dhcpv4.DHCPv4) (offer, bool) {
	a, err := dhcpv4.FromBytes(p)
	if err != nil || a.OpCode != dhcpv4.OpcodeBootReply || a.TransactionID != m.TransactionID ||
		a.ClientHWAddr.String() != m.ClientHWAddr.String() || a.MessageType() != dhcpv4.MessageTypeOffer {
		return offer{}, false
	}
	o := offer{
		server:  ipv4(a.Options.Get(dhcpv4.OptionServerIdentifier)),
		address: ipv4(a.YourIPAddr).IsValid(),
		boot:    strings.HasPrefix(a.ClassIdentifier(), "PXEClient"),
		file:    printable(a.BootFileName),
	}
	if name := a.BootFileNameOption(); name != "" {
		o.file = printable(name)
	}
	return o, true
}

// printable returns text for people, with a question mark for what is not
// printable ASCII.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.TrimRight(text, "\x00"))
}

// judge says what other servers mean for a mode.
func judge(mode Mode, ours netip.Addr, offers []offer) []Finding {
	var found []Finding
	var servers []string
	for _, o := range distinct(offers) {
		if o.server == ours {
			continue
		}
		if o.address {
			servers = append(servers, o.server.String())
		}
		if f, ok := o.judge(mode); ok {
			found = append(found, f)
		}
	}
	return append(judgeServers(mode, servers), found...)
}

// judgeServers says what it means how many servers give addresses.
func judgeServers(mode Mode, servers []string) []Finding {
	switch n := len(servers); {
	case mode == Full && n > 0:
		return []Finding{{Fatal, "another DHCP server gives addresses here: " + strings.Join(servers, ", "), "use dhcp: proxy, or switch it off"}}
	case mode == Full:
		return nil
	case n == 0:
		return []Finding{{Warning, "no DHCP server gives addresses on this network", "use dhcp: full in an isolated room; if there is a DHCP server, look at the link and at what it says about unknown machines"}}
	case n > 1:
		return []Finding{{Warning, fmt.Sprintf("%d DHCP servers give addresses here: %s", n, strings.Join(servers, ", ")), "a pair that shares its leases is fine; else switch off all but one"}}
	}
	return nil
}

// judge says what the boot file of another server means.
func (o offer) judge(mode Mode) (Finding, bool) {
	switch {
	case mode == Off || o.file == "" && (o.address || !o.boot):
		return Finding{}, false
	case o.address:
		return Finding{Warning, fmt.Sprintf("the DHCP server %v names a boot file of its own, %s: many machines will take that one", o.server, o.file),
			"remove next-server and the boot file there (options 66 and 67)"}, true
	}
	return Finding{Warning, fmt.Sprintf("another boot server answers here: %v, with %q: the faster answer wins", o.server, o.file),
		"switch one of them off"}, true
}

// distinct returns the offers without those that say the same, by server.
func distinct(offers []offer) []offer {
	var out []offer
	seen := make(map[offer]bool)
	for _, o := range offers {
		if !seen[o] {
			out = append(out, o)
		}
		seen[o] = true
	}
	slices.SortStableFunc(out, func(a, b offer) int { return a.server.Compare(b.server) })
	return out
}
