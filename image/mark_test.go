package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

func vectorMark(t *testing.T) {
	im := openBytes(t, vector(t, "the image of the 23 bytes"))
	want := vector(t, "the mark of a restore of the image in section 15")
	want = append(want, make([]byte, markSize-len(want))...)
	sameBytes(t, "mark", newMark(im.Digest).data, want)
	if !im.CutShort(&memory{append(make([]byte, markAt), want...)}) {
		t.Error("it is not found on a target")
	}
}

// markOf returns the mark of an image.
func markOf(t testing.TB, image []byte) []byte {
	t.Helper()
	return newMark(openBytes(t, image).Digest).data
}

// halfDisk returns a target on which a restore was cut short when two thirds of
// the bytes were written, the last of them in part.
func halfDisk(t testing.TB, d testDisk, opt RestoreOptions, before []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var done counter
	opt.Resume, opt.Workers = true, 1
	opt.Progress = func(n int64) {
		if done.Add(n) >= d.layout.Used.Size()*2/3 {
			cancel()
		}
	}
	dst := newRecorder(before)
	if _, err := restoreBytes(ctx, d.image, false, dst, opt); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want it cancelled", err)
	}
	b := dst.afterPowerCut(func(int) bool { return true }, true).b
	if got := b[markAt : markAt+markSize]; !bytes.Equal(got, markOf(t, d.image)) {
		t.Fatalf("cut short, the mark is %x", got[:56])
	}
	if !isZero(b[:markAt]) || !isZero(b[markAt+markSize:vitalSize]) {
		t.Error("cut short, there is more than the mark in the first MiB")
	}
	return b
}

// imagedDisks returns a disk of each kind, with its image.
func imagedDisks(t testing.TB) map[string]testDisk {
	t.Helper()
	disks := testDisks(t)
	for name, d := range disks {
		d.image = smallImage(t, d)
		disks[name] = d
	}
	return disks
}

// A restore that was cut short is resumed: what is right on the target is
// neither asked for nor written, and the result is the disk.
func TestResume(t *testing.T) {
	for name, d := range imagedDisks(t) {
		half := halfDisk(t, d, RestoreOptions{}, garbage(len(d.b)))
		var want []int // what is lacking
		var wantBytes int64
		all := partition.Extent{Length: int64(len(d.b))}
		for f := range openBytes(t, d.image).Chunks(all) {
			right := !vitalChunk(f, all.Length, true)
			for _, u := range d.layout.Used.Within(f.Extent) {
				right = right && bytes.Equal(half[u.Start:u.End()], d.b[u.Start:u.End()])
			}
			if !right {
				want = append(want, f.Chunk)
				wantBytes += f.Length
			}
		}
		dst := newRecorder(half)
		r := newReceiver(t, d.image, dst, RestoreOptions{Resume: true, Workers: 3})
		if err := r.Compare(t.Context()); err != nil || !r.Resumed() {
			t.Fatalf("%s: resumed %v, %v", name, r.Resumed(), err)
		}
		if got := r.lacking(); !slices.Equal(got, want) || len(want) == r.im.ChunkCount() {
			t.Errorf("%s: %v of %d are lacking, want %v", name, got, r.im.ChunkCount(), want)
		}
		r.putAll(t, want)
		stats, err := r.Finish(t.Context())
		if err != nil || stats.Kept != r.im.ChunkCount()-len(want) {
			t.Errorf("%s: %+v, %v, want %d kept", name, stats, err, r.im.ChunkCount()-len(want))
		}
		if most := wantBytes + 4*vitalSize + signSize + miB; dst.written() > most {
			t.Errorf("%s: %d bytes were written, want at most %d", name, dst.written(), most)
		}
		restored(t, name, d, dst.durable)

		again := newRecorder(half)
		stats = mustRestore(t, d.image, false, again, RestoreOptions{Resume: true, Verify: true})
		if stats.Kept == 0 {
			t.Errorf("%s: Restore keeps nothing", name)
		}
		restored(t, name+", Restore", d, again.durable)
	}
}

