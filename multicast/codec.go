package multicast

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// errMalformed reports bytes that are not what docs/protocol.md says.
var errMalformed = errors.New("malformed")

// maxString bounds the strings of the control channel, in bytes.
const maxString = 1024

// isZero reports whether p has only zeros.
func isZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

func appendUvarint[T int | uint32](dst []byte, v T) []byte {
	return binary.AppendUvarint(dst, uint64(v))
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// appendBytes appends the field type bytes.
func appendBytes(dst, p []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(p)))
	return append(dst, p...)
}

// appendString appends the field type string. What is not UTF-8 is left out,
// and what is longer than limit bytes is cut off between two characters.
func appendString(dst []byte, s string, limit int) []byte {
	s = strings.ToValidUTF8(s, "")
	for len(s) > limit {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// A decoder takes the field types of section 4 from its bytes. After the
// first error it returns zeros; done tells the error.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
	}
	d.b = nil
}

// take returns the next n bytes, which share memory with the decoder's, or
// nil if there are not that many.
func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail("ends early")
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u8() uint8 {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

// bool takes a byte that is 0 or 1.
func (d *decoder) bool() bool {
	v := d.u8()
	if v > 1 {
		d.fail("%d where 0 or 1 is meant", v)
	}
	return v == 1
}

func (d *decoder) u16() uint16 {
	if p := d.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// uvarint takes a uvarint of at most limit, in its shortest form.
func (d *decoder) uvarint(limit int) int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.fail("a number that is cut off or too long")
		return 0
	}
	if limit < 0 || v > uint64(limit) {
		d.fail("%d where at most %d is meant", v, limit)
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

// bytes takes at most limit bytes with their length before them.
func (d *decoder) bytes(limit int) []byte {
	n := int(d.u16())
	if n > limit {
		d.fail("%d bytes where at most %d are meant", n, limit)
		return nil
	}
	return d.take(n)
}

// exactly takes len(dst) bytes with their length before them.
func (d *decoder) exactly(dst []byte) {
	if n := int(d.u16()); n != len(dst) {
		d.fail("%d bytes where %d are meant", n, len(dst))
		return
	}
	copy(dst, d.take(len(dst)))
}

// string takes a string of at most limit bytes.
func (d *decoder) string(limit int) string {
	p := d.bytes(limit)
	if !utf8.Valid(p) {
		d.fail("a string that is not UTF-8")
		return ""
	}
	return string(p)
}

// done returns the first error, or one if bytes are left over.
func (d *decoder) done() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	return d.err
}
