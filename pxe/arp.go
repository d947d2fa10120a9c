package pxe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// probeTime is how long an address has for answering. On Ethernet it takes a
// millisecond; a machine that wakes up may take longer.
const probeTime = 300 * time.Millisecond

// arpSize is the number of bytes of an ARP message for IPv4 on Ethernet
// (RFC 826).
const arpSize = 28

// A prober asks by ARP whether an address is in use (RFC 5227, section 2.1.1).
type prober struct {
	index int
	mac   net.HardwareAddr
}

func newProber(name string) (*prober, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return &prober{ifi.Index, ifi.HardwareAddr}, nil
}

// taken returns whether somebody answers for an address.
func (p *prober) taken(ctx context.Context, a netip.Addr) (bool, error) {
	arp := htons(unix.ETH_P_ARP)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(arp))
	if err != nil {
		return false, fmt.Errorf("opening a packet socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "arp")
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: arp, Ifindex: p.index}); err != nil {
		return false, fmt.Errorf("binding a packet socket: %w", err)
	}
	to := &unix.SockaddrLinklayer{Protocol: arp, Ifindex: p.index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
	if err := unix.Sendto(fd, arpProbe(p.mac, a), 0, to); err != nil {
		return false, fmt.Errorf("probing %v: %w", a, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := f.SetReadDeadline(time.Now().Add(probeTime)); err != nil {
		return false, err
	}
	return heard(f, a)
}

// heard returns whether a message of ARP from a arrives at f before its
// deadline.
func heard(f *os.File, a netip.Addr) (bool, error) {
	p := make([]byte, 64)
	for {
		n, err := f.Read(p)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if arpFrom(p[:n]) == a {
			return true, nil
		}
	}
}

// arpProbe returns a request for a in the name of nobody, which fills no
// caches.
func arpProbe(mac net.HardwareAddr, a netip.Addr) []byte {
	p := make([]byte, arpSize)
	binary.BigEndian.PutUint16(p[0:], unix.ARPHRD_ETHER)
	binary.BigEndian.PutUint16(p[2:], unix.ETH_P_IP)
	p[4], p[5] = 6, 4
	binary.BigEndian.PutUint16(p[6:], 1) // request
	copy(p[8:14], mac)
	copy(p[24:28], a.AsSlice())
	return p
}

// arpFrom returns whose address a message of ARP is from; not valid if it is
// none for IPv4 on Ethernet.
func arpFrom(p []byte) netip.Addr {
	if len(p) < arpSize || binary.BigEndian.Uint16(p) != unix.ARPHRD_ETHER ||
		binary.BigEndian.Uint16(p[2:]) != unix.ETH_P_IP || p[4] != 6 || p[5] != 4 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(p[14:18]))
}

// htons returns n with its bytes in the order of the network.
func htons(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}
