package pxe

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// dnsmasq starts the site's DHCP server, which knows nothing of booting.
func (ns netns) dnsmasq(t *testing.T, args ...string) {
	t.Helper()
	ns.start(t, ns.command("dnsmasq", append([]string{"-d", "-C", "/dev/null", "--port=0", "--interface=net0",
		"--dhcp-range=10.83.0.100,10.83.0.110,1h", "--no-ping", "--leasefile-ro", "--user=root", "--pid-file="}, args...)...))
	ns.await(t, "udp", 67)
}

// discover asks from the machine which servers there are.
func (ns netns) discover(t *testing.T) []offer {
	t.Helper()
	var offers []offer
	ns.run(t, func() {
		var err error
		if offers, err = discover(t.Context(), "net0"); err != nil {
			t.Error(err)
		}
	})
	return offers
}

// TestRootProxy boots a machine of the network by hand: a DHCP server that
// gives addresses, ours beside it, then TFTP and HTTP.
func TestRootProxy(t *testing.T) {
	server, site, machine := newRoom(t)
	site.dnsmasq(t)
	folder := newTestServer(t, &fixedDirector{}).Folder
	server.serve(t, Proxy, folder)

	byServer := make(map[string]offer)
	for _, o := range machine.discover(t) {
		byServer[o.server.String()] = o
	}
	if o := byServer["10.83.0.2"]; !o.address || o.file != "" {
		t.Errorf("offer of the site's server: %+v, want an address and no boot file", o)
	}
	if o := byServer["10.83.0.1"]; o.address || o.file != "x64/shim.efi" || !o.boot {
		t.Errorf("our offer: %+v, want x64/shim.efi and no address", o)
	}
	if m := machine.bootPort(t); m.BootFileName != "x64/shim.efi" || m.MessageType() != dhcpv4.MessageTypeAck {
		t.Errorf("answer on port 4011: %v, want an ACK with x64/shim.efi", m)
	}
	for _, tt := range []struct{ url, want string }{
		{"tftp://10.83.0.1/x64/shim.efi", `"x64/shim.efi"`},
		{"tftp://10.83.0.1/x64/grubx64.efi", `"x64/grub.efi"`},
		{"tftp://10.83.0.1/grub/grub.cfg", "source (http,10.83.0.1)/machine/"},
		{"http://10.83.0.1/x64/linux", `"x64/linux"`},
		{"http://10.83.0.1" + testOwn + "grub.cfg", testOwn + "archive"},
		{"http://10.83.0.1" + testOwn + "archive", "070701"},
	} {
		out, err := machine.command("curl", "-sSf", "-m", "20", "--output", "-", tt.url).CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("curl %s: %v\n%s\nwant %s in it", tt.url, err, out, tt.want)
		}
	}
	if out, err := machine.command("curl", "-sSf", "-m", "20", "tftp://10.83.0.1/boot.json").CombinedOutput(); err == nil {
		t.Errorf("curl of a file that is not for machines: %s, want an error", out)
	}
}

// bootPort asks on port 4011, from the same port, as UEFI does.
func (ns netns) bootPort(t *testing.T) *dhcpv4.DHCPv4 {
	t.Helper()
	var m *dhcpv4.DHCPv4
	ns.run(t, func() {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip("10.83.0.7"), Port: 4011})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		q := sent{class: "PXEClient:Arch:00007:UNDI:003000", arch: 7, kind: dhcpv4.MessageTypeRequest, has: "10.83.0.7"}
		if _, err := conn.WriteTo(q.message(t).ToBytes(), &net.UDPAddr{IP: ip("10.83.0.1"), Port: 4011}); err != nil {
			t.Error(err)
			return
		}
		p := make([]byte, maxRequest)
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Error(err)
			return
		}
		n, from, err := conn.ReadFromUDPAddrPort(p)
		if err != nil || from != netip.MustParseAddrPort("10.83.0.1:4011") {
			t.Errorf("answer from %v, %v, want one from 10.83.0.1:4011", from, err)
			return
		}
		if m, err = dhcpv4.FromBytes(p[:n]); err != nil {
			t.Error(err)
		}
	})
	return m
}

