package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"math"
	"math/bits"
	"time"

	"github.com/klauspost/compress/zstd"

	"slipcast/partition"
)

// Skippable frames, section 2.
const (
	headMagic      = 0x184d2a50
	tailMagic      = 0x184d2a51
	seekTableMagic = 0x184d2a5e

	skippableSize = 8 // magic and size before the payload
)

const (
	version = 1

	headFixedSize  = 32 // payload before HeadDigest
	headBodyOffset = headFixedSize + sha256.Size
	maxBody        = 64 << 20 // bytes of the head's body, section 4
	maxHeadPayload = maxBody + 64<<10
	maxDisk        = 1 << 56 // bytes
)

var (
	headName = [8]byte{'S', 'L', 'I', 'P', 'H', 'E', 'A', 'D'}
	tailName = [8]byte{'S', 'L', 'I', 'P', 'T', 'A', 'I', 'L'}
)

// appendHead appends the head frame of m and adds what counts for the digest
// of the image to sum.
func appendHead(dst []byte, m *Manifest, sum hash.Hash) ([]byte, error) {
	body := headBody(m)
	fixed := headFixed(m, len(body))
	sum.Write(headFixed(m, 0))
	if err := sections(body, sum, func(int, []byte) error { return nil }); err != nil {
		return nil, err
	}
	digest := sha256.New()
	digest.Write(fixed)
	digest.Write(body)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(true))
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	packed := enc.EncodeAll(body, nil)
	e := &encoder{dst}
	e.u32(headMagic)
	e.u32(int64(headBodyOffset + len(packed)))
	e.b = append(e.b, fixed...)
	e.b = digest.Sum(e.b)
	return append(e.b, packed...), nil
}

// headFixed returns the first bytes of the payload, up to HeadDigest.
func headFixed(m *Manifest, bodySize int) []byte {
	e := &encoder{}
	e.b = append(e.b, headName[:]...)
	e.u8(version)
	e.u8(uint8(bits.TrailingZeros64(uint64(m.ChunkSize))))
	e.u16(0)
	e.u32(int64(m.LogicalSector))
	e.u32(int64(m.PhysicalSector))
	e.u32(int64(bodySize))
	e.u64(uint64(m.Size))
	return e.b
}

// headBody returns the sections of the head.
func headBody(m *Manifest) []byte {
	body := &encoder{}
	body.section(tagTable, encodeTable(&m.Table))
	body.section(tagVolumes, encodeVolumes(m.Volumes))
	body.section(tagExtents, encodeExtents(m.Used))
	if len(m.Notes) > 0 {
		notes := &encoder{}
		notes.strings(m.Notes)
		body.section(tagNotes, notes.b)
	}
	if !m.Origin.Time.IsZero() {
		body.section(tagOrigin, encodeOrigin(&m.Origin))
	}
	return body.b
}

// readHead reads the head frame. What counts for the digest of the image goes
// into sum. It returns the length of the frame.
func readHead(r io.Reader, sum hash.Hash) (m *Manifest, size int64, err error) {
	var start [skippableSize + headBodyOffset]byte
	n, err := io.ReadFull(r, start[:])
	if n < skippableSize+len(headName) || !isHead(start[:n]) {
		if err == io.EOF || err == io.ErrUnexpectedEOF || err == nil {
			return nil, 0, ErrNotImage
		}
		return nil, 0, err
	}
	if err != nil {
		return nil, 0, in("head", streamError(err))
	}
	payload := int64(binary.LittleEndian.Uint32(start[4:]))
	m = &Manifest{}
	bodySize, err := m.parseFixed(start[skippableSize:], payload)
	if err != nil {
		return nil, 0, in("head", err)
	}
	packed, err := readAll(r, payload-headBodyOffset)
	if err != nil {
		return nil, 0, in("head", err)
	}
	body, err := unpackBody(packed, bodySize)
	if err != nil {
		return nil, 0, in("head", err)
	}
	digest := sha256.New()
	digest.Write(start[skippableSize : skippableSize+headFixedSize])
	digest.Write(body)
	if !bytes.Equal(digest.Sum(nil), start[skippableSize+headFixedSize:]) {
		return nil, 0, in("head", ErrDigest)
	}
	sum.Write(headFixed(m, 0))
	return m, skippableSize + payload, in("head", m.parseBody(body, sum))
}

// isHead reports whether p begins like an image.
func isHead(p []byte) bool {
	return len(p) >= skippableSize+len(headName) &&
		binary.LittleEndian.Uint32(p) == headMagic && [8]byte(p[skippableSize:]) == headName
}

// readAll reads n bytes from r. It allocates as they come, so that a hostile n
// costs no memory.
func readAll(r io.Reader, n int64) ([]byte, error) {
	var buf bytes.Buffer
	_, err := io.CopyN(&buf, r, n)
	return buf.Bytes(), streamError(err)
}

