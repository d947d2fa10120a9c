package pxe

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// A sent is what a test client says; zero fields are left out.
type sent struct {
	kind          dhcpv4.MessageType
	class, user   string
	arch          int // option 93; -1 is none
	etherboot     []byte
	server, wants string // options 54 and 50
	has, relay    string // ciaddr, giaddr
	uuid          []byte // option 97
	mac           string
}

// message returns the request as a client would send it.
func (c sent) message(t testing.TB) *dhcpv4.DHCPv4 {
	t.Helper()
	mac := testMAC
	if c.mac != "" {
		mac = c.mac
	}
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	m := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: iana.HWTypeEthernet, ClientHWAddr: hw,
		TransactionID: dhcpv4.TransactionID{1, 2, 3, 4}, Flags: 0x8000, Options: make(dhcpv4.Options),
	}
	if c.kind == 0 {
		c.kind = dhcpv4.MessageTypeDiscover
	}
	m.UpdateOption(dhcpv4.OptMessageType(c.kind))
	for code, v := range map[dhcpv4.OptionCode][]byte{
		dhcpv4.OptionClassIdentifier: []byte(c.class), dhcpv4.OptionUserClassInformation: []byte(c.user),
		optIPXE: c.etherboot, optMachineID: c.uuid,
		dhcpv4.OptionServerIdentifier: ip(c.server), dhcpv4.OptionRequestedIPAddress: ip(c.wants),
	} {
		if len(v) > 0 {
			m.UpdateOption(dhcpv4.OptGeneric(code, v))
		}
	}
	if c.arch >= 0 {
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, byte(c.arch)}))
	}
	m.ClientIPAddr, m.GatewayIPAddr = ip(c.has), ip(c.relay)
	return m
}

// ip returns the bytes of an address; nil of none.
func ip(text string) net.IP {
	if text == "" {
		return nil
	}
	return netip.MustParseAddr(text).AsSlice()
}

// request returns the request as the server reads it.
func (c sent) request(t testing.TB) *request {
	t.Helper()
	q, err := parseRequest(c.message(t).ToBytes())
	if err != nil {
		t.Fatal(err)
	}
	return &q
}

// uuidBytes is testUUID as firmware sends it.
var uuidBytes = append([]byte{0}, 0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0)

