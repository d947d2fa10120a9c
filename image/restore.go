package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"slipcast/partition"
)

// RestoreOptions say how an image becomes a disk. The zero value is the
// default.
type RestoreOptions struct {
	// Partition restores one partition of the image of a disk; the target is
	// a partition then. 0 restores all of the image.
	Partition int

	// Delta reads the target and writes only what differs.
	Delta bool

	// Blank says that the target holds nothing but zeros, as a new file does.
	Blank bool

	// Resume marks the target, so that a restore that is cut short can go on:
	// if the target bears the mark of this very image, what it holds is
	// compared, as with Delta, and only what is lacking is written. The mark
	// is a hint; what is kept has been read, and has the right digest. A
	// stream, which knows its digest only at its end, is not resumed.
	Resume bool

	// Discard tells the target which of its bytes are free.
	Discard bool

	// Verify reads everything again at the end, past the cache.
	Verify bool

	// Grow extends the last partition to the end of a larger target. The
	// file system in it is the caller's business.
	Grow bool

	// TargetSector is the target's logical sector size in bytes, 0 for a
	// file, which has none.
	TargetSector int

	// Workers is how many chunks are worked on side by side; 0 is one for
	// each processor.
	Workers int

	// Progress is told how many of the bytes in use have been dealt with
	// since the last call. It may be called from several goroutines.
	Progress func(bytes int64)

	// Stage is told when something else than writing starts that takes its
	// time, "compare" or "verify", with the bytes that it will report to
	// Progress.
	Stage func(name string, total int64)
}

// RestoreStats tell what a restore did.
type RestoreStats struct {
	Chunks  int   // data chunks that were dealt with
	Kept    int   // of these, how many the target held already
	Written int64 // bytes, the wiped ones included

	Moved bool                 // the table was adapted to a target of another size
	Grown *partition.Partition // the partition that was extended, or nil
	Cut   *partition.Partition // the partition that was made smaller, or nil
}

// A TooSmallError reports a target that does not hold what is in use.
type TooSmallError struct {
	Need, Have int64 // bytes
}

func (e *TooSmallError) Error() string {
	return fmt.Sprintf("it has %d bytes, what is in use needs %d", e.Have, e.Need)
}

// ErrSectorSize reports a target whose sectors do not fit the image.
var ErrSectorSize = errors.New("sector sizes do not fit")

// A Restorer writes the chunks of one image to a target, in any order: those
// that come are put, and Finish follows the last one. With Delta, Compare may
// find out before that which of them need not come. Its methods are safe for
// concurrent use, except Finish, which comes last.
type Restorer struct {
	m       *Manifest
	opt     RestoreOptions
	canvas  *canvas
	window  partition.Extent // what is restored of the disk
	known   bool             // the digests are known before the chunks
	resumed bool             // the target bears the mark of a restore that was cut short
	pool    chan *hand

	place *partition.Placement // of the table, if it could be read at the start
	table *partition.Table
	view  io.ReaderAt // the target as the image has it: its table not moved, zeros behind its end

	seen  [][quickSize]byte // of the chunks that were put, if their digests are not known before
	state []atomic.Uint32   // by data chunk: chunkLacking, chunkComing, chunkThere
	kept  atomic.Int64

	mu    sync.Mutex
	edges map[int][quickSize]byte // of chunks that the window cuts, as far as they lie in it
}

// A hand holds what one worker needs. At most Workers of them exist.
type hand struct {
	u      *unpacker
	packed []byte
	raw    []byte
	have   []byte // a chunk as the target has it
}

