package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"slipcast/partition"
)

// smallDisk is the disk of most vectors.
const smallDisk = "A very small disk......"

func smallLayout() *Layout {
	size := int64(len(smallDisk))
	l := layoutOf(size, partition.Extents{{Start: 0, Length: size}})
	l.Volumes[0].Whole = true
	return l
}

// vector returns the bytes of the vector in docs/format.md whose text begins
// like that: those in backquotes, or the block that follows.
func vector(t *testing.T, begin string) []byte {
	t.Helper()
	doc, err := os.ReadFile("../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(doc), "\nVector: "+begin)
	if !found {
		t.Fatalf("docs/format.md has no vector %q", begin)
	}
	line, rest, _ := strings.Cut(text, "\n")
	var digits string
	if block, ok := strings.CutPrefix(rest, "\n```\n"); ok {
		digits, _, _ = strings.Cut(block, "```")
	} else {
		for _, quoted := range regexp.MustCompile("`([0-9a-f]+)`").FindAllStringSubmatch(line, -1) {
			digits += quoted[1]
		}
	}
	p, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	if err != nil || len(p) == 0 {
		t.Fatalf("vector %q: %q: %v", begin, digits, err)
	}
	return p
}

func sameBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}

// The vectors of docs/format.md are what the code writes, and it reads them.
func TestVectors(t *testing.T) {
	t.Run("extents", vectorExtents)
	t.Run("hole", vectorHole)
	t.Run("stored chunk", vectorChunk)
	t.Run("head", vectorHead)
	t.Run("tail", vectorTail)
	t.Run("seek table", vectorSeekTable)
	t.Run("image", vectorImage)
	t.Run("preface", vectorPreface)
	t.Run("mark", vectorMark)
}

// Every vector in the text is one that TestVectors looks at.
func TestVectorsAll(t *testing.T) {
	doc, err := os.ReadFile("../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(doc), "\nVector: "); n != 11 { // that of section 16 is looked at by package store
		t.Errorf("docs/format.md has %d vectors, the tests know 11", n)
	}
}

func vectorExtents(t *testing.T) {
	want := vector(t, "the extents 0+1048576 and 1052672+8192")
	x := partition.Extents{{Start: 0, Length: 1048576}, {Start: 1052672, Length: 8192}}
	sameBytes(t, "encoded", encodeExtents(x), want)
	d := &decoder{b: want}
	got := decodeExtents(d, 2*miB)
	if err := d.done(); err != nil || len(got) != 2 || got[0] != x[0] || got[1] != x[1] {
		t.Errorf("decoded: %v, %v, want %v", got, err, x)
	}
}

func vectorHole(t *testing.T) {
	want := vector(t, "a hole of 262144 bytes")
	sameBytes(t, "encoded", new(zeros).appendFrame(nil, 262144), want)
	u := newTestUnpacker(t, smallChunk)
	raw, err := u.unpack(want, 262144, make([]byte, smallChunk))
	if err != nil || !isZero(raw) {
		t.Errorf("unpacked: %d bytes, zeros %v, %v", len(raw), isZero(raw), err)
	}
}

func vectorChunk(t *testing.T) {
	want := vector(t, "the chunk of the bytes")
	sameBytes(t, "encoded", appendStored(nil, []byte(smallDisk)), want)
	u := newTestUnpacker(t, smallChunk)
	if raw, err := u.unpack(want, int64(len(smallDisk)), make([]byte, smallChunk)); string(raw) != smallDisk {
		t.Errorf("unpacked: %q, %v", raw, err)
	}
}

func newTestUnpacker(t testing.TB, chunkSize int64) *unpacker {
	t.Helper()
	u, err := newUnpacker(chunkSize, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.close)
	return u
}

// headParts returns the payload of a head up to its body, and its body before
// compression.
func headParts(t *testing.T, p []byte) (start, body []byte) {
	t.Helper()
	size := binary.LittleEndian.Uint32(p[4:])
	start, packed := p[:skippableSize+headBodyOffset], p[skippableSize+headBodyOffset:skippableSize+size]
	body, err := unpackBody(packed, int64(binary.LittleEndian.Uint32(start[skippableSize+20:])))
	if err != nil {
		t.Fatal(err)
	}
	return start, body
}

