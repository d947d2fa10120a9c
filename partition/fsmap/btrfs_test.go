package fsmap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// madeUsed is the map of newBtrfsMade: both copies of what is in the system
// and metadata chunks, and the extents of data. log adds what hangs on the
// log tree.
func madeUsed(log bool) partition.Extents {
	used := []partition.Extent{
		{Start: 0, Length: 1<<20 + madeNode}, // reserved, and the chunk tree behind it
		{Start: 2 << 20, Length: madeNode},
		{Start: 3<<20 + madeNode, Length: 4 * madeNode},
		{Start: 4<<20 + madeNode, Length: 4 * madeNode},
		{Start: 5 << 20, Length: 8192},
		{Start: 5<<20 + 65536, Length: 4096},
	}
	if log {
		used = append(used,
			partition.Extent{Start: 3<<20 + 5*madeNode, Length: 2 * madeNode},
			partition.Extent{Start: 4<<20 + 5*madeNode, Length: 2 * madeNode},
			partition.Extent{Start: 5<<20 + 16384, Length: 4096},
			partition.Extent{Start: 5<<20 + 32768, Length: 12288})
	}
	return partition.Normalize(used)
}

func TestBtrfsMap(t *testing.T) {
	for _, log := range []bool{true, false} {
		b := newBtrfsMade()
		if !log {
			b.put64(96, 0)
		}
		m := b.make().read(t)
		if m.Whole || m.Dirty != log || m.Label != "made" || m.Size != madeSize || m.BlockSize != 4096 {
			t.Errorf("got %+v", m)
		}
		if want := "01020300-0000-0000-0000-000000000000"; m.UUID != want {
			t.Errorf("UUID %s, want %s", m.UUID, want)
		}
		if want := madeUsed(log); !slices.Equal(m.Used, want) {
			t.Errorf("log %v: got %v, want %v", log, m.Used, want)
		}
	}
}

// What the format allows and the map does not depend on.
func TestBtrfsAccepts(t *testing.T) {
	tests := []struct {
		name string
		bend func(b *btrfsMade)
	}{
		{"all known features", func(b *btrfsMade) {
			b.put64(188, btrfsKnownIncompat)
			copy(b.super[571:], b.fsid[:])
		}},
		{"block group tree", func(b *btrfsMade) { b.put64(180, 1<<3|1<<1|1<<0) }},
		{"another UUID than the metadata", func(b *btrfsMade) {
			b.put64(188, btrfsMixedBackref|btrfsSkinny|btrfsMetadataUUID)
			copy(b.super[571:], b.fsid[:])
			b.super[40] = 9
		}},
		{"old tree block items", func(b *btrfsMade) {
			for i := range b.left {
				b.left[i].key = btrfsKey{b.left[i].key.id, btrfsExtentItem, madeNode}
			}
		}},
		{"references and block groups", func(b *btrfsMade) {
			b.right = append(b.right,
				madeItem{btrfsKey{madeData + 65536, btrfsExtentOwnerRef, 5}, nil},
				madeItem{btrfsKey{madeData + 65536, btrfsDataRef, 5}, make([]byte, 28)},
				madeItem{btrfsKey{madeData + 65536, btrfsBlockGroupItem, 5}, make([]byte, 24)})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBtrfsMade()
			tt.bend(b)
			m := b.make().read(t)
			if want := madeUsed(m.Dirty); m.Whole || !slices.Equal(m.Used, want) {
				t.Errorf("whole %v, notes %q, got %v, want %v", m.Whole, m.Notes, m.Used, want)
			}
		})
	}
}

// A log tree without items is one empty block.
func TestBtrfsEmptyLog(t *testing.T) {
	b := newBtrfsMade()
	b.log = nil
	m := b.make().read(t)
	if m.Whole || !m.Dirty || !m.Used.Covers(partition.Extent{Start: 4<<20 + 6*madeNode, Length: madeNode}) {
		t.Errorf("got %+v, want a dirty map with the second copy of the log", m)
	}
}

