package depot

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"slipcast/catalog/trust"
	"slipcast/image/store"
)

// framesOf returns the paths of the frames of an image in a store.
func framesOf(t testing.TB, s *store.Store, name, version string) (paths []string) {
	t.Helper()
	im, err := s.OpenImage(store.Ref{Name: name, Version: version})
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	for n := range im.ChunkCount() {
		paths = append(paths, framePath(im.ChunkDigest(n), im.ChunkSize))
	}
	return paths
}

// TestHandler shows what is offered, how long it may be kept, and what is not
// offered.
func TestHandler(t *testing.T) {
	s := stocked(t)
	s.add("secret@1", 1, 50)
	s.publish(trust.ReleaseOptions{Recall: map[string]string{"lab@1": "no"}})
	h := Handler(s.dir())
	c := catalogOf(t, s.store, s.root)
	const forever, fresh = "max-age=31536000, immutable", "no-cache"
	secret := framesOf(t, s.store, "secret", "1")
	for path, caching := range map[string]string{
		"/catalog/metadata/timestamp.json":         fresh,
		"/catalog/metadata/1.root.json":            forever,
		"/" + bundlePath(c.Bundles[0].File):        forever,
		"/images/room/1":                           forever,
		"/" + secret[0]:                            forever, // room@1 has it, too
		"/" + framesOf(t, s.store, "room", "2")[4]: forever,
	} {
		w := get(h, path)
		want, err := os.ReadFile(filepath.Join(s.dir(), path))
		if err != nil {
			t.Fatal(err)
		}
		if w.Code != 200 || w.Body.String() != string(want) || w.Header().Get("Cache-Control") != caching {
			t.Errorf("%s: %d, %d bytes, %q; want %d bytes, %q", path, w.Code, w.Body.Len(), w.Header().Get("Cache-Control"), len(want), caching)
		}
		if w := get(h, path, "Range", "bytes=3-9"); w.Code != 206 || w.Body.String() != string(want[3:10]) {
			t.Errorf("%s: a range: %d, %q", path, w.Code, w.Body)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(s.dir(), "catalog/metadata/77.root.json"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"78.root.json", "79.root.json"} {
		at := filepath.Join(s.dir(), "catalog/metadata", name)
		target := map[string]string{"78.root.json": "/etc/passwd", "79.root.json": "../../../../../../../../../etc/passwd"}[name]
		if err := os.Symlink(target, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{
		"/", "/catalog/", "/catalog/metadata/", "/catalog/metadata", "/catalog/lock", "/slipcast-store", "/frames.lock", "/images/", "/images/room/",
		"/catalog/metadata/99.root.json", "/catalog/metadata/01.root.json", "/catalog/metadata/77.root.json", "/catalog/metadata/78.root.json", "/catalog/metadata/79.root.json",
		"/images/room/3", "/images/secret/1", "/images/lab/1", "/images/../images/room/1", "//images/room/1", "/images/room/1/",
		"/" + secret[1], "/" + framesOf(t, s.store, "lab", "1")[0], "/" + strings.ToUpper(secret[0]), "/frames/19" + secret[0][len("frames/18"):],
		"/mirror/lock", "/catalog/bundles/" + strings.Repeat("0", 64) + ".slb",
	} {
		if w := get(h, path); w.Code < 400 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, %q; want that it is refused and not kept", path, w.Code, w.Header().Get("Cache-Control"))
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/images/room/1", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d, want 405", w.Code)
	}
}

// TestHandlerTag shows that a timestamp is sent only to who has another one.
func TestHandlerTag(t *testing.T) {
	s := stocked(t)
	h := Handler(s.dir())
	tag := get(h, "/catalog/metadata/timestamp.json").Header().Get("ETag")
	if w := get(h, "/catalog/metadata/timestamp.json", "If-None-Match", tag); w.Code != http.StatusNotModified {
		t.Errorf("with its tag: %d, want 304", w.Code)
	}
	s.image("room@3", 9)
	if w := get(h, "/catalog/metadata/timestamp.json", "If-None-Match", tag); w.Code != 200 {
		t.Errorf("with an older tag: %d, want 200", w.Code)
	}
}

// TestHandlerFollows shows that a handler learns of releases, recalls, and images
// that come later than the catalog.
func TestHandlerFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		h := Handler(s.dir())
		check := func(about string, want int) {
			t.Helper()
			time.Sleep(5 * time.Second) // in the bubble: who asks is told once a second at most
			got := []int{get(h, "/images/room/1").Code, 404}
			if want == 200 {
				got[1] = get(h, "/"+framesOf(t, s.store, "room", "1")[1]).Code
			}
			if !slices.Equal(got, []int{want, want}) {
				t.Errorf("%s: %d, want %d", about, got, want)
			}
		}
		check("without an image", 404)
		target := s.add("room@1", 1, 2)
		check("before its release", 404)
		s.publish(trust.ReleaseOptions{Images: []trust.ImageTarget{target}})
		check("after its release", 200)
		aside, at := filepath.Join(t.TempDir(), "1"), filepath.Join(s.dir(), "images/room/1")
		if err := os.Rename(at, aside); err != nil {
			t.Fatal(err)
		}
		check("without its version file", 404)
		again := Handler(s.dir())
		if w := get(again, "/images/room/1"); w.Code != 404 {
			t.Errorf("a new handler: %d, want 404", w.Code)
		}
		if err := os.Rename(aside, at); err != nil {
			t.Fatal(err)
		}
		h = again
		check("with it again", 200)
		s.publish(trust.ReleaseOptions{Recall: map[string]string{"room@1": "no"}})
		check("after its recall", 404)
	})
}
