package depot

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"slipcast/catalog/trust"
	"slipcast/image"
	"slipcast/image/store"
	"slipcast/internal/durable"
)

// DefaultPart is how long a part is at most when nobody says otherwise: 3.9 GiB,
// since FAT32 takes no file of 4 GiB.
const DefaultPart = 39 << 30 / 10

// ErrPart reports that parts are to be so short that nothing fits.
var ErrPart = errors.New("parts of that length are too short")

// ErrSince reports a snapshot that the store does not know.
var ErrSince = errors.New("the store has no such snapshot")

// ExportOptions are for [Export].
type ExportOptions struct {
	Since   int64   // leave out what this snapshot named; 0 is nothing
	MaxPart int64   // bytes; 0 is DefaultPart
	Payload Payload // what is exported beside the metadata

	Begin    func(total int64) // told how many bytes are to be written; may be nil
	Progress func(bytes int64) // told of bytes that were written; may be nil
}

// An Exported tells what an Export has written.
type Exported struct {
	Catalog *trust.Catalog
	Parts   []string // their names
	List    string   // name of the list
	Bytes   int64    // of the parts
	Bundles int
	Images  int
	Frames  int
}

// Export writes what the catalog of a store names as files into the folder dir,
// which must be there: section 12.3 of docs/bundles.md. The same store gives the same
// files. What is recalled is left out. Bundles and frames are checked while they are
// read. Each file gets its name when it is on the disk, the list last.
//
// An error wraps [ErrPart], [ErrSince], [ErrWrong] or image.ErrDamaged if the store
// is damaged, fs.ErrNotExist if something is not in it, or is one of [trust.Load].
// It takes 100 bytes of memory for each frame.
func Export(ctx context.Context, s *store.Store, dir string, opt ExportOptions) (*Exported, error) {
	e := &exporter{store: s, dir: dir, opt: &opt}
	defer e.checker.Close()
	if err := e.collect(ctx); err != nil {
		return nil, err
	}
	if err := e.divide(); err != nil {
		return nil, err
	}
	if opt.Begin != nil {
		opt.Begin(e.total())
	}
	for n := range e.parts {
		if err := e.writePart(ctx, n); err != nil {
			return nil, fmt.Errorf("%s: %w", e.list.Parts[n].Name, err)
		}
		e.done.Parts = append(e.done.Parts, e.list.Parts[n].Name)
		e.done.Bytes += e.list.Parts[n].Bytes
	}
	e.done.List = finalName(e.list.Snapshot)
	return &e.done, e.writeFile(e.done.List, func(w io.Writer) error {
		_, err := w.Write(e.list.encode())
		return err
	})
}

// An item is a file that is exported. Of a frame the path follows from the rest.
type item struct {
	name      string // path of what is no frame
	digest    image.Digest
	chunkSize int64
	size      int64
	bundle    *trust.BundleTarget
}

func (i *item) path() string {
	if i.name != "" {
		return i.name
	}
	return framePath(i.digest, i.chunkSize)
}

// A cut is a piece of an item.
type cut struct {
	item         int
	offset, size int64
}

// An exporter is one Export under way.
type exporter struct {
	store   *store.Store
	dir     string
	opt     *ExportOptions
	files   files
	catalog *trust.Catalog
	items   []item
	parts   [][]cut
	list    list
	done    Exported
	checker frameChecker
}

func (e *exporter) at(path string) string {
	return filepath.Join(e.store.Dir(), filepath.FromSlash(path))
}

// collect finds everything that is to be exported, in the order of the paths.
func (e *exporter) collect(ctx context.Context) error {
	y := &yard{store: e.store}
	dir := e.at(catalogFolder)
	if _, err := trust.OpenRepository(dir); err != nil {
		return err
	}
	edition, err := y.load(ctx, trust.DirSource(os.DirFS(dir)), loadOptions{})
	if err != nil {
		return fmt.Errorf("the catalog in %s: %w", dir, err)
	}
	e.files, e.catalog, e.done.Catalog = edition.files, edition.Catalog, edition.Catalog
	e.list = list{Schema: 1, Snapshot: edition.Versions.Snapshot, Since: e.opt.Since, Payload: e.opt.Payload.String()}
	before, err := e.named(ctx)
	if err != nil {
		return err
	}
	for name, p := range edition.files {
		e.items = append(e.items, item{name: metadataPath(name), size: int64(len(p))})
	}
	e.bundles(before)
	if err := e.images(before); err != nil {
		return err
	}
	slices.SortFunc(e.items, func(a, b item) int { return strings.Compare(a.path(), b.path()) })
	return nil
}