// Every refusal makes the volume whole and says why.
func TestBtrfsRefuses(t *testing.T) {
	tests := []struct {
		name string
		bend func(b *btrfsMade)
		want string // what the note holds
	}{
		{"checksum of the superblock", func(b *btrfsMade) { b.leaveSuper = true }, "superblock: wrong checksum"},
		{"checksums of the trees", func(b *btrfsMade) { b.leaveSums = true }, "has a wrong checksum"},
		{"kind of checksum", func(b *btrfsMade) { b.super[196] = 4 }, "checksums of type 4"},
		{"zones", func(b *btrfsMade) { b.put64(188, btrfsKnownIncompat|1<<12) }, "incompatible features 0x1000 that"},
		{"second extent tree", func(b *btrfsMade) { b.put64(188, btrfsKnownIncompat|1<<13) }, "incompatible features 0x2000 that"},
		{"stripe tree", func(b *btrfsMade) { b.put64(188, btrfsKnownIncompat|1<<14) }, "incompatible features 0x4000 that"},
		{"remap tree", func(b *btrfsMade) { b.put64(188, btrfsKnownIncompat|1<<17) }, "incompatible features 0x20000 that"},
		{"compat_ro feature", func(b *btrfsMade) { b.put64(180, 1<<4) }, "compat_ro kind 0x10"},
		{"compat feature", func(b *btrfsMade) { b.put64(172, 1) }, "compat kind 0x1"},
		{"errors found", func(b *btrfsMade) { b.put64(56, 1|1<<2) }, "superblock flags 0x4"},
		{"seed", func(b *btrfsMade) { b.put64(56, 1|1<<32) }, "superblock flags 0x100000000"},
		{"dump without data", func(b *btrfsMade) { b.put64(56, 1|1<<34) }, "superblock flags"},
		{"old back references", func(b *btrfsMade) { b.put64(188, btrfsSkinny) }, "before Linux 2.6.31"},
		{"two devices", func(b *btrfsMade) { b.put64(136, 2) }, "one of 2 devices"},
		{"sectors", func(b *btrfsMade) { b.super[145] = 0x18 }, "sectors of 6144"},
		{"nodes", func(b *btrfsMade) { b.super[150] = 2 }, "nodes of 135168"},
		{"device too large", func(b *btrfsMade) { b.put64(209, madeSize+4096) }, "on a volume of"},
		{"device size beyond 2^63", func(b *btrfsMade) { b.put64(209, 1<<63) }, "on a volume of"},
		{"replacement", func(b *btrfsMade) { b.put64(201, 0) }, "device replacement"},
		{"foreign device", func(b *btrfsMade) { b.super[283] = 9 }, "a device of another file system"},
		{"system chunks too long", func(b *btrfsMade) { b.super[161] = 9 }, "bytes of system chunks"},
		{"system chunks cut off", func(b *btrfsMade) { b.super[160]-- }, "superblock: item of type 228 with 2 stripes"},
		{"system chunks of rest", func(b *btrfsMade) { b.super[160]++ }, "cut off in the superblock"},
		{"no system chunks", func(b *btrfsMade) { b.super[160] = 0 }, "is in no chunk"},
		{"system chunk not in the tree", func(b *btrfsMade) { b.chunks = slices.Delete(b.chunks, 1, 2) }, "that the tree does not have"},
		{"system chunk differs", func(b *btrfsMade) {
			b.chunks[1] = b.chunk(madeSystem, btrfsSystem|btrfsDUP, 6<<20, 7<<20)
		}, "overlaps another"},

		{"no device item", func(b *btrfsMade) { b.chunks = b.chunks[1:] }, "0 devices, want one"},
		{"second device item", func(b *btrfsMade) {
			b.chunks = slices.Insert(b.chunks, 1, madeItem{btrfsKey{1, btrfsDeviceItem, 2}, b.deviceItem()})
		}, "2 devices, want one"},
		{"other device item", func(b *btrfsMade) { b.chunks[0].data[0] = 2 }, "device 2 of 12582912 bytes"},
		{"short device item", func(b *btrfsMade) { b.chunks[0].data = nil }, "a device item of 0 bytes"},
		{"striped", func(b *btrfsMade) { b.chunks[3].data[24] |= 1 << 3 }, "profile 0x8, which is not mapped"},
		{"unknown profile", func(b *btrfsMade) { b.chunks[3].data[26] |= 1 }, "profile 0x10000"},
		{"chunk of nothing", func(b *btrfsMade) { b.chunks[3].data[24] = 0 }, "a chunk of type 0x0"},
		{"chunk elsewhere", func(b *btrfsMade) { b.chunks[3].data[48] = 2 }, "on device 2"},
		{"chunk on another UUID", func(b *btrfsMade) { b.chunks[3].data[64]++ }, "which is not this one"},
		{"chunk beyond the device", func(b *btrfsMade) { b.chunks[3].data[50+8] = 0xf0 }, "a chunk of 1048576 bytes at offset"},
		{"chunk longer than the device", func(b *btrfsMade) { b.chunks[3].data[7] = 0x80 }, "a chunk of 9223372036855824384 bytes"},
		{"empty chunk", func(b *btrfsMade) { clear(b.chunks[3].data[:8]) }, "a chunk of 0 bytes"},
		{"stripe length", func(b *btrfsMade) { b.chunks[3].data[16] = 1 }, "in stripes of 65537"},
		{"chunk address", func(b *btrfsMade) { b.chunks[3].key.offset++ }, "a chunk at logical address"},
		{"chunk address near the end", func(b *btrfsMade) { b.chunks[3].key.offset = 1<<64 - 4096 }, "a chunk at logical address"},
		{"stripes", func(b *btrfsMade) { b.chunks[3].data[44] = 2 }, "a chunk of 2 stripes in 80 bytes"},
		{"short chunk", func(b *btrfsMade) { b.chunks[3].data = nil }, "a chunk item of 0 bytes"},
		{"chunks overlap", func(b *btrfsMade) { b.chunks[3] = b.chunk(madeMetadata+4096, btrfsData, 6<<20) }, "overlaps another"},
		{"chunks share a place", func(b *btrfsMade) { b.chunks[3] = b.chunk(madeData, btrfsData, 4<<20+4096) }, "two chunks at offset"},

		{"no extent tree", func(b *btrfsMade) { b.roots = nil }, "no extent tree"},
		{"two extent trees", func(b *btrfsMade) {
			b.roots = append(b.roots, madeItem{btrfsKey{btrfsExtentTree, btrfsRootItem, 1}, b.roots[0].data})
		}, "more than one extent tree"},
		{"short root item", func(b *btrfsMade) { b.roots[0].data = b.roots[0].data[:200] }, "a root item of 200 bytes"},
		{"level", func(b *btrfsMade) { b.roots[0].data[238] = 8 }, "a tree of level 8"},
		{"other level", func(b *btrfsMade) { b.roots[0].data[238] = 2 }, "found block"},
		{"other generation", func(b *btrfsMade) { b.roots[0].data[160]++ }, "generation 7), want block"},
		{"root not aligned", func(b *btrfsMade) { b.roots[0].data[176]++ }, "a tree block at"},
		{"root in no chunk", func(b *btrfsMade) { b.roots[0].data[183] = 0xff }, "are in no chunk"},
		{"root in a data chunk", func(b *btrfsMade) {
			b.chunks[2].data[24] = btrfsData | btrfsDUP
		}, "in the wrong kind of chunk"},

		{"extents overlap", func(b *btrfsMade) { b.right[0].key.offset = 131072 }, "overlaps the one before"},
		{"extent beyond its chunk", func(b *btrfsMade) { b.right[1].key.offset = madeChunk }, "are in no chunk"},
		{"extent that wraps around", func(b *btrfsMade) { b.right[1].key.offset = 1<<64 - 4096 }, "are in no chunk"},
		{"extent in no chunk", func(b *btrfsMade) { b.right[1].key.id += madeChunk }, "are in no chunk"},
		{"extent in the wrong chunk", func(b *btrfsMade) { b.left[4] = madeDataExtent(madeExtentRight, 4096) }, "wrong kind of chunk"},
		{"empty extent", func(b *btrfsMade) { b.right[1].key.offset = 0 }, "an extent of 0 bytes"},
		{"part of a sector", func(b *btrfsMade) { b.right[1].key.offset = 4097 }, "an extent of 4097 bytes"},
		{"extent of both kinds", func(b *btrfsMade) { b.right[1].data[16] = 3 }, "with flags 0x3"},
		{"extent of no kind", func(b *btrfsMade) { b.right[1].data[16] = 0 }, "with flags 0x0"},
		{"tree block of another size", func(b *btrfsMade) { b.right[0].data[16] = 2 }, "an extent of 8192 bytes"},
		{"data as a metadata item", func(b *btrfsMade) { b.left[4].data[16] = 1 }, "with flags 0x1"},
		{"short extent item", func(b *btrfsMade) { b.right[0].data = b.right[0].data[:4] }, "an extent item of 4 bytes"},
		{"metadata item of no level", func(b *btrfsMade) { b.left[0].key.offset = 8 }, "a metadata item of level 8"},
		{"metadata item without the feature", func(b *btrfsMade) { b.put64(188, btrfsMixedBackref) }, "a metadata item of level 0"},
		{"unknown item", func(b *btrfsMade) { b.right[1].key.kind = 170 }, "an item of type 170"},
		{"extent missing", func(b *btrfsMade) { b.right = b.right[:1] }, "28672 bytes in use, the superblock has 32768"},

		{"same leaf twice", editBtrfsNode(madeExtentRoot, func(p []byte) {
			copy(p[btrfsHeaderSize+btrfsPtrSize:], p[btrfsHeaderSize:btrfsHeaderSize+btrfsPtrSize])
		}), "is out of order"},
		{"a node below itself", editBtrfsNode(madeExtentRoot, func(p []byte) {
			binary.LittleEndian.PutUint64(p[btrfsHeaderSize+btrfsKeySize:], madeExtentRoot)
		}), "(level 1, generation 7), want"},
		{"key of a child", editBtrfsNode(madeExtentRoot, func(p []byte) { p[btrfsHeaderSize]++ }), "not what its parent says"},
		{"empty child", editBtrfsNode(madeExtentLeft, func(p []byte) { p[96] = 0 }), "not what its parent says"},
		{"empty node", editBtrfsNode(madeExtentRoot, func(p []byte) { p[96] = 0 }), "has 0 entries"},
		{"too many items", editBtrfsNode(madeExtentLeft, func(p []byte) { p[96] = 160 }), "has 160 entries"},
		{"too many pointers", editBtrfsNode(madeExtentRoot, func(p []byte) { p[99] = 255 }), "entries"},
		{"data in the table", editBtrfsNode(madeExtentLeft, func(p []byte) { p[btrfsHeaderSize+17], p[btrfsHeaderSize+18] = 124, 0 }), "has an item of 24 bytes"},
		{"data beyond the end", editBtrfsNode(madeExtentLeft, func(p []byte) { p[btrfsHeaderSize+24] = 255 }), "has an item of"},
		{"order in a leaf", editBtrfsNode(madeExtentLeft, func(p []byte) { p[btrfsHeaderSize+btrfsItemSize+7] = 0; p[btrfsHeaderSize+btrfsItemSize+3] = 0 }), "is out of order"},
		{"other UUID", editBtrfsNode(madeExtentLeft, func(p []byte) { p[32]++ }), "is of another file system"},
		{"other owner", editBtrfsNode(madeExtentLeft, func(p []byte) { p[88]++ }), "of tree 3"},
		{"other address", editBtrfsNode(madeExtentLeft, func(p []byte) { p[49]++ }), "found block"},

		{"stale log", editBtrfsNode(madeLogRoot, func(p []byte) { p[80]-- }), "log tree: damaged: found block"},
		{"log of a log", func(b *btrfsMade) { b.logRoots[0].key.kind = 1 }, "an item of type 1 among the roots"},
		{"short log root", func(b *btrfsMade) { b.logRoots[0].data = nil }, "a root item of 0 bytes"},
		{"log extent in no chunk", func(b *btrfsMade) { b.log[1].data[28] = 1 }, "are in no chunk"},
		{"log extent in the wrong chunk", func(b *btrfsMade) { b.log[1].data = madeFileExtent(1, madeMetadata, 4096) }, "wrong kind of chunk"},
		{"log extent of no length", func(b *btrfsMade) { b.log[1].data = madeFileExtent(1, madeData, 0) }, "an extent of 0 bytes"},
		{"log extent of a new kind", func(b *btrfsMade) { b.log[1].data[20] = 3 }, "of type 3 in 53 bytes"},
		{"short log extent", func(b *btrfsMade) { b.log[1].data = b.log[1].data[:52] }, "of type 1 in 52 bytes"},
		{"very short log extent", func(b *btrfsMade) { b.log[1].data = nil }, "a file extent item of 0 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBtrfsMade()
			tt.bend(b)
			m := b.make().read(t)
			notes := strings.Join(m.Notes, "; ")
			if !m.Whole || m.Type != "btrfs" || !strings.Contains(notes, tt.want) {
				t.Errorf("whole %v, type %q, notes %q, want one with %q", m.Whole, m.Type, notes, tt.want)
			}
		})
	}
}

