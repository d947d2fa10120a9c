package fsmap

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"slipcast/partition"
)

// TestXFSBuilt maps undamaged file systems of both versions.
func TestXFSBuilt(t *testing.T) {
	for _, v5 := range []bool{false, true} {
		x := xfsBuild(v5)
		m := xfsReadBytes(t, append(x.img, make([]byte, 5000)...))
		if m.Whole || m.Dirty || !slices.Equal(m.Used, x.used()) {
			t.Errorf("v5=%v: got %v %v, want %v", v5, m.Used, m.Notes, x.used())
		}
		if m.Type != "xfs" || m.Label != "label" || m.BlockSize != xfsTestBlock || m.Size != int64(len(x.img)) {
			t.Errorf("v5=%v: got %+v", v5, m)
		}
		if want := "74686520-7465-7374-2773-20757569642e"; m.UUID != want {
			t.Errorf("UUID %s, want %s", m.UUID, want)
		}
	}
}

// TestXFSEveryByte flips a bit of every byte of metadata in turn. Whatever the
// map then is, it must not miss a block that is in use. In version 5 any flip
// outside the log must be noticed.
func TestXFSEveryByte(t *testing.T) {
	for _, v5 := range []bool{false, true} {
		x := xfsBuild(v5)
		used, reads := x.used(), x.reads()
		for _, e := range reads {
			for at := e.Start; at < e.End(); at++ {
				bit := at * 5 % 8
				x.img[at] ^= 1 << bit
				m := xfsReadBytes(t, x.img)
				x.img[at] ^= 1 << bit
				if missing := used.Minus(m.Used); len(missing) > 0 {
					t.Fatalf("v5=%v: bit %d at %d: the map misses %v", v5, bit, at, missing)
				}
				if v5 && !m.Whole {
					t.Fatalf("bit %d at %d was not noticed", bit, at)
				}
			}
		}
	}
}

// reads returns the metadata that a reader looks at, but the log, and of the
// trees only the start of every block and the pointers of version 4.
func (x *testXFS) reads() partition.Extents {
	var list []partition.Extent
	for block := range xfsTestBlocks {
		p := x.img[block*xfsTestBlock : (block+1)*xfsTestBlock]
		start := int64(block) * xfsTestBlock
		switch m := string(p[:min(3, len(p))]); {
		case block == 0:
			list = append(list, partition.Extent{Start: start, Length: 2048})
		case block%xfsTestPerGroup == 0:
			list = append(list, partition.Extent{Start: start + 512, Length: 1536})
		case m == "AB3" || m == "ABT":
			list = append(list, partition.Extent{Start: start, Length: 100}, partition.Extent{Start: start + 688, Length: 16})
		}
	}
	return partition.Normalize(list)
}

// TestXFSLogBytes does the same to the log, in whole bytes: the free space does
// not depend on it.
func TestXFSLogBytes(t *testing.T) {
	x := xfsBuild(true)
	used, log := x.used(), x.log()
	for at := 0; at < len(log); at += 1 + at/1100*100 { // behind the record there are zeros
		log[at] ^= 0xff
		m := xfsReadBytes(t, x.img)
		log[at] ^= 0xff
		if missing := used.Minus(m.Used); len(missing) > 0 || m.Dirty != m.Whole {
			t.Fatalf("byte %d: missing %v, dirty %v, whole %v", at, missing, m.Dirty, m.Whole)
		}
	}
}

// TestXFSTruncated maps a volume that ends too early.
func TestXFSTruncated(t *testing.T) {
	x := xfsBuild(true)
	for _, size := range []int{0, 3, 511, 512, 700, 1024, 4096, len(x.img) / 2, len(x.img) - 1024, len(x.img) - 1} {
		m := xfsReadBytes(t, x.img[:size])
		if !m.Whole || len(m.Notes) != 1 || m.Used.Size() != int64(size) {
			t.Errorf("%d bytes: got %+v", size, m)
		}
	}
}

