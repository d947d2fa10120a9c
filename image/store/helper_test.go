package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"slipcast/image"
)

const kiB = 1 << 10

// A disk is the bytes of a disk without a table.
type disk []byte

func (d disk) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(d).ReadAt(p, off) }

// newDisk returns a disk of n chunks of 256 KiB. Chunks with equal numbers are equal,
// in any disk; number 0 is all zeros, and below 0 not in use.
func newDisk(numbers ...int) disk {
	d := make(disk, 0, len(numbers)*256*kiB)
	for _, n := range numbers {
		d = append(d, chunk(n)...)
	}
	return d
}

// chunk returns the chunk of that number: half of it compresses.
func chunk(n int) []byte {
	p := make([]byte, 256*kiB)
	if n <= 0 {
		return p
	}
	rng := rand.New(rand.NewPCG(uint64(n), 0))
	for i := 0; i < len(p)/2; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], rng.Uint64())
	}
	text := p[len(p)/2 : len(p)/2]
	for len(text) < len(p)/2-16 {
		text = append(text, []string{"disk ", "machine ", "become ", "room ", "the "}[rng.IntN(5)]...)
	}
	return p
}

// capture returns an image of a disk of those chunks.
func capture(t testing.TB, level image.Level, numbers ...int) []byte {
	t.Helper()
	d := newDisk(numbers...)
	l := &image.Layout{
		Size: int64(len(d)), LogicalSector: 512, PhysicalSector: 512,
		Volumes: []image.Volume{{Size: int64(len(d)), Span: int64(len(d)), Whole: true}},
	}
	for i, n := range numbers {
		if n < 0 {
			continue
		}
		at := int64(i) * 256 * kiB
		if k := len(l.Used); k > 0 && l.Used[k-1].End() == at {
			l.Used[k-1].Length += 256 * kiB
			continue
		}
		var f image.Frame
		f.Start, f.Length = at, 256*kiB
		l.Used = append(l.Used, f.Extent)
	}
	l.Volumes[0].Whole = l.Used.Size() == l.Size
	var b bytes.Buffer
	if _, _, err := image.Capture(context.Background(), &b, d, l, image.CaptureOptions{Level: level, ChunkSize: 256 * kiB}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openBytes(t testing.TB, p []byte) *image.Image {
	t.Helper()
	im, err := image.Open(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := Init(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mustAdd adds an image, and holds what the store gives back against it.
func mustAdd(t testing.TB, s *Store, p []byte, name string) Added {
	t.Helper()
	a, err := s.Add(t.Context(), openBytes(t, p), name, AddOptions{})
	if err != nil {
		t.Fatalf("adding %s: %v", name, err)
	}
	return a
}

func mustOpen(t testing.TB, s *Store, ref string) *Image {
	t.Helper()
	r, err := ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	im, err := s.OpenImage(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { im.Close() })
	return im
}

// whole returns the bytes of the image file.
func whole(t testing.TB, im *Image) []byte {
	t.Helper()
	p := make([]byte, im.Size())
	if _, err := im.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// mustVerify fails if anything in the store is damaged.
func mustVerify(t testing.TB, s *Store) Verified {
	t.Helper()
	v, err := s.Verify(t.Context(), VerifyOptions{Found: func(f Fault) { t.Errorf("damaged: %v", f) }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}