// editBtrfsNode bends one tree block.
func editBtrfsNode(at uint64, edit func(p []byte)) func(b *btrfsMade) {
	return func(b *btrfsMade) {
		b.editNode = func(start uint64, p []byte) {
			if start == at {
				edit(p)
			}
		}
	}
}

// Without the magic, or at another address, it is not ours to claim.
func TestBtrfsNotMine(t *testing.T) {
	for name, at := range map[string]int{"magic": 64, "address": 48} {
		b := newBtrfsMade()
		b.super[at]++
		v := &volume{ctx: context.Background(), r: b.make(), size: madeSize}
		if m, err := readBtrfs(v); !errors.Is(err, errNotMine) {
			t.Errorf("%s: got %v, %v, want %v", name, m, err, errNotMine)
		}
	}
	v := &volume{ctx: context.Background(), r: newBtrfsMade().make(), size: 68 << 10}
	v.size--
	if m, err := readBtrfs(v); !errors.Is(err, errNotMine) {
		t.Errorf("a short volume: got %v, %v, want %v", m, err, errNotMine)
	}
}

// The blocks of all trees together have a bound.
func TestBtrfsNodeBound(t *testing.T) {
	v := &volume{ctx: context.Background(), r: newBtrfsMade().make(), size: madeSize}
	block, err := readBtrfsSuper(v)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseBtrfsSuper(block)
	if err != nil {
		t.Fatal(err)
	}
	for nodes, want := range map[int64]bool{6: false, 7: true} {
		fs := &btrfs{v: v, super: s, nodes: nodes}
		if err := fs.mark(); (err == nil) != want {
			t.Errorf("%d tree blocks: got %v, want success %v", nodes, err, want)
		}
	}
}