// TestKinds is the table of docs/boot.md, section 3.
func TestKinds(t *testing.T) {
	const direct = "06 01 08 ff"
	script := "http://10.83.0.1/machine/" + testMAC + "/boot.ipxe"
	for _, tt := range []struct {
		name                string
		client              sent
		loader              Loader
		class, file, option string // option 43, or 175 of iPXE
		arch                Arch
	}{
		{"iPXE", sent{class: "PXEClient:Arch:00007:UNDI:003010", user: "iPXE", arch: 7}, "", "PXEClient", script, "b0 01 01", X64},
		{"iPXE, RFC 3004", sent{class: "PXEClient:Arch:00000:UNDI:002001", user: "\x04iPXE", arch: 0}, "", "PXEClient", script, "b0 01 01", BIOS},
		{"iPXE, option 175", sent{class: "PXEClient", etherboot: []byte{0xb1, 5, 1}, arch: -1}, "", "PXEClient", script, "b0 01 01", BIOS},
		{"iPXE without a class", sent{user: "iPXE", arch: 11}, "", "PXEClient", script, "b0 01 01", ARM64},
		{"BIOS", sent{class: "PXEClient:Arch:00000:UNDI:002001", arch: 0}, "", "PXEClient", "bios/undionly.kpxe", direct, BIOS},
		{"BIOS, bare", sent{class: "PXEClient", arch: -1}, "", "PXEClient", "bios/undionly.kpxe", direct, BIOS},
		{"BIOS, loader shim", sent{class: "PXEClient:Arch:00000", arch: 0}, Shim, "PXEClient", "bios/undionly.kpxe", direct, BIOS},
		{"UEFI x64", sent{class: "PXEClient:Arch:00007:UNDI:003000", arch: 7}, "", "PXEClient", "x64/shim.efi", direct, X64},
		{"UEFI x64, 9", sent{class: "PXEClient:Arch:00009:UNDI:003000", arch: 9}, Image, "PXEClient", "x64/shim.efi", direct, X64},
		{"UEFI x64, iPXE", sent{class: "PXEClient:Arch:00007:UNDI:003000", arch: 7}, IPXE, "PXEClient", "x64/ipxe.efi", direct, X64},
		{"UEFI arm64", sent{class: "PXEClient:Arch:00011:UNDI:003000", arch: 11}, "", "PXEClient", "arm64/shim.efi", direct, ARM64},
		{"HTTP x64", sent{class: "HTTPClient:Arch:00016:UNDI:003000", arch: 16}, "", "HTTPClient", "http://10.83.0.1/x64/shim.efi", "", X64},
		{"HTTP x64, image", sent{class: "HTTPClient:Arch:00016:UNDI:003000", arch: 16}, Image, "HTTPClient", "http://10.83.0.1/x64/boot.img", "", X64},
		{"HTTP arm64", sent{class: "HTTPClient:Arch:00019:UNDI:003000", arch: 19}, "", "HTTPClient", "http://10.83.0.1/arm64/shim.efi", "", ARM64},
		{"HTTP arm64, iPXE", sent{class: "HTTPClient:Arch:00019:UNDI:003000", arch: 19}, IPXE, "HTTPClient", "http://10.83.0.1/arm64/ipxe.efi", "", ARM64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.client.uuid = uuidBytes
			d := &fixedDirector{decision: Decision{Verdict: Local, Loader: tt.loader}}
			r := &responder{s: newTestServer(t, d)}
			got := r.onServerPort(t.Context(), tt.client.request(t), netip.AddrPort{})
			if got == nil {
				t.Fatal("no answer, want one")
			}
			m := got.m
			if want := netip.MustParseAddrPort("255.255.255.255:68"); got.to != want {
				t.Errorf("sent to %v, want %v", got.to, want)
			}
			if m.MessageType() != dhcpv4.MessageTypeOffer || ipv4(m.YourIPAddr).IsValid() || ipv4(m.ServerIPAddr) != r.s.addr() || m.Flags != 0x8000 || m.TransactionID != (dhcpv4.TransactionID{1, 2, 3, 4}) {
				t.Errorf("answer is %v, want an offer without an address, of this server", m)
			}
			if m.ClassIdentifier() != tt.class || m.BootFileName != tt.file || m.BootFileNameOption() != tt.file {
				t.Errorf("class %q, file %q and %q, want %q, %q", m.ClassIdentifier(), m.BootFileName, m.BootFileNameOption(), tt.class, tt.file)
			}
			vendor := append(m.Options.Get(dhcpv4.OptionVendorSpecificInformation), m.Options.Get(optIPXE)...)
			if want, _ := hex.DecodeString(strings.ReplaceAll(tt.option, " ", "")); !bytes.Equal(vendor, want) {
				t.Errorf("vendor options %x, want %x", vendor, want)
			}
			if id := m.Options.Get(optMachineID); !bytes.Equal(id, uuidBytes) {
				t.Errorf("option 97 = %x, want %x", id, uuidBytes)
			}
			if c := d.asked[0]; c.MAC.String() != testMAC || c.UUID != testUUID || c.Arch != tt.arch {
				t.Errorf("the director is asked for %+v, want %s, %s, %s", c, testMAC, testUUID, tt.arch)
			}
		})
	}
}

// TestSilence shows who gets no answer on port 67.
func TestSilence(t *testing.T) {
	const boot = "PXEClient:Arch:00007:UNDI:003000"
	for _, tt := range []struct {
		name    string
		client  sent
		verdict Verdict
		err     error
	}{
		{"no boot client", sent{class: "MSFT 5.0", arch: -1}, Agent, nil},
		{"no class", sent{arch: 7}, Agent, nil},
		{"ignored", sent{class: boot, arch: 7}, Ignore, nil},
		{"director in trouble", sent{class: boot, arch: 7}, Agent, errors.New("no database")},
		{"request", sent{class: boot, arch: 7, kind: dhcpv4.MessageTypeRequest, server: "10.83.0.2", wants: "10.83.0.9"}, Agent, nil},
		{"request to us", sent{class: boot, arch: 7, kind: dhcpv4.MessageTypeRequest, server: "10.83.0.1"}, Agent, nil},
		{"inform", sent{class: boot, arch: 7, kind: dhcpv4.MessageTypeInform, has: "10.83.0.9"}, Agent, nil},
		{"release", sent{class: boot, arch: 7, kind: dhcpv4.MessageTypeRelease, has: "10.83.0.9"}, Agent, nil},
		{"UEFI of 32 bits", sent{class: "PXEClient:Arch:00006", arch: 6}, Agent, nil},
		{"RISC-V", sent{class: "PXEClient:Arch:00027", arch: 27}, Agent, nil},
		{"HTTP of 32 bits", sent{class: "HTTPClient:Arch:00015", arch: 15}, Agent, nil},
		{"PXE architecture by HTTP", sent{class: "HTTPClient", arch: -1}, Agent, nil},
		{"far relay", sent{class: boot, arch: 7, relay: "192.0.2.1"}, Agent, nil},
		{"relay that is us", sent{class: boot, arch: 7, relay: "10.83.0.1"}, Agent, nil},
		{"relay that is everybody", sent{class: boot, arch: 7, relay: "10.83.0.255"}, Agent, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &responder{s: newTestServer(t, &fixedDirector{decision: Decision{Verdict: tt.verdict}, err: tt.err})}
			if got := r.onServerPort(t.Context(), tt.client.request(t), netip.AddrPort{}); got != nil {
				t.Errorf("answer to %v: %v, want none", got.to, got.m)
			}
		})
	}
}

