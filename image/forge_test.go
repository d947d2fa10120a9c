package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"lukechampine.com/blake3"

	"slipcast/partition"
)

// A forge makes images by hand, with right digests and sizes unless told
// otherwise, so that the checks behind these are reached. It shares no code
// with the writer but the encoding of sections.
type forge struct {
	fixed    []byte // the head's payload up to HeadDigest
	head     []forgedSection
	packBody func(body []byte) []byte // how the body is compressed
	frames   [][]byte                 // data frames
	lengths  []int64                  // what each holds of the disk
	tail     []forgedSection
	tailWord []byte // magic, version and reserved bytes of the tail

	editBody  func(body []byte) []byte // the head's body
	editHead  func(head []byte)        // the head frame
	editTail  func(tail []byte)        // the tail frame
	editTable func(table []byte)
	behind    []byte // what follows the seek table
}

type forgedSection struct {
	tag, flags int
	payload    []byte
}

// newForge returns a forge that makes an image of the disk, as Capture would.
func newForge(d testDisk, chunkSize int64) *forge {
	m := &Manifest{Layout: *d.layout, ChunkSize: chunkSize}
	if err := m.plan(); err != nil {
		panic(err)
	}
	f := &forge{fixed: headFixed(m, 0), tailWord: []byte("SLIPTAIL\x01\x00\x00\x00\x00\x00\x00\x00"), packBody: packBody}
	f.head = []forgedSection{{1, 1, encodeTable(&m.Table)}, {2, 1, encodeVolumes(m.Volumes)}, {3, 1, encodeExtents(m.Used)}}
	var digests, quick, sums []byte
	for frame := range m.Frames() {
		raw := d.want()[frame.Start:frame.End()]
		packed := appendStored(nil, raw)
		if frame.Hole {
			packed = new(zeros).appendFrame(nil, frame.Length)
		} else {
			digest, fast := sha256.Sum256(raw), blake3.Sum256(raw)
			digests, quick = append(digests, digest[:]...), append(quick, fast[:16]...)
			sums = binary.LittleEndian.AppendUint64(sums, xxhash.Sum64(packed))
		}
		f.frames, f.lengths = append(f.frames, packed), append(f.lengths, frame.Length)
	}
	f.tail = []forgedSection{{32, 1, digests}, {33, 1, quick}, {34, 1, encodeExtents(nil)}, {48, 2, sums}}
	return f
}

// packBody compresses the body of a head.
func packBody(body []byte) []byte {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(true))
	if err != nil {
		panic(err)
	}
	defer enc.Close()
	return enc.EncodeAll(body, nil)
}

// section returns the section with that tag, to be changed.
func (f *forge) section(tag int) *forgedSection {
	for _, list := range [][]forgedSection{f.head, f.tail} {
		for i := range list {
			if list[i].tag == tag {
				return &list[i]
			}
		}
	}
	panic("no such section")
}

func body(list []forgedSection) []byte {
	var p []byte
	for _, s := range list {
		p = binary.LittleEndian.AppendUint16(p, uint16(s.tag))
		p = binary.LittleEndian.AppendUint16(p, uint16(s.flags))
		p = binary.LittleEndian.AppendUint32(p, uint32(len(s.payload)))
		p = append(p, s.payload...)
	}
	return p
}

// skippable returns a skippable frame.
func skippable(magic uint32, payload []byte) []byte {
	p := binary.LittleEndian.AppendUint32(nil, magic)
	p = binary.LittleEndian.AppendUint32(p, uint32(len(payload)))
	return append(p, payload...)
}

func (f *forge) headFrame() []byte {
	b := body(f.head)
	if f.editBody != nil {
		b = f.editBody(b)
	}
	fixed := slices.Clone(f.fixed)
	if binary.LittleEndian.Uint32(fixed[20:]) == 0 {
		binary.LittleEndian.PutUint32(fixed[20:], uint32(len(b)))
	}
	digest := sha256.Sum256(append(slices.Clone(fixed), b...))
	p := skippable(headMagic, slices.Concat(fixed, digest[:], f.packBody(b)))
	if f.editHead != nil {
		f.editHead(p)
	}
	return p
}

