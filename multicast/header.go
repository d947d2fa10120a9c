package multicast

import (
	"encoding/binary"
	"fmt"
	"time"
)

// A kind is the type of a datagram, section 3.
type kind uint8

const (
	kindData kind = 1
	kindSync kind = 2
)

const (
	version    = 1  // of the protocol
	headerSize = 16 // bytes
	sealSize   = 12
	flagHurry  = 1 << 0
)

// datagramSize returns the length of all datagrams of a session.
func datagramSize(symbolSize int) int { return headerSize + symbolSize + sealSize }

// A header begins each datagram of data.
type header struct {
	kind            kind
	hurry           bool
	block, symbol   uint8
	sequence, frame uint32
	tag             uint16
	lane, epoch     uint8
}

// append appends the header's 16 bytes to dst.
func (h header) append(dst []byte) []byte {
	flags := uint8(0)
	if h.hurry {
		flags = flagHurry
	}
	dst = append(dst, version<<4|uint8(h.kind), flags, h.block, h.symbol)
	dst = binary.LittleEndian.AppendUint32(dst, h.sequence)
	dst = binary.LittleEndian.AppendUint32(dst, h.frame)
	dst = binary.LittleEndian.AppendUint16(dst, h.tag)
	return append(dst, h.lane, h.epoch)
}

// position is the datagram's place in its lane, epochs included.
func (h header) position() uint64 { return uint64(h.epoch)<<32 | uint64(h.sequence) }

// What is wrong with a datagram is told without an allocation, since anyone
// can send as many of them as the wire takes.
var (
	errDatagramShort   = fmt.Errorf("%w: shorter than a header", errMalformed)
	errDatagramVersion = fmt.Errorf("%w: not of version 1", errMalformed)
	errDatagramType    = fmt.Errorf("%w: unknown type", errMalformed)
	errDatagramFlags   = fmt.Errorf("%w: reserved flags", errMalformed)
	errDatagramSync    = fmt.Errorf("%w: fields of DATA in SYNC", errMalformed)
	errSyncPayload     = fmt.Errorf("%w: payload of SYNC", errMalformed)
)

// parseHeader reads the header of datagram p. Any error wraps errMalformed.
func parseHeader(p []byte) (header, error) {
	if len(p) < headerSize {
		return header{}, errDatagramShort
	}
	if p[0]>>4 != version {
		return header{}, errDatagramVersion
	}
	h := header{
		kind: kind(p[0] & 15), hurry: p[1]&flagHurry != 0, block: p[2], symbol: p[3],
		sequence: binary.LittleEndian.Uint32(p[4:]), frame: binary.LittleEndian.Uint32(p[8:]),
		tag: binary.LittleEndian.Uint16(p[12:]), lane: p[14], epoch: p[15],
	}
	flags := p[1]
	switch h.kind {
	case kindData:
	case kindSync:
		flags &^= flagHurry
		if h.block != 0 || h.symbol != 0 || h.frame != 0 {
			return header{}, errDatagramSync
		}
	default:
		return header{}, errDatagramType
	}
	if flags != 0 {
		return header{}, errDatagramFlags
	}
	return h, nil
}

// Bounds of the time between reports, sections 3 and 6.
const (
	minInterval = 20 * time.Millisecond
	minHurried  = 10 * time.Millisecond
	maxInterval = time.Second
)

// putSync makes p the payload of SYNC.
func putSync(p []byte, interval, hurried time.Duration) {
	clear(p)
	binary.LittleEndian.PutUint32(p, uint32(interval.Microseconds()))
	binary.LittleEndian.PutUint32(p[4:], uint32(hurried.Microseconds()))
}

// parseSync returns the intervals that the payload of SYNC tells. Any error
// wraps errMalformed.
func parseSync(p []byte) (interval, hurried time.Duration, err error) {
	if len(p) < 8 {
		return 0, 0, errSyncPayload
	}
	interval = time.Duration(binary.LittleEndian.Uint32(p)) * time.Microsecond
	hurried = time.Duration(binary.LittleEndian.Uint32(p[4:])) * time.Microsecond
	if interval < minInterval || hurried < minHurried || max(interval, hurried) > maxInterval || !isZero(p[8:]) {
		return 0, 0, errSyncPayload
	}
	return interval, hurried, nil
}
