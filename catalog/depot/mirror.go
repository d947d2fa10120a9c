package depot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"slipcast/catalog/trust"
	"slipcast/image"
	"slipcast/image/store"
)

// A Payload says what is brought beside the metadata.
type Payload int

// Payloads.
const (
	All      Payload = iota // bundles and images
	Critical                // bundles of the severity critical
	None                    // nothing
)

// payloads returns what payloads are called, in their order.
func payloads() []string { return []string{"all", "critical", "none"} }

// String returns p as ParsePayload reads it.
func (p Payload) String() string { return payloads()[p] }

// ParsePayload reads all, critical or none.
func ParsePayload(text string) (Payload, error) {
	for p, name := range payloads() {
		if text == name {
			return Payload(p), nil
		}
	}
	return 0, fmt.Errorf("%.20q: want all, critical or none", text)
}

// MirrorOptions are for [Mirror].
type MirrorOptions struct {
	URL    *url.URL     // of the folder of the store on the origin
	Client *http.Client // nil is that of net/http; redirects are not followed, whatever it says

	// Hopeless tells whether an error of Client is one that another try would not
	// change. It may be nil: then those of certificates are.
	Hopeless func(error) bool

	Root    []byte  // a root that is trusted; may be nil if the store has a catalog
	Payload Payload // what is fetched beside the metadata
	Rate    int64   // bytes in a second, in all; 0 is as fast as it goes

	// Begin is told how many bytes are to come, as soon as that is known; Progress how
	// many came since the last call, less than none if some have to come once more.
	// Progress may be called from several goroutines. Both may be nil.
	Begin    func(total int64)
	Progress func(bytes int64)
}

// A Mirrored tells what a Mirror did.
type Mirrored struct {
	Catalog *trust.Catalog // what the store has now
	Bundles int            // that came
	Images  int            // that came
	Frames  int            // that came
	Bytes   int64          // that came, also those that came in vain
}

// Mirror makes the store s have what the catalog at opt.URL names: section 12.2 of
// docs/bundles.md. What is recalled is not fetched. On an error the store has the
// catalog that it had before, and everything that came and is whole; the next Mirror
// goes on there.
//
// An error wraps [ErrLost], [ErrDenied], [ErrWrong], [ErrNoRoot], [ErrOtherRoot],
// [store.ErrInUse] while another mirror is at work, [store.ErrExists] if the
// store has another image under a name of the catalog, or an error of [trust.Load].
//
// At most 8 frames are in memory, and those that are unpacked for each processor; of one
// image what image.Open takes, and 40 bytes for each frame that is to come.
func Mirror(ctx context.Context, s *store.Store, opt MirrorOptions) (*Mirrored, error) {
	y, err := openYard(s)
	if err != nil {
		return nil, err
	}
	defer y.Close()
	m := &mirror{yard: y, opt: &opt, origin: newOrigin(&opt)}
	if m.edition, err = y.load(ctx, originSource{m.origin}, loadOptions{root: opt.Root}); err != nil {
		return nil, fmt.Errorf("the catalog at %v: %w", opt.URL.Redacted(), err)
	}
	if err := m.run(ctx); err != nil {
		return nil, err
	}
	if err := y.publish(ctx, m.edition); err != nil {
		return nil, err
	}
	m.done.Catalog, m.done.Frames, m.done.Bytes = m.edition.Catalog, int(m.frames.Load()), m.bytes.Load()
	return &m.done, nil
}

// An originSource is the metadata of an origin.
type originSource struct{ o *origin }

// Metadata implements trust.Source.
func (s originSource) Metadata(ctx context.Context, name string, most int64) ([]byte, error) {
	var to memorySink
	err := s.o.fetch(ctx, wanted{path: metadataPath(name), size: -1, most: most, fresh: name == timestampFile}, &to)
	if errors.Is(err, ErrWrong) {
		err = fmt.Errorf("%w: %w", trust.ErrMalformed, err)
	}
	return to.p, err
}

// A mirror is one Mirror under way.
type mirror struct {
	*yard
	opt     *MirrorOptions
	origin  *origin
	edition *edition
	done    Mirrored
	frames  atomic.Int64
	bytes   atomic.Int64
	toCome  int64 // bytes of frames

	mu     sync.Mutex
	faults []error // of single bundles and images
}

// run brings everything but the metadata. What is wrong with one bundle or image
// does not keep the others from coming.
func (m *mirror) run(ctx context.Context) error {
	bundles := m.wantedBundles()
	images, err := m.versionFiles(ctx)
	if err != nil {
		return err
	}
	if opt := m.opt; opt.Begin != nil {
		opt.Begin(m.toCome + m.bytesOf(bundles))
	}
	if err := m.fetchBundles(ctx, bundles); err != nil {
		return err
	}
	for _, i := range images {
		err := m.fetchImage(ctx, i.target)
		if err == nil {
			m.done.Images++
		}
		if err := m.sort(i.target.ID(), err); err != nil {
			return err
		}
	}
	return errors.Join(m.faults...)
}

// sort keeps an error that concerns one thing alone, and returns any other.
func (m *mirror) sort(id string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", id, err)
	if isWrong(err) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrExists) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.faults = append(m.faults, err)
		return nil
	}
	return err
}

// came counts bytes.
func (m *mirror) came(n int64) {
	if n > 0 {
		m.bytes.Add(n)
	}
	if m.opt.Progress != nil {
		m.opt.Progress(n)
	}
}

