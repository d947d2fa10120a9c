package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"slipcast/partition"
)

// capture captures with statistics.
func capture(t testing.TB, disk []byte, l *Layout, opt CaptureOptions) ([]byte, CaptureStats) {
	t.Helper()
	var out bytes.Buffer
	_, stats, err := Capture(t.Context(), &out, bytes.NewReader(disk), l, opt)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Written != int64(out.Len()) {
		t.Errorf("Written is %d, want %d", stats.Written, out.Len())
	}
	return out.Bytes(), stats
}

// The digest of an image depends on the disk alone.
func TestSameDigest(t *testing.T) {
	for name, d := range testDisks(t) {
		var digests []Digest
		for i, level := range []Level{LevelDefault, LevelFast, LevelBetter, LevelBest} {
			opt := CaptureOptions{ChunkSize: smallChunk, Level: level, Workers: 1 + i, Origin: Origin{Time: time.Unix(int64(i+1), 0), Source: fmt.Sprint("disk ", i)}}
			image, _ := capture(t, d.b, d.layout, opt)
			im := openBytes(t, image)
			if im.Origin.Level != level.String() || im.Origin.Time != opt.Origin.Time.UTC() || im.Origin.Source != opt.Origin.Source {
				t.Errorf("origin %+v", im.Origin)
			}
			digests = append(digests, im.Digest)
		}
		junk := bytes.Clone(d.b) // unused bytes do not count
		for _, gap := range d.layout.Used.Gaps(partition.Extent{Length: int64(len(junk))}) {
			fill(junk[gap.Start:gap.End()], rand.New(rand.NewPCG(1, 1)))
		}
		image, _ := capture(t, junk, d.layout, CaptureOptions{ChunkSize: smallChunk})
		digests = append(digests, openBytes(t, image).Digest)
		if slices.ContainsFunc(digests, func(x Digest) bool { return x != digests[0] }) {
			t.Errorf("%s: digests %v", name, digests)
		}
		changed := bytes.Clone(d.b)
		changed[d.layout.Used[0].Start] ^= 1
		image, _ = capture(t, changed, d.layout, CaptureOptions{ChunkSize: smallChunk})
		if openBytes(t, image).Digest == digests[0] {
			t.Errorf("%s: another disk has the same digest", name)
		}
	}
}

// All that a layout says comes back.
func TestLayoutComesBack(t *testing.T) {
	for name, d := range testDisks(t) {
		d.layout.Notes = []string{"first", "größer"}
		d.layout.Volumes[0].Dirty = true
		image, _ := capture(t, d.b, d.layout, CaptureOptions{})
		got := openBytes(t, image).Layout
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", *d.layout) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, *d.layout)
		}
	}
}

// Text that no image can hold is cut or cleaned, never a reason for an image
// that cannot be read.
func TestCaptureOddText(t *testing.T) {
	l := smallLayout()
	l.Volumes[0].Label = "a\xffb"
	l.Volumes[0].UUID = strings.Repeat("ö", 40000)
	l.Notes = []string{"\xc3"}
	image, _ := capture(t, []byte(smallDisk), l, CaptureOptions{Origin: Origin{Time: time.Unix(-5, 0), Tool: "x"}})
	im := openBytes(t, image)
	if v := im.Volumes[0]; v.Label != "ab" || v.UUID != strings.Repeat("ö", 32767) || im.Notes[0] != "" || im.Origin.Time.Unix() != 0 {
		t.Errorf("%q, %d bytes, %q, %v", v.Label, len(v.UUID), im.Notes, im.Origin.Time)
	}
	far := CaptureOptions{Origin: Origin{Time: time.Unix(math.MaxInt64, 0)}}
	image, _ = capture(t, []byte(smallDisk), smallLayout(), far)
	openBytes(t, image)
}

