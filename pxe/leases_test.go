package pxe

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// testResponder returns a responder of a mode with a pool of 11 addresses on
// which nobody is, that saves nothing.
func testResponder(t testing.TB, mode Mode, d *fixedDirector) *responder {
	t.Helper()
	r := &responder{s: &Server{
		Address: netip.MustParsePrefix("10.83.0.1/24"), Folder: "/nonexistent", Director: d, Mode: mode,
		Router: netip.MustParseAddr("10.83.0.254"), DNS: []netip.Addr{netip.MustParseAddr("10.83.0.253")},
	}}
	if mode == Proxy {
		return r
	}
	r.leases = testLeases()
	if mode == Targeted {
		r.leases.life = targetedLife
	}
	return r
}

func testLeases() *leases {
	return &leases{
		pool: Pool{netip.MustParseAddr("10.83.0.200"), netip.MustParseAddr("10.83.0.210")}, life: fullLife,
		taken:  func(context.Context, netip.Addr) (bool, error) { return false, nil },
		save:   func(map[netip.Addr]holding) error { return nil },
		byAddr: make(map[netip.Addr]holding), byMAC: make(map[string]netip.Addr),
	}
}

// on asks on port 67.
func (r *responder) on(t *testing.T, c sent) *dhcpv4.DHCPv4 {
	t.Helper()
	got := r.onServerPort(t.Context(), c.request(t), netip.AddrPort{})
	if got == nil {
		return nil
	}
	return got.m
}

// TestLease is the life of a lease in mode full (RFC 2131, section 3).
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testResponder(t, Full, &fixedDirector{})
		plain := sent{class: "MSFT 5.0", arch: -1}
		offer := r.on(t, plain)
		if offer == nil || offer.MessageType() != dhcpv4.MessageTypeOffer || !r.leases.pool.contains(ipv4(offer.YourIPAddr)) {
			t.Fatalf("answer to DISCOVER: %v, want an offer from the pool", offer)
		}
		a := offer.YourIPAddr.String()
		if offer.BootFileName != "" || offer.IPAddressLeaseTime(0) != time.Hour || offer.SubnetMask().String() != "ffffff00" ||
			offer.Router()[0].String() != "10.83.0.254" || offer.DNS()[0].String() != "10.83.0.253" {
			t.Errorf("offer %v, want an hour, the mask, the router, the name server, no boot file", offer)
		}
		request := sent{kind: dhcpv4.MessageTypeRequest, arch: -1, server: "10.83.0.1", wants: a}
		if ack := r.on(t, request); ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck || ack.YourIPAddr.String() != a {
			t.Fatalf("answer to REQUEST: %v, want an ACK of %s", ack, a)
		}
		renew := sent{kind: dhcpv4.MessageTypeRequest, arch: -1, has: a}
		time.Sleep(30 * time.Minute)
		got := r.onServerPort(t.Context(), renew.request(t), netip.AddrPort{})
		if got == nil || got.m.MessageType() != dhcpv4.MessageTypeAck || got.to.String() != a+":68" {
			t.Fatalf("answer to a renewal: %+v, want an ACK to %s:68", got, a)
		}
		time.Sleep(24 * time.Hour) // it is away, nobody wants its address
		if again := r.on(t, plain); again == nil || again.YourIPAddr.String() != a {
			t.Errorf("offer a day later: %v, want %s again", again, a)
		}
	})
}

func TestLeaseRefusals(t *testing.T) {
	r := testResponder(t, Full, &fixedDirector{})
	a := r.on(t, sent{arch: -1}).YourIPAddr.String()
	for _, tt := range []struct {
		name   string
		client sent
		want   dhcpv4.MessageType // 0 is no answer
	}{
		{"another address than was offered", sent{server: "10.83.0.1", wants: "10.83.0.99"}, dhcpv4.MessageTypeNak},
		{"unknown machine, our network", sent{mac: "02:00:00:00:00:09", wants: "10.83.0.99"}, 0},
		{"unknown machine, another network", sent{mac: "02:00:00:00:00:09", wants: "192.0.2.9"}, dhcpv4.MessageTypeNak},
		{"what was offered", sent{server: "10.83.0.1", wants: a}, dhcpv4.MessageTypeAck},
		{"after a restart, another address", sent{wants: "10.83.0.99"}, dhcpv4.MessageTypeNak},
		{"after a restart, its own", sent{wants: a}, dhcpv4.MessageTypeAck},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.client.kind, tt.client.arch = dhcpv4.MessageTypeRequest, -1
			var got dhcpv4.MessageType
			if m := r.on(t, tt.client); m != nil {
				got = m.MessageType()
			}
			if got != tt.want {
				t.Errorf("answer %v, want %v", got, tt.want)
			}
		})
	}
}

