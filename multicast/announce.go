package multicast

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes and places in an announcement, section 9, in bytes.
const (
	announcementSize  = 256
	announcementProof = 56 // where the proof is
	announcementText  = 72 // where the strings begin
	shortProofSize    = 16
	maxName           = 63 // of a session, and of a title
)

const (
	announcementMagic = "SLPA"
	typeAnnouncement  = 1
	typeQuery         = 2
	flagKeyed         = 1 << 0
)

// errProof reports an announcement by someone who does not know the key.
var errProof = errors.New("wrong proof")

// An announcement tells where a session is. A query asks for that: it has
// nothing but perhaps the name that is wanted.
type announcement struct {
	query       bool
	sending     bool
	keyed       bool // the session needs a key
	session     uint64
	fingerprint [digestSize]byte
	port        uint16 // of the control channel
	receivers   uint32
	name, title string // at most 63 bytes each
}

// append appends the announcement to dst, with a proof if there is a key.
func (a announcement) append(dst, key []byte) []byte {
	start := len(dst)
	what, state, flags := byte(typeAnnouncement), phaseWaiting, byte(0)
	if a.query {
		what = typeQuery
	}
	if a.sending {
		state = phaseSending
	}
	if a.keyed {
		flags = flagKeyed
	}
	dst = append(append(dst, announcementMagic...), version, what, byte(state), flags)
	dst = binary.LittleEndian.AppendUint64(dst, a.session)
	dst = append(dst, a.fingerprint[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, a.port)
	dst = append(dst, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, a.receivers)
	dst = append(dst, make([]byte, shortProofSize)...)
	dst = appendString(dst, a.name, maxName)
	dst = appendString(dst, a.title, maxName)
	dst = append(dst, make([]byte, start+announcementSize-len(dst))...)
	if a.keyed && key != nil {
		p := dst[start:]
		copy(p[announcementProof:], proveAnnouncement(p, key))
	}
	return dst
}

// proveAnnouncement returns the proof that belongs into announcement p.
func proveAnnouncement(p, key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(p[:announcementProof])
	mac.Write(p[announcementText:])
	return mac.Sum(nil)[:shortProofSize]
}

// parseAnnouncement reads an announcement or a query. If there is a key, which
// is nil otherwise, an announcement without the right proof is refused with an
// error that wraps errProof. Any other error wraps errMalformed.
func parseAnnouncement(p, key []byte) (announcement, error) {
	if len(p) != announcementSize || string(p[:4]) != announcementMagic || p[4] != version {
		return announcement{}, fmt.Errorf("%w: no announcement of version %d", errMalformed, version)
	}
	d := &decoder{b: p[5:]}
	a := d.announcement()
	if err := d.done(); err != nil {
		return announcement{}, err
	}
	proof := p[announcementProof:announcementText]
	if !a.keyed && !isZero(proof) {
		return announcement{}, fmt.Errorf("%w: a proof without a key", errMalformed)
	}
	if key != nil && !a.query && (!a.keyed || !hmac.Equal(proof, proveAnnouncement(p, key))) {
		return announcement{}, errProof
	}
	return a, nil
}

// announcement takes what is behind the version.
func (d *decoder) announcement() announcement {
	what, sending, keyed := d.u8(), d.bool(), d.bool()
	if what != typeAnnouncement && what != typeQuery {
		d.fail("type %d", what)
	}
	a := announcement{query: what == typeQuery, sending: sending, keyed: keyed, session: d.u64()}
	copy(a.fingerprint[:], d.take(digestSize))
	a.port = d.u16()
	reserved := d.u16()
	a.receivers = d.u32()
	d.take(shortProofSize)
	a.name, a.title = d.string(maxName), d.string(maxName)
	if fill := d.take(len(d.b)); reserved != 0 || !isZero(fill) {
		d.fail("reserved bytes %x or fill", reserved)
	}
	if a.query && a != (announcement{query: true, name: a.name}) {
		d.fail("a query that tells something")
	}
	if !a.query && (a.session == 0 || a.port == 0) {
		d.fail("an announcement of nothing")
	}
	return a
}
