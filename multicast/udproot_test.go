package multicast

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// wireGroups are the groups of tests on a wire.
var wireGroups = map[string]netip.AddrPort{
	"IPv4": netip.MustParseAddrPort("239.255.83.1:7781"),
	"IPv6": netip.MustParseAddrPort("[ff15::5343:1]:7781"),
}

func TestRootTrain(t *testing.T) {
	a, b := newWire(t)
	fromIfi, toIfi := a.iface(t, "net0"), b.iface(t, "net0")
	for name, group := range wireGroups {
		t.Run(name, func(t *testing.T) {
			size := maxPayload(fromIfi, group.Addr().Is6())
			for i, mode := range offloads.send {
				for _, receiving := range offloads.receive {
					var s *dataSender
					var r *dataReceiver
					a.run(t, func() { s = openSender(t, senderOptions{Interface: fromIfi, Group: group}, mode) })
					b.run(t, func() { r = openReceiver(t, receiverOptions{Interface: toIfi, Group: group}, receiving) })
					for _, train := range [][2]int{{maxTrain * size, size}, {10*size + 123, size}, {maxTrain * 9, 9}, {17, size}} {
						checkTrain(t, s, r, train[0], train[1])
					}
					if got := s.offload(); got != offloads.send[i] {
						t.Errorf("offload = %s after the trains, want %s", got, offloads.send[i])
					}
				}
			}
		})
	}
}

// TestRootNoOffload switches off all that the interface does for trains.
func TestRootNoOffload(t *testing.T) {
	lab.Tools(t, "ethtool")
	a, b := newWire(t)
	lab.Run(t, "ip", "netns", "exec", string(a), "ethtool", "-K", "net0", "tx", "off", "gso", "off", "tso", "off", "tx-udp-segmentation", "off")
	for name, group := range wireGroups {
		t.Run(name, func(t *testing.T) {
			var s *dataSender
			var r *dataReceiver
			a.run(t, func() { s = openSender(t, senderOptions{Interface: a.iface(t, "net0"), Group: group}, offloadGSO) })
			b.run(t, func() { r = openReceiver(t, receiverOptions{Interface: b.iface(t, "net0"), Group: group}, offloadGRO) })
			checkTrain(t, s, r, 10*1400+123, 1400) // by GSO in software or a fall back, as the kernel likes
		})
	}
}

func TestRootTooLarge(t *testing.T) {
	a, _ := newWire(t)
	ifi := a.iface(t, "net0")
	for name, group := range wireGroups {
		for _, mode := range offloads.send {
			var s *dataSender
			a.run(t, func() { s = openSender(t, senderOptions{Interface: ifi, Group: group}, mode) })
			size := maxPayload(ifi, group.Addr().Is6()) + 1
			err := s.send(make([]byte, 2*size), size)
			if !errors.Is(err, unix.EMSGSIZE) || !strings.Contains(err.Error(), "too many for its MTU of 1500") {
				t.Errorf("%s, %s: send of %d bytes = %v, want %v with the MTU", name, mode, size, err, unix.EMSGSIZE)
			}
			if err := s.send(make([]byte, 2*(size-1)), size-1); err != nil {
				t.Errorf("%s, %s: send of %d bytes = %v", name, mode, size-1, err)
			}
		}
	}
}

func TestRootLinkDown(t *testing.T) {
	a, b := newWire(t)
	for name, group := range wireGroups {
		var s *dataSender
		var r *dataReceiver
		a.run(t, func() { s = openSender(t, senderOptions{Interface: a.iface(t, "net0"), Group: group}, offloadGSO) })
		b.run(t, func() { r = openReceiver(t, receiverOptions{Interface: b.iface(t, "net0"), Group: group}, offloadGRO) })
		checkTrain(t, s, r, 3000, 1400)

		a.ip(t, "link", "set", "net0", "down")
		if err := s.send(pattern(3000), 1400); !errors.Is(err, errLinkDown) || !strings.Contains(err.Error(), "net0") {
			t.Errorf("%s: send by an interface that is down = %v, want %v", name, err, errLinkDown)
		}
		a.up(t)
		a.ip(t, "addr", "replace", "fd83::1/64", "dev", "net0", "nodad") // it is lost with the link
		a.ready(t)
		b.ready(t)
		checkTrain(t, s, r, 3000, 1400)

		b.ip(t, "link", "set", "net0", "down")
		if err := r.rejoin(); err != nil {
			t.Errorf("%s: rejoin on an interface that is down: %v", name, err)
		}
		b.up(t)
		a.ready(t)
		b.ready(t)
		checkTrain(t, s, r, 3000, 1400)
	}
}

