package image

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"slipcast/partition"
)

const (
	kiB = 1 << 10
	miB = 1 << 20
)

// smallChunk is the smallest chunk size: small disks have many chunks of it.
const smallChunk = 256 * kiB

// A memory is a target and a source in memory.
type memory struct{ b []byte }

func (m *memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, off) }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m.b)) {
		return 0, io.ErrShortWrite
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) Size() int64 { return int64(len(m.b)) }
func (m *memory) Sync() error { return nil }

// An op is something that was done to a recorder.
type op struct {
	kind string // "write", "zero", "discard", "sync", "drop"
	partition.Extent
}

// errKilled is what a recorder says from the moment on that it was told.
var errKilled = errors.New("killed")

// A recorder is a disk with a cache: what was not flushed may be lost. It
// writes down what is done to it, and can fail from the n-th operation on.
type recorder struct {
	mu      sync.Mutex
	cache   []byte             // what reads see
	durable []byte             // what has been flushed
	pending []partition.Extent // written since
	ops     []op
	failAt  int    // number of the first operation that fails; -1 for none
	failOn  string // only operations of this kind fail, and only once
	lie     int64  // a byte at this offset reads wrong behind the first DropCache; -1 for none
}

func newRecorder(b []byte) *recorder {
	r := &recorder{}
	r.reset(b)
	return r
}

// reset makes r a new recorder, with the memory of the old one.
func (r *recorder) reset(b []byte) {
	*r = recorder{cache: append(r.cache[:0], b...), durable: append(r.durable[:0], b...), ops: r.ops[:0], failAt: -1, lie: -1}
}

// do notes an operation and tells whether it fails.
func (r *recorder) do(kind string, at, length int64) error {
	r.ops = append(r.ops, op{kind, partition.Extent{Start: at, Length: length}})
	if r.failAt >= 0 && len(r.ops) > r.failAt && (r.failOn == "" || r.failOn == kind) {
		return errKilled
	}
	return nil
}

func (r *recorder) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.NewReader(r.cache).ReadAt(p, off)
}

func (r *recorder) WriteAt(p []byte, off int64) (int, error) {
	return len(p), r.write("write", p, off)
}

func (r *recorder) Zero(off, length int64) error { return r.write("zero", make([]byte, length), off) }

// Discard fills the range with junk, as a device may.
func (r *recorder) Discard(off, length int64) error {
	return r.write("discard", bytes.Repeat([]byte{0xdd}, int(length)), off)
}

func (r *recorder) write(kind string, p []byte, off int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.do(kind, off, int64(len(p))); err != nil {
		return err
	}
	if off < 0 || off+int64(len(p)) > int64(len(r.cache)) {
		return io.ErrShortWrite
	}
	copy(r.cache[off:], p)
	r.pending = append(r.pending, partition.Extent{Start: off, Length: int64(len(p))})
	return nil
}

func (r *recorder) Size() int64 { return int64(len(r.cache)) }

func (r *recorder) Sync() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.do("sync", 0, 0); err != nil {
		return err
	}
	for _, e := range r.pending {
		copy(r.durable[e.Start:e.End()], r.cache[e.Start:])
	}
	r.pending = nil
	return nil
}

func (r *recorder) DropCache() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.do("drop", 0, 0); err != nil {
		return err
	}
	if r.lie >= 0 {
		r.cache[r.lie] ^= 1
		r.lie = -1
	}
	return nil
}

// afterPowerCut returns what is on the disk when the power fails now: what
// was flushed, and of the writes since then those that chosen picks, the last
// of them maybe in part.
func (r *recorder) afterPowerCut(chosen func(i int) bool, torn bool) *memory {
	b := slices.Clone(r.durable)
	for i, e := range r.pending {
		if !chosen(i) {
			continue
		}
		if torn && i == len(r.pending)-1 {
			e.Length = e.Length / 2 / 512 * 512
		}
		copy(b[e.Start:e.End()], r.cache[e.Start:])
	}
	return &memory{b}
}