// restored checks that b is the disk, and has no mark.
func restored(t testing.TB, what string, d testDisk, b []byte) {
	t.Helper()
	sameUsed(t, what, b, d.b, d.layout.Used)
	if want := d.want()[:vitalSize]; !bytes.Equal(b[:vitalSize], want) {
		t.Errorf("%s: the first MiB is not that of the image", what)
	}
}

// A stream has no digest to mark a target with, and takes a mark for nothing.
func TestResumeStream(t *testing.T) {
	d := imagedDisks(t)["gpt"]
	dst := newRecorder(halfDisk(t, d, RestoreOptions{}, garbage(len(d.b))))
	if stats := mustRestore(t, d.image, true, dst, RestoreOptions{Resume: true}); stats.Kept > 0 {
		t.Errorf("%d chunks were kept", stats.Kept)
	}
	restored(t, "stream", d, dst.durable)
}

// Wherever the power fails, in a restore or in one that goes on with it, and
// whatever of the cache had reached the disk: no table is found before all
// else is there, and the mark is there once the wipe is, until all that
// Finish does not write is there.
func TestResumeKilled(t *testing.T) {
	for name, d := range imagedDisks(t) {
		old := oldDisk(len(d.b))
		half := halfDisk(t, d, RestoreOptions{}, old)
		for _, tt := range []struct {
			name   string
			before []byte
			opt    RestoreOptions
		}{
			{"first", old, RestoreOptions{}},
			{"blank", make([]byte, len(d.b)), RestoreOptions{Blank: true}},
			{"resumed delta", half, RestoreOptions{Delta: true, Discard: true}},
			{"forged", marked(t, d, old), RestoreOptions{}},
		} {
			t.Run(name+", "+tt.name, func(t *testing.T) {
				tt.opt.Resume, tt.opt.Workers = true, 1
				killEverywhere(t, d, tt.before, tt.opt)
			})
		}
	}
}

// marked returns b with the mark of the image of d.
func marked(t testing.TB, d testDisk, b []byte) []byte {
	b = bytes.Clone(b)
	copy(b[markAt:], markOf(t, d.image))
	return b
}

func killEverywhere(t *testing.T, d testDisk, before []byte, opt RestoreOptions) {
	t.Helper()
	dst := newRecorder(before)
	mustRestore(t, d.image, false, dst, opt)
	restored(t, "not killed", d, dst.durable)
	for n := range len(dst.ops) {
		dst.reset(before)
		dst.failAt = n
		if _, err := restoreBytes(t.Context(), d.image, false, dst, opt); !errors.Is(err, errKilled) {
			t.Fatalf("killed at operation %d: got %v", n, err)
		}
		checkRemains(t, d, dst, n)
		checkMark(t, d, dst, before, n)
		if n%5 != 0 {
			continue
		}
		again := newRecorder(dst.durable)
		opt := RestoreOptions{Resume: true, Verify: true}
		mustRestore(t, d.image, false, again, opt)
		restored(t, fmt.Sprintf("killed at operation %d", n), d, again.durable)
	}
}

