package fsmap

import (
	"context"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"slipcast/partition"
)

// maxRead bounds one read of metadata, in bytes.
const maxRead = 16 << 20

// A volume is what a reader maps: bytes and how many there are.
type volume struct {
	ctx  context.Context
	r    io.ReaderAt
	size int64
	opt  Options
}

// read returns n bytes at offset off. A range that does not lie within the
// volume, or is longer than maxRead, is damage: it was found in metadata.
func (v *volume) read(off, n int64) ([]byte, error) {
	if n < 0 || n > maxRead {
		return nil, damaged("a structure of %d bytes at offset %d", n, off)
	}
	buf := make([]byte, n)
	return buf, v.readInto(buf, off)
}

// readInto fills buf from offset off. A range that does not lie within the
// volume is damage.
func (v *volume) readInto(buf []byte, off int64) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	if off < 0 || off > v.size-int64(len(buf)) {
		return damaged("a structure of %d bytes at offset %d, beyond the end of the volume at %d", len(buf), off, v.size)
	}
	if n, err := v.r.ReadAt(buf, off); n < len(buf) {
		return fmt.Errorf("reading at offset %d: %w", off, err)
	}
	return nil
}

// finish brings m into the form that Read promises.
func (v *volume) finish(m *Map) *Map {
	m.Used = m.Used.Within(partition.Extent{Start: 0, Length: v.size})
	if m.Size <= 0 || m.Size > v.size {
		m.Size = v.size
	}
	m.Label, m.UUID = clean(m.Label), clean(m.UUID)
	for i, note := range m.Notes {
		m.Notes[i] = clean(note)
	}
	return m
}

// clean makes a string from a disk fit for a terminal and a manifest: valid
// UTF-8, printable, without blanks around it.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}
