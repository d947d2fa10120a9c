package image

import (
	"bytes"
	"testing"

	"slipcast/partition"
)

// delta restores onto b and returns what was done.
func delta(t *testing.T, d testDisk, stream bool, b []byte) (*recorder, RestoreStats) {
	t.Helper()
	dst := newRecorder(b)
	stats := mustRestore(t, d.image, stream, dst, RestoreOptions{Delta: true, Verify: true, Workers: 2})
	return dst, stats
}

// eachWay runs a test for each disk, as a file and as a stream.
func eachWay(t *testing.T, do func(t *testing.T, d testDisk, stream bool)) {
	t.Helper()
	for name, d := range testDisks(t) {
		d.image = smallImage(t, d)
		t.Run(name, func(t *testing.T) { do(t, d, false) })
		t.Run(name+", stream", func(t *testing.T) { do(t, d, true) })
	}
}

// A target that holds the image already is not written to.
func TestDeltaUnchanged(t *testing.T) {
	eachWay(t, func(t *testing.T, d testDisk, stream bool) {
		dst, stats := delta(t, d, stream, d.b)
		if dst.written() > 0 || stats.Written > 0 {
			t.Errorf("%d bytes were written, %+v", dst.written(), stats)
		}
		if !stream && stats.Kept == 0 {
			t.Errorf("kept no chunk of %d", stats.Chunks)
		}
	})
}

// Bytes that are not in use do not count, wherever they are, and are left as
// they are.
func TestDeltaUnusedGarbage(t *testing.T) {
	eachWay(t, func(t *testing.T, d testDisk, stream bool) {
		b := garbage(len(d.b))
		for _, u := range d.layout.Used {
			copy(b[u.Start:u.End()], d.b[u.Start:])
		}
		dst, _ := delta(t, d, stream, b)
		if dst.written() > 0 || !bytes.Equal(dst.durable, b) {
			t.Errorf("%d bytes were written", dst.written())
		}
	})
}

// One changed byte costs a piece of 64 KiB and the vital bytes, wiped and
// written.
func TestDeltaOneByte(t *testing.T) {
	eachWay(t, func(t *testing.T, d testDisk, stream bool) {
		places := []int64{0, 446, 600, 200 * kiB, d.layout.Used.End() - 1, d.layout.Used[len(d.layout.Used)/2].Start}
		for _, u := range d.layout.Used.Within(partition.Extent{Start: vitalSize, Length: int64(len(d.b)) - 2*vitalSize}) {
			places = append(places, u.Start, u.End()-1)
		}
		for i, at := range places {
			if stream && i%3 > 0 {
				continue // a third of them will do
			}
			if !d.layout.Used.Touches(partition.Extent{Start: at, Length: 1}) {
				continue
			}
			b := bytes.Clone(d.b)
			b[at] ^= 0x10
			dst, stats := delta(t, d, stream, b)
			sameUsed(t, "restored", dst.durable, d.b, d.layout.Used)
			const most = 4*vitalSize + signSize + 64*kiB + 64*kiB
			if n := dst.written(); n == 0 || n > most || stats.Written != n {
				t.Errorf("byte %d: %d bytes were written, want at most %d; Written is %d", at, n, most, stats.Written)
			}
			const ebr = 512
			if n := middle(dst); n > diffSize+ebr {
				t.Errorf("byte %d: %d bytes outside of the vital ones, want at most %d", at, n, diffSize+ebr)
			}
		}
	})
}

// middle returns how many bytes were written that are not vital.
func middle(dst *recorder) int64 {
	var n int64
	for _, o := range dst.ops {
		if o.kind == "write" || o.kind == "zero" {
			n += o.Intersect(partition.Extent{Start: vitalSize, Length: dst.Size() - 2*vitalSize}).Length
		}
	}
	return n
}

// Whatever the target was before, the result is right.
func TestDeltaFromOther(t *testing.T) {
	eachWay(t, func(t *testing.T, d testDisk, stream bool) {
		for name, before := range map[string][]byte{
			"empty": make([]byte, len(d.b)), "garbage": garbage(len(d.b)), "foreign": oldDisk(len(d.b)), "random": randomDisk(len(d.b), 77),
		} {
			dst, _ := delta(t, d, stream, before)
			sameUsed(t, name, dst.durable, d.b, d.layout.Used)
		}
	})
}

// The second time, a larger target whose table was moved is not written to.
func TestDeltaLargerTwice(t *testing.T) {
	eachWay(t, func(t *testing.T, d testDisk, stream bool) {
		if d.layout.Table.Kind == partition.None {
			return
		}
		for _, tt := range resizes {
			first, _ := delta(t, d, stream, garbage((len(d.b)+tt.delta)/512*512))
			placed(t, tt.name, d, first.durable)
			second, stats := delta(t, d, stream, first.durable)
			if d.layout.Table.Kind == partition.GPT && stream && tt.delta > 0 {
				// The image's backup table comes before it is known that it
				// moves: it is written to its old place, and wiped again.
				placed(t, tt.name, d, second.durable)
				continue
			}
			if second.written() > 0 || !stats.Moved {
				t.Errorf("%s: %d bytes were written the second time, %+v", tt.name, second.written(), stats)
			}
		}
	})
}

// A chunk that the target holds is not read from the image.
func TestDeltaKeeps(t *testing.T) {
	d := testDisks(t)["gpt"]
	image := smallImage(t, d)
	im := openBytes(t, image)
	b := bytes.Clone(d.b)
	u := d.layout.Used.Within(partition.Extent{Start: vitalSize, Length: smallChunk})[0]
	b[u.Start] ^= 1
	counting := &countingReader{r: bytes.NewReader(image)}
	counted, err := Open(counting, int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	counting.n.Store(0)
	stats, err := Restore(t.Context(), counted, &memory{b}, RestoreOptions{Delta: true})
	if err != nil {
		t.Fatal(err)
	}
	sameUsed(t, "restored", b, d.b, d.layout.Used)
	if stats.Kept == 0 || stats.Kept >= stats.Chunks || counting.n.Load() >= im.Size() {
		t.Errorf("%+v, %d bytes of an image of %d were read", stats, counting.n.Load(), im.Size())
	}
}

// A countingReader counts the bytes that are read.
type countingReader struct {
	r *bytes.Reader
	n counter
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n.Add(int64(n))
	return n, err
}