// TestMissingLoader shows that a machine is left to others if the boot folder
// has nothing for it.
func TestMissingLoader(t *testing.T) {
	r := &responder{s: newTestServer(t, &fixedDirector{decision: Decision{Verdict: Agent}})}
	if err := os.Remove(r.s.Folder + "/arm64/shim.efi"); err != nil {
		t.Fatal(err)
	}
	q := sent{class: "PXEClient:Arch:00011:UNDI:003000", arch: 11}.request(t)
	if got := r.onServerPort(t.Context(), q, netip.AddrPort{}); got != nil {
		t.Errorf("answer %v, want none", got.m)
	}
}

// TestProxyRequest shows the one option that answers requests on port 67.
func TestProxyRequest(t *testing.T) {
	r := &responder{s: newTestServer(t, &fixedDirector{decision: Decision{Verdict: Agent}})}
	r.s.ProxyRequest = true
	q := sent{class: "PXEClient:Arch:00000", kind: dhcpv4.MessageTypeRequest, server: "10.83.0.2", wants: "10.83.0.9"}.request(t)
	got := r.onServerPort(t.Context(), q, netip.AddrPort{})
	if got == nil || got.m.MessageType() != dhcpv4.MessageTypeAck || got.m.BootFileName != "bios/undionly.kpxe" {
		t.Errorf("answer %+v, want an ACK with a boot file", got)
	}
}

// TestRelayed shows where answers to relayed requests go.
func TestRelayed(t *testing.T) {
	r := &responder{s: newTestServer(t, &fixedDirector{decision: Decision{Verdict: Agent}})}
	r.s.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	c := sent{class: "PXEClient:Arch:00007", arch: 7, relay: "192.0.2.1"}
	m := c.message(t)
	m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, []byte{1, 1, 7}))
	q, err := parseRequest(m.ToBytes())
	if err != nil {
		t.Fatal(err)
	}
	got := r.onServerPort(t.Context(), &q, netip.AddrPort{})
	if got == nil || got.to != netip.MustParseAddrPort("192.0.2.1:67") || ipv4(got.m.GatewayIPAddr).String() != "192.0.2.1" {
		t.Fatalf("answer %+v, want one to 192.0.2.1:67", got)
	}
	if v := got.m.Options.Get(dhcpv4.OptionRelayAgentInformation); !bytes.Equal(v, []byte{1, 1, 7}) {
		t.Errorf("option 82 = %x, want 010107", v)
	}
}

func TestBootPort(t *testing.T) {
	boot := sent{class: "PXEClient:Arch:00007:UNDI:003000", arch: 7, kind: dhcpv4.MessageTypeRequest, has: "10.83.0.9"}
	other := boot
	other.class = "dhcpcd"
	discover := boot
	discover.kind = dhcpv4.MessageTypeDiscover
	for _, tt := range []struct {
		name   string
		client sent
		from   string
		want   bool
	}{
		{"request", boot, "10.83.0.9:4011", true},
		{"odd port", boot, "10.83.0.9:1999", true},
		{"far", boot, "192.0.2.9:4011", false},
		{"everybody", boot, "10.83.0.255:4011", false},
		{"us", boot, "10.83.0.1:4011", false},
		{"port 0", boot, "10.83.0.9:0", false},
		{"no address", boot, "0.0.0.0:68", false},
		{"no boot client", other, "10.83.0.9:4011", false},
		{"discover", discover, "10.83.0.9:4011", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &responder{s: newTestServer(t, &fixedDirector{decision: Decision{Verdict: Agent}})}
			from := netip.MustParseAddrPort(tt.from)
			got := r.onBootPort(t.Context(), tt.client.request(t), from)
			if (got != nil) != tt.want {
				t.Fatalf("answer %+v, want one: %v", got, tt.want)
			}
			if got != nil && (got.to != from || got.m.MessageType() != dhcpv4.MessageTypeAck || got.m.BootFileName != "x64/shim.efi") {
				t.Errorf("answer to %v: %v, want an ACK to %v with x64/shim.efi", got.to, got.m, from)
			}
		})
	}
}

