package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"slipcast/catalog/trust"
	"slipcast/fleet"
)

// A testShop is a catalog in a folder, with its keys.
type testShop struct {
	t       testing.TB
	repo    *trust.Repository
	release *trust.SecretKey
	online  *trust.SecretKey
}

// newTestShop makes an empty catalog in the store in dir, and the online key in a
// file.
func newTestShop(t testing.TB, store, onlineFile string) *testShop {
	t.Helper()
	s := &testShop{t: t}
	for _, key := range []**trust.SecretKey{&s.release, &s.online} {
		k, err := trust.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		*key = k
	}
	var err error
	s.repo, err = trust.Init(t.Context(), filepath.Join(store, catalogFolder), trust.InitOptions{
		Release: []trust.PublicKey{s.release.Public()}, Keys: []*trust.SecretKey{s.release}, Online: s.online,
	})
	if err != nil {
		t.Fatal(err)
	}
	writeTestKey(t, onlineFile, s.online, "")
	return s
}

func writeTestKey(t testing.TB, path string, key *trust.SecretKey, passphrase string) {
	t.Helper()
	text, err := key.Encode(passphrase)
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sign releases what opt says. online says whether the online key is at hand.
func (s *testShop) sign(opt trust.ReleaseOptions, online bool) {
	s.t.Helper()
	opt.Keys = []*trust.SecretKey{s.release}
	if online {
		opt.Online = s.online
	}
	if _, err := s.repo.Release(s.t.Context(), opt); err != nil {
		s.t.Fatal(err)
	}
}

// testTarget returns a released image, and the image as the fleet knows it.
func testTarget(name, version, digit string) (trust.ImageTarget, fleet.Image) {
	digest := strings.Repeat(digit, 64)
	return trust.ImageTarget{Name: name, Version: version, Digest: digest, Size: 1 << 20}, fleet.Image{Ref: name + "@" + version, Digest: digest}
}

// newServeCatalog returns the catalog of a store that has none, and the folder of
// the store.
func newServeCatalog(t testing.TB) (*serveCatalog, string) {
	dir := t.TempDir()
	return &serveCatalog{dir: filepath.Join(dir, catalogFolder), online: filepath.Join(dir, "state", onlineFile), log: slog.New(slog.DiscardHandler)}, dir
}

// A server follows what others do to its catalog, from none to one that is
// recalled from.
func TestServeCatalogFollows(t *testing.T) {
	c, dir := newServeCatalog(t)
	lab, image := testTarget("lab", "1", "a")
	want := func(why string, err error, want string) {
		t.Helper()
		if got := fmt.Sprint(err); got != want || (err != nil) != errors.Is(err, fleet.ErrNotReleased) || err != nil && hintFor(err) == "" {
			t.Errorf("%s: %v, hint %q; want %s, and a way out", why, err, hintFor(err), want)
		}
	}
	if root, err := c.Root(t.Context()); root != nil || err != nil {
		t.Errorf("Root = %q, %v; want none", root, err)
	}
	want("no catalog", c.Allows(t.Context(), image, nil), errNoCatalog.Error())
	want("no catalog for a command", releasedIn(t.Context(), dir, image, nil), errNoCatalog.Error())

	shop := newTestShop(t, dir, c.online)
	if root, err := c.Root(t.Context()); len(root) == 0 || err != nil {
		t.Errorf("Root = %q, %v; want the one that was made", root, err)
	}
	want("nothing released", c.Allows(t.Context(), image, nil), "the image lab@1 is not released")
	shop.sign(trust.ReleaseOptions{Images: []trust.ImageTarget{lab}}, true)
	want("released", c.Allows(t.Context(), image, []string{"*"}), "<nil>")
	want("a bundle", c.Allows(t.Context(), image, []string{"reader"}), "the catalog has no bundle reader that is not recalled")
	_, other := testTarget("lab", "1", "b")
	want("other contents", c.Allows(t.Context(), other, nil),
		"the image lab@1 is not the one that was released: its digest is "+other.Digest+", that of the other "+image.Digest)

	next, nextImage := testTarget("lab", "2", "c")
	shop.sign(trust.ReleaseOptions{Images: []trust.ImageTarget{next}}, false) // elsewhere, on a laptop with the stick
	want("not signed by the online key", c.Allows(t.Context(), nextImage, nil), "the image lab@2 is not released")
	want("for a command", releasedIn(t.Context(), dir, nextImage, nil), "<nil>")
	if notices := c.tend(t.Context()); len(notices) > 0 {
		t.Errorf("notices %q, want none", notices)
	}
	want("signed by the server", c.Allows(t.Context(), nextImage, nil), "<nil>")
	shop.sign(trust.ReleaseOptions{Recall: map[string]string{"lab@1": "boots into the wrong domain"}}, true)
	want("recalled", c.Allows(t.Context(), image, nil), "the image lab@1 was recalled: boots into the wrong domain")
	same, sameImage := testTarget("copy", "1", "a")
	shop.sign(trust.ReleaseOptions{Images: []trust.ImageTarget{same}}, true)
	want("recalled under another name", c.Allows(t.Context(), sameImage, nil), "the image lab@1 was recalled: boots into the wrong domain")
}

// What was loaded is kept until the folder has changed.
func TestServeCatalogIsKept(t *testing.T) {
	c, dir := newServeCatalog(t)
	shop := newTestShop(t, dir, c.online)
	metadata := filepath.Join(c.dir, "metadata")
	load := func(changed time.Duration) *trust.Catalog {
		t.Helper()
		at := time.Now().Add(-changed)
		if err := os.Chtimes(metadata, at, at); err != nil {
			t.Fatal(err)
		}
		catalog, err := c.current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return catalog
	}
	first := load(time.Hour)
	if again, err := c.current(t.Context()); err != nil || again != first {
		t.Errorf("it was loaded again, %v, though nothing has changed", err)
	}
	lab, image := testTarget("lab", "1", "a")
	shop.sign(trust.ReleaseOptions{Images: []trust.ImageTarget{lab}}, true)
	if err := c.Allows(t.Context(), image, nil); err != nil {
		t.Errorf("Allows = %v, want what was released just now", err)
	}
	if just := load(0); just == load(0) {
		t.Error("a change of just now is taken for the last one of this moment")
	}
}

// A ticket is good for who asked, and a server without the right key says so.
func TestServeCatalogTicket(t *testing.T) {
	c, dir := newServeCatalog(t)
	shop := newTestShop(t, dir, c.online)
	claims := trust.Claims{Nonce: trust.NewNonce(), Machine: "00:00:5e:00:53:01", Job: "7", Image: strings.Repeat("a", 64)}
	ticket, err := c.Ticket(t.Context(), claims)
	if err != nil {
		t.Fatal(err)
	}
	root, err := c.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := trust.Load(t.Context(), shop.repo.Source(), trust.LoadOptions{Root: root, Ticket: ticket, Nonce: claims.Nonce, Machine: claims.Machine})
	if err != nil || !catalog.Fresh || catalog.Claims.Job != "7" || catalog.Claims.Image != claims.Image || time.Since(catalog.Claims.Time) > time.Minute {
		t.Fatalf("Load = %+v, %v; want a fresh catalog for job 7", catalog, err)
	}

	refused := func(why, want, notice string) {
		t.Helper()
		if _, err := c.Ticket(t.Context(), claims); !errors.Is(err, fleet.ErrNotReleased) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", why, err, want)
		}
		if notices := c.tend(t.Context()); len(notices) != 1 || !strings.HasPrefix(notices[0], notice) {
			t.Errorf("%s: notices %q, want %s", why, notices, notice)
		}
	}
	stranger, err := trust.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	writeTestKey(t, c.online, stranger, "")
	refused("another key", "is not the online key of the catalog", "the catalog was not signed anew: ")
	if err := os.WriteFile(c.online, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("no key", "not a secret key of minisign", "nothing can be restored: the online key: ")
	if err := os.Remove(c.online); err != nil {
		t.Fatal(err)
	}
	refused("a key that is not there", "the server cannot sign that machines may have it", "nothing can be restored: the online key is not in ")
}

// The operator hears in time of what only people can sign, and in the end why
// nothing is restored any more.
func TestServeCatalogExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newServeCatalog(t)
		newTestShop(t, dir, c.online)
		const day = 24 * time.Hour
		wait := func(days int, want ...string) {
			t.Helper()
			for range days / 5 {
				time.Sleep(5 * day)
				c.note(c.tend(t.Context()))
			}
			got := c.Notices()
			for i, w := range want {
				if i >= len(got) || !strings.Contains(got[i], w) {
					t.Errorf("notices %q, want %q", got, want)
				}
			}
			if len(got) != len(want) {
				t.Errorf("notices %q, want %q", got, want)
			}
		}
		wait(200)
		if _, err := c.current(t.Context()); err != nil {
			t.Errorf("after 200 days: %v, want that it was signed anew each day", err)
		}
		wait(80, "the catalog's targets expires at ")
		wait(90, "nothing can be restored: the catalog's targets expired at ")
		if _, err := c.current(t.Context()); !errors.Is(err, fleet.ErrNotReleased) || !strings.Contains(err.Error(), "expired") {
			t.Errorf("after 370 days: %v, want that it has expired", err)
		}
	})
}

