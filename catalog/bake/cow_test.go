package bake

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/partition"
)

// noise returns size bytes that are hardly ever zeros.
func noise(size int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 9))
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// newCow returns a Cow over parent.
func newCow(t testing.TB, parent io.ReaderAt, size int64) *Cow {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "scratch")
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCow(parent, size, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Whatever is written, zeroed and read, a Cow has what a plain file would have;
// the parent is as it was, and what was changed is known.
func FuzzCow(f *testing.F) {
	f.Add(uint64(1), uint32(3*blockSize+100))
	f.Add(uint64(2), uint32(blockSize))
	f.Add(uint64(3), uint32(1))
	f.Add(uint64(4), uint32(100*blockSize+4095))
	f.Fuzz(func(t *testing.T, seed uint64, size uint32) {
		size = size%(1<<20) + 1
		base := noise(int(size), seed)
		parent, want := bytes.Clone(base), bytes.Clone(base)
		c := newCow(t, bytes.NewReader(parent), int64(size))
		rng := rand.New(rand.NewPCG(seed, uint64(size)))
		var changed partition.Extents
		for i := range 30 {
			at := rng.Int64N(int64(size))
			e := partition.Extent{Start: at, Length: rng.Int64N(min(int64(size)-at, 5*blockSize) + 1)}
			if rng.IntN(4) == 0 { // whole blocks
				e.Start -= e.Start % blockSize
				e.Length = min(e.Length/blockSize*blockSize, int64(size)-e.Start)
			}
			if rng.IntN(3) == 0 {
				if err := c.Zero(e); err != nil {
					t.Fatal(err)
				}
				clear(want[e.Start:e.End()])
			} else {
				p := noise(int(e.Length), uint64(i))
				if n, err := c.WriteAt(p, e.Start); n != len(p) || err != nil {
					t.Fatalf("WriteAt = %d, %v, want %d", n, err, len(p))
				}
				copy(want[e.Start:], p)
			}
			changed = changed.Union(partition.Extents{e})
		}
		checkCow(t, c, want, changed)
		if !bytes.Equal(parent, base) {
			t.Error("the parent was written to")
		}
	})
}

// checkCow compares a Cow with what it should have.
func checkCow(t *testing.T, c *Cow, want []byte, changed partition.Extents) {
	t.Helper()
	got := make([]byte, len(want)+10)
	if n, err := c.ReadAt(got, 0); n != len(want) || err != io.EOF {
		t.Fatalf("ReadAt = %d, %v, want %d, EOF", n, err, len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("byte %d is %#x, want %#x", i, got[i], want[i])
		}
	}
	var blocks int64
	for at := int64(0); at < c.Size(); at += blockSize {
		e := partition.Extent{Start: at, Length: min(blockSize, c.Size()-at)}
		if c.Changed(e) != changed.Touches(e) {
			t.Errorf("Changed(%v) = %v", e, c.Changed(e))
		}
		if changed.Touches(e) {
			blocks++
		}
	}
	if c.Written() != blocks*blockSize {
		t.Errorf("Written() = %d, want %d blocks", c.Written(), blocks)
	}
	if whole := (partition.Extent{Length: c.Size()}); c.Changed(whole) != (blocks > 0) || c.Changed(partition.Extent{Start: 5}) {
		t.Errorf("Changed(%v) = %v with %d blocks", whole, c.Changed(whole), blocks)
	}
}

// Sectors of one block that are written side by side are all there.
func TestCowSideBySide(t *testing.T) {
	const sector, size = 512, 64 * blockSize
	parent := noise(size, 1)
	c := newCow(t, bytes.NewReader(parent), size)
	want := noise(size, 2)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for at := worker * sector; at < size; at += 8 * sector {
				if _, err := c.WriteAt(want[at:at+sector], int64(at)); err != nil {
					t.Error(err)
				}
				buf := make([]byte, sector)
				if _, err := c.ReadAt(buf, int64(at)); err != nil || !bytes.Equal(buf, want[at:at+sector]) {
					t.Errorf("what was written at %d is not there: %v", at, err)
				}
			}
		})
	}
	wg.Wait()
	checkCow(t, c, want, partition.Extents{{Length: size}})
}

