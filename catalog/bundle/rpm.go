package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Parts of an RPM package, format version 3 and 4: docs/manual/format_v4.md of
// github.com/rpm-software-management/rpm. All numbers are big-endian.
const (
	rpmLead       = 96
	rpmHeader     = 16 // magic, 4 bytes reserved, entries of the index, bytes of data
	rpmIndexEntry = 16 // tag, type, offset, count
	maxRPMIndex   = 65535
	maxRPMData    = 256 << 20 // as rpm itself has it
	maxRPMText    = 4096

	tagName    = 1000
	tagVersion = 1001
	tagRelease = 1002
	tagEpoch   = 1003
	tagArch    = 1022
	tagSource  = 1044 // SOURCERPM: a binary package says what it was built from

	rpmInt32  = 4
	rpmString = 6
)

// readRPM reads name, version and architecture of an RPM package of size bytes.
func readRPM(r io.ReaderAt, size int64) (Package, error) {
	lead := make([]byte, 4)
	if err := readAt(r, lead, 0); err != nil || !bytes.Equal(lead, []byte{0xed, 0xab, 0xee, 0xdb}) {
		return Package{}, errors.New("not an RPM package")
	}
	signatures, err := openRPMHeader(r, rpmLead, size)
	if err != nil {
		return Package{}, fmt.Errorf("signatures: %w", err)
	}
	h, err := openRPMHeader(r, (signatures.end()+7)/8*8, size)
	if err != nil {
		return Package{}, fmt.Errorf("header: %w", err)
	}
	return h.describe()
}

// An rpmTags is a header of a package.
type rpmTags struct {
	r     io.ReaderAt
	index []byte
	data  int64 // where its data begin
	size  int64 // their length
}

// openRPMHeader reads the index of the header at off.
func openRPMHeader(r io.ReaderAt, off, size int64) (*rpmTags, error) {
	var head [rpmHeader]byte
	if err := readAt(r, head[:], off); err != nil {
		return nil, errors.New("ends early")
	}
	if !bytes.Equal(head[:4], []byte{0x8e, 0xad, 0xe8, 1}) {
		return nil, fmt.Errorf("begins with %x", head[:4])
	}
	entries, bytes := int64(binary.BigEndian.Uint32(head[8:])), int64(binary.BigEndian.Uint32(head[12:]))
	if entries > maxRPMIndex || bytes > maxRPMData {
		return nil, fmt.Errorf("%d tags and %d bytes, at most %d and %d are allowed", entries, bytes, maxRPMIndex, maxRPMData)
	}
	h := &rpmTags{r: r, data: off + rpmHeader + entries*rpmIndexEntry, size: bytes}
	if h.end() > size {
		return nil, errors.New("ends early")
	}
	h.index = make([]byte, entries*rpmIndexEntry)
	return h, readAt(r, h.index, off+rpmHeader)
}

// end returns where the header ends.
func (h *rpmTags) end() int64 { return h.data + h.size }

// find returns where the value of a tag of that type begins in the data, -1 if
// there is none.
func (h *rpmTags) find(tag, kind uint32) int64 {
	for e := h.index; len(e) > 0; e = e[rpmIndexEntry:] {
		if binary.BigEndian.Uint32(e) == tag && binary.BigEndian.Uint32(e[4:]) == kind {
			return int64(binary.BigEndian.Uint32(e[8:]))
		}
	}
	return -1
}

// text returns the value of a tag that is text, empty if there is none.
func (h *rpmTags) text(tag uint32) (string, error) {
	off := h.find(tag, rpmString)
	if off < 0 || off >= h.size {
		return "", nil
	}
	p := make([]byte, min(maxRPMText, h.size-off))
	if err := readAt(h.r, p, h.data+off); err != nil {
		return "", err
	}
	n := bytes.IndexByte(p, 0)
	if n < 0 {
		return "", fmt.Errorf("tag %d does not end", tag)
	}
	return string(p[:n]), nil
}

// epoch returns the epoch with a colon, empty if there is none.
func (h *rpmTags) epoch() (string, error) {
	off := h.find(tagEpoch, rpmInt32)
	if off < 0 {
		return "", nil
	}
	var p [4]byte
	if off > h.size-4 {
		return "", errors.New("epoch lies outside")
	}
	if err := readAt(h.r, p[:], h.data+off); err != nil {
		return "", err
	}
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(p[:])), 10) + ":", nil
}

// describe returns what the header says of the package.
func (h *rpmTags) describe() (Package, error) {
	if h.find(tagSource, rpmString) < 0 {
		return Package{}, errors.New("a source package, which cannot be installed")
	}
	epoch, err := h.epoch()
	if err != nil {
		return Package{}, err
	}
	var values [4]string
	for i, tag := range []uint32{tagName, tagVersion, tagRelease, tagArch} {
		if values[i], err = h.text(tag); err != nil {
			return Package{}, err
		}
	}
	return Package{Name: values[0], Version: epoch + values[1] + "-" + values[2], Arch: values[3]}, nil
}
