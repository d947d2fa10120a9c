package tftp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A udpFront is a front on a UDP socket.
type udpFront struct {
	conn *net.UDPConn
	oob  []byte
}

// newFront makes the kernel tell where each datagram was sent to. An IPv6
// socket that takes IPv4 as well needs both options, and another one has the
// one that its family has.
func newFront(conn *net.UDPConn) (*udpFront, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var err4, err6 error
	err = raw.Control(func(fd uintptr) {
		err4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		err6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	})
	if err != nil {
		return nil, err
	}
	if err4 != nil && err6 != nil {
		return nil, fmt.Errorf("setting IP_PKTINFO: %w", err4)
	}
	return &udpFront{conn: conn, oob: make([]byte, 128)}, nil
}

func (f *udpFront) receive(p []byte) (arrival, error) {
	n, oobn, _, from, err := f.conn.ReadMsgUDPAddrPort(p, f.oob)
	if err != nil {
		return arrival{}, err
	}
	a := arrival{n: n, from: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
	a.to = f.conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	a.inform(f.oob[:oobn])
	return a, nil
}

// inform takes from control messages where a datagram was sent to. That of
// IPv4 also tells our own address in the place of one of everybody; not, if
// the datagram came before the kernel was asked for it.
func (a *arrival) inform(oob []byte) {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		oob = rest
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			a.iface = int(binary.NativeEndian.Uint32(data))
			ours := netip.AddrFrom4([4]byte(data[4:8]))
			a.to = netip.AddrFrom4([4]byte(data[8:12]))
			a.broadcast = a.to.IsMulticast() || !ours.IsUnspecified() && a.to != ours
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			to := netip.AddrFrom16([16]byte(data[:16])).Unmap()
			if to.Is4() {
				continue // the other message says more
			}
			a.iface = int(binary.NativeEndian.Uint32(data[16:]))
			a.to, a.broadcast = to, to.IsMulticast()
		}
	}
}

// stop ends receive by a deadline that has passed: conn is the caller's.
func (f *udpFront) stop() { _ = f.conn.SetReadDeadline(time.Unix(1, 0)) }

func (f *udpFront) open(a arrival) (link, int, error) {
	overhead, local := overhead4, a.to
	if local.Is6() {
		overhead = overhead6
		if a.from.Addr().Zone() != "" {
			local = local.WithZone(a.from.Addr().Zone())
		}
	}
	mtu := 1500
	if ifi, err := net.InterfaceByIndex(a.iface); err == nil {
		mtu = ifi.MTU
	}
	l, err := newUDPLink(local, a.from)
	if err != nil {
		return nil, 0, err
	}
	return l, min(max(mtu-overhead, minBlock), maxBlock), nil
}
