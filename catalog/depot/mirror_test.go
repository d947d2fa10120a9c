package depot

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slipcast/catalog/trust"
	"slipcast/image"
	"slipcast/image/store"
)

// TestMirror shows that a mirror gets what a catalog names, then only what is new,
// and in the end nothing.
func TestMirror(t *testing.T) {
	s, have := stocked(t), newStore(t)
	opt := mirrorOf(t, Handler(s.dir()), s.root)
	var total, came int64
	var mu sync.Mutex
	opt.Begin = func(n int64) { total = n }
	opt.Progress = func(n int64) { mu.Lock(); came += n; mu.Unlock() }
	done, err := Mirror(t.Context(), have, opt)
	if err != nil {
		t.Fatal(err)
	}
	if done.Bundles != 3 || done.Images != 3 || done.Frames != 11 || total == 0 || total != came {
		t.Errorf("Mirror = %+v, %d of %d bytes, want 3 bundles, 3 images, 11 frames and all bytes", done, came, total)
	}
	s.wantSame(have)

	s.image("room@3", 1, 2, 3, 9)
	opt.Root = nil // it has one now
	if done, err = Mirror(t.Context(), have, opt); err != nil || done.Bundles != 0 || done.Images != 1 || done.Frames != 1 {
		t.Errorf("the second Mirror = %+v, %v, want 1 image and 1 frame", done, err)
	}
	s.wantSame(have)
	if done, err = Mirror(t.Context(), have, opt); err != nil || done.Images+done.Bundles+done.Frames != 0 {
		t.Errorf("the third Mirror = %+v, %v, want nothing", done, err)
	}
	var order []string
	list, err := have.List()
	for _, e := range list {
		order = append(order, e.Ref.String())
	}
	if got, want := strings.Join(order, " "), "lab@1 room@1 room@2 room@3"; err != nil || got != want {
		t.Errorf("the mirror lists %q, %v, want %q", got, err, want)
	}
}

// TestMirrorMirrored shows that a mirror is an origin, and a plain web server, too.
func TestMirrorMirrored(t *testing.T) {
	s, first, second := stocked(t), newStore(t), newStore(t)
	if _, err := Mirror(t.Context(), first, mirrorOf(t, http.FileServer(http.Dir(s.dir())), s.root)); err != nil {
		t.Fatal(err)
	}
	if _, err := Mirror(t.Context(), second, mirrorOf(t, Handler(first.Dir()), s.root)); err != nil {
		t.Fatal(err)
	}
	s.wantSame(second)
}

// TestMirrorPayload shows what comes when less is asked for, and that the rest
// comes later.
func TestMirrorPayload(t *testing.T) {
	s, have := stocked(t), newStore(t)
	opt := mirrorOf(t, Handler(s.dir()), s.root)
	opt.Payload = None
	if done, err := Mirror(t.Context(), have, opt); err != nil || done.Bundles+done.Images != 0 {
		t.Errorf("with none, Mirror = %+v, %v", done, err)
	}
	if c := catalogOf(t, have, s.root); len(c.Bundles) != 3 {
		t.Errorf("the list has %d bundles, want 3", len(c.Bundles))
	}
	opt.Payload = Critical
	if done, err := Mirror(t.Context(), have, opt); err != nil || done.Bundles != 1 || done.Images != 0 {
		t.Errorf("with critical, Mirror = %+v, %v, want 1 bundle", done, err)
	}
	opt.Payload = All
	if _, err := Mirror(t.Context(), have, opt); err != nil {
		t.Fatal(err)
	}
	s.wantSame(have)
}

// TestMirrorRecalled shows that what is recalled is not fetched, and that nobody
// else is kept from coming.
func TestMirrorRecalled(t *testing.T) {
	s, have := stocked(t), newStore(t)
	s.publish(trust.ReleaseOptions{Recall: map[string]string{"room@1": "no", "tool@1-1": "no"}})
	done, err := Mirror(t.Context(), have, mirrorOf(t, Handler(s.dir()), s.root))
	if err != nil || done.Bundles != 2 || done.Images != 2 {
		t.Errorf("Mirror = %+v, %v, want 2 bundles and 2 images", done, err)
	}
	s.wantSame(have)
}

