package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"slipcast/image"
)

// lockFileName is the file in an add's folder that it holds locked while it
// lives.
const lockFileName = "lock"

// An adding is the folder of one Add in progress, section 16.4. It has a name
// for every frame that the image needs, be it new or in the store already: GC
// may take away the store's own name, and commit puts it back.
type adding struct {
	s         *Store
	dir       string
	life      *os.File // the lock that tells GC that the folder is in use
	chunkSize int64
	near      string         // AddOptions.Near
	busy      [64]sync.Mutex // one frame is dealt with by one worker at a time, by its digest
}

// begin makes the folder of an Add.
func (s *Store) begin(ctx context.Context, chunkSize int64) (*adding, error) {
	l, err := s.lock(ctx, frameLock, unix.LOCK_SH) // no GC sees a folder without a lock
	if err != nil {
		return nil, err
	}
	defer l.Close()
	dir, err := os.MkdirTemp(s.path(addingName), "")
	if err != nil {
		return nil, err
	}
	a := &adding{s: s, dir: dir, chunkSize: chunkSize}
	a.life, err = os.OpenFile(filepath.Join(dir, lockFileName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err == nil {
		_, err = tryLock(a.life, unix.LOCK_EX)
	}
	if err == nil { // frames that others make go there, too
		err = os.MkdirAll(s.path(framesName, shiftName(chunkSize)), 0o777)
	}
	if err != nil {
		a.end()
		return nil, err
	}
	return a, nil
}

// end removes the folder, whose names nobody needs any more.
func (a *adding) end() {
	os.RemoveAll(a.dir) // what stays here, GC removes
	if a.life != nil {
		a.life.Close()
	}
}

// path returns where the add keeps the frame of a chunk.
func (a *adding) path(d image.Digest) string { return filepath.Join(a.dir, d.String()) }

// A hand holds what one worker needs.
type hand struct {
	*image.Checker
	packed []byte // a frame of the image
	stored []byte // one of the store
}

func newHand(chunkSize int64) (*hand, error) {
	c, err := image.NewChecker(chunkSize)
	return &hand{Checker: c}, err
}

// keep sees to it that the folder has a good frame of the chunk with digest d,
// and returns its sums. frame is one that has been checked; it is written only if
// the store has none that is good.
func (a *adding) keep(h *hand, d image.Digest, frame []byte) (sum image.FrameSum, written bool, err error) {
	mu := &a.busy[int(d[0])%len(a.busy)]
	mu.Lock()
	defer mu.Unlock()
	own := a.path(d)
	sum, err = a.compare(h, own, d, frame) // it may have been in this image before
	if errors.Is(err, fs.ErrNotExist) {
		if written, err = a.adopt(d, own); err == nil {
			sum, err = a.compare(h, own, d, frame)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case errors.Is(err, image.ErrDamaged):
		err = os.Remove(own)
	default:
		return sum, written, err
	}
	if err == nil {
		err = writeNew(own, frame)
	}
	return image.SumFrame(frame), true, err
}

// adopt gives the store's frame of a chunk the name own as well, or else the one
// near it, which fresh tells. The error wraps fs.ErrNotExist if there is neither.
func (a *adding) adopt(d image.Digest, own string) (fresh bool, err error) {
	err = os.Link(a.s.framePath(d, a.chunkSize), own)
	if a.near == "" || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if os.Link(filepath.Join(a.near, FrameName(d, a.chunkSize)), own) == nil {
		return true, nil
	}
	return false, err
}

// compare returns the sums of the frame at path, which must be frame or another
// good one of the same chunk. Else the error wraps [image.ErrDamaged].
func (a *adding) compare(h *hand, path string, d image.Digest, frame []byte) (image.FrameSum, error) {
	var err error
	if h.stored, err = readFrame(path, a.chunkSize, h.stored); err != nil {
		return image.FrameSum{}, err
	}
	if bytes.Equal(h.stored, frame) {
		return image.SumFrame(frame), nil
	}
	have, err := h.Digest(h.stored)
	if err == nil && have != d {
		err = image.ErrDigest
	}
	if err != nil {
		return image.FrameSum{}, err
	}
	return image.SumFrame(h.stored), nil
}

// publish gives every frame of m its name in the store. Where another frame of
// the same chunk has come there meanwhile, sums become those of that one. Who calls
// it holds the frames' lock until the version is there.
func (a *adding) publish(ctx context.Context, m *image.Manifest, sums []image.FrameSum) error {
	h, err := newHand(a.chunkSize)
	if err != nil {
		return err
	}
	defer h.Close()
	for n := range sums {
		if err := ctx.Err(); err != nil {
			return err
		}
		d := m.ChunkDigest(n)
		if err := a.publishFrame(h, d, &sums[n]); err != nil {
			return fmt.Errorf("frame %v: %w", d, err)
		}
	}
	return nil
}

func (a *adding) publishFrame(h *hand, d image.Digest, sum *image.FrameSum) error {
	own, place := a.path(d), a.s.framePath(d, a.chunkSize)
	err := os.Link(own, place)
	if errors.Is(err, fs.ErrNotExist) { // the first of its folder
		if err := os.MkdirAll(filepath.Dir(place), 0o777); err != nil {
			return err
		}
		err = os.Link(own, place)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if same, err := sameInode(own, place); err != nil || same {
		return err
	}
	if h.packed, err = readFrame(own, a.chunkSize, h.packed); err != nil {
		return err
	}
	there, err := a.compare(h, place, d, h.packed)
	if errors.Is(err, image.ErrDamaged) {
		return replace(own, place) // what is there is of no use to anybody
	}
	if err == nil {
		*sum = there
	}
	return err
}

// replace gives the file at own the name place as well, whatever has it. The add
// keeps its own: the image may have the chunk again.
func replace(own, place string) error {
	spare := own + ".spare"
	if err := os.Link(own, spare); err != nil {
		return err
	}
	return os.Rename(spare, place)
}

// sameInode tells whether two names are those of one file.
func sameInode(a, b string) (bool, error) {
	x, err := os.Lstat(a)
	if err != nil {
		return false, err
	}
	y, err := os.Lstat(b)
	return err == nil && os.SameFile(x, y), err
}

// flush puts all on the disk that has been written to the store.
func (s *Store) flush() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: s.dir, Err: err}
	}
	return nil
}
