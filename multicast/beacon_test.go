package multicast

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"slipcast/internal/lab"
)

// serveBeacon announces a session from a namespace until the test ends.
func serveBeacon(t *testing.T, ns netns, from netip.Addr, a announcement) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ns.run(t, func() {
			defer func() { <-ctx.Done() }()
			b, err := openBeacon("net0", from)
			close(ready)
			if err != nil {
				t.Error(err)
				return
			}
			defer b.close()
			newAnnouncer(b, a, nil, slog.New(slog.DiscardHandler)).run(ctx)
		})
	}()
	<-ready
	t.Cleanup(func() { cancel(); <-done })
}

// findFrom looks for a session from a namespace.
func findFrom(t *testing.T, ns netns, iface, name string, limit time.Duration) (s *sighting, err error) {
	t.Helper()
	ns.run(t, func() {
		b, openErr := openBeacon(iface, netip.Addr{})
		if openErr != nil {
			t.Error(openErr)
			return
		}
		defer b.close()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		s, err = findSession(ctx, b, name, nil)
	})
	return s, err
}

var sessionForTest = announcement{session: 7, port: 7001, name: "room", title: "Debian 12", fingerprint: [32]byte{9}}

// TestRootBeacon finds a session over a wire where one or the other way is
// blocked.
func TestRootBeacon(t *testing.T) {
	tests := []struct {
		name    string
		rules   []string // what the receiver's firewall drops
		prepare func(t *testing.T, ns netns)
		want    string // families of the addresses, in order
	}{
		{"all ways", nil, nil, "46"},
		{"no multicast", []string{"ip daddr 224.0.0.0/4 drop", "ip6 daddr ff00::/8 drop"}, nil, "4"},
		{"no broadcast", []string{"ip daddr 255.255.255.255 drop"}, nil, "46"},
		{"IPv6 alone", nil, func(t *testing.T, ns netns) { ns.ip(t, "-4", "addr", "flush", "dev", "net0") }, "6"},
		{"no IPv6", nil, func(t *testing.T, ns netns) { ns.sysctl(t, "net/ipv6/conf/net0/disable_ipv6", "1") }, "4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkLeaks(t)
			a, b := newWire(t)
			if tt.rules != nil {
				lab.Tools(t, "nft")
				text := "table inet f {\nchain c {\ntype filter hook input priority 0\n" + strings.Join(tt.rules, "\n") + "\n}\n}\n"
				lab.Run(t, "ip", "netns", "exec", string(b), "nft", text)
			}
			if tt.prepare != nil {
				tt.prepare(t, a)
				tt.prepare(t, b)
			}
			serveBeacon(t, a, netip.Addr{}, sessionForTest)
			s, err := findFrom(t, b, "", "room", 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if s.announcement != sessionForTest {
				t.Errorf("found %+v, want %+v", s.announcement, sessionForTest)
			}
			if got := families(t, s.addrs); got != tt.want {
				t.Errorf("addresses %v of the families %q, want %q", s.addrs, got, tt.want)
			}
		})
	}
}

// families returns which ones the addresses of the sender have. While the
// kernel still tries a link-local address, it takes another one.
func families(t *testing.T, addrs []netip.AddrPort) string {
	t.Helper()
	got := ""
	for _, a := range addrs {
		local := a.Addr().IsLinkLocalUnicast() && a.Addr().Zone() == "net0" && a.Port() == sessionForTest.port
		switch {
		case a == netip.MustParseAddrPort("10.83.0.1:7001"):
			got += "4"
		case !local && a != netip.MustParseAddrPort("[fd83::1]:7001"):
			t.Errorf("the address %v is not one of the sender", a)
		case !strings.HasSuffix(got, "6"):
			got += "6"
		}
	}
	return got
}

// TestRootBeaconCrowd has two senders and a receiver on one machine, and a
// receiver on another.
func TestRootBeaconCrowd(t *testing.T) {
	checkLeaks(t)
	a, b := newWire(t)
	other := sessionForTest
	other.session, other.name = 8, "lab"
	serveBeacon(t, a, netip.Addr{}, sessionForTest)
	serveBeacon(t, a, netip.Addr{}, other)
	for _, ns := range []netns{a, b} {
		for name, want := range map[string]uint64{"room": 7, "lab": 8} {
			if s, err := findFrom(t, ns, "net0", name, 10*time.Second); err != nil || s.session != want {
				t.Errorf("findSession(%q) = %v, %v, want session %d", name, s, err, want)
			}
		}
		if s, err := findFrom(t, ns, "net0", "", 10*time.Second); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("findSession = %v, %v, want ErrAmbiguous", s, err)
		}
	}
}

// TestRootBeaconFrom announces a sender that listens on one of its addresses.
func TestRootBeaconFrom(t *testing.T) {
	checkLeaks(t)
	a, b := newWire(t)
	a.ip(t, "addr", "add", "10.83.0.77/24", "dev", "net0")
	serveBeacon(t, a, netip.MustParseAddr("10.83.0.77"), sessionForTest)
	s, err := findFrom(t, b, "", "", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if want := netip.MustParseAddrPort("10.83.0.77:7001"); len(s.addrs) != 1 || s.addrs[0] != want {
		t.Errorf("addresses %v, want 10.83.0.77:7001", s.addrs)
	}
}

// TestRootBeaconDown looks for a session before there is a link, which comes
// up later.
func TestRootBeaconDown(t *testing.T) {
	checkLeaks(t)
	a, b := newWire(t)
	b.ip(t, "link", "set", "net0", "down")
	if s, err := findFrom(t, b, "", "", 10*time.Millisecond); !errors.Is(err, ErrNoSession) || !strings.Contains(err.Error(), "no interface is up") {
		t.Errorf("findSession = %v, %v, want that no interface is up", s, err)
	}
	serveBeacon(t, a, netip.Addr{}, sessionForTest)
	timer := time.AfterFunc(200*time.Millisecond, func() { b.up(t) })
	defer timer.Stop()
	if s, err := findFrom(t, b, "", "", 10*time.Second); err != nil || s.session != 7 {
		t.Errorf("findSession = %v, %v, want session 7", s, err)
	}
}

// TestRootBeaconLoopback uses a machine without a network.
func TestRootBeaconLoopback(t *testing.T) {
	checkLeaks(t)
	ns := newNetns(t)
	ns.run(t, func() {
		b, err := openBeacon("lo", netip.Addr{})
		if err != nil {
			t.Error(err)
			return
		}
		defer b.close()
		if err := b.send(sessionForTest.append(nil, nil)); err != nil {
			t.Error(err)
			return
		}
		select {
		case h := <-b.hear():
			if got, err := parseAnnouncement(h.p, nil); got != sessionForTest || err != nil {
				t.Errorf("heard %+v, %v, want %+v", got, err, sessionForTest)
			}
		case <-time.After(5 * time.Second):
			t.Error("nothing is heard")
		}
	})
}
