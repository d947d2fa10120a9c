package bundle

import (
	"archive/tar"
	"bytes"
	"strconv"
)

// Parts of the tar stream, section 4.
const (
	tarBlock     = 512
	tarEnd       = 2 * tarBlock
	manifestName = "manifest.json"
)

// A layout tells where contents lie in the tar stream, counted from the end of
// the manifest with its padding.
type layout struct {
	end int64 // of the last contents, with their padding
}

// add puts contents of size bytes behind the others and returns their offset.
func (l *layout) add(number int, size int64) int64 {
	offset := l.end + int64(len(tarHeader(memberName(number), size)))
	l.end = offset + padded(size)
	return offset
}

// padded returns how many bytes of a tar stream size bytes of contents take.
func padded(size int64) int64 { return (size + tarBlock - 1) / tarBlock * tarBlock }

// memberName returns the name of the member that has contents of that number.
func memberName(number int) string { return "data/" + strconv.Itoa(number) }

// tarHeader returns the header of a member, section 4. It is the same for the
// same name and size, so a reader compares and does not parse.
func tarHeader(name string, size int64) []byte {
	h := &tar.Header{Name: name, Size: size, Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
	if size > 0o77777777777 {
		h.Format = tar.FormatPAX
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		panic("bundle: " + err.Error()) // every such header can be written
	}
	return b.Bytes()
}
