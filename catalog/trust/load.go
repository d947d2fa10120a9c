package trust

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// LoadOptions say what a catalog is checked against.
type LoadOptions struct {
	Root []byte // a root of any version, which is trusted

	// Time is the clock. The zero value is the clock of this machine. With a
	// ticket the ticket's time counts alone.
	Time time.Time

	// Ticket is the answer to Nonce for Machine. It may be nil; then the
	// catalog is as new as the source says.
	Ticket  []byte
	Nonce   Nonce
	Machine string

	// Minimum are versions that were seen before: lower ones are refused.
	// Those of snapshot and timestamp do not count any more when their keys
	// have changed since Root.
	Minimum Versions

	// Known is a catalog that was accepted before, and may go on being used
	// after it has expired: just that one. The zero value is none.
	Known Versions

	// NoServer says that nobody can be asked for a ticket: a medium, an air gap.
	// Where the clock is behind Built, which is when the program was built, or
	// behind the time before which the timestamp cannot have been signed, these
	// count.
	NoServer bool
	Built    time.Time
}

// Load reads the catalog that src has, and verifies it. It takes a few files and
// at most 64 MiB of them. An error wraps [ErrMalformed], [ErrSignature],
// [ErrMismatch], [ErrExpired], [ErrRollback] or [ErrTicket], or is one of src.
func Load(ctx context.Context, src Source, opt LoadOptions) (*Catalog, error) {
	from, err := ParseRoot(opt.Root)
	if err != nil {
		return nil, err
	}
	root, err := from.Follow(ctx, src)
	if err != nil {
		return nil, err
	}
	l := loader{ctx: ctx, src: src, root: root, time: opt.Time, least: opt.Minimum, noServer: opt.NoServer}
	if l.time.IsZero() {
		l.time = time.Now()
	}
	if opt.NoServer {
		l.time = latest(l.time, opt.Built)
	}
	if !root.sameKeys(from, metadata.TIMESTAMP) || !root.sameKeys(from, metadata.SNAPSHOT) {
		l.least.Timestamp, l.least.Snapshot = 0, 0 // TUF 1.0.31, 5.3.11
	}
	if opt.Ticket != nil {
		if l.claims, err = root.VerifyTicket(opt.Ticket, opt.Nonce, opt.Machine); err != nil {
			return nil, fmt.Errorf("ticket: %w", err)
		}
		l.time, l.least, l.noServer = l.claims.Time, l.least.highest(l.claims.Versions), false
	}
	c, err := l.load()
	if errors.Is(err, ErrExpired) && opt.Known != (Versions{}) {
		return l.loadKnown(opt.Known, err)
	}
	return c, err
}

// latest returns the latest of some times.
func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// highest returns the higher ones of two Versions.
func (v Versions) highest(w Versions) Versions {
	return Versions{max(v.Root, w.Root), max(v.Timestamp, w.Timestamp), max(v.Snapshot, w.Snapshot), max(v.Targets, w.Targets)}
}

// A loader reads one catalog.
type loader struct {
	ctx      context.Context
	src      Source
	root     *Root
	time     time.Time
	least    Versions
	claims   *Claims
	noServer bool
	trusted  *trustedmetadata.TrustedMetadata
}

// loadKnown loads a catalog that has expired, if it is just the known one. err is
// that it has.
func (l *loader) loadKnown(known Versions, err error) (*Catalog, error) {
	l.time, l.noServer = time.Time{}, false // when nothing has expired
	c, again := l.load()
	if again != nil || c.Versions != known {
		return nil, err
	}
	c.Expired = true
	return c, nil
}

// load reads the metadata, each verified by those before.
func (l *loader) load() (*Catalog, error) {
	if err := l.atLeast(metadata.ROOT, l.root.Version(), l.least.Root); err != nil {
		return nil, err
	}
	var err error
	if l.trusted, err = trustedmetadata.New(l.root.raw); err != nil {
		return nil, fmt.Errorf("root: %w", refused(err))
	}
	l.trusted.RefTime = l.time.UTC()
	if err := l.timestamp(); err != nil {
		return nil, fmt.Errorf("%s: %w", timestampFile, err)
	}
	if err := l.snapshot(); err != nil {
		return nil, fmt.Errorf("%s: %w", fileName(metadata.SNAPSHOT, l.versions().Snapshot), err)
	}
	if err := l.targets(); err != nil {
		return nil, fmt.Errorf("%s: %w", fileName(metadata.TARGETS, l.versions().Targets), err)
	}
	return l.catalog()
}

