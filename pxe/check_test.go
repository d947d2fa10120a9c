package pxe

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// find returns the severities and texts, a line each.
func findings(found []Finding) string {
	var lines []string
	for _, f := range found {
		lines = append(lines, string(f.Severity)+": "+f.Text)
	}
	return strings.Join(lines, "\n")
}

func TestJudge(t *testing.T) {
	a, b, ours := netip.MustParseAddr("10.83.0.2"), netip.MustParseAddr("10.83.0.3"), netip.MustParseAddr("10.83.0.1")
	plain := offer{server: a, address: true}
	for _, tt := range []struct {
		name   string
		mode   Mode
		offers []offer
		want   string
	}{
		{"as it should be", Proxy, []offer{plain, plain}, ""},
		{"nobody", Proxy, nil, "warning: no DHCP server gives addresses on this network"},
		{"two", Targeted, []offer{plain, {server: b, address: true}}, "warning: 2 DHCP servers give addresses here: 10.83.0.2, 10.83.0.3"},
		{"its own boot file", Proxy, []offer{{server: a, address: true, file: "pxelinux.0"}}, "warning: the DHCP server 10.83.0.2 names a boot file of its own, pxelinux.0: many machines will take that one"},
		{"another proxy", Proxy, []offer{plain, {server: b, boot: true}}, "warning: another boot server answers here: 10.83.0.3, with \"\": the faster answer wins"},
		{"ourselves", Proxy, []offer{plain, {server: ours, boot: true, file: "x"}}, ""},
		{"boot file, off", Off, []offer{{server: a, address: true, boot: true, file: "x64/shim.efi"}}, ""},
		{"alone, full", Full, nil, ""},
		{"not alone, full", Full, []offer{plain}, "fatal: another DHCP server gives addresses here: 10.83.0.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := findings(judge(tt.mode, ours, tt.offers)); got != tt.want {
				t.Errorf("judge =\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestParseOffer(t *testing.T) {
	m := discoverMessage()
	a := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootReply, HWType: m.HWType, TransactionID: m.TransactionID, ClientHWAddr: m.ClientHWAddr,
		YourIPAddr: ip("10.83.0.9"), BootFileName: "pxe\x1blinux.0", Options: make(dhcpv4.Options)}
	a.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeOffer))
	a.UpdateOption(dhcpv4.OptServerIdentifier(ip("10.83.0.2")))
	want := offer{server: netip.MustParseAddr("10.83.0.2"), address: true, file: "pxe?linux.0"}
	if got, ok := parseOffer(a.ToBytes(), m); !ok || got != want {
		t.Errorf("parseOffer = %+v, %v, want %+v", got, ok, want)
	}
	a.TransactionID[0]++
	if got, ok := parseOffer(a.ToBytes(), m); ok {
		t.Errorf("parseOffer of an answer to another = %+v, want none", got)
	}
	if q, err := parseRequest(m.ToBytes()); err != nil || !q.boot || q.client.Arch != X64 {
		t.Errorf("our own DISCOVER is %+v, %v, want a boot client of x64", q, err)
	}
}

func TestCheckFolder(t *testing.T) {
	s := newTestServer(t, &fixedDirector{})
	if got := findings(s.checkFolder()); got != "" {
		t.Errorf("findings in a whole folder:\n%s\nwant none", got)
	}
	remove := func(names ...string) {
		for _, name := range names {
			if err := os.RemoveAll(filepath.Join(s.Folder, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove("arm64", "bios")
	if err := os.WriteFile(filepath.Join(s.Folder, "boot.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := func(want string) {
		t.Helper()
		if got := findings(s.checkFolder()); !strings.HasPrefix(got, want) {
			t.Errorf("findings:\n%s\nwant\n%s", got, want)
		}
	}
	want("warning: " + s.Folder + "/boot.json is damaged\n" +
		"warning: the boot folder has no loader for bios: such machines are not answered\n" +
		"note: the boot folder has nothing for arm64: such machines are not answered")
	remove("x64/linux", "x64/initrd")
	want("fatal: the boot folder " + s.Folder + " has all that it takes for no kind of machine")
	remove(".")
	want("fatal: there is no boot folder")
	s = newTestServer(t, &fixedDirector{})
	remove("x64/linux", "x64/initrd")
	want("warning: the boot folder lacks x64/linux, x64/initrd: what bios starts does not get far\n" +
		"warning: the boot folder lacks x64/linux, x64/initrd: what x64 starts does not get far")
}

func TestValid(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Server)
		want   string
	}{
		{"as it should be", func(*Server) {}, ""},
		{"no director", func(s *Server) { s.Director = nil }, "no director"},
		{"no address", func(s *Server) { s.Address = netip.Prefix{} }, "invalid Prefix is no IPv4 address with the length of its network"},
		{"mode", func(s *Server) { s.Mode = "on" }, `unknown mode "on": want proxy, targeted, full or off`},
		{"loader", func(s *Server) { s.Loader = "grub" }, `unknown loader "grub": want shim, ipxe or image`},
		{"no pool", func(s *Server) { s.Mode, s.State = Full, "/" }, "pool invalid IP-invalid IP: want two IPv4 addresses, the lower one first"},
		{"no state", func(s *Server) { s.Mode = Targeted }, "mode targeted needs a state folder for its leases"},
		{"pool elsewhere", func(s *Server) {
			s.Mode, s.State = Full, "/"
			s.Pool = Pool{netip.MustParseAddr("10.84.0.1"), netip.MustParseAddr("10.84.0.2")}
		}, "pool 10.84.0.1-10.84.0.2 is not in 10.83.0.0/24, the network of the interface"},
		{"argument", func(s *Server) { s.Args = []string{"a b"} }, `kernel argument "a b": not one plain word`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTestServer(t, &fixedDirector{})
			tt.change(s)
			got := ""
			if err := s.valid(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("valid = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestChatter shows how many lines a flood causes.
func TestChatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c chatter
		time.Sleep(time.Hour)
		lines := 0
		for range 1000 {
			if _, ok := c.allow(); ok {
				lines++
			}
		}
		if lines != chatterLines {
			t.Errorf("%d lines at once, want %d", lines, chatterLines)
		}
		time.Sleep(5 * chatterEvery)
		if left, ok := c.allow(); !ok || left != 1000-chatterLines {
			t.Errorf("allow = %d, %v, want the %d that were left out", left, ok, 1000-chatterLines)
		}
		lines = 0
		for range 1000 {
			if _, ok := c.allow(); ok {
				lines++
			}
		}
		if lines != 4 {
			t.Errorf("%d more lines after five seconds, want 4", lines)
		}
	})
}

// TestSiteConfigs shows that nothing in the lines for other servers is left to
// be filled in.
func TestSiteConfigs(t *testing.T) {
	s := newTestServer(t, &fixedDirector{})
	s.Ports.HTTP = 8080
	for _, c := range s.SiteConfigs() {
		for _, name := range []string{"ADDRESS", "URL", "LOADER"} {
			if strings.Contains(c.Lines, name) {
				t.Errorf("%s: %s stands in the lines", c.Server, name)
			}
		}
		for _, want := range []string{"10.83.0.1", "http://10.83.0.1:8080/autoexec.ipxe", "bios/undionly.kpxe", "x64/shim.efi", "arm64/shim.efi"} {
			if !strings.Contains(c.Lines, want) {
				t.Errorf("%s: the lines lack %s", c.Server, want)
			}
		}
	}
}
