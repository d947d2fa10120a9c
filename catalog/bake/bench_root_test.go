package bake

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipcast/image"
	"slipcast/internal/lab"
)

// benchFile is the size of the small files of the benchmark's bundle in bytes.
const benchFile = 20 << 10

// BenchmarkRootBake bakes a bundle of many small files and a big one. On its own
// it is a small bake onto a small image. scripts/bench-bake names the image of a
// whole Debian in SLIPCAST_BENCH_IMAGE; then the payload has 10,000 files and
// 300 MB. It tells how long applying and capturing took, how many MB of frames
// the child has that the parent has not, and how many chunks were compressed
// for each that differs from the parent's.
func BenchmarkRootBake(b *testing.B) {
	lab.Root(b)
	lab.Tools(b, "mkfs.ext4")
	parent, files, big := benchImage(b)
	f := buildBundle(b, recipeText+"payload:\n  - overlay: {from: files, to: /}\n", benchPayload(files, big))
	b.SetBytes(int64(files)*benchFile + int64(big))
	for b.Loop() {
		out, err := os.Create(filepath.Join(b.TempDir(), "child.img.zst"))
		if err != nil {
			b.Fatal(err)
		}
		watch := &stopwatch{start: time.Now()}
		opt := Options{Copy: CopyOptions{Scratch: b.TempDir()}, Progress: watch.see}
		baked, err := Bake(b.Context(), out, parent, []Step{{File: f}}, opt)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(watch.captured().Sub(watch.start).Seconds(), "apply-s")
		b.ReportMetric(time.Since(watch.captured()).Seconds(), "capture-s")
		reportFrames(b, out, parent, baked)
		out.Close()
	}
}

// A stopwatch notes when capturing has begun.
type stopwatch struct {
	start time.Time
	mu    sync.Mutex
	begun time.Time
}

func (w *stopwatch) see(s Stage, _ int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s == Capturing && w.begun.IsZero() {
		w.begun = time.Now()
	}
}

func (w *stopwatch) captured() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun
}

// reportFrames compares the frames of the child in f with those of its parent.
func reportFrames(b *testing.B, f *os.File, parent *image.Image, baked *Baked) {
	b.Helper()
	info, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	child, err := image.Open(f, info.Size())
	if err != nil {
		b.Fatal(err)
	}
	changed, size := freshChunks(child, parent)
	packed := baked.Stats.Chunks - baked.Stats.Reused - baked.Stats.Zero
	b.ReportMetric(float64(size)/1e6, "new-MB")
	b.ReportMetric(float64(changed), "new-chunks")
	b.ReportMetric(float64(packed)/float64(changed), "packed/new")
}

// benchImage returns the image to bake onto, and how large the payload is to be.
func benchImage(b *testing.B) (im *image.Image, files, big int) {
	b.Helper()
	path := os.Getenv("SLIPCAST_BENCH_IMAGE")
	if path == "" {
		return capture(b, makeRoot(b, kinds()[0], 10<<20)), 100, 3e6
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	if im, err = image.Open(f, info.Size()); err != nil {
		b.Fatal(err)
	}
	return im, 10_000, 300e6
}

// benchPayload returns files of which half compresses.
func benchPayload(files, big int) map[string]string {
	half := func(n int, seed uint64) string {
		p := noise(n, seed)
		for i := 0; i < n; i += 2 {
			p[i] = 'a'
		}
		return string(p)
	}
	list := map[string]string{"files/opt/load/big": half(big, 1)}
	for i := range files {
		list[fmt.Sprintf("files/opt/load/%d/%d", i%100, i)] = half(benchFile, uint64(i))
	}
	return list
}