// unpackBody decompresses the body of the head.
func unpackBody(packed []byte, size int64) ([]byte, error) {
	if err := checkFrame(packed, size, maxBody); err != nil {
		return nil, in("body", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(maxBody), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(maxBody))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	body, err := dec.DecodeAll(packed, make([]byte, 0, size))
	if err != nil || int64(len(body)) != size {
		return nil, damaged("body of %d bytes, want %d: %v", len(body), size, err)
	}
	return body, nil
}

// parseFixed parses the payload before the body and returns BodySize.
func (m *Manifest) parseFixed(p []byte, payload int64) (bodySize int64, err error) {
	d := &decoder{b: p[len(headName):headFixedSize]}
	v, shift, reserved := d.u8(), d.u8(), d.u16()
	logical, physical := d.u32(), d.u32()
	bodySize = d.u32()
	m.Size = d.size()
	switch {
	case v != version:
		return 0, damaged("version %d; this slipcast reads version %d", v, version)
	case shift < minChunkShift || shift > maxChunkShift:
		return 0, damaged("chunks of 2^%d bytes", shift)
	case reserved != 0:
		return 0, damaged("reserved bytes %#x", reserved)
	case bits.OnesCount64(uint64(logical)) != 1 || logical < 512 || logical > 65536,
		bits.OnesCount64(uint64(physical)) != 1 || physical < logical || physical > 1<<30:
		return 0, damaged("sectors of %d and %d bytes", logical, physical)
	case m.Size < 1 || m.Size >= maxDisk:
		return 0, damaged("a disk of %d bytes", m.Size)
	case bodySize > maxBody || payload > maxHeadPayload || payload < headBodyOffset:
		return 0, damaged("%d bytes, body of %d", payload, bodySize)
	}
	m.ChunkSize = 1 << shift
	m.LogicalSector, m.PhysicalSector = int(logical), int(physical)
	return bodySize, nil
}

// parseBody parses the sections of the head and plans the frames.
func (m *Manifest) parseBody(body []byte, sum hash.Hash) error {
	seen := map[int]bool{}
	err := sections(body, sum, func(tag int, payload []byte) error {
		seen[tag] = true
		d := &decoder{b: payload}
		switch tag {
		case tagTable:
			m.Table = decodeTable(d, m.Size)
		case tagVolumes:
			m.Volumes = decodeVolumes(d, m.Size)
		case tagExtents:
			m.Used = decodeExtents(d, m.Size)
		case tagNotes:
			m.Notes = d.strings()
		case tagOrigin:
			m.Origin = decodeOrigin(d)
		default:
			if tag >= firstTailTag {
				d.fail("does not belong here")
			}
			d.b = nil
		}
		return in("section "+sectionName(tag), d.done())
	})
	if err != nil {
		return err
	}
	for _, tag := range []int{tagTable, tagVolumes, tagExtents} {
		if !seen[tag] {
			return damaged("no section %s", sectionName(tag))
		}
	}
	if err := m.checkVolumes(); err != nil {
		return err
	}
	return m.plan()
}

// checkVolumes checks the places of the volumes against the table.
func (m *Manifest) checkVolumes() error {
	places := map[int]partition.Extent{}
	if m.Table.Kind == partition.None {
		places[0] = m.all()
	}
	for _, p := range m.Table.Partitions {
		if !p.Extended {
			places[p.Number] = p.Extent()
		}
	}
	for i := range m.Volumes {
		v := &m.Volumes[i]
		if place, ok := places[v.Number]; !ok || v.Extent() != place {
			return damaged("volume %d: %d bytes at %d: not a partition, or there twice", v.Number, v.Size, v.Start)
		}
		delete(places, v.Number)
	}
	return nil
}

func encodeTable(t *Table) []byte {
	e := &encoder{}
	e.u8(kindNumber(t.Kind))
	e.string(t.ID)
	e.u16(len(t.Partitions))
	for _, p := range t.Partitions {
		e.u16(p.Number)
		e.u16(bit(p.Logical, 0) | bit(p.Extended, 1) | bit(p.Boot, 2))
		e.u64(uint64(p.Start))
		e.u64(uint64(p.Size))
		e.u64(p.Attributes)
		e.string(p.Type)
		e.string(p.UUID)
		e.string(p.Name)
	}
	return e.b
}

func decodeTable(d *decoder, diskSize int64) Table {
	kind := int(d.u8())
	if kind >= len(tableKinds()) {
		d.fail("table of kind %d", kind)
		return Table{}
	}
	t := Table{Kind: tableKinds()[kind], ID: d.string()}
	last := 0
	for range d.count(34) {
		p := partition.Partition{Number: d.u16()}
		flags := d.u16()
		p.Logical, p.Extended, p.Boot = flags&1 != 0, flags&2 != 0, flags&4 != 0
		p.Start, p.Size, p.Attributes = d.size(), d.size(), d.u64()
		p.Type, p.UUID, p.Name = d.string(), d.string(), d.string()
		if p.Number <= last || flags > 7 || !fits(p.Start, p.Size, diskSize) {
			d.fail("partition %d: flags %#x, %d bytes at %d", p.Number, flags, p.Size, p.Start)
			return t
		}
		last = p.Number
		t.Partitions = append(t.Partitions, p)
	}
	if t.Kind == partition.None && (t.ID != "" || t.Partitions != nil) {
		d.fail("partitions without a table")
	}
	return t
}

// tableKinds returns the kinds of tables by their number in section 1.
func tableKinds() []partition.Kind {
	return []partition.Kind{partition.None, partition.GPT, partition.MBR}
}

func kindNumber(k partition.Kind) uint8 {
	for i, kind := range tableKinds() {
		if kind == k {
			return uint8(i)
		}
	}
	return 0
}

func encodeVolumes(volumes []Volume) []byte {
	e := &encoder{}
	e.u16(len(volumes))
	for i := range volumes {
		v := &volumes[i]
		e.u16(v.Number)
		e.u16(bit(v.Whole, 0) | bit(v.Dirty, 1))
		e.u32(v.BlockSize)
		e.u64(uint64(v.Start))
		e.u64(uint64(v.Size))
		e.u64(uint64(v.Span))
		e.string(v.Type)
		e.string(v.Label)
		e.string(v.UUID)
		e.strings(v.Notes)
	}
	return e.b
}

func decodeVolumes(d *decoder, diskSize int64) []Volume {
	var list []Volume
	notes := 0
	for range d.count(40) {
		v := Volume{Number: d.u16()}
		flags := d.u16()
		v.Whole, v.Dirty = flags&1 != 0, flags&2 != 0
		v.BlockSize = d.u32()
		v.Start, v.Size, v.Span = d.size(), d.size(), d.size()
		v.Type, v.Label, v.UUID = d.string(), d.string(), d.string()
		v.Notes = d.strings()
		if flags > 3 || !fits(v.Start, v.Size, diskSize) || v.Span > v.Size ||
			len(list) > 0 && v.Start < list[len(list)-1].Start {
			d.fail("volume %d: flags %#x, %d bytes at %d", v.Number, flags, v.Size, v.Start)
			return list
		}
		if notes += len(v.Notes); notes > math.MaxUint16 {
			d.fail("%d notes", notes)
			return list
		}
		list = append(list, v)
	}
	return list
}

// encodeExtents returns x as in section 4.3.
func encodeExtents(x partition.Extents) []byte {
	var all int64
	for _, u := range x {
		all |= u.Start | u.Length
	}
	shift := 0
	if all != 0 {
		shift = min(bits.TrailingZeros64(uint64(all)), 12)
	}
	e := &encoder{}
	e.u8(uint8(shift))
	e.uvarint(uint64(len(x)))
	var at int64
	for _, u := range x {
		e.uvarint(uint64(u.Start-at) >> shift)
		e.uvarint(uint64(u.Length) >> shift)
		at = u.End()
	}
	return e.b
}

func decodeExtents(d *decoder, diskSize int64) partition.Extents {
	shift, count := d.u8(), d.uvarint()
	if shift > 12 || count > partition.MaxExtents || count > uint64(len(d.b))/2 {
		d.fail("%d extents in units of 2^%d bytes", count, shift)
		return nil
	}
	x := make(partition.Extents, 0, count)
	var at, all uint64
	limit := uint64(diskSize) >> shift
	for i := range int(count) {
		gap, length := d.uvarint(), d.uvarint()
		if gap > limit || length > limit || gap+length > limit-at || length == 0 || gap == 0 && i > 0 {
			d.fail("extent %d: %d units, %d behind the one before", i, length, gap)
			return nil
		}
		x = append(x, partition.Extent{Start: int64(at+gap) << shift, Length: int64(length) << shift})
		at += gap + length
		all |= gap | length
	}
	if shift < 12 && all&1 == 0 && all != 0 || shift != 0 && all == 0 {
		d.fail("extents in units of 2^%d bytes, more divides them all", shift)
	}
	return x
}

// maxTime is the latest time of an origin, in seconds: the year 8774.
const maxTime = math.MaxInt32 * 100

func encodeOrigin(o *Origin) []byte {
	e := &encoder{}
	e.u64(uint64(max(0, min(o.Time.Unix(), maxTime))))
	e.string(o.Tool)
	e.string(o.Level)
	e.string(o.Source)
	e.string(o.Parent)
	return e.b
}

func decodeOrigin(d *decoder) Origin {
	seconds := d.size()
	if seconds > maxTime {
		d.fail("time %d", seconds)
	}
	return Origin{Time: time.Unix(seconds, 0).UTC(), Tool: d.string(), Level: d.string(), Source: d.string(), Parent: d.string()}
}

// fits reports whether size bytes from start lie on a disk of diskSize bytes.
func fits(start, size, diskSize int64) bool {
	return start >= 0 && size >= 0 && size <= diskSize && start <= diskSize-size
}

// bit returns 1 << n if set, else 0.
func bit(set bool, n int) int {
	if set {
		return 1 << n
	}
	return 0
}
