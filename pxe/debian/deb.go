package debian

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const (
	maxFiles   = 1 << 18 // most files of one package
	maxContent = 8 << 30 // most bytes that the files of one package have together
	maxWindow  = 128 << 20
)

// A File is one file of a package. Its content can be read until the function
// that was given it returns.
type File struct {
	Name string      // slash-separated path without a leading slash, as fs.ValidPath wants it
	Mode fs.FileMode // type and permissions: a regular file, a directory or a symbolic link
	Size int64       // bytes of content of a regular file

	// Link is where a symbolic link points to, as it stands there: it may lead
	// anywhere. For a hard link, which has the mode of a regular file and no
	// content, it is the name of another file of the package.
	Link string

	io.Reader
}

// Unpack calls visit for every file of the package at path, in its order. If
// visit returns [fs.SkipAll], Unpack ends without an error; any other error
// ends it with that error. Names that lead out of the package, devices and
// more than 8 GiB of content are refused with an error that wraps
// [ErrMalformed].
//
// A decompressor may take as much memory as the package asks for, up to 4 GiB
// for xz. [Archive.Fetch] gives only packages that Debian vouches for.
func Unpack(path string, visit func(File) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unpack(bufio.NewReaderSize(f, 1<<18), visit); err != nil {
		return fmt.Errorf("unpacking %s: %w", path, err)
	}
	return nil
}

// unpack is [Unpack] of a stream.
func unpack(r io.Reader, visit func(File) error) error {
	name, data, err := findData(r)
	if err != nil {
		return err
	}
	content, end, err := decompress(name, data)
	if err != nil {
		return err
	}
	defer end()
	err = walkTar(content, visit)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

// arMagic begins an ar archive, see deb(5).
const arMagic = "!<arch>\n"

// findData returns the name and the content of the member of a package that
// holds its files.
func findData(r io.Reader) (string, io.Reader, error) {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != arMagic {
		return "", nil, fmt.Errorf("%w: not a Debian package", ErrMalformed)
	}
	for number := 0; ; number++ {
		name, size, err := readMember(r)
		if err != nil {
			return "", nil, err
		}
		if number == 0 {
			if err := checkFormat(name, size, r); err != nil {
				return "", nil, err
			}
			continue
		}
		if strings.HasPrefix(name, "data.tar") {
			return name, &exactReader{r, size}, nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
			return "", nil, fmt.Errorf("%w: member %q ends early", ErrMalformed, name)
		}
	}
}

// An exactReader gives the next left bytes of a reader, or an error if there are
// fewer.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		err = fmt.Errorf("%w: it ends %d bytes early", ErrMalformed, e.left)
	}
	return n, err
}

// readMember reads the header of a member of an ar archive: name of 16 bytes,
// time of 12, owner and group of 6 each, mode of 8, size of 10, and two bytes
// that end it, all in text and filled up with spaces. Data is followed by a
// line feed if its size is odd.
func readMember(r io.Reader) (name string, size int64, err error) {
	var header [60]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return "", 0, fmt.Errorf("%w: a package without data", ErrMalformed)
	}
	if string(header[58:]) != "`\n" {
		return "", 0, fmt.Errorf("%w: header of a member of the package", ErrMalformed)
	}
	name = strings.TrimSuffix(strings.TrimRight(string(header[:16]), " "), "/")
	size, err = strconv.ParseInt(strings.TrimRight(string(header[48:58]), " "), 10, 64)
	if err != nil || size < 0 {
		return "", 0, fmt.Errorf("%w: size of member %q", ErrMalformed, name)
	}
	return name, size, nil
}

// checkFormat reads the first member, which tells the version of the format.
func checkFormat(name string, size int64, r io.Reader) error {
	if name != "debian-binary" || size < 4 || size > 64 {
		return fmt.Errorf("%w: not a Debian package", ErrMalformed)
	}
	version := make([]byte, size+size%2)
	if _, err := io.ReadFull(r, version); err != nil || !strings.HasPrefix(string(version), "2.") {
		return fmt.Errorf("%w: format %q of the package, want 2.0", ErrMalformed, version)
	}
	return nil
}

// decompress returns the plain text of a member by the end of its name, and a
// function that frees what that takes.
func decompress(name string, r io.Reader) (io.Reader, func(), error) {
	none := func() {}
	var plain io.Reader
	var err error
	switch strings.TrimPrefix(name, "data.tar") {
	case "":
		return r, none, nil
	case ".gz":
		plain, err = gzip.NewReader(r)
	case ".xz":
		plain, err = xz.NewReader(r)
	case ".zst":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, none, err
		}
		return d, d.Close, nil
	default:
		err = fmt.Errorf("unknown compression of %q", name)
	}
	if err != nil {
		return nil, none, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return plain, none, nil
}

// walkTar calls visit for the entries of a tar archive.
func walkTar(r io.Reader, visit func(File) error) error {
	t := tar.NewReader(r)
	left := int64(maxContent)
	for range maxFiles {
		header, err := t.Next()
		if err == io.EOF {
			return drain(r)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if left -= header.Size; header.Size < 0 || left < 0 {
			return fmt.Errorf("%w: more than %d bytes of files", ErrMalformed, int64(maxContent))
		}
		file, err := entry(header)
		if err != nil {
			return err
		}
		file.Reader = t
		if err := visit(file); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: more than %d files", ErrMalformed, maxFiles)
}

// drain reads what is behind the last entry, which is padding, so that the
// checksum at the end of compressed data is looked at.
func drain(r io.Reader) error {
	const padding = 1 << 20
	n, err := io.Copy(io.Discard, io.LimitReader(r, padding))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if n == padding {
		return fmt.Errorf("%w: more than %d bytes behind the last file", ErrMalformed, padding)
	}
	return nil
}

// entry checks one entry of a tar archive.
func entry(h *tar.Header) (File, error) {
	f := File{Mode: fs.FileMode(h.Mode).Perm()}
	var err error
	if f.Name, err = inside(h.Name); err != nil {
		return f, err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		f.Size = h.Size
	case tar.TypeDir:
		f.Mode |= fs.ModeDir
	case tar.TypeSymlink:
		f.Mode |= fs.ModeSymlink
		f.Link = h.Linkname
	case tar.TypeLink:
		f.Link, err = inside(h.Linkname)
	default:
		err = fmt.Errorf("%w: %q is of type %q", ErrMalformed, h.Name, h.Typeflag)
	}
	return f, err
}

// inside returns a name of a tar archive without the ./ before it and the
// slash behind it, or an error if it leads out of the package.
func inside(name string) (string, error) {
	short := strings.TrimPrefix(strings.TrimSuffix(name, "/"), "./")
	if short == "" {
		short = "."
	}
	if !fs.ValidPath(short) || strings.ContainsRune(short, 0) {
		return "", fmt.Errorf("%w: file name %.200q leads out of the package", ErrMalformed, name)
	}
	return short, nil
}
