package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/trust"
	"slipcast/image"
	"slipcast/image/store"
	"slipcast/internal/progress"
)

func newStoreVerifyCmd(env *env) *cobra.Command {
	var where storeFlag
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check everything in the store",
		Long: `Verify reads all data in the store, checks it against its digests, and checks that
every image has what it needs. It prints what is damaged, and which images that
concerns; adding one of these again (slipcast store add) brings back what is
damaged. Of a catalog in the store it checks the signed lists and every byte of
the bundles. Remove the file of a bundle that is damaged: then slipcast store mirror
or store import brings it back, and where it was released, catalog release.`,
		Example: "  slipcast store verify",
		Args:    operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := runStoreVerify(cmd.Context(), env, &where); err != nil {
				return fmt.Errorf("verifying the store: %w", err)
			}
			return nil
		},
	}
	addStoreFlag(cmd, &where)
	return cmd
}

func runStoreVerify(ctx context.Context, env *env, where *storeFlag) error {
	began := time.Now()
	s, err := where.open()
	if err != nil {
		return err
	}
	meter := env.meter("verifying", "verify", 0)
	var faults []storeFault
	v, err := s.Verify(ctx, store.VerifyOptions{Progress: meter.Add, Found: func(f store.Fault) { faults = append(faults, imageFault(f)) }})
	var bundles trust.Verified
	if err == nil {
		bundles, err = verifyCatalog(ctx, s, trust.VerifyOptions{Progress: meter.Add, Found: func(path string, err error) {
			if strings.HasSuffix(path, ".slb") && !errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w; remove this file, and store mirror, store import or catalog release brings it back", err)
			}
			faults = append(faults, storeFault{label: "catalog " + path, path: path, err: err})
		}})
	}
	meter.Done(err)
	if err != nil {
		return err
	}
	env.showFaults(faults)
	took := time.Since(began)
	env.result(map[string]any{
		"type": "store_verified", "store": s.Dir(), "images": v.Images, "chunks": v.Frames, "frame_bytes": v.Bytes,
		"bundles": bundles.Bundles, "bundle_bytes": bundles.Bytes, "missing_bundles": bundles.Missing, "faults": len(faults), "seconds": took.Seconds(),
	}, false)
	if len(faults) > 0 {
		return fmt.Errorf("%w: found %s in %s", image.ErrDamaged, count(len(faults), "fault"), s.Dir())
	}
	facts := []fact{{"checked", fmt.Sprintf("%s of %s, %s", count(v.Frames, "chunk"), count(v.Images, "image"), progress.Bytes(v.Bytes))}}
	if bundles.Bundles+bundles.Missing > 0 {
		facts = append(facts, fact{"bundles", bundleCount(bundles)})
	}
	env.sum(fmt.Sprintf("verified %s in %s", s.Dir(), speed(v.Bytes+bundles.Bytes, took)), facts...)
	return nil
}

// verifyCatalog verifies the catalog of the store, if it has one. A mirror may
// have bundles of which it has only the names: they are fetched when they are wanted.
func verifyCatalog(ctx context.Context, s *store.Store, opt trust.VerifyOptions) (trust.Verified, error) {
	repository, err := trust.OpenRepository(filepath.Join(s.Dir(), "catalog"))
	if errors.Is(err, trust.ErrNotCatalog) {
		return trust.Verified{}, nil
	}
	if err != nil {
		return trust.Verified{}, err
	}
	_, err = os.Stat(filepath.Join(s.Dir(), "mirror"))
	opt.Partial = err == nil
	return repository.Verify(ctx, opt)
}

// bundleCount tells of the bundles that were checked.
func bundleCount(v trust.Verified) string {
	text := fmt.Sprintf("%d, %s", v.Bundles, progress.Bytes(v.Bytes))
	if v.Missing > 0 {
		text += fmt.Sprintf(", and %d that are not fetched yet", v.Missing)
	}
	return text
}

// A storeFault is something in a store that is damaged.
type storeFault struct {
	label string // for people: what is damaged
	path  string // of its file
	image string // NAME@VERSION if it is an image
	err   error
}

// imageFault returns a fault that is of an image, or of a chunk.
func imageFault(f store.Fault) storeFault {
	if f.Image.Name == "" {
		return storeFault{label: "frame " + f.Path, path: f.Path, err: f.Err}
	}
	return storeFault{label: f.Image.String(), path: f.Path, image: f.Image.String(), err: f.Err}
}

// showFaults prints what is damaged.
func (e *env) showFaults(faults []storeFault) {
	for _, f := range faults {
		if !e.json {
			e.print(e.stdout, "%s: %v\n", f.label, f.err)
			continue
		}
		o := map[string]any{"type": "fault", "path": f.path, "text": f.err.Error()}
		if f.image != "" {
			o["image"] = f.image
		}
		e.object(e.stdout, o)
	}
}
