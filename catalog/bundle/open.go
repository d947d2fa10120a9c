package bundle

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"
)

// A Bundle is a bundle file that is open. It is safe for concurrent use.
type Bundle struct {
	Manifest *Manifest // must not be changed
	Digest   string    // of the manifest, in hexadecimal: names the bundle and all that is in it

	raw    []byte // the manifest as it lies in the file
	stream *stream
	base   int64 // of File.Offset in the stream
}

// Open reads the manifest of the bundle of size bytes behind r, and checks that
// the file is built as section 4 says. The contents of files are looked at by
// [Bundle.Data] and [Bundle.Verify]. Open keeps r and reads from it as long as
// the bundle is used.
//
// The error wraps [ErrNotBundle] or [ErrDamaged], or is one of r. The memory
// that is taken has a bound whatever the file says: ten times the manifest, and
// 60 MiB for the seek table of a file of 2 TiB.
func Open(r io.ReaderAt, size int64) (*Bundle, error) { return open(r, size, "") }

// OpenSigned is [Open] for the bundle whose manifest has the given digest, in
// hexadecimal, which somebody trustworthy has told. A manifest with another one
// is not even parsed; the error wraps [ErrOther] then.
func OpenSigned(r io.ReaderAt, size int64, digest string) (*Bundle, error) {
	if len(digest) != 2*sha256.Size {
		return nil, fmt.Errorf("%q is no digest", digest)
	}
	return open(r, size, digest)
}

// open opens the bundle with a digest; if that is empty, with any.
func open(r io.ReaderAt, size int64, digest string) (*Bundle, error) {
	s, err := openStream(r, size)
	if err != nil {
		return nil, err
	}
	raw, err := readManifest(s)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	b := &Bundle{Digest: hex.EncodeToString(sum[:]), raw: raw, stream: s, base: tarBlock + padded(int64(len(raw)))}
	if digest != "" && digest != b.Digest {
		return nil, fmt.Errorf("%w: the file has one with the digest %.12s", ErrOther, b.Digest)
	}
	if b.Manifest, err = DecodeManifest(raw); err != nil {
		return nil, err
	}
	m := b.Manifest
	if want := b.base + m.end() + tarEnd; s.size() != want {
		return nil, damaged("the stream has %d bytes, the manifest makes it %d", s.size(), want)
	}
	return b, nil
}

// end returns where the contents end in the stream, counted like File.Offset.
func (m *Manifest) end() int64 {
	if len(m.Files) == 0 {
		return 0
	}
	last := m.Files[len(m.Files)-1]
	return last.Offset + padded(last.Size)
}

// readManifest returns the first member of the stream.
func readManifest(s *stream) ([]byte, error) {
	header := make([]byte, tarBlock)
	if err := readAt(s, header, 0); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(header, []byte(manifestName+"\x00")) {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrNotBundle, manifestName)
	}
	size, err := strconv.ParseInt(string(header[124:135]), 8, 64) // ustar: 12 bytes, octal, the last is NUL
	if err != nil || size < 0 || size > maxManifest {
		return nil, damaged("%s of %q bytes, at most %d are allowed", manifestName, header[124:135], maxManifest)
	}
	if !bytes.Equal(header, tarHeader(manifestName, size)) {
		return nil, damaged("header of %s is not as it must be", manifestName)
	}
	if padded(size) > s.size()-tarBlock {
		return nil, damaged("ends early")
	}
	p := make([]byte, size)
	return p, readAt(s, p, tarBlock)
}

// Data returns the contents of Manifest.Files[n]. They are checked while they
// are read: instead of [io.EOF] there is an error that wraps [ErrDamaged] if
// they do not have their digest. So who has read to the end without an error
// has the right contents, and nobody else has. The caller closes it.
func (b *Bundle) Data(n int) (io.ReadCloser, error) {
	if n < 0 || n >= len(b.Manifest.Files) {
		return nil, fmt.Errorf("there are no contents with number %d in the bundle", n)
	}
	f := b.Manifest.Files[n]
	return &dataReader{
		r: io.NewSectionReader(b.stream, b.base+f.Offset, f.Size), name: memberName(n), want: f, sum: sha256.New(),
	}, nil
}

// A dataReader reads contents and checks them.
type dataReader struct {
	r    io.Reader
	name string
	want File
	sum  hash.Hash
	got  int64
}

// Read implements io.Reader.
func (d *dataReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.sum.Write(p[:n])
	d.got += int64(n)
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		return n, fmt.Errorf("%s: %w", d.name, err)
	}
	if d.got != d.want.Size || hex.EncodeToString(d.sum.Sum(nil)) != d.want.SHA256 {
		return n, damaged("%s: digest mismatch", d.name)
	}
	return n, io.EOF
}

// Close implements io.Closer.
func (d *dataReader) Close() error { return nil }

// Verify reads all of the bundle and checks every byte of it. progress, unless
// it is nil, is called with the bytes of the stream that have been checked since
// the last call. The error wraps [ErrDamaged], or is one of the file or of ctx.
func (b *Bundle) Verify(ctx context.Context, progress func(bytes int64)) error {
	v := &verifier{ctx: ctx, r: bufio.NewReaderSize(io.NewSectionReader(b.stream, 0, b.stream.size()), frameSize), progress: progress}
	if err := v.member(manifestName, b.raw); err != nil {
		return err
	}
	for n, f := range b.Manifest.Files {
		if err := v.file(memberName(n), f); err != nil {
			return err
		}
	}
	return v.zeros("end", tarEnd)
}

// A verifier reads a stream from its beginning to its end.
type verifier struct {
	ctx      context.Context
	r        io.Reader
	progress func(bytes int64)
}

// Read reads from the stream, reports progress, and ends with the context.
func (v *verifier) Read(p []byte) (int, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := v.r.Read(p)
	if v.progress != nil && n > 0 {
		v.progress(int64(n))
	}
	return n, err
}

// expect reads want.
func (v *verifier) expect(name string, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(v, got); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !bytes.Equal(got, want) {
		return damaged("%s is not as it must be from byte %d on", name, common(got, want))
	}
	return nil
}

// zeros reads n bytes of zeros, a few blocks at most.
func (v *verifier) zeros(name string, n int64) error {
	return v.expect("padding of "+name, make([]byte, n))
}

// member reads a member with its header and padding.
func (v *verifier) member(name string, want []byte) error {
	size := int64(len(want))
	if err := v.expect("header of "+name, tarHeader(name, size)); err != nil {
		return err
	}
	if err := v.expect(name, want); err != nil {
		return err
	}
	return v.zeros(name, padded(size)-size)
}

// file reads a member and compares its digest.
func (v *verifier) file(name string, f File) error {
	if err := v.expect("header of "+name, tarHeader(name, f.Size)); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.CopyN(sum, v, f.Size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return damaged("%s: digest mismatch", name)
	}
	return v.zeros(name, padded(f.Size)-f.Size)
}
