package tftp

import (
	"errors"
	"fmt"
	"io"
)

// readAhead is how much of a file is read at once, with the headers of its
// blocks, if a window has less. A system call for each block of 512 bytes would
// cost as much as sending it.
const readAhead = 32 << 10

// A window holds a few blocks of a file as the datagrams that carry them, one
// behind the other. It is all that a transfer has of its file in memory: at
// most maxWindowBytes, or one block.
type window struct {
	file  File
	block int    // bytes of data in a block
	last  int64  // the number of the last block of the file
	buf   []byte // room for datagrams

	first int64  // the number of the first block that it holds; 0 is nothing
	count int    // of blocks that it holds
	train []byte // their datagrams
}

// newWindow makes one for at least n blocks of the file. The last block of a
// file is shorter than the others, if need be empty (RFC 1350, section 6).
func newWindow(f File, block, n int) *window {
	last := f.Size/int64(block) + 1
	n = int(min(int64(max(n, readAhead/(block+headerSize))), last))
	return &window{file: f, block: block, last: last, buf: make([]byte, n*(block+headerSize))}
}

// blocks returns the datagrams of n blocks from first on, or of as many as
// there are, and how many those are. They are good until the next call.
func (w *window) blocks(first int64, n int) ([]byte, int, error) {
	n = int(min(int64(n), w.last-first+1))
	if w.first == 0 || first < w.first || first+int64(n) > w.first+int64(w.count) {
		if err := w.load(first); err != nil {
			return nil, 0, err
		}
	}
	size := w.block + headerSize
	at := int(first-w.first) * size
	return w.train[at:min(at+n*size, len(w.train))], n, nil
}

// load fills w with blocks from first on.
func (w *window) load(first int64) error {
	w.first = 0
	n := int(min(int64(len(w.buf)/(w.block+headerSize)), w.last-first+1))
	off := (first - 1) * int64(w.block)
	length := int(min(int64(n)*int64(w.block), w.file.Size-off))
	// The data is read behind the room for all headers, and each block then
	// moves down to its own: never onto data that has yet to move.
	data := w.buf[n*headerSize:][:length]
	if got, err := w.file.ReadAt(data, off); got < length {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return &readError{length, off, err}
	}
	for i := range n {
		at := i * (w.block + headerSize)
		putHeader(w.buf[at:], first+int64(i))
		copy(w.buf[at+headerSize:], data[i*w.block:min((i+1)*w.block, length)])
	}
	w.first, w.count, w.train = first, n, w.buf[:n*headerSize+length]
	return nil
}

// A readError says what of a file could not be read.
type readError struct {
	length int
	offset int64
	err    error
}

func (e *readError) Error() string {
	return fmt.Sprintf("reading %d bytes at %d: %v", e.length, e.offset, e.err)
}

func (e *readError) Unwrap() error { return e.err }