// bundles collects bundles.
func (e *exporter) bundles(before *named) {
	for i := range e.catalog.Bundles {
		b := &e.catalog.Bundles[i]
		if e.opt.Payload.wants(b) && !before.digests[b.File.SHA256] {
			e.items = append(e.items, item{name: bundlePath(b.File), size: b.File.Size, bundle: b})
			e.done.Bundles++
		}
	}
}

// images collects version files, and the frames that were not named before.
func (e *exporter) images(before *named) error {
	if e.opt.Payload != All {
		return nil
	}
	for i := range e.catalog.Images {
		target := &e.catalog.Images[i]
		if e.catalog.ImageRecalled(target.Digest) || before.images[target.ID()] == target.Digest {
			continue
		}
		a, size, err := e.version(target)
		if err != nil {
			return err
		}
		e.items = append(e.items, item{name: imagePath(refOf(target)), size: size})
		e.done.Images++
		for f := range a.Frames() {
			if f.Hole {
				continue
			}
			key := frameKey{a.ChunkDigest(f.Chunk), a.ChunkSize}
			if !before.frames[key] {
				before.frames[key] = true
				e.items = append(e.items, item{digest: key.digest, chunkSize: key.chunkSize, size: a.FrameSize(f)})
				e.done.Frames++
			}
		}
	}
	return nil
}

// version reads the version file of an image, and tells its length.
func (e *exporter) version(target *trust.ImageTarget) (*arriving, int64, error) {
	path := imagePath(refOf(target))
	p, err := readBounded(e.at(path), maxVersionFile(target))
	if err != nil {
		return nil, 0, err
	}
	a, err := decodeArriving(target, p)
	if err != nil {
		return nil, 0, wrong("%s: %v", path, err)
	}
	return a, int64(len(p)), nil
}

// A frameKey names a frame of a store.
type frameKey struct {
	digest    image.Digest
	chunkSize int64
}

// A named is what has been brought before, or is already in the list.
type named struct {
	digests map[string]bool   // of files of bundles
	images  map[string]string // digests by ID
	frames  map[frameKey]bool
}

// named returns what the snapshot of opt.Since names, and the frames of those of its
// images that the store still has.
func (e *exporter) named(ctx context.Context) (*named, error) {
	n := &named{map[string]bool{}, map[string]string{}, map[frameKey]bool{}}
	if e.opt.Since == 0 {
		return n, nil
	}
	src := trust.DirSource(os.DirFS(e.at(catalogFolder)))
	_, version, err := numbers{src}.of(ctx, fmt.Sprintf("%d.snapshot.json", e.opt.Since), "targets.json")
	if err != nil {
		return nil, fmt.Errorf("%w %d: %v", ErrSince, e.opt.Since, err)
	}
	p, err := src.Metadata(ctx, fmt.Sprintf("%d.targets.json", version), maxTargets)
	if err != nil {
		return nil, err
	}
	targets, err := targetsOf(p)
	if err != nil {
		return nil, err
	}
	recalled := map[string]bool{} // digests; no bundle has that of an image
	for _, t := range targets {
		if t.Custom.Recalled != nil {
			recalled[t.Hashes.SHA256] = true
		}
	}
	for name, t := range targets {
		if recalled[t.Hashes.SHA256] {
			continue
		}
		if id, ok := strings.CutPrefix(name, "images/"); ok {
			n.images[id] = t.Hashes.SHA256
			e.framesOf(n, id, t.Hashes.SHA256, t.Length)
		} else {
			n.digests[t.Hashes.SHA256] = true
		}
	}
	return n, nil
}

// framesOf adds the frames of an image that the store may have no more.
func (e *exporter) framesOf(n *named, id, digest string, size int64) {
	r, err := store.ParseRef(id)
	if err != nil {
		return
	}
	a, _, err := e.version(&trust.ImageTarget{Name: r.Name, Version: r.Version, Digest: digest, Size: size})
	if err != nil {
		return // what it had is exported once more
	}
	for i := range a.ChunkCount() {
		n.frames[frameKey{a.ChunkDigest(i), a.ChunkSize}] = true
	}
}

// An oldTarget is a target of a list that the store itself has taken once.
type oldTarget struct {
	Length int64
	Hashes struct{ SHA256 string }
	Custom struct{ Recalled *struct{ Reason string } }
}

func targetsOf(p []byte) (map[string]oldTarget, error) {
	var m struct {
		Signed struct{ Targets map[string]oldTarget }
	}
	if err := json.Unmarshal(p, &m); err != nil {
		return nil, fmt.Errorf("%w: %v", trust.ErrMalformed, err)
	}
	return m.Signed.Targets, nil
}

