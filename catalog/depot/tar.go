package depot

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Sizes of a tar stream in bytes, POSIX.1-2017, pax.
const (
	tarBlock = 512
	tarEnd   = 2 * tarBlock
	maxPiece = 4 << 30 // of the contents of a member: 11 octal digits hold twice that
)

// A piece is a file of a store, or a part of one.
type piece struct {
	path          string
	offset, total int64 // where it begins in the file, and how long the file is
	size          int64 // its own length
}

// whole tells whether a piece is all of its file.
func (p piece) whole() bool { return p.size == p.total }

// name returns what the piece is called in a part.
func (p piece) name() string {
	if p.whole() {
		return p.path
	}
	return p.path + "#" + strconv.FormatInt(p.offset, 10) + "-" + strconv.FormatInt(p.total, 10)
}

// parsePiece reads the name of a piece with so many bytes.
func parsePiece(name string, size int64) (piece, error) {
	p := piece{path: name, total: size, size: size}
	if at := strings.IndexByte(name, '#'); at >= 0 {
		from, total, _ := strings.Cut(name[at+1:], "-")
		var err1, err2 error
		p.path = name[:at]
		p.offset, err1 = strconv.ParseInt(from, 10, 64)
		p.total, err2 = strconv.ParseInt(total, 10, 64)
		if err1 != nil || err2 != nil || p.offset < 0 || size < 1 || p.total <= size || p.offset > p.total-size || p.name() != name {
			return p, fmt.Errorf("%.200q is no piece of %d bytes", name, size)
		}
	}
	if !isOffered(p.path) {
		return p, fmt.Errorf("%.200q does not belong into a store", name)
	}
	return p, nil
}

// isOffered tells whether a path is one of section 12.1.
func isOffered(p string) bool {
	if metadataForm.MatchString(p) || bundleForm.MatchString(p) {
		return true
	}
	if _, _, ok := parseFramePath(p); ok {
		return true
	}
	_, ok := parseImagePath(p)
	return ok
}

// padded returns how many bytes contents take in a tar stream.
func padded(size int64) int64 { return (size + tarBlock - 1) / tarBlock * tarBlock }

// memberSize returns how many bytes a member takes in a tar stream.
func memberSize(size int64) int64 { return tarBlock + padded(size) }

// tarHeader returns the header of a member: a function of its name and its size.
func tarHeader(name string, size int64) []byte {
	h := make([]byte, tarBlock)
	folder := ""
	if len(name) > 100 {
		folder, name = path.Split(name)
		folder = strings.TrimSuffix(folder, "/")
	}
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00", size))
	copy(h[148:], "        0")
	copy(h[257:], "ustar\x0000")
	copy(h[329:], "0000000\x000000000\x00")
	copy(h[345:], folder)
	var sum int
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// errHeader reports a block that is no header of a member.
var errHeader = errors.New("not the header of a member")

// parseHeader reads the header of a member: a block that is just what tarHeader
// makes.
func parseHeader(h []byte) (name string, size int64, err error) {
	name = text(h[:100])
	if folder := text(h[345:500]); folder != "" {
		name = folder + "/" + name
	}
	size, err = strconv.ParseInt(text(h[124:136]), 8, 64)
	if err != nil || size < 0 || size > maxPiece || name == "" || !bytes.Equal(tarHeader(name, size), h) {
		return "", 0, errHeader
	}
	return name, size, nil
}

// text returns the text that stands in a field before its NULs.
func text(field []byte) string {
	field, _, _ = bytes.Cut(field, []byte{0})
	return string(field)
}