// xfsRefusals are changes to a file system, made with correct checksums, and
// what the note must say. Without v5 they apply to both versions.
var xfsRefusals = []struct {
	name   string
	v5     bool
	change func(x *testXFS)
	want   string
}{
	{"version 3", false, func(x *testXFS) { x.img[101] = x.img[101]&0xf0 | 3 }, "version 3"},
	{"mkfs in progress", false, func(x *testXFS) { x.img[126] = 1 }, "mkfs has not finished"},
	{"realtime device", false, func(x *testXFS) { x.img[23] = 1 }, "realtime"},
	{"external log", false, func(x *testXFS) { clear(x.img[48:56]) }, "another device"},
	{"shared", false, func(x *testXFS) { x.img[100] |= 2 }, "shared"},
	{"shared version", false, func(x *testXFS) { x.img[179] = 1 }, "shared"},
	{"old directories", false, func(x *testXFS) { x.img[100] &^= 0x20 }, "directories of version 1"},
	{"features2", false, func(x *testXFS) { x.img[203] |= 0x10 }, "unknown version 4 features (0x10)"},
	{"needs repair", true, func(x *testXFS) { x.img[219] |= 0x10 }, "xfs_repair"},
	{"metadata directory", true, func(x *testXFS) { x.img[218] |= 1 }, "metadata directory"},
	{"zoned", true, func(x *testXFS) { x.img[218] |= 2 }, "zoned"},
	{"zone gaps", true, func(x *testXFS) { x.img[218] |= 4 }, "zoned"},
	{"incompatible", true, func(x *testXFS) { x.img[218] |= 8 }, "unknown incompatible features (0x800)"},
	{"read-only compatible", true, func(x *testXFS) { x.img[215] |= 0x10 }, "unknown read-only compatible features (0x10)"},
	{"log incompatible", true, func(x *testXFS) { x.img[223] |= 2 }, "unknown log incompatible features (0x2)"},

	{"sector above block", false, func(x *testXFS) { x.img[102], x.img[121] = 8, 11 }, "sectors of 2048 bytes"},
	{"no groups", false, func(x *testXFS) { x.img[91] = 0 }, "0 allocation groups"},
	{"more groups", false, func(x *testXFS) { x.img[91]++ }, "in 4 allocation groups"},
	{"tiny groups", false, func(x *testXFS) { clear(x.img[84:88]) }, "groups of 0 blocks"},
	{"huge groups", false, func(x *testXFS) { x.img[84] = 0xff }, "allocation groups of"},
	{"group bits", false, func(x *testXFS) { x.img[124]++ }, "block numbers of 9 bits"},
	{"all the blocks there are", false, func(x *testXFS) { copy(x.img[8:16], "\xff\xff\xff\xff\xff\xff\xff\xff") }, "blocks in 3"},
	{"no log blocks", false, func(x *testXFS) { clear(x.img[96:100]) }, "a log of 0 blocks"},
	{"huge log", false, func(x *testXFS) { x.img[96] = 0xff }, "a log of"},
	{"log in no group", false, func(x *testXFS) { x.img[48] = 0xff }, "a log of 64 blocks"},
	{"log across groups", false, func(x *testXFS) { x.img[55] = 0xf0 }, "a log of 64 blocks at block 240"},
	{"log in free space", false, func(x *testXFS) {
		log := slices.Clone(x.log())
		x.img[55] = 70
		copy(x.block(1, 70), log)
		copy(x.block(1, 71), log[1024:])
	}, "the log lies in free space"},

	{"no AGF", false, func(x *testXFS) { x.img[512] = 'Y' }, "no XAGF"},
	{"no AGI", false, func(x *testXFS) { x.img[1024] = 'Y' }, "no XAGI"},
	{"no AGFL", true, func(x *testXFS) { x.img[1536] = 'Y' }, "no XAFL"},
	{"AGF of another group", false, func(x *testXFS) { x.img[512+11] = 2 }, "another group"},
	{"AGF of another file system", true, func(x *testXFS) { x.img[512+64] ^= 1 }, "another file system"},
	{"AGI of another file system", true, func(x *testXFS) { x.img[1024+296] ^= 1 }, "another file system"},
	{"AGFL of another file system", true, func(x *testXFS) { x.img[1536+8] ^= 1 }, "another file system"},
	{"AGF version", false, func(x *testXFS) { x.img[512+7] = 2 }, "version 2"},
	{"AGF length", false, func(x *testXFS) { x.img[512+15] ^= 1 }, "by its header"},
	{"AGI length", false, func(x *testXFS) { x.img[1024+15] ^= 1 }, "by its header"},
	{"free blocks", false, func(x *testXFS) { x.img[512+55]++ }, "its header says"},
	{"longest extent", false, func(x *testXFS) { x.img[512+59]++ }, "longest free extent"},
	{"no levels", false, func(x *testXFS) { x.img[512+31] = 0 }, "tree of 0 levels"},
	{"ten levels", false, func(x *testXFS) { x.img[512+31] = 10 }, "tree of 10 levels"},
	{"other level", false, func(x *testXFS) { x.img[512+31]-- }, "of level 2, not 1"},
	{"root outside", false, func(x *testXFS) { x.img[512+17] = 1 }, "is outside"},
	{"root elsewhere", false, func(x *testXFS) { x.img[512+19] = 60 }, "no magic"},
	{"root of the other tree", false, func(x *testXFS) { copy(x.img[512+16:512+20], x.img[512+20:512+24]) }, "no magic"},

	{"too many records", false, func(x *testXFS) { x.block(0, 4)[6] = 1 }, "260 records"},
	{"no records", false, func(x *testXFS) { x.block(0, 4)[7] = 0 }, "0 records"},
	{"one record less", false, func(x *testXFS) { x.block(0, 4)[7]-- }, "lists of free space differ"},
	{"too many keys", false, func(x *testXFS) { x.root(0)[6] = 1 }, "258 keys"},
	{"no keys", false, func(x *testXFS) { x.root(0)[7] = 0 }, "0 keys"},
	{"one key less", false, func(x *testXFS) { x.root(0)[7]-- }, "should be the last"},
	{"left sibling", false, func(x *testXFS) { x.block(0, 5)[11]++ }, "not beside its neighbour"},
	{"right sibling", false, func(x *testXFS) { x.block(0, 5)[15]++ }, "not beside its neighbour"},
	{"last sibling", false, func(x *testXFS) { x.block(0, 8)[15] = 4 }, "should be the last"},
	{"a child twice", false, func(x *testXFS) { copy(x.ptrs(0)[4:8], x.ptrs(0)[:4]) }, "not beside its neighbour"},
	{"its own child", false, func(x *testXFS) { copy(x.ptrs(0), []byte{0, 0, 0, byte(x.rootBlock(0))}) }, "of level 2, not 1"},
	{"record in the headers", false, func(x *testXFS) { binary.BigEndian.PutUint32(x.records(0, 4), 1) }, "free blocks at block 1"},
	{"record behind the end", false, func(x *testXFS) { binary.BigEndian.PutUint32(x.records(1, 4)[8:], 231) }, "free blocks at block 231"},
	{"record that overflows", false, func(x *testXFS) { binary.BigEndian.PutUint32(x.records(0, 4)[4:], 1<<32-1) }, "4294967295 free blocks"},
	{"empty record", false, func(x *testXFS) { binary.BigEndian.PutUint32(x.records(0, 4)[4:], 0) }, "0 free blocks"},
	{"records out of order", false, func(x *testXFS) { binary.BigEndian.PutUint32(x.records(0, 4)[8:], 80) }, "follow"},
	{"record moved", false, func(x *testXFS) { x.records(1, 4)[3]++; x.records(1, 4)[7]-- }, "lists of free space differ"},
	{"record moved by size", false, func(x *testXFS) { x.records(1, 32)[3]-- }, "lists of free space differ"},
	{"sizes out of order", false, func(x *testXFS) { x.records(0, 32)[7] = 9 }, "follow"},
	{"block number", true, func(x *testXFS) { x.block(0, 4)[23]++ }, "another place"},
	{"block of another file system", true, func(x *testXFS) { x.block(0, 4)[32]++ }, "another file system"},
	{"block of another group", true, func(x *testXFS) { x.block(0, 4)[51]++ }, "group 1"},
}

