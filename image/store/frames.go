package store

import (
	"container/list"
	"fmt"
	"io"
	"os"
	"sync"

	"slipcast/image"
)

// openFrames is how many files of frames one image keeps open. A restore reads
// each frame once and in pieces of it, from a few workers; a web server reads in
// pieces of 32 KiB.
const openFrames = 32

// frameFiles reads frames out of a store. It implements image.FrameSource.
type frameFiles struct {
	s         *Store
	chunkSize int64

	mu     sync.Mutex
	files  map[image.Digest]*list.Element
	recent *list.List // of *frameFile, the most recently used first
}

// A frameFile is an open file. It is closed when it is not in the list and has
// no users.
type frameFile struct {
	digest image.Digest
	f      *os.File
	size   int64
	users  int
	gone   bool // from the list
}

func newFrameFiles(s *Store) *frameFiles {
	return &frameFiles{s: s, files: map[image.Digest]*list.Element{}, recent: list.New()}
}

// ReadFrame implements image.FrameSource.
func (ff *frameFiles) ReadFrame(d image.Digest, size int64, p []byte, off int64) error {
	file, err := ff.take(d)
	if err != nil {
		return err
	}
	defer ff.release(file)
	if file.size != size {
		return damaged("%s has %d bytes, want %d", file.f.Name(), file.size, size)
	}
	if n, err := file.f.ReadAt(p, off); n < len(p) {
		if err == io.EOF {
			err = damaged("%s ends early", file.f.Name())
		}
		return err
	}
	return nil
}

// take returns the file of the frame, which must be released.
func (ff *frameFiles) take(d image.Digest) (*frameFile, error) {
	ff.mu.Lock()
	defer ff.mu.Unlock()
	if e, ok := ff.files[d]; ok {
		ff.recent.MoveToFront(e)
		file := e.Value.(*frameFile)
		file.users++
		return file, nil
	}
	file, err := ff.open(d)
	if err != nil {
		return nil, err
	}
	ff.files[d] = ff.recent.PushFront(file)
	if ff.recent.Len() > openFrames {
		ff.drop(ff.recent.Back())
	}
	return file, nil
}

func (ff *frameFiles) open(d image.Digest) (*frameFile, error) {
	f, err := os.Open(ff.s.framePath(d, ff.chunkSize))
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("%w: %w", image.ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &frameFile{digest: d, f: f, size: info.Size(), users: 1}, nil
}

// drop takes a file out of the list. It is closed by its last user.
func (ff *frameFiles) drop(e *list.Element) {
	file := ff.recent.Remove(e).(*frameFile)
	delete(ff.files, file.digest)
	file.gone = true
	if file.users == 0 {
		file.f.Close()
	}
}

func (ff *frameFiles) release(file *frameFile) {
	ff.mu.Lock()
	defer ff.mu.Unlock()
	if file.users--; file.users == 0 && file.gone {
		file.f.Close()
	}
}

// close closes all files, those in use when they are released.
func (ff *frameFiles) close() {
	ff.mu.Lock()
	defer ff.mu.Unlock()
	for ff.recent.Len() > 0 {
		ff.drop(ff.recent.Back())
	}
}
