package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"

	"slipcast/partition"
)

// VerifyOptions are for [Image.Verify] and [Image.Compare].
type VerifyOptions struct {
	Workers  int               // side by side; 0 is one for each processor
	Progress func(bytes int64) // told of bytes in use, from several goroutines

	// Partition compares one partition of the image of a disk with a target
	// that is a partition; 0 compares all of it. Verify has no use for it.
	Partition int
}

func (o *VerifyOptions) fill() {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
}

// Verify reads every frame of im and checks all that the manifest says of it.
// It returns the first damage that it finds.
func (im *Image) Verify(ctx context.Context, opt VerifyOptions) error {
	opt.fill()
	g, ctx := errgroup.WithContext(ctx)
	frames := make(chan summedFrame, opt.Workers)
	g.Go(func() error {
		defer close(frames)
		entries := im.dataEntries()
		for f := range im.Frames() {
			e, err := readSeekEntry(entries)
			if err != nil {
				return in("seek table", err)
			}
			select {
			case frames <- summedFrame{f, e.sum}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range opt.Workers {
		g.Go(func() error { return im.verifyFrames(frames, opt) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return im.verifyTable()
}

// A summedFrame is a frame and its checksum as the seek table has it.
type summedFrame struct {
	Frame
	sum uint32
}

// verifyFrames checks the frames that come.
func (im *Image) verifyFrames(frames <-chan summedFrame, opt VerifyOptions) error {
	u, err := newUnpacker(im.ChunkSize, true)
	if err != nil {
		return err
	}
	defer u.close()
	var z zeros
	raw := make([]byte, im.ChunkSize)
	var packed, want []byte
	for f := range frames {
		if !f.Hole {
			packed, err = im.verifyChunk(u, f, packed, raw)
			if err != nil {
				return err
			}
			opt.Progress(im.UsedIn(f.Extent))
			continue
		}
		want = z.appendFrame(want[:0], f.Length)
		packed, err = im.ReadFrame(f.Frame, packed)
		if err == nil && (!bytes.Equal(packed, want) || frameChecksum(want) != f.sum) {
			err = damaged("not the frame of a hole")
		}
		if err != nil {
			return &FrameError{f.Start, err}
		}
	}
	return nil
}

// verifyChunk checks one data chunk: its frame, both digests, its frame sum,
// its checksum in the seek table, and that unused bytes are zeros.
func (im *Image) verifyChunk(u *unpacker, f summedFrame, packed, buf []byte) ([]byte, error) {
	raw, packed, err := im.decode(u, f.Frame, packed, buf)
	if err != nil {
		return packed, err
	}
	switch {
	case u.digest(packed, raw) != im.digests[f.Chunk]:
		err = ErrDigest
	case im.frameSums != nil && xxhash.Sum64(packed) != im.frameSums[f.Chunk]:
		err = damaged("frame sum mismatch")
	case frameChecksum(packed) != f.sum:
		err = damaged("the seek table has another checksum")
	case !unusedIsZero(raw, f.Start, im.Used):
		err = damaged("bytes that are not in use are not zero")
	default:
		return packed, nil
	}
	return packed, &ChunkError{f.Chunk, f.Start, err}
}

// unusedIsZero reports whether raw, which lies at offset start of the disk,
// has nothing but zeros outside of used.
func unusedIsZero(raw []byte, start int64, used partition.Extents) bool {
	for _, gap := range used.Gaps(partition.Extent{Start: start, Length: int64(len(raw))}) {
		if !isZero(raw[gap.Start-start : gap.End()-start]) {
			return false
		}
	}
	return true
}

// verifyTable checks that the table in the data is the one of the head.
func (im *Image) verifyTable() error {
	if im.Table.Kind == partition.None {
		return nil
	}
	disk, err := NewReader(im)
	if err != nil {
		return err
	}
	defer disk.Close()
	_, err = im.readTable(disk)
	return err
}

// A Difference is a chunk that the target does not hold.
type Difference struct {
	Frame
	Place string // "partition 2", "partition table", "outside of partitions"
}

// Compare reads the target, of size bytes, and calls found for each chunk that
// it does not hold, in the order of the disk. A table that was adapted to a
// target of another size is no difference.
func (im *Image) Compare(ctx context.Context, target io.ReaderAt, size int64, opt VerifyOptions, found func(Difference)) error {
	opt.fill()
	view, window, err := im.compareView(target, size, opt.Partition)
	if err != nil {
		return err
	}
	differs := make([]bool, im.ChunkCount())
	buffers := make(chan []byte, opt.Workers)
	for range opt.Workers {
		buffers <- make([]byte, im.ChunkSize)
	}
	err = sideBySide(ctx, opt.Workers, im.Chunks(window), func(f Frame) error {
		buf := <-buffers
		defer func() { buffers <- buf }()
		same, err := im.compareChunk(view, f, window, buf)
		differs[f.Chunk] = !same
		opt.Progress(im.UsedIn(f.Intersect(window)))
		return err
	})
	if err != nil {
		return err
	}
	for f := range im.Chunks(window) {
		if differs[f.Chunk] {
			found(Difference{f, im.place(f)})
		}
	}
	return nil
}

// compareView returns the target as a reader in which the table looks as in
// the image, if it is on the target as Place puts it there; and the part of
// the disk to compare.
func (im *Image) compareView(target io.ReaderAt, size int64, number int) (io.ReaderAt, partition.Extent, error) {
	view := &overlay{r: target, size: size}
	if number != 0 {
		p := im.Table.Partition(number)
		if p == nil || p.Extended {
			return nil, partition.Extent{}, fmt.Errorf("the image holds no partition %d", number)
		}
		return &shifted{view, p.Start}, p.Extent(), nil
	}
	if im.Table.Kind == partition.None {
		return view, im.all(), nil
	}
	disk, err := NewReader(im)
	if err != nil {
		return nil, partition.Extent{}, err
	}
	defer disk.Close()
	table, err := im.readTable(disk)
	if err != nil {
		return nil, partition.Extent{}, err
	}
	placed, err := table.Place(partition.PlaceOptions{Size: size, Need: im.needs()})
	if err != nil || !holdsAll(target, placed.Writes) {
		return view, im.all(), nil // the table is a difference
	}
	view.pieces, err = readPieces(disk, table.Sectors())
	return view, im.all(), err
}

// compareChunk compares the part of a chunk that lies in the window.
func (im *Image) compareChunk(view io.ReaderAt, f Frame, window partition.Extent, buf []byte) (bool, error) {
	part := f.Intersect(window)
	buf = buf[:part.Length]
	if err := readUsed(view, buf, part.Start, 0, im.Used); err != nil {
		return false, fmt.Errorf("reading the target: %w", err)
	}
	if part == f.Extent {
		return quickSum(buf) == im.quick[f.Chunk], nil
	}
	disk, err := NewReader(im)
	if err != nil {
		return false, err
	}
	defer disk.Close()
	want := make([]byte, part.Length)
	if n, err := disk.ReadAt(want, part.Start); n < len(want) {
		return false, err
	}
	return bytes.Equal(buf, want), nil
}

// place names the parts of the disk that f has bytes in use of.
func (im *Image) place(f Frame) string {
	var names []string
	if im.Table.Kind != partition.None && f.Start == 0 {
		names = append(names, "partition table")
	}
	for i := range im.Volumes {
		v := &im.Volumes[i]
		if both := v.Extent().Intersect(f.Extent); im.UsedIn(both) > 0 {
			names = append(names, v.Name())
		}
	}
	if names == nil {
		return "outside of partitions"
	}
	return strings.Join(names, ", ")
}

// holdsAll reports whether the target holds what the writes put there.
func holdsAll(target io.ReaderAt, writes []partition.Write) bool {
	for _, w := range writes {
		have := make([]byte, len(w.Data))
		if n, _ := target.ReadAt(have, w.Offset); n < len(have) || !bytes.Equal(have, w.Data) {
			return false
		}
	}
	return true
}

// readPieces reads the given places of the disk.
func readPieces(disk io.ReaderAt, places partition.Extents) ([]piece, error) {
	var pieces []piece
	for _, e := range places {
		p := piece{Extent: e, data: make([]byte, e.Length)}
		if n, err := disk.ReadAt(p.data, e.Start); n < len(p.data) {
			return nil, err
		}
		pieces = append(pieces, p)
	}
	return pieces, nil
}

// shifted is a reader whose bytes lie by further on.
type shifted struct {
	r  io.ReaderAt
	by int64
}

// ReadAt implements io.ReaderAt.
func (s *shifted) ReadAt(p []byte, off int64) (int, error) { return s.r.ReadAt(p, off-s.by) }
