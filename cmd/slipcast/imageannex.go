package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"slipcast/catalog/trust"
	"slipcast/multicast"
)

// An imageAnnex is the files of bundles that a session sends behind its image.
// Its methods are safe for concurrent use.
type imageAnnex struct {
	*fileList
	open []*os.File // of each file
	log  *slog.Logger

	mu  sync.Mutex
	bad map[int]bool // files that could not be read
}

// openAnnex opens the files of bundles that path names. What is not there, or has
// another length, is left out; nil without an error is none.
func openAnnex(files []trust.File, path func(trust.File) string, log *slog.Logger) (*imageAnnex, error) {
	a := &imageAnnex{log: log, bad: map[int]bool{}}
	var there []trust.File
	for _, f := range files {
		file, err := openAs(path(f), f.Size)
		if err != nil {
			log.Warn("a bundle does not come with the image", "file", f.SHA256, "err", err)
			continue
		}
		there, a.open = append(there, f), append(a.open, file)
	}
	if len(there) == 0 {
		return nil, nil
	}
	var err error
	if a.fileList, err = newFileList(usualPiece, there); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// openAs opens a file that must have a length.
func openAs(path string, size int64) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != size) {
		err = fmt.Errorf("%s: it has %d bytes, and not %d", path, info.Size(), size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// about returns what the session says of the annex.
func (a *imageAnnex) about() multicast.Annex {
	if a == nil {
		return multicast.Annex{}
	}
	return multicast.Annex{Frames: a.frames(), About: a.encode()}
}

// read reads piece n into buf, which it grows as needed. Zeros stand for what
// cannot be read: the image is not to fail for a bundle, and a machine that
// compares the digest of the file does without it.
func (a *imageAnnex) read(n int, buf []byte) []byte {
	i, start, end := a.place(n)
	if size := int(end - start); cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:end-start]
	if got, err := a.open[i].ReadAt(buf, start); got < len(buf) {
		clear(buf)
		a.complain(i, err)
	}
	return buf
}

// complain logs once that a file cannot be read.
func (a *imageAnnex) complain(file int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.bad[file] {
		a.bad[file] = true
		a.log.Warn("a bundle cannot be read, so machines fetch it by HTTPS", "file", a.files[file].SHA256, "err", err)
	}
}

// Close closes the files. It may be called of nil.
func (a *imageAnnex) Close() error {
	if a == nil {
		return nil
	}
	var errs []error
	for _, f := range a.open {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