// A layout that cannot be an image is refused before anything is read.
func TestCaptureRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(l *Layout, opt *CaptureOptions)
	}{
		{"empty", func(l *Layout, _ *CaptureOptions) { l.Size, l.Used = 0, nil }},
		{"negative", func(l *Layout, _ *CaptureOptions) { l.Size = -1 }},
		{"too large", func(l *Layout, _ *CaptureOptions) { l.Size = maxDisk }},
		{"in use behind the end", func(l *Layout, _ *CaptureOptions) { l.Used = partition.Extents{{Start: 0, Length: 24}} }},
		{"sector size", func(l *Layout, _ *CaptureOptions) { l.LogicalSector = 520 }},
		{"physical sector size", func(l *Layout, _ *CaptureOptions) { l.PhysicalSector = 256 }},
		{"volume outside", func(l *Layout, _ *CaptureOptions) { l.Volumes[0].Size = 24 }},
		{"volume without a partition", func(l *Layout, _ *CaptureOptions) { l.Volumes[0].Number = 1 }},
		{"span", func(l *Layout, _ *CaptureOptions) { l.Volumes[0].Span = 24 }},
		{"too many notes", func(l *Layout, _ *CaptureOptions) { l.Notes = make([]string, 65537) }},
		{"chunks of 128 KiB", func(_ *Layout, o *CaptureOptions) { o.ChunkSize = 128 * kiB }},
		{"chunks of 32 MiB", func(_ *Layout, o *CaptureOptions) { o.ChunkSize = 32 * miB }},
		{"chunks of 3 MiB", func(_ *Layout, o *CaptureOptions) { o.ChunkSize = 3 * miB }},
		{"negative chunks", func(_ *Layout, o *CaptureOptions) { o.ChunkSize = math.MinInt64 }},
	} {
		l, opt := smallLayout(), CaptureOptions{}
		tt.edit(l, &opt)
		src := &failing{Source: strings.NewReader(smallDisk)}
		if _, _, err := Capture(t.Context(), io.Discard, src, l, opt); err == nil || src.reads > 0 {
			t.Errorf("%s: got %v after %d reads", tt.name, err, src.reads)
		}
	}
}

// Unchanged chunks come from the parent, byte for byte, and the digest is
// that of a full capture.
func TestCaptureParent(t *testing.T) {
	for name, d := range testDisks(t) {
		old, _ := capture(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk, Level: LevelBest})
		parent := openBytes(t, old)
		changed := bytes.Clone(d.b)
		last := d.layout.Used[len(d.layout.Used)-1]
		changed[last.Start] ^= 1
		full, _ := capture(t, changed, d.layout, CaptureOptions{ChunkSize: smallChunk})
		image, stats := capture(t, changed, d.layout, CaptureOptions{Parent: parent, Level: LevelFast, Workers: 3, Origin: Origin{Time: time.Unix(1, 0)}})
		im := openBytes(t, image)
		if im.Digest != openBytes(t, full).Digest || im.ChunkSize != smallChunk || im.Origin.Parent != parent.Digest.String() {
			t.Errorf("%s: digest %v, parent %s", name, im.Digest, im.Origin.Parent)
		}
		if err := im.Verify(t.Context(), VerifyOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if stats.Reused != stats.Chunks-stats.Zero-1 {
			t.Errorf("%s: %+v, want all but one chunk reused", name, stats)
		}
		same, stats := capture(t, d.b, d.layout, CaptureOptions{Parent: parent, Level: LevelBest})
		if stats.Reused != stats.Chunks-stats.Zero || !bytes.Equal(same[len(same)-100:], old[len(old)-100:]) {
			t.Errorf("%s: unchanged: %+v", name, stats)
		}
	}
}

// A parent of another size gives what it has.
func TestCaptureParentOtherSize(t *testing.T) {
	disk := garbage(3*miB + 500)
	all := func(size int64) *Layout { return layoutOf(size, partition.Extents{{Start: 0, Length: size}}) }
	for _, tt := range []struct{ before, after, reused int }{
		{3*miB + 500, 2 * miB, 8}, {2 * miB, 3*miB + 500, 8}, {2*miB + 3, 3 * miB, 8}, {3 * miB, 2*miB + 3, 8}, {100, 3 * miB, 0}, {3 * miB, 100, 0},
	} {
		old, _ := capture(t, disk[:tt.before], all(int64(tt.before)), CaptureOptions{ChunkSize: smallChunk})
		image, stats := capture(t, disk[:tt.after], all(int64(tt.after)), CaptureOptions{Parent: openBytes(t, old)})
		full, _ := capture(t, disk[:tt.after], all(int64(tt.after)), CaptureOptions{ChunkSize: smallChunk})
		if stats.Reused != tt.reused || openBytes(t, image).Digest != openBytes(t, full).Digest {
			t.Errorf("from %d to %d bytes: %+v, want %d reused", tt.before, tt.after, stats, tt.reused)
		}
	}
	old, _ := capture(t, disk, all(int64(len(disk))), CaptureOptions{})
	_, _, err := Capture(t.Context(), io.Discard, bytes.NewReader(disk), all(int64(len(disk))), CaptureOptions{Parent: openBytes(t, old), ChunkSize: smallChunk})
	if err == nil {
		t.Error("a parent with another chunk size was taken")
	}
}

