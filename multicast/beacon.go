package multicast

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// heardQueue is how many announcements and queries wait to be taken.
const heardQueue = 64

// A beacon sends announcements and queries by its interfaces, and hears those
// that come by them. It is an [air]. Many of them work on one machine.
type beacon struct {
	interfaces func() ([]net.Interface, error) // asked before each datagram, since they come and go
	ways       []*beaconWay
	queue      chan heard
	running    sync.WaitGroup

	mu    sync.Mutex
	names map[int]string // of the interfaces that are heard, by index
}

// A beaconWay is a socket for IPv4 or IPv6.
type beaconWay struct {
	conn   *net.UDPConn
	group  netip.Addr
	to     []netip.Addr // where datagrams go
	from   netip.Addr   // where they come from; if not valid, the kernel takes an address of the interface
	joined map[int]bool // interfaces by index
}

// openBeacon opens the port for announcements on the interface with a name or,
// if that is empty, on all that are fit. Datagrams come from the address from,
// if it is valid, and only by its family. The caller closes the beacon.
func openBeacon(name string, from netip.Addr) (*beacon, error) {
	b := &beacon{
		interfaces: fitInterfaces,
		queue:      make(chan heard, heardQueue),
		names:      make(map[int]string),
	}
	if name != "" {
		b.interfaces = func() ([]net.Interface, error) {
			ifi, err := namedInterface(name)
			if err != nil {
				return nil, err
			}
			return []net.Interface{*ifi}, nil
		}
	}
	err := b.open(from.Unmap().WithZone(""))
	if len(b.ways) == 0 {
		return nil, fmt.Errorf("opening UDP port %d for announcements: %w", discoveryPort, err)
	}
	for _, w := range b.ways {
		b.running.Go(func() { b.listen(w) })
	}
	b.join() // what cannot be joined yet is tried again with each datagram
	return b, nil
}

// fitInterfaces returns all interfaces that a session can use.
func fitInterfaces() ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	fit := slices.DeleteFunc(all, func(ifi net.Interface) bool { return !isFit(&ifi) })
	if len(fit) == 0 {
		return nil, errors.New("no interface is up and can do multicast")
	}
	return fit, nil
}

// open opens the sockets. One of two is enough: a kernel may do without IPv6.
func (b *beacon) open(from netip.Addr) error {
	group4, broadcast := netip.AddrFrom4([4]byte{239, 255, 83, 67}), netip.AddrFrom4([4]byte{255, 255, 255, 255})
	group6 := netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 13: 0x01, 14: 0x53, 15: 0x43})
	var errs []error
	for _, w := range []*beaconWay{
		{group: group4, to: []netip.Addr{group4, broadcast}, from: from},
		{group: group6, to: []netip.Addr{group6}, from: from},
	} {
		if from.IsValid() && !from.IsUnspecified() && from.Is4() != w.group.Is4() {
			continue
		}
		conn, err := openSocket(family(w.group), w.prepare)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.conn, w.joined = conn, make(map[int]bool)
		b.ways = append(b.ways, w)
	}
	return errors.Join(errs...)
}

