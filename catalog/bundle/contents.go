package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// open opens a regular file of the folder. Links are followed inside of it.
func (b *builder) open(name string) (*os.File, fs.FileInfo, error) {
	if info, err := b.root.Stat(name); err != nil {
		return nil, nil, err
	} else if !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := b.root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// readSmall reads a file of at most most bytes.
func (b *builder) readSmall(name string, most int64) ([]byte, error) {
	f, info, err := b.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > most {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are allowed", name, info.Size(), most)
	}
	p, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(p)) > most {
		err = fmt.Errorf("%s: it grows while it is read", name)
	}
	return p, err
}

// add returns the number of the contents of a file of the folder. The same
// contents have one number.
func (b *builder) add(name string) (int, error) {
	f, _, err := b.open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := copyContents(b.ctx, sum, f)
	if err != nil {
		return 0, err
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	if n, ok := b.contents[digest]; ok {
		return n, nil
	}
	n := len(b.m.Files)
	b.contents[digest] = n
	b.m.Files = append(b.m.Files, File{Size: size, SHA256: digest})
	b.sources = append(b.sources, name)
	return n, nil
}

// copyContents is io.Copy that ends with ctx.
func copyContents(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, contextReader{ctx, r}, make([]byte, 1<<18))
}

// A contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// write writes the bundle of m.
func (b *builder) write(w io.Writer, m *Manifest, opt BuildOptions) error {
	raw, err := m.Encode()
	if err != nil {
		return err
	}
	p, err := newPacker(b.ctx, w, opt.Workers)
	if err != nil {
		return err
	}
	return p.finish(b.writeStream(p, raw, opt.Progress))
}

// writeStream writes the tar stream.
func (b *builder) writeStream(w io.Writer, raw []byte, progress func(int64)) error {
	if err := writeMember(w, manifestName, int64(len(raw)), bytes.NewReader(raw)); err != nil {
		return err
	}
	for n := range b.sources {
		if err := b.writeContents(w, n, progress); err != nil {
			return fmt.Errorf("%s: %w", b.sources[n], err)
		}
	}
	_, err := w.Write(make([]byte, tarEnd))
	return err
}

// errChanged reports a file that is not any more what it was when its digest
// was made.
var errChanged = errors.New("it was changed while the bundle was built")

// writeContents writes the contents with number n.
func (b *builder) writeContents(w io.Writer, n int, progress func(int64)) error {
	f, _, err := b.open(b.sources[n])
	if err != nil {
		return err
	}
	defer f.Close()
	want := b.m.Files[n]
	sum := sha256.New()
	r := io.TeeReader(io.LimitReader(contextReader{b.ctx, f}, want.Size), sum)
	if progress != nil {
		r = io.TeeReader(r, progressWriter(progress))
	}
	if err := writeMember(w, memberName(n), want.Size, r); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return errChanged
	}
	return nil
}

// A progressWriter counts what is written to it.
type progressWriter func(int64)

// Write implements io.Writer.
func (p progressWriter) Write(b []byte) (int, error) {
	p(int64(len(b)))
	return len(b), nil
}

// writeMember writes a member with its header and padding.
func writeMember(w io.Writer, name string, size int64, r io.Reader) error {
	if _, err := w.Write(tarHeader(name, size)); err != nil {
		return err
	}
	n, err := io.CopyBuffer(w, r, make([]byte, 1<<18))
	if err != nil {
		return err
	}
	if n != size {
		return errChanged
	}
	_, err = w.Write(make([]byte, padded(size)-size))
	return err
}
