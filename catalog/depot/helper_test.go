package depot

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
	"slipcast/catalog/trust"
	"slipcast/image"
	"slipcast/image/store"
)

const kiB = 1 << 10

// A shop is a store with a catalog and all its keys.
type shop struct {
	t       testing.TB
	store   *store.Store
	repo    *trust.Repository
	release *trust.SecretKey
	online  *trust.SecretKey
	root    []byte // version 1
}

// newShop makes a store with an empty catalog.
func newShop(t testing.TB) *shop {
	t.Helper()
	s := &shop{t: t, store: newStore(t), release: newKey(t), online: newKey(t)}
	var err error
	s.repo, err = trust.Init(t.Context(), filepath.Join(s.store.Dir(), "catalog"), trust.InitOptions{
		Release: []trust.PublicKey{s.release.Public()}, Keys: []*trust.SecretKey{s.release}, Online: s.online,
	})
	if err != nil {
		t.Fatal(err)
	}
	root, err := s.repo.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.root = root.Encode()
	return s
}

// stocked returns a shop with three bundles and three images, of which two have
// something in common.
func stocked(t testing.TB) *shop {
	t.Helper()
	s := newShop(t)
	s.bundles("reader@1.0-1 low 3000", "reader@2.0-1 critical 400000", "tool@1-1 important 90000")
	s.image("room@1", 1, 2, 3, 4, 5)
	s.image("room@2", 1, 2, 3, 6, 7, -1, 0, 8)
	s.image("lab@1", 11, 12)
	return s
}

func newStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Init(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newKey(t testing.TB) *trust.SecretKey {
	t.Helper()
	k, err := trust.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (s *shop) dir() string { return s.store.Dir() }

// publish releases.
func (s *shop) publish(opt trust.ReleaseOptions) {
	s.t.Helper()
	opt.Keys, opt.Online = []*trust.SecretKey{s.release}, s.online
	if _, err := s.repo.Release(s.t.Context(), opt); err != nil {
		s.t.Fatal(err)
	}
}

// bundles releases bundles: NAME@VERSION-1, severity, and how many bytes that do not
// compress each has.
func (s *shop) bundles(list ...string) {
	s.t.Helper()
	var opt trust.ReleaseOptions
	for _, text := range list {
		var id, severity string
		var size int
		if _, err := fmt.Sscan(text, &id, &severity, &size); err != nil {
			s.t.Fatal(err)
		}
		opt.Bundles = append(opt.Bundles, newBundle(s.t, id, severity, size))
	}
	s.publish(opt)
}

// newBundle builds a bundle and returns its path.
func newBundle(t testing.TB, id, severity string, size int) string {
	t.Helper()
	b, err := bundle.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "files", "opt"), 0o777); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("schema: 1\nname: %s\nversion: %q\nscheme: dotted\nseverity: %s\npayload:\n  - overlay: {from: files, to: /}\n", b.Name, b.Version, severity)
	write(t, filepath.Join(dir, "bundle.yaml"), []byte(text))
	write(t, filepath.Join(dir, "files", "opt", b.Name), noise(uint64(size), size))
	var file bytes.Buffer
	if _, err := bundle.Build(t.Context(), dir, &file, bundle.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), b.FileName())
	write(t, path, file.Bytes())
	return path
}

// noise returns bytes that do not compress.
func noise(seed uint64, size int) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, (size+7)/8*8)
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], rng.Uint64())
	}
	return p[:size]
}

func write(t testing.TB, path string, p []byte) {
	t.Helper()
	if err := os.WriteFile(path, p, 0o666); err != nil {
		t.Fatal(err)
	}
}

// image adds an image of a disk of chunks of 256 KiB to the store, and releases it.
// Chunks with equal numbers are equal; 0 is zeros, and below 0 not in use.
func (s *shop) image(id string, numbers ...int) {
	s.t.Helper()
	s.publish(trust.ReleaseOptions{Images: []trust.ImageTarget{s.add(id, numbers...)}})
}

// add adds an image and releases nothing.
func (s *shop) add(id string, numbers ...int) trust.ImageTarget {
	s.t.Helper()
	r, err := store.ParseRef(id)
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := s.store.Add(s.t.Context(), capture(s.t, numbers...), r.Name, store.AddOptions{Version: r.Version})
	if err != nil {
		s.t.Fatal(err)
	}
	return trust.ImageTarget{Name: r.Name, Version: r.Version, Digest: a.Digest.String(), Size: a.DiskSize}
}

