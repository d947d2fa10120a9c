package bootenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// ErrMalformed reports a file that is not in its format.
var ErrMalformed = errors.New("malformed")

const (
	maxCPIOName = 4096      // bytes, with the zero at the end; PATH_MAX
	maxCPIOFile = 256 << 20 // bytes of one file
)

// ReadCPIO calls visit for the entries of the first cpio archive of r, in its
// order. Data is the caller's to keep. Errors are those of visit and of r, or
// wrap [ErrMalformed].
func ReadCPIO(r io.Reader, visit func(Entry) error) error {
	for {
		e, err := readEntry(r)
		if err != nil {
			return err
		}
		if e.Name == cpioTrailer {
			return nil
		}
		if !fs.ValidPath(e.Name) {
			return fmt.Errorf("%w: name %.200q in an archive", ErrMalformed, e.Name)
		}
		if err := visit(e); err != nil {
			return err
		}
	}
}

// The numbers of the header's fields.
const (
	fieldMode      = 1
	fieldSize      = 6
	fieldMajor     = 9
	fieldMinor     = 10
	fieldNameBytes = 11
	fieldCount     = 13
)

// readEntry reads one entry, the trailer too.
func readEntry(r io.Reader) (Entry, error) {
	header := make([]byte, cpioHeader)
	if _, err := io.ReadFull(r, header); err != nil {
		return Entry{}, cutShort(err)
	}
	fields, err := parseCPIOHeader(header)
	if err != nil {
		return Entry{}, err
	}
	name, err := readPadded(r, int(fields[fieldNameBytes]), cpioHeader)
	if err != nil {
		return Entry{}, err
	}
	text, found := strings.CutSuffix(string(name), "\x00")
	if !found || strings.Contains(text, "\x00") {
		return Entry{}, fmt.Errorf("%w: name %.200q in an archive", ErrMalformed, name)
	}
	e := Entry{Name: text, Major: fields[fieldMajor], Minor: fields[fieldMinor]}
	if text != cpioTrailer {
		if e.Mode, err = fileMode(fields[fieldMode]); err != nil {
			return e, fmt.Errorf("%.200q: %w", text, err)
		}
	}
	e.Data, err = readPadded(r, int(fields[fieldSize]), 0)
	return e, err
}

// parseCPIOHeader reads the fields of a header and checks the two lengths.
func parseCPIOHeader(header []byte) (fields [fieldCount]uint32, err error) {
	if !bytes.HasPrefix(header, []byte(cpioMagic)) {
		return fields, fmt.Errorf("%w: %.6q begins no entry of an archive", ErrMalformed, header)
	}
	for i := range fields {
		start := len(cpioMagic) + 8*i
		n, err := strconv.ParseUint(string(header[start:start+8]), 16, 32)
		if err != nil {
			return fields, fmt.Errorf("%w: field %d of an archive's header", ErrMalformed, i)
		}
		fields[i] = uint32(n)
	}
	if n := fields[fieldNameBytes]; n == 0 || n > maxCPIOName {
		return fields, fmt.Errorf("%w: a name of %d bytes in an archive", ErrMalformed, n)
	}
	if n := fields[fieldSize]; n > maxCPIOFile {
		return fields, fmt.Errorf("%w: a file of %d bytes in an archive", ErrMalformed, n)
	}
	return fields, nil
}

// readPadded reads n bytes and what fills before+n up to a multiple of four.
// It takes no more memory than there is data.
func readPadded(r io.Reader, n, before int) ([]byte, error) {
	pad := len(zeros(before + n))
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(n+pad)); err != nil {
		return nil, cutShort(err)
	}
	data, padding := b.Bytes()[:n:n], b.Bytes()[n:]
	if string(padding) != zeros(before+n) {
		return nil, fmt.Errorf("%w: an archive is filled up with %x", ErrMalformed, padding)
	}
	return data, nil
}

// cutShort says that an archive has no end, if that is what err means.
func cutShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: an archive ends early", ErrMalformed)
	}
	return err
}

// fileMode returns the mode for a mode field.
func fileMode(field uint32) (fs.FileMode, error) {
	mode := fs.FileMode(field & 0o777)
	switch field &^ 0o777 {
	case cpioFile:
		return mode, nil
	case cpioDir:
		return mode | fs.ModeDir, nil
	case cpioLink:
		return mode | fs.ModeSymlink, nil
	case cpioChar:
		return mode | fs.ModeDevice | fs.ModeCharDevice, nil
	}
	return 0, fmt.Errorf("%w: mode %#o in an archive", ErrMalformed, field)
}
