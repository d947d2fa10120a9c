package image

import (
	"iter"
	"sort"

	"slipcast/partition"
)

// Bounds of the chunk size, section 4, and its default.
const (
	minChunkShift     = 18
	maxChunkShift     = 24
	defaultChunkShift = 20
)

// holePiece is the longest piece of a hole, section 6.
const holePiece = 64 << 20

// Bounds of section 10.
const (
	maxFrames = 1 << 27 // head and tail included
	maxChunks = 1 << 26 // so that the tail's length fits into 32 bits
)

// A run is a longest sequence of data chunks, or a hole.
type run struct {
	partition.Extent
	hole  bool
	frame int // number of its first frame among the data frames
	chunk int // number of its first data chunk
}

// A Frame is one data frame of an image: a data chunk or a piece of a hole.
type Frame struct {
	partition.Extent      // what it holds of the disk
	Hole             bool // nothing in it is in use
	Number           int  // among the data frames, from zero
	Chunk            int  // among the data chunks, from zero; meaningless in holes
}

// unit returns the length of the frames of r, but for its last one.
func (r *run) unit(chunkSize int64) int64 {
	if r.hole {
		return holePiece
	}
	return chunkSize
}

// frames returns the number of frames of r.
func (r *run) frames(chunkSize int64) int {
	unit := r.unit(chunkSize)
	return int((r.Length + unit - 1) / unit)
}

// at returns the i-th frame of r.
func (r *run) at(i int, chunkSize int64) Frame {
	unit := r.unit(chunkSize)
	place := partition.Extent{Start: r.Start + int64(i)*unit, Length: unit}
	return Frame{Extent: place.Intersect(r.Extent), Hole: r.hole, Number: r.frame + i, Chunk: r.chunk + i}
}

// plan finds the runs of the disk from the extents in use, section 2. It
// reports damage if there are more frames than an image may have. The disk
// must not be empty.
func (m *Manifest) plan() error {
	m.runs = nil
	var at int64 // end of the last run
	for _, u := range m.Used {
		start := u.Start / m.ChunkSize * m.ChunkSize
		end := min((u.End()+m.ChunkSize-1)/m.ChunkSize*m.ChunkSize, m.Size)
		m.extend(max(start, at), true, &at)
		m.extend(end, false, &at)
	}
	m.extend(m.Size, true, &at)
	if frames, chunks := m.FrameCount()+2, m.ChunkCount(); frames > maxFrames || chunks > maxChunks {
		return damaged("%d frames with %d data chunks, at most %d with %d are allowed", frames, chunks, maxFrames, maxChunks)
	}
	return nil
}

// extend adds what lies between *at and to as a run, or to the last run if
// that is of the same kind.
func (m *Manifest) extend(to int64, hole bool, at *int64) {
	if to <= *at {
		return
	}
	piece := partition.Extent{Start: *at, Length: to - *at}
	*at = to
	if n := len(m.runs); n > 0 {
		last := &m.runs[n-1]
		if last.hole == hole {
			last.Length += piece.Length
			return
		}
		next := run{Extent: piece, hole: hole, frame: last.frame + last.frames(m.ChunkSize), chunk: last.chunk}
		if !last.hole {
			next.chunk += last.frames(m.ChunkSize)
		}
		m.runs = append(m.runs, next)
		return
	}
	m.runs = append(m.runs, run{Extent: piece, hole: hole})
}

// end returns the last frame of the disk.
func (m *Manifest) end() Frame {
	last := &m.runs[len(m.runs)-1]
	return last.at(last.frames(m.ChunkSize)-1, m.ChunkSize)
}

// FrameCount returns the number of data frames: data chunks and pieces of
// holes.
func (m *Manifest) FrameCount() int { return m.end().Number + 1 }

// ChunkCount returns the number of data chunks.
func (m *Manifest) ChunkCount() int {
	end := m.end()
	if end.Hole {
		return m.runs[len(m.runs)-1].chunk
	}
	return end.Chunk + 1
}

// Frames yields all data frames in the order of the disk.
func (m *Manifest) Frames() iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		for i := range m.runs {
			r := &m.runs[i]
			for k := range r.frames(m.ChunkSize) {
				if !yield(r.at(k, m.ChunkSize)) {
					return
				}
			}
		}
	}
}

// Chunks yields the data chunks that touch e, in the order of the disk.
func (m *Manifest) Chunks(e partition.Extent) iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		for i := m.runAt(e.Start); i < len(m.runs) && m.runs[i].Start < e.End(); i++ {
			r := &m.runs[i]
			if r.hole {
				continue
			}
			first := max(0, e.Start-r.Start) / m.ChunkSize
			for k := int(first); k < r.frames(m.ChunkSize); k++ {
				f := r.at(k, m.ChunkSize)
				if f.Start >= e.End() || !yield(f) {
					return
				}
			}
		}
	}
}

// Chunk returns the frame of the data chunk of number n, which must be below
// ChunkCount.
func (m *Manifest) Chunk(n int) Frame {
	i := sort.Search(len(m.runs), func(i int) bool { return m.runs[i].chunk > n }) - 1
	r := &m.runs[i] // of a hole and the data behind it, which begin with the same chunk, the data
	return r.at(n-r.chunk, m.ChunkSize)
}

// FrameAt returns the data frame that holds the byte at offset, which must be
// on the disk.
func (m *Manifest) FrameAt(offset int64) Frame {
	r := &m.runs[m.runAt(offset)]
	return r.at(int((offset-r.Start)/r.unit(m.ChunkSize)), m.ChunkSize)
}

// runAt returns the number of the run that holds the byte at offset.
func (m *Manifest) runAt(offset int64) int {
	return max(0, sort.Search(len(m.runs), func(i int) bool { return m.runs[i].Start > offset })-1)
}

// runOf returns the number of the run of the data frame of that number.
func (m *Manifest) runOf(frame int) int {
	return sort.Search(len(m.runs), func(i int) bool { return m.runs[i].frame > frame }) - 1
}

// all returns the whole disk as an extent.
func (m *Manifest) all() partition.Extent { return partition.Extent{Start: 0, Length: m.Size} }
