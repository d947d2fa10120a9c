package tftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// ErrMalformed reports a datagram that is not TFTP.
var ErrMalformed = errors.New("malformed datagram")

// An opcode says what a datagram is for (RFC 1350, section 5; RFC 2347).
type opcode uint16

const (
	opRead    opcode = 1
	opWrite   opcode = 2
	opData    opcode = 3
	opAck     opcode = 4
	opError   opcode = 5
	opOptions opcode = 6
)

// A code says what is wrong (RFC 1350, appendix; RFC 2347).
type code uint16

const (
	codeOther    code = 0
	codeNotFound code = 1
	codeAccess   code = 2
	codeStranger code = 5
)

// headerSize is the number of bytes before the data of a block, and of a whole
// acknowledgement.
const headerSize = 4

// maxText is how many bytes of a client's own words are kept.
const maxText = 128

// A reply is what a client sends within a transfer: an acknowledgement or an
// error.
type reply struct {
	op    opcode
	block uint16 // of an acknowledgement
	code  code   // of an error
	text  string // of an error: printable, at most maxText bytes
}

// parseReply reads an acknowledgement or an error. Whatever comes behind an
// acknowledgement is ignored: firmware pads. Any error wraps [ErrMalformed].
func parseReply(p []byte) (reply, error) {
	if len(p) < headerSize {
		return reply{}, fmt.Errorf("%w: %d bytes, want at least %d", ErrMalformed, len(p), headerSize)
	}
	r := reply{op: opcode(binary.BigEndian.Uint16(p))}
	n := binary.BigEndian.Uint16(p[2:])
	switch r.op {
	case opAck:
		r.block = n
	case opError:
		text, _, _ := cut(p[headerSize:])
		r.code, r.text = code(n), printable(text[:min(len(text), maxText)])
	default:
		return reply{}, fmt.Errorf("%w: opcode %d within a transfer", ErrMalformed, r.op)
	}
	return r, nil
}

// appendError appends an error to p.
func appendError(p []byte, c code, text string) []byte {
	p = binary.BigEndian.AppendUint16(p, uint16(opError))
	p = binary.BigEndian.AppendUint16(p, uint16(c))
	return append(append(p, text...), 0)
}

// appendOptions appends the acknowledgement of options to p.
func appendOptions(p []byte, opts []option) []byte {
	p = binary.BigEndian.AppendUint16(p, uint16(opOptions))
	for _, o := range opts {
		p = append(append(p, o.name...), 0)
		p = append(strconv.AppendInt(p, o.value, 10), 0)
	}
	return p
}

// putHeader writes the header of a block of data. The number of a block has
// 16 bits; after 65535 comes 0, as every client of large files expects.
func putHeader(p []byte, block int64) {
	binary.BigEndian.PutUint16(p, uint16(opData))
	binary.BigEndian.PutUint16(p[2:], uint16(block))
}
