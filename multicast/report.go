package multicast

import "encoding/binary"

// A report is what a receiver tells its sender again and again, section 6.
type report struct {
	lane           uint8
	full           bool
	head, received uint64
	bad            uint32
	written        uint64
	done           []uint32    // ascending
	open           []openFrame // ascending
}

// An openFrame is one of which the receiver has something.
type openFrame struct {
	frame    uint32
	deficits []uint8 // for each block
}

// append appends the report's body to dst.
func (r *report) append(dst []byte) []byte {
	dst = appendBool(append(dst, r.lane), r.full)
	dst = binary.LittleEndian.AppendUint64(dst, r.head)
	dst = binary.LittleEndian.AppendUint64(dst, r.received)
	dst = binary.LittleEndian.AppendUint32(dst, r.bad)
	dst = binary.LittleEndian.AppendUint64(dst, r.written)
	dst = appendListRuns(dst, r.done)
	dst = appendUvarint(dst, len(r.open))
	after := uint32(0)
	for _, f := range r.open {
		dst = appendUvarint(dst, f.frame-after)
		dst = append(dst, f.deficits...)
		after = f.frame + 1
	}
	return dst
}

// parse makes r what body says and uses its memory again. blocks tells the
// number of blocks of a frame of the session, 0 for any other number. The
// deficits share memory with body. Any error wraps errMalformed.
func (r *report) parse(body []byte, blocks func(frame uint32) int) error {
	d := decoder{b: body}
	r.lane, r.full = d.u8(), d.bool()
	r.head, r.received = d.u64(), d.u64()
	r.bad, r.written = d.u32(), d.u64()
	r.done = d.listRuns(r.done[:0], blocks)
	r.open = r.open[:0]
	after := 0
	for range d.uvarint(len(d.b)) {
		f := openFrame{frame: uint32(after + d.uvarint(maxFrames-1-after))}
		n := 0
		if d.err == nil {
			n = blocks(f.frame)
		}
		f.deficits = d.deficits(n)
		if d.err != nil {
			return d.err
		}
		r.open = append(r.open, f)
		after = int(f.frame) + 1
	}
	return d.done()
}

// deficits takes those of a frame of n blocks.
func (d *decoder) deficits(n int) []uint8 {
	if n == 0 {
		d.fail("a frame that the session has not")
	}
	p := d.take(n)
	for _, deficit := range p {
		if deficit > maxSource {
			d.fail("a deficit of %d symbols", deficit)
		}
	}
	return p
}

func (*report) messageType() messageType { return typeReport }

// A rawReport is the body of a report as it came, for report.parse.
type rawReport []byte

func (rawReport) messageType() messageType   { return typeReport }
func (m rawReport) append(dst []byte) []byte { return append(dst, m...) }
