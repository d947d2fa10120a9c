package multicast

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Bounds of the bodies of messages, in bytes.
const (
	maxBody = 64 << 10
	maxNeed = 16 << 20
)

const messageHeaderSize = 8

// A messageType is the type of a message, section 4.
type messageType uint8

const (
	typeHello   messageType = 1
	typeNeed    messageType = 2
	typeReport  messageType = 3
	typeMode    messageType = 4
	typeDone    messageType = 5
	typeFailed  messageType = 6
	typeOffer   messageType = 64
	typeJoin    messageType = 65
	typePulse   messageType = 66
	typeFetch   messageType = 67
	typeDropped messageType = 68
	typeClosing messageType = 69
	typeAnnex   messageType = 128
)

// An end is one of the two of a control channel.
type end uint8

const (
	fromReceiver end = iota
	fromSender
)

// firstSkipped is the lowest type that is skipped if it is not known.
const firstSkipped messageType = 128

// from returns the end that sends messages of type t.
func (t messageType) from() (end, bool) {
	switch {
	case t >= typeHello && t <= typeFailed:
		return fromReceiver, true
	case t >= typeOffer && t <= typeClosing, t == typeAnnex:
		return fromSender, true
	}
	return 0, false
}

// limit returns how long the body may be.
func (t messageType) limit() int {
	if t == typeNeed {
		return maxNeed
	}
	return maxBody
}

// A message of the control channel is one of the structs that have the names
// of section 4.
type message interface {
	messageType() messageType
	append(dst []byte) []byte // the body
}

// appendMessage appends m with its header to dst.
func appendMessage(dst []byte, m message) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(m.messageType()), 0, 0, 0)
	dst = m.append(dst)
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-messageHeaderSize))
	return dst
}

// readMessage reads the next message that the given end has sent, and skips
// those that a later version may have. It returns io.EOF if r ends before a
// message; errors about what r gave wrap errMalformed.
func readMessage(r io.Reader, from end) (message, error) {
	for {
		t, size, err := readMessageHeader(r)
		if err != nil {
			return nil, err
		}
		if _, known := t.from(); !known {
			if err := skipBody(r, t, size); err != nil {
				return nil, err
			}
			continue
		}
		if sent, _ := t.from(); sent != from {
			return nil, fmt.Errorf("%w: message %d from the wrong end", errMalformed, t)
		}
		body, err := readBody(r, size)
		if err != nil {
			return nil, err
		}
		m, err := parseMessage(t, body)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", t, err)
		}
		return m, nil
	}
}

func readMessageHeader(r io.Reader) (t messageType, size int, err error) {
	var p [messageHeaderSize]byte
	if _, err := io.ReadFull(r, p[:]); err != nil {
		return 0, 0, err
	}
	t = messageType(p[4])
	n := binary.LittleEndian.Uint32(p[:])
	if !isZero(p[5:]) {
		return 0, 0, fmt.Errorf("%w: message %d: reserved bytes %x", errMalformed, t, p[5:])
	}
	if n > uint32(t.limit()) {
		return 0, 0, fmt.Errorf("%w: message %d of %d bytes", errMalformed, t, n)
	}
	return t, int(n), nil
}

func skipBody(r io.Reader, t messageType, size int) error {
	if t < firstSkipped {
		return fmt.Errorf("%w: unknown message %d", errMalformed, t)
	}
	_, err := io.CopyN(io.Discard, r, int64(size))
	return midMessage(err)
}

// readBody takes memory as the body comes, so that a length alone costs none.
func readBody(r io.Reader, size int) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, min(size, 2048)+bytes.MinRead))
	if _, err := io.CopyN(b, r, int64(size)); err != nil {
		return nil, midMessage(err)
	}
	return b.Bytes(), nil
}

// midMessage makes of an end within a message what it is.
func midMessage(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseMessage parses the body of a message of a known type. What it returns
// may share memory with body.
func parseMessage(t messageType, body []byte) (message, error) {
	d := &decoder{b: body}
	m := d.message(t)
	return m, d.done()
}

func (d *decoder) message(t messageType) message {
	switch t {
	case typeHello:
		return d.hello()
	case typeNeed:
		return d.need()
	case typeReport:
		return rawReport(d.take(len(d.b)))
	case typeMode:
		return mode{fetches: d.bool(), why: d.string(maxString)}
	case typeDone:
		return done{name: d.bytes(maxContentName)}
	case typeFailed:
		return failed{why: d.string(maxString)}
	case typeOffer:
		return d.offer()
	case typeJoin:
		return d.join()
	case typePulse:
		return d.pulse()
	case typeFetch:
		return fetch{why: d.string(maxString)}
	case typeDropped:
		return dropped{why: d.string(maxString)}
	case typeAnnex:
		return d.annex()
	}
	return closing{} // the only one that is left
}
