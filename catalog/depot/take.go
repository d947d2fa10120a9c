package depot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"slipcast/image"
	"slipcast/image/store"
)

// newEnding is what a file is called by aside while it is written.
const newEnding = ".new"

// A frameChecker checks frames with chunks of any size, one after the other.
type frameChecker struct {
	c    *image.Checker
	size int64
}

// Close frees what c holds.
func (c *frameChecker) Close() {
	if c.c != nil {
		c.c.Close()
	}
}

// of returns a Checker for chunks of that size, which the next call may close.
func (c *frameChecker) of(chunkSize int64) (*image.Checker, error) {
	if c.size == chunkSize {
		return c.c, nil
	}
	next, err := image.NewChecker(chunkSize)
	if err != nil {
		return nil, err
	}
	c.Close()
	c.c, c.size = next, chunkSize
	return next, nil
}

// good tells whether a frame is one of the chunk.
func (c *frameChecker) good(d image.Digest, chunkSize int64, frame []byte) (bool, error) {
	checker, err := c.of(chunkSize)
	if err != nil {
		return false, err
	}
	have, err := checker.Digest(frame)
	return err == nil && have == d, nil
}

// take keeps a piece aside that can be checked and is good, or that is part of a
// file. What the store has already is not kept. An error is one of the store.
func (im *importer) take(p piece, r io.Reader) (good bool, err error) {
	if name, ok := strings.CutPrefix(p.path, metadataFolder+"/"); ok {
		return im.takeMetadata(p, name, r)
	}
	_, isVersion := parseImagePath(p.path) // of which the catalog does not decide every byte: the last one counts
	if sizeOf(im.place(p.path)) == p.total || !isVersion && sizeOf(im.waiting(p.path)) == p.total {
		if p.whole() {
			return true, nil
		}
		return true, im.forget(p.name()) // of a run that was cut off after it had joined them
	}
	if !p.whole() {
		at := im.waiting(p.name())
		im.pending = append(im.pending, pending{p, p.name()})
		if sizeOf(at) == p.size {
			return true, nil
		}
		n, err := copyTo(at+newEnding, r)
		return n == p.size, err
	}
	if d, chunkSize, ok := parseFramePath(p.path); ok {
		return im.takeFrame(p, d, chunkSize, r)
	}
	if _, err := copyTo(im.waiting(p.path)+newEnding, r); err != nil {
		return false, err
	}
	return im.accept(p.path)
}

// takeMetadata keeps a file of metadata with the others of its snapshot, once the part
// turns out to be good. They are checked together.
func (im *importer) takeMetadata(p piece, name string, r io.Reader) (bool, error) {
	if im.list == nil || !p.whole() || p.size > maxTargets {
		return false, nil
	}
	aside := im.editionPath(im.list.Snapshot, "metadata", name)
	n, err := copyTo(im.waiting(aside)+newEnding, r)
	im.pending = append(im.pending, pending{p, aside})
	return n == p.size, err
}

// takeFrame keeps a frame that is good.
func (im *importer) takeFrame(p piece, d image.Digest, chunkSize int64, r io.Reader) (bool, error) {
	if p.size > image.MaxFrameSize(chunkSize) {
		return false, nil
	}
	frame, err := io.ReadAll(r)
	if err != nil || int64(len(frame)) != p.size {
		return false, err
	}
	good, err := im.checker.good(d, chunkSize, frame)
	if err != nil || !good {
		return false, err
	}
	return true, im.keep(p.path, frame)
}

// copyTo writes a file aside.
func copyTo(at string, r io.Reader) (n int64, err error) {
	if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
		return 0, err
	}
	f, err := os.Create(at)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(f, r)
	return n, errors.Join(err, f.Close())
}

// accept gives the file path.new its name aside if it is what it is called, and removes
// it otherwise.
func (im *importer) accept(path string) (bool, error) {
	at := im.waiting(path)
	good, err := im.isItself(path, at+newEnding)
	if err != nil {
		return false, err
	}
	if !good {
		return false, os.Remove(at + newEnding)
	}
	return true, os.Rename(at+newEnding, at)
}

// isItself tells whether the file at a path has the contents that it is called by. A
// version file says itself whether it is whole.
func (im *importer) isItself(path, at string) (bool, error) {
	if m := bundleForm.FindStringSubmatch(path); m != nil {
		sum, err := sumOf(at)
		return sum == m[1], err
	}
	if d, chunkSize, ok := parseFramePath(path); ok {
		frame, err := readBounded(at, image.MaxFrameSize(chunkSize))
		if errors.Is(err, ErrWrong) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return im.checker.good(d, chunkSize, frame)
	}
	f, err := os.Open(at)
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = store.CheckVersion(f)
	if errors.Is(err, image.ErrDamaged) {
		return false, nil
	}
	return err == nil, err
}

// sumOf returns the SHA-256 of a file, in hexadecimal.
func sumOf(at string) (string, error) {
	f, err := os.Open(at)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// pieces returns the pieces of a file that are aside, in their order.
func (im *importer) pieces(p string) []piece {
	dir, base := filepath.Split(im.waiting(p))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []piece
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), base+"#") || !info.Mode().IsRegular() {
			continue
		}
		if found, err := parsePiece(path.Join(path.Dir(p), e.Name()), info.Size()); err == nil && found.path == p {
			list = append(list, found)
		}
	}
	slices.SortFunc(list, func(a, b piece) int { return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(b.size, a.size)) })
	return list
}

// chain returns pieces that make up a file of total bytes, or else as far as they
// reach.
func chain(list []piece, total int64) (parts []piece, reach int64) {
	for _, p := range list {
		if p.total == total && p.offset <= reach && p.offset+p.size > reach {
			parts, reach = append(parts, p), p.offset+p.size
		}
	}
	return parts, reach
}

// join makes a file of its pieces, if they are all there.
func (im *importer) join(ctx context.Context, p piece) error {
	all := im.pieces(p.path)
	parts, reach := chain(all, p.total)
	if reach < p.total {
		return nil
	}
	if err := im.joinTo(ctx, im.waiting(p.path)+newEnding, parts); err != nil {
		return err
	}
	good, err := im.accept(p.path)
	if err != nil {
		return err
	}
	if !good {
		im.done.Faults = append(im.done.Faults, Fault{p.path, wrong("its pieces do not make it up"), []string{p.path}})
	}
	for _, q := range all {
		if err := im.forget(q.name()); err != nil {
			return err
		}
	}
	return nil
}

// joinTo writes the pieces of a file one after the other. They may overlap.
func (im *importer) joinTo(ctx context.Context, at string, parts []piece) error {
	f, err := os.Create(at)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := errors.Join(ctx.Err(), im.append(f, p)); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

func (im *importer) append(f *os.File, p piece) error {
	src, err := os.Open(im.waiting(p.name()))
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := f.Seek(p.offset, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(f, src)
	if err == nil && n != p.size {
		err = fmt.Errorf("%s has changed", src.Name())
	}
	return err
}
