package bundle

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Bounds of reading a package's own description. Debian's largest control.tar
// takes some MiB.
const (
	maxControlTar  = 64 << 20 // bytes of it, unpacked
	maxControlFile = 1 << 20
	maxControlDict = 64 << 20 // of its compression
	mostArMembers  = 10       // before control.tar
	mostTarMembers = 10_000   // of it
)

// readDeb reads name, version and architecture of a Debian package: deb(5) and
// deb-control(5).
func readDeb(r io.Reader) (Package, error) {
	name, control, err := findControl(r)
	if err != nil {
		return Package{}, err
	}
	plain, end, err := decompress(strings.TrimPrefix(name, "control.tar"), control)
	if err != nil {
		return Package{}, fmt.Errorf("%s: %w", name, err)
	}
	defer end()
	text, err := readControl(tar.NewReader(io.LimitReader(plain, maxControlTar)))
	if err != nil {
		return Package{}, fmt.Errorf("%s: %w", name, err)
	}
	fields := parseStanza(text)
	return Package{Name: fields["package"], Version: fields["version"], Arch: fields["architecture"]}, nil
}

// findControl returns the member of a package that describes it.
func findControl(r io.Reader) (string, io.Reader, error) {
	magic := make([]byte, 8)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != "!<arch>\n" {
		return "", nil, errors.New("not a Debian package")
	}
	for n := range mostArMembers {
		name, size, err := readArHeader(r)
		if err != nil {
			return "", nil, err
		}
		if n == 0 && name != "debian-binary" {
			return "", nil, fmt.Errorf("not a Debian package: it begins with %q", name)
		}
		if strings.HasPrefix(name, "control.tar") {
			return name, io.LimitReader(r, size), nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
			return "", nil, fmt.Errorf("member %q ends early", name)
		}
	}
	return "", nil, errors.New("a Debian package without control.tar")
}

// readArHeader reads the header of a member: name of 16 bytes, time, owner,
// group and mode of 32 together, size of 10, all in text, and two bytes that end it.
func readArHeader(r io.Reader) (name string, size int64, err error) {
	var h [60]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return "", 0, errors.New("a Debian package without control.tar")
	}
	name = strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/")
	size, err = strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
	if err != nil || size < 0 || string(h[58:]) != "`\n" {
		return "", 0, fmt.Errorf("header of the member %q", name)
	}
	return name, size, nil
}

// decompress returns the plain bytes of r by how its name ends, and a function
// that frees what that takes.
func decompress(ending string, r io.Reader) (io.Reader, func(), error) {
	none := func() {}
	switch ending {
	case "":
		return r, none, nil
	case ".gz":
		plain, err := gzip.NewReader(r)
		return plain, none, err
	case ".xz":
		plain, err := openXZ(r)
		return plain, none, err
	case ".zst":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxControlDict))
		if err != nil {
			return nil, none, err
		}
		return d, d.Close, nil
	}
	return nil, none, fmt.Errorf("unknown compression %q", ending)
}

// readControl returns the file control in a tar archive.
func readControl(t *tar.Reader) (string, error) {
	for range mostTarMembers {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		if path.Clean(h.Name) != "control" || h.Typeflag != tar.TypeReg {
			continue
		}
		if h.Size > maxControlFile {
			return "", fmt.Errorf("control of %d bytes, at most %d are allowed", h.Size, maxControlFile)
		}
		text, err := io.ReadAll(t)
		return string(text), err
	}
	return "", errors.New("there is no control in it")
}

// parseStanza returns the fields of the first stanza in text that have a value
// on one line. Names are in lower case.
func parseStanza(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.TrimSpace(line) == "" && len(fields) > 0 {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if ok && name != "" && !strings.ContainsAny(name, " \t") {
			fields[strings.ToLower(name)] = strings.TrimSpace(value)
		}
	}
	return fields
}
