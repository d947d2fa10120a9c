package image

import (
	"bytes"
	"context"
	"testing"

	"slipcast/partition"
)

// What is captured comes back, from a file and from a stream, with every
// chunk size, and bytes that are not in use are left alone.
func TestRoundTrip(t *testing.T) {
	const size = 4*miB + 12345
	disk := randomDisk(size, 1)
	used := partition.Extents{{Start: 0, Length: 5000}, {Start: 1 << 20, Length: 100}, {Start: 3<<20 - 512, Length: 1 << 20}, {Start: size - 3, Length: 3}}
	for _, chunk := range []int64{256 << 10, 1 << 20, 16 << 20} {
		p := captureBytes(t, disk, layoutOf(size, used), CaptureOptions{ChunkSize: chunk, Workers: 3})
		im := openBytes(t, p)
		if err := im.Verify(context.Background(), VerifyOptions{}); err != nil {
			t.Errorf("Verify: %v", err)
		}
		for _, stream := range []bool{false, true} {
			dst := &memory{garbage(size)}
			mustRestore(t, p, stream, dst, RestoreOptions{Verify: true})
			sameUsed(t, "restored", dst.b, disk, used)
		}
		r := newReader(t, im)
		got := make([]byte, size)
		if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, masked(disk, used)) {
			t.Errorf("chunk size %d: the Reader's bytes differ, %v", chunk, err)
		}
	}
}

func newReader(t testing.TB, im *Image) *Reader {
	t.Helper()
	r, err := NewReader(im)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// A disk of each kind goes through everything.
func TestRoundTripTables(t *testing.T) {
	for name, d := range testDisks(t) {
		for _, workers := range []int{1, 3} {
			p := captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk, Workers: workers})
			im := openBytes(t, p)
			if err := im.Verify(t.Context(), VerifyOptions{Workers: workers}); err != nil {
				t.Errorf("%s: Verify: %v", name, err)
			}
			for _, stream := range []bool{false, true} {
				for _, opt := range []RestoreOptions{{}, {Verify: true}, {Delta: true, Verify: true}, {Discard: true, Verify: true}} {
					opt.Workers = workers
					dst := newRecorder(garbage(len(d.b)))
					mustRestore(t, p, stream, dst, opt)
					sameUsed(t, name, dst.durable, d.b, d.layout.Used)
				}
				blank := newRecorder(make([]byte, len(d.b)))
				mustRestore(t, p, stream, blank, RestoreOptions{Blank: true, Verify: true, Workers: workers})
				if !bytes.Equal(blank.durable, d.want()) {
					t.Errorf("%s: a new file is not the masked disk", name)
				}
			}
			differs := func(d Difference) { t.Errorf("%s: Compare finds %v in %s", name, d.Extent, d.Place) }
			if err := im.Compare(t.Context(), &memory{d.b}, int64(len(d.b)), VerifyOptions{}, differs); err != nil {
				t.Errorf("%s: Compare: %v", name, err)
			}
		}
	}
}
