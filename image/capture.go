package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/bits"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"slipcast/partition"
)

// CaptureOptions say how a disk becomes an image. The zero value is the
// default.
type CaptureOptions struct {
	Level   Level
	Origin  Origin // Level and Parent are filled in; without a Time it is left out
	Parent  *Image // frames of chunks that did not change are copied from it
	Workers int    // chunks that are worked on side by side; 0 is one for each processor

	// Changed tells whether a byte of an extent of the disk may differ from
	// the disk in Parent, of which bytes that are not in use count as zeros.
	// A chunk that it leaves alone, and of which the same bytes are in use,
	// is taken from the parent unread. It is called from several goroutines.
	// If it is nil, all may have changed.
	Changed func(partition.Extent) bool

	// ChunkSize in bytes, a power of two from 256 KiB to 16 MiB; 0 is the
	// parent's, or else 1 MiB.
	ChunkSize int64

	// SkipReadErrors captures zeros where the disk cannot be read, and lists
	// the places in the manifest. Otherwise a read error ends the capture.
	SkipReadErrors bool

	// Progress is told how many of the bytes in use have been dealt with
	// since the last call. It may be called from several goroutines.
	Progress func(bytes int64)
}

// CaptureStats count what a capture did.
type CaptureStats struct {
	Written int64 // bytes of the image
	Chunks  int   // data chunks
	Zero    int   // of these, how many were in use but all zeros
	Stored  int   // how many did not compress
	Reused  int   // how many frames came from the parent
}

// A Source is what is captured. If it also has a method
//
//	NextData(offset int64) (start, end int64, err error)
//
// that tells which bytes at or behind offset are not in a hole of a sparse
// file (io.EOF if there are none), holes are not read.
type Source = io.ReaderAt

type dataFinder interface {
	NextData(offset int64) (start, end int64, err error)
}

// Capture writes an image of src to w, from front to back. layout is what
// [Scan] found on src. Chunks are read and compressed side by side and
// written in order; no more than two for each worker are in memory, with a
// parent sixteen if that is more.
func Capture(ctx context.Context, w io.Writer, src Source, layout *Layout, opt CaptureOptions) (*Manifest, CaptureStats, error) {
	c, err := newCapturer(w, src, layout, opt)
	if err != nil {
		return nil, CaptureStats{}, err
	}
	err = c.run(ctx)
	return c.m, c.stats, err
}

// A capturer is one capture under way.
type capturer struct {
	m     *Manifest
	src   Source
	opt   CaptureOptions
	out   *frameWriter
	holes *holeFinder
	stats CaptureStats

	blank *blankChunk // saves the work that zeros would be

	mu         sync.Mutex
	readErrors partition.Builder
}

func newCapturer(w io.Writer, src Source, layout *Layout, opt CaptureOptions) (*capturer, error) {
	if opt.ChunkSize == 0 {
		opt.ChunkSize = 1 << defaultChunkShift
		if opt.Parent != nil {
			opt.ChunkSize = opt.Parent.ChunkSize
		}
	}
	if shift := bits.TrailingZeros64(uint64(opt.ChunkSize)); bits.OnesCount64(uint64(opt.ChunkSize)) != 1 || shift < minChunkShift || shift > maxChunkShift {
		return nil, fmt.Errorf("chunk size of %d bytes", opt.ChunkSize)
	}
	if opt.Parent != nil && opt.Parent.ChunkSize != opt.ChunkSize {
		return nil, fmt.Errorf("chunks of %d bytes, those of the parent have %d", opt.ChunkSize, opt.Parent.ChunkSize)
	}
	if layout.Size < 1 || layout.Size >= maxDisk || layout.Used.End() > layout.Size {
		return nil, fmt.Errorf("a layout of %d bytes, %d of them in use", layout.Size, layout.Used.Size())
	}
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Progress == nil {
		opt.Progress = func(int64) {}
	}
	m := &Manifest{Layout: *layout, ChunkSize: opt.ChunkSize, Origin: opt.Origin, ReadErrors: partition.Extents{}}
	m.Origin.Level = opt.Level.String()
	if opt.Parent != nil {
		m.Origin.Parent = opt.Parent.Digest.String()
	}
	if err := m.plan(); err != nil {
		return nil, fmt.Errorf("chunks of %d bytes are too small for this disk: %w", opt.ChunkSize, err)
	}
	c := &capturer{m: m, src: src, opt: opt, out: newFrameWriter(w, m), holes: newHoleFinder(src)}
	c.blank = newBlankChunk(opt.ChunkSize)
	return c, nil
}

// run writes the whole image.
func (c *capturer) run(ctx context.Context) error {
	if err := c.out.head(); err != nil {
		return err
	}
	if err := c.data(ctx); err != nil {
		return err
	}
	c.m.ReadErrors = append(c.m.ReadErrors, c.readErrors.Extents()...)
	err := c.out.finish()
	c.stats.Written = c.out.written
	c.stats.Chunks = c.m.ChunkCount()
	return err
}

// A job is a chunk on its way from the disk into the image.
type job struct {
	Frame
	packed []byte        // the frame
	kind   chunkKind     // for the statistics
	done   chan struct{} // takes one value when packed is ready
}

// A chunkKind tells how the frame of a chunk came about.
type chunkKind int

const (
	compressed chunkKind = iota
	stored
	zeroChunk
	reused
)