// A damaged frame of the parent is an error, not part of the new image. One of
// a chunk that is not reused does not matter.
func TestCaptureParentDamaged(t *testing.T) {
	d := testDisks(t)["gpt"]
	old := smallImage(t, d)
	parent := openBytes(t, old)
	var f Frame
	for f = range parent.Chunks(parent.all()) {
		break
	}
	for _, i := range []int64{0, 20, parent.FrameSize(f) - 1} {
		bad := bytes.Clone(old)
		bad[parent.offsets[f.Number]+i] ^= 1
		var chunk *ChunkError
		_, _, err := Capture(t.Context(), io.Discard, bytes.NewReader(d.b), d.layout, CaptureOptions{Parent: openBytes(t, bad)})
		if !isDamage(err) || !errors.As(err, &chunk) || chunk.Index != 0 || !strings.Contains(err.Error(), "parent") {
			t.Errorf("byte %d: got %v", i, err)
		}
		changed := bytes.Clone(d.b)
		changed[0] ^= 1
		if _, _, err := Capture(t.Context(), io.Discard, bytes.NewReader(changed), d.layout, CaptureOptions{Parent: openBytes(t, bad)}); err != nil {
			t.Errorf("byte %d, the chunk has changed: %v", i, err)
		}
	}
}

// A hostile parent, whose frame is too short to be one, is no reason to panic;
// one without frame sums is of no use, and no error.
func TestCaptureParentHostile(t *testing.T) {
	d := forgeDisk()
	f := newForge(d, smallChunk)
	f.frames[0] = []byte{1}
	f.section(48).payload = encoded(func(e *encoder) { e.u64(xxhash.Sum64([]byte{1})); e.b = append(e.b, f.section(48).payload[8:]...) })
	parent := openBytes(t, f.seal())
	if _, _, err := Capture(t.Context(), io.Discard, bytes.NewReader(d.b), d.layout, CaptureOptions{Parent: parent}); !isDamage(err) {
		t.Errorf("got %v, want damage", err)
	}
	f = newForge(d, smallChunk)
	f.tail = f.tail[:3]
	_, stats := capture(t, d.b, d.layout, CaptureOptions{Parent: openBytes(t, f.seal())})
	if stats.Reused != 0 {
		t.Errorf("%+v, want nothing reused", stats)
	}
}

// errBad is what a failing disk says.
var errBad = errors.New("medium error")

// A failing source has places that cannot be read.
type failing struct {
	Source
	bad   partition.Extents
	mu    sync.Mutex
	reads int
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	f.reads++
	f.mu.Unlock()
	if f.bad.Touches(partition.Extent{Start: off, Length: int64(len(p))}) {
		return 0, errBad
	}
	return f.Source.ReadAt(p, off)
}

