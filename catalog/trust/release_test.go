package trust

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
)

// makeBundle builds a small bundle, and returns the path of its file.
func makeBundle(t testing.TB, name, version, contents string) string {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("schema: 1\nname: %s\nversion: %s\nscheme: dotted\nrelease: 1\nfamily: linux\npayload:\n  - overlay: {from: files, to: /}\n", name, version)
	for file, p := range map[string]string{"bundle.yaml": text, "files/etc/" + name: contents} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(p), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := bundle.Build(t.Context(), dir, &out, bundle.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name+".slb")
	if err := os.WriteFile(path, out.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReleaseBundle(t *testing.T) {
	s := newShop(t, 1, 1)
	path := makeBundle(t, "reader", "9.3", "hello")
	var read int64
	opt := ReleaseOptions{Bundles: []string{path}, Keys: s.release, Online: s.online, Progress: func(n int64) { read += n }}
	done, err := s.repo.Release(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.load().Bundle("reader@9.3-1")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if read != int64(len(want)) || len(done.Bundles) != 1 || done.Bundles[0].Digest != b.Digest {
		t.Errorf("read %d bytes of %d, released %+v", read, len(want), done.Bundles)
	}
	got, err := os.ReadFile(s.repo.BundlePath(b.File))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the catalog has %d bytes, %v; want the %d of the file", len(got), err, len(want))
	}
	opened, err := b.Open(bytes.NewReader(got), int64(len(got)))
	if err != nil || opened.Digest != b.Digest || opened.Manifest.ID() != "reader@9.3-1" {
		t.Errorf("opened %+v, %v", opened, err)
	}
	if err := b.File.Verify(t.Context(), bytes.NewReader(got)); err != nil {
		t.Error(err)
	}

	again, err := s.repo.Release(t.Context(), opt)
	if err != nil || len(again.Bundles) != 1 || len(s.load().Bundles) != 1 {
		t.Errorf("the same once more: %+v, %v", again, err)
	}
	opt.Bundles = []string{makeBundle(t, "reader", "9.3", "other")}
	if _, err := s.repo.Release(t.Context(), opt); !errors.Is(err, ErrExists) {
		t.Errorf("other contents under the same name: %v, want ErrExists", err)
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, "bundles", "*.partial")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Of a bundle file every byte counts, and so does every file of the catalog that
// is opened as a bundle.
func TestTamperBundle(t *testing.T) {
	s := newShop(t, 1, 1)
	path := makeBundle(t, "reader", "9.3", "hello")
	if _, err := s.repo.Release(t.Context(), ReleaseOptions{Bundles: []string{path}, Keys: s.release, Online: s.online}); err != nil {
		t.Fatal(err)
	}
	b, err := s.load().Bundle("reader@9.3-1")
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if accepted := flips(p, func(q []byte) bool { return b.File.Verify(t.Context(), bytes.NewReader(q)) == nil }); accepted != nil {
		t.Errorf("taken with changed bytes %v", accepted)
	}
	for name, q := range map[string][]byte{"short": p[:len(p)-1], "long": append(p[:len(p):len(p)], 0), "empty": nil} {
		if err := b.File.Verify(t.Context(), bytes.NewReader(q)); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v, want ErrMismatch", name, err)
		}
	}
	other, err := os.ReadFile(makeBundle(t, "reader", "9.3", "other"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(bytes.NewReader(other), int64(len(other))); !errors.Is(err, ErrMismatch) {
		t.Errorf("another bundle of that name: %v, want ErrMismatch", err)
	}
}

// What is no good bundle, or of no known author, is not released, and the catalog
// is as it was.
func TestReleaseRefuses(t *testing.T) {
	s := newShop(t, 1, 1)
	author, other := newKey(t), newKey(t)
	path := makeBundle(t, "reader", "9.3", "hello")
	signBundle(t, path, author)
	unsigned := makeBundle(t, "reader", "9.3", "hello")
	foreign := makeBundle(t, "reader", "9.3", "hello")
	signBundle(t, foreign, other)
	damaged := makeBundle(t, "reader", "9.3", "hello")
	flipFile(t, damaged)
	contents := makeBundle(t, "reader", "9.3", noise(4<<20))
	flipFile(t, contents)
	openFile(t, contents) // its manifest and its structure are good
	text := filepath.Join(t.TempDir(), "text.slb")
	if err := os.WriteFile(text, []byte("no bundle"), 0o666); err != nil {
		t.Fatal(err)
	}
	authors := []PublicKey{author.Public()}
	before := s.load().Versions
	for name, tt := range map[string]struct {
		opt  ReleaseOptions
		want error // nil is any
	}{
		"no author's signature":      {ReleaseOptions{Bundles: []string{unsigned}, Authors: authors}, ErrAuthor},
		"another author's signature": {ReleaseOptions{Bundles: []string{foreign}, Authors: authors}, ErrAuthor},
		"the second without one":     {ReleaseOptions{Bundles: []string{path, unsigned}, Authors: authors}, ErrAuthor},
		"a damaged one":              {ReleaseOptions{Bundles: []string{damaged}}, nil},
		"one with damaged contents":  {ReleaseOptions{Bundles: []string{contents}}, bundle.ErrDamaged},
		"a text":                     {ReleaseOptions{Bundles: []string{text}}, bundle.ErrNotBundle},
		"not there":                  {ReleaseOptions{Bundles: []string{text + "x"}}, os.ErrNotExist},
		"an image without a digest":  {ReleaseOptions{Images: []ImageTarget{{Name: "room", Version: "1", Size: 1}}}, ErrMalformed},
		"an image with a slash":      {ReleaseOptions{Images: []ImageTarget{{Name: "a/b", Version: "1", Digest: testDigest("x"), Size: 1}}}, ErrMalformed},
		"a recall of nothing":        {ReleaseOptions{Recall: map[string]string{"reader@9.3-1": "broken"}}, ErrNotFound},
		"a stranger's online key":    {ReleaseOptions{Online: author}, ErrKey},
	} {
		opt := tt.opt
		opt.Keys = s.release
		if opt.Online == nil {
			opt.Online = s.online
		}
		if _, err := s.repo.Release(t.Context(), opt); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if now := s.load().Versions; now != before {
			t.Errorf("%s: the catalog changed from %v to %v", name, before, now)
		}
	}
	opt := ReleaseOptions{Bundles: []string{path}, Authors: []PublicKey{other.Public(), author.Public()}, Keys: s.release, Online: s.online}
	if _, err := s.repo.Release(t.Context(), opt); err != nil {
		t.Fatal(err)
	}
	if b := s.load().Bundles[0]; b.Author != author.Public().Number() {
		t.Errorf("author %s, want %s", b.Author, author.Public().Number())
	}
}

func signBundle(t *testing.T, path string, author *SecretKey) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sig, err := SignFile(t.Context(), f, author, "test")
	if err == nil {
		err = os.WriteFile(path+".minisig", sig, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flipFile(t *testing.T, path string) {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p[len(p)/2] ^= 1
	if err := os.WriteFile(path, p, 0o666); err != nil {
		t.Fatal(err)
	}
}

// noise returns text that does not compress.
func noise(n int) string {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p) // never fails
	return string(p)
}

// openFile makes sure that a file opens as a bundle.
func openFile(t *testing.T, path string) {
	t.Helper()
	p, err := os.ReadFile(path)
	if err == nil {
		_, err = bundle.Open(bytes.NewReader(p), int64(len(p)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A recalled bundle or image is still there, with the reason; and stays recalled.
func TestRecall(t *testing.T) {
	s := newShop(t, 1, 1)
	path := makeBundle(t, "reader", "9.3", "hello")
	release := func(opt ReleaseOptions) *Released {
		t.Helper()
		opt.Keys, opt.Online = s.release, s.online
		done, err := s.repo.Release(t.Context(), opt)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	release(ReleaseOptions{Bundles: []string{path}, Images: []ImageTarget{testImage("room@1")}})
	release(ReleaseOptions{Recall: map[string]string{"reader@9.3-1": "breaks printing", "images/room@1": "has a <password>"}})
	release(ReleaseOptions{Bundles: []string{path}, Images: []ImageTarget{testImage("room@1")}}) // changes nothing
	c := s.load()
	if got := c.Bundles[0].Recalled; got != "breaks printing" {
		t.Errorf("the bundle is recalled because %q", got)
	}
	if got := c.Images[0].Recalled; got != "has a <password>" {
		t.Errorf("the image is recalled because %q", got)
	}

	same := testImage("other@1") // the same contents under another name do not help
	same.Digest = c.Images[0].Digest
	release(ReleaseOptions{Images: []ImageTarget{same}})
	if i, err := s.load().Image(same.Digest); err != nil || i.Recalled == "" {
		t.Errorf("by its digest: %+v, %v; want the one that is recalled", i, err)
	}
	if _, err := s.load().Image(testDigest("none")); !errors.Is(err, ErrNotFound) {
		t.Errorf("no image: %v, want ErrNotFound", err)
	}
	if _, err := s.load().Bundle("none@1-1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no bundle: %v, want ErrNotFound", err)
	}
	_, err := s.repo.Release(t.Context(), ReleaseOptions{Recall: map[string]string{"room@1": strings.Repeat("x", maxReason+1)}, Keys: s.release})
	if !errors.Is(err, ErrMalformed) {
		t.Errorf("a long reason: %v, want ErrMalformed", err)
	}
}
