package image

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"slipcast/partition"
)

// fuzzDisk bounds the disks that fuzz targets restore, in bytes.
const fuzzDisk = 4 * miB

// seedDisks are disks whose images have a few hundred bytes.
func seedDisks(t testing.TB) map[string]testDisk {
	t.Helper()
	const size = 2560 * kiB
	disks := tinyImages(t)
	parts := []partition.Extent{{Start: miB, Length: 512 * kiB}, {Start: 1700 * kiB, Length: 600 * kiB}}
	for name, b := range map[string][]byte{"gpt": craftGPT(size, parts...), "mbr": craftMBR(size, parts...)} {
		d := tableDisk(t, b)
		d.layout.Used = mustTable(t, b).Sectors()
		for i, p := range parts {
			d.layout.Volumes[i].Span = 512
			d.layout.Used = d.layout.Used.Union(partition.Extents{{Start: p.Start, Length: 512}})
		}
		disks[name] = d
	}
	disks["nothing in use"] = testDisk{b: make([]byte, 3), layout: layoutOf(3, nil)}
	return disks
}

// seedImages returns an image of each.
func seedImages(t testing.TB) [][]byte {
	t.Helper()
	var images [][]byte
	for _, d := range seedDisks(t) {
		opt := CaptureOptions{ChunkSize: smallChunk, Origin: Origin{Time: time.Unix(1, 0), Tool: "a test"}}
		image := captureBytes(t, d.b, d.layout, opt)
		if len(image) > 10*kiB {
			t.Fatalf("an image of %d bytes is no seed", len(image))
		}
		images = append(images, image)
	}
	return images
}

// agree checks what must hold for any bytes: all ways to read an image agree,
// its preface tells the same, every refusal is damage, and what Verify accepts can be restored.
func agree(t *testing.T, p []byte) {
	t.Helper()
	im, err := Open(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		if !isDamage(err) {
			t.Errorf("Open: %v, want damage", err)
		}
		agreeStream(t, p, nil, err)
		return
	}
	checkPreface(t, im)
	if im.Manifest.Size > fuzzDisk {
		return
	}
	verify := im.Verify(t.Context(), VerifyOptions{Workers: 1})
	raw := make([]byte, im.Manifest.Size)
	_, read := newReader(t, im).ReadAt(raw, 0)
	dst := &memory{bytes.Repeat([]byte{0xaa}, len(raw))}
	_, restore := Restore(t.Context(), im, dst, RestoreOptions{Workers: 1, Verify: true})
	for _, err := range []error{verify, read, restore} {
		if err != nil && !isDamage(err) {
			t.Errorf("got %v, want damage", err)
		}
	}
	if verify == nil && errors.Join(read, restore) != nil {
		t.Errorf("Verify finds nothing, the Reader %v, Restore %v", read, restore)
	}
	if restore == nil && read == nil {
		sameUsed(t, "restored", dst.b, raw, im.Used)
	}
	agreeStream(t, p, raw, verify)
}

// agreeStream restores p as a stream. fault is what the reader of the file
// says, raw the disk if that reader gave it.
func agreeStream(t *testing.T, p, raw []byte, fault error) {
	t.Helper()
	s, err := OpenStream(onlyReader{bytes.NewReader(p)})
	if err == nil && s.Size > fuzzDisk {
		return
	}
	var dst *memory
	if err == nil {
		dst = &memory{bytes.Repeat([]byte{0xaa}, int(s.Size))}
		_, err = RestoreStream(t.Context(), s, dst, RestoreOptions{Workers: 1})
	}
	switch {
	case err != nil && !isDamage(err):
		t.Errorf("stream: %v, want damage", err)
	case err != nil && fault == nil:
		t.Errorf("Verify finds nothing, the stream %v", err)
	case err == nil && raw == nil:
		t.Errorf("the stream finds nothing, Open %v", fault)
	case err == nil:
		sameUsed(t, "streamed", dst.b, raw, s.Used)
	}
}

// FuzzOpen: any bytes are refused, or are an image on which all agree.
func FuzzOpen(f *testing.F) {
	for _, image := range seedImages(f) {
		f.Add(image)
	}
	f.Fuzz(agree)
}

