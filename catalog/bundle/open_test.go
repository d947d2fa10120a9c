package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
)

// Contents are checked while they are read, so a bundle that is damaged after it
// was opened is found, too.
func TestDataChecks(t *testing.T) {
	stream := goodStream(t)
	flipped := []byte(stream)
	at := bytes.Index(flipped, []byte(contents))
	flipped[at+3] ^= 1
	file := seekable(t, string(flipped))
	b, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Data(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, ErrDamaged) {
		t.Errorf("err = %v, want ErrDamaged", err)
	}
	for _, n := range []int{-1, 1} {
		if _, err := b.Data(n); err == nil {
			t.Errorf("Data(%d) of a bundle with one file: no error", n)
		}
	}
}

// A bundle is read by many at the same time.
func TestDataConcurrent(t *testing.T) {
	file, m := built(t, folderOf(t, tree()))
	b, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range m.Files {
				r, err := b.Data(n)
				if err == nil {
					_, err = io.Copy(io.Discard, r)
				}
				if err != nil {
					t.Errorf("contents %d: %v", n, err)
				}
			}
		})
	}
	wg.Wait()
}

// Progress counts every byte of the stream, and the context ends it.
func TestVerify(t *testing.T) {
	file, _ := built(t, folderOf(t, tree()))
	b, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var got int64
	if err := b.Verify(t.Context(), func(n int64) { got += n }); err != nil {
		t.Fatal(err)
	}
	if want := b.stream.size(); got != want {
		t.Errorf("progress of %d bytes, want %d", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = b.Verify(ctx, func(int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v, want %v", err, context.Canceled)
	}
}

// Whichever byte of a bundle is flipped, it is found, unless zstd has two ways to
// say the same: then the stream is the same to the last byte.
func TestEveryByteCounts(t *testing.T) {
	stream := goodStream(t)
	good := seekable(t, stream)
	same := 0
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		err := check(t, bad)
		if err == nil {
			same++
			if got := unpacked(t, bad); got != stream {
				t.Errorf("byte %d of %d flipped: no error, but the stream differs", i, len(good))
			}
			continue
		}
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBundle) {
			t.Errorf("byte %d of %d flipped: %v, want ErrDamaged or ErrNotBundle", i, len(good), err)
		}
	}
	if same > len(good)/20 {
		t.Errorf("%d of %d bytes do not count, want few", same, len(good))
	}
}

// unpacked returns the stream in a bundle.
func unpacked(t *testing.T, file []byte) string {
	t.Helper()
	s, err := openStream(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, s.size())
	if err := readAt(s, p, 0); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// An error of the file is that, and no damage.
func TestReadError(t *testing.T) {
	file := seekable(t, goodStream(t))
	broken := errors.New("input/output error")
	for n := range 8 {
		r := &brokenFile{r: bytes.NewReader(file), left: n, err: broken}
		b, err := Open(r, int64(len(file)))
		if err == nil {
			err = b.Verify(t.Context(), nil)
		}
		if err != nil && (!errors.Is(err, broken) || errors.Is(err, ErrDamaged)) {
			t.Errorf("read %d fails: %v, want %v", n, err, broken)
		}
		if n < 3 && err == nil {
			t.Errorf("read %d fails: no error", n)
		}
	}
}

// A brokenFile can be read so many times.
type brokenFile struct {
	r    io.ReaderAt
	left int
	err  error
}

// ReadAt implements io.ReaderAt.
func (b *brokenFile) ReadAt(p []byte, off int64) (int, error) {
	if b.left--; b.left < 0 {
		return 0, b.err
	}
	return b.r.ReadAt(p, off)
}

// Of a file that is not the one that was signed nothing is parsed: a manifest
// that would be refused for its text is refused for its digest.
func TestOpenSigned(t *testing.T) {
	good := seekable(t, goodStream(t))
	b, err := Open(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := OpenSigned(bytes.NewReader(good), int64(len(good)), b.Digest); err != nil || signed.Manifest.ID() != b.Manifest.ID() {
		t.Errorf("the right one: %v", err)
	}
	hostile := seekable(t, member(manifestName, "{{{{")+end)
	if _, err := OpenSigned(bytes.NewReader(hostile), int64(len(hostile)), b.Digest); !errors.Is(err, ErrOther) || errors.Is(err, ErrDamaged) {
		t.Errorf("another one: %v, want ErrOther", err)
	}
	if _, err := OpenSigned(bytes.NewReader(good), int64(len(good)), ""); err == nil {
		t.Error("without a digest: opened, want an error")
	}
}