// TestMirrorTrust shows what a mirror does not take for a catalog.
func TestMirrorTrust(t *testing.T) {
	s, other := stocked(t), newShop(t)
	h := Handler(s.dir())
	if _, err := Mirror(t.Context(), newStore(t), mirrorOf(t, h, nil)); !errors.Is(err, ErrNoRoot) {
		t.Errorf("without a root: %v, want ErrNoRoot", err)
	}
	if _, err := Mirror(t.Context(), newStore(t), mirrorOf(t, h, other.root)); !errors.Is(err, trust.ErrSignature) && !errors.Is(err, ErrOtherRoot) {
		t.Errorf("with another's root: %v, want ErrSignature", err)
	}
	have := newStore(t)
	if _, err := Mirror(t.Context(), have, mirrorOf(t, h, s.root)); err != nil {
		t.Fatal(err)
	}
	if _, err := Mirror(t.Context(), have, mirrorOf(t, Handler(other.dir()), nil)); !errors.Is(err, trust.ErrSignature) {
		t.Errorf("another catalog: %v, want ErrSignature", err)
	}
	if _, err := Mirror(t.Context(), have, mirrorOf(t, h, other.root)); !errors.Is(err, ErrOtherRoot) {
		t.Errorf("another root than the store's: %v, want ErrOtherRoot", err)
	}
	s.wantSame(have)
}

// TestMirrorRollback shows that an origin with an older catalog changes nothing.
func TestMirrorRollback(t *testing.T) {
	s, have, old := stocked(t), newStore(t), t.TempDir()
	if err := os.CopyFS(old, os.DirFS(s.dir())); err != nil {
		t.Fatal(err)
	}
	s.image("room@3", 20)
	if _, err := Mirror(t.Context(), have, mirrorOf(t, Handler(s.dir()), s.root)); err != nil {
		t.Fatal(err)
	}
	if _, err := Mirror(t.Context(), have, mirrorOf(t, Handler(old), nil)); !errors.Is(err, trust.ErrRollback) {
		t.Errorf("an older catalog: %v, want ErrRollback", err)
	}
	s.wantSame(have)
}