// checkMark looks for the mark after a power cut at operation n.
func checkMark(t *testing.T, d testDisk, dst *recorder, before []byte, n int) {
	t.Helper()
	mark := markOf(t, d.image)
	bears := func(b []byte) bool { return bytes.Equal(b[markAt:markAt+markSize], mark) }
	flushed := 0
	for _, o := range dst.ops[:n] {
		if o.kind == "sync" {
			flushed++
		}
	}
	vital := partition.Extents{{Start: 0, Length: vitalSize}, {Start: dst.Size() - vitalSize, Length: vitalSize}}
	for i, chosen := range []func(i int) bool{
		func(int) bool { return false },
		func(int) bool { return true },
		func(i int) bool { return i%2 == 0 },
		func(i int) bool { return i%2 == 1 },
	} {
		b := dst.afterPowerCut(chosen, i == 1).b
		rest := true // all that Finish does not write
		for _, u := range d.dataOnlyOrAll(t).Minus(vital) {
			rest = rest && bytes.Equal(b[u.Start:u.End()], d.b[u.Start:u.End()])
		}
		if (bears(before) || flushed >= 2) && !rest && !bears(b) {
			t.Errorf("operation %d, choice %d: the mark is gone before all else is there", n, i)
		}
		if bears(b) && !bears(before) && !isZero(b[:signSize]) {
			t.Errorf("operation %d, choice %d: the mark is there before the old start is wiped", n, i)
		}
	}
}

// dataOnlyOrAll returns what is in use but for sectors of a table.
func (d testDisk) dataOnlyOrAll(t testing.TB) partition.Extents {
	if d.layout.Table.Kind == partition.None {
		return d.layout.Used
	}
	return d.dataOnly(t)
}

// A mark of another image, or one with a wrong byte, is none.
func TestResumeOtherMark(t *testing.T) {
	disks := imagedDisks(t)
	d := disks["gpt"]
	for _, other := range []string{"mbr", "none"} {
		dst := newRecorder(marked(t, disks[other], d.b))
		r := newReceiver(t, d.image, dst, RestoreOptions{Resume: true})
		if err := r.Compare(t.Context()); err != nil || r.Resumed() || len(r.lacking()) != r.im.ChunkCount() {
			t.Errorf("mark of %s: resumed %v, %d chunks of %d are lacking, %v", other, r.Resumed(), len(r.lacking()), r.im.ChunkCount(), err)
		}
		r.putAll(t, r.lacking())
		if _, err := r.Finish(t.Context()); err != nil {
			t.Error(err)
		}
		restored(t, "mark of "+other, d, dst.durable)
	}
	b := marked(t, d, garbage(vitalSize))
	im := openBytes(t, d.image)
	for i := range markSize {
		b[markAt+i] ^= 4
		if im.CutShort(&memory{b}) {
			t.Errorf("a mark whose byte %d is wrong is taken for one", i)
		}
		b[markAt+i] ^= 4
	}
	for _, size := range []int{0, markAt, markAt + 56, markAt + markSize - 1} {
		if im.CutShort(&memory{b[:size]}) {
			t.Errorf("on a target of %d bytes a mark is found", size)
		}
	}
}

// A forged mark costs the reading of the target, and no more: nothing is kept
// that is not right. On a disk that is right, all is kept but the vital
// bytes, and the mark is gone.
func TestResumeForged(t *testing.T) {
	for name, d := range imagedDisks(t) {
		for _, delta := range []bool{false, true} {
			opt := RestoreOptions{Resume: true, Delta: delta, Verify: true}
			dst := newRecorder(marked(t, d, garbage(len(d.b))))
			if stats := mustRestore(t, d.image, false, dst, opt); stats.Kept > 0 {
				t.Errorf("%s: %d chunks of garbage were kept", name, stats.Kept)
			}
			restored(t, name, d, dst.durable)

			dst = newRecorder(marked(t, d, d.b))
			if stats := mustRestore(t, d.image, false, dst, opt); stats.Kept == 0 || middle(dst) > 512 {
				t.Errorf("%s: %+v, %d bytes written outside of the vital ones", name, stats, middle(dst))
			}
			restored(t, name, d, dst.durable)
		}
	}
}

