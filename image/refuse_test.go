package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"slipcast/partition"
)

// A refusal is an image that breaks one rule of docs/format.md.
type refusal struct {
	name string
	edit func(f *forge)
	want string // part of the message of Open or Verify
}

// refuses checks that every image of the table is refused by every way to
// read it, for the reason that it was made for.
func refuses(t *testing.T, d testDisk, tests []refusal) {
	t.Helper()
	court := newCourt(len(d.b))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newForge(d, smallChunk)
			tt.edit(f)
			v := court.judge(f.seal())
			err := v.open
			if err == nil {
				err = v.verify
			}
			if !isDamage(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open and Verify: got %v, want damage: %s", err, tt.want)
			}
			if v.open == nil && !isDamage(v.restore) {
				t.Errorf("Restore: got %v, want damage", v.restore)
			}
			if !isDamage(v.stream) {
				t.Errorf("RestoreStream: got %v, want damage", v.stream)
			}
		})
	}
}

// setByte returns an edit of the head's fixed fields.
func setByte(i int, v byte) func(*forge) { return func(f *forge) { f.fixed[i] = v } }

func setFixed32(i int, v uint32) func(*forge) {
	return func(f *forge) { binary.LittleEndian.PutUint32(f.fixed[i:], v) }
}

func setFixed64(i int, v uint64) func(*forge) {
	return func(f *forge) { binary.LittleEndian.PutUint64(f.fixed[i:], v) }
}

func TestRefuseHead(t *testing.T) {
	packed := func(pack func(b []byte) []byte) func(*forge) {
		return func(f *forge) { f.packBody = pack }
	}
	headSize := func(change func(size uint32) uint32) func(*forge) {
		return func(f *forge) {
			f.editHead = func(head []byte) {
				binary.LittleEndian.PutUint32(head[4:], change(binary.LittleEndian.Uint32(head[4:])))
			}
		}
	}
	refuses(t, forgeDisk(), []refusal{
		{"version 0", setByte(8, 0), "version 0"},
		{"version 2", setByte(8, 2), "version 2"},
		{"chunks of 128 KiB", setByte(9, 17), "chunks"},
		{"chunks of 32 MiB", setByte(9, 25), "chunks"},
		{"shift of 255", setByte(9, 255), "chunks"},
		{"reserved, low", setByte(10, 1), "reserved"},
		{"reserved, high", setByte(11, 0x80), "reserved"},
		{"sector of 0", setFixed32(12, 0), "sectors"},
		{"sector of 256", setFixed32(12, 256), "sectors"},
		{"sector of 768", setFixed32(12, 768), "sectors"},
		{"sector of 128 KiB", setFixed32(12, 128*kiB), "sectors"},
		{"physical below logical", setFixed32(16, 256), "sectors"},
		{"physical of 3000", setFixed32(16, 3000), "sectors"},
		{"physical of 2 GiB", setFixed32(16, 1<<31), "sectors"},
		{"body bomb", setFixed32(20, 64*miB+1), "body of 67108865"},
		{"body of 4 GiB", setFixed32(20, math.MaxUint32), "body of"},
		{"body longer than said", setFixed32(20, 20), "want 20"},
		{"body shorter than said", setFixed32(20, 4000), "want 4000"},
		{"disk of 0", setFixed64(24, 0), "a disk of 0"},
		{"disk of 2^56", setFixed64(24, 1<<56), "a disk of"},
		{"disk of 2^63", setFixed64(24, 1<<63), "a disk of"},
		{"a larger disk", setFixed64(24, 1536*kiB+1), "volume 0"},
		{"digest", func(f *forge) { f.editHead = func(head []byte) { head[8+40] ^= 1 } }, "digest mismatch"},
		{"payload below the fixed part", headSize(func(uint32) uint32 { return 63 }), "63 bytes"},
		{"payload without a body", headSize(func(uint32) uint32 { return 64 }), "head"},
		{"payload too long", headSize(func(uint32) uint32 { return maxHeadPayload + 1 }), "67174401 bytes"},
		{"payload a byte longer", headSize(func(n uint32) uint32 { return n + 1 }), "head"},
		{"payload a byte shorter", headSize(func(n uint32) uint32 { return n - 1 }), "head"},
		{"no body", packed(func([]byte) []byte { return nil }), "head"},
		{"body not compressed", packed(func(b []byte) []byte { return b }), "not a zstd frame"},
		{"body of two frames", packed(func(b []byte) []byte { return append(packBody(b[:10]), packBody(b[10:])...) }), "body"},
		{"empty frame behind the body", packed(func(b []byte) []byte { return append(packBody(b), packBody(nil)...) }), "blocks take"},
		{"skippable frame behind the body", packed(func(b []byte) []byte { return append(packBody(b), skippable(tailMagic, nil)...) }), "blocks take"},
		{"byte behind the body", packed(func(b []byte) []byte { return append(packBody(b), 0) }), "blocks take"},
		{"body without content size", packed(unsized), "without a content size"},
		{"body without checksum", packed(unsummed), "descriptor"},
		{"body with a dictionary", packed(func(b []byte) []byte { return withDictionary(appendStored(nil, b)) }), "descriptor"},
		{"body with a window of 128 MiB", packed(func(b []byte) []byte { return withWindow(appendStored(nil, b), 0x88) }), "window"},
	})
}

