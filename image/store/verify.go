package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"slipcast/image"
)

// VerifyOptions are for [Store.Verify].
type VerifyOptions struct {
	Workers  int               // side by side; 0 is one for each processor
	Progress func(bytes int64) // told of bytes of frames, from several goroutines
	Found    func(Fault)       // told of what is damaged, by one goroutine at a time
}

// A Fault is something in a store that is damaged: a frame, or an image.
type Fault struct {
	Image Ref    // the version that is damaged; without a name it is a frame
	Path  string // of its file
	Err   error  // why
}

func (f Fault) Error() string {
	if f.Image.Name == "" {
		return fmt.Sprintf("frame %s: %v", f.Path, f.Err)
	}
	return fmt.Sprintf("%v: %v", f.Image, f.Err)
}

// A Verified tells what a Verify looked at.
type Verified struct {
	Frames int
	Bytes  int64 // of the frames
	Images int   // versions
	Faults int
}

// Verify reads every frame and checks it against its digest, and every version
// against its frames and its table. What is damaged is told to Found; the error is
// one that kept Verify from looking. GC waits until Verify has ended, and so does
// Verify for GC. It takes 100 bytes of memory for each frame.
func (s *Store) Verify(ctx context.Context, opt VerifyOptions) (Verified, error) {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Progress == nil {
		opt.Progress = func(int64) {}
	}
	if opt.Found == nil {
		opt.Found = func(Fault) {}
	}
	l, err := s.lock(ctx, frameLock, unix.LOCK_SH)
	if err != nil {
		return Verified{}, err
	}
	defer l.Close()
	v := &verifier{s: s, opt: opt, good: map[frameKey]image.FrameSum{}}
	if err := v.frames(ctx); err != nil {
		return v.done, err
	}
	return v.done, s.eachVersion(func(r Ref, f *os.File) error {
		v.done.Images++
		if err := v.version(f); err != nil {
			v.found(Fault{r, f.Name(), err})
		}
		return ctx.Err()
	})
}

// A verifier is one Verify under way.
type verifier struct {
	s   *Store
	opt VerifyOptions

	mu   sync.Mutex
	good map[frameKey]image.FrameSum
	done Verified
}

func (v *verifier) found(f Fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done.Faults++
	v.opt.Found(f)
}

// frames checks all frames.
func (v *verifier) frames(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan storedFrame, v.opt.Workers)
	g.Go(func() error {
		defer close(queue)
		return v.s.eachFrame(func(f storedFrame) error {
			select {
			case queue <- f:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for range v.opt.Workers {
		g.Go(func() error { return v.work(queue) })
	}
	return g.Wait()
}

// work checks the frames that come. Those for chunks of one size come one after
// the other.
func (v *verifier) work(queue <-chan storedFrame) error {
	var h *hand
	var size int64
	defer func() {
		if h != nil {
			h.Close()
		}
	}()
	for f := range queue {
		if f.key.chunkSize != size {
			if h != nil {
				h.Close()
			}
			var err error
			if h, err = newHand(f.key.chunkSize); err != nil {
				return err
			}
			size = f.key.chunkSize
		}
		v.frame(h, f)
	}
	return nil
}

// frame checks one frame.
func (v *verifier) frame(h *hand, f storedFrame) {
	var err error
	h.packed, err = readFrame(f.path, f.key.chunkSize, h.packed)
	var d image.Digest
	if err == nil {
		d, err = h.Digest(h.packed)
	}
	if err == nil && d != f.key.digest {
		err = image.ErrDigest
	}
	if err != nil {
		v.found(Fault{Path: f.path, Err: err})
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done.Frames++
	if err == nil {
		v.done.Bytes += int64(len(h.packed))
		v.good[f.key] = image.SumFrame(h.packed)
		v.opt.Progress(int64(len(h.packed)))
	}
}

// version checks one version against the frames.
func (v *verifier) version(f *os.File) error {
	file, err := readVersion(f)
	if err != nil {
		return err
	}
	frames := newFrameFiles(v.s)
	defer frames.close()
	im, err := image.Assemble(file.preface, frames)
	if err != nil {
		return err
	}
	frames.chunkSize = im.ChunkSize
	bad, first := 0, error(nil)
	for n := range im.ChunkCount() {
		if err := v.chunk(im.Image, im.Chunk(n)); err != nil {
			if bad++; first == nil {
				first = &image.ChunkError{Index: n, Offset: im.Chunk(n).Start, Err: err}
			}
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d chunks, the first is %w", bad, im.ChunkCount(), first)
	}
	return im.CheckTable()
}

// chunk checks that the frame of a chunk is there, and is the one that the image
// tells of.
func (v *verifier) chunk(im *image.Image, f image.Frame) error {
	d := im.ChunkDigest(f.Chunk)
	sum, ok := v.good[frameKey{d, im.ChunkSize}]
	if !ok {
		path := v.s.framePath(d, im.ChunkSize)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return damaged("its frame %s is not there", path)
		}
		return damaged("its frame %s", path)
	}
	want, known := im.FrameSumOf(f)
	if known && (want.Size != sum.Size || want.Sum != sum.Sum) {
		return damaged("its frame %s is another one than when the image was added", v.s.framePath(d, im.ChunkSize))
	}
	return nil
}
