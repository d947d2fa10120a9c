package fsmap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"slipcast/partition"
)

// ntfsProtected returns 1024 bytes whose last two of each 512 are 0xAABB and
// 0xCCDD, protected by update sequence number 0x0102.
func ntfsProtected() []byte {
	p := make([]byte, 1024)
	copy(p, "FILE")
	binary.LittleEndian.PutUint16(p[4:], 48)
	binary.LittleEndian.PutUint16(p[6:], 3)
	copy(p[48:], []byte{2, 1, 0xBB, 0xAA, 0xDD, 0xCC})
	copy(p[510:], []byte{2, 1})
	copy(p[1022:], []byte{2, 1})
	return p
}

func TestUndoFixups(t *testing.T) {
	p := ntfsProtected()
	if err := undoFixups(p, "FILE"); err != nil {
		t.Fatal(err)
	}
	if got := append(bytes.Clone(p[510:512]), p[1022:]...); !bytes.Equal(got, []byte{0xBB, 0xAA, 0xDD, 0xCC}) {
		t.Errorf("got %x behind the sectors", got)
	}
	redoFixups(p)
	if !bytes.Equal(p, ntfsProtected()) {
		t.Error("redoFixups is not its inverse")
	}
}

func TestUndoFixupsRejects(t *testing.T) {
	tests := []struct {
		name   string
		change func(p []byte) []byte
	}{
		{"nothing", func([]byte) []byte { return nil }},
		{"half a sector", func(p []byte) []byte { return p[:256] }},
		{"other magic", func(p []byte) []byte { p[0] = 'B'; return p }},
		{"first sector torn", func(p []byte) []byte { p[510]++; return p }},
		{"last sector torn", func(p []byte) []byte { p[1023]++; return p }},
		{"entries for one sector", func(p []byte) []byte { p[6] = 2; return p }},
		{"entries for three sectors", func(p []byte) []byte { p[6] = 4; return p }},
		{"no entries", func(p []byte) []byte { p[6] = 0; return p }},
		{"array over its own header", func(p []byte) []byte { p[4] = 4; return p }},
		{"array over the end of the sector", func(p []byte) []byte { p[4], p[5] = 0xFA, 1; return p }},
		{"array outside", func(p []byte) []byte { p[4], p[5] = 0xFF, 0xFF; return p }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := undoFixups(tt.change(ntfsProtected()), "FILE"); !errors.Is(err, errDamaged) {
				t.Errorf("got %v, want damage", err)
			}
		})
	}
}

func TestDecodeNTFSAttrsRejects(t *testing.T) {
	resident := rawNTFSValue(ntfsVolumeName, []byte("a name"))
	mapped := rawNTFSMapped(ntfsData, []ntfsRun{{0, 5, 10}}, 512, 5000)
	tests := []struct {
		name string
		attr []byte
		at   int
		to   byte
	}{
		{"length of zero", resident, 4, 0},
		{"length not a multiple of eight", resident, 4, 31},
		{"length beyond the record", resident, 5, 1},
		{"name beyond the attribute", resident, 9, 200},
		{"value beyond the attribute", resident, 16, 200},
		{"value that starts beyond the attribute", resident, 21, 1},
		{"mapped attribute that is too short", resident, 8, 1},
		{"run list within the header", mapped, 32, 16},
		{"run list beyond the attribute", mapped, 33, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := append(bytes.Clone(tt.attr), 0xFF, 0xFF, 0xFF, 0xFF)
			if attrs, err := decodeNTFSAttrs(p); err != nil || len(attrs) != 1 {
				t.Fatalf("unchanged: got %v, %v", attrs, err)
			}
			p[tt.at] = tt.to
			if _, err := decodeNTFSAttrs(p); !errors.Is(err, errDamaged) {
				t.Errorf("got %v, want damage", err)
			}
			if _, err := decodeNTFSAttrs(tt.attr); !errors.Is(err, errDamaged) {
				t.Errorf("without an end: got %v, want damage", err)
			}
		})
	}
}

// TestNTFSReadBitmap compares the reader of bits with a simple one, over
// several pieces, full and empty words, and bits behind the last cluster.
func TestNTFSReadBitmap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	bitmap := bytes.Repeat([]byte{0xFF}, ntfsBitmapPiece+1000)
	for i := 0; i < len(bitmap); i += 1 + rng.IntN(300) {
		bitmap[i] = byte(rng.Uint32())
	}
	clear(bitmap[ntfsBitmapPiece/2 : ntfsBitmapPiece*3/4])
	for _, clusters := range []int64{1, 7, 8, 63, 64, 65, ntfsBitmapPiece*8 + 1, int64(len(bitmap)) * 8} {
		fs := &ntfs{ntfsBoot: ntfsBoot{clusters: clusters, clusterSize: 512}}
		got, err := fs.readBitmap(&ntfsStream{fs: fs, resident: true, value: bitmap, size: int64(len(bitmap))})
		if err != nil {
			t.Fatal(err)
		}
		var want partition.Builder
		for i := range clusters {
			if bitmap[i/8]>>(i%8)&1 == 1 {
				want.Add(i*512, 512)
			}
		}
		if !slices.Equal(got, want.Extents()) {
			t.Errorf("%d clusters: got %d extents with %d bytes, another result than bit by bit", clusters, len(got), got.Size())
		}
	}
}

func TestNTFSClusterSize(t *testing.T) {
	tests := []struct {
		sector  int
		sectors byte
		want    int64
	}{
		{512, 1, 512}, {512, 8, 4096}, {512, 128, 64 << 10},
		{512, 0xF8, 128 << 10}, {512, 0xF4, 2 << 20}, {512, 0xF3, 0}, {512, 0x81, 0},
		{4096, 1, 4096}, {4096, 128, 512 << 10}, {4096, 0xF7, 2 << 20}, {4096, 0xF6, 0},
		{256, 8, 0}, {8192, 1, 0}, {513, 1, 0}, {0, 1, 0}, {512, 0, 0}, {512, 3, 0},
	}
	for _, tt := range tests {
		sector := make([]byte, 512)
		binary.LittleEndian.PutUint16(sector[11:], uint16(tt.sector))
		sector[13] = tt.sectors
		if got := ntfsClusterSize(sector); got != tt.want {
			t.Errorf("%d bytes, %#x: got %d, want %d", tt.sector, tt.sectors, got, tt.want)
		}
	}
}

func TestNTFSRecordSize(t *testing.T) {
	tests := []struct {
		n       int8
		cluster int64
		want    int64
	}{
		{-10, 4096, 1024}, {-12, 4096, 4096}, {2, 512, 1024}, {1, 4096, 4096}, {-9, 512, 512},
		{0, 4096, 0}, {-8, 512, 0}, {3, 512, 0}, {-128, 512, 0}, {127, 2 << 20, 0}, {1, 128 << 10, 0},
	}
	for _, tt := range tests {
		if got := ntfsRecordSize(tt.n, tt.cluster); got != tt.want {
			t.Errorf("%d, clusters of %d: got %d, want %d", tt.n, tt.cluster, got, tt.want)
		}
	}
}
