package trust

import (
	"context"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A Status tells how long a catalog is good for, and by whom.
type Status struct {
	Roles   []RoleStatus // root, targets, snapshot, timestamp
	Pending bool         // the newest list counts after the next Refresh
}

// A RoleStatus tells of one kind of metadata.
type RoleStatus struct {
	Role      string
	Version   int64     // 0 if there is none that is signed right
	Expires   time.Time // zero with Version 0
	Due       bool      // a quarter of its time is left, or less
	Keys      []string  // what the metadata call them, in order
	Threshold int       // how many of them must sign
}

// Expired tells whether the time of the metadata was over at now.
func (s RoleStatus) Expired(now time.Time) bool { return now.After(s.Expires) }

// Status tells how long the catalog is good for.
func (r *Repository) Status(ctx context.Context) (*Status, error) {
	st, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	s := &Status{Pending: st.timestamp == nil}
	s.add(st.root, metadata.ROOT, st.root.Version(), st.root.Expires())
	s.add(st.root, metadata.TARGETS, st.targets.Signed.Version, st.targets.Signed.Expires)
	if s.Pending {
		s.add(st.root, metadata.SNAPSHOT, 0, time.Time{})
		s.add(st.root, metadata.TIMESTAMP, 0, time.Time{})
		return s, nil
	}
	s.add(st.root, metadata.SNAPSHOT, st.snapshot.Signed.Version, st.snapshot.Signed.Expires)
	s.add(st.root, metadata.TIMESTAMP, st.timestamp.Signed.Version, st.timestamp.Signed.Expires)
	return s, nil
}

func (s *Status) add(root *Root, role string, version int64, expires time.Time) {
	about := root.meta.Signed.Roles[role]
	s.Roles = append(s.Roles, RoleStatus{
		Role: role, Version: version, Expires: expires, Due: time.Until(expires) <= life(role)/4,
		Keys: slices.Sorted(slices.Values(about.KeyIDs)), Threshold: about.Threshold,
	})
}
