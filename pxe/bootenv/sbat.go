package bootenv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrSBAT reports SBAT data that is not in its format.
var ErrSBAT = errors.New("malformed SBAT data")

// A Component is one line of SBAT data: a part of a program with a generation
// that is raised when its older ones are revoked, see SBAT.md in
// https://github.com/rhboot/shim.
type Component struct {
	Name       string // "grub"
	Generation int
	Vendor     string // "Free Software Foundation"
	Package    string // "grub"
	Version    string // "2.12"
	URL        string
}

// ParseSBAT reads the content of an .sbat section, or a list of least
// generations, whose lines have two or three fields. An error wraps [ErrSBAT].
func ParseSBAT(text []byte) ([]Component, error) {
	text, _, _ = bytes.Cut(text, []byte{0})
	var out []Component
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		fields := strings.Split(line, ",")
		if len(fields) < 2 || fields[0] == "" {
			return nil, fmt.Errorf("%w: line %.100q", ErrSBAT, line)
		}
		generation, err := strconv.ParseUint(fields[1], 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%w: generation of %.100q", ErrSBAT, line)
		}
		fields = append(fields, "", "", "", "")
		out = append(out, Component{fields[0], int(generation), fields[2], fields[3], fields[4], fields[5]})
	}
	return out, nil
}

// sbatLevel reads an .sbatlevel section: a version, which is 0, then where the
// previous and the latest list begin, counted from behind the version. The
// lists end with a zero byte. shim applies the previous one unless it is told
// otherwise; the latest is what it will apply one day, so it is what we want
// kept.
func sbatLevel(section []byte) ([]Component, error) {
	if section == nil {
		return nil, nil
	}
	if len(section) < 12 || binary.LittleEndian.Uint32(section) != 0 {
		return nil, fmt.Errorf("%w: .sbatlevel", ErrSBAT)
	}
	latest := 4 + int64(binary.LittleEndian.Uint32(section[8:]))
	if latest > int64(len(section)) {
		return nil, fmt.Errorf("%w: .sbatlevel", ErrSBAT)
	}
	return ParseSBAT(section[latest:])
}
