package trust

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// ReleaseOptions say what becomes part of a catalog, and who signs that.
type ReleaseOptions struct {
	Bundles []string          // paths of bundle files
	Authors []PublicKey       // if there are any, every bundle must have the signature of one beside it, in PATH.minisig
	Images  []ImageTarget     // images, which the caller has looked up
	Recall  map[string]string // ID of a bundle or an image, maybe with bundles/ or images/ before it, to the reason

	Keys   []*SecretKey // release keys, as many as must sign
	Online *SecretKey   // the online key; nil where it is not at hand: the release counts after the next Refresh

	Progress func(bytes int64) // told of bytes of bundle files that were read; may be nil
}

// A Released tells what a Release did.
type Released struct {
	Versions Versions // Timestamp and Snapshot are those before if Pending
	Bundles  []BundleTarget
	Images   []ImageTarget
	Recalled []string // names of targets
	Pending  bool     // it counts after the next Refresh
}

// Release checks bundles, takes them into the catalog's folder, and signs a new
// list with them, the images and the recalls. What the catalog has already is no
// error if it is the same. Without anything it signs the list anew, which
// gives it another year.
//
// An error leaves the catalog as it was, but maybe for bundle files that nobody
// names; one at the very end, where the disk does not say whether it has the new
// timestamp, leaves it as it was to be. A Release that is killed may leave a list
// that counts after the next Refresh, like one that is pending. An error wraps
// [ErrKey] if the keys do not suffice, [ErrExists], [ErrNotFound], [ErrAuthor], or is
// one of package bundle.
func (r *Repository) Release(ctx context.Context, opt ReleaseOptions) (*Released, error) {
	lock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	st, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := st.checkKeys(opt); err != nil { // before gigabytes are copied
		return nil, err
	}
	done := &Released{Images: opt.Images}
	list := maps.Clone(st.targets.Signed.Targets)
	if err := r.takeBundles(ctx, list, opt, done); err != nil {
		return nil, err
	}
	if err := addImages(list, opt.Images); err != nil {
		return nil, err
	}
	if done.Recalled, err = recallTargets(list, opt.Recall); err != nil {
		return nil, err
	}
	return done, r.publishTargets(st, list, opt, done)
}

// checkKeys makes sure that the keys are those of the catalog, and enough.
func (st *state) checkKeys(opt ReleaseOptions) error {
	known := st.root.keys(metadata.TARGETS)
	have := map[string]bool{}
	for _, k := range opt.Keys {
		if _, ok := known[k.public.ID()]; !ok {
			return fmt.Errorf("%w: %s is no release key of this catalog", ErrKey, k.public.Number())
		}
		have[k.public.ID()] = true
	}
	if want := st.root.threshold(metadata.TARGETS); len(have) < want || len(have) != len(opt.Keys) {
		return fmt.Errorf("%w: %d release keys must sign, each once; there are %d", ErrKey, want, len(have))
	}
	if opt.Online == nil {
		return nil
	}
	return st.checkOnline([]*SecretKey{opt.Online})
}

// publishTargets signs and writes a list.
func (r *Repository) publishTargets(st *state, list map[string]*metadata.TargetFiles, opt ReleaseOptions, done *Released) error {
	var e edition
	if err := st.retarget(&e, list, opt.Keys); err != nil {
		return err
	}
	done.Pending = opt.Online == nil
	if !done.Pending {
		if err := st.publish(&e, []*SecretKey{opt.Online}); err != nil {
			return err
		}
	}
	done.Versions = st.versions()
	return r.write(&e)
}

// retarget adds new targets to an edition, and makes them those of st.
func (st *state) retarget(e *edition, list map[string]*metadata.TargetFiles, keys []*SecretKey) error {
	m := metadata.Targets(expiry(metadata.TARGETS))
	m.Signed.Version = 1
	if st.targets != nil {
		m.Signed.Version = st.targets.Signed.Version + 1
	}
	maps.Copy(m.Signed.Targets, list)
	var check Catalog
	if err := check.take(&m.Signed); err != nil { // nothing is signed that a reader refuses
		return err
	}
	if err := sign(m, keys); err != nil {
		return err
	}
	p, err := finish(st.root, metadata.TARGETS, m)
	if err != nil {
		return err
	}
	st.targets, st.targetsRaw, st.snapshot, st.timestamp = m, p, nil, nil
	e.targets, e.targetsVersion = p, m.Signed.Version
	return nil
}

// takeBundles checks bundle files and takes them into the folder and the list.
func (r *Repository) takeBundles(ctx context.Context, list map[string]*metadata.TargetFiles, opt ReleaseOptions, done *Released) error {
	if err := r.clean(); err != nil {
		return err
	}
	for _, path := range opt.Bundles {
		b, err := r.intake(ctx, path, opt)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if b, err = addBundle(list, b); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		done.Bundles = append(done.Bundles, *b)
	}
	return nil
}

// clean removes what a Release left that was killed. Nobody else takes in files,
// since the lock is held.
func (r *Repository) clean() error {
	left, err := filepath.Glob(filepath.Join(r.dir, bundlesFolder, "*"+partialEnding))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// addBundle adds a bundle to the list, and returns it as it is there.
func addBundle(list map[string]*metadata.TargetFiles, b *BundleTarget) (*BundleTarget, error) {
	name := bundlePrefix + b.ID()
	if f, ok := list[name]; ok {
		known, err := decodeTarget(name, f)
		if err != nil {
			return nil, err
		}
		if known.bundle.Digest != b.Digest {
			return nil, fmt.Errorf("%s %w", b.ID(), ErrExists)
		}
		return known.bundle, nil
	}
	f, err := b.target()
	if err != nil {
		return nil, err
	}
	list[name] = f
	return b, nil
}

// addImages adds images to the list.
func addImages(list map[string]*metadata.TargetFiles, images []ImageTarget) error {
	for i := range images {
		image := &images[i]
		if err := image.check(); err != nil {
			return err
		}
		name := imagePrefix + image.ID()
		f, err := image.target()
		if err != nil {
			return err
		}
		if known, ok := list[name]; ok {
			if !known.Equal(*f) {
				return fmt.Errorf("%s %w", image.ID(), ErrExists)
			}
			continue
		}
		list[name] = f
	}
	return nil
}

// recallTargets marks targets of the list as recalled, and returns their names.
func recallTargets(list map[string]*metadata.TargetFiles, reasons map[string]string) ([]string, error) {
	var names []string
	for _, id := range slices.Sorted(maps.Keys(reasons)) {
		name, err := findTarget(list, id)
		if err != nil {
			return nil, err
		}
		f := *list[name]
		about, err := decodeCustom(*f.Custom)
		if err != nil {
			return nil, err
		}
		about.Recalled = &recall{reasons[id]}
		if f.Custom, err = about.encode(); err != nil {
			return nil, err
		}
		list[name] = &f
		names = append(names, name)
	}
	return names, nil
}

// findTarget returns the name of the target that id means.
func findTarget(list map[string]*metadata.TargetFiles, id string) (string, error) {
	var found []string
	for _, name := range []string{id, bundlePrefix + id, imagePrefix + id} {
		if _, ok := list[name]; ok {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%s: %w", id, ErrNotFound)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s may be %s", id, strings.Join(found, " or "))
}
