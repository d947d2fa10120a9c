package store

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"slipcast/image"
)

// readSmall reads a file that should have no more than most bytes. Of a longer
// one it returns one byte more.
func readSmall(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most+1))
}

// readFrame reads a file that should hold a frame into buf, which it grows as
// needed. A file that is too long for one is damaged.
func readFrame(path string, chunkSize int64, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return buf, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return buf, err
	}
	size, most := info.Size(), image.MaxFrameSize(chunkSize)
	if size < 1 || size > most {
		return buf, damaged("a file of %d bytes", size)
	}
	if int64(cap(buf)) < size {
		buf = make([]byte, size, most)
	}
	buf = buf[:size]
	_, err = io.ReadFull(f, buf)
	return buf, err
}

// writeSynced makes a new file that is on the disk when it returns.
func writeSynced(path string, data []byte) error {
	return writeFile(path, data, (*os.File).Sync)
}

// writeNew makes a new file that is on its way to the disk, so that little is left
// to do when all files are flushed.
func writeNew(path string, data []byte) error {
	return writeFile(path, data, func(f *os.File) error {
		// Whether it gets there, the flush tells; not every file system knows this.
		_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
		return nil
	})
}

func writeFile(path string, data []byte, flush func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = flush(f)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}

// linked tells whether f still has a name.
func linked(f *os.File) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, err
	}
	return st.Nlink > 0, nil
}
