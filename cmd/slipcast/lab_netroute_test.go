package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// Options of linux/mroute.h.
const (
	mrtInit   = 200
	mrtAddVIF = 202
	mrtAddMFC = 204
)

// A labRouter passes datagrams of one group from the network to a machine
// behind it.
type labRouter struct {
	*labNet
	socket int
}

// steps runs lines of shell on a machine.
func (n *labNet) steps(where string, steps ...string) {
	n.t.Helper()
	for _, step := range steps {
		n.exec(where, "sh", "-c", step)
	}
}

// route makes receiver 1 a router for receiver 2, which leaves the switch.
func (n *labNet) route() *labRouter {
	n.t.Helper()
	n.steps("2", "ip link delete eth0")
	n.steps("1",
		"ip link add eth1 type veth peer name eth0 netns "+n.name+"-2",
		"ip address add 10.84.0.1/24 dev eth1", "ip link set eth1 up", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	n.steps("2", "ip link set eth0 up", "ip address add 10.84.0.2/24 dev eth0", "ip route add default via 10.84.0.1")
	n.steps("s", "ip route add 10.84.0.0/24 via 10.83.0.11")
	n.steps("sw", "ip link set p1 type bridge_slave mcast_router 2") // all groups go to the router
	r := &labRouter{labNet: n}
	n.inside("1", func() {
		var err error
		if r.socket, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_IGMP); err != nil {
			n.t.Error(err)
			return
		}
		r.set(mrtInit, binary.NativeEndian.AppendUint32(nil, 1))
		r.addVIF(0, "10.83.0.11")
		r.addVIF(1, "10.84.0.1")
	})
	n.t.Cleanup(func() { unix.Close(r.socket) })
	return r
}

// set sets an option of multicast routing.
func (r *labRouter) set(option int, value []byte) {
	r.t.Helper()
	if err := unix.SetsockoptString(r.socket, unix.IPPROTO_IP, option, string(value)); err != nil {
		r.t.Errorf("multicast routing, option %d: %v", option, err)
	}
}

// addVIF makes the interface of an address known (struct vifctl).
func (r *labRouter) addVIF(number uint16, address string) {
	r.t.Helper()
	v := binary.NativeEndian.AppendUint16(nil, number)
	v = append(v, 0, 1)                        // flags, least TTL
	v = binary.NativeEndian.AppendUint32(v, 0) // no limit of the rate
	v = append(v, netip.MustParseAddr(address).AsSlice()...)
	r.set(mrtAddVIF, append(v, 0, 0, 0, 0)) // no tunnel
}

// pass lets a group from a source through, from the first interface to the
// second one (struct mfcctl).
func (r *labRouter) pass(source, group netip.Addr) {
	r.t.Helper()
	m := append(source.AsSlice(), group.AsSlice()...)
	m = binary.NativeEndian.AppendUint16(m, 0) // comes from
	ttls := make([]byte, 32)
	ttls[1] = 1
	m = append(m, ttls...)
	m = append(m, make([]byte, 60-len(m))...) // counters
	r.set(mrtAddMFC, m)
}

// Data pass a router if --hops says so, and else the receiver behind it gets
// the image by HTTPS.
func TestRootNetHops(t *testing.T) {
	t.Parallel()
	// The kernel's router drops trains of segments, which are longer than the
	// MTU (net/ipv4/ipmr.c, ipmr_queue_xmit).
	n, x := newLabNet(t, "--receivers", "2", "--no-offload"), newLabNoise(t, 8)
	r := n.route()
	for _, hops := range []int{1, 2} {
		t.Run(fmt.Sprint(hops), func(t *testing.T) {
			n, target := n.in(t), labNew(t, 1)[0]
			s := n.send(x.image, "--wait", "1", "--hops", fmt.Sprint(hops))
			group := netip.MustParseAddrPort(fmt.Sprint(s.await("session", nil)["group"]))
			r.pass(netip.MustParseAddr("10.83.0.1"), group.Addr())
			o := n.receive(2, target, "--from", "10.83.0.1").result("received")
			x.want(t, target)
			s.result("sent")
			fetched, datagrams := labNumber(t, o, "fetched_bytes"), labNumber(t, o, "datagrams")
			if byHTTPS := hops == 1; (fetched >= x.size) != byHTTPS || (datagrams > x.size/1500) == byHTTPS {
				t.Errorf("%d bytes came by HTTPS and %d datagrams", fetched, datagrams)
			}
		})
	}
}
