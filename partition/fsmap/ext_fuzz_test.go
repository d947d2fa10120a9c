package fsmap

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// FuzzExt writes patches over file systems that mke2fs made. The first byte
// of the input chooses one of them; each patch is an offset in units of two
// bytes (three bytes long), a length and as many bytes. A map never reaches
// beyond the volume, comes within bounded time, and holds the superblock.
func FuzzExt(f *testing.F) {
	lab.Tools(f, "mke2fs", "debugfs")
	bases := extFuzzBases(f)
	for i, p := range bases {
		f.Add([]byte{byte(i)})
		fs := extOf(f, p)
		super := int64(extSuperOffset)
		f.Add(extPatch(i, super+0x60, "\x06")) // the journal is to be replayed
		f.Add(extPatch(i, super+0x20, "\x00\x01\x00\x00"))
		f.Add(extPatch(i, super+0x18, "\x06"))
		f.Add(extPatch(i, (fs.superBlock()+1)*fs.blockSize, "\x20"))
		g, err := fs.group(0)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(extPatch(i, g.blockBitmap*fs.blockSize, "\x00\x00"))
		f.Add(extPatch(i, g.inodeTable*fs.blockSize+7*fs.inodeSize+0x28, "\x0a\xf3\x04\x00\x04\x00\x01\x00"))
		for _, r := range fs.journal {
			f.Add(extPatch(i, r.start*fs.blockSize+0x1e, "\x00\x02"))
			f.Add(extPatch(i, (r.start+1)*fs.blockSize+6, "\x00\x05"))
		}
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) == 0 {
			return
		}
		base := bases[int(input[0])%len(bases)]
		r := extPatched(base, input[1:])
		begin := time.Now()
		for _, opt := range []Options{{}, {SkipSwapfiles: true}} {
			m, err := Read(context.Background(), r, int64(len(base)), opt)
			if err != nil {
				t.Fatal(err)
			}
			checkExtMap(t, m, int64(len(base)))
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// checkExtMap fails the test unless m is what Read promises.
func checkExtMap(t *testing.T, m *Map, size int64) {
	t.Helper()
	if normal := partition.Normalize(slices.Clone(m.Used)); !slices.Equal(normal, m.Used) {
		t.Errorf("used extents are not in order: %v", m.Used)
	}
	if m.Used.End() > size || m.Size > size || len(m.Used) > 0 && m.Used[0].Start < 0 {
		t.Errorf("beyond the volume of %d bytes: size %d, used %v", size, m.Size, m.Used)
	}
	if m.Whole && !m.Used.Covers(partition.Extent{Start: 0, Length: size}) {
		t.Errorf("whole, but used is %v", m.Used)
	}
	if !m.Used.Covers(partition.Extent{Start: 0, Length: extSuperOffset + extSuperSize}) {
		t.Errorf("the superblock is not in use: %v", m.Used)
	}
}

// extFuzzBases makes the file systems that are patched: with and without
// checksums, clean and dirty, with a swap file.
func extFuzzBases(f *testing.F) [][]byte {
	f.Helper()
	swap := make([]byte, 64<<10)
	copy(swap[4086:], "SWAPSPACE2")
	source := tempFile(f, swap)
	var bases [][]byte
	for _, options := range []string{
		"-t ext2 -b 1024", "-t ext3 -b 1024",
		"-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg",
		"-t ext4 -b 1024 -O metadata_csum",
		"-t ext4 -b 1024 -O ^metadata_csum,bigalloc -C 4096",
		"-t ext4 -b 1024 -g 256 -O ^metadata_csum,meta_bg,^resize_inode",
	} {
		path := tempFile(f, extImage(f, options))
		debugfs(f, path, "write "+source+" swapfile", "sif swapfile links_count 1")
		clean, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, clean)
		if fs := extOf(f, clean); len(fs.journal) > 0 {
			bases = append(bases, extDirtyBase(f, fs, path, clean))
		}
	}
	return bases
}

// extDirtyBase puts copies of all group descriptors and of a block bitmap of
// fs into its journal.
func extDirtyBase(f *testing.F, fs *extFS, path string, clean []byte) []byte {
	f.Helper()
	g, err := fs.group(0)
	if err != nil {
		f.Fatal(err)
	}
	var blocks []string
	var data []byte
	for _, block := range []int64{fs.superBlock() + 1, g.blockBitmap} {
		blocks = append(blocks, strconv.FormatInt(block, 10))
		data = append(data, clean[block*fs.blockSize:][:fs.blockSize]...)
	}
	debugfs(f, path, "jo", "jw -b "+strings.Join(blocks, ",")+" "+tempFile(f, data), "jw -r 3000,3001", "jc")
	dirty, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	return dirty
}

// extPatch encodes one patch of file system i.
func extPatch(i int, offset int64, p string) []byte {
	input := []byte{byte(i), byte(offset >> 17), byte(offset >> 9), byte(offset >> 1), byte(len(p))}
	return append(input, p...)
}

// An extPatchedDisk is a volume with changes.
type extPatchedDisk struct {
	base    []byte
	patches []extChange
}

type extChange struct {
	offset int64
	p      []byte
}

// extPatched decodes patches over base.
func extPatched(base, input []byte) *extPatchedDisk {
	r := &extPatchedDisk{base: base}
	for len(input) > 4 {
		offset := int64(binary.BigEndian.Uint32(append([]byte{0}, input[:3]...))) * 2
		n := min(int(input[3]), len(input)-4)
		r.patches = append(r.patches, extChange{offset, input[4 : 4+n]})
		input = input[4+n:]
	}
	return r
}

// ReadAt reads the volume as it is after all patches.
func (r *extPatchedDisk) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(r.base).ReadAt(p, off)
	for _, c := range r.patches {
		if c.offset < off+int64(n) && off < c.offset+int64(len(c.p)) {
			copy(p[max(c.offset-off, 0):n], c.p[max(off-c.offset, 0):])
		}
	}
	return n, err
}

var _ io.ReaderAt = (*extPatchedDisk)(nil)
