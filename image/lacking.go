package image

import (
	"context"
	"fmt"
	"io"

	"slipcast/partition"
)

// States of a data chunk in a Restorer. The first to claim a chunk that is
// lacking puts it; one that cannot be written is lacking again.
const (
	chunkLacking = iota
	chunkComing  // it is being written
	chunkThere   // it is on the target, or kept back for Finish
)

// Lacks tells whether the data chunk of number n, below ChunkCount, must still
// come: it is restored, and is neither on the target nor kept back.
func (r *Restorer) Lacks(n int) bool {
	return r.state[n].Load() != chunkThere && r.m.Chunk(n).Intersect(r.window).Length > 0
}

// Left returns how many data chunks must still come, and of how many bytes in
// use PutChunk will tell Progress for them.
func (r *Restorer) Left() (chunks int, bytes int64) {
	for f := range r.m.Chunks(r.window) {
		if r.state[f.Chunk].Load() != chunkThere {
			chunks++
			bytes += r.m.UsedIn(f.Intersect(r.window))
		}
	}
	return chunks, bytes
}

// Compare reads the target, side by side, so that [Restorer.Lacks] is false
// for the chunks that it holds: these count as kept. Chunks that a partition's
// ends cut are lacking in any case. Stage is told of "compare"; Progress then
// counts the bytes that were compared, be they right or not. Unless Delta is
// set or the restore is resumed, and of a stream, Compare does nothing. It comes
// before the first PutChunk, which wipes the vital bytes.
func (r *Restorer) Compare(ctx context.Context) error {
	var total int64
	for f := range r.m.Chunks(r.window) {
		if r.askable(f) {
			total += r.m.UsedIn(f.Extent)
		}
	}
	if total == 0 {
		return nil
	}
	r.opt.Stage("compare", total)
	return r.each(ctx, func(h *hand, f Frame) error {
		if !r.askable(f) {
			return nil
		}
		same, err := r.keep(h, f)
		if same {
			r.canvas.retain(h.have[:f.Length], f.Start-r.window.Start)
		}
		r.progress(f)
		return err
	})
}

// compares tells whether the target is asked for what it holds.
func (r *Restorer) compares() bool { return r.known && (r.opt.Delta || r.resumed) }

// askable tells whether the target can be asked for the chunk of f, before
// anything is written.
func (r *Restorer) askable(f Frame) bool {
	return r.compares() && f.Intersect(r.window) == f.Extent
}

// comparable tells whether the target can be asked for the chunk of f while
// others are written, and the vital bytes are wiped.
func (r *Restorer) comparable(f Frame) bool { return r.askable(f) && !r.isVital(f) }

// isVital tells whether f holds bytes that are written last.
func (r *Restorer) isVital(f Frame) bool {
	for _, v := range r.canvas.vital {
		if (partition.Extent{Start: v.Start + r.window.Start, Length: v.Length}).Intersect(f.Extent).Length > 0 {
			return true
		}
	}
	return false
}

// keep reports whether the target already holds the chunk of f, which is
// comparable: then it need not be put, and counts as kept. What cannot be read
// is lacking if nobody but a mark asked for it.
func (r *Restorer) keep(h *hand, f Frame) (bool, error) {
	same, err := r.same(h, f)
	if err != nil && !r.opt.Delta {
		return false, nil
	}
	if same && r.state[f.Chunk].CompareAndSwap(chunkLacking, chunkThere) {
		r.kept.Add(1)
	}
	return same, err
}

// same compares the part of a chunk that lies in the window with what the
// target has, unused bytes left out.
func (r *Restorer) same(h *hand, f Frame) (bool, error) {
	part, want := f.Intersect(r.window), r.m.quick[f.Chunk]
	if part != f.Extent {
		want = r.edges[f.Chunk]
	}
	have := h.have[:part.Length]
	if err := readUsed(r.view, have, part.Start, -r.window.Start, r.m.Used); err != nil {
		return false, fmt.Errorf("reading the target: %w", err)
	}
	return quickSum(have) == want, nil
}

// readUsed fills buf with the bytes in use of the disk from offset start, and
// zeros between them. They are read from r, where they lie shift further on.
func readUsed(r io.ReaderAt, buf []byte, start, shift int64, used partition.Extents) error {
	for span := range spans(used, partition.Extent{Start: start, Length: int64(len(buf))}) {
		at := span.Start - start
		if n, err := r.ReadAt(buf[at:at+span.Length], span.Start+shift); int64(n) < span.Length {
			return fmt.Errorf("%d bytes at offset %d: %w", span.Length, span.Start+shift, err)
		}
	}
	clearUnused(buf, start, used)
	return nil
}