func TestBtrfsChunkBound(t *testing.T) {
	x := make(btrfsChunks, btrfsMaxChunks)
	for i := range x {
		x[i] = btrfsChunk{start: uint64(i) * 4096, length: 4096}
	}
	if err := x.add(btrfsChunk{start: 1 << 40, length: 4096}); !errors.Is(err, errDamaged) {
		t.Errorf("got %v, want %v", err, errDamaged)
	}
}

// One changed byte anywhere, or a block of zeros, never changes the map of a
// file system: it is seen, or it was in a block that the map does not need.
func TestBtrfsDamage(t *testing.T) {
	lab.Tools(t, "mkfs.btrfs")
	for _, sum := range []string{"crc32c", "xxhash", "sha256", "blake2"} {
		t.Run(sum, func(t *testing.T) {
			path := lab.File(t, 120<<20)
			lab.Run(t, "mkfs.btrfs", "-q", "--csum", sum, path)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			want := btrfsFile(t, path)
			wantBtrfs(t, want, path)
			seen := 0
			damage := func(at int64, p []byte) {
				t.Helper()
				old := make([]byte, len(p))
				if _, err := f.ReadAt(old, at); err != nil {
					t.Fatal(err)
				}
				if bytes.Equal(old, p) {
					return
				}
				if _, err := f.WriteAt(p, at); err != nil {
					t.Fatal(err)
				}
				if m := btrfsFile(t, path); m.Whole {
					seen++
				} else if !slices.Equal(m.Used, want.Used) {
					t.Errorf("damage at %d changes the map: %v", at, m.Used)
				}
				if _, err := f.WriteAt(old, at); err != nil {
					t.Fatal(err)
				}
			}
			rng := rand.New(rand.NewPCG(3, 3))
			for _, e := range want.Used {
				for at := e.Start; at < e.End(); at += 4096 {
					if at < btrfsReserved && at != btrfsSuperOffsets[0] {
						continue
					}
					damage(at, make([]byte, 4096))
					damage(at+rng.Int64N(4096), []byte{byte(1 + rng.IntN(255))})
				}
			}
			if seen < 20 { // the superblock and four trees of 16 KiB blocks, twice
				t.Errorf("%d damages seen, want 20 or more", seen)
			}
		})
	}
}