// TestMirrorRotated shows that a mirror follows the roots, also several at once, and
// starts from a later one.
func TestMirrorRotated(t *testing.T) {
	s, have, late := stocked(t), newStore(t), newStore(t)
	if _, err := Mirror(t.Context(), have, mirrorOf(t, Handler(s.dir()), s.root)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		next := newKey(t)
		_, err := s.repo.Rotate(t.Context(), trust.RotateOptions{
			Add: []trust.PublicKey{next.Public()}, Remove: []trust.PublicKey{s.release.Public()},
			Keys: []*trust.SecretKey{s.release, next}, Online: s.online,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.release = next
	}
	s.image("room@3", 20)
	root, err := s.repo.Root(t.Context())
	if err != nil || root.Version() != 3 {
		t.Fatalf("root %v, %v, want version 3", root, err)
	}
	for _, m := range []struct {
		to   *store.Store
		root []byte
	}{{have, nil}, {late, root.Encode()}} {
		if _, err := Mirror(t.Context(), m.to, mirrorOf(t, Handler(s.dir()), m.root)); err != nil {
			t.Fatal(err)
		}
		s.wantSame(m.to)
	}
}

// A thief of the online key has shown a mirror the last number there is. When the key
// was replaced, the mirror recovers, also if it is told to trust the new root; but not
// from a catalog that lacks that root.
func TestMirrorFastForward(t *testing.T) {
	s, have, thief := stocked(t), newStore(t), t.TempDir()
	if err := os.CopyFS(thief, os.DirFS(s.dir())); err != nil {
		t.Fatal(err)
	}
	forward(t, filepath.Join(thief, filepath.FromSlash(metadataPath(timestampFile))), s.online)
	if _, err := Mirror(t.Context(), have, mirrorOf(t, Handler(thief), s.root)); err != nil {
		t.Fatal(err)
	}
	if _, err := Mirror(t.Context(), have, mirrorOf(t, Handler(s.dir()), nil)); !errors.Is(err, trust.ErrRollback) {
		t.Errorf("before the rotation: %v, want ErrRollback", err)
	}
	old := s.online
	s.online = newKey(t)
	if _, err := s.repo.Rotate(t.Context(), trust.RotateOptions{Keys: []*trust.SecretKey{s.release}, NewOnline: s.online, Online: old}); err != nil {
		t.Fatal(err)
	}
	root, err := s.repo.Root(t.Context())
	if err != nil || root.Version() != 2 {
		t.Fatalf("root %v, %v, want version 2", root, err)
	}
	if _, err := Mirror(t.Context(), have, mirrorOf(t, Handler(thief), root.Encode())); !errors.Is(err, ErrOtherRoot) {
		t.Errorf("the thief's catalog, and the new root is to be trusted: %v, want ErrOtherRoot", err)
	}
	_, _, paths := s.export(ExportOptions{})
	for name, take := range map[string]func(to *store.Store) error{
		"mirror": func(to *store.Store) error {
			_, err := Mirror(t.Context(), to, mirrorOf(t, Handler(s.dir()), root.Encode()))
			return err
		},
		"import": func(to *store.Store) error {
			_, err := Import(t.Context(), to, paths, ImportOptions{Root: root.Encode()})
			return err
		},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(have.Dir())); err != nil {
			t.Fatal(err)
		}
		to, err := store.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := take(to); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s.wantSame(to)
	}
}

// forward gives a timestamp the last version there is.
func forward(t *testing.T, path string, online *trust.SecretKey) {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := online.Encode("")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(strings.TrimSpace(string(file)), "\n")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.PrivateKey(raw[62:126]) // minisign(1)
	_, signed, _ := strings.Cut(strings.TrimSuffix(string(p), "}"), `],"signed":`)
	i := strings.LastIndex(signed, `"version":`)
	signed = signed[:i] + `"version":2147483647}`
	write(t, path, fmt.Appendf(nil, `{"signatures":[{"keyid":"%s","sig":"%x"}],"signed":%s}`, online.Public().ID(), ed25519.Sign(key, []byte(signed)), signed))
}

// A mangler changes the answers of a handler.
type mangler struct {
	http.Handler
	mangle func(path string, p []byte) []byte
}

// ServeHTTP implements http.Handler.
func (m mangler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := get(m.Handler, r.URL.Path)
	p := answer.Body.Bytes()
	if answer.Code == http.StatusOK {
		p = m.mangle(strings.TrimPrefix(r.URL.Path, "/"), p)
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(p)
}

// TestMirrorFlipped flips a byte in each file of an origin, one after the other. None
// is ever accepted: the mirror says so and keeps the catalog that it had.
func TestMirrorFlipped(t *testing.T) {
	s := stocked(t)
	var asked []string
	var mu sync.Mutex
	note := mangler{Handler(s.dir()), func(path string, p []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, path)
		return p
	}}
	if _, err := Mirror(t.Context(), newStore(t), mirrorOf(t, note, s.root)); err != nil {
		t.Fatal(err)
	}
	if len(asked) < 3+3+3+11 {
		t.Fatalf("a mirror asks for %d files, want metadata, bundles, version files and frames", len(asked))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, victim := range asked {
		flip := mangler{Handler(s.dir()), func(path string, p []byte) []byte {
			if path == victim {
				p[rng.IntN(len(p))] ^= 1 << rng.IntN(8)
			}
			return p
		}}
		have := newStore(t)
		_, err := Mirror(t.Context(), have, mirrorOf(t, flip, s.root))
		if err == nil {
			t.Errorf("%s: a flipped bit was accepted", victim)
		}
		if _, err := os.Stat(filepath.Join(have.Dir(), "catalog", "metadata", "timestamp.json")); err == nil {
			t.Errorf("%s: there is a catalog", victim)
		}
		wantGood(t, have)
		if _, err := Mirror(t.Context(), have, mirrorOf(t, Handler(s.dir()), s.root)); err != nil {
			t.Errorf("%s: and then from a good origin: %v", victim, err)
		}
		s.wantSame(have)
	}
	t.Logf("%d files, none accepted with a flipped bit", len(asked))
}

// TestMirrorWrongOne shows that what is wrong with one image does not keep others
// from coming, but the catalog.
func TestMirrorWrongOne(t *testing.T) {
	s, have := stocked(t), newStore(t)
	bad := mangler{Handler(s.dir()), func(path string, p []byte) []byte {
		if strings.HasPrefix(path, "images/lab/") {
			p[len(p)-1]++
		}
		return p
	}}
	_, err := Mirror(t.Context(), have, mirrorOf(t, bad, s.root))
	if !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "lab@1") {
		t.Errorf("Mirror = %v, want ErrWrong and lab@1", err)
	}
	if _, err := have.Resolve(store.Ref{Name: "room", Version: "2"}); err != nil {
		t.Errorf("room@2: %v", err)
	}
}

// TestMirrorNameTaken shows that an image of the mirror's own is left alone.
func TestMirrorNameTaken(t *testing.T) {
	s, have := stocked(t), newStore(t)
	own := &shop{t: t, store: have}
	own.add("lab@1", 77)
	if _, err := Mirror(t.Context(), have, mirrorOf(t, Handler(s.dir()), s.root)); !errors.Is(err, store.ErrExists) {
		t.Errorf("Mirror = %v, want ErrExists", err)
	}
}

// A cutter breaks connections at random, and knows ranges or does not.
type cutter struct {
	http.Handler
	mu     sync.Mutex
	rng    *rand.Rand
	ranges bool
	most   int // bytes of a body before it breaks
}

// ServeHTTP implements http.Handler.
func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	cut, busy := c.rng.IntN(c.most), c.rng.IntN(8) == 0
	c.mu.Unlock()
	if busy {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !c.ranges {
		r.Header.Del("Range")
	}
	c.Handler.ServeHTTP(&cutWriter{w, cut}, r)
}

// A cutWriter breaks the connection after so many bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

// Write implements io.Writer.
func (w *cutWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:min(len(p), w.left)])
	if w.left -= n; w.left == 0 && err == nil {
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// TestMirrorCut shows that a mirror comes through connections that break, with
// ranges and without.
func TestMirrorCut(t *testing.T) {
	for name, c := range map[string]*cutter{
		"ranges": {ranges: true, most: 60 * kiB}, "no ranges": {most: 2000 * kiB},
	} {
		t.Run(name, func(t *testing.T) {
			s, have := stocked(t), newStore(t)
			c.Handler, c.rng = Handler(s.dir()), rand.New(rand.NewPCG(3, 4))
			synctest.Test(t, func(t *testing.T) {
				if _, err := Mirror(t.Context(), have, mirrorOf(t, c, s.root)); err != nil {
					t.Error(err)
				}
			})
			s.wantSame(have)
		})
	}
}

// TestMirrorResumed shows that a mirror that is called off goes on where it was: no
// byte that was whole comes twice.
func TestMirrorResumed(t *testing.T) {
	s, have := stocked(t), newStore(t)
	sent := map[string]int{}
	var mu sync.Mutex
	h := Handler(s.dir())
	for round := 0; ; round++ {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		opt := mirrorOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			if n++; n > 8 {
				cancel()
			}
			if strings.HasPrefix(r.URL.Path, "/frames/") {
				sent[r.URL.Path]++
			}
			mu.Unlock()
			h.ServeHTTP(w, r)
		}), s.root)
		_, err := Mirror(ctx, have, opt)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		wantGood(t, have)
		if round > 100 {
			t.Fatal("it never ends")
		}
	}
	s.wantSame(have)
	again := 0
	for _, n := range sent {
		again += n - 1
	}
	if len(sent) != 11 || again > 3*requests {
		t.Errorf("%d frames came, %d once more; want 11, and none that was whole", len(sent), again)
	}
}

