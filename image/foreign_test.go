package image

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// packings pack a disk as other programs do.
func packings() map[string]func(t testing.TB, raw []byte) []byte {
	through := func(open func(w io.Writer) (io.WriteCloser, error)) func(testing.TB, []byte) []byte {
		return func(t testing.TB, raw []byte) []byte {
			var out bytes.Buffer
			w, err := open(&out)
			if err == nil {
				_, err = w.Write(raw)
			}
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
	}
	return map[string]func(testing.TB, []byte) []byte{
		"raw":  func(_ testing.TB, raw []byte) []byte { return raw },
		"gzip": through(func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }),
		"xz":   through(func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }),
		"zstd": through(func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
	}
}

// openForeign opens an image that others made, as a pipe or as a file.
func openForeign(t testing.TB, p []byte, pipe bool) *Foreign {
	t.Helper()
	size := int64(len(p))
	if pipe {
		size = -1
	}
	f, err := OpenForeign(onlyReader{bytes.NewReader(p)}, size)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// An image of each packing restores to a disk of the same size, over whatever
// was there, front to back, the vital bytes last.
func TestForeign(t *testing.T) {
	for kind, pack := range packings() {
		for name, d := range testDisks(t) {
			if kind == "xz" && name != "gpt" {
				continue // slow to pack
			}
			bootable(d.b)
			packed := pack(t, d.b)
			for _, pipe := range []bool{false, true} {
				for _, delta := range []bool{false, true} {
					f := openForeign(t, packed, pipe)
					if f.Kind != kind || (f.Size >= 0) != (kind == "raw" && !pipe) {
						t.Errorf("%s: kind %s, size %d", kind, f.Kind, f.Size)
					}
					dst := newRecorder(oldDisk(len(d.b)))
					var done counter
					stats, err := f.Restore(t.Context(), dst, RestoreOptions{Delta: delta, TargetSector: 512, Progress: func(n int64) { done.Add(n) }})
					if err != nil || !bytes.Equal(dst.durable, d.b) {
						t.Errorf("%s %s: the target is not the disk, %v", kind, name, err)
					}
					if stats.Moved || done.Load() != int64(len(d.b)) || stats.Written != dst.written() {
						t.Errorf("%s %s: %+v, %d bytes of progress, %d written", kind, name, stats, done.Load(), dst.written())
					}
					checkStart(t, kind, dst)
				}
			}
		}
	}
}

// bootable makes the first sector of a disk without a table one of a disk.
func bootable(b []byte) {
	if len(b) >= 512 && tableOn(b) == nil {
		clear(b[:512])
		b[510], b[511] = 0x55, 0xaa
	}
}

// The second time, delta writes nothing.
func TestForeignDelta(t *testing.T) {
	d := testDisks(t)["gpt"]
	dst := newRecorder(d.b)
	stats, err := openForeign(t, d.b, false).Restore(t.Context(), dst, RestoreOptions{Delta: true})
	if err != nil || dst.written() > 0 || stats.Written > 0 {
		t.Errorf("%d bytes were written, %v", dst.written(), err)
	}
}

// A GPT goes with its backup to the end of a larger target, and grows.
func TestForeignLarger(t *testing.T) {
	for _, name := range []string{"gpt", "mbr"} {
		for _, grow := range []bool{false, true} {
			d := testDisks(t)[name]
			dst := newRecorder(oldDisk(len(d.b) + 4*miB))
			stats, err := openForeign(t, packings()["zstd"](t, d.b), true).Restore(t.Context(), dst, RestoreOptions{Grow: grow})
			if err != nil {
				t.Fatal(err)
			}
			table := placed(t, name, d, dst.durable)
			if !stats.Moved || (stats.Grown != nil) != grow {
				t.Errorf("%s: %+v", name, stats)
			}
			if name == "gpt" && string(dst.durable[dst.Size()-512:][:8]) != "EFI PART" {
				t.Error("no backup at the end")
			}
			if last := table.Partitions[len(table.Partitions)-1]; (last.Size > 2*miB) != grow {
				t.Errorf("%s: grow %v, the last partition has %d bytes", name, grow, last.Size)
			}
		}
	}
}

// A target that is too small is refused before the first byte if the size is
// known, and else holds no table.
func TestForeignTooSmall(t *testing.T) {
	d := testDisks(t)["gpt"]
	for kind, pack := range packings() {
		if kind == "xz" {
			continue // slow to pack
		}
		dst := newRecorder(oldDisk(len(d.b) - 512))
		_, err := openForeign(t, pack(t, d.b), false).Restore(t.Context(), dst, RestoreOptions{})
		var small *TooSmallError
		if !errors.As(err, &small) || small.Have != dst.Size() {
			t.Errorf("%s: got %v", kind, err)
		}
		if kind == "raw" && len(dst.ops) > 0 {
			t.Errorf("%v was done", dst.ops)
		}
		if kind != "raw" {
			noTable(t, d, dst.durable)
		}
	}
}

// A GPT for other sectors is refused before the first byte.
func TestForeignSectors(t *testing.T) {
	d := testDisks(t)["gpt"]
	dst := newRecorder(oldDisk(len(d.b)))
	_, err := openForeign(t, packings()["gzip"](t, d.b), true).Restore(t.Context(), dst, RestoreOptions{TargetSector: 4096})
	if !errors.Is(err, ErrSectorSize) || len(dst.ops) > 0 {
		t.Errorf("got %v after %d operations", err, len(dst.ops))
	}
}

// A growing is a file that becomes as large as the disk.
type growing struct{ memory }

func (g *growing) WriteAt(p []byte, off int64) (int, error) {
	if more := off + int64(len(p)) - int64(len(g.b)); more > 0 {
		g.b = append(g.b, make([]byte, more)...)
	}
	return copy(g.b[off:], p), nil
}

func (g *growing) SetSize(n int64) error {
	if more := n - int64(len(g.b)); more > 0 {
		g.b = append(g.b, make([]byte, more)...)
	}
	g.b = g.b[:n]
	return nil
}

// A new file becomes as large as the disk, however small that is.
func TestForeignNewFile(t *testing.T) {
	for kind, pack := range packings() {
		for _, size := range []int{512, 513, 4096, 5000, miB - 1, miB, miB + 1, 2*miB + 77, 3 * miB} {
			if kind == "xz" && size > miB {
				break // slow to pack
			}
			disk := randomDisk(size, 3)
			bootable(disk)
			dst := &growing{}
			if _, err := openForeign(t, pack(t, disk), true).Restore(t.Context(), dst, RestoreOptions{Blank: true}); err != nil || !bytes.Equal(dst.b, disk) {
				t.Errorf("%s, %d bytes: the file has %d bytes, %v", kind, size, len(dst.b), err)
			}
		}
	}
}

// An image that was cut short or damaged is reported, and the target holds no
// table; nothing goes on in the background.
func TestForeignDamaged(t *testing.T) {
	d := testDisks(t)["gpt"]
	before := runtime.NumGoroutine()
	for kind, pack := range packings() {
		if kind == "raw" {
			continue // what cannot be known
		}
		p := pack(t, d.b)
		for _, n := range []int{len(p) - 1, len(p) - 7, len(p) * 3 / 4, len(p) / 2} {
			foreignFails(t, kind, p[:n], d)
		}
		for _, i := range []int{len(p) / 3, len(p) * 3 / 4} {
			bad := slices.Clone(p)
			bad[i] ^= 0x55
			bad[i+1] ^= 0x55
			foreignFails(t, kind, bad, d)
		}
		if _, err := OpenForeign(bytes.NewReader(p[:20]), 20); !isDamage(err) {
			t.Errorf("%s: 20 bytes: got %v", kind, err)
		}
	}
	sameGoroutines(t, before)
}

func foreignFails(t *testing.T, kind string, p []byte, d testDisk) {
	t.Helper()
	dst := newRecorder(oldDisk(len(d.b)))
	f, err := OpenForeign(onlyReader{bytes.NewReader(p)}, int64(len(p)))
	if err == nil {
		_, err = f.Restore(t.Context(), dst, RestoreOptions{})
	}
	if !isDamage(err) {
		t.Errorf("%s: got %v, want damage", kind, err)
	}
	if len(dst.ops) > 0 {
		noTable(t, d, dst.durable)
	}
}

// What is not a disk is refused.
func TestForeignRefused(t *testing.T) {
	text := []byte(strings.Repeat("This is not a disk. ", 1000))
	partclone := append([]byte("partclone-image\x00"), make([]byte, 1000)...)
	partclone[510], partclone[511] = 0x55, 0xaa
	pack := packings()
	for _, tt := range []struct {
		name string
		p    []byte
		want string
		none bool // ErrNotImage
	}{
		{"empty", nil, "nothing in it", true},
		{"a byte", []byte{0}, "", true},
		{"text", text, "not the raw bytes of a disk", true},
		{"text, packed", pack["gzip"](t, text), "not the raw bytes of a disk", true},
		{"zeros", make([]byte, 4096), "", true},
		{"partclone", partclone, "partclone", true},
		{"partclone, packed", pack["zstd"](t, partclone), "partclone", true},
		{"a window of 256 MiB", append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3}, make([]byte, 100)...), "zstd", false},
	} {
		_, err := OpenForeign(bytes.NewReader(tt.p), int64(len(tt.p)))
		if err == nil || errors.Is(err, ErrNotImage) != tt.none || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
	if _, err := OpenForeign(errReader{}, -1); !errors.Is(err, errBad) || isDamage(err) {
		t.Errorf("a file that cannot be read: got %v", err)
	}
	sector := make([]byte, 512)
	sector[510], sector[511] = 0x55, 0xaa
	if _, err := OpenForeign(io.MultiReader(bytes.NewReader(sector), errReader{}), -1); !errors.Is(err, errBad) || isDamage(err) {
		t.Errorf("a file that cannot be read to its end: got %v", err)
	}
}

