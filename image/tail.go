package image

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
)

// tailFixedSize is the length of the tail's payload before its sections.
const tailFixedSize = 16 + sha256.Size

// A tailSection is a section of the tail that is written piece by piece,
// because it may be large.
type tailSection struct {
	tag   int
	size  int64
	write func(w io.Writer) error
}

// tailSections returns the sections of the tail of m.
func (m *Manifest) tailSections() []tailSection {
	errors := encodeExtents(m.ReadErrors)
	return []tailSection{
		{tagDigests, int64(len(m.digests)) * sha256.Size, func(w io.Writer) error {
			return writeEach(w, m.digests, func(d *Digest) []byte { return d[:] })
		}},
		{tagQuick, int64(len(m.quick)) * quickSize, func(w io.Writer) error {
			return writeEach(w, m.quick, func(q *[quickSize]byte) []byte { return q[:] })
		}},
		{tagReadErrors, int64(len(errors)), func(w io.Writer) error {
			_, err := w.Write(errors)
			return err
		}},
		{tagFrameSums, int64(len(m.frameSums)) * 8, func(w io.Writer) error {
			var buf [8]byte
			return writeEach(w, m.frameSums, func(s *uint64) []byte {
				binary.LittleEndian.PutUint64(buf[:], *s)
				return buf[:]
			})
		}},
	}
}

func writeEach[T any](w io.Writer, list []T, bytes func(*T) []byte) error {
	for i := range list {
		if _, err := w.Write(bytes(&list[i])); err != nil {
			return err
		}
	}
	return nil
}

// writeTail writes the tail frame of m and sets m.Digest. sum holds what the
// head adds to the digest of the image.
func (m *Manifest) writeTail(w io.Writer, sum hash.Hash) (size int64, err error) {
	list := m.tailSections()
	size = skippableSize + tailFixedSize
	for _, s := range list {
		size += sectionHeaderSize + s.size
		if flags, _ := flagsOf(s.tag); flags&flagVolatile == 0 {
			sum.Write(s.header())
			_ = s.write(sum) // a hash never fails
		}
	}
	sum.Sum(m.Digest[:0])

	e := &encoder{}
	e.u32(tailMagic)
	e.u32(size - skippableSize)
	e.b = append(e.b, tailName[:]...)
	e.u64(version)
	e.b = append(e.b, m.Digest[:]...)
	out := bufio.NewWriterSize(w, 64<<10)
	out.Write(e.b) // a bufio.Writer keeps its first error for Flush
	for _, s := range list {
		out.Write(s.header())
		if err := s.write(out); err != nil {
			return 0, err
		}
	}
	return size, out.Flush()
}

// header returns the header of the section.
func (s *tailSection) header() []byte {
	flags, _ := flagsOf(s.tag)
	e := &encoder{}
	e.u16(s.tag)
	e.u16(flags)
	e.u32(s.size)
	return e.b
}

// readTail reads the tail frame into m. sum holds what the head adds to the
// digest of the image. It returns the length of the frame.
func (m *Manifest) readTail(r io.Reader, sum hash.Hash) (size int64, err error) {
	var start [skippableSize + tailFixedSize]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return 0, streamError(err)
	}
	d := &decoder{b: start[:]}
	magic, payload := d.u32(), d.u32()
	name, v := d.take(len(tailName)), d.u64()
	if magic != tailMagic || !bytes.Equal(name, tailName[:]) {
		return 0, damaged("not a tail frame (%x)", start[:skippableSize+len(tailName)])
	}
	if v != version {
		return 0, damaged("version and reserved bytes %#x", v)
	}
	if payload < tailFixedSize || payload > tailFixedSize+m.maxTailBody() {
		return 0, damaged("%d bytes", payload)
	}
	if err := m.readSections(r, payload-tailFixedSize, sum); err != nil {
		return 0, err
	}
	copy(m.Digest[:], start[len(start)-sha256.Size:])
	if !bytes.Equal(sum.Sum(nil), m.Digest[:]) {
		return 0, ErrDigest
	}
	return skippableSize + payload, nil
}

// maxTailBody bounds the sections of the tail of m, in bytes: what the chunks
// need and 64 MiB for read errors and sections of later slipcasts.
func (m *Manifest) maxTailBody() int64 {
	return int64(m.ChunkCount())*(sha256.Size+quickSize+8) + maxBody
}

// readSections reads the sections of the tail, which take size bytes. Large
// ones are not held twice.
func (m *Manifest) readSections(r io.Reader, size int64, sum hash.Hash) error {
	last := firstTailTag - 1
	for size > 0 {
		var header [sectionHeaderSize]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return streamError(err)
		}
		d := &decoder{b: header[:]}
		tag, flags, length := d.u16(), d.u16(), d.u32()
		if size -= sectionHeaderSize + length; size < 0 || tag <= last {
			return damaged("section %d of %d bytes behind section %d", tag, length, last)
		}
		last = tag
		if err := checkFlags(tag, flags); err != nil {
			return err
		}
		body := io.LimitReader(r, length)
		if flags&flagVolatile == 0 {
			sum.Write(header[:])
			body = io.TeeReader(body, sum)
		}
		if err := m.readSection(body, tag, length); err != nil {
			return in("section "+sectionName(tag), err)
		}
	}
	if m.digests == nil || m.quick == nil || m.ReadErrors == nil {
		return damaged("a section is not there")
	}
	for _, e := range m.ReadErrors {
		if !m.Used.Covers(e) {
			return damaged("read error at %v, which is not in use", e)
		}
	}
	return nil
}

// readSection reads one section of the tail from body, which holds length
// bytes.
func (m *Manifest) readSection(body io.Reader, tag int, length int64) (err error) {
	n := m.ChunkCount()
	switch tag {
	case tagDigests:
		m.digests, err = readEach[Digest](body, length, n, sha256.Size, func(d *Digest, p []byte) { copy(d[:], p) })
	case tagQuick:
		m.quick, err = readEach[[quickSize]byte](body, length, n, quickSize, func(q *[quickSize]byte, p []byte) { copy(q[:], p) })
	case tagFrameSums:
		m.frameSums, err = readEach[uint64](body, length, n, 8, func(s *uint64, p []byte) { *s = binary.LittleEndian.Uint64(p) })
	case tagReadErrors:
		if length > maxBody {
			return damaged("%d bytes", length)
		}
		var p []byte
		if p, err = readAll(body, length); err == nil {
			d := &decoder{b: p}
			m.ReadErrors = decodeExtents(d, m.Size)
			err = d.done()
		}
	default:
		if _, known := flagsOf(tag); known {
			return damaged("does not belong here")
		}
		_, err = io.CopyN(io.Discard, body, length)
		err = streamError(err)
	}
	return err
}

// readEach reads n elements of size bytes each, which must be length bytes
// together. The result is never nil without an error.
func readEach[T any](r io.Reader, length int64, n, size int, set func(*T, []byte)) ([]T, error) {
	if length != int64(n)*int64(size) {
		return nil, damaged("%d bytes for %d chunks", length, n)
	}
	const piece = 1 << 12 // elements that are allocated before they have come
	list := make([]T, 0, min(n, piece))
	buf := make([]byte, size)
	in := bufio.NewReaderSize(r, 64<<10)
	for range n {
		if _, err := io.ReadFull(in, buf); err != nil {
			return nil, streamError(err)
		}
		var v T
		set(&v, buf)
		list = append(list, v)
	}
	return list, nil
}