// TestLeaseFar shows that a machine behind a relay gets no address of our
// network.
func TestLeaseFar(t *testing.T) {
	r := testResponder(t, Full, &fixedDirector{})
	r.s.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if m := r.on(t, sent{arch: -1, relay: "192.0.2.1"}); m != nil {
		t.Errorf("answer %v, want none", m)
	}
}

// TestTargeted shows who gets an address in mode targeted: boot clients that
// are to boot the boot environment.
func TestTargeted(t *testing.T) {
	boot := sent{class: "PXEClient:Arch:00007:UNDI:003000", arch: 7}
	for _, tt := range []struct {
		name    string
		verdict Verdict
		client  sent
		address bool
		file    string
	}{
		{"agent", Agent, boot, true, "x64/shim.efi"},
		{"local", Local, boot, false, "x64/shim.efi"},
		{"ignored", Ignore, boot, false, ""},
		{"no boot client", Agent, sent{arch: -1}, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := testResponder(t, Targeted, &fixedDirector{decision: Decision{Verdict: tt.verdict}})
			r.s.Folder = newTestServer(t, &fixedDirector{}).Folder
			m := r.on(t, tt.client)
			if tt.file == "" {
				if m != nil {
					t.Fatalf("answer %v, want none", m)
				}
				return
			}
			if m == nil || m.BootFileName != tt.file || ipv4(m.YourIPAddr).IsValid() != tt.address {
				t.Fatalf("answer %v, want %s, an address: %v", m, tt.file, tt.address)
			}
			if !tt.address {
				return
			}
			if life := m.IPAddressLeaseTime(0); life != 10*time.Minute {
				t.Errorf("lease of %v, want ten minutes", life)
			}
			choose := boot
			choose.kind, choose.server, choose.wants = dhcpv4.MessageTypeRequest, "10.83.0.1", m.YourIPAddr.String()
			if ack := r.on(t, choose); ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck || ack.BootFileName != tt.file {
				t.Errorf("answer to REQUEST %v, want an ACK with %s", ack, tt.file)
			}
		})
	}
	t.Run("chose another server", func(t *testing.T) {
		r := testResponder(t, Targeted, &fixedDirector{decision: Decision{Verdict: Agent}})
		r.s.Folder = newTestServer(t, &fixedDirector{}).Folder
		r.on(t, boot)
		choose := boot
		choose.kind, choose.server, choose.wants = dhcpv4.MessageTypeRequest, "10.83.0.2", "10.83.0.77"
		if m := r.on(t, choose); m != nil {
			t.Errorf("answer %v, want none", m)
		}
		if n := len(r.leases.byAddr); n != 0 {
			t.Errorf("%d addresses are held, want 0", n)
		}
	})
}

// TestPoolFull shows that a pool ends, and begins again when leases have.
func TestPoolFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLeases()
		l.never = map[netip.Addr]bool{netip.MustParseAddr("10.83.0.205"): true}
		given := make(map[netip.Addr]bool)
		for i := range 10 {
			a, ok := l.offer(t.Context(), net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}, netip.Addr{})
			if !ok || given[a] || l.never[a] {
				t.Fatalf("offer %d = %v, %v, want a new address", i, a, ok)
			}
			given[a] = true
		}
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 99}
		if a, ok := l.offer(t.Context(), mac, netip.Addr{}); ok {
			t.Errorf("offer from a full pool = %v, want none", a)
		}
		time.Sleep(offerLife + time.Second)
		if _, ok := l.offer(t.Context(), mac, netip.Addr{}); !ok {
			t.Error("no offer when those before have passed, want one")
		}
	})
}

