package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"slipcast/agent/wire"
	"slipcast/catalog/trust"
	"slipcast/fleet"
)

// catalogFolder is where a store has its catalog: docs/bundles.md, section 7.1.
const catalogFolder = "catalog"

// A notReleased error reports what machines must not have. It is
// [fleet.ErrNotReleased].
type notReleased struct{ text, way string }

func (e *notReleased) Error() string        { return e.text }
func (e *notReleased) Is(target error) bool { return target == fleet.ErrNotReleased }

// errNoCatalog reports a store without a catalog.
var errNoCatalog error = &notReleased{
	"the store has no catalog, and machines get nothing that no catalog names",
	"slipcast catalog init makes one, and slipcast catalog release --image NAME signs that they may have an image",
}

// releasedIn tells why machines may not have an image of the store in dir, or
// bundles, as of the newest list, whether or not the online key has signed it.
func releasedIn(ctx context.Context, dir string, im fleet.Image, apply []string) error {
	repository, err := trust.OpenRepository(filepath.Join(dir, catalogFolder))
	if errors.Is(err, trust.ErrNotCatalog) {
		return errNoCatalog
	}
	if err != nil {
		return err
	}
	catalog, err := repository.Catalog(ctx)
	if err != nil {
		return fmt.Errorf("the catalog in %s: %w", repository.Dir(), err)
	}
	return allowed(catalog, im, apply)
}

// allowed tells why a catalog does not let machines have an image, or bundles.
func allowed(c *trust.Catalog, im fleet.Image, apply []string) error {
	if err := allowedImage(c, im); err != nil {
		return err
	}
	for _, name := range apply {
		if name != wire.ApplyAll && !hasBundle(c, name) {
			return &notReleased{
				fmt.Sprintf("the catalog has no bundle %s that is not recalled", name), "slipcast catalog release takes bundles into the catalog",
			}
		}
	}
	return nil
}

// allowedImage tells why a catalog does not let machines have an image.
func allowedImage(c *trust.Catalog, im fleet.Image) error {
	if same, err := c.Image(im.Digest); err == nil && same.Recalled != "" {
		return &notReleased{fmt.Sprintf("the image %s was recalled: %s", same.ID(), same.Recalled), "release another version of it"}
	}
	for i := range c.Images {
		if target := &c.Images[i]; target.ID() == im.Ref {
			if target.Digest == im.Digest {
				return nil
			}
			return &notReleased{
				fmt.Sprintf("the image %s is not the one that was released: its digest is %s, that of the other %s", im.Ref, im.Digest, target.Digest),
				"slipcast store verify tells whether it is damaged; what was released does not change",
			}
		}
	}
	return &notReleased{
		fmt.Sprintf("the image %s is not released", im.Ref), fmt.Sprintf("slipcast catalog release --image %s signs that machines may have it", im.Ref),
	}
}

// hasBundle tells whether a catalog has what the name of a bundle, a version or
// a product means.
func hasBundle(c *trust.Catalog, name string) bool {
	for i := range c.Bundles {
		b := &c.Bundles[i]
		product := b.Header.Product()
		if b.Recalled == "" && (name == b.ID() || name == product || name == product+"@"+b.Header.Version) {
			return true
		}
	}
	return false
}