// TestMirrorSilent shows how long an origin may be silent, in its different
// ways.
func TestMirrorSilent(t *testing.T) {
	s := stocked(t)
	block := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, h := range map[string]http.HandlerFunc{
		"no answer": block,
		"no body": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			block(w, r)
		},
		"broken": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) },
		"trickle": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte{'{'})
				w.(http.Flusher).Flush()
				select {
				case <-time.After(10 * time.Second):
				case <-r.Context().Done():
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			have := newStore(t)
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, err := Mirror(t.Context(), have, mirrorOf(t, h, s.root))
				if !errors.Is(err, ErrLost) {
					t.Errorf("Mirror = %v, want ErrLost", err)
				}
				if took := time.Since(began); took < time.Minute || took > 5*time.Minute {
					t.Errorf("it took %v, want about 2 minutes", took)
				}
			})
		})
	}
}

// TestMirrorRefused shows that some answers are final.
func TestMirrorRefused(t *testing.T) {
	s := stocked(t)
	for code, want := range map[int]string{
		http.StatusFound: "sends us on", http.StatusForbidden: ErrDenied.Error(), http.StatusNotFound: "the origin has none", http.StatusTeapot: "418",
	} {
		asked := 0
		_, err := Mirror(t.Context(), newStore(t), mirrorOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "root.json") {
				http.NotFound(w, r)
				return
			}
			asked++
			http.Redirect(w, r, "/elsewhere"+r.URL.Path, code)
		}), s.root))
		if err == nil || !strings.Contains(err.Error(), want) || asked != 1 {
			t.Errorf("%d: %v after %d requests, want %q after one", code, err, asked, want)
		}
	}
}

