package image

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"slipcast/partition"
)

// Chunks come in any order, from many goroutines, some of them damaged at
// first, as a multicast receiver gets them.
func TestRestorerAnyOrder(t *testing.T) {
	for name, d := range testDisks(t) {
		im := openBytes(t, smallImage(t, d))
		dst := newRecorder(oldDisk(len(d.b)))
		r, err := NewRestorer(&im.Manifest, dst, RestoreOptions{Workers: 3, Verify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		chunks := slices.Collect(im.Chunks(im.all()))
		rand.New(rand.NewPCG(4, 4)).Shuffle(len(chunks), func(i, k int) { chunks[i], chunks[k] = chunks[k], chunks[i] })
		var g errgroup.Group
		for i, f := range chunks {
			frame, err := im.ReadFrame(f, nil)
			if err != nil {
				t.Fatal(err)
			}
			g.Go(func() error {
				if i%3 == 0 {
					bad := slices.Clone(frame)
					bad[len(bad)/3*2] ^= 0x10
					bad[len(bad)-1] ^= 1
					var chunk *ChunkError
					if err := r.PutChunk(t.Context(), f, bad[:len(bad)-i%2]); err != nil && (!errors.As(err, &chunk) || !isDamage(err) || chunk.Index != f.Chunk) {
						t.Errorf("%s: a damaged frame: %v", name, err)
					}
				}
				return r.PutChunk(t.Context(), f, frame)
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		noTable(t, d, dst.durable)
		if _, err := r.Finish(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sameUsed(t, name, dst.durable, d.b, d.layout.Used)
	}
}

// A Reader serves many at once.
func TestReaderConcurrent(t *testing.T) {
	d := testDisks(t)["gpt"]
	r := newReader(t, openBytes(t, smallImage(t, d)))
	want := d.want()
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			for range 30 {
				at := rng.IntN(len(want) - 300000)
				p := make([]byte, 1+rng.IntN(300000))
				if _, err := r.ReadAt(p, int64(at)); err != nil {
					return err
				}
				if !bytes.Equal(p, want[at:at+len(p)]) {
					t.Errorf("%d bytes at %d differ", len(p), at)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// A Reader of a damaged chunk gives an error each time, and every other chunk.
func TestReaderDamaged(t *testing.T) {
	d := testDisks(t)["none"]
	image := smallImage(t, d)
	im := openBytes(t, image)
	var last Frame
	for last = range im.Chunks(im.all()) {
	}
	image[im.offsets[last.Number]+10] ^= 1
	r := newReader(t, openBytes(t, image))
	for range 3 {
		for f := range im.Frames() {
			p := make([]byte, f.Length)
			_, err := r.ReadAt(p, f.Start)
			if isDamage(err) != (f.Number == last.Number) {
				t.Errorf("frame %d: got %v", f.Number, err)
			}
			if err == nil && !bytes.Equal(p, d.want()[f.Start:f.End()]) {
				t.Errorf("frame %d: other bytes", f.Number)
			}
		}
	}
}

// A few bytes of a hostile image do not cost much memory.
func TestHostileMemory(t *testing.T) {
	notes := encoded(func(e *encoder) { e.strings(make([]string, 65535)) })
	d := forgeDisk()
	for name, edit := range map[string]func(f *forge){
		"a body of 60 MiB": func(f *forge) { f.head = append(f.head, forgedSection{9, 0, make([]byte, 60*miB)}) },
		"many empty notes": func(f *forge) { f.section(2).payload = manyVolumes(f, notes, 400) },
		"all of 16 TiB in use": func(f *forge) {
			setFixed64(24, 1<<44)(f)
			f.section(3).payload = []byte{12, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x10}
		},
		"2^56 bytes, no use": func(f *forge) { setFixed64(24, 1<<56-1)(f); f.section(3).payload = []byte{0, 0} },
		"tail of 60 MiB":     func(f *forge) { f.section(34).payload = make([]byte, 60*miB) },
	} {
		f := newForge(d, smallChunk)
		f.section(2).payload = encodeVolumes(nil)
		edit(f)
		image := f.seal()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Open(bytes.NewReader(image), int64(len(image))); err != nil && !isDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 400*miB {
			t.Errorf("%s: %d MiB were allocated for an image of %d bytes", name, got/miB, len(image))
		}
	}
}

// manyVolumes encodes volumes of n partitions, with these notes each.
func manyVolumes(f *forge, notes []byte, n int) []byte {
	list := make([]Volume, n)
	var parts [][]byte
	for i := range list {
		list[i] = Volume{Number: i + 1, Start: int64(i) * 512, Size: 512}
		parts = append(parts, aPartition(i+1, 0, uint64(i)*512, 512))
	}
	f.section(1).payload = aTable(n, parts...)
	var p []byte
	for i, v := range list {
		one := encodeVolumes([]Volume{v})
		p = append(p, one[2:len(one)-2]...)
		p = append(p, notes...)
		if i == 0 {
			p = append([]byte{byte(n), byte(n >> 8)}, p...)
		}
	}
	return p
}

// One data chunk after the other, and all frames, are found in both ways.
func TestFrames(t *testing.T) {
	for name, d := range otherDisks() {
		m := Manifest{Layout: *d.layout, ChunkSize: smallChunk}
		if err := m.plan(); err != nil {
			t.Fatal(err)
		}
		at, number, chunk := int64(0), 0, 0
		cursor := newFrameCursor(&m)
		for f := range m.Frames() {
			if f != cursor.next() || f.Start != at || f.Number != number || m.FrameAt(f.Start) != f || m.FrameAt(f.End()-1) != f {
				t.Errorf("%s: frame %+v, want number %d at %d", name, f, number, at)
			}
			if f.Hole == (m.UsedIn(f.Extent) > 0) || !f.Hole && (f.Chunk != chunk || f.Length > smallChunk) || f.Length > holePiece {
				t.Errorf("%s: frame %+v with %d bytes in use", name, f, m.UsedIn(f.Extent))
			}
			if !f.Hole {
				if got := m.Chunk(chunk); got != f {
					t.Errorf("%s: chunk %d is %+v, want %+v", name, chunk, got, f)
				}
				chunk++
			}
			at, number = f.End(), number+1
		}
		if at != m.Size || number != m.FrameCount() || chunk != m.ChunkCount() {
			t.Errorf("%s: %d frames, %d chunks up to %d, want %d, %d, %d", name, number, chunk, at, m.FrameCount(), m.ChunkCount(), m.Size)
		}
		rng := rand.New(rand.NewPCG(3, 3))
		for range 100 {
			e := partition.Extent{Start: rng.Int64N(m.Size)}
			e.Length = 1 + rng.Int64N(m.Size-e.Start)
			var got, want []Frame
			for f := range m.Chunks(e) {
				got = append(got, f)
			}
			for f := range m.Frames() {
				if !f.Hole && f.Intersect(e).Length > 0 {
					want = append(want, f)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: chunks of %v: %d, want %d", name, e, len(got), len(want))
			}
		}
	}
}