func TestRootLinkGone(t *testing.T) {
	for name, group := range wireGroups {
		a, b := newWire(t)
		var s *dataSender
		var r *dataReceiver
		a.run(t, func() { s = openSender(t, senderOptions{Interface: a.iface(t, "net0"), Group: group}, offloadGSO) })
		b.run(t, func() { r = openReceiver(t, receiverOptions{Interface: b.iface(t, "net0"), Group: group}, offloadGRO) })
		a.ip(t, "link", "del", "net0")
		if err := s.send(pattern(3000), 1400); !errors.Is(err, errLinkDown) {
			t.Errorf("%s: send = %v, want %v", name, err, errLinkDown)
		}
		if err := r.rejoin(); !errors.Is(err, errLinkDown) {
			t.Errorf("%s: rejoin = %v, want %v", name, err, errLinkDown)
		}
	}
}

func TestRootGroupsApart(t *testing.T) {
	a, _ := newWire(t)
	ifi := a.iface(t, "net0")
	a.run(t, func() {
		checkFirst(t, ifi, wireGroups["IPv4"], netip.MustParseAddrPort("239.255.83.2:7781"))
		checkFirst(t, ifi, wireGroups["IPv6"], netip.MustParseAddrPort("[ff15::5343:2]:7781"))
		checkFirst(t, ifi, wireGroups["IPv6"], netip.MustParseAddrPort("[ff02::5343:2]:7781"))
	})
}

func TestRootSource(t *testing.T) {
	ns, _ := newWire(t)
	ns.ip(t, "addr", "add", "fd83::9/64", "dev", "net0", "nodad")
	ifi := ns.iface(t, "net0")
	ns.run(t, func() {
		for _, addr := range []string{"ff15::5343:1", "ff35::5343:1"} {
			checkSourceFilter(t, ifi, netip.AddrPortFrom(netip.MustParseAddr(addr), 7781), "fd83::9", "fd83::1")
		}
	})
}

// TestRootLoopback shows that receivers on the sender's machine hear it if they
// are meant to.
func TestRootLoopback(t *testing.T) {
	a, _ := newWire(t)
	ifi := a.iface(t, "net0")
	a.run(t, func() {
		for name, group := range wireGroups {
			r := openReceiver(t, receiverOptions{Interface: ifi, Group: group}, offloadGRO)
			for _, loop := range []bool{false, true} {
				s := openSender(t, senderOptions{Interface: ifi, Group: group, Loopback: loop}, offloadGSO)
				if err := s.send([]byte{map[bool]byte{true: 1}[loop]}, 1); err != nil {
					t.Fatal(err)
				}
			}
			if got := collect(t, r, 1)[0][0]; got != 1 {
				t.Errorf("%s: heard what was sent without loopback", name)
			}
		}
	})
}

// TestRootBuffer exceeds the limit of the system.
func TestRootBuffer(t *testing.T) {
	lab.Root(t)
	lo, group := loopback(t)
	r := openReceiver(t, receiverOptions{Interface: lo, Group: group, Buffer: 64 << 20}, offloadGRO)
	if got := r.buffer(); got != 64<<20 {
		t.Errorf("buffer = %d, want %d", got, 64<<20)
	}
}

// TestRootBackpressure sends by a slow link with a short queue, which loses
// nothing because the sender waits for it.
func TestRootBackpressure(t *testing.T) {
	lab.Tools(t, "tc")
	a, b := newWire(t)
	lab.Run(t, "ip", "netns", "exec", string(a), "tc", "qdisc", "add", "dev", "net0", "root",
		"tbf", "rate", "200mbit", "burst", "128kb", "limit", "512kb")
	const n = 60 // trains, 3.6 MB
	for _, mode := range offloads.send {
		var s *dataSender
		var r *dataReceiver
		a.run(t, func() {
			s = openSender(t, senderOptions{Interface: a.iface(t, "net0"), Group: wireGroups["IPv4"]}, mode)
		})
		b.run(t, func() {
			opt := receiverOptions{Interface: b.iface(t, "net0"), Group: wireGroups["IPv4"], Buffer: 64 << 20}
			r = openReceiver(t, opt, offloadGRO)
		})
		for range n {
			if err := s.send(pattern(maxTrain*1400), 1400); err != nil {
				t.Fatal(err)
			}
		}
		collect(t, r, n*maxTrain)
	}
}

// A tap shows what arrives at an interface, from the IP header on.
type tap struct {
	f *os.File
	p []byte
}

