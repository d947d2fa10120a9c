package image

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"slipcast/partition"
)

// A source is read where it may have changed and where other bytes are in use
// than before, and nowhere else; the image is that of a capture that reads all.
func TestCaptureChanged(t *testing.T) {
	for name, d := range testDisks(t) {
		parent := openBytes(t, captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk}))
		for seed := range uint64(30) {
			disk, layout, changed := changeDisk(d, seed)
			full := openBytes(t, captureBytes(t, disk, layout, CaptureOptions{ChunkSize: smallChunk}))
			src := &failing{Source: bytes.NewReader(disk), bad: unread(parent, layout, changed)}
			var out bytes.Buffer
			opt := CaptureOptions{Parent: parent, Changed: changed.Touches, Workers: 2}
			_, stats, err := Capture(t.Context(), &out, src, layout, opt)
			if err != nil {
				t.Fatalf("%s, seed %d: %v", name, seed, err)
			}
			im := openBytes(t, out.Bytes())
			if im.Digest != full.Digest {
				t.Errorf("%s, seed %d: another digest than that of a capture that reads all, %+v", name, seed, stats)
			}
			if err := im.Verify(t.Context(), VerifyOptions{}); err != nil {
				t.Errorf("%s, seed %d: %v", name, seed, err)
			}
		}
	}
}

// changeDisk returns d with some bytes changed and some other bytes in use, and
// where the bytes in use may have changed.
func changeDisk(d testDisk, seed uint64) (disk []byte, layout *Layout, changed partition.Extents) {
	rng := rand.New(rand.NewPCG(seed, 3))
	disk, l := masked(d.b, d.layout.Used), *d.layout
	table := d.layout.Used[0] // and the bytes behind it
	for range rng.IntN(4) {
		e := partition.Extent{Start: rng.Int64N(l.Size - 70000), Length: 1 + rng.Int64N(70000)}
		if e.Intersect(table).Length > 0 {
			continue
		}
		fill(disk[e.Start:e.End()], rng)
		changed = changed.Union(partition.Extents{e})
	}
	for range rng.IntN(3) {
		e := partition.Extents{{Start: rng.Int64N(l.Size - 90000), Length: 1 + rng.Int64N(90000)}}
		if e[0].Intersect(table).Length > 0 {
			continue
		}
		if rng.IntN(2) == 0 {
			l.Used = l.Used.Union(e)
		} else {
			l.Used = l.Used.Minus(e)
		}
	}
	return disk, &l, changed
}

// unread returns the chunks that need not be read.
func unread(parent *Image, layout *Layout, changed partition.Extents) partition.Extents {
	var out partition.Builder
	for at := int64(0); at < layout.Size; at += parent.ChunkSize {
		e := partition.Extent{Start: at, Length: min(parent.ChunkSize, layout.Size-at)}
		before, now := parent.Used.Within(e), layout.Used.Within(e)
		same := len(before.Minus(now)) == 0 && len(now.Minus(before)) == 0
		if same && !changed.Touches(e) {
			out.Add(e.Start, e.Length)
		}
	}
	return out.Extents()
}

// A chunk of which the parent lacks bytes is read, whatever the caller knows; a
// damaged frame is no part of the new image; without a parent all is read.
func TestCaptureChangedReads(t *testing.T) {
	d := testDisks(t)["gpt"]
	nothing := func(partition.Extent) bool { return false }
	at := int64(miB) // of something that is not zeros
	for isZero(d.b[at : at+retrySize]) {
		at += retrySize
	}
	src := &failing{Source: bytes.NewReader(d.b), bad: partition.Extents{{Start: at, Length: 512}}}
	var out bytes.Buffer
	if _, _, err := Capture(t.Context(), &out, src, d.layout, CaptureOptions{ChunkSize: smallChunk, SkipReadErrors: true}); err != nil {
		t.Fatal(err)
	}
	lacking := openBytes(t, out.Bytes())
	full := openBytes(t, captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk}))
	for what, opt := range map[string]CaptureOptions{
		"the parent lacks bytes": {Parent: lacking, Changed: nothing},
		"no parent":              {ChunkSize: smallChunk, Changed: nothing},
	} {
		if im := openBytes(t, captureBytes(t, d.b, d.layout, opt)); im.Digest != full.Digest {
			t.Errorf("%s: digest %v, want %v", what, im.Digest, full.Digest)
		}
	}
	damaged := captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk})
	damaged[full.offsets[0]+20] ^= 1
	opt := CaptureOptions{Parent: openBytes(t, damaged), Changed: nothing}
	if _, _, err := Capture(t.Context(), io.Discard, bytes.NewReader(d.b), d.layout, opt); !isDamage(err) {
		t.Errorf("a damaged parent: got %v", err)
	}
}

func TestSameWithin(t *testing.T) {
	x := func(e ...partition.Extent) partition.Extents { return e }
	all := partition.Extent{Start: 100, Length: 100}
	for _, tt := range []struct {
		name string
		a, b partition.Extents
		want bool
	}{
		{"nothing", nil, nil, true},
		{"outside", x(partition.Extent{Length: 100}), x(partition.Extent{Start: 200, Length: 5}), true},
		{"one of them", x(partition.Extent{Start: 150, Length: 1}), nil, false},
		{"the other", nil, x(partition.Extent{Start: 199, Length: 1}), false},
		{"the same inside", x(partition.Extent{Start: 50, Length: 100}), x(partition.Extent{Start: 99, Length: 51}), true},
		{"another end", x(partition.Extent{Start: 120, Length: 10}), x(partition.Extent{Start: 120, Length: 11}), false},
		{"one more", x(partition.Extent{Start: 120, Length: 10}), x(partition.Extent{Start: 120, Length: 10}, partition.Extent{Start: 140, Length: 1}), false},
		{"one more outside", x(partition.Extent{Start: 120, Length: 10}), x(partition.Extent{Start: 120, Length: 10}, partition.Extent{Start: 200, Length: 1}), true},
	} {
		if got := sameWithin(tt.a, tt.b, all); got != tt.want {
			t.Errorf("%s: sameWithin = %v, want %v", tt.name, got, tt.want)
		}
		if got := sameWithin(tt.b, tt.a, all); got != tt.want {
			t.Errorf("%s, the other way: sameWithin = %v, want %v", tt.name, got, tt.want)
		}
	}
}
