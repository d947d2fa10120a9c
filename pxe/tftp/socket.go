package tftp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What fits into one message of UDP_SEGMENT, see udp(7): UDP_MAX_SEGMENTS of
// older kernels, and what IPv6 can carry, as it has the longer header.
const (
	maxSegments = 64
	maxMessage  = 1<<16 - 1 - 40 - 8
)

// A udpLink is a link by a UDP socket. It is not connected, since strangers
// are to be answered.
//
// The socket blocks, and so a transfer that waits holds a thread. A client that
// asks for one block at a time waits for the server's answer each time, and a
// thread that sleeps in the kernel wakes faster than package net's poller finds
// a goroutine and starts it: it makes 1.4 times as many bytes a second, measured
// between two namespaces at 512/4 and 1428/1.
type udpLink struct {
	fd      int
	client  []byte // a struct sockaddr
	from    unix.RawSockaddrInet6
	msg     unix.Msghdr
	iov     unix.Iovec
	control []byte        // the control message that has the kernel cut trains into datagrams
	gso     bool          // the kernel can do that
	wait    time.Duration // what SO_RCVTIMEO is set to

	ended  atomic.Bool // receive must not wait any more
	mu     sync.Mutex  // for what follows
	closed bool
}

// newUDPLink opens a socket from a port that the kernel chooses.
func newUDPLink(local netip.Addr, client netip.AddrPort) (*udpLink, error) {
	family := unix.AF_INET
	if local.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := bind(fd, local); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	l := &udpLink{fd: fd, client: sockaddr(client), control: make([]byte, unix.CmsgSpace(2))}
	_, err = unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT)
	l.gso = err == nil
	l.msg.Name, l.msg.Namelen = unsafe.SliceData(l.client), uint32(len(l.client))
	l.msg.Control = unsafe.SliceData(l.control)
	l.msg.SetControllen(len(l.control))
	l.msg.Iov = &l.iov
	l.msg.SetIovlen(1)
	return l, nil
}

// bind gives a socket its address.
func bind(fd int, local netip.Addr) error {
	if local.Is4() {
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: local.As4()})
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Addr: local.As16(), ZoneId: zone(local)})
}

// zone returns the index of the interface of a link-local address, or 0.
func zone(addr netip.Addr) uint32 {
	if addr.Zone() == "" {
		return 0
	}
	ifi, err := net.InterfaceByName(addr.Zone())
	if err != nil {
		return 0
	}
	return uint32(ifi.Index)
}

// sockaddr returns addr as a struct sockaddr_in or sockaddr_in6.
func sockaddr(addr netip.AddrPort) []byte {
	ip := addr.Addr()
	if ip.Is4() {
		p := make([]byte, unix.SizeofSockaddrInet4)
		binary.NativeEndian.PutUint16(p, unix.AF_INET)
		binary.BigEndian.PutUint16(p[2:], addr.Port())
		copy(p[4:], ip.AsSlice())
		return p
	}
	p := make([]byte, unix.SizeofSockaddrInet6)
	binary.NativeEndian.PutUint16(p, unix.AF_INET6)
	binary.BigEndian.PutUint16(p[2:], addr.Port())
	copy(p[8:], ip.AsSlice())
	binary.NativeEndian.PutUint32(p[24:], zone(ip))
	return p
}

func (l *udpLink) send(train []byte, size int) error {
	span := size * max(1, min(maxSegments, maxMessage/size)) // what fits into one message
	for len(train) > 0 {
		if l.gso && len(train) > size {
			n := min(len(train), span)
			if l.sendTrain(train[:n], size) == nil {
				train = train[n:]
				continue
			}
			l.gso = false // an interface without checksum offload refuses
		}
		n := min(len(train), size)
		if err := l.sendTo(train[:n], l.client); err != nil {
			return err
		}
		train = train[n:]
	}
	return nil
}

// segment makes the control message for datagrams of size bytes.
func (l *udpLink) segment(size int) {
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(l.control)))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(l.control[unix.CmsgLen(0):], uint16(size))
}

// sendTo sends one datagram. It waits while the socket's buffer is full, which
// the interface empties.
func (l *udpLink) sendTo(p, to []byte) error {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(l.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), 0, uintptr(unsafe.Pointer(unsafe.SliceData(to))), uintptr(len(to)))
		if errno != unix.EINTR {
			return sysError("sendto", errno)
		}
	}
}

// sendTrain sends datagrams that the kernel makes of one message.
func (l *udpLink) sendTrain(p []byte, size int) error {
	l.segment(size)
	l.iov.Base = unsafe.SliceData(p)
	l.iov.SetLen(len(p))
	for {
		_, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&l.msg)), 0)
		if errno != unix.EINTR {
			return sysError("sendmsg", errno)
		}
	}
}

func sysError(call string, errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError(call, errno)
}

func (l *udpLink) receive(p []byte, wait time.Duration) (int, netip.AddrPort, error) {
	if err := l.setWait(wait); err != nil {
		return 0, netip.AddrPort{}, err
	}
	for {
		length := uint32(unsafe.Sizeof(l.from))
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(l.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), 0, uintptr(unsafe.Pointer(&l.from)), uintptr(unsafe.Pointer(&length)))
		switch {
		case l.ended.Load():
			return 0, netip.AddrPort{}, net.ErrClosed
		case errno == 0:
			return int(n), l.sender(), nil
		case errno == unix.EAGAIN:
			return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
		case errno != unix.EINTR:
			return 0, netip.AddrPort{}, os.NewSyscallError("recvfrom", errno)
		}
	}
}

// setWait sets how long receive waits, if that has changed: on most networks it
// is leastWait all the time.
func (l *udpLink) setWait(wait time.Duration) error {
	if l.wait == wait {
		return nil
	}
	l.wait = wait
	tv := unix.NsecToTimeval((wait + time.Microsecond - 1).Nanoseconds()) // zero would be for ever
	return os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
}

// sender returns who sent what recvfrom has received.
func (l *udpLink) sender() netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&l.from.Port))
	ip := netip.AddrFrom16(l.from.Addr)
	if l.from.Family == unix.AF_INET {
		ip = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&l.from)).Addr)
	} else if l.from.Scope_id != 0 {
		if ifi, err := net.InterfaceByIndex(int(l.from.Scope_id)); err == nil {
			ip = ip.WithZone(ifi.Name)
		}
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(port[:]))
}

func (l *udpLink) reply(p []byte, to netip.AddrPort) error { return l.sendTo(p, sockaddr(to)) }

// end wakes whoever waits in receive: shutdown does, though it says that a
// socket which is not connected cannot be shut down.
func (l *udpLink) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended.Store(true)
	if !l.closed {
		_ = unix.Shutdown(l.fd, unix.SHUT_RDWR)
	}
}

func (l *udpLink) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return unix.Close(l.fd)
}
