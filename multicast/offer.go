package multicast

import (
	"encoding/binary"
	"math"
)

// Bounds of what is offered, in bytes.
const (
	maxContentName = 64
	tokenSize      = 16
	digestSize     = 32
)

// An offer is how a sender answers hello, section 5.
type offer struct {
	session    uint64 // not 0
	proof      []byte // that the sender knows the key, or empty
	name       string // of the session
	host       string // of the sender, for people, as is title
	title      string // of the content
	digest     []byte // that names the content
	secret     [secretSize]byte
	token      [tokenSize]byte // for HTTPS
	symbolSize int

	preface       uint32 // its length
	prefaceDigest [digestSize]byte
	frames        uint32 // of the source
	bytes         uint64 // of all of these
}

func (offer) messageType() messageType { return typeOffer }

func (m offer) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, version)
	dst = binary.LittleEndian.AppendUint64(dst, m.session)
	dst = appendBytes(dst, m.proof)
	dst = appendString(dst, m.name, maxString)
	dst = appendString(dst, m.host, maxString)
	dst = appendString(dst, m.title, maxString)
	dst = appendBytes(dst, m.digest)
	dst = appendBytes(dst, m.secret[:])
	dst = appendBytes(dst, m.token[:])
	dst = binary.LittleEndian.AppendUint16(dst, uint16(m.symbolSize))
	dst = binary.LittleEndian.AppendUint32(dst, m.preface)
	dst = append(dst, m.prefaceDigest[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, m.frames)
	return binary.LittleEndian.AppendUint64(dst, m.bytes)
}

func (d *decoder) offer() offer {
	d.version()
	m := offer{
		session: d.u64(), proof: d.proof(),
		name: d.string(maxString), host: d.string(maxString), title: d.string(maxString),
		digest: d.bytes(maxContentName),
	}
	d.exactly(m.secret[:])
	d.exactly(m.token[:])
	m.symbolSize, m.preface = int(d.u16()), d.u32()
	copy(m.prefaceDigest[:], d.take(digestSize))
	m.frames, m.bytes = d.u32(), d.u64()
	d.checkOffer(&m)
	return m
}

// checkOffer refuses what no session can be.
func (d *decoder) checkOffer(m *offer) {
	if d.err != nil {
		return
	}
	if m.session == 0 {
		d.fail("a session without a number")
	}
	if err := checkSymbolSize(m.symbolSize); err != nil {
		d.err = err
	}
	if uint64(m.frames)+uint64(pieces(int(m.preface))) > maxFrames {
		d.fail("%d frames and a preface of %d bytes", m.frames, m.preface)
	}
	if m.bytes < uint64(m.frames) || m.bytes > uint64(m.frames)*maxFrame || m.bytes > math.MaxInt64 {
		d.fail("%d frames of %d bytes", m.frames, m.bytes)
	}
}
