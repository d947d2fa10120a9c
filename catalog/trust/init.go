package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"slipcast/internal/durable"
)

// InitOptions say who signs a new catalog.
type InitOptions struct {
	Release   []PublicKey  // the release keys, at least one
	Threshold int          // how many of them must sign; 0 is 1
	Keys      []*SecretKey // so many of them, that sign now
	Online    *SecretKey   // the online key
}

// Init makes an empty catalog in the folder dir, which is made if it is not there
// and must have no catalog yet: that is an error that wraps fs.ErrExist. An error
// wraps [ErrKey] if the keys do not suffice.
func Init(ctx context.Context, dir string, opt InitOptions) (*Repository, error) {
	root, err := newRoot(opt)
	if err != nil {
		return nil, err
	}
	for _, folder := range []string{metadataFolder, bundlesFolder} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o777); err != nil {
			return nil, err
		}
	}
	r := &Repository{dir}
	lock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if _, err := OpenRepository(dir); !errors.Is(err, ErrNotCatalog) {
		return nil, errors.Join(err, fmt.Errorf("%s: there is a catalog already: %w", dir, fs.ErrExist))
	}
	st := &state{root: root}
	e := edition{root: root.raw, rootVersion: 1}
	if err := st.retarget(&e, nil, opt.Keys); err != nil {
		return nil, err
	}
	if err := st.publish(&e, []*SecretKey{opt.Online}); err != nil {
		return nil, err
	}
	if err := r.write(&e); err != nil {
		return nil, err
	}
	return r, durable.SyncDir(dir)
}

// newRoot returns the first root of a catalog.
func newRoot(opt InitOptions) (*Root, error) {
	m := metadata.Root(expiry(metadata.ROOT))
	for _, k := range opt.Release {
		if k.ID() == opt.Online.public.ID() {
			return nil, fmt.Errorf("%w: the online key cannot be a release key", ErrKey)
		}
	}
	if err := setRelease(&m.Signed, opt.Release, max(opt.Threshold, 1)); err != nil {
		return nil, err
	}
	if err := setOnline(&m.Signed, opt.Online.public); err != nil {
		return nil, err
	}
	return finishRoot(m, opt.Keys)
}

// setRelease makes keys the release keys of a root.
func setRelease(r *metadata.RootType, keys []PublicKey, threshold int) error {
	for _, role := range []string{metadata.ROOT, metadata.TARGETS} {
		if err := setKeys(r, role, keys, threshold); err != nil {
			return err
		}
	}
	return nil
}

// setOnline makes key the online key of a root.
func setOnline(r *metadata.RootType, key PublicKey) error {
	for _, role := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if err := setKeys(r, role, []PublicKey{key}, 1); err != nil {
			return err
		}
	}
	return nil
}

// setKeys makes keys those of a role.
func setKeys(r *metadata.RootType, role string, keys []PublicKey, threshold int) error {
	for _, id := range append([]string(nil), r.Roles[role].KeyIDs...) {
		if err := r.RevokeKey(id, role); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if err := r.AddKey(k.tuf(), role); err != nil {
			return err
		}
	}
	r.Roles[role].Threshold = threshold
	if have := len(r.Roles[role].KeyIDs); threshold > have {
		return fmt.Errorf("%w: %d must sign, and there are %d", ErrKey, threshold, have)
	}
	return nil
}

// finishRoot signs a root with those of the keys that are its own or were those of
// the root before, and returns it as it will be read.
func finishRoot(m *metadata.Metadata[metadata.RootType], keys []*SecretKey) (*Root, error) {
	if err := sign(m, keys); err != nil {
		return nil, err
	}
	if err := enough(m.VerifyDelegate(metadata.ROOT, m)); err != nil {
		return nil, fmt.Errorf("%s: %w", metadata.ROOT, err)
	}
	p, err := encode(m)
	if err != nil {
		return nil, err
	}
	return ParseRoot(p)
}