// unsized compresses without telling the size of the contents.
func unsized(b []byte) []byte {
	var out bytes.Buffer
	enc, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	if _, err := io.Copy(enc, onlyReader{bytes.NewReader(b)}); err != nil {
		panic(err)
	}
	if err := enc.Flush(); err != nil { // now the size is not known
		panic(err)
	}
	if err := enc.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func unsummed(b []byte) []byte {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	if err != nil {
		panic(err)
	}
	defer enc.Close()
	return enc.EncodeAll(b, nil)
}

// withDictionary adds a dictionary of one byte to the header of a stored
// frame.
func withDictionary(frame []byte) []byte {
	frame[4] |= 1
	return slices.Insert(frame, 6, 7)
}

// withWindow changes the window descriptor of a stored frame.
func withWindow(frame []byte, descriptor byte) []byte {
	frame[5] = descriptor
	return frame
}

// payload returns an edit that replaces the payload of a section.
func payload(tag int, p []byte) func(*forge) {
	return func(f *forge) { f.section(tag).payload = p }
}

// encoded returns what fill encodes.
func encoded(fill func(e *encoder)) []byte {
	e := &encoder{}
	fill(e)
	return e.b
}

func TestRefuseSections(t *testing.T) {
	add := func(at int, s forgedSection) func(*forge) {
		return func(f *forge) { f.head = slices.Insert(f.head, at, s) }
	}
	flags := func(tag, flags int) func(*forge) { return func(f *forge) { f.section(tag).flags = flags } }
	notes := encoded(func(e *encoder) { e.strings([]string{"a"}) })
	refuses(t, forgeDisk(), []refusal{
		{"no table", func(f *forge) { f.head = f.head[1:] }, "no section 1 (table)"},
		{"no volumes", func(f *forge) { f.head = slices.Delete(f.head, 1, 2) }, "no section 2 (volumes)"},
		{"no extents", func(f *forge) { f.head = f.head[:2] }, "no section 3 (extents in use)"},
		{"nothing", func(f *forge) { f.head = nil }, ""},
		{"out of order", func(f *forge) { slices.Reverse(f.head) }, "section 2 behind section 3"},
		{"twice", func(f *forge) { f.head = slices.Insert(f.head, 1, f.head[0]) }, "section 1 behind section 1"},
		{"tag 0", add(0, forgedSection{0, 0, nil}), "section 0"},
		{"unknown, required", add(3, forgedSection{9, 1, nil}), "section 9: made by a newer slipcast"},
		{"unknown, required and volatile", add(3, forgedSection{9, 3, nil}), "section 9"},
		{"unknown flag", add(3, forgedSection{9, 4, nil}), "section 9: flags 0x4"},
		{"highest flag", add(3, forgedSection{9, 0x8000, nil}), "section 9: flags"},
		{"table not required", flags(1, 0), "section 1: flags 0x0"},
		{"table volatile", flags(1, 3), "section 1: flags 0x3"},
		{"notes required", add(3, forgedSection{4, 1, notes}), "section 4: flags 0x1"},
		{"origin not volatile", add(3, forgedSection{16, 0, encodeOrigin(&Origin{})}), "section 16: flags 0x0"},
		{"digests in the head", add(3, forgedSection{32, 1, make([]byte, 64)}), "does not belong here"},
		{"frame sums in the head", add(3, forgedSection{48, 2, nil}), "does not belong here"},
		{"unknown of the tail in the head", add(3, forgedSection{99, 0, nil}), "does not belong here"},
		{"half a header", func(f *forge) { f.editBody = func(b []byte) []byte { return append(b, 4, 0, 0) } }, "section header"},
		{"header alone", func(f *forge) { f.editBody = func(b []byte) []byte { return append(b, 9, 0, 0, 0, 1, 0, 0, 0) } }, "section header"},
		{"length of 4 GiB", func(f *forge) {
			f.editBody = func(b []byte) []byte { return append(b, 9, 0, 0, 0, 255, 255, 255, 255) }
		}, "section header"},
		{"notes: more than there are", add(3, forgedSection{4, 0, []byte{2, 0, 0, 0}}), "a list of 2"},
		{"notes: longer than there is", add(3, forgedSection{4, 0, []byte{1, 0, 9, 0, 'a'}}), "ends early"},
		{"notes: not UTF-8", add(3, forgedSection{4, 0, []byte{1, 0, 1, 0, 0xff}}), "UTF-8"},
		{"notes: a byte too many", add(3, forgedSection{4, 0, append(slices.Clone(notes), 0)}), "1 bytes too many"},
		{"origin: time", add(3, forgedSection{16, 2, encoded(func(e *encoder) { e.u64(maxTime + 1); e.b = append(e.b, make([]byte, 8)...) })}), "time"},
		{"origin: negative time", add(3, forgedSection{16, 2, encoded(func(e *encoder) { e.u64(1 << 63); e.b = append(e.b, make([]byte, 8)...) })}), "a size of"},
		{"origin: cut", add(3, forgedSection{16, 2, make([]byte, 15)}), "ends early"},
	})
}

// What a reader must skip is skipped, and counts for the digest only if it is
// not volatile.
func TestAcceptUnknownSections(t *testing.T) {
	d := forgeDisk()
	plain := openBytes(t, newForge(d, smallChunk).seal()).Digest
	for _, tt := range []struct {
		name       string
		edit       func(f *forge)
		sameDigest bool
	}{
		{"head", func(f *forge) { f.head = append(f.head, forgedSection{9, 0, []byte("new")}) }, false},
		{"head, volatile", func(f *forge) { f.head = append(f.head, forgedSection{31, 2, []byte("new")}) }, true},
		{"tail", func(f *forge) { f.tail = append(f.tail, forgedSection{50, 0, []byte("new")}) }, false},
		{"tail, volatile", func(f *forge) { f.tail = append(f.tail, forgedSection{64, 2, make([]byte, 64)}) }, true},
		{"tail, highest", func(f *forge) { f.tail = append(f.tail, forgedSection{65535, 2, nil}) }, true},
		{"no frame sums", func(f *forge) { f.tail = f.tail[:3] }, true},
		{"origin", func(f *forge) { f.head = append(f.head, forgedSection{16, 2, encodeOrigin(&Origin{Tool: "x"})}) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newForge(d, smallChunk)
			tt.edit(f)
			image := f.seal()
			v := newCourt(len(d.b)).judge(image)
			if err := errors.Join(v.open, v.verify, v.restore, v.stream); err != nil {
				t.Fatal(err)
			}
			sameUsed(t, "restored", v.dst.durable, d.b, d.layout.Used)
			if same := openBytes(t, image).Digest == plain; same != tt.sameDigest {
				t.Errorf("same digest: %v, want %v", same, tt.sameDigest)
			}
		})
	}
}

// aPartition encodes one partition.
func aPartition(number, flags int, start, size uint64) []byte {
	return encoded(func(e *encoder) {
		e.u16(number)
		e.u16(flags)
		e.u64(start)
		e.u64(size)
		e.u64(0)
		e.string("0x83")
		e.string("")
		e.string("")
	})
}

// aTable encodes an MBR with partitions.
func aTable(count int, partitions ...[]byte) []byte {
	return encoded(func(e *encoder) {
		e.u8(2)
		e.string("feedc0de")
		e.u16(count)
		e.b = append(e.b, bytes.Join(partitions, nil)...)
	})
}

func TestRefuseTable(t *testing.T) {
	table := func(p []byte) func(*forge) {
		return func(f *forge) {
			f.section(2).payload = encodeVolumes(nil)
			f.section(1).payload = p
		}
	}
	one := aPartition(1, 0, 512, 512)
	refuses(t, forgeDisk(), []refusal{
		{"empty", table(nil), "ends early"},
		{"kind 3", table([]byte{3, 0, 0, 0, 0}), "kind 3"},
		{"ID without a table", table([]byte{0, 1, 0, 'x', 0, 0}), "without a table"},
		{"partitions without a table", table(append([]byte{0, 0, 0, 1, 0}, one...)), "without a table"},
		{"more than there are", table(aTable(2, one)), "a list of 2"},
		{"65535 of them", table(aTable(65535)), "a list of 65535"},
		{"fewer than there are", table(aTable(0, one)), "too many"},
		{"number 0", table(aTable(1, aPartition(0, 0, 512, 512))), "partition 0"},
		{"number twice", table(aTable(2, one, one)), "partition 1"},
		{"numbers descend", table(aTable(2, aPartition(2, 0, 0, 512), one)), "partition 1"},
		{"flags", table(aTable(1, aPartition(1, 8, 512, 512))), "flags 0x8"},
		{"behind the end", table(aTable(1, aPartition(1, 0, 1536*kiB, 1))), "partition 1"},
		{"over the end", table(aTable(1, aPartition(1, 0, 512, 1536*kiB))), "partition 1"},
		{"sum overflows", table(aTable(1, aPartition(1, 0, math.MaxInt64, math.MaxInt64))), "partition 1"},
		{"start of 2^63", table(aTable(1, aPartition(1, 0, 1<<63, 1))), "a size of"},
		{"size of 2^64", table(aTable(1, aPartition(1, 0, 0, math.MaxUint64))), "a size of"},
		{"type longer than there is", table(aTable(1, append(one[:len(one)-10:len(one)-10], 255, 255, 0, 0, 0, 0, 0, 0, 0, 0))), "ends early"},
		{"type not UTF-8", table(aTable(1, append(one[:len(one)-10:len(one)-10], 2, 0, 0xc0, 0x80, 0, 0, 0, 0))), "UTF-8"},
		{"not in the data", table(aTable(1, one)), "the table in the data"},
	})
}

func TestRefuseVolumes(t *testing.T) {
	const size = 1536 * kiB
	good := Volume{Size: size, Span: size}
	volumes := func(list ...Volume) func(*forge) { return payload(2, encodeVolumes(list)) }
	with := func(change func(v *Volume)) func(*forge) {
		v := good
		change(&v)
		return volumes(v)
	}
	flags := encodeVolumes([]Volume{good})
	flags[4] = 4
	many := good
	many.Notes = make([]string, 65535)
	parts := func(numbers ...int) func(*forge) {
		return func(f *forge) {
			f.section(1).payload = aTable(2, aPartition(1, 0, 512, 512), aPartition(2, 2, 2048, 512))
			var list []Volume
			for _, n := range numbers {
				start := int64(512)
				if n == 2 {
					start = 2048
				}
				list = append(list, Volume{Number: n, Start: start, Size: 512})
			}
			f.section(2).payload = encodeVolumes(list)
		}
	}
	refuses(t, forgeDisk(), []refusal{
		{"empty", payload(2, nil), "ends early"},
		{"more than there are", payload(2, []byte{9, 0}), "a list of 9"},
		{"flags", payload(2, flags), "flags 0x4"},
		{"behind the end", with(func(v *Volume) { v.Start = size + 1 }), "volume 0"},
		{"over the end", with(func(v *Volume) { v.Start = 1 }), "volume 0"},
		{"sum overflows", with(func(v *Volume) { v.Start, v.Size = math.MaxInt64, math.MaxInt64 }), "volume 0"},
		{"a size of 2^63", with(func(v *Volume) { v.Size = math.MinInt64 }), "a size of"},
		{"span above the size", with(func(v *Volume) { v.Span = size + 1 }), "volume 0"},
		{"not all of the disk", with(func(v *Volume) { v.Size, v.Span = 512, 512 }), "volume 0"},
		{"not at the start", with(func(v *Volume) { v.Start, v.Size, v.Span = 512, size-512, 0 }), "volume 0"},
		{"a partition without a table", with(func(v *Volume) { v.Number = 1 }), "volume 1"},
		{"twice", volumes(good, good), "volume 0"},
		{"notes that are not there", payload(2, append(encodeVolumes([]Volume{good})[:2+38], 255, 255)), "a list of 65535"},
		{"too many notes", func(f *forge) {
			f.section(1).payload = aTable(2, aPartition(1, 0, 512, 512), aPartition(2, 0, 2048, 512))
			f.section(2).payload = encodeVolumes([]Volume{
				{Number: 1, Start: 512, Size: 512, Notes: many.Notes}, {Number: 2, Start: 2048, Size: 512, Notes: []string{""}},
			})
		}, "65536 notes"},
		{"the disk beside partitions", func(f *forge) {
			f.section(1).payload = aTable(1, aPartition(1, 0, 512, 512))
			f.section(2).payload = encodeVolumes([]Volume{good})
		}, "volume 0"},
		{"no such partition", parts(3), "volume 3"},
		{"an extended partition", parts(2), "volume 2"},
		{"a partition twice", parts(1, 1), "volume 1"},
		{"out of order", func(f *forge) {
			f.section(1).payload = aTable(2, aPartition(1, 0, 2048, 512), aPartition(2, 0, 512, 512))
			f.section(2).payload = encodeVolumes([]Volume{{Number: 1, Start: 2048, Size: 512}, {Number: 2, Start: 512, Size: 512}})
		}, "volume 2"},
	})
}

func TestRefuseExtents(t *testing.T) {
	huge := encoded(func(e *encoder) { e.u8(0); e.uvarint(1); e.uvarint(1 << 63); e.uvarint(1 << 63) })
	refuses(t, forgeDisk(), []refusal{
		{"empty", payload(3, nil), "ends early"},
		{"shift of 13", payload(3, []byte{13, 0}), "2^13"},
		{"shift without extents", payload(3, []byte{1, 0}), "more divides"},
		{"not in the largest unit", payload(3, []byte{0, 1, 2, 2}), "more divides"},
		{"a shift too small", payload(3, []byte{8, 1, 2, 4}), "more divides"},
		{"more than there are", payload(3, []byte{0, 3, 1, 1, 1, 1}), "3 extents"},
		{"more than are allowed", payload(3, append([]byte{0, 0x81, 0x80, 0x40}, make([]byte, 2<<20+2)...)), "1048577 extents"},
		{"2^64 of them", payload(3, encoded(func(e *encoder) { e.u8(0); e.uvarint(math.MaxUint64) })), "extents"},
		{"fewer than there are", payload(3, []byte{0, 1, 0, 1, 1, 1}), "too many"},
		{"empty extent", payload(3, []byte{0, 1, 1, 0}), "extent 0"},
		{"no gap", payload(3, []byte{0, 2, 1, 1, 0, 1}), "extent 1"},
		{"over the end", payload(3, []byte{12, 1, 1, 0x80, 0x03}), "extent 0"},
		{"behind the end", payload(3, []byte{12, 1, 0x80, 0x03, 1}), "extent 0"},
		{"second over the end", payload(3, []byte{12, 2, 0, 1, 1, 0xff, 0x02}), "extent 1"},
		{"sum overflows", payload(3, huge), "extent 0"},
		{"number too long", payload(3, []byte{0, 1, 0x81, 0x00, 1}), "number that is cut off or too long"},
		{"number of eleven bytes", payload(3, append([]byte{0, 1}, append(bytes.Repeat([]byte{0x80}, 10), 1, 1)...)), "number that is"},
		{"cut off", payload(3, []byte{0, 1, 1, 0x80}), "number that is cut off"},
		{"other extents than the frames", payload(3, []byte{12, 1, 0, 1}), ""},
		{"all in use", payload(3, []byte{12, 1, 0, 0x80, 0x03}), ""},
		{"nothing in use", payload(3, []byte{0, 0}), ""},
	})
}

// A disk that would need more frames or chunks than there may be.
func TestRefuseTooManyFrames(t *testing.T) {
	for _, tt := range []struct {
		size int64
		used partition.Extents
	}{
		{1 << 45, partition.Extents{{Start: 0, Length: 1 << 45}}},
		{1 << 54, nil},
		{maxDisk - 1, nil},
		{maxDisk - 1, partition.Extents{{Start: 0, Length: maxDisk - 1}}},
	} {
		m := Manifest{Layout: *layoutOf(tt.size, tt.used), ChunkSize: smallChunk}
		if err := m.plan(); !errors.Is(err, ErrDamaged) {
			t.Errorf("a disk of %d bytes: %v, want ErrDamaged", tt.size, err)
		}
		if _, _, err := Capture(t.Context(), io.Discard, &sparse{size: tt.size}, layoutOf(tt.size, tt.used), CaptureOptions{ChunkSize: smallChunk}); err == nil {
			t.Errorf("a disk of %d bytes: captured", tt.size)
		}
	}
}

// frame returns an edit of a data frame. In the disk of forgeDisk, 0 is a
// full chunk, 1 a chunk with unused bytes, 2 a hole of two chunks, 3 a chunk.
func frame(i int, edit func(packed []byte) []byte) func(*forge) {
	return func(f *forge) { f.frames[i] = edit(f.frames[i]) }
}

// frameOf returns an edit that puts blocks between the header and the
// checksum of chunk 0.
func frameOf(blocks []byte) func(*forge) {
	return frame(0, func(p []byte) []byte { return slices.Concat(p[:14], blocks, p[len(p)-4:]) })
}

// rle returns RLE blocks of n bytes each.
func rle(v byte, lengths ...int) []byte {
	var p []byte
	for i, n := range lengths {
		p = append(appendBlockHeader(p, blockRLE, n, i == len(lengths)-1), v)
	}
	return p
}

func TestRefuseFrames(t *testing.T) {
	const full = maxZstdBlock
	set := func(i int, v byte) func(p []byte) []byte {
		return func(p []byte) []byte { p[i] = v; return p }
	}
	empty := func(n int) []byte {
		var p []byte
		for range n {
			p = appendBlockHeader(p, blockRaw, 0, false)
		}
		return append(p, rle(1, full, full)...)
	}
	refuses(t, forgeDisk(), []refusal{
		{"other bytes", frame(0, func(p []byte) []byte { return appendStored(nil, bytes.Repeat([]byte{1}, smallChunk)) }), "chunk 0 at offset 0"},
		{"a byte of the contents", frame(0, func(p []byte) []byte { p[100] ^= 1; return p }), "chunk 0 at offset 0"},
		{"second chunk", frame(1, func(p []byte) []byte { p[100] ^= 1; return p }), "chunk 1 at offset 262144"},
		{"chunk behind the hole", frame(3, func(p []byte) []byte { p[100] ^= 1; return p }), "chunk 2 at offset 1048576"},
		{"magic", frame(0, set(0, 0)), "not a zstd frame"},
		{"skippable", frame(0, func(p []byte) []byte { return skippable(tailMagic, p[:100]) }), "not a zstd frame"},
		{"no checksum", frame(0, func(p []byte) []byte { p[4] &^= 4; return p[:len(p)-4] }), "descriptor"},
		{"no content size", frame(0, func(p []byte) []byte { p[4] &= 0x3f; return slices.Delete(p, 6, 14) }), "without a content size"},
		{"dictionary", frame(0, withDictionary), "descriptor"},
		{"reserved bit", frame(0, set(4, 0xcc)), "descriptor"},
		{"window of 512 KiB", frame(0, set(5, 0x48)), "window of 524288"},
		{"window an eighth larger", frame(0, set(5, 0x41)), "window of 294912"},
		{"largest window", frame(0, set(5, 0xff)), "window"},
		{"content size larger", frame(0, set(6, 1)), "frame of 262145 bytes"},
		{"content size smaller", frame(0, set(8, 3)), "frame of 196608 bytes"},
		{"content size of 2^63", frame(0, set(13, 0x80)), "frame of"},
		{"less than it says", frameOf(rle(1, full)), "chunk 0"},
		{"more than it says", frameOf(rle(1, full, full, 1)), "chunk 0"},
		{"bomb", frameOf(rle(1, slices.Repeat([]int{full}, 1000)...)), "chunk 0"},
		{"no blocks", frameOf(nil), ""},
		{"block type 3", frame(0, set(14, 0x06)), "block header"},
		{"block above 128 KiB", frameOf(rle(1, full+1, full-1)), "block header"},
		{"empty blocks without end", frameOf(empty(2000)), "chunk 0"},
		{"as many as fit, and other bytes", frameOf(empty(100)), "chunk 0"},
		{"no last block", frame(0, func(p []byte) []byte { p[14+3+full] &^= 1; return p }), ""},
		{"cut", frame(0, func(p []byte) []byte { return p[:len(p)-1] }), ""},
		{"empty", frame(0, func(p []byte) []byte { return nil }), ""},
		{"two frames", frame(0, func(p []byte) []byte { return append(p, skippable(tailMagic, nil)...) }), "its blocks take"},
		{"one missing", func(f *forge) { f.frames, f.lengths = f.frames[1:], f.lengths[1:] }, "frames"},
		{"one too many", func(f *forge) {
			f.frames, f.lengths = append(f.frames, f.frames[3]), append(f.lengths, f.lengths[3])
		}, "frames"},
		{"exchanged", func(f *forge) { f.frames[0], f.frames[1] = f.frames[1], f.frames[0] }, "chunk 0"},
		{"hole in two", func(f *forge) {
			half := new(zeros).appendFrame(nil, smallChunk)
			f.frames, f.lengths = slices.Replace(f.frames, 2, 3, half, half), slices.Replace(f.lengths, 2, 3, smallChunk, smallChunk)
		}, "frames"},
		{"hole with data in it", frame(2, func([]byte) []byte { return appendStored(nil, make([]byte, 2*smallChunk)) }), "frame 3"},
		{"hole of other blocks", frame(2, func(p []byte) []byte {
			return slices.Concat(p[:14], rle(0, full-1, full, full, full, 1), p[len(p)-4:])
		}), "frame 3"},
	})
}

func TestRefuseTail(t *testing.T) {
	word := func(i int, v byte) func(*forge) { return func(f *forge) { f.tailWord[i] = v } }
	cut := func(tag, n int) func(*forge) {
		return func(f *forge) { s := f.section(tag); s.payload = s.payload[:len(s.payload)-n] }
	}
	grow := func(tag, n int) func(*forge) {
		return func(f *forge) { s := f.section(tag); s.payload = append(s.payload, make([]byte, n)...) }
	}
	without := func(i int) func(*forge) {
		return func(f *forge) { f.tail = slices.Delete(f.tail, i, i+1) }
	}
	add := func(at int, s forgedSection) func(*forge) {
		return func(f *forge) { f.tail = slices.Insert(f.tail, at, s) }
	}
	edit := func(change func(tail []byte)) func(*forge) { return func(f *forge) { f.editTail = change } }
	bad := func(x partition.Extent) func(*forge) { return payload(34, encodeExtents(partition.Extents{x})) }
	refuses(t, forgeDisk(), []refusal{
		{"magic", edit(func(p []byte) { p[0] = 0x50 }), "not a tail"},
		{"name", word(4, 'H'), "not a tail"},
		{"version 0", word(8, 0), "version"},
		{"version 2", word(8, 2), "version"},
		{"reserved, first", word(9, 1), "version and reserved"},
		{"reserved, last", word(15, 0x80), "version and reserved"},
		{"digest", edit(func(p []byte) { p[24] ^= 1 }), "digest mismatch"},
		{"payload a byte longer", edit(func(p []byte) { p[4]++ }), "tail"},
		{"payload a byte shorter", edit(func(p []byte) { p[4]-- }), "tail"},
		{"payload below the fixed part", edit(func(p []byte) { put32(p[4:], 47) }), "47 bytes"},
		{"payload of 4 GiB", edit(func(p []byte) { put32(p[4:], math.MaxUint32) }), "4294967295 bytes"},
		{"no digests", without(0), "not there"},
		{"no quick digests", without(1), "not there"},
		{"no read errors", without(2), "not there"},
		{"a digest too few", cut(32, 32), "64 bytes for 3 chunks"},
		{"a digest too many", grow(32, 32), "128 bytes for 3 chunks"},
		{"a byte too few", cut(32, 1), "95 bytes"},
		{"a quick digest too few", cut(33, 16), "32 bytes for 3 chunks"},
		{"a quick digest too many", grow(33, 16), "64 bytes for 3 chunks"},
		{"a frame sum too few", cut(48, 8), "16 bytes for 3 chunks"},
		{"a frame sum too many", grow(48, 8), "32 bytes for 3 chunks"},
		{"another quick digest of a chunk", func(f *forge) { f.section(33).payload[16] ^= 1 }, "chunk 1 at offset 262144: damaged image: digest mismatch"},
		{"out of order", func(f *forge) { slices.Reverse(f.tail) }, "behind section"},
		{"twice", func(f *forge) { f.tail = append(f.tail, f.tail[3]) }, "section 48"},
		{"unknown, required", add(4, forgedSection{99, 1, nil}), "section 99: made by a newer"},
		{"unknown flag", add(4, forgedSection{99, 8, nil}), "section 99: flags 0x8"},
		{"digests volatile", func(f *forge) { f.section(32).flags = 3 }, "section 32: flags"},
		{"frame sums not volatile", func(f *forge) { f.section(48).flags = 0 }, "section 48: flags"},
		{"a section of the head", add(0, forgedSection{4, 0, []byte{0, 0}}), "section 4"},
		{"an unknown section of the head", add(0, forgedSection{31, 0, nil}), "section 31"},
		{"read errors: behind the end", payload(34, []byte{12, 1, 0x80, 0x03, 1}), "extent 0"},
		{"read errors: not in use", bad(partition.Extent{Start: 2 * smallChunk, Length: 512}), "not in use"},
		{"read errors: in part not in use", bad(partition.Extent{Start: 300*kiB - 512, Length: 1024}), "not in use"},
		{"read errors: a byte too many", payload(34, []byte{0, 0, 0}), "too many"},
		{"read errors: form", payload(34, []byte{1, 0}), "more divides"},
	})
}

func TestRefuseSeekTable(t *testing.T) {
	edit := func(change func(p []byte)) func(*forge) { return func(f *forge) { f.editTable = change } }
	at := func(entry, field int) int { return 8 + 12*entry + 4*field }
	add := func(entry, field int, delta uint32) func(*forge) {
		return edit(func(p []byte) {
			q := p[at(entry, field):]
			put32(q, binary.LittleEndian.Uint32(q)+delta)
		})
	}
	footer := func(i int, v byte) func(*forge) { return edit(func(p []byte) { p[len(p)-9+i] = v }) }
	refuses(t, forgeDisk(), []refusal{
		{"magic", edit(func(p []byte) { p[0] = 0x5d }), "seek table"},
		{"size", edit(func(p []byte) { p[4]++ }), "seek table"},
		{"number of frames", footer(0, 8), "8 frames, want 7"},
		{"number of 2^32-1 frames", edit(func(p []byte) { put32(p[len(p)-9:], math.MaxUint32) }), "frames, want 7"},
		{"no checksums", footer(4, 0), "seek table"},
		{"reserved bits", footer(4, 0x84), "seek table"},
		{"unused bits", footer(4, 0x81), "seek table"},
		{"footer magic", footer(8, 0), "does not end with one"},
		{"head longer", add(0, 0, 1), "frame 0"},
		{"head holds bytes", add(0, 1, 1), "frame 0"},
		{"head's checksum", add(0, 2, 1), "frame 0"},
		{"tail longer", add(6, 0, 1), "frames of"},
		{"tail holds bytes", add(6, 1, 1), "frame 6"},
		{"tail's checksum", add(6, 2, 1), "frame 6"},
		{"frame longer", add(1, 0, 1), "frames of"},
		{"frame shorter", add(1, 0, math.MaxUint32), "frames of"},
		{"frame too long", add(1, 0, 1<<20), "frame 1"},
		{"frame of 4 GiB", edit(func(p []byte) { put32(p[at(1, 0):], math.MaxUint32) }), "frame 1"},
		{"hole longer", add(3, 0, 1<<20), "frame 3"},
		{"hole of 4 GiB", edit(func(p []byte) { put32(p[at(3, 0):], math.MaxUint32) }), "frame 3"},
		{"frame holds more", add(1, 1, 1), "frame 1"},
		{"hole holds less", add(3, 1, math.MaxUint32), "frame 3"},
		{"something behind", func(f *forge) { f.behind = []byte{0} }, "cut short or something was added"},
		{"a frame behind", func(f *forge) { f.behind = appendStored(nil, []byte("x")) }, "cut short or something was added"},
		{"two seek tables", func(f *forge) { f.behind = skippable(seekTableMagic, []byte{0, 0, 0, 0, 0x80, 0xb1, 0xea, 0x92, 0x8f}) }, "0 frames, want 7"},
		{"sizes that add up, but lie", edit(func(p []byte) {
			put32(p[at(1, 0):], binary.LittleEndian.Uint32(p[at(1, 0):])-1)
			put32(p[at(2, 0):], binary.LittleEndian.Uint32(p[at(2, 0):])+1)
		}), "chunk 0"},
	})
}

// What only Verify has to look at: it finds the damage, and a restore finds
// it too or gives the right bytes.
func TestVerifyAlone(t *testing.T) {
	d := forgeDisk()
	const full = maxZstdBlock
	set := func(i int, v byte) func(p []byte) []byte {
		return func(p []byte) []byte { p[i] = v; return p }
	}
	for _, tt := range []refusal{
		{"digest", func(f *forge) { f.section(32).payload[32] ^= 1 }, "chunk 1 at offset 262144: damaged image: digest mismatch"},
		{"frame sum", func(f *forge) { f.section(48).payload[8] ^= 1 }, "chunk 1 at offset 262144: damaged image: frame sum"},
		{"checksum in the seek table", func(f *forge) { f.editTable = func(p []byte) { p[8+12*2+8] ^= 1 } }, "chunk 1 at offset 262144: damaged image: the seek table"},
		{"checksum of a hole", func(f *forge) { f.editTable = func(p []byte) { p[8+12*3+8] ^= 1 } }, "frame for offset 524288"},
		{"checksum", frame(0, func(p []byte) []byte { p[len(p)-1] ^= 1; return p }), "chunk 0 at offset 0: damaged image: CRC check failed"},
		{"hole with other bytes", frame(2, set(17, 1)), "frame for offset 524288: damaged image: not the frame of a hole"},
		{"hole with other bytes and their checksum", frame(2, func([]byte) []byte {
			sum := uint32(xxhash.Sum64(bytes.Repeat([]byte{9}, 2*smallChunk)))
			return binary.LittleEndian.AppendUint32(append(appendPlainHeader(nil, 2*smallChunk), rle(9, full, full, full, full)...), sum)
		}), "frame for offset 524288: damaged image: not the frame of a hole"},
		{"hole with another window", frame(2, set(5, 0x30)), "frame for offset 524288: damaged image: not the frame of a hole"},
		{"hole with another checksum", frame(2, func(p []byte) []byte { p[len(p)-1] ^= 1; return p }), "frame for offset 524288: damaged image: not the frame of a hole"},
		{"bytes that are not in use", dirtyUnused, "chunk 1 at offset 262144: damaged image: bytes that are not in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newForge(d, smallChunk)
			tt.edit(f)
			v := newCourt(len(d.b)).judge(f.seal())
			if v.open != nil || !isDamage(v.verify) || !strings.Contains(v.verify.Error(), tt.want) {
				t.Errorf("Open: %v, Verify: %v, want damage: %s", v.open, v.verify, tt.want)
			}
			if v.restore != nil {
				t.Errorf("Restore: %v", v.restore)
			}
			sameUsed(t, "restored", v.dst.durable, d.b, d.layout.Used)
			if v.stream == nil {
				sameUsed(t, "streamed", v.streamed.durable, d.b, d.layout.Used)
			} else if !isDamage(v.stream) {
				t.Errorf("RestoreStream: %v", v.stream)
			}
		})
	}
}

// dirtyUnused makes an image that tells the digest of a chunk whose unused
// bytes are not zeros.
func dirtyUnused(f *forge) {
	d := forgeDisk()
	d.layout.Used = partition.Extents{{Start: 0, Length: 301 * kiB}, d.layout.Used[1]}
	other := newForge(d, smallChunk)
	f.frames = other.frames
	f.tail = other.tail
}

// A head that asks for more frames than the file has room for, with a footer
// that agrees, is refused before the seek table is looked for.
func TestRefuseShortFile(t *testing.T) {
	f := newForge(forgeDisk(), smallChunk)
	setFixed64(24, 1<<40)(f)
	f.section(2).payload = encodeVolumes(nil)
	f.section(3).payload = encodeExtents(partition.Extents{{Start: 0, Length: 1 << 40}})
	f.editTable = func(p []byte) { put32(p[len(p)-9:], 1<<22+2) }
	image := f.seal()
	if _, err := Open(bytes.NewReader(image), int64(len(image))); !isDamage(err) || !strings.Contains(err.Error(), "ends early") {
		t.Errorf("got %v, want damage: the file ends early", err)
	}
}
