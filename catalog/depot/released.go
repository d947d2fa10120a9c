package depot

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"slipcast/catalog/trust"
	"slipcast/image"
	"slipcast/image/store"
)

// A released knows which images of a store the catalog names, and their frames. It
// follows what others do to the store.
type released struct {
	dir string

	mu     sync.Mutex
	at     time.Time // when the folder of the metadata was changed last, as of looked
	looked time.Time
	images map[store.Ref]*indexed
}

// An indexed is an image that may be shown.
type indexed struct {
	target    trust.ImageTarget
	looked    time.Time // when it was not there, last
	chunkSize int64     // 0 until its version file is read
	prefixes  []uint64  // of the digests of its chunks, in order
}

// uncertain is how old a change must be for its time to tell it from the next one.
const uncertain = 3 * time.Second

// image tells whether the version file of an image may be shown.
func (r *released) image(ctx context.Context, ref store.Ref) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh(ctx)
	i, ok := r.images[ref]
	return ok && r.index(ref, i)
}

// frame tells whether the frame of a chunk is one of an image that may be shown.
func (r *released) frame(ctx context.Context, d image.Digest, chunkSize int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh(ctx)
	want := prefix(d)
	for ref, i := range r.images {
		if !r.index(ref, i) || i.chunkSize != chunkSize {
			continue
		}
		if _, found := slices.BinarySearch(i.prefixes, want); found {
			return true
		}
	}
	return false
}

// prefix returns the beginning of a digest. That a frame which nobody may see has the
// beginning of one that may be seen, is as likely as to guess 64 bits.
func prefix(d image.Digest) uint64 { return binary.BigEndian.Uint64(d[:]) }

// refresh reads the catalog again if it has changed, or may have: then at most once
// a second. Without a catalog nothing is shown.
func (r *released) refresh(ctx context.Context) {
	info, err := os.Stat(filepath.Join(r.dir, filepath.FromSlash(metadataFolder)))
	if err != nil {
		r.images, r.at = nil, time.Time{}
		return
	}
	at, now := info.ModTime(), time.Now()
	certain := r.looked.Sub(r.at) > uncertain || now.Sub(r.looked) < time.Second
	if at.Equal(r.at) && certain {
		return
	}
	images := map[store.Ref]*indexed{}
	if repository, err := trust.OpenRepository(filepath.Join(r.dir, catalogFolder)); err == nil {
		if c, err := repository.Catalog(ctx); err == nil {
			r.collect(c, images)
		} else if ctx.Err() != nil {
			return // whoever asked went away
		}
	}
	r.images, r.at, r.looked = images, at, now
}

// collect takes over the images of a catalog that are not recalled. One is recalled
// by its digest: of several with one digest, one that is recalled speaks for all.
func (r *released) collect(c *trust.Catalog, images map[store.Ref]*indexed) {
	for _, target := range c.Images {
		if c.ImageRecalled(target.Digest) {
			continue
		}
		ref := refOf(&target)
		if i, ok := r.images[ref]; ok && i.target.Digest == target.Digest {
			images[ref] = i
			continue
		}
		images[ref] = &indexed{target: target}
	}
}

// index reads the version file of an image, if that was not done. It may not be there
// yet, or not be the one of the catalog: then it is looked for once a second at
// most.
func (r *released) index(ref store.Ref, i *indexed) bool {
	if i.chunkSize != 0 {
		return true
	}
	now := time.Now()
	if now.Sub(i.looked) < time.Second {
		return false
	}
	i.looked = now
	p, err := readBounded(filepath.Join(r.dir, filepath.FromSlash(imagePath(ref))), maxVersionFile(&i.target))
	if err != nil {
		return false
	}
	a, err := decodeArriving(&i.target, p)
	if err != nil {
		return false
	}
	i.prefixes = make([]uint64, a.ChunkCount())
	for n := range i.prefixes {
		i.prefixes[n] = prefix(a.ChunkDigest(n))
	}
	slices.Sort(i.prefixes)
	i.prefixes, i.chunkSize = slices.Clip(slices.Compact(i.prefixes)), a.ChunkSize
	return true
}
