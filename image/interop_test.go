package image

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	seekable "github.com/SaveTheRbtz/zstd-seekable-format-go/pkg"
	"github.com/klauspost/compress/zstd"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// otherDisks are disks with holes at their start, middle and end, and of odd
// sizes.
func otherDisks() map[string]testDisk {
	disks := map[string]testDisk{"small": {b: []byte(smallDisk), layout: smallLayout()}}
	add := func(name string, size int64, used ...partition.Extent) {
		disks[name] = testDisk{b: randomDisk(int(size), 6), layout: layoutOf(size, used)}
	}
	add("hole at the start", 3*miB, partition.Extent{Start: 2*miB + 17, Length: miB - 17})
	add("hole in the middle", 3*miB, partition.Extent{Start: 0, Length: 1}, partition.Extent{Start: 3*miB - 1, Length: 1})
	add("hole at the end", 3*miB+1, partition.Extent{Start: 0, Length: miB})
	add("odd size", miB+4321, partition.Extent{Start: 1, Length: miB + 4320})
	add("one byte", 1, partition.Extent{Start: 0, Length: 1})
	add("one unused byte", 1)
	add("nothing in use", 700*kiB)
	add("hole of 64 MiB and more", 66*miB+5, partition.Extent{Start: 66 * miB, Length: 5})
	return disks
}

// writeImage captures d into a file.
func writeImage(t *testing.T, d testDisk) (name string, image []byte) {
	t.Helper()
	image = captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: smallChunk})
	name = filepath.Join(t.TempDir(), "x.img.zst")
	if err := os.WriteFile(name, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, image
}

// A zstd that knows nothing of us accepts an image, and gets the disk out of
// it.
func TestPlainZstd(t *testing.T) {
	lab.Tools(t, "zstd")
	for name, d := range otherDisks() {
		t.Run(name, func(t *testing.T) {
			file, _ := writeImage(t, d)
			lab.Run(t, "zstd", "-q", "-t", file)
			got, err := exec.Command("zstd", "-dc", file).Output()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, d.want()) {
				t.Errorf("zstd -dc gives %d bytes that are not the masked disk of %d", len(got), len(d.b))
			}
		})
	}
}

// Other programs take an image for what it is.
func TestFileType(t *testing.T) {
	lab.Tools(t, "file")
	file, _ := writeImage(t, forgeDisk())
	if got := lab.Run(t, "file", file); !strings.Contains(got, "Zstandard compressed") {
		t.Errorf("file says %q", got)
	}
}

// A reader of the seekable format finds every byte, and every chunk's start.
func TestSeekableReader(t *testing.T) {
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	for name, d := range otherDisks() {
		t.Run(name, func(t *testing.T) {
			_, image := writeImage(t, d)
			r, err := seekable.NewReader(bytes.NewReader(image), dec)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			rng := rand.New(rand.NewPCG(8, 8))
			size := int64(len(d.b))
			reads, step := 200, int64(smallChunk)
			if size > 10*miB { // it unpacks a hole anew for each read
				reads, step = 3, 33*miB
			}
			var offsets []int64
			for range reads {
				offsets = append(offsets, rng.Int64N(size))
			}
			for at := int64(0); at < size; at += step {
				offsets = append(offsets, at)
			}
			want := d.want()
			for _, at := range offsets {
				got := make([]byte, min(1+rng.Int64N(5000), size-at))
				if n, err := r.ReadAt(got, at); n < len(got) || err != nil && err != io.EOF {
					t.Fatalf("%d bytes at %d: %d, %v", len(got), at, n, err)
				}
				if !bytes.Equal(got, want[at:at+int64(len(got))]) {
					t.Fatalf("%d bytes at %d differ", len(got), at)
				}
			}
		})
	}
}

// Our own Reader gives the same.
func TestReader(t *testing.T) {
	for name, d := range otherDisks() {
		_, image := writeImage(t, d)
		r := newReader(t, openBytes(t, image))
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()+100))
		if err != nil || !bytes.Equal(got, d.want()) {
			t.Errorf("%s: %d bytes that are not the masked disk, %v", name, len(got), err)
		}
		if n, err := r.ReadAt(make([]byte, 10), r.Size()-1); n != 1 || err != io.EOF {
			t.Errorf("%s: reading over the end: %d, %v", name, n, err)
		}
	}
}

// xxd and zstd make the disk of the vector, as docs/format.md says.
func TestVectorPlainZstd(t *testing.T) {
	lab.Tools(t, "zstd")
	cmd := exec.Command("zstd", "-dc")
	cmd.Stdin = bytes.NewReader(vector(t, "the image of the 23 bytes"))
	if got, err := cmd.Output(); err != nil || string(got) != smallDisk {
		t.Errorf("zstd -dc: %q, %v", got, err)
	}
}