// FuzzStream: a stream of frames whose form is damaged is refused; what
// Next gives has the form that Open gives.
func FuzzStream(f *testing.F) {
	for _, image := range seedImages(f) {
		f.Add(image, 3)
	}
	f.Fuzz(func(t *testing.T, p []byte, piece int) {
		s, err := OpenStream(&pieces{p, min(max(piece, 1), 1<<16)})
		if err != nil {
			if !isDamage(err) {
				t.Errorf("OpenStream: %v", err)
			}
			return
		}
		if s.Size > fuzzDisk {
			return
		}
		var frames [][]byte
		var frame []byte
		for err == nil {
			_, frame, err = s.Next(nil)
			if err == nil {
				frames = append(frames, frame)
			}
		}
		if err == io.EOF {
			err = s.Finish()
		}
		im, openErr := Open(bytes.NewReader(p), int64(len(p)))
		if err != nil {
			if !isDamage(err) {
				t.Errorf("stream: %v", err)
			}
			return
		}
		if openErr != nil || im.Digest != s.Digest {
			t.Fatalf("the stream finds nothing, Open %v", openErr)
		}
		for frame := range im.Chunks(im.all()) {
			packed, err := im.ReadFrame(frame, nil)
			if err != nil || !bytes.Equal(packed, frames[frame.Chunk]) {
				t.Errorf("chunk %d: another frame, %v", frame.Chunk, err)
			}
		}
	})
}

// pieces reads at most n bytes at once.
type pieces struct {
	p []byte
	n int
}

func (r *pieces) Read(p []byte) (int, error) {
	if len(r.p) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.p)
	r.p = r.p[n:]
	return n, nil
}

// FuzzSections: what a section's payload parses to encodes to the same bytes.
func FuzzSections(f *testing.F) {
	for _, d := range seedDisks(f) {
		f.Add(uint8(tagTable), encodeTable(&d.layout.Table))
		f.Add(uint8(tagVolumes), encodeVolumes(d.layout.Volumes))
		f.Add(uint8(tagExtents), encodeExtents(d.layout.Used))
	}
	f.Add(uint8(tagNotes), []byte{1, 0, 1, 0, 'a'})
	f.Add(uint8(tagOrigin), encodeOrigin(&Origin{Time: time.Unix(1, 0), Tool: "x", Parent: "y"}))
	f.Fuzz(func(t *testing.T, tag uint8, p []byte) {
		const size = 1 << 40
		d := &decoder{b: p}
		var again []byte
		switch int(tag) {
		case tagTable:
			table := decodeTable(d, size)
			again = encodeTable(&table)
		case tagVolumes:
			again = encodeVolumes(decodeVolumes(d, size))
		case tagExtents:
			x := decodeExtents(d, size)
			checkExtents(t, x, size)
			again = encodeExtents(x)
		case tagNotes:
			again = encoded(func(e *encoder) { e.strings(d.strings()) })
		case tagOrigin:
			o := decodeOrigin(d)
			again = encodeOrigin(&o)
		default:
			return
		}
		if err := d.done(); err != nil {
			if !isDamage(err) {
				t.Errorf("got %v, want damage", err)
			}
			return
		}
		sameBytes(t, sectionName(int(tag)), again, p)
	})
}

// checkExtents checks the rules for extents, of which the rest of the program
// is sure.
func checkExtents(t *testing.T, x partition.Extents, size int64) {
	t.Helper()
	at := int64(-1)
	for _, e := range x {
		if e.Start <= at || e.Length <= 0 || e.End() > size || e.End() < e.Start {
			t.Errorf("extent %v behind %d", e, at)
		}
		at = e.End()
	}
}

// FuzzForged: images with right digests, whatever is in their sections, so
// that the checks behind the digests are reached.
func FuzzForged(f *testing.F) {
	for _, d := range seedDisks(f) {
		g := newForge(d, smallChunk)
		f.Add(g.fixed, g.head[0].payload, g.head[1].payload, g.head[2].payload, g.tail[2].payload, uint16(7), []byte("extra"), []byte{})
		f.Add(g.fixed, g.head[0].payload, g.head[1].payload, g.head[2].payload, g.tail[2].payload, uint16(99), []byte("extra"), g.frames[0][:min(100, len(g.frames[0]))])
	}
	f.Fuzz(func(t *testing.T, fixed, table, volumes, extents, readErrors []byte, tag uint16, extra, frame []byte) {
		g := forgeFrom(fixed, extents)
		if g == nil {
			return
		}
		g.section(tagTable).payload = table
		g.section(tagVolumes).payload = volumes
		g.section(tagExtents).payload = extents
		g.section(tagReadErrors).payload = readErrors
		list := &g.head
		if tag >= firstTailTag {
			list = &g.tail
		}
		i, found := slices.BinarySearchFunc(*list, int(tag), func(s forgedSection, tag int) int { return s.tag - tag })
		if !found {
			*list = slices.Insert(*list, i, forgedSection{int(tag), int(len(extra)) & 3, extra})
		}
		if len(frame) > 0 {
			g.frames[0] = frame
		}
		agree(t, g.seal())
	})
}