// Where nothing is in use in the first MiB, the last writes reach the mark all
// the same; with Blank and Delta, too, and where all else is there already. A
// target with a mark is not blank, whatever is said.
func TestResumeNothingVital(t *testing.T) {
	const size = 3 * miB
	d := testDisk{b: make([]byte, size), layout: layoutOf(size, partition.Extents{{Start: 1500 * kiB, Length: 200 * kiB}})}
	copy(d.b[1500*kiB:], garbage(64*kiB)) // and zeros behind
	d.image = smallImage(t, d)
	for name, before := range map[string][]byte{
		"blank": make([]byte, size), "garbage": garbage(size), "half": marked(t, d, garbage(size)), "whole": marked(t, d, d.b),
	} {
		for _, opt := range []RestoreOptions{{}, {Delta: true}, {Blank: true}} {
			if opt.Blank && name == "garbage" {
				continue
			}
			opt.Resume = true
			dst := newRecorder(before)
			mustRestore(t, d.image, false, dst, opt)
			restored(t, fmt.Sprintf("%s, delta %v, blank %v", name, opt.Delta, opt.Blank), d, dst.durable)
		}
	}
}

// A target below 12 KiB has no mark, one of 12 KiB has, and none keeps it: of
// disks and partitions.
func TestResumeTiny(t *testing.T) {
	for _, size := range []int64{1, 4096, 8192, 8193, markAt + markSize - 1, markAt + markSize, 20000} {
		d := testDisk{b: garbage(int(size)), layout: layoutOf(size, partition.Extents{{Start: 0, Length: size}})}
		d.image = smallImage(t, d)
		dst := newRecorder(bytes.Repeat([]byte{0xaa}, int(size)))
		mustRestore(t, d.image, false, dst, RestoreOptions{Resume: true})
		for n := range len(dst.ops) {
			dst.reset(bytes.Repeat([]byte{0xaa}, int(size)))
			dst.failAt = n
			if _, err := restoreBytes(t.Context(), d.image, false, dst, RestoreOptions{Resume: true}); !errors.Is(err, errKilled) {
				t.Fatalf("%d bytes, killed at operation %d: got %v", size, n, err)
			}
			bears := openBytes(t, d.image).CutShort(&memory{dst.durable})
			if want := size >= markAt+markSize && n >= 4 && n <= 6; bears != want {
				t.Errorf("%d bytes, killed at operation %d: mark %v, want %v", size, n, bears, want)
			}
			again := newRecorder(dst.durable)
			mustRestore(t, d.image, false, again, RestoreOptions{Resume: true})
			sameUsed(t, fmt.Sprintf("%d bytes", size), again.durable, d.b, d.layout.Used)
		}
	}
}

// A partition bears a mark as a disk does.
func TestResumePartition(t *testing.T) {
	d := imagedDisks(t)["gpt"]
	p := d.layout.Table.Partitions[1]
	want := testDisk{b: d.b[p.Start : p.Start+p.Size]}
	dst := newRecorder(garbage(int(p.Size)))
	opt := RestoreOptions{Resume: true, Partition: p.Number, Workers: 1}
	mustRestore(t, d.image, false, dst, opt)
	const wipe, end = 4, 4 // operations: before the mark is there, and behind its end
	last := len(dst.ops) - end
	for n := range len(dst.ops) {
		dst.reset(garbage(int(p.Size)))
		dst.failAt = n
		if _, err := restoreBytes(t.Context(), d.image, false, dst, opt); !errors.Is(err, errKilled) {
			t.Fatalf("killed at operation %d: got %v", n, err)
		}
		r := newReceiver(t, d.image, newRecorder(dst.durable), opt)
		if got, want := r.Resumed(), n >= wipe && n <= last; got != want {
			t.Errorf("killed at operation %d: resumed %v, want %v", n, got, want)
		}
		again := newRecorder(dst.durable)
		mustRestore(t, d.image, false, again, opt)
		used := d.layout.Used.Within(p.Extent()).Shift(-p.Start)
		sameUsed(t, "partition", again.durable, want.b, used)
		if !bytes.Equal(again.durable[:vitalSize], masked(want.b, used)[:vitalSize]) {
			t.Errorf("killed at operation %d: a mark remains", n)
		}
	}
}