// total returns how many bytes of contents all parts have.
func (e *exporter) total() (bytes int64) {
	for _, i := range e.items {
		bytes += i.size
	}
	return bytes
}

// writePart writes the part of number n, and notes its length and digest.
func (e *exporter) writePart(ctx context.Context, n int) error {
	p := &e.list.Parts[n]
	bare := e.list
	bare.Parts = slices.Clone(e.list.Parts)
	for i := range bare.Parts {
		bare.Parts[i].Bytes, bare.Parts[i].SHA256 = 0, ""
	}
	return e.writeFile(p.Name, func(w io.Writer) error {
		out := &partWriter{w: w, sum: sha256.New()}
		out.member(listName, bytes.NewReader(bare.encode()), int64(len(bare.encode())))
		for _, c := range e.parts[n] {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := e.writePiece(ctx, out, c); err != nil {
				return err
			}
		}
		sum := hex.EncodeToString(out.sum.Sum(nil)) + "\n"
		out.member(sumName, strings.NewReader(sum), int64(len(sum)))
		out.write(make([]byte, tarEnd))
		p.Bytes, p.SHA256 = out.size, hex.EncodeToString(out.sum.Sum(nil))
		return out.err
	})
}

// writePiece writes a piece, whose contents are checked as far as the piece tells.
func (e *exporter) writePiece(ctx context.Context, out *partWriter, c cut) error {
	i := &e.items[c.item]
	path := i.path()
	name := piece{path, c.offset, i.size, c.size}.name()
	if p, ok := e.files[strings.TrimPrefix(path, metadataFolder+"/")]; ok {
		out.member(name, bytes.NewReader(p[c.offset:c.offset+c.size]), c.size)
		return e.wrote(out, c.size)
	}
	if i.name == "" {
		frame, err := e.frame(i)
		if err != nil {
			return err
		}
		out.member(name, bytes.NewReader(frame[c.offset:c.offset+c.size]), c.size)
		return e.wrote(out, c.size)
	}
	f, err := os.Open(e.at(path))
	if err != nil {
		return err
	}
	defer f.Close()
	if i.bundle != nil && c.offset == 0 {
		if err := i.bundle.File.Verify(ctx, io.NewSectionReader(f, 0, i.size+1)); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	out.member(name, io.NewSectionReader(f, c.offset, c.size), c.size)
	return e.wrote(out, c.size)
}

// wrote tells of a piece that was written.
func (e *exporter) wrote(out *partWriter, n int64) error {
	if out.err == nil && e.opt.Progress != nil {
		e.opt.Progress(n)
	}
	return out.err
}

// frame reads a frame and checks it.
func (e *exporter) frame(i *item) ([]byte, error) {
	p, err := readBounded(e.at(i.path()), image.MaxFrameSize(i.chunkSize))
	if err != nil {
		return nil, err
	}
	good, err := e.checker.good(i.digest, i.chunkSize, p)
	if err == nil && (!good || int64(len(p)) != i.size) {
		err = image.ErrDigest
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i.path(), err)
	}
	return p, nil
}

// writeFile writes a file of the export: it gets its name when it is on the
// disk.
func (e *exporter) writeFile(name string, fill func(io.Writer) error) error {
	at := filepath.Join(e.dir, name)
	f, err := os.Create(at + partialEnding)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = fill(w)
	if err == nil {
		err = errors.Join(w.Flush(), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(at+partialEnding))
	}
	if err := os.Rename(at+partialEnding, at); err != nil {
		return err
	}
	return durable.SyncDir(e.dir)
}

// A partWriter writes members. After an error it writes nothing any more.
type partWriter struct {
	w    io.Writer
	sum  hash.Hash
	size int64
	err  error
}

func (p *partWriter) write(b []byte) {
	if p.err == nil {
		p.sum.Write(b)
		p.size += int64(len(b))
		_, p.err = p.w.Write(b)
	}
}

// Write implements io.Writer.
func (p *partWriter) Write(b []byte) (int, error) {
	p.write(b)
	return len(b), p.err
}

// member writes a member of size bytes, all of which r must have.
func (p *partWriter) member(name string, r io.Reader, size int64) {
	p.write(tarHeader(name, size))
	if p.err != nil {
		return
	}
	if _, err := io.CopyN(p, r, size); err != nil && p.err == nil {
		p.err = fmt.Errorf("%s: %w", name, err)
	}
	p.write(make([]byte, padded(size)-size))
}
