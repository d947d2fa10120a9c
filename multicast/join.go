package multicast

import (
	"encoding/binary"
	"net/netip"
)

// A join tells a receiver to take a lane, or to leave its lane, section 4.
type join struct {
	lane  uint8
	leave bool           // without a new lane; group is its zero value then
	group netip.AddrPort // of multicast
}

func (join) messageType() messageType { return typeJoin }

func (m join) append(dst []byte) []byte {
	dst = appendBool(append(dst, m.lane), m.leave)
	if m.leave {
		return append(dst, make([]byte, 2+16)...)
	}
	address := m.group.Addr().As16()
	dst = binary.LittleEndian.AppendUint16(dst, m.group.Port())
	return append(dst, address[:]...)
}

func (d *decoder) join() join {
	m := join{lane: d.u8(), leave: d.bool()}
	port, address := d.u16(), d.take(16)
	if d.err != nil {
		return m
	}
	if m.leave {
		if port != 0 || !isZero(address) {
			d.fail("a lane to leave and one to join")
		}
		return m
	}
	m.group = netip.AddrPortFrom(netip.AddrFrom16([16]byte(address)).Unmap(), port)
	if port == 0 || !m.group.Addr().IsMulticast() {
		d.fail("the group %v", m.group)
	}
	return m
}