// TestMirrorRate shows that all requests together are as slow as they are to
// be.
func TestMirrorRate(t *testing.T) {
	s, have := stocked(t), newStore(t)
	synctest.Test(t, func(t *testing.T) {
		opt := mirrorOf(t, Handler(s.dir()), s.root)
		opt.Rate = 20 * kiB
		began := time.Now()
		done, err := Mirror(t.Context(), have, opt)
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began).Seconds()
		if rate := float64(done.Bytes) / took; rate > 1.1*20*kiB || rate < 0.8*20*kiB {
			t.Errorf("%d bytes in %.0f s: %.0f a second, want 20480", done.Bytes, took, rate)
		}
	})
	s.wantSame(have)
}

// TestMirrorMoving shows that an origin that releases meanwhile does not matter:
// what comes is one catalog.
func TestMirrorMoving(t *testing.T) {
	s, have := stocked(t), newStore(t)
	h := Handler(s.dir())
	before := catalogOf(t, s.store, s.root).Versions
	var once sync.Once
	_, err := Mirror(t.Context(), have, mirrorOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/frames/") {
			once.Do(func() { s.image("room@9", 30, 31) })
		}
		h.ServeHTTP(w, r)
	}), s.root))
	if err != nil {
		t.Fatal(err)
	}
	if got := catalogOf(t, have, s.root).Versions; got != before {
		t.Errorf("the mirror has %+v, want %+v", got, before)
	}
	if _, err := Mirror(t.Context(), have, mirrorOf(t, h, nil)); err != nil {
		t.Fatal(err)
	}
	s.wantSame(have)
}

