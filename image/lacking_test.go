package image

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"slipcast/partition"
)

// A receiver is a Restorer that knows the preface of an image, and is given
// the frames of the image by number.
type receiver struct {
	*Restorer
	im    *Image
	done  counter // what Progress was told
	stage string
	total int64
}

func newReceiver(t testing.TB, image []byte, dst Target, opt RestoreOptions) *receiver {
	t.Helper()
	r := &receiver{im: openBytes(t, image)}
	known, err := OpenPreface(prefaceOf(t, r.im))
	if err != nil {
		t.Fatal(err)
	}
	opt.Progress = func(n int64) { r.done.Add(n) }
	opt.Stage = func(name string, total int64) { r.stage, r.total = name, total }
	if r.Restorer, err = NewRestorer(&known.Manifest, dst, opt); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// lacking returns the numbers of the chunks that must come.
func (r *receiver) lacking() []int {
	var list []int
	for n := range r.im.ChunkCount() {
		if r.Lacks(n) {
			list = append(list, n)
		}
	}
	return list
}

// put puts the chunk of number n.
func (r *receiver) put(t testing.TB, n int) error {
	f := r.im.Chunk(n)
	frame, err := r.im.ReadFrame(f, nil)
	if err != nil {
		t.Error(err)
	}
	return r.PutChunk(t.Context(), r.m.Chunk(n), frame)
}

// putAll puts the chunks in any order, each of them several times at once.
func (r *receiver) putAll(t testing.TB, list []int) {
	t.Helper()
	var g errgroup.Group
	list = slices.Concat(list, list, list)
	rand.New(rand.NewPCG(8, 8)).Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	for _, n := range list {
		g.Go(func() error { return r.put(t, n) })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// vitalChunk tells whether f holds bytes of the first or, if ends, of the last
// MiB of a target of size bytes.
func vitalChunk(f Frame, size int64, ends bool) bool {
	return f.Start < vitalSize || ends && f.End() > size-vitalSize
}

// Compare finds what the target lacks: what differs, and what holds vital
// bytes. Only this is put, and Progress adds up.
func TestCompareLacking(t *testing.T) {
	for name, d := range testDisks(t) {
		d.image = smallImage(t, d)
		before := garbage(len(d.b))
		for _, u := range d.layout.Used {
			copy(before[u.Start:u.End()], d.b[u.Start:])
		}
		var want []int
		var kept, compared int64
		for f := range openBytes(t, d.image).Chunks(partition.Extent{Length: int64(len(d.b))}) {
			used := d.layout.Used.Within(f.Extent)
			compared += used.Size()
			if f.Chunk%3 == 0 {
				before[used[0].Start] ^= 1
				want = append(want, f.Chunk)
			} else {
				kept++
			}
		}
		dst := newRecorder(before)
		r := newReceiver(t, d.image, dst, RestoreOptions{Delta: true, Workers: 3})
		if all := r.lacking(); len(all) != r.im.ChunkCount() {
			t.Errorf("%s: before Compare %v are lacking, want all", name, all)
		}
		if err := r.Compare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := r.lacking(); !slices.Equal(got, want) {
			t.Errorf("%s: %v are lacking, want %v", name, got, want)
		}
		if r.stage != "compare" || r.total != compared || r.done.Load() != compared || len(dst.ops) > 0 {
			t.Errorf("%s: stage %q of %d bytes, %d told, %d operations, want %d bytes and none", name, r.stage, r.total, r.done.Load(), len(dst.ops), compared)
		}
		chunks, left := r.Left()
		r.done.Store(0)
		r.putAll(t, append(want, 0, r.im.ChunkCount()-1))
		if chunks != len(want) || left != r.done.Load() {
			t.Errorf("%s: %d chunks of %d bytes left, want %d of %d", name, chunks, left, len(want), r.done.Load())
		}
		if n, left := r.Left(); n != 0 || left != 0 || len(r.lacking()) > 0 {
			t.Errorf("%s: %d chunks of %d bytes left at the end", name, n, left)
		}
		stats, err := r.Finish(t.Context())
		if err != nil || int64(stats.Kept) != kept || stats.Chunks != r.im.ChunkCount() {
			t.Errorf("%s: %+v, %v, want %d kept", name, stats, err, kept)
		}
		sameUsed(t, name, dst.durable, d.b, d.layout.Used)
	}
}

// Of a partition, the chunks that its ends cut are lacking, those beside it
// are not.
func TestCompareLackingPartition(t *testing.T) {
	for _, name := range []string{"gpt", "mbr"} {
		d := testDisks(t)[name]
		image := captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk})
		p := d.layout.Table.Partitions[len(d.layout.Table.Partitions)-1].Extent()
		dst := newRecorder(bytes.Clone(d.b[p.Start:p.End()]))
		r := newReceiver(t, image, dst, RestoreOptions{Delta: true, Partition: d.layout.Table.Partitions[len(d.layout.Table.Partitions)-1].Number})
		if err := r.Compare(t.Context()); err != nil {
			t.Fatal(err)
		}
		var want []int
		for f := range r.im.Chunks(p) {
			if f.Intersect(p) != f.Extent {
				want = append(want, f.Chunk)
			}
		}
		if got := r.lacking(); !slices.Equal(got, want) || len(got) == r.im.ChunkCount() {
			t.Errorf("%s: %v are lacking, want %v", name, got, want)
		}
		r.putAll(t, want)
		if _, err := r.Finish(t.Context()); err != nil || len(dst.ops) > 0 {
			t.Errorf("%s: %v; %v was done, want nothing", name, err, dst.ops)
		}
	}
}

// Without Delta, and of a stream, all is lacking, and the target is not read.
func TestCompareNothing(t *testing.T) {
	d := testDisks(t)["gpt"]
	image := smallImage(t, d)
	unreadable := &shortTarget{newRecorder(d.b), 0}
	r := newReceiver(t, image, unreadable, RestoreOptions{})
	if err := r.Compare(t.Context()); err != nil || len(r.lacking()) != r.im.ChunkCount() || r.stage != "" {
		t.Errorf("without Delta: %v, %d of %d are lacking, stage %q", err, len(r.lacking()), r.im.ChunkCount(), r.stage)
	}
	s, err := OpenStream(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	blind, err := NewRestorer(&s.Manifest, unreadable, RestoreOptions{Delta: true})
	if err != nil {
		t.Fatal(err)
	}
	defer blind.Close()
	if err := blind.Compare(t.Context()); err != nil {
		t.Errorf("a stream: %v", err)
	}
	r = newReceiver(t, image, unreadable, RestoreOptions{Delta: true})
	if err := r.Compare(t.Context()); !errors.Is(err, errKilled) {
		t.Errorf("a target that cannot be read: %v, want %v", err, errKilled)
	}
}

// A chunk that could not be written is lacking again.
func TestPutChunkFails(t *testing.T) {
	d := testDisks(t)["gpt"]
	dst := newRecorder(oldDisk(len(d.b)))
	r := newReceiver(t, smallImage(t, d), dst, RestoreOptions{})
	n := r.im.FrameAt(d.layout.Used.Within(partition.Extent{Start: vitalSize, Length: miB})[0].Start).Chunk
	dst.failAt, dst.failOn = 5, "write" // behind the wipe
	if err := r.put(t, n); !errors.Is(err, errKilled) || !r.Lacks(n) || r.done.Load() != 0 {
		t.Errorf("got %v, lacking %v, %d bytes told, want %v, lacking", err, r.Lacks(n), r.done.Load(), errKilled)
	}
	dst.failAt = -1
	r.putAll(t, r.lacking())
	if _, err := r.Finish(t.Context()); err != nil {
		t.Error(err)
	}
	sameUsed(t, "restored", dst.durable, d.b, d.layout.Used)
}

// Of two frames for one chunk of a stream, whose digests are not known yet,
// the first counts.
func TestPutChunkTwice(t *testing.T) {
	d := testDisks(t)["gpt"]
	image := smallImage(t, d)
	s, err := OpenStream(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	var done counter
	dst := newRecorder(oldDisk(len(d.b)))
	r, err := NewRestorer(&s.Manifest, dst, RestoreOptions{Progress: func(n int64) { done.Add(n) }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		f, frame, err := s.Next(nil)
		if err != nil {
			break
		}
		other := appendStored(nil, garbage(int(f.Length)))
		if err := errors.Join(r.PutChunk(t.Context(), f, frame), r.PutChunk(t.Context(), f, other)); err != nil {
			t.Error(err)
		}
	}
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(t.Context()); err != nil || done.Load() != d.layout.Used.Size() {
		t.Errorf("%v, %d bytes told, want %d", err, done.Load(), d.layout.Used.Size())
	}
	sameUsed(t, "restored", dst.durable, d.b, d.layout.Used)
}
