package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"slipcast/partition"
)

func vectorPreface(t *testing.T) {
	want := vector(t, "the preface of the image in section 15")
	whole := openBytes(t, vector(t, "the image of the 23 bytes"))
	got, err := whole.Preface()
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "made", got, want)
	im, err := OpenPreface(want)
	if err != nil {
		t.Fatal(err)
	}
	if im.Digest != whole.Digest || im.Size() != whole.Size() {
		t.Errorf("read: digest %v, %d bytes, want %v, %d", im.Digest, im.Size(), whole.Digest, whole.Size())
	}
}

func prefaceOf(t testing.TB, im *Image) []byte {
	t.Helper()
	p, err := im.Preface()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkPreface opens the preface of im, which must tell the same as im.
func checkPreface(t testing.TB, im *Image) *Image {
	t.Helper()
	p := prefaceOf(t, im)
	got, err := OpenPreface(p)
	if err != nil {
		t.Fatalf("OpenPreface: %v", err)
	}
	if got.Digest != im.Digest || got.Size() != im.Size() || !slices.Equal(got.offsets, im.offsets) || !slices.Equal(got.quick, im.quick) {
		t.Errorf("the preface tells digest %v, %d bytes, offsets %v, want %v, %d, %v",
			got.Digest, got.Size(), got.offsets, im.Digest, im.Size(), im.offsets)
	}
	if !bytes.Equal(prefaceOf(t, got), p) {
		t.Error("the preface of what a preface tells is another")
	}
	return got
}

// A preface tells all but the data.
func TestPreface(t *testing.T) {
	for name, d := range testDisks(t) {
		im := openBytes(t, smallImage(t, d))
		got := checkPreface(t, im)
		for f := range im.Frames() {
			if _, err := got.ReadFrame(f, nil); !errors.Is(err, ErrNoData) {
				t.Errorf("%s: ReadFrame of %v: %v, want %v", name, f.Extent, err, ErrNoData)
			}
			p := make([]byte, 1)
			_, err := newReader(t, got).ReadAt(p, f.Start)
			if f.Hole != (err == nil) || err != nil && !errors.Is(err, ErrNoData) {
				t.Errorf("%s: ReadAt of %v: %v, want %v but for holes", name, f.Extent, err, ErrNoData)
			}
		}
		if err := got.Verify(t.Context(), VerifyOptions{}); !errors.Is(err, ErrNoData) {
			t.Errorf("%s: Verify: %v, want %v", name, err, ErrNoData)
		}
		if _, err := Restore(t.Context(), got, &memory{garbage(len(d.b))}, RestoreOptions{}); !errors.Is(err, ErrNoData) {
			t.Errorf("%s: Restore: %v, want %v", name, err, ErrNoData)
		}
	}
}

// What Preface cannot read is an error of the file.
func TestPrefaceUnreadable(t *testing.T) {
	d := testDisks(t)["gpt"]
	image := smallImage(t, d)
	for _, end := range []int{0, 100, len(image) - 1} {
		im := openBytes(t, image)
		im.r = bytes.NewReader(image[:end])
		if _, err := im.Preface(); !errors.Is(err, ErrDamaged) {
			t.Errorf("a file that was cut to %d bytes: %v, want %v", end, err, ErrDamaged)
		}
	}
}

// A preface with a wrong length, or one that says another size, is refused,
// and so is one with a wrong byte.
func TestOpenPrefaceRefuses(t *testing.T) {
	im := openBytes(t, smallImage(t, testDisks(t)["gpt"]))
	good := prefaceOf(t, im)
	head, size := prefaceStart+int(im.offsets[0]), uint64(im.size)
	sized := func(size uint64) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, size), good[prefaceStart:]...)
	}
	for name, p := range map[string][]byte{
		"a byte more behind the head": slices.Insert(slices.Clone(good), head, 0),
		"a byte more at the end":      append(slices.Clone(good), 0),
		"a byte less behind the head": slices.Delete(slices.Clone(good), head, head+1),
		"a size of 2^63":              sized(1 << 63),
		"a size of 2^63-1":            sized(1<<63 - 1),
		"a size of nothing":           sized(0),
		"no room for data":            sized(uint64(len(good) - prefaceStart)),
		"a size less by one":          sized(size - 1),
		"a size more by one":          sized(size + 1),
	} {
		if _, err := OpenPreface(p); !isDamage(err) || !strings.HasPrefix(err.Error(), "preface: ") {
			t.Errorf("%s: %v, want damage of the preface", name, err)
		}
	}
	for n := range len(good) {
		if _, err := OpenPreface(good[:n]); !isDamage(err) {
			t.Errorf("cut to %d bytes of %d: %v, want damage", n, len(good), err)
		}
	}
	open := 0 // bytes that Open does not check
	for n := range len(good) {
		bad := slices.Clone(good)
		bad[n] ^= 0x10
		if im, err := OpenPreface(bad); err == nil {
			open++
			sameBytes(t, "preface", prefaceOf(t, im), bad)
		} else if !isDamage(err) {
			t.Errorf("byte %d is wrong: %v, want damage", n, err)
		}
	}
	// Origin, frame sums and the checksums in the seek table are not pinned.
	if most := len(im.frameSums)*8 + im.FrameCount()*seekEntrySize + sectionHeaderSize; open > most {
		t.Errorf("%d bytes of %d may be wrong, want at most %d", open, len(good), most)
	}
}

// A few bytes that claim a huge disk and a huge file cost no memory.
func TestOpenPrefaceHostile(t *testing.T) {
	const size = 1 << 52 // of a disk of 2^26 holes
	f := newForge(forgeDisk(), smallChunk)
	f.section(2).payload = encodeVolumes(nil)
	setFixed64(24, size)(f)
	f.section(3).payload = []byte{0, 0}
	head := f.seal()
	head = head[:skippableSize+binary.LittleEndian.Uint32(head[4:])]
	p := binary.LittleEndian.AppendUint64(nil, 1<<50)
	p = appendSeekFooter(append(p, head...), size/holePiece+2)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := OpenPreface(p)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 50*miB || !isDamage(err) || !strings.Contains(err.Error(), "not all there") {
		t.Errorf("%d MiB were allocated for a preface of %d bytes, %v", got/miB, len(p), err)
	}
}

// An image whose disk has nothing in use has a preface, too.
func TestPrefaceNothingInUse(t *testing.T) {
	im := openBytes(t, captureBytes(t, make([]byte, 3), layoutOf(3, partition.Extents{}), CaptureOptions{}))
	if got := checkPreface(t, im); got.ChunkCount() != 0 {
		t.Errorf("%d chunks, want 0", got.ChunkCount())
	}
}

// FuzzPreface: a preface that is accepted is the preface of what it tells.
func FuzzPreface(f *testing.F) {
	for _, image := range seedImages(f) {
		f.Add(prefaceOf(f, openBytes(f, image)))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		im, err := OpenPreface(p)
		if err != nil {
			if !isDamage(err) {
				t.Errorf("got %v, want damage", err)
			}
			return
		}
		sameBytes(t, "preface", prefaceOf(t, im), p)
		for frame := range im.Chunks(im.all()) {
			if n := im.FrameSize(frame); n > int64(maxFrameSize(frame.Length, im.ChunkSize)) {
				t.Errorf("chunk %d: a frame of %d bytes for %d", frame.Chunk, n, frame.Length)
			}
		}
	})
}
