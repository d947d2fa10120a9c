package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A machine that hears the session repeats its datagrams, changes them and
// makes up its own, under the sender's address. Receivers count and drop them.
func TestRootNetForged(t *testing.T) {
	t.Parallel()
	n, x, targets := newLabNet(t, "--receivers", "3"), newLabNoise(t, 12), labNew(t, 2)
	s := n.send(x.image, "--wait", "2", "--rate", labSlow)
	group := netip.MustParseAddrPort(fmt.Sprint(s.await("session", nil)["group"]))
	f := n.newForger("3", group)
	all := []*labProcess{n.receive(1, targets[0]), n.receive(2, targets[1])}
	sent := 0
	for i := 0; !all[0].isOver(); i++ {
		if p := f.hear(); p != nil && i%5 == 0 { // which still fits onto the wire
			sent += f.forge(p)
		}
	}
	if sent < 1000 {
		t.Errorf("only %d datagrams were forged", sent)
	}
	for i, r := range all {
		o := r.result("received")
		x.want(t, targets[i])
		dropped := labNumber(t, o, "dropped")
		t.Logf("%d of %d forged datagrams were counted", dropped, sent)
		if dropped < int64(sent)/2 || labNumber(t, o, "fetched_bytes") > 0 {
			t.Errorf("%d datagrams were dropped and %v bytes fetched by HTTPS, want those of %d that are no mere repetitions, and none", dropped, o["fetched_bytes"], sent)
		}
	}
	s.result("sent")
}

// A labForger hears a group and sends to it as somebody else.
type labForger struct {
	t     testing.TB
	in    net.PacketConn
	out   int
	group unix.SockaddrInet4
}

// newForger makes one on a machine, that sends as the sender.
func (n *labNet) newForger(where string, group netip.AddrPort) *labForger {
	n.t.Helper()
	f := &labForger{t: n.t, group: unix.SockaddrInet4{Port: int(group.Port()), Addr: group.Addr().As4()}}
	var err error
	n.inside(where, func() {
		var ifi *net.Interface
		if ifi, err = net.InterfaceByName("eth0"); err != nil {
			return
		}
		if f.in, err = net.ListenMulticastUDP("udp4", ifi, net.UDPAddrFromAddrPort(group)); err != nil {
			return
		}
		f.out, err = labTransparent(ifi.Index)
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		f.in.Close()
		unix.Close(f.out)
	})
	return f
}

// labTransparent opens a socket that sends as 10.83.0.1, wherever it is.
func labTransparent(ifi int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1); err != nil {
		return -1, os.NewSyscallError("setsockopt IP_TRANSPARENT", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0); err != nil { // it does not hear itself
		return -1, os.NewSyscallError("setsockopt IP_MULTICAST_LOOP", err)
	}
	if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(ifi)}); err != nil {
		return -1, os.NewSyscallError("setsockopt IP_MULTICAST_IF", err)
	}
	return fd, os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{10, 83, 0, 1}}))
}

// hear returns a datagram of the group, nil if none comes for a while.
func (f *labForger) hear() []byte {
	p := make([]byte, 9000)
	_ = f.in.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, _, err := f.in.ReadFrom(p)
	if err != nil {
		return nil
	}
	return p[:n]
}

// forge sends again what was heard; the same with another symbol in it, and
// under a sequence that is still to come (docs/protocol.md, section 3); and half of it.
func (f *labForger) forge(heard []byte) int {
	changed := append([]byte(nil), heard...)
	changed[100] ^= 1
	future := append([]byte(nil), heard...)
	binary.LittleEndian.PutUint32(future[4:], binary.LittleEndian.Uint32(heard[4:])+1000)
	list := [][]byte{heard, changed, future, heard[:len(heard)/2]}
	for _, p := range list {
		if err := unix.Sendto(f.out, p, 0, &f.group); err != nil {
			f.t.Fatalf("sendto: %v", err)
		}
	}
	return len(list)
}
