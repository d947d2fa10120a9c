package image

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// An encoder appends the field types of section 3 to its bytes.
type encoder struct{ b []byte }

func (e *encoder) u8(v uint8)       { e.b = append(e.b, v) }
func (e *encoder) u16(v int)        { e.b = binary.LittleEndian.AppendUint16(e.b, uint16(v)) }
func (e *encoder) u32(v int64)      { e.b = binary.LittleEndian.AppendUint32(e.b, uint32(v)) }
func (e *encoder) u64(v uint64)     { e.b = binary.LittleEndian.AppendUint64(e.b, v) }
func (e *encoder) uvarint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }

// string appends s, cut to what a u16 can count, and with what is not UTF-8
// left out.
func (e *encoder) string(s string) {
	s = strings.ToValidUTF8(s[:min(len(s), math.MaxUint16)], "")
	e.u16(len(s))
	e.b = append(e.b, s...)
}

func (e *encoder) strings(list []string) {
	e.u16(len(list))
	for _, s := range list {
		e.string(s)
	}
}

// A decoder takes the field types of section 3 from its bytes. After the
// first error it returns zeros; done tells the error.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = damaged(format, args...)
	}
	d.b = nil
}

// take returns the next n bytes, which share memory with the decoder's, or
// nil if there are not that many.
func (d *decoder) take(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b) {
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

func (d *decoder) u16() int {
	if p := d.take(2); p != nil {
		return int(binary.LittleEndian.Uint16(p))
	}
	return 0
}

func (d *decoder) u32() int64 {
	if p := d.take(4); p != nil {
		return int64(binary.LittleEndian.Uint32(p))
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// size takes a u64 that counts bytes.
func (d *decoder) size() int64 {
	v := d.u64()
	if v > math.MaxInt64 {
		d.fail("a size of %d bytes", v)
		return 0
	}
	return int64(v)
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.err != nil || n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.fail("a number that is cut off or too long")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string {
	p := d.take(d.u16())
	if !utf8.Valid(p) {
		d.fail("a string that is not UTF-8")
		return ""
	}
	return string(p)
}

// count takes the count of a list whose elements take at least size bytes
// each, so that a hostile count allocates nothing.
func (d *decoder) count(size int) int {
	n := d.u16()
	if n*size > len(d.b) {
		d.fail("a list of %d elements in %d bytes", n, len(d.b))
		return 0
	}
	return n
}

func (d *decoder) strings() []string {
	n := d.count(2)
	var list []string
	for range n {
		list = append(list, d.string())
	}
	return list
}

// done returns the first error, or one if bytes are left over.
func (d *decoder) done() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	return d.err
}

// in adds the place to an error of this package.
func in(place string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", place, err)
}