func TestParseRequestRejects(t *testing.T) {
	good := sent{class: "PXEClient", arch: 7}.message(t).ToBytes()
	change := func(at int, b ...byte) []byte {
		p := bytes.Clone(good)
		copy(p[at:], b)
		return p
	}
	for _, tt := range []struct {
		name string
		p    []byte
	}{
		{"empty", nil},
		{"header alone", good[:236]},
		{"reply", change(0, 2)},
		{"not Ethernet", change(1, 6)},
		{"address of 16 bytes", change(2, 16)},
		{"address of a group", change(28, 0xff)},
		{"no address", change(28, 0, 0, 0, 0, 0, 0)},
		{"no cookie", change(236, 0)},
		{"offer", change(240, 53, 1, 2)},
		{"message type 0", change(240, 53, 1, 0)},
		{"message type 200", change(240, 53, 1, 200)},
		{"option beyond the end", change(len(good)-2, 60, 200)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "option beyond the end" {
				tt.p = append(bytes.Clone(good[:240]), 53, 1, 1, 60, 200, 'P')
			}
			if q, err := parseRequest(tt.p); !errors.Is(err, ErrMalformed) {
				t.Errorf("parseRequest = %+v, %v, want ErrMalformed", q, err)
			}
		})
	}
}

// FuzzRequest throws datagrams at the handlers of both ports in all modes:
// whatever is answered is a reply to the client that asked, to where answers
// may go, and not much larger than what a request can be.
func FuzzRequest(f *testing.F) {
	for _, c := range []sent{
		{class: "PXEClient:Arch:00007:UNDI:003000", arch: 7, uuid: uuidBytes},
		{class: "HTTPClient:Arch:00016:UNDI:003000", arch: 16},
		{class: "PXEClient", user: "iPXE", etherboot: []byte{1}, arch: -1, relay: "10.83.0.9"},
		{class: "PXEClient", kind: dhcpv4.MessageTypeRequest, server: "10.83.0.1", wants: "10.83.0.200"},
		{kind: dhcpv4.MessageTypeInform, has: "10.83.0.9"},
	} {
		f.Add(c.message(f).ToBytes())
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		q, err := parseRequest(p)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("parseRequest = %v, want ErrMalformed", err)
			}
			return
		}
		for _, mode := range []Mode{Proxy, Targeted, Full} {
			r := testResponder(t, mode, &fixedDirector{decision: Decision{Verdict: Agent}})
			for i, got := range []*reply{
				r.onServerPort(t.Context(), &q, netip.MustParseAddrPort("0.0.0.0:68")),
				r.onBootPort(t.Context(), &q, netip.MustParseAddrPort("10.83.0.9:4011")),
			} {
				if got == nil {
					continue
				}
				again, err := dhcpv4.FromBytes(got.m.ToBytes())
				if err != nil || again.OpCode != dhcpv4.OpcodeBootReply || again.TransactionID != q.m.TransactionID ||
					again.ClientHWAddr.String() != q.m.ClientHWAddr.String() || len(got.m.ToBytes()) > 1472 {
					t.Errorf("%s, handler %d: answer %v, %v", mode, i, again, err)
				}
				if a := got.to.Addr(); a != broadcastAll && !r.s.near(a) {
					t.Errorf("%s, handler %d: answer to %v", mode, i, got.to)
				}
			}
		}
	})
}

// TestServeDHCP shows counters, and that malformed datagrams change nothing.
func TestServeDHCP(t *testing.T) {
	r := &responder{s: newTestServer(t, &fixedDirector{decision: Decision{Verdict: Agent}})}
	conn := &memoryConn{in: make(chan []byte, 8), out: make(chan []byte, 8), stop: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.s.serveDHCP(ctx, conn, r.onServerPort) }() // awaited below
	conn.in <- []byte("garbage")
	conn.in <- make([]byte, maxRequest+1)
	conn.in <- sent{class: "MSFT 5.0", arch: -1}.message(t).ToBytes()
	conn.in <- sent{class: "PXEClient", arch: 7}.message(t).ToBytes()
	if m, err := dhcpv4.FromBytes(<-conn.out); err != nil || m.BootFileName != "x64/shim.efi" {
		t.Errorf("answer %v, %v, want x64/shim.efi", m, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serveDHCP = %v, want nil", err)
	}
	got := r.s.Stats()
	if got.Requests != 2 || got.Malformed != 2 || got.Answers != 1 || got.Ignored != 1 {
		t.Errorf("stats %+v, want 2 requests, 2 malformed, 1 answer, 1 ignored", got)
	}
}

// A memoryConn is a net.PacketConn in memory.
type memoryConn struct {
	net.PacketConn
	in, out chan []byte
	stop    chan struct{}
}

func (c *memoryConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case b := <-c.in:
		return copy(p, b), &net.UDPAddr{IP: net.IPv4zero, Port: clientPort}, nil
	case <-c.stop:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (c *memoryConn) WriteTo(p []byte, _ net.Addr) (int, error) {
	c.out <- bytes.Clone(p)
	return len(p), nil
}

func (c *memoryConn) SetReadDeadline(time.Time) error { close(c.stop); return nil }
