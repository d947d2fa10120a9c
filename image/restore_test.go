package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"slipcast/partition"
)

// oldDisk returns a target with a valid table of its own and no zero bytes in
// its partition.
func oldDisk(size int) []byte {
	b := garbage(size)
	fresh := craftGPT(size, partition.Extent{Start: 34 * 512, Length: 512})
	last := len(fresh) - 33*512
	copy(b, fresh[:34*512])
	copy(b[last:], fresh[last:])
	return b
}

// smallImage captures a test disk.
func smallImage(t testing.TB, d testDisk) []byte {
	t.Helper()
	return captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk})
}

// The first thing that happens to a target is that its vital bytes are wiped
// and flushed; the last are the sectors of the table, each flushed before the
// next, and then all is read again past the cache.
func TestRestoreOrder(t *testing.T) {
	for name, d := range testDisks(t) {
		for _, stream := range []bool{false, true} {
			dst := newRecorder(oldDisk(len(d.b)))
			mustRestore(t, smallImage(t, d), stream, dst, RestoreOptions{Workers: 3, Discard: true})
			checkStart(t, name, dst)
			checkEnd(t, name, d, dst)
		}
	}
}

func checkStart(t *testing.T, name string, dst *recorder) {
	t.Helper()
	size := dst.Size()
	want := []op{
		{"write", partition.Extent{Start: 0, Length: signSize}}, {"sync", partition.Extent{}},
		{"write", partition.Extent{Start: 0, Length: vitalSize}},
		{"write", partition.Extent{Start: size - vitalSize, Length: vitalSize}}, {"sync", partition.Extent{}},
	}
	if got := dst.ops[:len(want)]; !slices.Equal(got, want) {
		t.Errorf("%s: begins with %v, want %v", name, got, want)
	}
}

// checkEnd checks the operations behind the last chunk.
func checkEnd(t *testing.T, name string, d testDisk, dst *recorder) {
	t.Helper()
	var tableOps []op
	table := partition.Extents{{Start: 0, Length: signSize}}
	if d.layout.Table.Kind != partition.None {
		table = mustTable(t, d.b).Sectors()
	}
	vital := partition.Extents{{Start: 0, Length: vitalSize}, {Start: dst.Size() - vitalSize, Length: vitalSize}}
	inVital, synced := false, false
	for _, o := range dst.ops[5:] {
		switch {
		case o.kind == "sync":
			synced = true
		case o.kind != "write":
			if o.kind == "discard" && vital.Touches(o.Extent) {
				t.Errorf("%s: %v of vital bytes", name, o)
			}
		case vital.Touches(o.Extent):
			inVital = true
		case inVital && !table.Touches(o.Extent):
			t.Errorf("%s: %v behind the first vital bytes", name, o)
		}
		if o.kind == "write" && inVital && table.Touches(o.Extent) {
			if !synced {
				t.Errorf("%s: %v without a flush before it", name, o)
			}
			tableOps = append(tableOps, o)
			synced = false
		}
	}
	if last := tableOps[len(tableOps)-1]; last.Start != 0 {
		t.Errorf("%s: the last of the table is %v, want sector 0", name, last)
	}
	if end := dst.ops[len(dst.ops)-2:]; end[0].kind != "sync" || end[1].kind != "drop" {
		t.Errorf("%s: ends with %v, want a flush and a look past the cache", name, end)
	}
}

func mustTable(t testing.TB, b []byte) *partition.Table {
	t.Helper()
	table := tableOn(b)
	if table == nil {
		t.Fatal("no table")
	}
	return table
}

// Wherever the power fails, and whatever of the cache had reached the disk, no
// table is found before everything else is there; and starting again finishes
// it.
func TestRestoreKilled(t *testing.T) {
	disks := testDisks(t)
	for _, tt := range []struct {
		disk   string
		stream bool
		opt    RestoreOptions
	}{
		{"gpt", false, RestoreOptions{Workers: 1}},
		{"gpt", true, RestoreOptions{Workers: 3, Delta: true}},
		{"mbr", true, RestoreOptions{Workers: 1}},
		{"mbr", false, RestoreOptions{Workers: 2, Discard: true}},
		{"none", false, RestoreOptions{Workers: 1}},
	} {
		t.Run(fmt.Sprintf("%s, stream %v", tt.disk, tt.stream), func(t *testing.T) {
			d := disks[tt.disk]
			image := smallImage(t, d)
			before := oldDisk(len(d.b))
			dst := newRecorder(before)
			mustRestore(t, image, tt.stream, dst, tt.opt)
			for n := range len(dst.ops) {
				dst.reset(before)
				dst.failAt = n
				if _, err := restoreBytes(t.Context(), image, tt.stream, dst, tt.opt); !errors.Is(err, errKilled) {
					t.Fatalf("killed at operation %d: got %v", n, err)
				}
				checkRemains(t, d, dst, n)
				if n%6 != 0 {
					continue
				}
				again := newRecorder(dst.durable)
				mustRestore(t, image, tt.stream, again, tt.opt)
				sameUsed(t, "started again", again.durable, d.b, d.layout.Used)
			}
		})
	}
}