// NewRestorer prepares to restore the image that m describes to dst, and
// checks that it fits. The digests in m must be known, or be filled in by
// [Stream.Finish] before Finish is called. Nothing is written yet.
func NewRestorer(m *Manifest, dst Target, opt RestoreOptions) (*Restorer, error) {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Progress == nil {
		opt.Progress = func(int64) {}
	}
	if opt.Stage == nil {
		opt.Stage = func(string, int64) {}
	}
	r := &Restorer{m: m, opt: opt, window: m.all(), known: m.quick != nil, view: &overlay{r: dst, size: dst.Size()}, edges: map[int][quickSize]byte{}}
	if err := m.CheckFit(dst.Size(), opt); err != nil {
		return nil, err
	}
	if opt.Partition != 0 {
		r.window = m.Table.Partition(opt.Partition).Extent()
	}
	if !r.known {
		r.seen = make([][quickSize]byte, m.ChunkCount())
	}
	r.state = make([]atomic.Uint32, m.ChunkCount())
	r.canvas = newCanvas(dst, opt.Partition == 0)
	r.canvas.blank, r.canvas.delta = opt.Blank, opt.Delta
	if r.canvas.used, r.canvas.offset = m.Used, r.window.Start; m.Used == nil {
		r.canvas.used = partition.Extents{} // nothing, not all
	}
	if opt.Resume {
		r.resume()
	}
	if opt.Discard {
		r.canvas.unused = func() error { return r.canvas.discard(r.free()) }
	}
	return r, r.hire()
}

// hire makes the workers' hands.
func (r *Restorer) hire() error {
	r.pool = make(chan *hand, r.opt.Workers)
	for range r.opt.Workers {
		u, err := newUnpacker(r.m.ChunkSize, !r.known)
		if err != nil {
			return err
		}
		h := &hand{u: u, raw: make([]byte, r.m.ChunkSize)}
		if r.compares() || r.opt.Verify {
			h.have = make([]byte, r.m.ChunkSize)
		}
		r.pool <- h
	}
	return nil
}

// Close frees what the Restorer holds. No method may be running.
func (r *Restorer) Close() {
	for range r.opt.Workers {
		h := <-r.pool
		h.u.close()
	}
}

// hasTable tells whether a partition table is restored.
func (r *Restorer) hasTable() bool {
	return r.opt.Partition == 0 && r.m.Table.Kind != partition.None
}

// CheckFit checks by the head alone that what opt asks for is in the image, and
// that it fits onto a target of size bytes. It returns a [TooSmallError], an
// error that wraps [ErrSectorSize], or one that says what is missing.
func (m *Manifest) CheckFit(size int64, opt RestoreOptions) error {
	if p := m.Table.Partition(opt.Partition); opt.Partition != 0 && (p == nil || p.Extended) {
		return fmt.Errorf("the image holds no partition %d", opt.Partition)
	}
	if need := m.MinSize(opt.Partition); size < need {
		return &TooSmallError{Need: need, Have: size}
	}
	table := opt.Partition == 0 && m.Table.Kind != partition.None
	if s := opt.TargetSector; s != 0 && (s > m.LogicalSector || table && s != m.LogicalSector) {
		return fmt.Errorf("%w: the image is of a disk with sectors of %d bytes, the target has %d",
			ErrSectorSize, m.LogicalSector, s)
	}
	return nil
}

// MinSize returns the bytes of the smallest target that holds all that is in
// use of a partition of the image, or for number 0 of the image as a whole.
func (m *Manifest) MinSize(number int) int64 {
	if number != 0 || m.Table.Kind == partition.None {
		return m.volumeNeed(number)
	}
	var need int64
	for _, p := range m.Table.Partitions {
		if !p.Extended {
			need = max(need, p.Start+m.volumeNeed(p.Number))
		}
	}
	if m.Table.Kind == partition.GPT {
		const entries = 128 * 128 // bytes of the smallest entry array, UEFI 2.10 section 5.3.1
		need += entries + int64(m.LogicalSector)
	}
	return min(max(need, m.looseEnd()), m.Size)
}

// looseEnd returns the end of what is in use outside of partitions. Of a GPT
// the last vital bytes do not count: its backup is there, which moves.
func (m *Manifest) looseEnd() int64 {
	disk := m.all()
	if m.Table.Kind == partition.GPT {
		disk.Length = max(disk.Length-vitalSize, 0)
	}
	var parts []partition.Extent
	for _, p := range m.Table.Partitions {
		if !p.Extended {
			parts = append(parts, p.Extent())
		}
	}
	for _, gap := range slices.Backward(partition.Normalize(parts).Gaps(disk)) {
		if used := m.Used.Within(gap); len(used) > 0 {
			return used.End()
		}
	}
	return 0
}

