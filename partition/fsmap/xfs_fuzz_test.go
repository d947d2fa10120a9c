package fsmap

import (
	"encoding/binary"
	"slices"
	"testing"

	"slipcast/partition"
)

// xfsPatch changes an image as a fuzzer says: patches of an offset in two
// bytes, which counts units of 16 bytes, a place in the unit and a length in
// one byte, and that many bytes.
func xfsPatch(img, patches []byte) {
	for len(patches) > 3 {
		at := int(binary.BigEndian.Uint16(patches))*16 + int(patches[2]>>4)
		n := min(1+int(patches[2]&15), len(patches)-3)
		if at < len(img) {
			copy(img[at:], patches[3:3+n])
		}
		patches = patches[3+n:]
	}
}

// FuzzXFS patches a file system, brings the checksums in order again (else
// version 5 would stop at the first of them), and maps it. Whatever the map
// is, it lies within the volume, and it is never empty: the superblock is in it.
func FuzzXFS(f *testing.F) {
	f.Add(true, true, []byte{})
	f.Add(false, false, []byte{})
	f.Add(true, true, []byte{0, 5, 0xb0, 7})                    // number of groups
	f.Add(true, true, []byte{0, 0x21, 0x33, 0, 0, 0, 60})       // root of the first group
	f.Add(false, true, []byte{1, 4, 0x23, 0, 1, 0, 4})          // level and count of a leaf
	f.Add(true, false, []byte{0x68, 0, 0x23, 0, 0, 0, 2, 0, 9}) // log
	versions := map[bool]*testXFS{false: xfsBuild(false), true: xfsBuild(true)}
	f.Fuzz(func(t *testing.T, v5, sum bool, patches []byte) {
		x := &testXFS{img: slices.Clone(versions[v5].img), v5: v5}
		xfsPatch(x.img, patches)
		if sum {
			x.sum()
		}
		m := xfsReadBytes(t, x.img)
		all := partition.Extent{Start: 0, Length: int64(len(x.img))}
		if !slices.Equal(m.Used, partition.Normalize(slices.Clone(m.Used))) || m.Used.End() > all.Length {
			t.Errorf("not normalized or beyond %d: %v", all.Length, m.Used)
		}
		if !m.Used.Covers(partition.Extent{Start: 0, Length: 2048}) {
			t.Errorf("the first headers are not in %v", m.Used)
		}
		if m.Whole && !m.Used.Covers(all) || m.Dirty && !m.Whole || m.Size > all.Length {
			t.Errorf("whole %v, dirty %v, size %d, used %v", m.Whole, m.Dirty, m.Size, m.Used)
		}
	})
}