// A real image of partclone is refused, too.
func TestForeignPartclone(t *testing.T) {
	lab.Tools(t, "partclone.ext4", "mkfs.ext4")
	disk := lab.File(t, 8*miB)
	lab.Run(t, "mkfs.ext4", "-q", disk)
	lab.Run(t, "partclone.ext4", "-c", "-s", disk, "-o", disk+".partclone", "-L", disk+".log")
	p, err := os.ReadFile(disk + ".partclone")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenForeign(bytes.NewReader(p), int64(len(p))); err == nil || !strings.Contains(err.Error(), "partclone") {
		t.Errorf("got %v", err)
	}
	raw, err := os.ReadFile(disk) // a file system without a table is a disk
	if err != nil {
		t.Fatal(err)
	}
	dst := newRecorder(garbage(len(raw)))
	if _, err := openForeign(t, raw, false).Restore(t.Context(), dst, RestoreOptions{}); err != nil || !bytes.Equal(dst.durable, raw) {
		t.Errorf("ext4 on all of the disk: %v", err)
	}
}

// A failing or cancelled target leaves no table.
func TestForeignKilled(t *testing.T) {
	d := testDisks(t)["gpt"]
	before := oldDisk(len(d.b))
	dst := newRecorder(before)
	if _, err := openForeign(t, d.b, false).Restore(t.Context(), dst, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	whole := testDisk{b: d.b, layout: &Layout{Table: d.layout.Table, Used: partition.Extents{{Start: 0, Length: int64(len(d.b))}}}}
	for n := range len(dst.ops) {
		dst.reset(before)
		dst.failAt = n
		if _, err := openForeign(t, d.b, false).Restore(t.Context(), dst, RestoreOptions{}); !errors.Is(err, errKilled) {
			t.Errorf("killed at operation %d: got %v", n, err)
		}
		checkRemains(t, whole, dst, n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	dst.reset(before)
	_, err := openForeign(t, d.b, false).Restore(ctx, dst, RestoreOptions{Progress: func(int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	if len(dst.ops) > 0 {
		noTable(t, d, dst.durable)
	}
}

// Skippable frames before the data, as other seekable images have them, are
// passed over.
func TestForeignSkippable(t *testing.T) {
	d := testDisks(t)["mbr"]
	p := binary.LittleEndian.AppendUint32(nil, headMagic+3)
	p = append(p, 5, 0, 0, 0, 'h', 'e', 'l', 'l', 'o')
	p = append(p, packings()["zstd"](t, d.b)...)
	dst := newRecorder(garbage(len(d.b)))
	if _, err := openForeign(t, p, true).Restore(t.Context(), dst, RestoreOptions{}); err != nil || !bytes.Equal(dst.durable, d.b) {
		t.Errorf("got %v", err)
	}
}
