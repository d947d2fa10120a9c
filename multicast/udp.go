package multicast

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxTrain is the largest number of datagrams in a train. On Ethernet it is
// also what fits into one message of the kernel (64 KiB), which cuts it into
// datagrams as late as it can: if possible, the network card does.
const maxTrain = 44

// maxMessage is the number of bytes that a message may have: what IP can carry,
// less the header of IPv6, which has the longer one, and that of UDP.
const maxMessage = 1<<16 - 1 - 40 - 8

// What helps a socket with many datagrams.
const (
	offloadGSO    = "gso"    // the kernel cuts a train into datagrams
	offloadGRO    = "gro"    // the kernel puts datagrams together
	offloadBatch  = "batch"  // many datagrams in one system call
	offloadSingle = "single" // nothing
)

// errLinkDown reports that the interface cannot send for now: it is down, has
// no address, or is not there.
var errLinkDown = errors.New("link is down")

// linkDown returns whether err is what the kernel says when an interface is
// down, without an address, or gone.
func linkDown(err error) bool {
	for _, errno := range []syscall.Errno{
		unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENODEV, unix.ENXIO, unix.EADDRNOTAVAIL,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// A sockopt is an integer option of a socket.
type sockopt struct {
	name       string
	level, opt int
	value      int
	optional   bool // an old kernel that lacks it is good enough
}

func setOptions(fd int, opts []sockopt) error {
	for _, o := range opts {
		err := unix.SetsockoptInt(fd, o.level, o.opt, o.value)
		if err != nil && !(o.optional && errors.Is(err, unix.ENOPROTOOPT)) {
			return fmt.Errorf("setting %s to %d: %w", o.name, o.value, err)
		}
	}
	return nil
}

// setBuffer sets the size of a buffer of a socket as near to size as it can:
// root may exceed the limit of the system, which force is for.
func setBuffer(fd, force, opt, size int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, size)
}

// family returns the family of a socket for addr.
func family(addr netip.Addr) int {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// openSocket opens a UDP socket that prepare makes ready. Package net cannot:
// asked to listen to a group, it listens to all groups.
func openSocket(family int, prepare func(fd int) error) (*net.UDPConn, error) {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "udp")
	defer f.Close() // conn has a duplicate
	if err := prepare(fd); err != nil {
		return nil, err
	}
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil // that is what a UDP socket is made to
}

// checkGroup says what is wrong with group as one to send to or to hear on ifi.
func checkGroup(group netip.AddrPort, ifi *net.Interface) error {
	switch {
	case !group.Addr().IsMulticast():
		return fmt.Errorf("%v is no multicast group", group.Addr())
	case group.Port() == 0:
		return fmt.Errorf("group %v: no port", group.Addr())
	case ifi == nil:
		return fmt.Errorf("group %v: no interface", group.Addr())
	}
	return nil
}

// unmap returns group with an address that is IPv6 only if it has to be, and
// without a zone, which the interface stands for.
func unmap(group netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(group.Addr().Unmap().WithZone(""), group.Port())
}

// sockaddr returns the address as the kernel wants it, with the interface as
// its scope: a struct sockaddr_in or sockaddr_in6.
func sockaddr(addr netip.AddrPort, index int) []byte {
	ip, port := addr.Addr().AsSlice(), addr.Port()
	if addr.Addr().Is4() {
		p := make([]byte, unix.SizeofSockaddrInet4)
		binary.NativeEndian.PutUint16(p, unix.AF_INET)
		binary.BigEndian.PutUint16(p[2:], port)
		copy(p[4:], ip)
		return p
	}
	p := make([]byte, unix.SizeofSockaddrInet6)
	binary.NativeEndian.PutUint16(p, unix.AF_INET6)
	binary.BigEndian.PutUint16(p[2:], port)
	copy(p[8:], ip)
	binary.NativeEndian.PutUint32(p[24:], uint32(index))
	return p
}