// TestMirrorHeals shows that frames and files aside that went bad, and frames of the
// store, are fetched once more.
func TestMirrorHeals(t *testing.T) {
	s, have := stocked(t), newStore(t)
	opt := mirrorOf(t, Handler(s.dir()), s.root)
	own := &shop{t: t, store: have}
	own.add("mine@1", 1, 2)
	c := catalogOf(t, s.store, s.root)
	im, err := s.store.OpenImage(store.Ref{Name: "room", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	spoil := func(path string, p []byte) {
		p[len(p)/2] ^= 4
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, path, p)
	}
	read := func(path string) []byte {
		p, err := os.ReadFile(filepath.Join(s.dir(), filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, third := framePath(im.ChunkDigest(0), im.ChunkSize), framePath(im.ChunkDigest(2), im.ChunkSize)
	spoil(filepath.Join(have.Dir(), first), read(first))
	spoil(filepath.Join(have.Dir(), "mirror", third), read(third))
	spoil(filepath.Join(have.Dir(), "mirror", "images/room/1"), read("images/room/1"))
	b := bundlePath(c.Bundles[1].File)
	spoil(filepath.Join(have.Dir(), "mirror", b+".partial"), read(b)[:2000])
	if _, err := Mirror(t.Context(), have, opt); err != nil {
		t.Fatal(err)
	}
	s.wantSame(have)
}

// TestMirrorRotted shows the way out that store verify tells for a bundle that rotted in
// its place: where its file was removed, a mirror or an import brings it back.
func TestMirrorRotted(t *testing.T) {
	s, have := stocked(t), newStore(t)
	opt := mirrorOf(t, Handler(s.dir()), s.root)
	_, _, paths := s.export(ExportOptions{})
	for _, bring := range []func() error{
		func() error { _, err := Mirror(t.Context(), have, opt); return err },
		func() error { _, err := Import(t.Context(), have, paths, ImportOptions{}); return err },
	} {
		if _, err := Mirror(t.Context(), have, opt); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(have.Dir(), bundlePath(catalogOf(t, have, s.root).Bundles[1].File))); err != nil {
			t.Fatal(err)
		}
		if err := bring(); err != nil {
			t.Error(err)
		}
		s.wantSame(have)
	}
}

// TestMirrorForged shows that an origin gains nothing by version files and frames that
// agree with each other: they have to agree with the catalog.
func TestMirrorForged(t *testing.T) {
	s, have := stocked(t), newStore(t)
	version, path, frame := s.forge()
	forged := mangler{Handler(s.dir()), func(asked string, p []byte) []byte {
		switch asked {
		case "images/lab/1":
			return version
		case path:
			return frame
		}
		return p
	}}
	_, err := Mirror(t.Context(), have, mirrorOf(t, forged, s.root))
	if !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), path) {
		t.Errorf("Mirror = %v, want ErrWrong, and %s", err, path)
	}
	if _, err := have.Resolve(store.Ref{Name: "lab"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("lab: %v, want ErrNotFound", err)
	}
	if _, err := Mirror(t.Context(), have, mirrorOf(t, Handler(s.dir()), s.root)); err != nil {
		t.Fatal(err)
	}
	s.wantSame(have)

	// Where a forged version file waits already, the good one still comes.
	for _, bring := range []func(have *store.Store) error{
		func(have *store.Store) error {
			_, err := Mirror(t.Context(), have, mirrorOf(t, Handler(s.dir()), s.root))
			return err
		},
		func(have *store.Store) error {
			_, _, paths := s.export(ExportOptions{})
			_, err := Import(t.Context(), have, paths, ImportOptions{Root: s.root})
			return err
		},
	} {
		have := newStore(t)
		at := filepath.Join(have.Dir(), "mirror", "images", "lab", "1")
		if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, at, version)
		if err := bring(have); err != nil {
			t.Error(err)
		}
		s.wantSame(have)
	}
}

// forge returns a version file of lab@1 by which the second chunk's frame is the first
// one's, too, and that frame, at the path of the first.
func (s *shop) forge() (version []byte, path string, frame []byte) {
	s.t.Helper()
	t := s.t
	im, err := s.store.OpenImage(store.Ref{Name: "lab", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	var frames [][]byte
	var sums []image.FrameSum
	for f := range im.Frames() {
		frame, err := im.ReadFrame(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		frames, sums = append(frames, bytes.Clone(frame)), append(sums, image.SumFrame(frame))
	}
	sums[0] = sums[1]
	preface, err := im.Reframe(sums)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(s.dir(), "images", "lab", "1"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(slices.Concat(good[:32], preface))
	return slices.Concat(good[:32], sum[:], preface), framePath(im.ChunkDigest(0), im.ChunkSize), frames[1]
}
