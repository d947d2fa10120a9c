package trust

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A Root says which keys a catalog is signed with. It is not changed, so it is
// safe for concurrent use.
type Root struct {
	raw  []byte
	meta *metadata.Metadata[metadata.RootType]
}

// ParseRoot reads a root: one that is trusted because of where it comes from.
// It must be signed by its own keys. An error wraps [ErrMalformed] or
// [ErrSignature]. ParseRoot keeps p.
func ParseRoot(p []byte) (*Root, error) {
	if len(p) > maxRoot {
		return nil, fmt.Errorf("root: %w", malformed("more than %d bytes", maxRoot))
	}
	r, err := decodeRoot(p)
	if err == nil {
		err = refused(r.meta.VerifyDelegate(metadata.ROOT, r.meta))
	}
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	return r, nil
}

// Encode returns the root as it lies in a file. The caller must not change it.
func (r *Root) Encode() []byte { return r.raw }

// Version returns the number of the root, from 1.
func (r *Root) Version() int64 { return r.meta.Signed.Version }

// Expires returns when the root does.
func (r *Root) Expires() time.Time { return r.meta.Signed.Expires }

// decodeRoot reads a root and checks all but its signatures.
func decodeRoot(p []byte) (*Root, error) {
	meta, err := decode[metadata.RootType](p)
	if err != nil {
		return nil, err
	}
	if err := checkWritten(meta, p); err != nil {
		return nil, err
	}
	if err := checkRoot(&meta.Signed); err != nil {
		return nil, err
	}
	return &Root{p, meta}, nil
}

// checkRoot checks what go-tuf does not: that the root is one of section 7.2.
func checkRoot(r *metadata.RootType) error {
	if err := checkHead(r.SpecVersion, r.Version); err != nil {
		return err
	}
	if !r.ConsistentSnapshot || len(r.Roles) != len(metadata.TOP_LEVEL_ROLE_NAMES) {
		return malformed("want consistent snapshots and the four roles")
	}
	for id, k := range r.Keys {
		if raw, err := hex.DecodeString(k.Value.PublicKey); err != nil || len(raw) != ed25519.PublicKeySize ||
			k.Type != metadata.KeyTypeEd25519 || k.Scheme != metadata.KeySchemeEd25519 {
			return malformed("the key %.12s is none of Ed25519", id)
		}
		if want, err := k.ID(); err != nil || want != id {
			return malformed("the key %.12s is called so by mistake", id)
		}
	}
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err := checkRole(r, name); err != nil {
			return err
		}
	}
	return nil
}

// checkRole makes sure that a role is there and can sign.
func checkRole(r *metadata.RootType, name string) error {
	role, ok := r.Roles[name]
	if !ok || role.Threshold < 1 || role.Threshold > len(role.KeyIDs) || len(role.KeyIDs) > maxKeys {
		return malformed("the role %s: want 1 to %d keys, and that no more must sign", name, maxKeys)
	}
	for i, id := range role.KeyIDs {
		if _, ok := r.Keys[id]; !ok || slices.Contains(role.KeyIDs[:i], id) {
			return malformed("the role %s: the key %.12s is not there, or twice", name, id)
		}
	}
	return nil
}

// maxKeys is how many keys a role may have.
const maxKeys = 32

// checkHead checks what all metadata have.
func checkHead(spec string, version int64) error {
	if len(spec) < 2 || spec[:2] != "1." {
		return malformed("specification %.20q, want 1", spec)
	}
	if version < 1 || version > maxVersion {
		return malformed("version %d, want 1 to %d", version, maxVersion)
	}
	return nil
}

// Follow returns the newest root that src has: from one to the next, each signed
// by the keys of the one before and by its own. A root that is the newest comes
// back itself. An error wraps [ErrMalformed], [ErrSignature] or [ErrMismatch],
// or is one of src.
func (r *Root) Follow(ctx context.Context, src Source) (*Root, error) {
	for steps := 0; ; steps++ {
		name := fileName(metadata.ROOT, r.Version()+1)
		p, err := src.Metadata(ctx, name, maxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			return r, nil
		}
		if err == nil && steps == maxChain {
			err = malformed("more than %d roots", maxChain)
		}
		if err == nil {
			r, err = r.next(p)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// next takes the root that comes after r.
func (r *Root) next(p []byte) (*Root, error) {
	next, err := decodeRoot(p)
	if err != nil {
		return nil, err
	}
	if next.Version() != r.Version()+1 {
		return nil, fmt.Errorf("%w: it says that it is version %d", ErrMismatch, next.Version())
	}
	for _, by := range []*Root{r, next} {
		if err := by.meta.VerifyDelegate(metadata.ROOT, next.meta); err != nil {
			return nil, fmt.Errorf("%w: those of version %d", refused(err), by.Version())
		}
	}
	return next, nil
}

// keys returns the public keys of a role, by what they are called.
func (r *Root) keys(role string) map[string]ed25519.PublicKey {
	keys := map[string]ed25519.PublicKey{}
	for _, id := range r.meta.Signed.Roles[role].KeyIDs {
		raw, err := hex.DecodeString(r.meta.Signed.Keys[id].Value.PublicKey)
		if err != nil {
			panic(err) // checkRoot has seen it
		}
		keys[id] = raw
	}
	return keys
}

// threshold returns how many keys of a role must sign.
func (r *Root) threshold(role string) int { return r.meta.Signed.Roles[role].Threshold }

// sameKeys tells whether a role has the same keys in both roots.
func (r *Root) sameKeys(other *Root, role string) bool {
	a, b := r.meta.Signed.Roles[role].KeyIDs, other.meta.Signed.Roles[role].KeyIDs
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id string) bool { return !slices.Contains(b, id) })
}
