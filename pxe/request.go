package pxe

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// maxRequest is the number of bytes of a DHCP request that are read: more than
// Ethernet carries is none.
const maxRequest = 1500

// Options that the library has no name for; option 175 is iPXE's.
const (
	optMachineID = dhcpv4.OptionClientMachineIdentifier
	optIPXE      = dhcpv4.OptionEtherboot
)

// A request is what a DHCP client sends, as far as it is understood.
type request struct {
	m      *dhcpv4.DHCPv4
	kind   dhcpv4.MessageType
	client Client

	boot bool // it is a boot client, docs/boot.md, section 3
	http bool // which boots by UEFI HTTP boot
	ipxe bool // which is iPXE
	code int  // of its architecture as in RFC 4578 and 5970; -1 if it tells none
}

// parseRequest reads a DHCP request. It keeps nothing of p. Any error wraps
// [ErrMalformed].
func parseRequest(p []byte) (request, error) {
	m, err := dhcpv4.FromBytes(p)
	if err != nil {
		return request{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	q := request{m: m, kind: m.MessageType()}
	if m.OpCode != dhcpv4.OpcodeBootRequest {
		return q, fmt.Errorf("%w: operation %d", ErrMalformed, m.OpCode)
	}
	if m.HWType != iana.HWTypeEthernet || !usable(m.ClientHWAddr) {
		return q, fmt.Errorf("%w: hardware address %v of type %d", ErrMalformed, m.ClientHWAddr, m.HWType)
	}
	switch q.kind {
	case dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline,
		dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeInform:
	default:
		return q, fmt.Errorf("%w: message type %d", ErrMalformed, q.kind)
	}
	q.recognise()
	return q, nil
}

// usable returns whether mac can be that of a machine: six bytes, not of a
// group, and not all zero.
func usable(mac net.HardwareAddr) bool {
	return len(mac) == 6 && mac[0]&1 == 0 && !bytes.Equal(mac, make([]byte, 6))
}

// recognise finds out what kind of client it is.
func (q *request) recognise() {
	o := q.m.Options
	class := o.Get(dhcpv4.OptionClassIdentifier)
	q.http = bytes.HasPrefix(class, []byte("HTTPClient"))
	q.ipxe = bytes.Contains(o.Get(dhcpv4.OptionUserClassInformation), []byte("iPXE")) || o.Has(optIPXE)
	q.boot = q.http || q.ipxe || bytes.HasPrefix(class, []byte("PXEClient"))
	q.code = -1
	if v := o.Get(dhcpv4.OptionClientSystemArchitectureType); len(v) >= 2 {
		q.code = int(binary.BigEndian.Uint16(v))
	}
	q.client = Client{MAC: q.m.ClientHWAddr, UUID: machineID(o.Get(optMachineID)), Arch: q.arch()}
}

// The codes of architectures: RFC 4578, section 2.1, RFC 5970, section 3.3,
// and IANA's registry of processor architecture types. Firmware for x64 says
// 7 or 9: the RFC has them the other way round than what is built.
const (
	codeBIOS      = 0
	codeX64       = 7
	codeX64Too    = 9
	codeARM64     = 11
	codeX64HTTP   = 16
	codeARM64HTTP = 19
)

// arch returns what boot files it needs; Unknown if there are none.
func (q *request) arch() Arch {
	if q.http && !q.ipxe {
		switch q.code {
		case codeX64HTTP:
			return X64
		case codeARM64HTTP:
			return ARM64
		}
		return Unknown
	}
	switch q.code {
	case codeBIOS, -1:
		return BIOS
	case codeX64, codeX64Too, codeX64HTTP:
		return X64
	case codeARM64, codeARM64HTTP:
		return ARM64
	}
	return Unknown
}

// machineID returns the UUID of option 97, whose first three fields are
// little-endian (RFC 4578, section 2.3, and UEFI); empty if there is none.
func machineID(v []byte) string {
	if len(v) != 17 || v[0] != 0 {
		return ""
	}
	u := [16]byte(v[1:])
	for _, f := range [][]byte{u[0:4], u[4:6], u[6:8]} {
		for i, j := 0, len(f)-1; i < j; i, j = i+1, j-1 {
			f[i], f[j] = f[j], f[i]
		}
	}
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// requested returns the address that the client wants or has; not valid is
// none.
func (q *request) requested() netip.Addr {
	if a := ipv4(q.m.Options.Get(dhcpv4.OptionRequestedIPAddress)); a.IsValid() {
		return a
	}
	return q.own()
}

// own returns the address that the client has.
func (q *request) own() netip.Addr { return ipv4(q.m.ClientIPAddr) }

// relay returns the address of the relay that the request came by.
func (q *request) relay() netip.Addr { return ipv4(q.m.GatewayIPAddr) }

// server returns which server the client has chosen.
func (q *request) server() netip.Addr { return ipv4(q.m.Options.Get(dhcpv4.OptionServerIdentifier)) }

// ipv4 returns an address of four bytes; not valid if it is another number of
// them, or zero.
func ipv4(p []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(p)
	if a = a.Unmap(); !ok || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