func vectorHead(t *testing.T) {
	start, body := headParts(t, captureBytes(t, []byte(smallDisk), smallLayout(), CaptureOptions{}))
	sameBytes(t, "head without its size", start[8:], vector(t, "the head of that disk")[8:])
	sameBytes(t, "body", body, vector(t, "the body of the head of a disk of 23 bytes"))
	whole := vector(t, "the image of the 23 bytes")
	wholeStart, wholeBody := headParts(t, whole)
	sameBytes(t, "head of the whole image", wholeStart, vector(t, "the head of that disk"))
	sameBytes(t, "body of the whole image", wholeBody, body)
	m, _, err := readHead(bytes.NewReader(whole), sha256.New())
	if err != nil {
		t.Fatal(err)
	}
	if l := smallLayout(); m.Size != l.Size || m.ChunkSize != miB || len(m.Used) != 1 || m.Used[0] != l.Used[0] || !m.Volumes[0].Whole {
		t.Errorf("read: %+v", m)
	}
}

func vectorTail(t *testing.T) {
	want := vector(t, "the tail of an image of one chunk")
	p := captureBytes(t, []byte(smallDisk), smallLayout(), CaptureOptions{})
	if !bytes.Contains(p, want) {
		t.Errorf("the image %x has not the tail %x", p, want)
	}
	sum := sha256.New()
	m, _, err := readHead(bytes.NewReader(p), sum)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := m.readTail(bytes.NewReader(want), sum); err != nil || n != int64(len(want)) {
		t.Errorf("readTail: %d, %v, want %d", n, err, len(want))
	}
	if m.digests[0] != sha256.Sum256([]byte(smallDisk)) {
		t.Errorf("digest %v", m.digests[0])
	}
}

func vectorSeekTable(t *testing.T) {
	want := vector(t, "the seek table of an image of 365 bytes")
	entries := []seekEntry{{122, 0, sumOfNothing}, {44, 23, 0xe26a7b2e}, {146, 0, sumOfNothing}}
	got := appendSeekHeader(nil, 3)
	for _, e := range entries {
		got = e.append(got)
	}
	sameBytes(t, "encoded", appendSeekFooter(got, 3), want)
	i := 0
	err := readSeekTable(bytes.NewReader(want), 3, func(e seekEntry) error {
		if e != entries[i] {
			t.Errorf("entry %d: %+v, want %+v", i, e, entries[i])
		}
		i++
		return nil
	})
	if err != nil || i != 3 {
		t.Errorf("read %d entries, %v", i, err)
	}
}

// The whole image is read, and is what is written, but for how its head is
// compressed.
func vectorImage(t *testing.T) {
	want := vector(t, "the image of the 23 bytes")
	im := openBytes(t, want)
	if err := im.Verify(t.Context(), VerifyOptions{}); err != nil {
		t.Error(err)
	}
	const digest = "11843435bf84095af6a59c1ba10f296e1d3166e7ddc33ea21b55d257ebd16975"
	if im.Digest.String() != digest {
		t.Errorf("digest %v, want %s", im.Digest, digest)
	}
	got := captureBytes(t, []byte(smallDisk), smallLayout(), CaptureOptions{})
	if openBytes(t, got).Digest != im.Digest {
		t.Errorf("captured with digest %v", openBytes(t, got).Digest)
	}
	after := func(p []byte) []byte { return p[skippableSize+binary.LittleEndian.Uint32(p[4:]):] }
	sameBytes(t, "data and tail", after(got)[:44+146], after(want)[:44+146])
	for _, stream := range []bool{false, true} {
		dst := &memory{garbage(len(smallDisk))}
		mustRestore(t, want, stream, dst, RestoreOptions{})
		if string(dst.b) != smallDisk {
			t.Errorf("restored %q", dst.b)
		}
	}
}
