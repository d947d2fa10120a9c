package agent

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// A route is a request to the kernel's routing (rtnetlink(7)). netlink has a
// fixed header and attributes of a length, a type and padding to four bytes.
type route struct {
	kind  uint16
	flags uint16
	body  []byte
}

// attr appends an attribute.
func (r *route) attr(kind uint16, value []byte) {
	r.body = binary.NativeEndian.AppendUint16(r.body, uint16(4+len(value)))
	r.body = binary.NativeEndian.AppendUint16(r.body, kind)
	r.body = append(r.body, value...)
	for len(r.body)%4 != 0 {
		r.body = append(r.body, 0)
	}
}

// do sends the request and waits for the kernel's answer.
func (r *route) do() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(r.body)))
	message = binary.NativeEndian.AppendUint16(message, r.kind)
	message = binary.NativeEndian.AppendUint16(message, r.flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	message = binary.NativeEndian.AppendUint32(message, 1)
	message = binary.NativeEndian.AppendUint32(message, 0)
	if err := unix.Sendto(fd, append(message, r.body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	return acknowledged(answer[:n])
}

// acknowledged returns the error in an answer of netlink, nil if it says that
// all is well.
func acknowledged(answer []byte) error {
	if len(answer) < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("an answer of netlink that is none: %x", answer)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// setUp switches an interface on.
func setUp(index int) error {
	r := route{kind: unix.RTM_NEWLINK}
	r.body = append(r.body, unix.AF_UNSPEC, 0, 0, 0)
	r.body = binary.NativeEndian.AppendUint32(r.body, uint32(index))
	r.body = binary.NativeEndian.AppendUint32(r.body, unix.IFF_UP)
	r.body = binary.NativeEndian.AppendUint32(r.body, unix.IFF_UP)
	return r.do()
}

// address gives an interface an address, or takes it away.
func address(index int, prefix netip.Prefix, remove bool) error {
	r := route{kind: unix.RTM_NEWADDR, flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE}
	if remove {
		r.kind, r.flags = unix.RTM_DELADDR, 0
	}
	r.body = append(r.body, unix.AF_INET, byte(prefix.Bits()), 0, unix.RT_SCOPE_UNIVERSE)
	r.body = binary.NativeEndian.AppendUint32(r.body, uint32(index))
	r.attr(unix.IFA_LOCAL, prefix.Addr().AsSlice())
	r.attr(unix.IFA_ADDRESS, prefix.Addr().AsSlice())
	if !remove {
		r.attr(unix.IFA_BROADCAST, broadcast(prefix).AsSlice())
	}
	return r.do()
}

// broadcast returns the address of all machines of an IPv4 network.
func broadcast(prefix netip.Prefix) netip.Addr {
	a := prefix.Addr().As4()
	mask := net.CIDRMask(prefix.Bits(), 32)
	for i := range a {
		a[i] |= ^mask[i]
	}
	return netip.AddrFrom4(a)
}

// gateway makes everything that is not on the interface's own network go to a
// router there.
func gateway(index int, router netip.Addr) error {
	r := route{kind: unix.RTM_NEWROUTE, flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE}
	r.body = append(r.body, unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_DHCP, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0)
	r.attr(unix.RTA_GATEWAY, router.AsSlice())
	r.attr(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index)))
	return r.do()
}