// checkRemains looks at what is on a disk after a power cut.
func checkRemains(t *testing.T, d testDisk, dst *recorder, n int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	choices := []func(i int) bool{
		func(int) bool { return false },
		func(int) bool { return true },
		func(i int) bool { return i == len(dst.pending)-1 },
		func(int) bool { return rng.IntN(2) == 0 },
	}
	wiped := slices.ContainsFunc(dst.ops, func(o op) bool { return o.kind == "sync" }) && n > 1
	for i, chosen := range choices {
		if len(dst.pending) == 0 && i > 0 {
			break // all the same
		}
		b := dst.afterPowerCut(chosen, i == 3).b
		complete := func(behind int64) bool {
			for _, u := range d.layout.Used.Within(partition.Extent{Start: behind, Length: int64(len(b)) - behind}) {
				if !bytes.Equal(b[u.Start:u.End()], d.b[u.Start:u.End()]) {
					return false
				}
			}
			return true
		}
		if d.layout.Table.Kind == partition.None {
			if wiped && !isZero(b[:signSize]) && !complete(signSize) {
				t.Errorf("operation %d, choice %d: the first sectors are there before all else is", n, i)
			}
			continue
		}
		if got := tableOn(b); got != nil && wiped && !complete(0) {
			t.Errorf("operation %d, choice %d: a %s table is found before all else is there", n, i, got.Kind)
		}
	}
}

// A context that is cancelled in the middle ends a restore, and leaves no
// table.
func TestRestoreCancelled(t *testing.T) {
	d := testDisks(t)["gpt"]
	image := smallImage(t, d)
	for _, stream := range []bool{false, true} {
		for _, workers := range []int{1, 8} {
			for _, after := range []int64{0, 1, 500 * kiB} {
				ctx, cancel := context.WithCancel(t.Context())
				dst := newRecorder(oldDisk(len(d.b)))
				opt := RestoreOptions{Workers: workers}
				var done counter
				opt.Progress = func(n int64) {
					if done.Add(n) >= after {
						cancel()
					}
				}
				if _, err := restoreBytes(ctx, image, stream, dst, opt); !errors.Is(err, context.Canceled) {
					t.Errorf("stream %v: got %v, want context.Canceled", stream, err)
				}
				if len(dst.ops) > 0 {
					noTable(t, d, dst.durable)
				}
				cancel()
			}
		}
	}
}

// A flush that fails is an error, and so is a byte that reads back wrong; both
// are found by every number of workers.
func TestRestoreSyncFails(t *testing.T) {
	d := testDisks(t)["gpt"]
	image := smallImage(t, d)
	before := oldDisk(len(d.b))
	dst := newRecorder(before)
	mustRestore(t, image, false, dst, RestoreOptions{})
	last := len(dst.ops)
	for step, kind := range []string{2: "sync", 5: "write", 6: "zero", 7: "drop", 8: "discard"} {
		for n := 0; kind != "" && n <= last; n += step - 1 {
			dst.reset(before)
			dst.failAt, dst.failOn = n, kind
			_, err := restoreBytes(t.Context(), image, n%2 == 0, dst, RestoreOptions{Workers: 1 + n%3*4, Discard: true})
			failed := slices.ContainsFunc(dst.ops[min(n, len(dst.ops)):], func(o op) bool { return o.kind == kind })
			if failed != (err != nil) || err != nil && !errors.Is(err, errKilled) {
				t.Errorf("%s fails from operation %d on: got %v", kind, n, err)
			}
		}
	}
}

func TestRestoreReadsBack(t *testing.T) {
	for name, d := range testDisks(t) {
		image := smallImage(t, d)
		for _, tt := range []struct {
			at     int64
			opt    RestoreOptions
			refuse bool
		}{
			{0, RestoreOptions{}, true},
			{1000, RestoreOptions{}, true},
			{d.layout.Used[len(d.layout.Used)-1].End() - 1, RestoreOptions{}, true},
			{d.layout.Used.Within(partition.Extent{Start: vitalSize, Length: miB})[0].Start, RestoreOptions{}, false},
			{d.layout.Used.Within(partition.Extent{Start: vitalSize, Length: miB})[0].Start, RestoreOptions{Verify: true}, true},
		} {
			dst := newRecorder(garbage(len(d.b)))
			dst.lie = tt.at
			_, err := restoreBytes(t.Context(), image, false, dst, tt.opt)
			if refused := err != nil; refused != tt.refuse {
				t.Errorf("%s: byte %d reads back wrong, verify %v: got %v", name, tt.at, tt.opt.Verify, err)
			}
			if tt.opt.Verify && !isZero(dst.durable[:4096]) {
				t.Errorf("%s: what did not pass verify looks like a good disk", name)
			}
		}
	}
}

