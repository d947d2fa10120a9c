package trust

import (
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A forgery is a catalog of which everything can be changed before it is signed.
type forgery struct {
	root      *metadata.Metadata[metadata.RootType]
	targets   *metadata.Metadata[metadata.TargetsType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	timestamp *metadata.Metadata[metadata.TimestampType]

	rawRoot, rawTargets, rawSnapshot, rawTimestamp []byte // in place of what would be signed

	release, online []*SecretKey
	snapshotMeta    func(m *metadata.MetaFiles) // changes what the timestamp says of the snapshot
	targetsMeta     func(m *metadata.MetaFiles) // changes what the snapshot says of the targets
}

// forge returns the newest catalog of s, with changes, signed anew by those who
// may. The root is not one that follows on another.
func (s *shop) forge(change func(f *forgery)) mapSource {
	s.t.Helper()
	st, err := s.repo.read(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	f := &forgery{
		root: st.root.meta, targets: st.targets, snapshot: st.snapshot, timestamp: st.timestamp,
		release: s.release, online: []*SecretKey{s.online},
	}
	none := func() []metadata.Signature { return []metadata.Signature{} }
	f.root.Signatures, f.targets.Signatures, f.snapshot.Signatures, f.timestamp.Signatures = none(), none(), none(), none()
	change(f)
	return f.files(s)
}

// files signs and returns all files.
func (f *forgery) files(s *shop) mapSource {
	s.t.Helper()
	src := mapSource{}
	src[fileName(metadata.ROOT, f.root.Signed.Version)] = seal(s, f.root, f.release, f.rawRoot)

	raw := seal(s, f.targets, f.release, f.rawTargets)
	src[fileName(metadata.TARGETS, f.targets.Signed.Version)] = raw
	f.snapshot.Signed.Meta = meta(metadata.TARGETS, f.targets.Signed.Version, raw)
	if f.targetsMeta != nil {
		f.targetsMeta(f.snapshot.Signed.Meta["targets.json"])
	}
	raw = seal(s, f.snapshot, f.online, f.rawSnapshot)
	src[fileName(metadata.SNAPSHOT, f.snapshot.Signed.Version)] = raw
	f.timestamp.Signed.Meta = meta(metadata.SNAPSHOT, f.snapshot.Signed.Version, raw)
	if f.snapshotMeta != nil {
		f.snapshotMeta(f.timestamp.Signed.Meta["snapshot.json"])
	}
	src[timestampFile] = seal(s, f.timestamp, f.online, f.rawTimestamp)
	return src
}

// seal signs and encodes metadata, unless there are raw ones.
func seal[T metadata.Roles](s *shop, m *metadata.Metadata[T], keys []*SecretKey, raw []byte) []byte {
	s.t.Helper()
	if raw != nil {
		return raw
	}
	if err := sign(m, keys); err != nil {
		s.t.Fatal(err)
	}
	p, err := encode(m)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}
