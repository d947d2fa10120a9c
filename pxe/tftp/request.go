package tftp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// maxRequest is the number of bytes that a request may have (RFC 2347).
const maxRequest = 512

// A Request is what a client asks for.
type Request struct {
	// Name of the file, relative to the root, with / between its parts, and
	// made harmless: what firmware gets wrong is put right (backslashes, a
	// leading slash, white space or bytes of 0xff at the end), parts called
	// . and .. are resolved, and every byte that is not printable ASCII is
	// replaced by a question mark, by which a garbled name is known.
	// It is never empty and never begins with a slash or "..".
	Name string

	Client netip.AddrPort // who asks
	Local  netip.Addr     // the address of this machine that was asked
}

// A wish is a request for reading as it comes from the wire.
type wish struct {
	name    string // cleaned
	escapes bool   // the name leads out of the root
	octet   bool   // the mode is octet
	options []option
}

// An option is one that this server knows, with its number.
type option struct {
	name  string // in lower case
	value int64
}

// The names of options (RFC 2348, 2349, 7440).
const (
	blockSize  = "blksize"
	timeout    = "timeout"
	totalSize  = "tsize"
	windowSize = "windowsize"
)

// bounds returns the values that the RFCs allow for an option. A value beyond
// them is treated as if the option were not there. Other options are not known.
func bounds(name string) (least, most uint64, known bool) {
	switch name {
	case blockSize:
		return minBlock, maxBlock, true
	case timeout:
		return 1, 255, true
	case totalSize:
		return 0, math.MaxInt64, true
	case windowSize:
		return 1, math.MaxUint16, true
	}
	return 0, 0, false
}

// parseRequest reads a request for reading or, then w is empty, one for
// writing. Any error wraps [ErrMalformed].
func parseRequest(p []byte) (op opcode, w wish, err error) {
	if len(p) < 2 || len(p) > maxRequest {
		return 0, w, fmt.Errorf("%w: a request of %d bytes", ErrMalformed, len(p))
	}
	switch op = opcode(binary.BigEndian.Uint16(p)); op {
	case opWrite:
		return op, w, nil
	case opRead:
	default:
		return 0, w, fmt.Errorf("%w: opcode %d is no request", ErrMalformed, op)
	}
	name, p, ok := cut(p[2:])
	if !ok {
		return 0, w, fmt.Errorf("%w: the name has no end", ErrMalformed)
	}
	mode, p, ok := cut(p)
	if !ok {
		return 0, w, fmt.Errorf("%w: the mode has no end", ErrMalformed)
	}
	w.name, w.escapes = cleanName(name)
	if w.name == "" {
		return 0, w, fmt.Errorf("%w: no name", ErrMalformed)
	}
	w.octet = strings.EqualFold(string(mode), "octet")
	w.options = parseOptions(p)
	return op, w, nil
}

// parseOptions returns the options that this server knows, each one once: the
// first of its name. It ends where p is no longer pairs of strings.
func parseOptions(p []byte) []option {
	var opts []option
	for {
		name, rest, ok := cut(p)
		if !ok {
			return opts
		}
		value, rest, ok := cut(rest)
		if !ok {
			return opts
		}
		p = rest
		o := option{name: strings.ToLower(string(name))}
		least, most, known := bounds(o.name)
		n, err := strconv.ParseUint(string(value), 10, 63)
		if !known || has(opts, o.name) || err != nil || n < least || n > most {
			continue
		}
		o.value = int64(n)
		opts = append(opts, o)
	}
}

func has(opts []option, name string) bool {
	for _, o := range opts {
		if o.name == name {
			return true
		}
	}
	return false
}

// cut returns the string at the beginning of p, and what follows the zero byte
// at its end. Without one, all of p is the string, and ok is false.
func cut(p []byte) (s, rest []byte, ok bool) { return bytes.Cut(p, []byte{0}) }

// cleanName makes of a name that firmware sends one of ours, see
// [Request.Name]. escapes tells that it led out of the root.
func cleanName(raw []byte) (name string, escapes bool) {
	for n := len(raw); n > 0 && (raw[n-1] == 0xff || bytes.IndexByte([]byte(" \t\r\n"), raw[n-1]) >= 0); n-- {
		raw = raw[:n-1]
	}
	name = strings.ReplaceAll(printable(raw), `\`, "/")
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			escapes = true
		}
	}
	return path.Clean("/" + name)[1:], escapes
}

// printable returns p with a question mark for every byte that is not
// printable ASCII.
func printable(p []byte) string {
	out := make([]byte, len(p))
	for i, c := range p {
		if c < ' ' || c > '~' {
			c = '?'
		}
		out[i] = c
	}
	return string(out)
}
