package depot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/catalog/trust"
	"slipcast/internal/durable"
)

// Bounds of metadata in bytes, section 7.3.
const (
	maxRoot    = 64 << 10
	maxTargets = 64 << 20
)

// files are metadata by their names. They are a trust.Source, and no more than
// that must be done with them at the same time.
type files map[string][]byte

// Metadata implements trust.Source.
func (f files) Metadata(_ context.Context, name string, most int64) ([]byte, error) {
	p, ok := f[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case int64(len(p)) > most:
		return nil, fmt.Errorf("%s: %w: more than %d bytes", name, trust.ErrMalformed, most)
	}
	return p, nil
}

// A recorder is a source that remembers what it gave. It is used by one
// goroutine.
type recorder struct {
	trust.Source
	kept files
}

// Metadata implements trust.Source.
func (r recorder) Metadata(ctx context.Context, name string, most int64) ([]byte, error) {
	p, err := r.Source.Metadata(ctx, name, most)
	if err == nil {
		r.kept[name] = p
	}
	return p, err
}

// An edition is a catalog that was verified, with the files of its metadata: all
// roots from the first, timestamp, snapshot and targets.
type edition struct {
	*trust.Catalog
	files files
}

// An accepted tells what a store has taken before.
type accepted struct {
	root     []byte // the newest; nil if there is none
	versions trust.Versions
}

// accepted returns what the store has taken before.
func (y *yard) accepted(ctx context.Context) (accepted, error) {
	dir := y.place(catalogFolder)
	r, err := trust.OpenRepository(dir)
	if errors.Is(err, trust.ErrNotCatalog) {
		return accepted{}, nil
	}
	if err != nil {
		return accepted{}, err
	}
	root, err := r.Root(ctx)
	if err != nil {
		return accepted{}, fmt.Errorf("the catalog in %s: %w", dir, err)
	}
	a := accepted{root: root.Encode(), versions: trust.Versions{Root: root.Version()}}
	n := numbers{trust.DirSource(os.DirFS(dir))}
	if a.versions.Timestamp, a.versions.Snapshot, err = n.of(ctx, timestampFile, "snapshot.json"); err == nil {
		_, a.versions.Targets, err = n.of(ctx, fmt.Sprintf("%d.snapshot.json", a.versions.Snapshot), "targets.json")
	}
	if errors.Is(err, fs.ErrNotExist) { // the first mirror was cut off while it wrote them
		err = nil
	}
	return a, err
}

// numbers reads the versions in metadata that lie in the store, and so need no
// signature.
type numbers struct{ src trust.Source }

// of returns the version of a file, and of the one that it lists.
func (n numbers) of(ctx context.Context, name, listed string) (version, of int64, err error) {
	p, err := n.src.Metadata(ctx, name, maxTargets)
	if err != nil {
		return 0, 0, err
	}
	var m struct {
		Signed struct {
			Version int64
			Meta    map[string]struct{ Version int64 }
		}
	}
	if err := json.Unmarshal(p, &m); err != nil {
		return 0, 0, fmt.Errorf("%s: %w: %v", name, trust.ErrMalformed, err)
	}
	return m.Signed.Version, m.Signed.Meta[listed].Version, nil
}

// loadOptions say how a catalog is checked that comes from elsewhere.
type loadOptions struct {
	root     []byte // one that is trusted; may be nil if the store has a catalog
	noServer bool
	built    time.Time
}