// volumeNeed returns how many bytes of a volume, from its start, a smaller
// target must hold.
func (m *Manifest) volumeNeed(number int) int64 {
	v := m.Volume(number)
	switch {
	case v == nil && number == 0:
		return m.Size
	case v == nil:
		return m.Table.Partition(number).Size
	case v.Whole:
		return v.Size
	}
	used := m.Used.Within(v.Extent()).End() - v.Start
	return max(v.Span, used)
}

// needs returns for Place how much of each partition must remain.
func (m *Manifest) needs() map[int]int64 {
	need := map[int]int64{}
	for _, p := range m.Table.Partitions {
		if !p.Extended {
			need[p.Number] = m.volumeNeed(p.Number)
		}
	}
	return need
}

// free returns the bytes of the target that hold nothing of the image.
func (r *Restorer) free() partition.Extents {
	used := r.m.Used.Within(r.window).Shift(-r.window.Start)
	return used.Gaps(partition.Extent{Length: r.canvas.Size()})
}

// ReadTable reads the partition table from the data in disk, and finds its
// place on the target, so that it is known before the first write that it
// fits. A stream does without: its table is found by Finish.
func (r *Restorer) ReadTable(disk io.ReaderAt) error {
	if !r.hasTable() {
		return nil
	}
	var err error
	if r.table, err = r.m.readTable(disk); err != nil {
		return err
	}
	if err := r.placeTable(); err != nil {
		return err
	}
	if err := r.checkLost(); err != nil {
		return err
	}
	pieces, err := readPieces(disk, r.table.Sectors())
	r.view = &overlay{r.canvas.Target, r.canvas.Size(), pieces}
	return err
}

// checkLost refuses to lose bytes behind the end of a smaller target that are
// in use and not the table's. CheckFit has seen to those of partitions.
func (r *Restorer) checkLost() error {
	size := r.canvas.Size()
	behind := partition.Extent{Start: size, Length: r.m.Size - size}
	lost := r.m.Used.Within(behind).Minus(r.table.Sectors())
	if len(lost) > 0 {
		return &TooSmallError{Need: lost.End(), Have: size}
	}
	return nil
}

// placeTable finds the sectors that put the table onto the target.
func (r *Restorer) placeTable() error {
	var err error
	r.place, err = r.table.Place(partition.PlaceOptions{Size: r.canvas.Size(), Grow: r.opt.Grow, Need: r.m.needs()})
	var small *partition.TooSmallError
	if errors.As(err, &small) {
		return &TooSmallError{Need: small.Min, Have: small.Size}
	}
	return err
}

// PutChunk checks the frame of a data chunk and writes the chunk to its place
// on the target. Nothing is written if the frame is damaged. A chunk that is
// there already, or that another call is putting, is passed over.
func (r *Restorer) PutChunk(ctx context.Context, f Frame, frame []byte) error {
	if r.state[f.Chunk].Load() != chunkLacking {
		return nil
	}
	h, err := r.take(ctx)
	if err != nil {
		return err
	}
	defer r.give(h)
	return r.put(h, f, frame)
}

