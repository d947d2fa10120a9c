package image

import (
	"bytes"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"slipcast/partition"
)

// A sparse is a disk of which only a few places hold anything.
type sparse struct {
	size  int64
	parts []partition.Write
	read  atomic.Int64 // bytes
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.size {
		return 0, io.EOF
	}
	clear(p)
	s.read.Add(int64(len(p)))
	e := partition.Extent{Start: off, Length: int64(len(p))}
	for _, w := range s.parts {
		if both := e.Intersect(partition.Extent{Start: w.Offset, Length: int64(len(w.Data))}); both.Length > 0 {
			copy(p[both.Start-off:], w.Data[both.Start-w.Offset:][:both.Length])
		}
	}
	return len(p), nil
}

// NextData knows where nothing is.
func (s *sparse) NextData(off int64) (start, end int64, err error) {
	for _, w := range s.parts {
		if end := w.Offset + int64(len(w.Data)); off < end {
			return max(off, w.Offset), end, nil
		}
	}
	return 0, 0, io.EOF
}

// A fileTarget is a file that is restored to.
type fileTarget struct{ *os.File }

func (f fileTarget) Size() int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// sparseFile returns an empty file of size bytes, in memory if that is
// possible.
func sparseFile(t *testing.T, size int64) fileTarget {
	t.Helper()
	f, err := os.CreateTemp("/dev/shm", "slipcast-test-*")
	if err != nil {
		f, err = os.CreateTemp(t.TempDir(), "x")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); os.Remove(f.Name()) })
	if err := f.Truncate(size); err != nil {
		t.Skipf("no room for a sparse file of %d bytes: %v", size, err)
	}
	return fileTarget{f}
}

// A disk of 1 TiB with little in use is a small image, and a small file again.
func TestGiant(t *testing.T) {
	const size = 1<<40 + 512
	disk := &sparse{size: size, parts: []partition.Write{
		{Offset: 0, Data: randomDisk(miB, 1)}, {Offset: 300<<30 + 4096, Data: randomDisk(3*miB, 2)}, {Offset: size - 999, Data: randomDisk(999, 3)},
	}}
	var used partition.Extents
	var data int64
	for _, w := range disk.parts {
		used = append(used, partition.Extent{Start: w.Offset, Length: int64(len(w.Data))})
		data += int64(len(w.Data))
	}
	used = append(used[:2:2], partition.Extent{Start: 500 << 30, Length: 64 * miB}, used[2]) // in use, and a hole in the file
	var image bytes.Buffer
	if _, _, err := Capture(t.Context(), &image, disk, layoutOf(size, used), CaptureOptions{Workers: 2}); err != nil {
		t.Fatal(err)
	}
	if got, most := int64(image.Len()), data+40*miB; got > most {
		t.Errorf("the image has %d bytes, want at most %d", got, most)
	}
	if got, most := disk.read.Load(), data+miB; got > most {
		t.Errorf("%d bytes were read, want at most %d", got, most)
	}
	for _, stream := range []bool{false, true} {
		dst := sparseFile(t, size)
		mustRestore(t, image.Bytes(), stream, dst, RestoreOptions{Blank: true, Verify: true, Workers: 2})
		for _, w := range disk.parts {
			got := make([]byte, len(w.Data))
			if _, err := dst.ReadAt(got, w.Offset); err != nil || !bytes.Equal(got, w.Data) {
				t.Errorf("%d bytes at %d differ, %v", len(got), w.Offset, err)
			}
		}
		var st syscall.Stat_t
		if err := syscall.Fstat(int(dst.Fd()), &st); err != nil || st.Blocks*512 > data+3*miB {
			t.Errorf("the file takes %d bytes, want about %d, %v", st.Blocks*512, data, err)
		}
	}
}