// written returns how many bytes were written.
func (r *recorder) written() int64 {
	var n int64
	for _, o := range r.ops {
		if o.kind == "write" || o.kind == "zero" {
			n += o.Length
		}
	}
	return n
}

// randomDisk returns size bytes of which about half compress.
func randomDisk(size int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		end := min(i+4096, size)
		switch rng.IntN(3) {
		case 0:
			fill(p[i:end], rng)
		case 1:
			copy(p[i:end], bytes.Repeat([]byte{byte(rng.Uint32()), 7, 9}, 1366))
		}
	}
	return p
}

// fill fills p with random bytes.
func fill(p []byte, rng *rand.Rand) {
	var word [8]byte
	for len(p) > 0 {
		binary.LittleEndian.PutUint64(word[:], rng.Uint64())
		p = p[copy(p, word[:]):]
	}
}

// garbage returns size bytes, none of them zero.
func garbage(size int) []byte {
	pattern := make([]byte, 65537)
	rng := rand.New(rand.NewPCG(99, 0))
	for i := range pattern {
		pattern[i] = byte(1 + rng.IntN(255))
	}
	p := make([]byte, 0, size+len(pattern))
	for len(p) < size {
		p = append(p, pattern...)
	}
	return p[:size]
}

// layoutOf returns the layout of a disk without a table.
func layoutOf(size int64, used partition.Extents) *Layout {
	return &Layout{
		Size: size, LogicalSector: 512, PhysicalSector: 512,
		Table:   Table{Kind: partition.None},
		Volumes: []Volume{{Size: size, Span: min(size, used.End())}},
		Used:    used,
	}
}

// masked returns a copy of disk with zeros outside of used.
func masked(disk []byte, used partition.Extents) []byte {
	p := bytes.Clone(disk)
	clearUnused(p, 0, used)
	return p
}

func captureBytes(t testing.TB, disk []byte, l *Layout, opt CaptureOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, _, err := Capture(context.Background(), &out, bytes.NewReader(disk), l, opt); err != nil {
		t.Fatalf("Capture: %v", err)
	}
	return out.Bytes()
}

func openBytes(t testing.TB, p []byte) *Image {
	t.Helper()
	im, err := Open(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return im
}

// restoreBytes restores an image onto dst, as a file or as a stream.
func restoreBytes(ctx context.Context, p []byte, stream bool, dst Target, opt RestoreOptions) (RestoreStats, error) {
	if stream {
		s, err := OpenStream(bytes.NewReader(p))
		if err != nil {
			return RestoreStats{}, err
		}
		return RestoreStream(ctx, s, dst, opt)
	}
	im, err := Open(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		return RestoreStats{}, err
	}
	return Restore(ctx, im, dst, opt)
}

func mustRestore(t testing.TB, p []byte, stream bool, dst Target, opt RestoreOptions) RestoreStats {
	t.Helper()
	stats, err := restoreBytes(context.Background(), p, stream, dst, opt)
	if err != nil {
		t.Fatalf("restoring (stream %v): %v", stream, err)
	}
	return stats
}

// isDamage reports whether err says that the image is damaged or none.
func isDamage(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotImage)
}

// sameUsed fails the test if the bytes in use differ.
func sameUsed(t testing.TB, what string, got, want []byte, used partition.Extents) {
	t.Helper()
	for _, u := range used {
		if bytes.Equal(got[u.Start:u.End()], want[u.Start:u.End()]) {
			continue
		}
		for i := u.Start; i < u.End(); i++ {
			if got[i] != want[i] {
				t.Errorf("%s: byte %d of %v is %#x, want %#x", what, i, u, got[i], want[i])
				return
			}
		}
	}
}

// A counter adds up what Progress tells.
type counter struct{ atomic.Int64 }