// wantedBundles returns the bundles that the store lacks, the severest first.
func (m *mirror) wantedBundles() []*trust.BundleTarget {
	var list []*trust.BundleTarget
	for i := range m.edition.Bundles {
		b := &m.edition.Bundles[i]
		if m.opt.Payload.wants(b) && !m.hasBundle(b) {
			list = append(list, b)
		}
	}
	slices.SortStableFunc(list, func(a, b *trust.BundleTarget) int { return cmp.Compare(severest(b), severest(a)) })
	return list
}

// wants tells whether a bundle is brought.
func (p Payload) wants(b *trust.BundleTarget) bool {
	return b.Recalled == "" && (p == All || p == Critical && severest(b) == 4)
}

// An expected is an image that the store lacks, whose version file has come.
type expected struct {
	target *trust.ImageTarget
	order  uint64 // in the store that it comes from
	added  int64  // seconds since 1970, there
}

// versionFiles fetches the version files of the images that the store lacks, and
// returns these images, the oldest first. It counts what is to come of them.
func (m *mirror) versionFiles(ctx context.Context) ([]expected, error) {
	if m.opt.Payload != All {
		return nil, nil
	}
	var list []expected
	missing := map[image.Digest]struct{}{}
	for i := range m.edition.Images {
		target := &m.edition.Images[i]
		if m.edition.ImageRecalled(target.Digest) {
			continue
		}
		has, err := m.hasImage(target)
		if has && err == nil {
			if err := m.clearAdded(target); err != nil {
				return nil, err
			}
			continue
		}
		var a *arriving
		if err == nil {
			a, err = m.versionFile(ctx, target)
		}
		if err := m.sort(target.ID(), err); err != nil {
			return nil, err
		}
		if a != nil {
			list = append(list, expected{target, a.order, a.added})
			m.toCome += m.missing(a, missing)
		}
	}
	slices.SortStableFunc(list, byAge)
	return list, nil
}

// byAge orders images so that those of one name come as they came to the store
// that they are from.
func byAge(a, b expected) int {
	if a.target.Name == b.target.Name {
		return cmp.Compare(a.order, b.order)
	}
	return cmp.Or(cmp.Compare(a.added, b.added), cmp.Compare(a.target.Name, b.target.Name))
}

// versionFile fetches the version file of an image, unless it waits here already.
func (m *mirror) versionFile(ctx context.Context, i *trust.ImageTarget) (*arriving, error) {
	if a, err := m.arrive(i); err == nil {
		return a, nil
	}
	path := imagePath(refOf(i))
	to, err := openSink(m.waiting(path)+partialEnding, nil)
	if err != nil {
		return nil, err
	}
	err = to.Reset() // it is not known how long it is to be
	if err == nil {
		err = m.origin.fetch(ctx, wanted{path: path, size: -1, most: maxVersionFile(i)}, to)
	}
	m.bytes.Add(to.Len())
	if err := errors.Join(err, to.close(m.waiting(path))); err != nil {
		return nil, err
	}
	return m.arrive(i)
}

// missing returns the bytes of the frames of an image that are to come, and not
// known to be: each once.
func (m *mirror) missing(a *arriving, known map[image.Digest]struct{}) (bytes int64) {
	for f := range a.Frames() {
		if f.Hole {
			continue
		}
		d := a.ChunkDigest(f.Chunk)
		if _, again := known[d]; !again && !m.hasFrame(a, f) {
			known[d] = struct{}{}
			bytes += a.FrameSize(f)
		}
	}
	return bytes
}

// bytesOf returns the bytes of bundles that are to come.
func (m *mirror) bytesOf(bundles []*trust.BundleTarget) (bytes int64) {
	for _, b := range bundles {
		bytes += b.File.Size - max(sizeOf(m.waiting(bundlePath(b.File))+partialEnding), 0)
	}
	return bytes
}

// fetchBundles fetches bundles, several at a time.
func (m *mirror) fetchBundles(ctx context.Context, list []*trust.BundleTarget) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(requests)
	var came atomic.Int64
	for _, b := range list {
		g.Go(func() error {
			err := m.fetchBundle(ctx, b)
			if err == nil {
				came.Add(1)
			}
			return m.sort(b.ID(), err)
		})
	}
	err := g.Wait()
	m.done.Bundles = int(came.Load())
	return err
}

// fetchBundle fetches the file of a bundle, and goes on where one was cut off. If
// the whole is wrong then, the beginning may be: it is fetched once more.
func (m *mirror) fetchBundle(ctx context.Context, b *trust.BundleTarget) error {
	path := bundlePath(b.File)
	for {
		to, err := openSink(m.waiting(path)+partialEnding, m.came)
		if err != nil {
			return err
		}
		if to.Len() > b.File.Size {
			err = to.Reset()
		}
		had := to.Len()
		if err == nil && had < b.File.Size {
			err = m.origin.fetch(ctx, wanted{path: path, size: b.File.Size}, to)
		}
		if err := errors.Join(err, to.close("")); err != nil {
			return err
		}
		err = m.takeBundle(ctx, b, m.waiting(path)+partialEnding)
		if !isWrong(err) || had == 0 {
			return err
		}
		m.opt.lost(had)
	}
}

// lost tells that bytes that came before have to come once more.
func (opt *MirrorOptions) lost(n int64) {
	if opt.Progress != nil {
		opt.Progress(-n)
	}
}