func (r *Restorer) take(ctx context.Context) (*hand, error) {
	select {
	case h := <-r.pool:
		return h, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *Restorer) give(h *hand) { r.pool <- h }

// put unpacks, checks and writes a chunk.
func (r *Restorer) put(h *hand, f Frame, frame []byte) error {
	raw, quick, err := h.u.decode(frame, f.Length, h.raw)
	if err == nil && r.known && quick != r.m.quick[f.Chunk] {
		err = ErrDigest
	}
	if err != nil {
		return &ChunkError{f.Chunk, f.Start, err}
	}
	state := &r.state[f.Chunk]
	if !state.CompareAndSwap(chunkLacking, chunkComing) {
		return nil
	}
	if !r.known {
		r.seen[f.Chunk] = quick
	}
	if err := r.write(f, raw); err != nil {
		state.Store(chunkLacking)
		return err
	}
	state.Store(chunkThere)
	r.progress(f)
	return nil
}

// write writes what lies in the window of the chunk of f, whose bytes are raw.
func (r *Restorer) write(f Frame, raw []byte) error {
	part := f.Intersect(r.window)
	r.noteEdge(f, raw[part.Start-f.Start:part.End()-f.Start])
	for span := range spans(r.m.Used, part) {
		at := span.Start - f.Start
		if err := r.canvas.put(raw[at:at+span.Length], span.Start-r.window.Start); err != nil {
			return err
		}
	}
	return nil
}

// noteEdge remembers what verify needs of a chunk that the window cuts.
func (r *Restorer) noteEdge(f Frame, part []byte) {
	if int64(len(part)) == f.Length || !r.opt.Verify {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edges[f.Chunk] = quickSum(part)
}

// progress tells that the chunk of f was dealt with.
func (r *Restorer) progress(f Frame) { r.opt.Progress(r.m.UsedIn(f.Intersect(r.window))) }

// Finish writes what was kept back and makes sure that all is on the target.
// Until it returns nil, the target is not restored.
func (r *Restorer) Finish(ctx context.Context) (RestoreStats, error) {
	stats := RestoreStats{Kept: int(r.kept.Load())}
	for f := range r.m.Chunks(r.window) {
		if r.state[f.Chunk].Load() != chunkThere {
			return stats, &ChunkError{f.Chunk, f.Start, errors.New("it did not come")}
		}
		stats.Chunks++
	}
	if err := r.compareSeen(); err != nil {
		return stats, err
	}
	if err := ctx.Err(); err != nil {
		return stats, err
	}
	err := r.finishTable(&stats)
	stats.Written = r.canvas.written.Load()
	if err == nil && r.opt.Verify {
		if err = r.verify(ctx); err != nil && ctx.Err() == nil {
			err = errors.Join(err, r.canvas.wipeVital()) // it must not look like a good disk
		}
	}
	return stats, err
}

// compareSeen compares the digests of the chunks of a stream with those that
// its end has told.
func (r *Restorer) compareSeen() error {
	if r.known {
		return nil
	}
	for f := range r.m.Chunks(r.window) {
		if r.seen[f.Chunk] != r.m.quick[f.Chunk] {
			return &ChunkError{f.Chunk, f.Start, ErrDigest}
		}
	}
	return nil
}

// finishTable writes the vital bytes, the table among them.
func (r *Restorer) finishTable(stats *RestoreStats) error {
	if !r.hasTable() {
		return r.canvas.finish(nil, nil)
	}
	if r.place == nil {
		if err := r.ReadTable(r.canvas.content()); err != nil {
			return err
		}
	}
	if err := r.canvas.finish(r.place.Writes, r.table.Sectors()); err != nil {
		return err
	}
	again, err := partition.Read(r.canvas.Target, r.canvas.Size(), r.m.LogicalSector)
	if err != nil {
		return fmt.Errorf("reading the partition table again: %w", err)
	}
	want := r.place.Table
	if !sameTable(Table{again.Kind, again.ID, again.Partitions}, Table{want.Kind, want.ID, want.Partitions}) {
		return errors.New("reading the partition table again: it is not what was written")
	}
	stats.Moved = r.canvas.Size() != r.m.Size
	stats.Grown, stats.Cut = r.place.Grown, r.place.Cut
	return nil
}

// verify reads all chunks from the target and checks their digests.
func (r *Restorer) verify(ctx context.Context) error {
	r.opt.Stage("verify", r.m.UsedIn(r.window))
	if d, ok := r.canvas.Target.(cacheDropper); ok {
		if err := d.DropCache(); err != nil {
			return fmt.Errorf("verifying: %w", err)
		}
	}
	return r.each(ctx, func(h *hand, f Frame) error {
		same, err := r.same(h, f)
		if err == nil && !same {
			err = &ChunkError{f.Chunk, f.Start, errors.New("the target does not hold what was written")}
		}
		r.progress(f)
		return err
	})
}

// each calls do for every data chunk in the window, side by side.
func (r *Restorer) each(ctx context.Context, do func(h *hand, f Frame) error) error {
	return sideBySide(ctx, r.opt.Workers, r.m.Chunks(r.window), func(f Frame) error {
		h, err := r.take(ctx)
		if err != nil {
			return err
		}
		defer r.give(h)
		return do(h, f)
	})
}