// TestRootFull takes a lease as a system does, where the first address of the
// pool that its MAC address leads to is in use.
func TestRootFull(t *testing.T) {
	server, site, machine := newRoom(t)
	folder := newTestServer(t, &fixedDirector{}).Folder
	site.ip(t, "addr", "add", "10.83.0.200/24", "dev", "net0")
	server.serve(t, Full, folder)
	machine.run(t, func() {
		c, err := nclient4.New("net0")
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		offer, err := c.DiscoverOffer(ctx, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(ip("10.83.0.200"))))
		if err != nil {
			t.Error(err)
			return
		}
		lease, err := c.RequestFromOffer(ctx, offer)
		if err != nil {
			t.Error(err)
			return
		}
		if got := lease.ACK.YourIPAddr.String(); got != "10.83.0.201" {
			t.Errorf("address %s, want 10.83.0.201, as 10.83.0.200 is in use", got)
		}
	})
	saved, err := readLeases(folder + "/" + leaseFile)
	if err != nil || len(saved) != 1 || saved[0].Address.String() != "10.83.0.201" {
		t.Errorf("saved leases %v, %v, want one of 10.83.0.201", saved, err)
	}
}

// TestRootCheck shows what is found on a network, and on a host, that is not
// as it should be.
func TestRootCheck(t *testing.T) {
	server, site, machine := newRoom(t)
	folder := newTestServer(t, &fixedDirector{}).Folder
	check := func(want ...string) {
		t.Helper()
		cmd := server.command(os.Args[0], folder)
		cmd.Env = append(os.Environ(), serveMode+"=check")
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != strings.Join(want, "\n") {
			t.Errorf("findings, %v:\n%s\nwant\n%s", err, got, strings.Join(want, "\n"))
		}
	}
	check("warning: no DHCP server gives addresses on this network")
	site.dnsmasq(t)
	check()
	machine.dnsmasq(t, "--dhcp-boot=pxelinux.0")
	check("warning: 2 DHCP servers give addresses here: 10.83.0.2, 10.83.0.7",
		"warning: the DHCP server 10.83.0.7 names a boot file of its own, pxelinux.0: many machines will take that one")
	server.dnsmasq(t)
	pid := server.pid(t, "dnsmasq")
	check("fatal: udp port 67: port is taken by dnsmasq (process "+pid+")",
		"warning: 2 DHCP servers give addresses here: 10.83.0.2, 10.83.0.7",
		"warning: the DHCP server 10.83.0.7 names a boot file of its own, pxelinux.0: many machines will take that one")
}

// pid returns the process of a program in the namespace.
func (ns netns) pid(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("ip", "netns", "pids", string(ns)).Output()
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(out)) {
		if comm, _ := os.ReadFile("/proc/" + pid + "/comm"); strings.TrimSpace(string(comm)) == name {
			return pid
		}
	}
	t.Fatalf("no process of %s is in the namespace", name)
	return ""
}

// TestRootWake receives magic packets where they are sent to.
func TestRootWake(t *testing.T) {
	server, _, machine := newRoom(t)
	mac, err := net.ParseMAC(testMAC)
	if err != nil {
		t.Fatal(err)
	}
	want, err := magic(mac, nil)
	if err != nil {
		t.Fatal(err)
	}
	var conn net.PacketConn
	machine.run(t, func() {
		if conn, err = net.ListenPacket("udp4", ":9"); err != nil {
			t.Error(err)
		}
	})
	defer conn.Close()
	server.run(t, func() {
		if err := Wake(t.Context(), mac, WakeOptions{Interface: "net0"}); err != nil {
			t.Error(err)
		}
	})
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1500)
	for i := range 2 * wakeTimes {
		n, _, err := conn.ReadFrom(p)
		if err != nil || string(p[:n]) != string(want) {
			t.Errorf("packet %d = %x, %v, want %x", i, p[:n], err, want)
		}
	}
}
