package multicast

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMaxPayload(t *testing.T) {
	for _, tt := range []struct {
		mtu  int
		is6  bool
		want int
	}{
		{1500, false, 1472}, {1500, true, 1452}, {9000, false, 8972}, {65536, false, maxMessage}, {20, false, 0},
	} {
		if got := maxPayload(&net.Interface{MTU: tt.mtu}, tt.is6); got != tt.want {
			t.Errorf("maxPayload of MTU %d, IPv6 %v = %d, want %d", tt.mtu, tt.is6, got, tt.want)
		}
	}
}

func TestLinkRate(t *testing.T) {
	for text, want := range map[string]int64{"1000\n": 1e9, "2500\n": 2_500_000_000, "-1\n": 0, "fast\n": 0, "": 0} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "speed"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := linkRateIn(dir); got != want {
			t.Errorf("linkRateIn of speed %q = %d, want %d", text, got, want)
		}
	}
	if got := linkRate(&net.Interface{Name: "lo"}); got != 0 {
		t.Errorf("linkRate of lo = %d, want 0", got)
	}
}

func TestIsWireless(t *testing.T) {
	for _, name := range []string{"wireless", "phy80211"} {
		dir := t.TempDir()
		if isWirelessIn(dir) {
			t.Error("isWirelessIn of an empty folder = true, want false")
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if !isWirelessIn(dir) {
			t.Errorf("isWirelessIn of a folder with %s = false, want true", name)
		}
	}
	if isWireless(&net.Interface{Name: "lo"}) {
		t.Error("isWireless of lo = true, want false")
	}
}

func TestPickInterface(t *testing.T) {
	for _, tt := range []struct{ name, peer, want, err string }{
		{"lo", "", "lo", ""},
		{"", "127.0.0.1", "lo", ""},
		{"", "::ffff:127.0.0.1", "lo", ""},
		{"", "fe80::1%lo", "lo", ""},
		{"lo", "192.0.2.77", "lo", ""},
		{"none0", "", "", "interface none0: "},
	} {
		var peer netip.Addr
		if tt.peer != "" {
			peer = netip.MustParseAddr(tt.peer)
		}
		checkPick(t, tt.name, peer, tt.want, tt.err)
	}
}

// checkPick checks what pickInterface returns: an interface, or an error that
// contains a text.
func checkPick(t *testing.T, name string, peer netip.Addr, want, text string) {
	t.Helper()
	ifi, err := pickInterface(name, peer)
	switch {
	case want != "" && err != nil:
		t.Errorf("pickInterface(%q, %v): %v, want %s", name, peer, err, want)
	case want != "" && ifi.Name != want:
		t.Errorf("pickInterface(%q, %v) = %s, want %s", name, peer, ifi.Name, want)
	case want == "" && (err == nil || !strings.Contains(err.Error(), text)):
		t.Errorf("pickInterface(%q, %v) = %v, %v, want an error with %q", name, peer, ifi, err, text)
	}
}

func TestDefaultRoutes(t *testing.T) {
	four := `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth1	00000000	010200C0	0003	0	0	100	00000000	0	0	0
wlan0	00000000	010200C0	0003	0	0	600	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth2	00000000	00000000	0001	0	0	0	00000080	0	0	0
short	00000000
`
	if got, want := defaultRoutes4(strings.NewReader(four)), []string{"eth1", "wlan0"}; !slices.Equal(got, want) {
		t.Errorf("defaultRoutes4 = %q, want %q", got, want)
	}
	const zero = "00000000000000000000000000000000"
	six := "fd000000000000000000000000000000 40 " + zero + " 00 " + zero + " 00000100 00000001 00000000 00000001     eth2\n" +
		zero + " 00 " + zero + " 00 fd000000000000000000000000000001 00000400 00000003 00000000 00000003     eth0\n" +
		zero + " 80 " + zero + " 00 " + zero + " 00000400 00000003 00000000 00000003     eth3\n" +
		zero + " 00\n"
	if got, want := defaultRoutes6(strings.NewReader(six)), []string{"eth0"}; !slices.Equal(got, want) {
		t.Errorf("defaultRoutes6 = %q, want %q", got, want)
	}
}

func TestRootPickInterface(t *testing.T) {
	ns := newNetns(t)
	none := netip.Addr{}
	ns.run(t, func() { checkPick(t, "", none, "", "no interface is up") })

	// A bridge with a port, of which the bridge is to be used.
	ns.ip(t, "link", "add", "room", "type", "bridge")
	ns.ip(t, "link", "add", "port", "type", "veth", "peer", "name", "lab")
	ns.ip(t, "link", "set", "port", "master", "room", "up")
	ns.ip(t, "link", "set", "room", "up")
	ns.ip(t, "addr", "add", "10.83.1.1/24", "dev", "room")
	ns.ip(t, "addr", "add", "10.83.2.1/24", "dev", "lab")
	ns.run(t, func() {
		checkPick(t, "lab", none, "", "interface lab: link is down")
		if _, err := pickInterface("lab", none); !errors.Is(err, errLinkDown) {
			t.Errorf("pickInterface(lab) = %v, want %v", err, errLinkDown)
		}
	})
	ns.ip(t, "link", "set", "lab", "up")
	for _, name := range []string{"lab", "room"} {
		ns.until(t, func() bool {
			ifi, err := net.InterfaceByName(name)
			return err != nil || ifi.Flags&net.FlagRunning != 0
		})
	}
	ns.run(t, func() {
		checkPick(t, "", none, "", "several interfaces can do multicast: ")
		checkPick(t, "", netip.MustParseAddr("10.83.1.7"), "room", "")
		checkPick(t, "", netip.MustParseAddr("10.83.2.7"), "lab", "")
		checkPick(t, "", netip.MustParseAddr("10.83.2.1"), "lab", "")
		checkPick(t, "", netip.MustParseAddr("192.0.2.7"), "", "interface to 192.0.2.7: ")
	})
	ns.ip(t, "route", "add", "default", "via", "10.83.1.9", "metric", "20")
	ns.ip(t, "route", "add", "default", "via", "10.83.2.9", "metric", "10")
	ns.run(t, func() {
		checkPick(t, "", none, "lab", "")
		checkPick(t, "", netip.MustParseAddr("192.0.2.7"), "lab", "")
		checkPick(t, "room", none, "room", "")
	})
	ns.ip(t, "link", "set", "lab", "down")
	ns.ip(t, "link", "set", "room", "down")
	ns.run(t, func() { checkPick(t, "", none, "", "no interface is up") })
}