// What did not pass Verify bears a mark, so that only what is wrong is put
// when it is tried again.
func TestResumeAfterVerify(t *testing.T) {
	d := imagedDisks(t)["gpt"]
	dst := newRecorder(garbage(len(d.b)))
	dst.lie = d.layout.Used.Within(partition.Extent{Start: vitalSize, Length: miB})[0].Start
	opt := RestoreOptions{Resume: true, Verify: true}
	if _, err := restoreBytes(t.Context(), d.image, false, dst, opt); err == nil {
		t.Fatal("a byte reads back wrong: no error")
	}
	noTable(t, d, dst.durable)
	r := newReceiver(t, d.image, dst, opt)
	if err := r.Compare(t.Context()); err != nil || !r.Resumed() {
		t.Errorf("resumed %v, %v", r.Resumed(), err)
	}
	for _, n := range r.lacking() {
		if f := r.im.Chunk(n); !vitalChunk(f, dst.Size(), true) && f.Intersect(partition.Extent{Start: dst.lie, Length: 1}).Length > 0 {
			t.Errorf("chunk %d is lacking", n)
		}
	}
	mustRestore(t, d.image, false, dst, opt)
	restored(t, "tried again", d, dst.durable)
}

// Places that cannot be read are lacking: a mark is no reason to refuse a
// target that can be written.
func TestResumeUnreadable(t *testing.T) {
	d := imagedDisks(t)["gpt"]
	half := halfDisk(t, d, RestoreOptions{}, garbage(len(d.b)))
	r := newReceiver(t, d.image, &shortTarget{newRecorder(half), 1200 * kiB}, RestoreOptions{Resume: true})
	if err := r.Compare(t.Context()); err != nil || !r.Resumed() || len(r.lacking()) != r.im.ChunkCount() {
		t.Errorf("resumed %v, %d of %d are lacking, %v", r.Resumed(), len(r.lacking()), r.im.ChunkCount(), err)
	}
	r = newReceiver(t, d.image, &shortTarget{newRecorder(half), 1200 * kiB}, RestoreOptions{Resume: true, Delta: true})
	if err := r.Compare(t.Context()); !errors.Is(err, errKilled) {
		t.Errorf("with Delta: %v, want %v", err, errKilled)
	}
}

// Other programs see nothing on a target with a mark.
func TestMarkIsNoSignature(t *testing.T) {
	lab.Tools(t, "wipefs", "blkid")
	d := imagedDisks(t)["gpt"]
	file := filepath.Join(t.TempDir(), "half.raw")
	if err := os.WriteFile(file, marked(t, d, make([]byte, 8*miB)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lab.Run(t, "wipefs", "--no-act", file); got != "" {
		t.Errorf("wipefs finds %q", got)
	}
	const nothing = 2 // blkid(8), RETURN CODE
	out, err := exec.Command("blkid", "--probe", file).Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != nothing || len(out) > 0 {
		t.Errorf("blkid finds %q, %v", out, err)
	}
}

func TestHalf(t *testing.T) {
	mark := string(newMark(Digest{1}).data)
	other := []byte(mark)
	other[20] ^= 1
	tests := []struct {
		name, target string
		want         bool
	}{
		{"all zeros", strings.Repeat("\x00", 1<<16), true},
		{"start wiped", strings.Repeat("\x00", 4096) + strings.Repeat("x", 1<<16), true},
		{"whole", strings.Repeat("x", 1<<16), false},
		{"mark", strings.Repeat("x", 8192) + mark, true},
		{"damaged mark", strings.Repeat("x", 8192) + string(other), false},
		{"too short for a mark", strings.Repeat("x", 8192), false},
		{"unreadable", "", false},
	}
	for _, tt := range tests {
		if got := Half(strings.NewReader(tt.target)); got != tt.want {
			t.Errorf("%s: Half() = %v, want %v", tt.name, got, tt.want)
		}
	}
}
