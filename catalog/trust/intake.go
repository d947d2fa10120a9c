package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"aead.dev/minisign"

	"slipcast/catalog/bundle"
	"slipcast/internal/durable"
)

// signatureEnding is what the detached signature of a file has behind its name.
const signatureEnding = ".minisig"

// intake copies a bundle file into the catalog's folder, and checks the copy: who
// changes the file meanwhile changes nothing. Every byte is on the disk then.
func (r *Repository) intake(ctx context.Context, path string, opt ReleaseOptions) (*BundleTarget, error) {
	src, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	dst, err := os.CreateTemp(filepath.Join(r.dir, bundlesFolder), "*"+partialEnding)
	if err != nil {
		return nil, err
	}
	defer func() {
		dst.Close()
		os.Remove(dst.Name()) // which is nothing if it has its own name now
	}()
	sum := sha256.New()
	author := minisign.NewReader(ctxReader{ctx, src})
	size, err := io.Copy(io.MultiWriter(dst, sum, progressWriter(opt.Progress)), author)
	if err != nil {
		return nil, err
	}
	b := &BundleTarget{File: File{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}}
	if b.Author, err = checkAuthor(author, path, opt.Authors); err != nil {
		return nil, err
	}
	if err := b.inspect(ctx, dst); err != nil {
		return nil, err
	}
	return b, keep(dst, r.BundlePath(b.File))
}

// inspect checks every byte of a bundle file.
func (b *BundleTarget) inspect(ctx context.Context, f *os.File) error {
	opened, err := bundle.Open(f, b.File.Size)
	if err != nil {
		return err
	}
	if err := opened.Verify(ctx, nil); err != nil {
		return err
	}
	b.Header, b.Digest = opened.Manifest.Header, opened.Digest
	return nil
}

// keep gives a file that is written its name, once it is on the disk.
func keep(f *os.File, path string) error {
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	return durable.Rename(f.Name(), path)
}

// checkAuthor makes sure that one of the authors has signed what was read through
// m, and returns the number of his key. Without authors nobody need have.
func checkAuthor(m *minisign.Reader, path string, authors []PublicKey) (string, error) {
	if len(authors) == 0 {
		return "", nil
	}
	f, err := os.Open(path + signatureEnding)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: there is no %s", ErrAuthor, path+signatureEnding)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	sig, err := readBounded(f, maxSignature)
	if err != nil {
		return "", err
	}
	key, err := verifyAuthor(m, sig, authors)
	if err != nil {
		return "", err
	}
	return key.Number(), nil
}

// A progressWriter tells how much is written to it.
type progressWriter func(bytes int64)

func (w progressWriter) Write(p []byte) (int, error) {
	if w != nil {
		w(int64(len(p)))
	}
	return len(p), nil
}