// What lies outside is refused and changes nothing.
func TestCowOutside(t *testing.T) {
	const size = 2*blockSize + 7
	parent := noise(size, 1)
	c := newCow(t, bytes.NewReader(parent), size)
	for _, e := range []partition.Extent{{Start: size, Length: 1}, {Start: size - 1, Length: 2}, {Start: -1, Length: 1}, {Start: 1 << 62, Length: 1 << 62}} {
		if err := c.Zero(e); !errors.Is(err, errPastEnd) {
			t.Errorf("Zero(%v): %v", e, err)
		}
	}
	if _, err := c.WriteAt(make([]byte, 8), size-7); !errors.Is(err, errPastEnd) {
		t.Errorf("WriteAt: %v", err)
	}
	if n, err := c.ReadAt(make([]byte, 1), size); n != 0 || err != io.EOF {
		t.Errorf("ReadAt behind the end = %d, %v", n, err)
	}
	checkCow(t, c, parent, nil)
	if c.Err() != nil {
		t.Errorf("Err() = %v: nothing has failed", c.Err())
	}
}

// A badParent cannot be read behind a place.
type badParent struct {
	p  []byte
	at int64
}

var errBad = errors.New("medium error")

func (b badParent) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.at {
		return 0, errBad
	}
	return bytes.NewReader(b.p).ReadAt(p, off)
}

// What the parent cannot give is an error of whoever needs it, and is
// remembered; a whole block does not need it.
func TestCowBadParent(t *testing.T) {
	p := noise(4*blockSize, 1)
	c := newCow(t, badParent{p, 2 * blockSize}, int64(len(p)))
	if _, err := c.WriteAt(p[:blockSize], 3*blockSize); err != nil || c.Err() != nil {
		t.Errorf("writing a whole block: %v, %v", err, c.Err())
	}
	if _, err := c.WriteAt([]byte{1}, 2*blockSize); !errors.Is(err, errBad) || !errors.Is(c.Err(), errBad) {
		t.Errorf("writing a part of a block: %v, %v", err, c.Err())
	}
	buf := make([]byte, 10)
	if _, err := c.ReadAt(buf, 2*blockSize-5); !errors.Is(err, errBad) {
		t.Errorf("reading: %v", err)
	}
	short := newCow(t, bytes.NewReader(p[:100]), int64(len(p)))
	if _, err := short.ReadAt(buf, 200); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a parent that is too short: %v", err)
	}
}

// A scratch file without room is an error, and remembered.
func TestCowFull(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cow{parent: bytes.NewReader(make([]byte, 100*blockSize)), size: 100 * blockSize, scratch: f, written: newBitmap(100)}
	defer c.Close()
	if _, err := c.WriteAt(make([]byte, blockSize), 0); !errors.Is(err, unix.ENOSPC) || !errors.Is(c.Err(), unix.ENOSPC) {
		t.Errorf("got %v, %v, want ENOSPC", err, c.Err())
	}
	if c.Changed(partition.Extent{Length: blockSize}) {
		t.Error("what was not written counts as written")
	}
}

// BenchmarkCowWrite writes pieces of 4 KiB at random places of 1 GiB.
func BenchmarkCowWrite(b *testing.B) {
	const size = 1 << 30
	c := newCow(b, zeroDisk{}, size)
	p := noise(4096, 1)
	rng := rand.New(rand.NewPCG(1, 1))
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := c.WriteAt(p, rng.Int64N(size/4096)*4096); err != nil {
			b.Fatal(err)
		}
	}
}

// A zeroDisk is zeros.
type zeroDisk struct{}

func (zeroDisk) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }
