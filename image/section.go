package image

import (
	"hash"
	"strconv"
)

// Tags of sections, see section 3 and those that describe each.
const (
	tagTable      = 1
	tagVolumes    = 2
	tagExtents    = 3
	tagNotes      = 4
	tagOrigin     = 16
	tagDigests    = 32
	tagQuick      = 33
	tagReadErrors = 34
	tagFrameSums  = 48
)

// firstTailTag is the lowest tag of the tail; those below it are the head's.
const firstTailTag = 32

// Flags of sections.
const (
	flagRequired = 1 << 0
	flagVolatile = 1 << 1
)

// flagsOf returns the flags that a known section must have.
func flagsOf(tag int) (flags int, known bool) {
	switch tag {
	case tagTable, tagVolumes, tagExtents, tagDigests, tagQuick, tagReadErrors:
		return flagRequired, true
	case tagNotes:
		return 0, true
	case tagOrigin, tagFrameSums:
		return flagVolatile, true
	}
	return 0, false
}

const sectionHeaderSize = 8

// section appends a section with the given payload.
func (e *encoder) section(tag int, payload []byte) {
	flags, _ := flagsOf(tag)
	e.u16(tag)
	e.u16(flags)
	e.u32(int64(len(payload)))
	e.b = append(e.b, payload...)
}

// sections calls use for each section of body that this version knows, and
// refuses what it must not skip. Sections that are not volatile go into sum.
func sections(body []byte, sum hash.Hash, use func(tag int, payload []byte) error) error {
	d := &decoder{b: body}
	last := 0
	for len(d.b) > 0 {
		start := d.b
		tag, flags, size := d.u16(), d.u16(), d.u32()
		payload := d.take(int(size))
		if d.err != nil {
			return in("section header", d.err)
		}
		if tag <= last {
			return damaged("section %d behind section %d", tag, last)
		}
		last = tag
		if err := checkFlags(tag, flags); err != nil {
			return err
		}
		if flags&flagVolatile == 0 {
			sum.Write(start[:sectionHeaderSize+len(payload)])
		}
		if err := use(tag, payload); err != nil {
			return err
		}
	}
	return nil
}

func checkFlags(tag, flags int) error {
	want, known := flagsOf(tag)
	switch {
	case flags&^(flagRequired|flagVolatile) != 0 || known && flags != want:
		return damaged("section %d: flags %#x", tag, flags)
	case !known && flags&flagRequired != 0:
		return damaged("section %d: made by a newer slipcast, and needed to read the image", tag)
	}
	return nil
}

// sectionName names a section in messages.
func sectionName(tag int) string {
	names := map[int]string{
		tagTable: "1 (table)", tagVolumes: "2 (volumes)", tagExtents: "3 (extents in use)",
		tagNotes: "4 (notes)", tagOrigin: "16 (origin)", tagDigests: "32 (digests)",
		tagQuick: "33 (quick digests)", tagReadErrors: "34 (read errors)", tagFrameSums: "48 (frame sums)",
	}
	if name, ok := names[tag]; ok {
		return name
	}
	return strconv.Itoa(tag)
}