// Only what a catalog has is handed out, and no folder is listed.
func TestServeCatalogFiles(t *testing.T) {
	c, dir := newServeCatalog(t)
	newTestShop(t, dir, c.online)
	name := strings.Repeat("0a", 32) + ".slb"
	for path, text := range map[string]string{"bundles/" + name: "0123456789", "lock": "", "metadata/x.json": "{}", "secret": "x"} {
		if err := os.WriteFile(filepath.Join(c.dir, path), []byte(text), 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{
		"/metadata/timestamp.json": 200, "/metadata/1.root.json": 200, "/metadata/1.targets.json": 200, "/metadata/2.root.json": 404,
		"/bundles/" + name: 206, "/bundles/": 404, "/metadata/": 404, "/": 404, "/lock": 404, "/secret": 404, "/metadata/x.json": 404,
		"/metadata/../secret": 404, "/bundles/" + strings.Repeat("0b", 32) + ".slb": 404, "/metadata/1.root.json/..": 404,
	} {
		r := httptest.NewRequest("GET", "http://server/", nil)
		r.URL.Path = path
		if want == 206 {
			r.Header.Set("Range", "bytes=2-4")
		}
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != want || want == 206 && w.Body.String() != "234" {
			t.Errorf("%s answers %d %q, want %d", path, w.Code, w.Body, want)
		}
	}
}