// capture returns an image of a disk of such chunks.
func capture(t testing.TB, numbers ...int) *image.Image {
	t.Helper()
	var disk []byte
	l := &image.Layout{LogicalSector: 512, PhysicalSector: 512}
	for i, n := range numbers {
		chunk := make([]byte, 256*kiB)
		if n > 0 {
			copy(chunk, noise(uint64(n), 64*kiB))
		}
		disk = append(disk, chunk...)
		at := int64(i) * 256 * kiB
		if k := len(l.Used); n >= 0 && k > 0 && l.Used[k-1].End() == at {
			l.Used[k-1].Length += 256 * kiB
		} else if n >= 0 {
			var f image.Frame
			f.Start, f.Length = at, 256*kiB
			l.Used = append(l.Used, f.Extent)
		}
	}
	l.Size = int64(len(disk))
	l.Volumes = []image.Volume{{Size: l.Size, Span: l.Size, Whole: l.Used.Size() == l.Size}}
	var b bytes.Buffer
	if _, _, err := image.Capture(context.Background(), &b, bytes.NewReader(disk), l, image.CaptureOptions{ChunkSize: 256 * kiB}); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// catalog returns the catalog that a store has, from the root that it trusts.
func catalogOf(t testing.TB, s *store.Store, root []byte) *trust.Catalog {
	t.Helper()
	c, err := trust.Load(t.Context(), trust.DirSource(os.DirFS(filepath.Join(s.Dir(), "catalog"))), trust.LoadOptions{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantSame fails unless a store has the catalog of the shop, and everything that
// it names and that is not recalled, every byte of it; and nothing waits.
func (s *shop) wantSame(have *store.Store) {
	s.t.Helper()
	want, got := catalogOf(s.t, s.store, s.root), catalogOf(s.t, have, s.root)
	if got.Versions != want.Versions {
		s.t.Errorf("versions %+v, want %+v", got.Versions, want.Versions)
	}
	for _, b := range want.Bundles {
		if b.Recalled != "" {
			continue
		}
		p, err := os.ReadFile(filepath.Join(have.Dir(), filepath.FromSlash(bundlePath(b.File))))
		if err == nil {
			err = b.File.Verify(s.t.Context(), bytes.NewReader(p))
		}
		if err != nil {
			s.t.Errorf("%s: %v", b.ID(), err)
		}
	}
	for _, i := range want.Images {
		if i.Recalled != "" {
			continue
		}
		im, err := have.OpenImage(refOf(&i))
		if err != nil {
			s.t.Errorf("%s: %v", i.ID(), err)
			continue
		}
		if im.Image.Digest.String() != i.Digest {
			s.t.Errorf("%s has the digest %v, want %s", i.ID(), im.Image.Digest, i.Digest)
		}
		im.Close()
	}
	wantGood(s.t, have)
	for _, name := range waitingIn(s.t, have) {
		s.t.Errorf("still waits: %s", name)
	}
}

// wantGood fails if anything in a store is damaged.
func wantGood(t testing.TB, s *store.Store) {
	t.Helper()
	if _, err := s.Verify(t.Context(), store.VerifyOptions{Found: func(f store.Fault) { t.Errorf("damaged: %v", f) }}); err != nil {
		t.Error(err)
	}
}

// waitingIn returns what lies aside in a store.
func waitingIn(t testing.TB, s *store.Store) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.Dir(), "mirror"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "lock" {
			names = append(names, strings.TrimPrefix(path, s.Dir()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// An inn is a web server in memory: its connections cost no time.
type inn struct {
	url    *url.URL
	client *http.Client
}

// serve shows what h has at a URL. It ends with the test.
func serve(t testing.TB, h http.Handler) inn {
	t.Helper()
	l := &memoryListener{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: h}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(l) }() // ends with Close
	transport := &http.Transport{DialContext: l.dial, MaxConnsPerHost: requests, DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		<-ended
	})
	return inn{&url.URL{Scheme: "http", Host: "origin", Path: "/"}, &http.Client{Transport: transport}}
}

// A memoryListener hands out the ends of pipes.
type memoryListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *memoryListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *memoryListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

// Addr implements net.Listener.
func (l *memoryListener) Addr() net.Addr { return &net.UnixAddr{Name: "origin"} }

// mirrorOf returns options for a mirror of h from a root.
func mirrorOf(t testing.TB, h http.Handler, root []byte) MirrorOptions {
	in := serve(t, h)
	return MirrorOptions{URL: in.url, Client: in.client, Root: root}
}

// get asks a handler for a path.
func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