// prepare makes the socket one of many on its port.
func (w *beaconWay) prepare(fd int) error {
	opts := []sockopt{
		{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, false},
		{"SO_BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST, 1, false},
		{"IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, 1, false},
		{"IP_TTL", unix.IPPROTO_IP, unix.IP_TTL, 1, false}, // of broadcasts
		{"IP_MULTICAST_TTL", unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, 1, false},
		{"IP_MULTICAST_LOOP", unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 1, false},
		{"IP_MULTICAST_ALL", unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0, false},
	}
	var any4 unix.Sockaddr = &unix.SockaddrInet4{Port: discoveryPort}
	if w.group.Is6() {
		opts = []sockopt{
			{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, false},
			{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, false},
			{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1, false},
			{"IPV6_MULTICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 1, false},
			{"IPV6_MULTICAST_LOOP", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 1, false},
			{"IPV6_MULTICAST_ALL", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0, true},
		}
		any4 = &unix.SockaddrInet6{Port: discoveryPort}
	}
	if err := setOptions(fd, opts); err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, any4))
}

// close closes the beacon. It returns when nothing is heard any more.
func (b *beacon) close() {
	for _, w := range b.ways {
		w.conn.Close()
	}
	b.running.Wait()
}

// send implements [air]. It is enough if one datagram of many can be sent.
func (b *beacon) send(p []byte) error {
	fit, err := b.join()
	if err != nil {
		return err
	}
	var errs []error
	sent := 0
	for i := range fit {
		for _, w := range b.ways {
			n, err := w.send(p, &fit[i])
			sent += n
			errs = append(errs, err)
		}
	}
	if sent > 0 {
		return nil
	}
	return errors.Join(errs...)
}

// join makes the beacon hear the interfaces that there are now, and returns
// them.
func (b *beacon) join() ([]net.Interface, error) {
	fit, err := b.interfaces()
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range fit {
		b.names[fit[i].Index] = fit[i].Name
		for _, w := range b.ways {
			w.join(fit[i].Index)
		}
	}
	return fit, nil
}

// join joins the group on an interface, which may lack the family for now.
func (w *beaconWay) join(index int) {
	raw, err := w.conn.SyscallConn()
	if err != nil || w.joined[index] {
		return
	}
	raw.Control(func(fd uintptr) { err = joinGroup(int(fd), index, w.group, netip.Addr{}) })
	w.joined[index] = err == nil
}

// send sends p to all by ifi and returns how many datagrams that were.
func (w *beaconWay) send(p []byte, ifi *net.Interface) (int, error) {
	if w.group.Is4() && !hasIPv4(ifi) {
		return 0, fmt.Errorf("interface %s has no IPv4 address", ifi.Name) // the kernel would take another one's
	}
	sent := 0
	var errs []error
	for _, to := range w.to {
		if to.Is6() {
			to = to.WithZone(strconv.Itoa(ifi.Index))
		}
		if _, _, err := w.conn.WriteMsgUDPAddrPort(p, w.control(ifi), netip.AddrPortFrom(to, discoveryPort)); err != nil {
			errs = append(errs, err)
			continue
		}
		sent++
	}
	return sent, errors.Join(errs...)
}

// control returns the control message that makes a datagram leave by ifi.
func (w *beaconWay) control(ifi *net.Interface) []byte {
	if w.group.Is4() {
		info := &unix.Inet4Pktinfo{Ifindex: int32(ifi.Index)}
		if w.from.Is4() {
			info.Spec_dst = w.from.As4()
		}
		return unix.PktInfo4(info)
	}
	info := &unix.Inet6Pktinfo{Ifindex: uint32(ifi.Index)}
	if w.from.Is6() {
		info.Addr = w.from.As16()
	}
	return unix.PktInfo6(info)
}

// hasIPv4 returns whether ifi has an IPv4 address.
func hasIPv4(ifi *net.Interface) bool {
	addrs, err := ifi.Addrs()
	if err != nil {
		return false // it is gone
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.To4() != nil
	})
}

// hear implements [air].
func (b *beacon) hear() <-chan heard { return b.queue }

// listen puts what comes to one socket into the queue until that is closed.
func (b *beacon) listen(w *beaconWay) {
	p := make([]byte, announcementSize+1) // one more shows what is too long
	oob := make([]byte, 128)
	for {
		n, oobn, _, from, err := w.conn.ReadMsgUDPAddrPort(p, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond) // the interface may come up again
			continue
		}
		name, ok := b.nameOf(arrival(oob[:oobn]))
		if n != announcementSize || !ok {
			continue
		}
		addr := from.Addr().Unmap().WithZone("")
		if addr.IsLinkLocalUnicast() && addr.Is6() {
			addr = addr.WithZone(name)
		}
		select {
		case b.queue <- heard{slices.Clone(p[:n]), addr}:
		default:
		}
	}
}

// nameOf returns the name of an interface that is heard.
func (b *beacon) nameOf(index int) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name, ok := b.names[index]
	return name, ok
}

// arrival returns the index of the interface by which a datagram came, from its
// control messages: a struct in_pktinfo (ip(7)) or in6_pktinfo (RFC 3542,
// section 6). It returns 0 if there is none.
func arrival(oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= 4:
			return int(binary.NativeEndian.Uint32(m.Data))
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 20:
			return int(binary.NativeEndian.Uint32(m.Data[16:]))
		}
	}
	return 0
}