// openTap opens a tap of the protocol (ETH_P) on ifi in the namespace of the
// thread.
func openTap(t *testing.T, ifi *net.Interface, protocol uint16) *tap {
	t.Helper()
	network := protocol<<8 | protocol>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(network))
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "tap")
	t.Cleanup(func() { f.Close() })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network, Ifindex: ifi.Index}); err != nil {
		t.Fatal(err)
	}
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &tap{f: f, p: make([]byte, 1<<16)}
}

// next returns the next packet that is wanted.
func (w *tap) next(t *testing.T, wanted func(p []byte) bool) []byte {
	t.Helper()
	for {
		n, err := w.f.Read(w.p)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(w.p[:n]) {
			return bytes.Clone(w.p[:n])
		}
	}
}

// TestRootHeader reads what is on the wire.
func TestRootHeader(t *testing.T) {
	a, b := newWire(t)
	var four, six *tap
	b.run(t, func() {
		four, six = openTap(t, b.iface(t, "net0"), unix.ETH_P_IP), openTap(t, b.iface(t, "net0"), unix.ETH_P_IPV6)
	})
	for _, mode := range offloads.send {
		for _, group := range wireGroups {
			var s *dataSender
			a.run(t, func() { s = openSender(t, senderOptions{Interface: a.iface(t, "net0"), Group: group, Hops: 5}, mode) })
			if err := s.send(pattern(3000), 1000); err != nil {
				t.Fatal(err)
			}
		}
		p := four.next(t, func(p []byte) bool { return p[9] == unix.IPPROTO_UDP })
		if tos, fragment, ttl := p[1], binary.BigEndian.Uint16(p[6:]), p[8]; tos != 0x20 || fragment != 0x4000 || ttl != 5 {
			t.Errorf("%s, IPv4: TOS %#x, fragment %#x, TTL %d, want 0x20, 0x4000 (do not fragment), 5", mode, tos, fragment, ttl)
		}
		p = six.next(t, func(p []byte) bool { return p[6] == unix.IPPROTO_UDP })
		if class, hops := binary.BigEndian.Uint16(p)>>4&0xff, p[7]; class != 0x20 || hops != 5 {
			t.Errorf("%s, IPv6: traffic class %#x, hop limit %d, want 0x20, 5", mode, class, hops)
		}
	}
}

// TestRootRejoinReport shows that switches hear of a rejoin. Reports are not
// repeated here, so that each is for a join.
func TestRootRejoinReport(t *testing.T) {
	a, b := newWire(t)
	a.sysctl(t, "net/ipv4/igmp_qrv", "1")
	group := wireGroups["IPv4"]
	address := group.Addr().AsSlice()
	// An IGMPv3 report that has the group in its first record (RFC 3376, section
	// 4.2), behind an IP header with one option.
	joins := func(p []byte) bool {
		return p[9] == unix.IPPROTO_IGMP && len(p) >= 40 && p[24] == 0x22 && bytes.Equal(p[36:40], address)
	}
	var w *tap
	b.run(t, func() { w = openTap(t, b.iface(t, "net0"), unix.ETH_P_IP) })
	var r *dataReceiver
	a.run(t, func() { r = openReceiver(t, receiverOptions{Interface: a.iface(t, "net0"), Group: group}, offloadGRO) })
	for i := range 3 {
		if kind := w.next(t, joins)[32]; kind != 4 { // change to exclude mode: of nothing
			t.Errorf("record %d of IGMP is of type %d, want 4", i, kind)
		}
		if err := r.rejoin(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRootRejoinReport6 is TestRootRejoinReport with MLDv1, in which leaving can
// be heard, too.
func TestRootRejoinReport6(t *testing.T) {
	a, b := newWire(t)
	a.sysctl(t, "net/ipv6/conf/net0/force_mld_version", "1")
	group := wireGroups["IPv6"]
	address := group.Addr().AsSlice()
	// The type of an MLD message for the group (RFC 2710, section 3), behind an
	// IPv6 header and one of 8 bytes with an option.
	kind := func(p []byte) byte {
		if len(p) >= 72 && p[6] == 0 && p[40] == unix.IPPROTO_ICMPV6 && bytes.Equal(p[56:72], address) {
			return p[48]
		}
		return 0
	}
	const report, done = 131, 132
	var w *tap
	b.run(t, func() { w = openTap(t, b.iface(t, "net0"), unix.ETH_P_IPV6) })
	var r *dataReceiver
	a.run(t, func() { r = openReceiver(t, receiverOptions{Interface: a.iface(t, "net0"), Group: group}, offloadGRO) })
	for range 3 {
		w.next(t, func(p []byte) bool { return kind(p) == report })
		if err := r.rejoin(); err != nil {
			t.Fatal(err)
		}
		w.next(t, func(p []byte) bool { return kind(p) == done })
	}
	w.next(t, func(p []byte) bool { return kind(p) == report })
}
