package depot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"slipcast/catalog/trust"
	"slipcast/image"
	"slipcast/image/store"
)

// maxVersionFile bounds the version file of an image in bytes. Of these the disk
// has 68 for each chunk, and a few for each of its extents.
func maxVersionFile(i *trust.ImageTarget) int64 { return 16<<20 + i.Size/512 }

// An arriving is an image of which the version file has come.
type arriving struct {
	target *trust.ImageTarget
	order  uint64 // in the store that it comes from
	added  int64  // seconds since 1970, there
	*image.Image
	preface []byte
}

// hasImage tells whether the store has an image. One with the same name and other
// contents is an error that wraps store.ErrExists.
func (y *yard) hasImage(i *trust.ImageTarget) (bool, error) {
	e, err := y.store.Resolve(refOf(i))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case e.Digest.String() != i.Digest:
		return false, fmt.Errorf("%s, with the digest %.12s, and the catalog has the digest %.12s for that name: %w", i.ID(), e.Digest, i.Digest, store.ErrExists)
	}
	return true, nil
}

// arrive reads the version file that waits for an image. One that is wrong is
// removed; the error wraps ErrWrong then.
func (y *yard) arrive(i *trust.ImageTarget) (*arriving, error) {
	path := imagePath(refOf(i))
	p, err := readBounded(y.waiting(path), maxVersionFile(i))
	if err != nil {
		return nil, err
	}
	a, err := decodeArriving(i, p)
	if err != nil {
		return nil, errors.Join(wrong("%s: %v", path, err), y.forget(path))
	}
	return a, nil
}

func decodeArriving(i *trust.ImageTarget, p []byte) (*arriving, error) {
	v, err := store.DecodeVersion(p)
	if err != nil {
		return nil, err
	}
	im, err := image.OpenPreface(v.Preface)
	if err != nil {
		return nil, err
	}
	if im.Digest.String() != i.Digest || im.Layout.Size != i.Size {
		return nil, fmt.Errorf("it is the image with the digest %.12s, and not %.12s", im.Digest, i.Digest)
	}
	return &arriving{i, v.Order, v.Added.Unix(), im, v.Preface}, nil
}

// hasFrame tells whether the frame that the image wants lies aside or in the
// store. Whether it is right, checkFrame tells, and adding the image.
func (y *yard) hasFrame(a *arriving, f image.Frame) bool {
	path, size := framePath(a.ChunkDigest(f.Chunk), a.ChunkSize), a.FrameSize(f)
	return sizeOf(y.waiting(path)) == size || sizeOf(y.place(path)) == size
}

// checkFrame makes sure that a frame that lies here is the one that the image wants.
// One aside that is not is removed.
func (y *yard) checkFrame(c *image.Checker, a *arriving, f image.Frame) (bool, error) {
	path := framePath(a.ChunkDigest(f.Chunk), a.ChunkSize)
	for _, at := range []string{y.waiting(path), y.place(path)} {
		frame, err := readBounded(at, image.MaxFrameSize(a.ChunkSize))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = a.check(c, f, frame)
		}
		if err == nil {
			return true, nil
		}
		if !isWrong(err) {
			return false, err
		}
		if at == y.waiting(path) {
			if err := y.forget(path); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// check makes sure that a frame is the one of a chunk of the image.
func (a *arriving) check(c *image.Checker, f image.Frame, frame []byte) error {
	if int64(len(frame)) != a.FrameSize(f) {
		return wrong("a frame of %d bytes, want %d", len(frame), a.FrameSize(f))
	}
	d, err := c.Digest(frame)
	if err != nil {
		return err
	}
	if d != a.ChunkDigest(f.Chunk) {
		return wrong("another chunk's frame")
	}
	if want, ok := a.FrameSumOf(f); ok && want.Sum != image.SumFrame(frame).Sum {
		return wrong("another frame of the chunk")
	}
	return nil
}

// readFrame reads part of a frame, from aside, else from the store.
func (y *yard) readFrame(path string, size int64, p []byte, off int64) error {
	f, err := os.Open(y.waiting(path))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(y.place(path))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", image.ErrDamaged, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != size {
		return errors.Join(err, fmt.Errorf("%w: %s has not %d bytes", image.ErrDamaged, f.Name(), size))
	}
	_, err = f.ReadAt(p, off)
	return err
}

// A frameReader has the frames of one size of chunks.
type frameReader struct {
	y         *yard
	chunkSize int64
}

// ReadFrame implements image.FrameSource.
func (r frameReader) ReadFrame(d image.Digest, size int64, p []byte, off int64) error {
	return r.y.readFrame(framePath(d, r.chunkSize), size, p, off)
}

// add adds an image to the store whose frames have come, and clears away what is
// the store's now.
func (y *yard) add(ctx context.Context, a *arriving) error {
	im, err := image.Assemble(a.preface, frameReader{y, a.ChunkSize})
	if err != nil {
		return err
	}
	_, err = y.store.Add(ctx, im.Image, a.target.Name, store.AddOptions{Version: a.target.Version, Near: y.waiting(framesFolder)})
	if err != nil {
		return err
	}
	return y.clear(a)
}

// clear removes what waits for an image that the store has.
func (y *yard) clear(a *arriving) error {
	for f := range a.Frames() {
		if !f.Hole {
			if err := y.forget(framePath(a.ChunkDigest(f.Chunk), a.ChunkSize)); err != nil {
				return err
			}
		}
	}
	return y.forget(imagePath(refOf(a.target)))
}

// clearAdded removes what waits for an image that the store has already: it was
// added by a run that was cut off before it had cleared away.
func (y *yard) clearAdded(i *trust.ImageTarget) error {
	a, err := y.arrive(i)
	if errors.Is(err, fs.ErrNotExist) || isWrong(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return y.clear(a)
}
