package multicast

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// isSSM returns whether group is for source-specific multicast, which is
// joined together with a source: 232/8 or ff3x::/32 (RFC 4607, section 1).
func isSSM(group netip.Addr) bool {
	if group.Is4() {
		return group.As4()[0] == 232
	}
	a := group.As16()
	return a[0] == 0xff && a[1]>>4 == 3 && a[2] == 0 && a[3] == 0
}

// checkSource says what is wrong with a source of datagrams to group.
func checkSource(group, source netip.Addr) error {
	switch {
	case !source.IsValid() && isSSM(group):
		return fmt.Errorf("group %v needs a source", group)
	case source.IsValid() && source.Is4() != group.Is4():
		return fmt.Errorf("group %v cannot have the source %v", group, source)
	}
	return nil
}

func joinGroup(fd, index int, group, source netip.Addr) error {
	if isSSM(group) {
		return setGroup(fd, unix.MCAST_JOIN_SOURCE_GROUP, index, group, source)
	}
	return setGroup(fd, unix.MCAST_JOIN_GROUP, index, group)
}

func leaveGroup(fd, index int, group, source netip.Addr) error {
	if isSSM(group) {
		return setGroup(fd, unix.MCAST_LEAVE_SOURCE_GROUP, index, group, source)
	}
	return setGroup(fd, unix.MCAST_LEAVE_GROUP, index, group)
}

// setGroup sets one of the MCAST options, which take an interface by its index
// for IPv4 as for IPv6: a struct group_req or, with a source,
// group_source_req. Addresses in it are aligned like pointers and have the
// 128 bytes of a struct sockaddr_storage.
func setGroup(fd, opt, index int, addrs ...netip.Addr) error {
	const pointer, storage = bits.UintSize / 8, 128
	req := make([]byte, pointer+storage*len(addrs))
	binary.NativeEndian.PutUint32(req, uint32(index))
	for i, addr := range addrs {
		copy(req[pointer+storage*i:], sockaddr(netip.AddrPortFrom(addr, 0), index))
	}
	level := unix.IPPROTO_IPV6
	if addrs[0].Is4() {
		level = unix.IPPROTO_IP
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptString(fd, level, opt, string(req)))
}
