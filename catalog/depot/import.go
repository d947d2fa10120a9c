package depot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"slipcast/catalog/trust"
	"slipcast/image/store"
)

// ImportOptions are for [Import].
type ImportOptions struct {
	Root  []byte    // a root that is trusted; may be nil if the store has a catalog
	Built time.Time // when the program was built: no clock is believed that is behind that

	Begin    func(total int64) // told how many bytes the parts have; may be nil
	Progress func(bytes int64) // told of bytes that were read; may be nil
}

// An Imported tells what an Import did.
type Imported struct {
	Catalog *trust.Catalog // what the store has now; nil if something is missing
	Parts   int            // that were whole
	Bundles int            // that got their place
	Images  int            // that got their place
	Faults  []Fault        // what is damaged in parts
	Missing []Missing      // what has to come before the catalog, or one that is newer, can take its place
}

// A Fault is a part that is damaged.
type Fault struct {
	Part string   // path
	Err  error    // the first damage
	Lost []string // names of pieces that were not taken
}

// A Missing is something that a catalog names and that has not come as a whole.
type Missing struct {
	ID     string   // of the bundle or the image, or "the catalog"
	Chunks int      // of an image, that are missing; 0 if its version file is
	Parts  []string // names of the parts that have it; none if no part has that is known
}

// Import takes the parts of an export at the given paths, in any order, and as many as
// there are: section 12.3 of docs/bundles.md. What is good in them is kept aside until
// what it belongs to is whole, in this call or a later one. When nothing is missing the
// catalog takes its place, as after [Mirror]. That a part is damaged, or something is
// missing, is no error. Of several snapshots the highest counts that is what the store
// trusts. One above it that is not is forgotten, and that is an error.
//
// What was done is told also with an error, unless that is one of the beginning, where
// it is nil.
//
// An error wraps [ErrNoRoot], [ErrOtherRoot], [store.ErrInUse], [store.ErrExists], or
// an error of [trust.Load], or is one of the store. Whatever the parts hold, it takes
// memory for two frames, the lists of two parts, the metadata of one catalog, and for one
// image what image.Open takes.
func Import(ctx context.Context, s *store.Store, paths []string, opt ImportOptions) (*Imported, error) {
	y, err := openYard(s)
	if err != nil {
		return nil, err
	}
	defer y.Close()
	im := &importer{yard: y, opt: &opt}
	defer im.close()
	im.begin(paths)
	for _, path := range paths {
		if err := im.part(ctx, path); err != nil {
			return &im.done, fmt.Errorf("%s: %w", path, err)
		}
	}
	return &im.done, im.finish(ctx)
}

// Parts returns the paths of the parts in a folder.
func Parts(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var paths []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), partEnding) && !e.IsDir() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}

// An importer is one Import under way.
type importer struct {
	*yard
	opt     *ImportOptions
	done    Imported
	checker frameChecker
	listed  []int64   // snapshots of the parts that were whole
	list    *list     // of the part that is read, if it has one that is good
	pending []pending // of the part that is read
	lost    []string  // names of pieces
}

// A pending is metadata or a piece of a file that was cut: nobody knows whether it is
// good before the end of the part.
type pending struct {
	piece
	aside string // where it lies until then, without .new
}

// close frees what im holds.
func (im *importer) close() { im.checker.Close() }

// begin tells how many bytes the parts have.
func (im *importer) begin(paths []string) {
	if im.opt.Begin == nil {
		return
	}
	var total int64
	for _, path := range paths {
		total += max(sizeOf(path), 0)
	}
	im.opt.Begin(total)
}

// part takes a part.
func (im *importer) part(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	im.list, im.pending, im.lost = nil, nil, nil
	p := newPartReader(ctx, f, im.opt.Progress)
	for {
		name, size, err := p.next()
		if errors.Is(err, io.EOF) {
			return im.endPart(ctx, path, p)
		}
		if err == nil {
			err = im.member(p, name, size)
		}
		if err != nil {
			return err
		}
	}
}

// member takes a member of a part. An error is one of the store.
func (im *importer) member(p *partReader, name string, size int64) error {
	if name == listName {
		_, err := p.contents(size, func(r io.Reader) error { im.readList(p, r, size); return nil })
		return err
	}
	piece, err := parsePiece(name, size)
	if err != nil {
		p.damaged("%v", err)
		_, err := p.contents(size, func(io.Reader) error { return nil })
		return err
	}
	var good bool
	full, err := p.contents(size, func(r io.Reader) error {
		var err error
		good, err = im.take(piece, r)
		return err
	})
	if err == nil && (!full || !good) {
		im.lost = append(im.lost, name)
		p.damaged("%s is damaged", name)
	}
	return err
}

// readList reads the list of a part.
func (im *importer) readList(p *partReader, r io.Reader, size int64) {
	if size > maxList {
		p.damaged("a list of %d bytes", size)
		return
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return // who reads the contents tells
	}
	var err error
	if im.list, err = decodeList(text); err != nil {
		p.damaged("%v", err)
	}
}

// endPart keeps metadata and pieces of files that were cut, if the part is good as a
// whole; else nobody could tell later which of them is not.
func (im *importer) endPart(ctx context.Context, path string, p *partReader) error {
	for _, piece := range im.pending {
		at := im.waiting(piece.aside)
		switch came := sizeOf(at+newEnding) >= 0; {
		case !came && (piece.whole() || sizeOf(at) != piece.size):
			continue // it came twice, and was joined already
		case !came: // it lay here, maybe with all others: a run was cut off before it joined them
		case !p.good:
			im.lost = append(im.lost, piece.name())
			if err := os.Remove(at + newEnding); err != nil {
				return err
			}
			continue
		default:
			if err := os.Rename(at+newEnding, at); err != nil {
				return err
			}
		}
		if piece.whole() {
			continue
		}
		if err := im.join(ctx, piece.piece); err != nil {
			return err
		}
	}
	if !p.good {
		slices.Sort(im.lost)
		im.done.Faults = append(im.done.Faults, Fault{path, p.err, im.lost})
		return nil
	}
	im.done.Parts++
	if im.list == nil {
		return nil
	}
	im.listed = append(im.listed, im.list.Snapshot)
	return im.noteTaken(filepath.Base(path))
}
