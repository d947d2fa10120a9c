package trust

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A Refreshed tells what a Refresh did.
type Refreshed struct {
	Versions  Versions
	Snapshot  bool // it was signed anew
	Timestamp bool // it was signed anew
}

// Refresh signs snapshot and timestamp with the online key, if there are newer
// targets, if they are due, or if the present ones are not signed right. A server
// calls it once a day and after every release. An error wraps [ErrKey] if online is
// not the catalog's online key.
func (r *Repository) Refresh(ctx context.Context, online *SecretKey) (Refreshed, error) {
	lock, err := r.lock(ctx)
	if err != nil {
		return Refreshed{}, err
	}
	defer lock.Close()
	st, err := r.read(ctx)
	if err != nil {
		return Refreshed{}, err
	}
	var e edition
	if err := st.publish(&e, []*SecretKey{online}); err != nil {
		return Refreshed{}, err
	}
	if err := r.write(&e); err != nil {
		return Refreshed{}, err
	}
	return Refreshed{st.versions(), e.snapshot != nil, e.timestamp != nil}, nil
}

// publish adds snapshot and timestamp to an edition where it needs them, signed
// with the online keys, and keeps the numbers of st true.
func (st *state) publish(e *edition, online []*SecretKey) error {
	if err := st.checkOnline(online); err != nil {
		return err
	}
	now := time.Now()
	var snapshot []byte
	if st.snapshot == nil || st.snapshot.Signed.Expires.Sub(now) < snapshotDue {
		m := metadata.Snapshot(expiry(metadata.SNAPSHOT))
		m.Signed.Version = st.snapshotVersion + 1
		m.Signed.Meta = meta(metadata.TARGETS, st.targets.Signed.Version, st.targetsRaw)
		if err := sign(m, online); err != nil {
			return err
		}
		var err error
		if snapshot, err = finish(st.root, metadata.SNAPSHOT, m); err != nil {
			return err
		}
		st.snapshotVersion++
		e.snapshot, e.snapshotVersion = snapshot, st.snapshotVersion
	}
	if snapshot == nil && st.timestamp.Signed.Expires.Sub(now) >= timestampDue {
		return nil
	}
	return st.stamp(e, online)
}

// stamp adds a timestamp to an edition.
func (st *state) stamp(e *edition, online []*SecretKey) error {
	m := metadata.Timestamp(expiry(metadata.TIMESTAMP))
	m.Signed.Version = st.timestampHigh + 1
	if e.snapshot != nil {
		m.Signed.Meta = meta(metadata.SNAPSHOT, e.snapshotVersion, e.snapshot)
	} else {
		m.Signed.Meta = st.timestamp.Signed.Meta
	}
	if err := sign(m, online); err != nil {
		return err
	}
	p, err := finish(st.root, metadata.TIMESTAMP, m)
	if err != nil {
		return err
	}
	e.timestamp = p
	st.timestampHigh++
	return nil
}

// checkOnline makes sure that one of the keys is the online key.
func (st *state) checkOnline(keys []*SecretKey) error {
	known := st.root.keys(metadata.TIMESTAMP)
	for _, k := range keys {
		if _, ok := known[k.public.ID()]; ok {
			return nil
		}
	}
	return ErrOnlineKey
}

// meta is how metadata list one file of metadata.
func meta(role string, version int64, p []byte) map[string]*metadata.MetaFiles {
	sum := sha256.Sum256(p)
	return map[string]*metadata.MetaFiles{
		metaName(role): {Version: version, Length: int64(len(p)), Hashes: metadata.Hashes{"sha256": sum[:]}},
	}
}
