package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// How long metadata are good for, and what is signed anew before that.
const (
	day           = 24 * time.Hour
	rootLife      = 5 * 365 * day
	targetsLife   = 365 * day
	snapshotLife  = 30 * day
	timestampLife = 14 * day

	snapshotDue  = snapshotLife / 2 // a Refresh renews one with less than that left
	timestampDue = timestampLife - day/2
)

// life returns how long metadata of a role are good for.
func life(role string) time.Duration {
	return map[string]time.Duration{
		metadata.ROOT: rootLife, metadata.TARGETS: targetsLife, metadata.SNAPSHOT: snapshotLife, metadata.TIMESTAMP: timestampLife,
	}[role]
}

// expiry returns when metadata of a role expire that are signed now.
func expiry(role string) time.Time { return time.Now().UTC().Truncate(time.Second).Add(life(role)) }

// A Repository is a catalog in a folder, for those who have its keys. It holds
// nothing open, needs no Close, and is safe for concurrent use by any number of
// goroutines and processes. A writer that is killed, or a power cut, at any moment
// leaves the catalog as it was or as it was to be.
type Repository struct{ dir string }

// OpenRepository opens the catalog in the folder dir. An error wraps
// [ErrNotCatalog] if there is none.
func OpenRepository(dir string) (*Repository, error) {
	_, err := os.Stat(filepath.Join(dir, metadataFolder, fileName(metadata.ROOT, 1)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotCatalog)
	}
	if err != nil {
		return nil, err
	}
	return &Repository{dir}, nil
}

// Dir returns the folder of the catalog.
func (r *Repository) Dir() string { return r.dir }

// Source returns the catalog's metadata for [Load].
func (r *Repository) Source() Source { return DirSource(os.DirFS(r.dir)) }

// BundlePath returns where the file of a bundle lies.
func (r *Repository) BundlePath(f File) string {
	return filepath.Join(r.dir, bundlesFolder, f.SHA256+bundleEnding)
}