func (x *testXFS) rootBlock(group int) uint32 {
	return binary.BigEndian.Uint32(x.block(group, 0)[512+16:])
}

// root returns the root of the tree by block.
func (x *testXFS) root(group int) []byte { return x.block(group, x.rootBlock(group)) }

// body returns what is behind the header of a tree's block.
func (x *testXFS) body(p []byte) []byte {
	if x.v5 {
		return p[xfsHeaderV5:]
	}
	return p[xfsHeaderV4:]
}

// records returns the records of a leaf.
func (x *testXFS) records(group int, block uint32) []byte { return x.body(x.block(group, block)) }

// ptrs returns the pointers of the root.
func (x *testXFS) ptrs(group int) []byte {
	body := x.body(x.root(group))
	return body[len(body)/12*8:]
}

func TestXFSRefuses(t *testing.T) {
	for _, tt := range xfsRefusals {
		for _, v5 := range []bool{false, true} {
			if tt.v5 && !v5 {
				continue
			}
			x := xfsBuild(v5)
			tt.change(x)
			x.sum()
			m := xfsReadBytes(t, x.img)
			if !m.Whole || m.Type != "xfs" || len(m.Notes) != 1 || !strings.Contains(m.Notes[0], tt.want) {
				t.Errorf("%s (v5=%v): got %v %q, want %q", tt.name, v5, m.Whole, m.Notes, tt.want)
			}
		}
	}
}

// TestXFSMetaUUID gives users another UUID than the metadata has, as xfs_admin
// -U does.
func TestXFSMetaUUID(t *testing.T) {
	x := xfsBuild(true)
	x.img[219] |= xfsIncompatMetaUUID
	copy(x.img[248:264], x.img[32:48])
	x.img[32]++
	x.log()[304]++
	clear(x.log()[32:36])
	x.sum()
	if m := xfsReadBytes(t, x.img); m.Whole || m.UUID[:8] != "75686520" || !slices.Equal(m.Used, x.used()) {
		t.Errorf("got %+v, want a map", m)
	}
}

// TestXFSNotMine shows volumes that are left to other readers.
func TestXFSNotMine(t *testing.T) {
	for _, change := range []func(p []byte){
		func(p []byte) { p[0] = 'Y' },
		func(p []byte) { p[6] = 0 },
		func(p []byte) { p[120] = 8 },
		func(p []byte) { p[121] = 64 },
		func(p []byte) { p[103] = 1 },
	} {
		x := xfsBuild(true)
		change(x.img)
		if m := xfsReadBytes(t, x.img); !m.Whole || m.Type != "" {
			t.Errorf("got %+v, want an unknown volume", m)
		}
	}
}
