package main

import (
	"context"
	"fmt"

	"slipcast/agent/wire"
	"slipcast/catalog/plan"
	"slipcast/catalog/trust"
	"slipcast/fleet"
	"slipcast/internal/progress"
)

// mostAnnexed is how much comes behind an image at most, in bytes. No machine
// keeps more than half of its memory.
const mostAnnexed = 4 << 30

// annex opens the files of bundles that the machines of a batch may want behind
// their image, docs/bundles.md, section 12.4; nil without an error is none.
func (c *serveCatalog) annex(ctx context.Context, cargo fleet.Cargo) (*imageAnnex, error) {
	catalog, err := c.current(ctx)
	if err != nil {
		return nil, err
	}
	list, err := guessed(catalog, cargo)
	if err != nil {
		return nil, err
	}
	most := int64(mostAnnexed)
	if cargo.Memory > 0 {
		most = min(most, cargo.Memory/2)
	}
	files := c.fitting(list, most)
	repository, err := c.repository()
	if err != nil {
		return nil, err
	}
	return openAnnex(files, repository.BundlePath, c.log)
}

// guessed returns the bundles that machines may want which get the cargo. What a
// machine wants depends on what is on it, which nobody knows yet: its agent
// fetches what this leaves out.
func guessed(c *trust.Catalog, cargo fleet.Cargo) ([]*trust.BundleTarget, error) {
	plans, err := plan.Compile(planBundles(c))
	if err != nil {
		return nil, err
	}
	names := cargo.Apply
	if names[0] == wire.ApplyAll {
		names = nil
	}
	var list []*trust.BundleTarget
	for _, b := range plans.Guess(names, bakedIn(c, cargo.Image.Digest)) {
		target, err := c.Bundle(b.ID())
		if err != nil {
			return nil, err
		}
		list = append(list, target)
	}
	return list, nil
}

// bakedIn returns the IDs of the bundles that are in the image with this digest,
// and in those that it was baked from.
func bakedIn(c *trust.Catalog, digest string) map[string]bool {
	baked := map[string]bool{}
	for range c.Images {
		im, err := c.Image(digest)
		if err != nil {
			break // it was not released, or not baked
		}
		for _, id := range im.Bundles {
			baked[id] = true
		}
		digest = im.Parent
	}
	return baked
}

// fitting returns the files of the first bundles that fit into most bytes and
// into a list, and logs which do not.
func (c *serveCatalog) fitting(list []*trust.BundleTarget, most int64) (files []trust.File) {
	seen := map[string]bool{}
	for _, b := range list {
		switch {
		case seen[b.File.SHA256]:
		case b.File.Size > most || len(files) == maxListed:
			c.log.Info("a bundle does not come with the image, but by HTTPS", "bundle", b.ID(), "size", progress.Bytes(b.File.Size),
				"why", fmt.Sprintf("there is room for %s in %s more", progress.Bytes(most), count(maxListed-len(files), "file")))
		default:
			seen[b.File.SHA256] = true
			files, most = append(files, b.File), most-b.File.Size
		}
	}
	return files
}
