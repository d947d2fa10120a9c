package pxe

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Values of vendor options.
const (
	// pxeDirect says: do not look for boot servers, take the file (PXE 2.1,
	// PXE_DISCOVERY_CONTROL, bit 3).
	pxeDirect = "\x06\x01\x08\xff"

	// ipxeDirect says: do not wait for a proxy (iPXE, no-pxedhcp).
	ipxeDirect = "\xb0\x01\x01"
)

// bootFile returns what a boot client is to load: a path for TFTP or a URL;
// empty if there is nothing for it.
func (s *Server) bootFile(q *request, d Decision) string {
	arch := q.client.Arch
	switch {
	case arch == Unknown:
		return ""
	case q.ipxe:
		return s.url() + "/machine/" + q.client.MAC.String() + "/boot.ipxe"
	case arch == BIOS:
		return "bios/undionly.kpxe"
	case q.http:
		return s.url() + "/" + string(arch) + "/" + s.loader(d, true)
	}
	return string(arch) + "/" + s.loader(d, false)
}

// loader returns the name of the first file of a UEFI machine.
func (s *Server) loader(d Decision, http bool) string {
	l := d.Loader
	if l == "" {
		l = s.Loader
	}
	switch {
	case l == IPXE:
		return "ipxe.efi"
	case l == Image && http:
		return "boot.img"
	}
	return "shim.efi"
}

// answer returns an answer to q without a boot file or an address.
func (s *Server) answer(q *request, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	m := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        q.m.HWType,
		TransactionID: q.m.TransactionID,
		Flags:         q.m.Flags,
		GatewayIPAddr: q.m.GatewayIPAddr,
		ClientHWAddr:  q.m.ClientHWAddr,
		Options:       make(dhcpv4.Options),
	}
	if kind == dhcpv4.MessageTypeAck {
		m.ClientIPAddr = q.m.ClientIPAddr // RFC 2131, table 3
	}
	m.UpdateOption(dhcpv4.OptMessageType(kind))
	m.UpdateOption(dhcpv4.OptServerIdentifier(s.addr().AsSlice()))
	if v := q.m.Options.Get(dhcpv4.OptionRelayAgentInformation); v != nil && len(v) <= maxEcho {
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, v)) // RFC 3046, section 2.2
	}
	return m
}

// maxEcho is the number of bytes of an option that a client gets back.
const maxEcho = 255

// addBoot adds a boot file to an answer, docs/boot.md, section 3.
func (s *Server) addBoot(m *dhcpv4.DHCPv4, q *request, file string) {
	m.ServerIPAddr = s.addr().AsSlice()
	m.ServerHostName = s.addr().String()
	m.BootFileName = file
	m.UpdateOption(dhcpv4.OptTFTPServerName(s.addr().String()))
	m.UpdateOption(dhcpv4.OptBootFileName(file))
	if v := q.m.Options.Get(optMachineID); v != nil && len(v) <= maxEcho {
		m.UpdateOption(dhcpv4.OptGeneric(optMachineID, v))
	}
	class := "PXEClient"
	switch {
	case q.ipxe:
		m.UpdateOption(dhcpv4.OptGeneric(optIPXE, []byte(ipxeDirect)))
	case q.http:
		class = "HTTPClient"
	default:
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, []byte(pxeDirect)))
	}
	m.UpdateOption(dhcpv4.OptClassIdentifier(class))
}

// The ports of clients and relays (RFC 2131, section 4.1).
const (
	clientPort = 68
	relayPort  = 67
)

// broadcastAll reaches everybody on the network.
var broadcastAll = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// route returns where an answer to a request on port 67 goes to: to the relay
// that it came by, to an address that the client already has, or to
// everybody. A client without an address is never sent a unicast: that would
// need an entry of ARP that it cannot confirm yet.
func (s *Server) route(q *request, kind dhcpv4.MessageType) (to netip.AddrPort, ok bool) {
	if relay := q.relay(); relay.IsValid() {
		return netip.AddrPortFrom(relay, relayPort), s.near(relay)
	}
	if own := q.own(); own.IsValid() && kind == dhcpv4.MessageTypeAck {
		return netip.AddrPortFrom(own, clientPort), s.near(own)
	}
	return netip.AddrPortFrom(broadcastAll, clientPort), true
}
