package trust

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipcast/catalog/bundle"
)

// A shop is a catalog in a folder with all its keys.
type shop struct {
	t       testing.TB
	repo    *Repository
	dir     string
	release []*SecretKey
	online  *SecretKey
	root    []byte // version 1
}

// newShop makes an empty catalog, of which threshold of keys release keys must
// sign.
func newShop(t testing.TB, keys, threshold int) *shop {
	t.Helper()
	s := &shop{t: t, dir: filepath.Join(t.TempDir(), "catalog"), online: newKey(t)}
	var public []PublicKey
	for range keys {
		k := newKey(t)
		s.release = append(s.release, k)
		public = append(public, k.Public())
	}
	repo, err := Init(t.Context(), s.dir, InitOptions{
		Release: public, Threshold: threshold, Keys: s.release[:threshold], Online: s.online,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.repo = repo
	s.root = s.read("1.root.json")
	return s
}

func newKey(t testing.TB) *SecretKey {
	t.Helper()
	k, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// read returns a file of metadata.
func (s *shop) read(name string) []byte {
	s.t.Helper()
	p, err := os.ReadFile(filepath.Join(s.dir, "metadata", name))
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// offer releases images by their names, NAME@VERSION.
func (s *shop) offer(names ...string) {
	s.t.Helper()
	opt := ReleaseOptions{Keys: s.release[:1], Online: s.online}
	for _, name := range names {
		opt.Images = append(opt.Images, testImage(name))
	}
	if _, err := s.repo.Release(s.t.Context(), opt); err != nil {
		s.t.Fatal(err)
	}
}

// testImage returns an image that is called so.
func testImage(id string) ImageTarget {
	name, version, _ := strings.Cut(id, "@")
	return ImageTarget{Name: name, Version: version, Digest: testDigest(id), Size: 1 << 30}
}

// testDigest returns a digest that is another one for each text.
func testDigest(text string) string { return fmt.Sprintf("%064x", text)[:64] }

// testHeader returns the header of a bundle with a typical amount of text.
func testHeader(name, version string) bundle.Header {
	return bundle.Header{
		Schema: 1, Name: name, Version: version, Scheme: "dotted", Release: 1, Title: "A program for " + name, Severity: bundle.Critical,
		Kind: bundle.App, Advisories: []string{"CVE-2026-1234"}, Family: "linux", Applies: `distro() == "debian" && exists("/usr/bin/env")`,
		Requires: []bundle.Reference{{Product: "libc", Range: ">=2.36"}}, Detect: bundle.Detect{Version: `pkg("` + name + `")`},
	}
}

// snap copies the catalog's folder as it is now.
func (s *shop) snap() string {
	s.t.Helper()
	dir := s.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

// loadDir loads the catalog in a folder, from the first root of s.
func (s *shop) loadDir(dir string, opt LoadOptions) (*Catalog, error) {
	opt.Root = s.root
	return Load(s.t.Context(), DirSource(os.DirFS(dir)), opt)
}

// load loads the catalog as it is.
func (s *shop) load() *Catalog {
	s.t.Helper()
	c, err := s.loadDir(s.dir, LoadOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// ids returns the IDs of the images in a catalog.
func ids(c *Catalog) string {
	var list []string
	for _, i := range c.Images {
		list = append(list, i.ID())
	}
	return strings.Join(list, " ")
}

// A mapSource is a catalog in memory, by the names of its files.
type mapSource map[string][]byte

// Metadata implements Source.
func (s mapSource) Metadata(_ context.Context, name string, most int64) ([]byte, error) {
	p, ok := s[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if int64(len(p)) > most {
		return nil, malformed("more than %d bytes", most)
	}
	return p, nil
}

// files returns all metadata of a catalog in a folder.
func files(t testing.TB, dir string) mapSource {
	t.Helper()
	src := mapSource{}
	entries, err := os.ReadDir(filepath.Join(dir, "metadata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		p, err := os.ReadFile(filepath.Join(dir, "metadata", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		src[e.Name()] = p
	}
	return src
}

// with returns the files of s with some of them replaced.
func (s mapSource) with(name string, p []byte) mapSource {
	changed := maps.Clone(s)
	changed[name] = p
	return changed
}

// clocks are what machines' clocks say: dead, right, and ahead.
func clocks() map[string]time.Time {
	return map[string]time.Time{
		"2009": time.Date(2009, 1, 1, 0, 0, 0, 0, time.UTC),
		"now":  time.Now(),
		"2036": time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}