// TestProbe shows that an address which somebody answers for is not given.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLeases()
		probed := 0
		var free netip.Addr
		l.taken = func(_ context.Context, a netip.Addr) (bool, error) {
			probed++
			free = a
			return probed < 3, nil
		}
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
		a, ok := l.offer(t.Context(), mac, netip.Addr{})
		if !ok || probed != 3 || a != free {
			t.Errorf("offer = %v, %v after %d probes, want %v after 3", a, ok, probed, free)
		}
		if again, ok := l.offer(t.Context(), mac, netip.Addr{}); !ok || again != a || probed != 3 {
			t.Errorf("second offer = %v, %v after %d probes, want %v without another", again, ok, probed, a)
		}
		if !l.decline(mac, a) {
			t.Error("decline = false, want true")
		}
		if next, ok := l.offer(t.Context(), mac, a); !ok || next == a {
			t.Errorf("offer after a decline = %v, %v, want another address", next, ok)
		}
	})
}

// TestWish shows that a machine gets the address that it had elsewhere, if it
// is free.
func TestWish(t *testing.T) {
	l := testLeases()
	wish := netip.MustParseAddr("10.83.0.207")
	if a, ok := l.offer(t.Context(), net.HardwareAddr{2, 0, 0, 0, 0, 1}, wish); !ok || a != wish {
		t.Errorf("offer = %v, %v, want %v", a, ok, wish)
	}
	if a, ok := l.offer(t.Context(), net.HardwareAddr{2, 0, 0, 0, 0, 2}, wish); !ok || a == wish {
		t.Errorf("offer to another machine = %v, %v, want another address", a, ok)
	}
	if a, ok := l.offer(t.Context(), net.HardwareAddr{2, 0, 0, 0, 0, 3}, netip.MustParseAddr("10.83.0.7")); !ok || !l.pool.contains(a) {
		t.Errorf("offer = %v, %v, want one from the pool", a, ok)
	}
}

func TestLeaseFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), leaseFile)
	l := testLeases()
	l.save = func(all map[netip.Addr]holding) error { return saveLeases(name, all) }
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	a, _ := l.offer(t.Context(), mac, netip.Addr{})
	if got, err := l.take(mac, a); got != granted || err != nil {
		t.Fatalf("take = %v, %v, want granted", got, err)
	}
	saved, err := readLeases(name)
	if err != nil {
		t.Fatal(err)
	}
	again := testLeases()
	again.restore(append(saved, savedLease{netip.MustParseAddr("192.0.2.1"), "02:00:00:00:00:02", time.Now()}, savedLease{a, "x", time.Now()}))
	if got, err := again.take(mac, a); got != granted || err != nil {
		t.Errorf("take after a restart = %v, %v, want granted", got, err)
	}
	if n := len(again.byAddr); n != 1 {
		t.Errorf("%d leases were restored, want 1", n)
	}
	for _, bad := range []string{"", "{", `{"schema":2}`, `{"schema":1,"leases":[{"address":"x"}]}`} {
		if err := os.WriteFile(name, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readLeases(name); err == nil {
			t.Errorf("readLeases of %q = %v, want an error", bad, got)
		}
	}
}

func TestParsePool(t *testing.T) {
	for _, text := range []string{"10.0.5.200-220", "10.0.5.200-10.0.5.220"} {
		p, err := ParsePool(text)
		if err != nil || p.String() != "10.0.5.200-10.0.5.220" || p.size() != 21 {
			t.Errorf("ParsePool(%q) = %v, %v, want 21 addresses", text, p, err)
		}
	}
	for _, text := range []string{"", "-", "10.0.5.200", "10.0.5.220-200", "10.0.5.1-x", "::1-::2", "10.0.0.0-10.0.255.255", "10.0.5.1-10.0.5.300"} {
		if p, err := ParsePool(text); err == nil {
			t.Errorf("ParsePool(%q) = %v, want an error", text, p)
		}
	}
}
