package multicast

import (
	"math/rand/v2"
	"net/netip"
)

// chooseGroup returns a group and port at random, section 11. wide tells that
// data may pass routers.
func chooseGroup(is6, wide bool) netip.AddrPort {
	port := uint16(49152 + rand.IntN(1<<14)) // RFC 6335, section 6: the dynamic ports
	if is6 {
		a := [16]byte{0xff, 0x12, 12: byte(rand.Uint32()) | 0x80, 13: byte(rand.Uint32()), 14: byte(rand.Uint32()), 15: byte(rand.Uint32())}
		if wide {
			a[1] = 0x15
		}
		return netip.AddrPortFrom(netip.AddrFrom16(a), port)
	}
	for {
		a := [4]byte{239, 255, byte(rand.Uint32()), byte(rand.Uint32())}
		if a[2]&0x7f != 0 { // else switches flood it
			return netip.AddrPortFrom(netip.AddrFrom4(a), port)
		}
	}
}
