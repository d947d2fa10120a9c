package multicast

import "encoding/binary"

// A hello is what a receiver says first, section 5.
type hello struct {
	session uint64 // that it wants, 0 for any
	proof   []byte // that it knows the key, or empty
	id      string // stable, not empty
	name    string // for people, as is target
	target  string
	speed   uint32 // of its link in Mbit/s, or 0
	buffer  uint32 // of its socket in KiB
}

func (hello) messageType() messageType { return typeHello }

func (m hello) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, version)
	dst = binary.LittleEndian.AppendUint64(dst, m.session)
	dst = appendBytes(dst, m.proof)
	dst = appendString(dst, m.id, maxString)
	dst = appendString(dst, m.name, maxString)
	dst = appendString(dst, m.target, maxString)
	dst = binary.LittleEndian.AppendUint32(dst, m.speed)
	return binary.LittleEndian.AppendUint32(dst, m.buffer)
}

func (d *decoder) hello() hello {
	d.version()
	m := hello{
		session: d.u64(), proof: d.proof(),
		id: d.string(maxString), name: d.string(maxString), target: d.string(maxString),
		speed: d.u32(), buffer: d.u32(),
	}
	if m.id == "" {
		d.fail("a receiver without an id")
	}
	return m
}

// version takes the version of the protocol.
func (d *decoder) version() {
	if v := d.u16(); v != version {
		d.fail("version %d of the protocol, not %d", v, version)
	}
}

// proof takes a proof, or an empty one.
func (d *decoder) proof() []byte {
	p := d.bytes(proofSize)
	if len(p) != 0 && len(p) != proofSize {
		d.fail("a proof of %d bytes", len(p))
	}
	return p
}
