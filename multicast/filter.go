package multicast

import (
	"encoding/binary"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// netOffset makes a filter count from the IP header instead of the UDP header:
// SKF_NET_OFF of linux/filter.h, -0x100000.
const netOffset = 1<<32 - 1<<20

// setFilter makes the kernel drop what does not come from source. So it takes
// no room in the receive buffer, either.
func setFilter(fd int, source netip.Addr) error {
	program := sourceFilter(source)
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err)
}

// sourceFilter returns a program for the packet filter that lets datagrams pass
// that come from source. It compares the address word by word.
func sourceFilter(source netip.Addr) []unix.SockFilter {
	at := 8 // of the source in the header of IPv6 (RFC 8200, section 3)
	if source.Is4() {
		at = 12 // RFC 791, section 3.1
	}
	ip := source.AsSlice()
	var program []unix.SockFilter
	for i := 0; i < len(ip); i += 4 {
		others := (len(ip) - i - 4) / 4 * 2 // instructions for the words that follow
		program = append(program,
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: netOffset + uint32(at+i)},
			unix.SockFilter{
				Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: binary.BigEndian.Uint32(ip[i:]),
				Jf: uint8(others + 1),
			})
	}
	return append(program,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1}, // all of it
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})         // nothing
}