// A read error ends a capture and names the place, or is skipped, listed and
// pinned by the digest. What is not in use need not be readable.
func TestCaptureReadErrors(t *testing.T) {
	const size = 3 * miB
	disk := garbage(size)
	used := partition.Extents{{Start: 0, Length: miB}, {Start: miB + 8192, Length: 4096}, {Start: 2*miB - 100, Length: 5000}}
	for _, tt := range []struct {
		name string
		bad  partition.Extents
		want partition.Extents // what is listed
	}{
		{"none", nil, nil},
		{"a sector", partition.Extents{{Start: 4096, Length: 512}}, partition.Extents{{Start: 4096, Length: 4096}}},
		{"over a chunk's end", partition.Extents{{Start: smallChunk - 512, Length: 1024}}, partition.Extents{{Start: smallChunk - 4096, Length: 8192}}},
		{"in a gap", partition.Extents{{Start: miB + 4096, Length: 512}}, nil},
		{"in use up to the middle of a piece", partition.Extents{{Start: 2*miB + 4500, Length: 1}}, partition.Extents{{Start: 2*miB + 4096, Length: 804}}},
		{"unused part of a piece", partition.Extents{{Start: 2*miB + 5000, Length: 1}}, nil},
		{"everything", partition.Extents{{Start: 0, Length: size}}, used},
		{"not in use at all", partition.Extents{{Start: 2*miB + 512*kiB, Length: 100}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := &failing{Source: bytes.NewReader(disk), bad: tt.bad}
			_, _, err := Capture(t.Context(), io.Discard, src, layoutOf(size, used), CaptureOptions{ChunkSize: smallChunk, Workers: 1})
			if len(tt.want) == 0 && err != nil {
				t.Errorf("stop: got %v", err)
			} else if len(tt.want) > 0 && (!errors.Is(err, errBad) || !strings.Contains(err.Error(), "at offset ") || isDamage(err)) {
				t.Errorf("stop: got %v", err)
			}
			if len(tt.want) == 1 && !strings.Contains(err.Error(), fmt.Sprint("at offset ", tt.want[0].Start)) && tt.name != "everything" {
				t.Errorf("stop: %v, want offset %d", err, tt.want[0].Start)
			}
			var out bytes.Buffer
			m, _, err := Capture(t.Context(), &out, src, layoutOf(size, used), CaptureOptions{ChunkSize: smallChunk, SkipReadErrors: true})
			if err != nil {
				t.Fatal(err)
			}
			im := openBytes(t, out.Bytes())
			if !slices.Equal(im.ReadErrors, tt.want) || !slices.Equal(m.ReadErrors, tt.want) {
				t.Errorf("listed %v, want %v", im.ReadErrors, tt.want)
			}
			checkSkipped(t, im, disk, used, tt.want)
		})
	}
}

// checkSkipped checks that zeros stand for what could not be read, and that
// the digest tells it from a disk of zeros.
func checkSkipped(t *testing.T, im *Image, disk []byte, used, bad partition.Extents) {
	t.Helper()
	want := masked(disk, used)
	for _, e := range bad {
		clear(want[e.Start:e.End()])
	}
	got := make([]byte, len(want))
	if _, err := newReader(t, im).ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("other bytes than zeros stand for what could not be read, %v", err)
	}
	plain, _ := capture(t, want, layoutOf(int64(len(want)), used), CaptureOptions{ChunkSize: smallChunk})
	if same := openBytes(t, plain).Digest == im.Digest; same != (len(bad) == 0) {
		t.Errorf("the digest is that of a disk without read errors: %v", same)
	}
	if err := im.Verify(t.Context(), VerifyOptions{}); err != nil {
		t.Error(err)
	}
}

// What does not compress is stored; what is zero is not.
func TestCaptureKinds(t *testing.T) {
	disk := make([]byte, 4*smallChunk+10)
	fill(disk[:smallChunk], rand.New(rand.NewPCG(1, 2)))
	copy(disk[2*smallChunk:], strings.Repeat("text ", 50000))
	size := int64(len(disk))
	image, stats := capture(t, disk, layoutOf(size, partition.Extents{{Start: 0, Length: size}}), CaptureOptions{ChunkSize: smallChunk})
	stats.Written = 0
	if want := (CaptureStats{Chunks: 5, Stored: 1, Zero: 3}); stats != want {
		t.Errorf("got %+v, want %+v", stats, want)
	}
	if n := len(image); n > smallChunk+10000 {
		t.Errorf("%d bytes", n)
	}
	im := openBytes(t, image)
	if got, want := im.FrameSize(im.FrameAt(0)), int64(smallChunk+18+2*3); got != want {
		t.Errorf("a chunk that does not compress takes %d bytes, want %d", got, want)
	}
}

// errFull is what a full disk says.
var errFull = errors.New("no space left")

// A full writer takes n bytes.
type full struct{ n int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.n {
		n := f.n
		f.n = 0
		return n, errFull
	}
	f.n -= len(p)
	return len(p), nil
}

// A writer that fails anywhere ends the capture with its error, whatever the
// number of workers, and nothing goes on in the background.
func TestCaptureWriterFails(t *testing.T) {
	d := testDisks(t)["mbr"]
	size := len(smallImage(t, d))
	before := runtime.NumGoroutine()
	for _, workers := range []int{1, 8} {
		for n := 0; n < size; n += 1 + size/40 {
			_, _, err := Capture(t.Context(), &full{n}, bytes.NewReader(d.b), d.layout, CaptureOptions{ChunkSize: smallChunk, Workers: workers})
			if !errors.Is(err, errFull) || isDamage(err) {
				t.Errorf("%d of %d bytes: got %v", n, size, err)
			}
		}
	}
	sameGoroutines(t, before)
}

