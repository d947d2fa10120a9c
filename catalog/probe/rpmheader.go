package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// errHeader says that the header of a package in rpm's database is damaged.
var errHeader = errors.New("damaged header of an rpm package")

// Tags of a header and types of their values: rpm's format manual, "Header
// Structure", and rpmtag.h.
const (
	tagName    = 1000
	tagVersion = 1001
	tagRelease = 1002
	tagEpoch   = 1003
	tagArch    = 1022

	typeInt32  = 4
	typeString = 6
)

// parseHeader reads a header as the database has it: how many entries (4 bytes,
// big-endian, like all numbers here), how many bytes of data, entries of 16
// bytes (tag, type, offset in the data, count), data.
func parseHeader(p []byte) (installed, error) {
	if len(p) < 8 {
		return installed{}, fmt.Errorf("%w: %d bytes", errHeader, len(p))
	}
	entries := int64(binary.BigEndian.Uint32(p))
	size := int64(binary.BigEndian.Uint32(p[4:]))
	if 8+entries*16+size > int64(len(p)) {
		return installed{}, fmt.Errorf("%w: %d entries and %d bytes do not fit into %d", errHeader, entries, size, len(p))
	}
	data := p[8+entries*16:][:size]
	values := map[uint32]string{}
	for i := range entries {
		if err := headerEntry(p[8+i*16:][:16], data, values); err != nil {
			return installed{}, err
		}
	}
	if values[tagName] == "" || values[tagVersion] == "" {
		return installed{}, fmt.Errorf("%w: no name or no version", errHeader)
	}
	return installed{values[tagName], values[tagArch], evr(values)}, nil
}

// headerEntry notes the value of an entry, if it is one that matters here.
func headerEntry(entry, data []byte, values map[uint32]string) error {
	tag, kind := binary.BigEndian.Uint32(entry), binary.BigEndian.Uint32(entry[4:])
	offset := binary.BigEndian.Uint32(entry[8:])
	switch tag {
	case tagName, tagVersion, tagRelease, tagArch:
		if kind != typeString || int64(offset) > int64(len(data)) {
			return fmt.Errorf("%w: tag %d of type %d at %d", errHeader, tag, kind, offset)
		}
		text, _, ok := bytes.Cut(data[offset:], []byte{0})
		if !ok {
			return fmt.Errorf("%w: tag %d has no end", errHeader, tag)
		}
		values[tag] = string(text)
	case tagEpoch:
		if kind != typeInt32 || int64(offset)+4 > int64(len(data)) {
			return fmt.Errorf("%w: epoch of type %d at %d", errHeader, kind, offset)
		}
		values[tag] = strconv.FormatUint(uint64(binary.BigEndian.Uint32(data[offset:])), 10)
	}
	return nil
}

// evr writes a version as rpm does: epoch, if it is not 0, version and release.
func evr(values map[uint32]string) string {
	s := values[tagVersion]
	if epoch := values[tagEpoch]; epoch != "" && epoch != "0" {
		s = epoch + ":" + s
	}
	if values[tagRelease] != "" {
		s += "-" + values[tagRelease]
	}
	return s
}