// A shortTarget writes less than it should, or reads less.
type shortTarget struct {
	*recorder
	readTo int64
}

func (s *shortTarget) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > s.readTo {
		return 0, errKilled
	}
	return s.recorder.ReadAt(p, off)
}

// A target that cannot be read again is an error.
func TestRestoreCannotReadBack(t *testing.T) {
	for name, d := range testDisks(t) {
		dst := &shortTarget{newRecorder(garbage(len(d.b))), 100}
		for _, opt := range []RestoreOptions{{}, {Delta: true}, {Verify: true}} {
			if _, err := restoreBytes(t.Context(), smallImage(t, d), false, dst, opt); err == nil {
				t.Errorf("%s: delta %v: no error", name, opt.Delta)
			}
		}
	}
}

// Progress adds up to the bytes in use, and a second time for Verify.
func TestRestoreProgress(t *testing.T) {
	for name, d := range testDisks(t) {
		var done counter
		var stages []string
		opt := RestoreOptions{Verify: true, Progress: func(n int64) { done.Add(n) }}
		opt.Stage = func(stage string, total int64) {
			stages = append(stages, fmt.Sprint(stage, total, done.Load()))
		}
		stats := mustRestore(t, smallImage(t, d), false, &memory{garbage(len(d.b))}, opt)
		used := d.layout.Used.Size()
		if want := fmt.Sprint("verify", used, used); len(stages) != 1 || stages[0] != want || done.Load() != 2*used {
			t.Errorf("%s: stages %q and %d bytes at the end, want %q and %d", name, stages, done.Load(), want, 2*used)
		}
		if im := openBytes(t, smallImage(t, d)); stats.Chunks != im.ChunkCount() || stats.Kept != 0 || stats.Moved {
			t.Errorf("%s: %+v", name, stats)
		}
	}
}

// Discard never touches what is in use or vital, and frees the rest.
func TestDiscard(t *testing.T) {
	for name, d := range testDisks(t) {
		for _, size := range []int{len(d.b), len(d.b) + 3*miB + 512} {
			dst := newRecorder(garbage(size))
			mustRestore(t, smallImage(t, d), false, dst, RestoreOptions{Discard: true, Verify: true})
			var freed partition.Extents
			for _, o := range dst.ops {
				if o.kind == "discard" {
					freed = freed.Union(partition.Extents{o.Extent})
				}
			}
			for _, f := range freed {
				if d.layout.Used.Touches(f) || f.Start < vitalSize || f.End() > int64(size)-vitalSize {
					t.Errorf("%s: %v was discarded, which is in use or vital", name, f)
				}
				if f.Start%4096 != 0 || f.Length%4096 != 0 {
					t.Errorf("%s: %v is not aligned", name, f)
				}
			}
			middle := partition.Extent{Start: vitalSize, Length: int64(size) - 2*vitalSize}
			if free := partition.Extents(d.layout.Used.Gaps(middle)).Size(); freed.Size() < free-8192*int64(len(d.layout.Used)+1) {
				t.Errorf("%s: %d bytes were discarded of %d that are free", name, freed.Size(), free)
			}
		}
	}
}

// A hint that a device does not take is no error.
func TestDiscardUnsupported(t *testing.T) {
	d := testDisks(t)["gpt"]
	dst := &noDiscard{newRecorder(garbage(len(d.b)))}
	mustRestore(t, smallImage(t, d), false, dst, RestoreOptions{Discard: true})
	mustRestore(t, smallImage(t, d), false, &memory{garbage(len(d.b))}, RestoreOptions{Discard: true})
}

type noDiscard struct{ *recorder }

func (noDiscard) Discard(int64, int64) error {
	return fmt.Errorf("discarding: %w", errors.ErrUnsupported)
}

// A stream whose chunks did not all come cannot be finished.
func TestFinishWithoutChunks(t *testing.T) {
	d := testDisks(t)["gpt"]
	im := openBytes(t, smallImage(t, d))
	dst := newRecorder(oldDisk(len(d.b)))
	r, err := NewRestorer(&im.Manifest, dst, RestoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var bad *ChunkError
	if _, err := r.Finish(t.Context()); !errors.As(err, &bad) || !strings.Contains(err.Error(), "did not come") {
		t.Errorf("got %v", err)
	}
	if len(dst.ops) > 0 {
		t.Errorf("%v was done", dst.ops)
	}
}