// sameGoroutines waits until the goroutines that end have ended.
func sameGoroutines(t *testing.T, before int) {
	t.Helper()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond) // for those that are about to end
	}
	t.Errorf("%d goroutines, want %d", runtime.NumGoroutine(), before)
}

// A capture that is cancelled in the middle ends, with nothing left behind.
func TestCaptureCancelled(t *testing.T) {
	d := testDisks(t)["gpt"]
	before := runtime.NumGoroutine()
	for _, workers := range []int{1, 8} {
		for after := range 12 {
			ctx, cancel := context.WithCancel(t.Context())
			var chunks counter
			opt := CaptureOptions{ChunkSize: smallChunk, Workers: workers, Progress: func(int64) {
				if chunks.Add(1) >= int64(after) {
					cancel()
				}
			}}
			if after == 0 {
				cancel()
			}
			if _, _, err := Capture(ctx, io.Discard, bytes.NewReader(d.b), d.layout, opt); !errors.Is(err, context.Canceled) && after < 9 {
				t.Errorf("%d workers, after %d chunks: got %v", workers, after, err)
			}
			cancel()
		}
	}
	sameGoroutines(t, before)
}

// Read errors, from a source, an image or a target, end everything with all
// numbers of workers.
func TestErrorsEndPipelines(t *testing.T) {
	d := testDisks(t)["none"]
	image := smallImage(t, d)
	before := runtime.NumGoroutine()
	for _, workers := range []int{1, 2, 8} {
		for at := int64(0); at < int64(len(d.b)); at += 300 * kiB {
			bad := d.layout.Used.Within(partition.Extent{Start: at, Length: int64(len(d.b))})
			src := &failing{Source: bytes.NewReader(d.b), bad: bad[:min(1, len(bad))]}
			if _, _, err := Capture(t.Context(), io.Discard, src, d.layout, CaptureOptions{ChunkSize: smallChunk, Workers: workers}); !errors.Is(err, errBad) && len(bad) > 0 {
				t.Errorf("Capture: %v", err)
			}
		}
		im := openBytes(t, image)
		for f := range im.Frames() {
			broken := *im
			broken.r = &failing{Source: bytes.NewReader(image), bad: partition.Extents{{Start: im.offsets[f.Number], Length: 1}}}
			if err := broken.Verify(t.Context(), VerifyOptions{Workers: workers}); !errors.Is(err, errBad) {
				t.Errorf("Verify: %v", err)
			}
			if _, err := Restore(t.Context(), &broken, &memory{garbage(len(d.b))}, RestoreOptions{Workers: workers}); !errors.Is(err, errBad) && !f.Hole {
				t.Errorf("Restore: %v", err)
			}
			stream, err := OpenStream(io.MultiReader(bytes.NewReader(image[:im.offsets[f.Number]]), errReader{}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := RestoreStream(t.Context(), stream, &memory{garbage(len(d.b))}, RestoreOptions{Workers: workers}); !errors.Is(err, errBad) || isDamage(err) {
				t.Errorf("RestoreStream: %v", err)
			}
		}
		target := &failing{Source: bytes.NewReader(d.b), bad: partition.Extents{{Start: 0, Length: 1}}}
		err := im.Compare(t.Context(), target, int64(len(d.b)), VerifyOptions{Workers: workers}, func(Difference) {})
		if !errors.Is(err, errBad) {
			t.Errorf("Compare: %v", err)
		}
	}
	sameGoroutines(t, before)
}

// An errReader fails.
type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBad }

// Cancelled, Verify and Compare say so.
func TestVerifyCancelled(t *testing.T) {
	d := testDisks(t)["gpt"]
	im := openBytes(t, smallImage(t, d))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := im.Verify(ctx, VerifyOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify: %v", err)
	}
	if err := im.Compare(ctx, &memory{d.b}, int64(len(d.b)), VerifyOptions{}, func(Difference) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Compare: %v", err)
	}
}

// Levels have names that lead back to them.
func TestLevels(t *testing.T) {
	for _, name := range Levels() {
		if l, err := ParseLevel(name); err != nil || l.String() != name {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	if _, err := ParseLevel("ultra"); err == nil {
		t.Error("a level ultra was accepted")
	}
}