// forgeFrom returns a forge for a disk with these fixed fields of the head and
// these extents in use, with frames that fit them if they can be read.
func forgeFrom(fixed, extents []byte) *forge {
	fields := append(slices.Clone(fixed), make([]byte, headFixedSize)...)[:headFixedSize]
	clear(fields[20:24]) // the forge knows better
	var m Manifest
	if _, err := m.parseFixed(fields, headBodyOffset); err != nil || m.Size > fuzzDisk {
		m.Size, m.ChunkSize = 1000, smallChunk
	}
	d := &decoder{b: extents}
	used := decodeExtents(d, m.Size)
	if d.done() != nil {
		used = nil
	}
	disk := bytes.Repeat([]byte("A very small disk. "), int(m.Size)/19+1)[:m.Size]
	g := newForge(testDisk{b: disk, layout: layoutOf(m.Size, used)}, m.ChunkSize)
	copy(g.fixed, fields)
	return g
}

// FuzzFrame: a frame is refused, or holds what it should; in a stream it ends
// where it should.
func FuzzFrame(f *testing.F) {
	u := newTestUnpacker(f, smallChunk)
	f.Add(appendStored(nil, []byte(smallDisk)), int64(len(smallDisk)))
	f.Add(new(zeros).appendFrame(nil, smallChunk), int64(smallChunk))
	f.Add(packBody(bytes.Repeat([]byte(smallDisk), 100)), int64(2300))
	f.Fuzz(func(t *testing.T, frame []byte, length int64) {
		if length < 1 || length > smallChunk {
			return
		}
		raw, err := u.unpack(frame, length, make([]byte, smallChunk))
		if err == nil && int64(len(raw)) != length || err != nil && !isDamage(err) {
			t.Errorf("%d bytes, want %d, %v", len(raw), length, err)
		}
		form := checkFrame(frame, length, smallChunk)
		if form != nil && err == nil {
			t.Errorf("unpacked, but %v", form)
		}
		r := bytes.NewReader(append(slices.Clone(frame), "behind"...))
		got, err := readFrame(r, nil, length, smallChunk)
		if form == nil && (err != nil || !bytes.Equal(got, frame)) {
			t.Errorf("from a stream: %d bytes of %d, %v", len(got), len(frame), err)
		}
		if err != nil && !isDamage(err) {
			t.Errorf("from a stream: %v", err)
		}
		if most := maxFrameSize(length, smallChunk); len(got) > most {
			t.Errorf("from a stream: %d bytes, want at most %d", len(got), most)
		}
	})
}

// FuzzForeign: what is accepted gives the same disk whether the target is
// compared or not, and no input gives more than the target holds.
func FuzzForeign(f *testing.F) {
	disk := make([]byte, 70000)
	bootable(disk)
	copy(disk[1000:], smallDisk)
	for _, pack := range packings() {
		f.Add(pack(f, disk[:2000]))
		f.Add(pack(f, disk))
	}
	d := seedDisks(f)["mbr"]
	f.Add(packings()["gzip"](f, d.want()))
	f.Add(packings()["zstd"](f, seedDisks(f)["gpt"].want()))
	f.Fuzz(func(t *testing.T, p []byte) {
		if hugeDictionary(p) {
			return
		}
		var results [2][]byte
		for i := range results {
			g, err := OpenForeign(onlyReader{bytes.NewReader(p)}, -1)
			if err != nil {
				return
			}
			dst := &memory{bytes.Repeat([]byte{0xaa}, 3*miB)}
			_, err = g.Restore(t.Context(), dst, RestoreOptions{Delta: i == 1})
			var small *TooSmallError
			if err != nil && !isDamage(err) && !errors.As(err, &small) {
				t.Errorf("got %v", err)
			}
			if err != nil && tableOn(dst.b) != nil {
				t.Errorf("%v, but the target has a table", err)
			}
			results[i] = dst.b
		}
		if !bytes.Equal(results[0], results[1]) {
			t.Error("with Delta the target differs")
		}
	})
}

// hugeDictionary reports whether p might be an xz file that asks for more
// than 64 MiB: allocating that again and again is no test.
func hugeDictionary(p []byte) bool {
	for i := 0; i+3 <= len(p) && p[0] == 0xfd; i++ {
		if p[i] == 0x21 && p[i+1] == 1 && p[i+2] > 0x1c {
			return true
		}
	}
	return false
}
