package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"slipcast/catalog/trust"
	"slipcast/multicast"
)

// A bundleSink keeps in a folder the files that come behind an image: as many of
// the first ones as there is room for, each as SHA256.slb when it is whole and
// right. Its put may be called from several goroutines. Nothing that it lacks makes the image fail: whoever wants a file that is
// not in the folder fetches it elsewhere. It is used by one process at a time.
type bundleSink struct {
	dir  string
	room func() (int64, error) // bytes that may be taken in dir
	warn func(text string)     // is called from several goroutines

	list  *fileList
	mu    sync.Mutex
	files []keptFile // those of list
	kept  int        // that have become whole
}

// A keptFile is a file on its way.
type keptFile struct {
	part *os.File // nil if it is not wanted, or not any more
	left int      // pieces that are to come
}

// prepare decides which files to take of an annex. Those that are there already
// have been checked when they came.
func (s *bundleSink) prepare(a multicast.Annex) error {
	list, err := parseFileList(a.About, a.Frames)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	room, err := s.room()
	if err != nil {
		return err
	}
	s.list, s.files = list, make([]keptFile, len(list.files))
	for i, f := range list.files {
		if f.Size > room || isHeld(s.dir, f) {
			continue
		}
		part, err := os.OpenFile(heldPath(s.dir, f)+".part", os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		room -= f.Size
		s.files[i] = keptFile{part, list.first[i+1] - list.first[i]}
	}
	return nil
}

// heldPath returns where a folder of files of bundles has one.
func heldPath(dir string, f trust.File) string { return filepath.Join(dir, f.SHA256+".slb") }

// isHeld tells whether a folder has the file of a bundle.
func isHeld(dir string, f trust.File) bool {
	info, err := os.Lstat(heldPath(dir, f))
	return err == nil && info.Mode().IsRegular() && info.Size() == f.Size
}

// lacks tells whether piece n must come.
func (s *bundleSink) lacks(n int) bool {
	i, _, _ := s.list.place(n)
	return s.files[i].part != nil
}

// lacking returns how many bytes must come, as long as none has.
func (s *bundleSink) lacking() (bytes int64) {
	for i, f := range s.list.files {
		if s.files[i].part != nil {
			bytes += f.Size
		}
	}
	return bytes
}

// put writes piece n, and checks its file if it was the last one. What goes wrong
// costs the file.
func (s *bundleSink) put(ctx context.Context, n int, piece []byte) {
	i, start, end := s.list.place(n)
	part := s.part(i)
	if part == nil {
		return
	}
	_, err := part.WriteAt(piece, start)
	if err == nil && int64(len(piece)) != end-start {
		err = fmt.Errorf("piece %d has %d bytes, want %d", n, len(piece), end-start)
	}
	if err != nil {
		s.end(i, err)
		return
	}
	if s.isLast(i) {
		s.end(i, s.keep(ctx, s.list.files[i], part))
	}
}

// part returns a file on its way, nil if it is not wanted any more.
func (s *bundleSink) part(i int) *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[i].part
}

// isLast counts a piece of a file, and tells whether it was the last one.
func (s *bundleSink) isLast(i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[i].left--
	return s.files[i].left == 0
}

// keep checks a file of which all has come, and gives it its name.
func (s *bundleSink) keep(ctx context.Context, f trust.File, part *os.File) error {
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := f.Verify(ctx, part); err != nil {
		return err
	}
	return os.Rename(part.Name(), heldPath(s.dir, f))
}

// end closes a file that is whole, or lost because of err.
func (s *bundleSink) end(i int, err error) {
	s.mu.Lock()
	part := s.files[i].part
	s.files[i].part = nil
	if part != nil && err == nil {
		s.kept++
	}
	s.mu.Unlock()
	if part == nil {
		return
	}
	if err = cmp.Or(err, part.Close()); err == nil {
		return
	}
	part.Close()
	os.Remove(part.Name()) // it may have its name already, and is right then
	s.warn(fmt.Sprintf("the bundle in %.12s.slb does not come with the image: %v", s.list.files[i].SHA256, err))
}

// whole returns how many files came. It may be called of nil.
func (s *bundleSink) whole() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// Close takes away what did not become whole. It may be called of nil.
func (s *bundleSink) Close() {
	if s == nil {
		return
	}
	for i := range s.files {
		s.end(i, errors.New("not all of it came"))
	}
}

// memoryFor returns how much a folder may take: half of what is free there, and
// where it is in memory of what else is free, but for so many bytes that are
// spoken for.
func memoryFor(dir string, spoken int64) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("%s: %w", dir, err)
	}
	free := int64(st.Bavail) * st.Bsize
	if st.Type != unix.TMPFS_MAGIC && st.Type != unix.RAMFS_MAGIC {
		return free / 2, nil
	}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	available, err := availableMemory(text)
	if err != nil {
		return 0, err
	}
	room := max(available-spoken, 0) / 2
	if st.Type == unix.TMPFS_MAGIC && st.Blocks > 0 { // else nothing bounds it
		room = min(room, free)
	}
	return room, nil
}

var memAvailable = regexp.MustCompile(`(?m)^MemAvailable: *([0-9]{1,15}) kB$`)

// availableMemory reads from /proc/meminfo how many bytes programs can have
// (Documentation/filesystems/proc.rst).
func availableMemory(text []byte) (int64, error) {
	found := memAvailable.FindSubmatch(text)
	if found == nil {
		return 0, errors.New("/proc/meminfo does not tell how much memory is available")
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	return n << 10, err
}
