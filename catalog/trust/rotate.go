package trust

import (
	"context"
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// RotateOptions say how the keys of a catalog change. Without any change a Rotate
// gives the root another five years.
type RotateOptions struct {
	Add       []PublicKey // release keys that are new
	Remove    []PublicKey // release keys that are none any more
	Threshold int         // how many release keys must sign; 0 is as many as now
	NewOnline *SecretKey  // the online key from now on; nil if it stays

	// Online is the online key until now, which signs; nil if it is not at hand.
	// Where there is a new one, readers are never without a catalog that is signed
	// right; without it they may be, for a moment.
	Online *SecretKey

	// Keys are release keys: as many of the old ones as must sign, and as many
	// of the new ones.
	Keys []*SecretKey
}

// A Rotated tells what a Rotate did.
type Rotated struct {
	Versions Versions
	Pending  bool // readers get nothing before the next Refresh
}

// Rotate changes the keys of a catalog. The new root is signed by the old keys and
// the new ones, so that readers with the old one take it; what a key that is
// removed has signed is signed anew. An error wraps [ErrKey] if the keys do not
// suffice, and leaves the catalog as it was; if it comes at the very end, readers may
// get nothing before the next Refresh where the old online key is not at hand.
func (r *Repository) Rotate(ctx context.Context, opt RotateOptions) (Rotated, error) {
	lock, err := r.lock(ctx)
	if err != nil {
		return Rotated{}, err
	}
	defer lock.Close()
	st, err := r.read(ctx)
	if err != nil {
		return Rotated{}, err
	}
	if st.root.Version() > maxChain {
		return Rotated{}, fmt.Errorf("%w: readers follow %d roots, and there are as many", ErrKey, maxChain)
	}
	next, err := st.root.successor(opt)
	if err != nil {
		return Rotated{}, err
	}
	e := edition{root: next.raw, rootVersion: next.Version()}
	old := st.root
	st.root = next
	if err := st.resign(&e, old, opt); err != nil {
		return Rotated{}, err
	}
	if err := r.write(&e); err != nil {
		return Rotated{}, err
	}
	return Rotated{st.versions(), st.timestamp == nil && e.timestamp == nil}, nil
}

// successor returns the root that comes after r.
func (r *Root) successor(opt RotateOptions) (*Root, error) {
	m, err := decode[metadata.RootType](r.raw)
	if err != nil {
		return nil, err
	}
	m.Signatures = nil
	m.Signed.Version++
	m.Signed.Expires = expiry(metadata.ROOT)
	if err := changeRelease(&m.Signed, opt); err != nil {
		return nil, err
	}
	if opt.NewOnline != nil {
		if err := setOnline(&m.Signed, opt.NewOnline.public); err != nil {
			return nil, err
		}
	}
	if err := r.checkRotation(m, opt.Keys); err != nil {
		return nil, err
	}
	next, err := finishRoot(m, opt.Keys)
	if err != nil {
		return nil, fmt.Errorf("the new keys: %w", err)
	}
	if err := enough(r.meta.VerifyDelegate(metadata.ROOT, next.meta)); err != nil {
		return nil, fmt.Errorf("the old keys: %w", err)
	}
	return next, nil
}

// changeRelease adds and removes release keys.
func changeRelease(m *metadata.RootType, opt RotateOptions) error {
	for _, role := range []string{metadata.ROOT, metadata.TARGETS} {
		for _, k := range opt.Add {
			if err := m.AddKey(k.tuf(), role); err != nil {
				return err
			}
		}
		for _, k := range opt.Remove {
			if err := m.RevokeKey(k.ID(), role); err != nil {
				return fmt.Errorf("%w: %s is no release key of this catalog", ErrKey, k.Number())
			}
		}
		if opt.Threshold > 0 {
			m.Roles[role].Threshold = opt.Threshold
		}
		if have, want := len(m.Roles[role].KeyIDs), m.Roles[role].Threshold; have < want {
			return fmt.Errorf("%w: %d release keys must sign, and %d would be left", ErrKey, want, have)
		}
	}
	return nil
}

// checkRotation makes sure that no key has two tasks, and that each key that signs
// is an old release key or a new one.
func (r *Root) checkRotation(m *metadata.Metadata[metadata.RootType], keys []*SecretKey) error {
	release := m.Signed.Roles[metadata.ROOT].KeyIDs
	for _, id := range m.Signed.Roles[metadata.TIMESTAMP].KeyIDs {
		if slices.Contains(release, id) {
			return fmt.Errorf("%w: the online key cannot be a release key", ErrKey)
		}
	}
	old := r.keys(metadata.ROOT)
	for _, k := range keys {
		if _, ok := old[k.public.ID()]; !ok && !slices.Contains(release, k.public.ID()) {
			return fmt.Errorf("%w: %s is no release key, old or new", ErrKey, k.public.Number())
		}
	}
	return nil
}

// resign adds to an edition what the new root, which st has already, does not take
// any more.
func (st *state) resign(e *edition, old *Root, opt RotateOptions) error {
	if st.root.meta.VerifyDelegate(metadata.TARGETS, st.targets) != nil {
		if err := st.retarget(e, st.targets.Signed.Targets, opt.Keys); err != nil {
			return err
		}
	}
	if !st.root.sameKeys(old, metadata.TIMESTAMP) {
		st.snapshot, st.timestamp = nil, nil
	}
	online, err := opt.signers(old)
	if err != nil || len(online) == 0 {
		return err
	}
	return st.publish(e, online)
}

// signers returns the online keys that sign: the new one, and the one of the old
// root if it is at hand. Another key never counts, wherever it comes from: it may be
// one that was replaced because it is stolen.
func (opt *RotateOptions) signers(old *Root) (online []*SecretKey, err error) {
	if opt.NewOnline != nil {
		online = append(online, opt.NewOnline)
	}
	if opt.Online == nil || opt.NewOnline != nil && opt.NewOnline.public.ID() == opt.Online.public.ID() {
		return online, nil
	}
	if _, ok := old.keys(metadata.TIMESTAMP)[opt.Online.public.ID()]; !ok {
		return nil, fmt.Errorf("%s: %w", opt.Online.public.Number(), ErrOnlineKey)
	}
	return append(online, opt.Online), nil
}
