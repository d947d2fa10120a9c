package image

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"slipcast/partition"
)

// A memory is a target and a source in memory.
type memory struct{ b []byte }

func (m *memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, off) }
func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	return copy(m.b[off:], p), nil
}
func (m *memory) Size() int64 { return int64(len(m.b)) }
func (m *memory) Sync() error { return nil }

// randomDisk returns size bytes of which about half compress.
func randomDisk(size int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		end := min(i+4096, size)
		switch rng.IntN(3) {
		case 0:
			for k := i; k < end; k++ {
				p[k] = byte(rng.Uint32())
			}
		case 1:
			copy(p[i:end], bytes.Repeat([]byte{byte(rng.Uint32()), 7, 9}, 1366))
		}
	}
	return p
}

// garbage returns size bytes, none of them zero.
func garbage(size int) []byte {
	rng := rand.New(rand.NewPCG(99, 0))
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(1 + rng.IntN(255))
	}
	return p
}

// layoutOf returns the layout of a disk without a table.
func layoutOf(size int64, used partition.Extents) *Layout {
	return &Layout{
		Size: size, LogicalSector: 512, PhysicalSector: 512,
		Table:   Table{Kind: partition.None},
		Volumes: []Volume{{Size: size, Span: size}},
		Used:    used,
	}
}

// masked returns a copy of disk with zeros outside of used.
func masked(disk []byte, used partition.Extents) []byte {
	p := bytes.Clone(disk)
	clearUnused(p, 0, used)
	return p
}

func captureBytes(t testing.TB, disk []byte, l *Layout, opt CaptureOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, _, err := Capture(context.Background(), &out, bytes.NewReader(disk), l, opt); err != nil {
		t.Fatalf("Capture: %v", err)
	}
	return out.Bytes()
}

func openBytes(t testing.TB, p []byte) *Image {
	t.Helper()
	im, err := Open(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return im
}

func TestRoundTrip(t *testing.T) {
	const size = 4<<20 + 12345
	disk := randomDisk(size, 1)
	used := partition.Extents{{Start: 0, Length: 5000}, {Start: 1 << 20, Length: 100}, {Start: 3<<20 - 512, Length: 1 << 20}, {Start: size - 3, Length: 3}}
	for _, chunk := range []int64{256 << 10, 1 << 20, 16 << 20} {
		p := captureBytes(t, disk, layoutOf(size, used), CaptureOptions{ChunkSize: chunk, Workers: 3})
		im := openBytes(t, p)
		if err := im.Verify(context.Background(), VerifyOptions{}); err != nil {
			t.Errorf("Verify: %v", err)
		}
		dst := &memory{garbage(size)}
		if _, err := Restore(context.Background(), im, dst, RestoreOptions{Verify: true}); err != nil {
			t.Fatalf("Restore: %v", err)
		}
		if got, want := masked(dst.b, used), masked(disk, used); !bytes.Equal(got, want) {
			t.Errorf("chunk size %d: restored bytes differ", chunk)
		}
		s, err := OpenStream(bytes.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		dst = &memory{garbage(size)}
		if _, err := RestoreStream(context.Background(), s, dst, RestoreOptions{Verify: true}); err != nil {
			t.Fatalf("RestoreStream: %v", err)
		}
		if got, want := masked(dst.b, used), masked(disk, used); !bytes.Equal(got, want) {
			t.Errorf("chunk size %d: streamed bytes differ", chunk)
		}
	}
}

// A zstd that knows nothing of us gets the disk out of an image.
func TestPlainZstd(t *testing.T) {
	dir := t.TempDir()
	disk := randomDisk(3<<20, 2)
	used := partition.Extents{{Start: 1 << 20, Length: 1 << 20}}
	name := filepath.Join(dir, "x.img.zst")
	if err := os.WriteFile(name, captureBytes(t, disk, layoutOf(3<<20, used), CaptureOptions{}), 0o600); err != nil {
		t.Fatal(err)
	}
}
