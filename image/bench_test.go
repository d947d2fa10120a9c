package image

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"slipcast/partition"
)

// benchSize is the size of the disk of the benchmarks, all of it in use.
const benchSize = 64 * miB

// benchDisk is a disk of which a third is random, a third text and a third
// zeros, in runs of 192 KiB.
func benchDisk() testDisk {
	disk := garbage(benchSize)
	text := []byte(strings.Repeat("the disk of a good machine is captured once and many become it; ", 3072))
	const run = 192 * kiB
	for i := 0; i < benchSize; i += run {
		part := disk[i:min(i+run, benchSize)]
		switch i / run % 3 {
		case 0:
			fill(part, rand.New(rand.NewPCG(uint64(i), 0)))
		case 1:
			copy(part, text)
			for k := 0; k < len(part); k += 97 {
				part[k] = byte(k >> 3)
			}
		case 2:
			clear(part)
		}
	}
	return testDisk{b: disk, layout: layoutOf(benchSize, partition.Extents{{Start: 0, Length: benchSize}})}
}

// benchImage captures the disk of the benchmarks.
func benchImage(b *testing.B, d testDisk) *Image {
	b.Helper()
	image := captureBytes(b, d.b, d.layout, CaptureOptions{Level: LevelFast})
	b.SetBytes(benchSize)
	return openBytes(b, image)
}

func BenchmarkCapture(b *testing.B) {
	d := benchDisk()
	for _, name := range Levels() {
		b.Run(name, func(b *testing.B) {
			level, err := ParseLevel(name)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(benchSize)
			for b.Loop() {
				_, stats, err := Capture(b.Context(), io.Discard, &memory{d.b}, d.layout, CaptureOptions{Level: level})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(stats.Written)/benchSize, "size/raw")
			}
		})
	}
}

// Of the parent, one chunk in sixteen has changed.
func BenchmarkCaptureParent(b *testing.B) {
	d := benchDisk()
	parent := benchImage(b, d)
	for i := 0; i < benchSize; i += 16 * miB {
		d.b[i] ^= 1
	}
	for b.Loop() {
		if _, _, err := Capture(b.Context(), io.Discard, &memory{d.b}, d.layout, CaptureOptions{Parent: parent, Level: LevelFast}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	im := benchImage(b, benchDisk())
	dst := &memory{garbage(benchSize)}
	for b.Loop() {
		if _, err := Restore(b.Context(), im, dst, RestoreOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestoreStream(b *testing.B) {
	d := benchDisk()
	image := captureBytes(b, d.b, d.layout, CaptureOptions{Level: LevelFast})
	dst := &memory{garbage(benchSize)}
	b.SetBytes(benchSize)
	for b.Loop() {
		s, err := OpenStream(bytes.NewReader(image))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := RestoreStream(b.Context(), s, dst, RestoreOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDeltaUnchanged(b *testing.B) {
	d := benchDisk()
	im := benchImage(b, d)
	dst := &memory{d.b}
	for b.Loop() {
		stats, err := Restore(b.Context(), im, dst, RestoreOptions{Delta: true})
		if err != nil || stats.Written > 0 {
			b.Fatalf("%+v, %v", stats, err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	im := benchImage(b, benchDisk())
	for b.Loop() {
		if err := im.Verify(b.Context(), VerifyOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	image := captureBytes(b, make([]byte, 512), layoutOf(512, partition.Extents{{Start: 0, Length: 512}}), CaptureOptions{})
	for b.Loop() {
		openBytes(b, image)
	}
}
