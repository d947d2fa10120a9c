package depot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"slipcast/catalog/trust"
	"slipcast/image"
)

// editionFolder is the folder aside in which the metadata of each snapshot wait.
const editionFolder = "import"

// theCatalog is what Missing calls the metadata.
const theCatalog = "the catalog"

// editionPath returns where something of a snapshot waits.
func (im *importer) editionPath(snapshot int64, parts ...string) string {
	return path.Join(append([]string{editionFolder, strconv.FormatInt(snapshot, 10)}, parts...)...)
}

// noteTaken remembers that all of a part has come, and its list.
func (im *importer) noteTaken(name string) error {
	n := im.list.Snapshot
	if err := im.keep(im.editionPath(n, listName), im.list.encode()); err != nil {
		return err
	}
	if !slices.ContainsFunc(im.list.Parts, func(p listPart) bool { return p.Name == name }) {
		return nil // somebody has renamed it
	}
	return im.keep(im.editionPath(n, "taken", name), nil)
}

// snapshots returns the snapshots of which something waits, the highest first.
func (im *importer) snapshots() ([]int64, error) {
	entries, err := os.ReadDir(im.waiting(editionFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []int64
	for _, e := range entries {
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && n > 0 && strconv.FormatInt(n, 10) == e.Name() {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	slices.Reverse(list)
	return list, err
}

// finish gives everything its place that is whole, and the catalog if nothing is
// missing. The highest snapshot counts whose metadata have come and are right: who
// makes up parts, or brings those of another catalog, must not keep good ones from
// coming.
func (im *importer) finish(ctx context.Context) error {
	list, err := im.snapshots()
	if err != nil {
		return err
	}
	opt := loadOptions{im.opt.Root, true, im.opt.Built}
	if _, err := im.load(ctx, files{}, opt); !errors.Is(err, fs.ErrNotExist) { // what is wrong here is wrong with all of them
		return err
	}
	var refused error
	incomplete := map[string]bool{} // parts that have metadata
	for _, n := range list {
		w := &wait{importer: im, snapshot: n}
		w.readList()
		edition, err := im.load(ctx, trust.DirSource(os.DirFS(im.waiting(im.editionPath(n)))), opt)
		if err == nil {
			return errors.Join(refused, w.settle(ctx, edition))
		}
		if errors.Is(err, fs.ErrNotExist) {
			part := w.part(metadataPath(timestampFile), 0)
			if incomplete[part] = true; slices.Contains(im.listed, n) {
				im.miss(theCatalog, 0, map[string]bool{part: true})
			}
			continue
		}
		if err = fmt.Errorf("snapshot %d: %w", n, err); !isRefused(err) {
			return errors.Join(refused, err)
		}
		refused = errors.Join(refused, err, os.RemoveAll(im.waiting(im.editionPath(n))))
	}
	if refused == nil && len(im.done.Missing) == 0 {
		im.miss(theCatalog, 0, incomplete)
	}
	return refused
}

// isRefused tells whether an error of load is about the metadata, and not about reading
// them.
func isRefused(err error) bool {
	for _, is := range []error{trust.ErrSignature, trust.ErrMalformed, trust.ErrMismatch, trust.ErrRollback, trust.ErrExpired, ErrOtherRoot} {
		if errors.Is(err, is) {
			return true
		}
	}
	return isWrong(err)
}

// settle gives everything its place that is whole, and the catalog if nothing of it is
// missing.
func (w *wait) settle(ctx context.Context, e *edition) error {
	before := len(w.done.Missing)
	if err := w.settleAll(ctx, e); err != nil || len(w.done.Missing) > before {
		return err
	}
	if err := w.publish(ctx, e); err != nil {
		return err
	}
	w.done.Catalog = e.Catalog
	return w.sweep(w.snapshot)
}

// sweep removes what nobody needs any more: the catalogs that waited, up to that of a
// snapshot, and what was cut off while it was written.
func (im *importer) sweep(last int64) error {
	list, err := im.snapshots()
	if err != nil {
		return err
	}
	kept := false
	for _, n := range list {
		if kept = kept || n > last; n > last {
			continue
		}
		if err := os.RemoveAll(im.waiting(im.editionPath(n))); err != nil {
			return err
		}
	}
	if !kept {
		if err := os.RemoveAll(im.waiting(editionFolder)); err != nil {
			return err
		}
	}
	return filepath.WalkDir(im.aside, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, newEnding) {
			return err
		}
		return os.Remove(path)
	})
}

// A wait is a catalog that waits for what it names.
type wait struct {
	*importer
	snapshot int64
	list     *list // nil if no part of it was whole
}

// readList reads the list of the parts that waits.
func (w *wait) readList() {
	if p, err := readBounded(w.waiting(w.editionPath(w.snapshot, listName)), maxList); err == nil {
		w.list, _ = decodeList(p)
	}
}

// part returns the name of the part that has a byte of a path, empty if none is
// known that has not been taken as a whole.
func (w *wait) part(path string, offset int64) string {
	if w.list == nil {
		return ""
	}
	name := w.list.partOf(path, offset)
	if _, err := os.Stat(w.waiting(w.editionPath(w.snapshot, "taken", name))); err == nil {
		return ""
	}
	return name
}

// partsOf returns the names in a set, in order.
func (im *importer) partsOf(set map[string]bool) (names []string) {
	for name := range set {
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// settleAll gives bundles and images their place, and notes what is missing.
func (w *wait) settleAll(ctx context.Context, e *edition) error {
	payload := All
	if w.list != nil {
		payload, _ = ParsePayload(w.list.Payload) // check has seen it
	}
	for i := range e.Bundles {
		if b := &e.Bundles[i]; payload.wants(b) && !w.hasBundle(b) {
			if err := w.settleBundle(ctx, b); err != nil {
				return err
			}
		}
	}
	for i := range e.Images {
		if t := &e.Images[i]; payload == All && !e.ImageRecalled(t.Digest) {
			if err := w.settleImage(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleBundle gives a bundle its place if it is whole.
func (w *wait) settleBundle(ctx context.Context, b *trust.BundleTarget) error {
	path := bundlePath(b.File)
	err := w.takeBundle(ctx, b, w.waiting(path))
	if err == nil {
		w.done.Bundles++
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !isWrong(err) {
		return err
	}
	_, reach := chain(w.pieces(path), b.File.Size)
	w.miss(b.ID(), 0, map[string]bool{w.part(path, reach): true})
	return nil
}

// settleImage gives an image its place if it is whole.
func (w *wait) settleImage(ctx context.Context, t *trust.ImageTarget) error {
	has, err := w.hasImage(t)
	if err != nil {
		return err
	}
	if has {
		return w.clearAdded(t)
	}
	a, err := w.arrive(t)
	if errors.Is(err, fs.ErrNotExist) || isWrong(err) {
		w.miss(t.ID(), 0, map[string]bool{w.part(imagePath(refOf(t)), 0): true})
		return nil
	}
	if err != nil {
		return err
	}
	if w.missFrames(a, w.hasFrame) {
		return nil
	}
	err = w.add(ctx, a)
	if isWrong(err) { // one of them went bad here
		var failed error
		missing := w.missFrames(a, func(a *arriving, f image.Frame) bool {
			good, err := w.goodFrame(a, f)
			failed = errors.Join(failed, err)
			return good
		})
		if failed != nil || missing {
			return failed
		}
		return err
	}
	if err == nil {
		w.done.Images++
	}
	return err
}

// goodFrame tells whether a frame that is here is good. One aside that is not is
// removed.
func (w *wait) goodFrame(a *arriving, f image.Frame) (bool, error) {
	c, err := w.checker.of(a.ChunkSize)
	if err != nil {
		return false, err
	}
	return w.checkFrame(c, a, f)
}

// missFrames notes the frames of an image that are not here, and tells whether there
// are any.
func (w *wait) missFrames(a *arriving, here func(*arriving, image.Frame) bool) bool {
	n, parts := 0, map[string]bool{}
	for f := range a.Frames() {
		if !f.Hole && !here(a, f) {
			n++
			parts[w.part(framePath(a.ChunkDigest(f.Chunk), a.ChunkSize), 0)] = true
		}
	}
	if n > 0 {
		w.miss(a.target.ID(), n, parts)
	}
	return n > 0
}

// miss notes what is missing.
func (im *importer) miss(id string, chunks int, parts map[string]bool) {
	im.done.Missing = append(im.done.Missing, Missing{ID: id, Chunks: chunks, Parts: im.partsOf(parts)})
}