// load verifies the catalog in src, from the newest root that the store has, and
// refuses one that is older than the store's. One that has expired is refused unless
// it is the store's. The root of opt must be one of the catalog.
func (y *yard) load(ctx context.Context, src trust.Source, opt loadOptions) (*edition, error) {
	before, err := y.accepted(ctx)
	if err != nil {
		return nil, err
	}
	trusted, err := y.trusted(before, opt.root)
	if err != nil {
		return nil, err
	}
	start := trusted[0]
	kept := recorder{src, files{}}
	c, err := trust.Load(ctx, kept, trust.LoadOptions{
		Root: start.Encode(), Minimum: before.versions, Known: before.versions, NoServer: opt.noServer, Built: opt.built,
	})
	if err != nil {
		return nil, err
	}
	e := &edition{c, files{}}
	if err := e.roots(ctx, y, kept, trusted); err != nil {
		return nil, err
	}
	for _, name := range []string{
		timestampFile, fmt.Sprintf("%d.snapshot.json", c.Versions.Snapshot), fmt.Sprintf("%d.targets.json", c.Versions.Targets),
	} {
		e.files[name] = kept.kept[name]
	}
	return e, nil
}

// trusted returns the roots that are, at least one: first the one to start from. That
// is the newest of the store if it has one, also where a newer one is given: what the
// store has accepted before was signed by the keys of its own, and the numbers in it
// count as long as these are the same.
func (y *yard) trusted(before accepted, given []byte) (roots []*trust.Root, err error) {
	for _, p := range [][]byte{before.root, given} {
		if p == nil {
			continue
		}
		root, err := trust.ParseRoot(p)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	if len(roots) == 0 {
		return nil, ErrNoRoot
	}
	return roots, nil
}

func rootName(version int64) string { return fmt.Sprintf("%d.root.json", version) }

// roots collects all roots from the first to the newest, which must be one chain with
// those in it that are trusted, and with those of the store.
func (e *edition) roots(ctx context.Context, y *yard, src recorder, trusted []*trust.Root) error {
	chain := files{}
	for v := int64(1); v <= e.Root.Version(); v++ {
		name := rootName(v)
		p, err := readBounded(y.place(metadataPath(name)), maxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			if p = src.kept[name]; p == nil {
				p, err = src.Source.Metadata(ctx, name, maxRoot)
			} else {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		chain[name] = p
	}
	first, err := trust.ParseRoot(chain[rootName(1)])
	if err != nil {
		return err
	}
	last, err := first.Follow(ctx, chain)
	if err != nil {
		return err
	}
	for _, root := range append(trusted, e.Root) {
		switch have := chain[rootName(root.Version())]; {
		case have == nil:
			return fmt.Errorf("version %d, which is to be trusted, and the newest is %d: %w", root.Version(), last.Version(), ErrOtherRoot)
		case !bytes.Equal(have, root.Encode()):
			return fmt.Errorf("version %d: %w", root.Version(), ErrOtherRoot)
		}
	}
	maps.Copy(e.files, chain)
	return nil
}

// publish gives the metadata their place: what is named before what names it,
// section 7.1.
func (y *yard) publish(ctx context.Context, e *edition) error {
	if err := os.MkdirAll(y.place(metadataFolder), 0o777); err != nil {
		return err
	}
	if err := os.MkdirAll(y.place(bundlesFolder), 0o777); err != nil {
		return err
	}
	lock, err := lockFile(ctx, y.place(catalogFolder+"/lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	v := e.Versions
	names := []string{fmt.Sprintf("%d.targets.json", v.Targets), fmt.Sprintf("%d.snapshot.json", v.Snapshot), timestampFile}
	for n := int64(1); n <= v.Root; n++ {
		names = append(names, rootName(n))
	}
	for _, name := range names {
		if err := y.put(metadataPath(name), e.files[name]); err != nil {
			return err
		}
	}
	return errors.Join(durable.SyncDir(y.place(catalogFolder)), durable.SyncDir(y.store.Dir()))
}

// put writes a file of metadata, unless it is there.
func (y *yard) put(path string, p []byte) error {
	if have, err := readBounded(y.place(path), int64(len(p))); err == nil && bytes.Equal(have, p) {
		return nil
	}
	from := y.place(path) + partialEnding
	if err := os.WriteFile(from, p, 0o666); err != nil {
		return err
	}
	return y.settle(from, path)
}

// lockFile waits until nobody else has the lock on the file at path, which is made
// if it is not there. Closing the file lets go.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, &fs.PathError{Op: "flock", Path: filepath.Base(path), Err: err}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}