// Root returns the newest root: what a boot environment is to trust.
func (r *Repository) Root(ctx context.Context) (*Root, error) {
	src := r.Source()
	name := fileName(metadata.ROOT, 1)
	p, err := src.Metadata(ctx, name, maxRoot)
	if err != nil {
		return nil, err
	}
	first, err := ParseRoot(p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return first.Follow(ctx, src)
}

// Catalog returns what is released, also what the online key has not signed yet,
// and whether or not something has expired.
func (r *Repository) Catalog(ctx context.Context) (*Catalog, error) {
	st, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	c := &Catalog{
		Versions: st.versions(), Root: st.root,
		Expires: earliest(st.root.Expires(), st.targets.Signed.Expires),
	}
	if err := c.take(&st.targets.Signed); err != nil {
		return nil, fmt.Errorf("%s: %w", fileName(metadata.TARGETS, st.targets.Signed.Version), err)
	}
	return c, nil
}

// A state is all metadata of a catalog, as who signs needs them. The root is
// verified, the targets are by it.
type state struct {
	root            *Root
	targets         *metadata.Metadata[metadata.TargetsType]
	targetsRaw      []byte
	snapshot        *metadata.Metadata[metadata.SnapshotType]  // nil if it is not one of these targets, or not signed right
	timestamp       *metadata.Metadata[metadata.TimestampType] // nil if it is not one of this snapshot, or not signed right
	snapshotVersion int64                                      // the highest that there is
	timestampHigh   int64                                      // what timestamp.json says, whoever signed it
}

// versions returns the highest numbers that there are.
func (st *state) versions() Versions {
	return Versions{st.root.Version(), st.timestampHigh, st.snapshotVersion, st.targets.Signed.Version}
}

// read reads all metadata. Whoever is going to write holds the lock.
func (r *Repository) read(ctx context.Context) (*state, error) {
	root, err := r.Root(ctx)
	if err != nil {
		return nil, err
	}
	st := &state{root: root}
	if err := r.readTargets(ctx, st); err != nil {
		return nil, err
	}
	if st.snapshotVersion, err = r.newest(metadata.SNAPSHOT); err != nil {
		return nil, err
	}
	return st, r.readOnline(ctx, st)
}

// readTargets reads the newest targets.
func (r *Repository) readTargets(ctx context.Context, st *state) error {
	version, err := r.newest(metadata.TARGETS)
	if err != nil {
		return err
	}
	name := fileName(metadata.TARGETS, version)
	if st.targetsRaw, err = r.Source().Metadata(ctx, name, maxTargets); err != nil {
		return err
	}
	if st.targets, err = decode[metadata.TargetsType](st.targetsRaw); err == nil {
		err = refused(st.root.meta.VerifyDelegate(metadata.TARGETS, st.targets))
	}
	if err == nil && st.targets.Signed.Version != version {
		err = ErrMismatch
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// readOnline reads snapshot and timestamp. That they are not there, or not good
// any more, is no error: a refresh makes them anew.
func (r *Repository) readOnline(ctx context.Context, st *state) error {
	p, err := r.Source().Metadata(ctx, timestampFile, maxTimestamp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t, err := decode[metadata.TimestampType](p)
	if err != nil {
		return fmt.Errorf("%s: %w", timestampFile, err)
	}
	st.timestampHigh = t.Signed.Version
	if checkMeta(t.Signed.Meta, metadata.SNAPSHOT) != nil || st.root.meta.VerifyDelegate(metadata.TIMESTAMP, t) != nil {
		return nil
	}
	m := t.Signed.Meta[metaName(metadata.SNAPSHOT)]
	name := fileName(metadata.SNAPSHOT, m.Version)
	if p, err = r.Source().Metadata(ctx, name, maxSnapshot); err != nil {
		return err
	}
	s, err := decode[metadata.SnapshotType](p)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if m.VerifyLengthHashes(p) == nil && st.covers(s) {
		st.snapshot, st.timestamp = s, t
	}
	return nil
}

// covers tells whether a snapshot is signed right, and is one of the newest
// targets.
func (st *state) covers(s *metadata.Metadata[metadata.SnapshotType]) bool {
	if checkMeta(s.Signed.Meta, metadata.TARGETS) != nil || st.root.meta.VerifyDelegate(metadata.SNAPSHOT, s) != nil {
		return false
	}
	m := s.Signed.Meta[metaName(metadata.TARGETS)]
	return m.Version == st.targets.Signed.Version && m.VerifyLengthHashes(st.targetsRaw) == nil
}

// An edition is metadata on their way into a catalog. Those that stay as they
// are, are nil.
type edition struct {
	targets, snapshot, timestamp, root           []byte
	targetsVersion, snapshotVersion, rootVersion int64
}

// write puts an edition into the catalog: what is named before what names it, so
// that a reader finds the old catalog or the new one. The root comes last:
// what went before is signed for both roots. On an error the catalog is as it was
// unless the timestamp has its place already; then everything that it names has.
func (r *Repository) write(e *edition) error {
	for _, f := range []struct {
		role    string
		version int64
		p       []byte
	}{
		{metadata.TARGETS, e.targetsVersion, e.targets},
		{metadata.SNAPSHOT, e.snapshotVersion, e.snapshot},
		{metadata.TIMESTAMP, 0, e.timestamp},
		{metadata.ROOT, e.rootVersion, e.root},
	} {
		if f.p == nil {
			continue
		}
		if err := r.put(fileName(f.role, f.version), f.p); err != nil {
			return errors.Join(err, r.takeBack(e))
		}
	}
	return nil
}

// takeBack removes the targets and the snapshot of an edition that could not be
// written, since the next Refresh would sign such targets. They stay where timestamp
// or root have their place: readers may have them already.
func (r *Repository) takeBack(e *edition) error {
	for name, p := range map[string][]byte{timestampFile: e.timestamp, fileName(metadata.ROOT, e.rootVersion): e.root} {
		have, err := os.ReadFile(r.metadataPath(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if p != nil && bytes.Equal(have, p) {
			return nil
		}
	}
	if e.targets != nil {
		if err := r.remove(fileName(metadata.TARGETS, e.targetsVersion)); err != nil {
			return err
		}
	}
	if e.snapshot != nil {
		return r.remove(fileName(metadata.SNAPSHOT, e.snapshotVersion))
	}
	return nil
}

// finish encodes metadata, which must have enough signatures for root.
func finish[T metadata.Roles](root *Root, role string, m *metadata.Metadata[T]) ([]byte, error) {
	if err := enough(root.meta.VerifyDelegate(role, m)); err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	p, err := encode(m)
	if err != nil {
		return nil, err
	}
	if int64(len(p)) > maxSize(role) {
		return nil, fmt.Errorf("%s: %w", role, malformed("%d bytes, and readers take %d", len(p), maxSize(role)))
	}
	return p, nil
}

// enough turns an error about what was just signed into one about who signs.
func enough(err error) error {
	if errors.Is(refused(err), ErrSignature) {
		return fmt.Errorf("%w: too few of the right keys sign", ErrKey)
	}
	return refused(err)
}
