package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"slipcast/partition"
)

// tinyImages are images of a few hundred bytes that have all parts.
func tinyImages(t testing.TB) map[string]testDisk {
	t.Helper()
	const size = 2*smallChunk + 100
	text := bytes.Repeat([]byte("A very small disk. "), size/19+1)[:size]
	l := layoutOf(size, partition.Extents{{Start: 0, Length: 60000}, {Start: 2*smallChunk + 1, Length: 99}})
	l.Volumes[0].Label, l.Notes = "label", []string{"a note"}
	return map[string]testDisk{"stored": {b: []byte(smallDisk), layout: smallLayout()}, "compressed": {b: text, layout: l}}
}

// An image that was cut short anywhere is refused by all ways to read it, and
// so is one with something behind it.
func TestTruncated(t *testing.T) {
	for name, d := range tinyImages(t) {
		image := captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk})
		court := newCourt(len(d.b))
		for n := range len(image) {
			v := court.judge(image[:n])
			if !isDamage(v.open) || !isDamage(v.stream) {
				t.Fatalf("%s: %d of %d bytes: Open %v, stream %v, want damage", name, n, len(image), v.open, v.stream)
			}
			if none := errors.Is(v.open, ErrNotImage); none != (n < ProbeSize) || none != errors.Is(v.stream, ErrNotImage) {
				t.Errorf("%s: %d bytes: Open %v, stream %v", name, n, v.open, v.stream)
			}
		}
		for _, more := range [][]byte{{0}, make([]byte, 1000), image, image[:72]} {
			v := court.judge(slices.Concat(image, more))
			if err := v.open; err == nil && v.verify == nil || !isDamage(v.stream) {
				t.Errorf("%s: %d bytes behind it: Open %v, Verify %v, stream %v", name, len(more), v.open, v.verify, v.stream)
			}
		}
	}
}

// Every damaged bit is noticed, or it is one that does not matter: then all
// of the disk comes out right. The only such bits are in how the head's body is
// compressed, and in the tag of the section of frame sums: as an unknown section
// that is not needed, it is skipped.
func TestFlipped(t *testing.T) {
	for name, d := range tinyImages(t) {
		image := captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk, Origin: Origin{Tool: "a test"}})
		headEnd := skippableSize + int(binary.LittleEndian.Uint32(image[4:]))
		sumsTag := bytes.Index(image, []byte{tagFrameSums, 0, flagVolatile, 0})
		court := newCourt(len(d.b))
		for i := range image {
			bits := []byte{1, 2, 4, 8, 16, 32, 64, 128}
			if name != "stored" {
				bits = []byte{1, 0x84}
			}
			for _, bit := range bits {
				bad := slices.Clone(image)
				bad[i] ^= bit
				v := court.judge(bad)
				checkFlipped(t, d, v)
				inBody := i >= skippableSize+headBodyOffset && i < headEnd
				if noticed := v.open != nil || v.verify != nil; !noticed && !inBody && i != sumsTag && i != sumsTag+1 {
					t.Errorf("%s: byte %d, bits %#x: nothing noticed", name, i, bit)
				}
			}
		}
	}
}

// checkFlipped checks what must hold for every verdict: each error is damage,
// and who finds none restores the right bytes.
func checkFlipped(t *testing.T, d testDisk, v verdict) {
	t.Helper()
	for _, err := range []error{v.open, v.verify, v.restore, v.stream} {
		if err != nil && !isDamage(err) {
			t.Errorf("got %v, want damage", err)
		}
	}
	if v.open == nil && v.restore == nil {
		sameUsed(t, "restored", v.dst.durable, d.b, d.layout.Used)
	}
	if v.stream == nil {
		sameUsed(t, "streamed", v.streamed.durable, d.b, d.layout.Used)
	}
}

// A target never holds a byte of a chunk whose digest is wrong, and no
// table if anything was wrong.
func TestFlippedData(t *testing.T) {
	for name, d := range testDisks(t) {
		image := captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk})
		im := openBytes(t, image)
		court := newCourt(len(d.b))
		for f := range im.Chunks(im.all()) {
			at, n := im.offsets[f.Number], im.FrameSize(f)
			places := []int64{at + 4, at + n/2, at + n - 5, at + n - 1}
			for _, i := range []int64{places[f.Chunk%4], places[(f.Chunk+1)%4]} {
				bad := slices.Clone(image)
				bad[i] ^= 0x40
				v := court.judge(bad)
				if v.open != nil || !isDamage(v.verify) {
					t.Errorf("%s: byte %d: Open %v, Verify %v", name, i, v.open, v.verify)
				}
				checkFlipped(t, d, v)
				if v.restore != nil {
					onlyGood(t, d, v.dst)
					noTable(t, d, v.dst.durable)
				}
				if v.stream != nil {
					noTable(t, d, v.streamed.durable)
				}
			}
		}
	}
}

// onlyGood checks that each byte of the target is as it was, wiped, or right.
func onlyGood(t *testing.T, d testDisk, dst *recorder) {
	t.Helper()
	before, want := garbage(len(d.b)), d.want()
	vital := newCanvas(dst, true).vital
	for i := 0; i < len(before); i += 512 {
		end := min(i+512, len(before))
		b := dst.cache[i:end]
		wiped := isZero(b) && slices.ContainsFunc(vital, func(p piece) bool { return p.Start <= int64(i) && int64(end) <= p.End() })
		if !bytes.Equal(b, before[i:end]) && !bytes.Equal(b, want[i:end]) && !wiped {
			t.Fatalf("the sector at %d is neither as it was, nor wiped, nor as it should be", i)
		}
	}
}

// noTable checks that a target that was not finished has no partition table
// and no valid first sectors.
func noTable(t *testing.T, d testDisk, b []byte) {
	t.Helper()
	if got := tableOn(b); got != nil {
		t.Errorf("a %s table with %d partitions is found", got.Kind, len(got.Partitions))
	}
	if !isZero(b[:signSize]) && !bytes.Equal(b[:signSize], garbage(signSize)) {
		t.Error("the first sectors are neither as they were nor wiped")
	}
}

// A stream with a wrong chunk whose frame is right is noticed at its end, and
// the target does not become valid.
func TestStreamWrongDigest(t *testing.T) {
	for name, d := range testDisks(t) {
		f := newForge(d, smallChunk)
		raw := garbage(smallChunk)
		f.frames[0] = appendStored(nil, raw)
		v := newCourt(len(d.b)).judge(f.seal())
		if !errors.Is(v.restore, ErrDigest) || !errors.Is(v.stream, ErrDigest) {
			t.Errorf("%s: Restore %v, stream %v, want ErrDigest", name, v.restore, v.stream)
		}
		onlyGood(t, d, v.dst)
		noTable(t, d, v.streamed.durable)
		if !isZero(v.streamed.durable[:vitalSize]) {
			t.Errorf("%s: vital bytes were written", name)
		}
	}
}