// parentJobs is how many chunks may at least be on their way at once where
// there is a parent: while a worker compresses one, the others can go on with
// those behind it, which the parent has, and which take a tenth of the time.
const parentJobs = 16

// data writes the data frames. Jobs go round: free, at work, in the queue for
// writing, free again; there are two for each worker.
func (c *capturer) data(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	n := 2 * c.opt.Workers
	if c.opt.Parent != nil {
		n = max(n, parentJobs)
	}
	free, work, queue := make(chan *job, n), make(chan *job, n), make(chan *job, n)
	for range n {
		free <- &job{done: make(chan struct{}, 1)}
	}
	g.Go(func() error {
		defer close(work)
		defer close(queue)
		for f := range c.m.Frames() {
			if f.Hole {
				continue
			}
			select {
			case j := <-free:
				j.Frame = f
				queue <- j // both have room for all jobs
				work <- j
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range c.opt.Workers {
		g.Go(func() error { return c.work(ctx, work) })
	}
	g.Go(func() error { return c.write(ctx, queue, free) })
	return g.Wait()
}

// work turns chunks into frames.
func (c *capturer) work(ctx context.Context, work <-chan *job) error {
	p, err := newPacker(c)
	if err != nil {
		return err
	}
	defer p.close()
	for j := range work {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := p.pack(j); err != nil {
			return err
		}
		c.opt.Progress(c.m.UsedIn(j.Extent))
		j.done <- struct{}{} // now j is the writer's
	}
	return nil
}

// write writes the frames in order, holes between them.
func (c *capturer) write(ctx context.Context, queue <-chan *job, free chan<- *job) error {
	for j := range queue {
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch j.kind {
		case stored:
			c.stats.Stored++
		case zeroChunk:
			c.stats.Zero++
		case reused:
			c.stats.Reused++
		}
		if err := c.out.chunk(j.Frame, j.packed); err != nil {
			return err
		}
		free <- j
	}
	return ctx.Err()
}

// A frameWriter writes the parts of an image in order.
type frameWriter struct {
	m       *Manifest
	w       *bufio.Writer
	written int64
	next    int // number of the next data frame
	sum     hash.Hash
	headAt  seekEntry
	packed  []uint32 // length of each data frame
	sums    []uint32 // its content checksum
	zeros   zeros
	buf     []byte
}

func newFrameWriter(w io.Writer, m *Manifest) *frameWriter {
	n, chunks := m.FrameCount(), m.ChunkCount()
	m.digests, m.quick, m.frameSums = make([]Digest, chunks), make([][quickSize]byte, chunks), make([]uint64, chunks)
	return &frameWriter{
		m: m, w: bufio.NewWriterSize(w, 256<<10), sum: sha256.New(),
		packed: make([]uint32, 0, n), sums: make([]uint32, 0, n),
	}
}

// write writes p and counts it.
func (o *frameWriter) write(p []byte) error {
	n, err := o.w.Write(p)
	o.written += int64(n)
	return err
}

// head writes the head, after a look at whether a reader will accept it.
func (o *frameWriter) head() error {
	head, err := appendHead(nil, o.m, o.sum)
	if err != nil {
		return err
	}
	if _, _, err := readHead(bytes.NewReader(head), sha256.New()); err != nil {
		return fmt.Errorf("this disk would make an image that cannot be read: %w", err)
	}
	o.headAt = seekEntry{packed: int64(len(head)), sum: sumOfNothing}
	return o.write(head)
}

// chunk writes the frame of a data chunk, and before it the holes that have
// not been written.
func (o *frameWriter) chunk(f Frame, packed []byte) error {
	if err := o.holes(f.Number); err != nil {
		return err
	}
	return o.frame(packed)
}

// holes writes all frames before the data frame of the given number.
func (o *frameWriter) holes(before int) error {
	if o.next == before {
		return nil
	}
	hole := o.m.runs[o.m.runOf(o.next)]
	for o.next < before {
		o.buf = o.zeros.appendFrame(o.buf[:0], hole.at(o.next-hole.frame, o.m.ChunkSize).Length)
		if err := o.frame(o.buf); err != nil {
			return err
		}
	}
	return nil
}

func (o *frameWriter) frame(packed []byte) error {
	o.packed = append(o.packed, uint32(len(packed)))
	o.sums = append(o.sums, frameChecksum(packed))
	o.next++
	return o.write(packed)
}

// finish writes what follows the last data chunk.
func (o *frameWriter) finish() error {
	if err := o.holes(o.m.FrameCount()); err != nil {
		return err
	}
	size, err := o.m.writeTail(o.w, o.sum)
	if err != nil {
		return err
	}
	o.written += size
	frames := len(o.packed) + 2
	if err := o.write(appendSeekHeader(nil, frames)); err != nil {
		return err
	}
	if err := o.seekEntries(seekEntry{packed: size, sum: sumOfNothing}); err != nil {
		return err
	}
	if err := o.write(appendSeekFooter(nil, frames)); err != nil {
		return err
	}
	return o.w.Flush()
}

func (o *frameWriter) seekEntries(tail seekEntry) error {
	if err := o.write(o.headAt.append(nil)); err != nil {
		return err
	}
	i := 0
	for f := range o.m.Frames() {
		o.buf = seekEntry{int64(o.packed[i]), f.Length, o.sums[i]}.append(o.buf[:0])
		if err := o.write(o.buf); err != nil {
			return err
		}
		i++
	}
	return o.write(tail.append(nil))
}
