package fsmap

import (
	"bytes"
	"encoding/binary"
	"testing"

	"slipcast/partition"
)

// A patch of an image: two bytes of offset in units of unit bytes, one of how
// much further, one of how many bytes follow.
const (
	ntfsPatchUnit = 64
	ntfsPatchHead = 4
)

// patchNTFS applies the patches in p to the image.
func patchNTFS(image, p []byte) {
	for len(p) >= ntfsPatchHead {
		at := int(binary.LittleEndian.Uint16(p))*ntfsPatchUnit + int(p[2])
		n := min(int(p[3]), len(p)-ntfsPatchHead)
		if at < len(image) {
			copy(image[at:], p[ntfsPatchHead:ntfsPatchHead+n])
		}
		p = p[ntfsPatchHead+n:]
	}
}

// ntfsPatch makes one patch.
func ntfsPatch(at int64, data ...byte) []byte {
	p := binary.LittleEndian.AppendUint16(nil, uint16(at/ntfsPatchUnit))
	return append(append(p, byte(at%ntfsPatchUnit), byte(len(data))), data...)
}

// FuzzNTFS changes a good image in places that the fuzzer chooses. The image
// has an index with blocks, page files, and attribute lists.
func FuzzNTFS(f *testing.F) {
	path := makeNTFS(f, 3<<20, "-c", "512", "-L", "fuzz", "-T")
	manyNTFSNames(f, path, 40)
	putNTFS(f, path, "pagefile.sys", make([]byte, 100000))
	putNTFS(f, path, "hiberfil.sys", append([]byte("wake"), make([]byte, 100000)...))
	good := loadNTFS(f, path)
	good.splitMFT(false)
	good.scatterBitmap(false)
	f.Add([]byte{}, false)
	f.Add(ntfsPatch(13, 2), true)
	for _, number := range []int64{0, 2, 3, 5, 6, 15, 16} {
		p := good.record(number)
		for _, kind := range []uint32{ntfsAttributeList, ntfsData, ntfsIndexRoot, ntfsVolumeInformation} {
			if findNTFSAttr(p, kind) != nil {
				at, _ := rawNTFSAttr(f, p, kind)
				f.Add(ntfsPatch(good.recordAt(number)+int64(at), byte(kind), 0, 0, 0, 8), true)
			}
		}
	}
	f.Add(ntfsPatch(good.place(good.stream(ntfsFileLog, ntfsData, ""), 0), ntfsRestartPage(7, 1, 0, 2)[:128]...), false)
	image := make([]byte, len(good.p))
	f.Fuzz(func(t *testing.T, p []byte, skip bool) {
		copy(image, good.p)
		patchNTFS(image, p)
		size := int64(len(image))
		m, err := Read(t.Context(), bytes.NewReader(image), size, Options{SkipSwapfiles: skip})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range m.Used {
			if e.Length <= 0 || e.Start < 0 || e.End() > size || i > 0 && e.Start <= m.Used[i-1].End() {
				t.Errorf("extent %d is %v behind %v, on %d bytes", i, e, m.Used[:i], size)
			}
		}
		if whole := (partition.Extent{Length: size}); m.Whole && !m.Used.Covers(whole) {
			t.Errorf("whole, but only %v is used", m.Used)
		}
	})
}