// atLeast refuses a version below the least one.
func (l *loader) atLeast(role string, have, least int64) error {
	if have < least {
		return fmt.Errorf("%w: %s version %d, and %d is known", ErrRollback, role, have, least)
	}
	return nil
}

// versions returns the versions of what was read so far.
func (l *loader) versions() Versions {
	v := Versions{Root: l.root.Version()}
	if t := l.trusted.Timestamp; t != nil {
		v.Timestamp, v.Snapshot = t.Signed.Version, t.Signed.Meta[metaName(metadata.SNAPSHOT)].Version
	}
	if s := l.trusted.Snapshot; s != nil {
		v.Targets = s.Signed.Meta[metaName(metadata.TARGETS)].Version
	}
	return v
}

// metaName is what a role is called in the metadata that list it.
func metaName(role string) string { return role + ".json" }

// timestamp reads the timestamp.
func (l *loader) timestamp() error {
	p, err := l.src.Metadata(l.ctx, timestampFile, maxTimestamp)
	if err != nil {
		return err
	}
	t, err := decode[metadata.TimestampType](p)
	if err != nil {
		return err
	}
	if err := errors.Join(checkWritten(t, p), checkHead(t.Signed.SpecVersion, t.Signed.Version), checkMeta(t.Signed.Meta, metadata.SNAPSHOT)); err != nil {
		return err
	}
	if l.noServer {
		if err := l.root.meta.VerifyDelegate(metadata.TIMESTAMP, t); err != nil {
			return refused(err)
		}
		l.trusted.RefTime = latest(l.trusted.RefTime, t.Signed.Expires.Add(-timestampLife))
	}
	if _, err := l.trusted.UpdateTimestamp(p); err != nil {
		return refused(err)
	}
	return errors.Join(l.atLeast(metadata.TIMESTAMP, l.versions().Timestamp, l.least.Timestamp),
		l.atLeast(metadata.SNAPSHOT, l.versions().Snapshot, l.least.Snapshot))
}

// snapshot reads the snapshot that the timestamp names.
func (l *loader) snapshot() error {
	p, err := l.src.Metadata(l.ctx, fileName(metadata.SNAPSHOT, l.versions().Snapshot), maxSnapshot)
	if err != nil {
		return err
	}
	s, err := decode[metadata.SnapshotType](p)
	if err != nil {
		return err
	}
	if err := errors.Join(checkHead(s.Signed.SpecVersion, s.Signed.Version), checkMeta(s.Signed.Meta, metadata.TARGETS)); err != nil {
		return err
	}
	if _, err := l.trusted.UpdateSnapshot(p, false); err != nil {
		return refused(err)
	}
	return l.atLeast(metadata.TARGETS, l.versions().Targets, l.least.Targets)
}

// checkMeta makes sure that metadata list one file, with its digest and length.
func checkMeta(meta map[string]*metadata.MetaFiles, role string) error {
	m, ok := meta[metaName(role)]
	if !ok || len(meta) != 1 {
		return malformed("want that it lists the %s alone", role)
	}
	if len(m.Hashes) != 1 || len(m.Hashes["sha256"]) != sha256.Size || m.Length < 1 || m.Length > maxSize(role) {
		return malformed("%s: want its SHA-256 and its length", role)
	}
	return checkHead("1.", m.Version)
}

// targets reads the targets that the snapshot names.
func (l *loader) targets() error {
	meta := l.trusted.Snapshot.Signed.Meta[metaName(metadata.TARGETS)]
	p, err := l.src.Metadata(l.ctx, fileName(metadata.TARGETS, meta.Version), meta.Length)
	if err != nil {
		return err
	}
	if err := refused(meta.VerifyLengthHashes(p)); err != nil { // before anybody parses that much
		return err
	}
	if err := checkForm(p); err != nil {
		return err
	}
	t, err := l.trusted.UpdateTargets(p)
	if err != nil {
		return refused(err)
	}
	return checkHead(t.Signed.SpecVersion, t.Signed.Version)
}

// catalog returns what was read.
func (l *loader) catalog() (*Catalog, error) {
	t := &l.trusted.Targets[metadata.TARGETS].Signed
	c := &Catalog{
		Versions: l.versions(), Root: l.root, Fresh: l.claims != nil, Claims: l.claims,
		Expires: earliest(l.root.Expires(), l.trusted.Timestamp.Signed.Expires, l.trusted.Snapshot.Signed.Expires, t.Expires),
	}
	if err := c.take(t); err != nil {
		return nil, fmt.Errorf("%s: %w", fileName(metadata.TARGETS, t.Version), err)
	}
	return c, nil
}

// earliest returns the earliest of some times.
func earliest(first time.Time, times ...time.Time) time.Time {
	for _, t := range times {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