// The copies of the superblock are in the map as far as the device reaches.
func TestBtrfsMirrors(t *testing.T) {
	lab.Tools(t, "mkfs.btrfs")
	for copies, size := range map[int]int64{1: 64<<20 + 4095, 2: 128 << 20, 3: 257 << 30} {
		path := lab.File(t, size)
		lab.Run(t, "mkfs.btrfs", "-q", "--mixed", "--nodiscard", path)
		m := btrfsFile(t, path)
		if m.Whole || m.Size > size || m.Size <= size-65536 {
			t.Errorf("%d bytes: whole %v, size %d, notes %q", size, m.Whole, m.Size, m.Notes)
		}
		for i, at := range btrfsSuperOffsets {
			got := m.Used.Covers(partition.Extent{Start: at, Length: btrfsSuperSize})
			if want := i < copies; got != want {
				t.Errorf("%d bytes: superblock at %d in the map: %v, want %v", size, at, got, want)
			}
		}
	}
}

func TestBtrfsTruncated(t *testing.T) {
	d := newBtrfsMade().make()
	for _, size := range []int64{madeSize - 1, madeSize / 2, 1 << 20, 100_000} {
		m, err := Read(context.Background(), d, size, Options{})
		if err != nil || !m.Whole || m.Used.Size() != size {
			t.Errorf("%d bytes: got %+v, %v, want all of it", size, m, err)
		}
	}
}