func (f *forge) tailFrame() []byte {
	sum := sha256.New()
	sum.Write(f.fixed[:20])
	sum.Write(make([]byte, 4))
	sum.Write(f.fixed[24:])
	for _, s := range slices.Concat(f.head, f.tail) {
		if s.flags&2 == 0 {
			sum.Write(body([]forgedSection{s}))
		}
	}
	p := skippable(tailMagic, slices.Concat(f.tailWord, sum.Sum(nil), body(f.tail)))
	if f.editTail != nil {
		f.editTail(p)
	}
	return p
}

// seal returns the image.
func (f *forge) seal() []byte {
	var entries []byte
	entry := func(frame []byte, length int64, sum uint32) {
		for _, v := range []uint32{uint32(len(frame)), uint32(length), sum} {
			entries = binary.LittleEndian.AppendUint32(entries, v)
		}
	}
	head, tail := f.headFrame(), f.tailFrame()
	image := slices.Clone(head)
	entry(head, 0, 0x51d8e999)
	for i, frame := range f.frames {
		var sum uint32
		if len(frame) >= 4 {
			sum = binary.LittleEndian.Uint32(frame[len(frame)-4:])
		}
		entry(frame, f.lengths[i], sum)
		image = append(image, frame...)
	}
	entry(tail, 0, 0x51d8e999)
	image = append(image, tail...)
	entries = binary.LittleEndian.AppendUint32(entries, uint32(len(f.frames)+2))
	entries = append(entries, 0x80, 0xb1, 0xea, 0x92, 0x8f)
	table := skippable(seekTableMagic, entries)
	if f.editTable != nil {
		f.editTable(table)
	}
	return slices.Concat(image, table, f.behind)
}

// A verdict is what all ways to read an image say of it.
type verdict struct {
	open, verify, restore, stream error
	dst, streamed                 *recorder
}

// A court judges many images of disks of one size.
type court struct {
	before        []byte // what is on the targets
	dst, streamed recorder
}

func newCourt(size int) *court { return &court{before: garbage(size)} }

// judge reads an image in every way, and restores it over garbage. The
// verdict holds until the next.
func (c *court) judge(image []byte) verdict {
	v := verdict{dst: &c.dst, streamed: &c.streamed}
	ctx := context.Background()
	var im *Image
	if im, v.open = Open(bytes.NewReader(image), int64(len(image))); v.open == nil {
		v.verify = im.Verify(ctx, VerifyOptions{Workers: 1})
		c.dst.reset(c.before)
		_, v.restore = Restore(ctx, im, v.dst, RestoreOptions{Workers: 1})
	}
	s, err := OpenStream(onlyReader{bytes.NewReader(image)})
	if v.stream = err; err == nil {
		c.streamed.reset(c.before)
		_, v.stream = RestoreStream(ctx, s, v.streamed, RestoreOptions{Workers: 1})
	}
	return v
}

// onlyReader hides that its reader can do more.
type onlyReader struct{ io.Reader }

// The forge makes the same image as Capture, but for how the frames came
// about.
func TestForge(t *testing.T) {
	for name, d := range testDisks(t) {
		want := openBytes(t, captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk}))
		image := newForge(d, smallChunk).seal()
		if got := openBytes(t, image); got.Digest != want.Digest {
			t.Errorf("%s: digest %v, want %v", name, got.Digest, want.Digest)
		}
		v := newCourt(len(d.b)).judge(image)
		if err := errors.Join(v.open, v.verify, v.restore, v.stream); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sameUsed(t, name, v.dst.durable, d.b, d.layout.Used)
		sameUsed(t, name+" stream", v.streamed.durable, d.b, d.layout.Used)
	}
}

// The smallest possible disk of each kind of frame, for tables of refusals:
// three chunks of data around a hole, 1.5 MiB.
func forgeDisk() testDisk {
	const size = 1536 * kiB
	used := partition.Extents{{Start: 0, Length: 300 * kiB}, {Start: 1024 * kiB, Length: 4096}}
	d := testDisk{b: make([]byte, size), layout: layoutOf(size, used)}
	for i := range d.b {
		d.b[i] = byte(i>>9) | 1
	}
	return d
}