func TestBtrfsSums(t *testing.T) {
	// Of "123456789": the check values of CRC-32C (e3069283, RFC 3720) and
	// XXH64 (8cb841db40e6ae83), stored little-endian; and what sha256sum and
	// b2sum -l 256 print.
	for kind, want := range []string{
		"839206e3",
		"83aee640db41b88c",
		"15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
		"16e0bf1f85594a11e75030981c0b670370b3ad83a43f49ae58a2fd6f6513cde9",
	} {
		sum, err := newBtrfsSum(uint16(kind))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sum([]byte("123456789"))); got != want {
			t.Errorf("checksum %d: got %s, want %s", kind, got, want)
		}
	}
}

// FuzzBtrfs changes bytes of the blocks of a sound file system. A change is
// coded as the number of a block, whose checksum is made right again if the
// top bit is clear; an offset of two bytes; a length; and that many bytes.
func FuzzBtrfs(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{7, 0, 96, 1, 0})                              // no log root
	f.Add([]byte{1, 0, 101 + 17, 2, 0xff, 0xff})               // an item's place
	f.Add([]byte{4, 0, 101 + 9, 2, 0, 0x40, 7, 0, 121, 1, 90}) // a longer extent
	f.Add([]byte{6, 1, 0, 4, 1, 2, 3, 4, 0x83, 0, 5, 1, 9})    // a log leaf; no right checksum
	f.Add([]byte{0, 3, 200, 3, 9, 9, 9, 7, 0, 144, 3, 0, 0x10, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		d := newBtrfsMade().make()
		sealed := false
		for len(p) > 4 {
			block := d.blocks[d.order[int(p[0]&0x7f)%len(d.order)]]
			at := int(binary.BigEndian.Uint16(p[1:])) % madeNode
			n := min(int(p[3]), len(p)-4)
			copy(block[at:], p[4:4+n])
			if p[0]&0x80 == 0 {
				sealBtrfs(block)
				sealed = true
			}
			p = p[4+n:]
		}
		m := d.read(t)
		checkBtrfsMap(t, m, d)
		if want := madeUsed(true); !sealed && !m.Whole && !slices.Equal(m.Used, want) {
			t.Errorf("used %v, want %v or all: no checksum was made right", m.Used, want)
		}
	})
}

// checkBtrfsMap fails the test unless m keeps what Read promises.
func checkBtrfsMap(t *testing.T, m *Map, d *madeDevice) {
	t.Helper()
	if again := partition.Normalize(slices.Clone(m.Used)); !slices.Equal(again, m.Used) {
		t.Errorf("not normalized: %v", m.Used)
	}
	if len(m.Used) == 0 || m.Used[0].Start != 0 || m.Used.End() > madeSize {
		t.Errorf("used %v, want a start at 0 and an end within %d", m.Used, madeSize)
	}
	if m.Whole != (m.Used.Size() == madeSize) || m.Whole && len(m.Notes) == 0 {
		t.Errorf("whole %v with %d bytes and notes %q", m.Whole, m.Used.Size(), m.Notes)
	}
	if !m.Whole && !m.Used.Covers(partition.Extent{Start: 0, Length: btrfsReserved}) {
		t.Errorf("used %v, want the first MiB in it", m.Used)
	}
	if bound := madeSize/madeNode + 20; d.reads > bound {
		t.Errorf("%d reads, want %d or fewer", d.reads, bound)
	}
}
