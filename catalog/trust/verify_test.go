package trust

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// faults verifies the catalog, and returns what is wrong with it.
func (s *shop) faults(opt VerifyOptions) (Verified, []string) {
	s.t.Helper()
	var found []string
	opt.Found = func(path string, err error) {
		rel, relErr := filepath.Rel(s.dir, path)
		if relErr != nil || err == nil {
			s.t.Errorf("found %q, %v, %v", path, err, relErr)
		}
		found = append(found, rel+": "+err.Error())
	}
	v, err := s.repo.Verify(s.t.Context(), opt)
	if err != nil {
		s.t.Fatal(err)
	}
	if v.Faults != len(found) {
		s.t.Errorf("%d faults, told of %d", v.Faults, len(found))
	}
	return v, found
}

// Whatever byte of a bundle or of metadata rots is found, and so is a file that
// is gone.
func TestVerifyCatalog(t *testing.T) {
	s := newShop(t, 1, 1)
	path := makeBundle(t, "reader", "9.3", "hello")
	if _, err := s.repo.Release(t.Context(), ReleaseOptions{Bundles: []string{path}, Keys: s.release, Online: s.online}); err != nil {
		t.Fatal(err)
	}
	c := s.load()
	file := s.repo.BundlePath(c.Bundles[0].File)
	if v, found := s.faults(VerifyOptions{}); v.Bundles != 1 || v.Bytes != c.Bundles[0].File.Size || found != nil {
		t.Errorf("of a good catalog: %+v, %v", v, found)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	put := func(path string, p []byte) {
		t.Helper()
		if err := os.WriteFile(path, p, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if missed := flips(whole, func(p []byte) bool { put(file, p); _, found := s.faults(VerifyOptions{}); return len(found) != 1 }); missed != nil {
		t.Errorf("the bundle is right with changed bytes %v", missed)
	}
	for _, p := range [][]byte{nil, whole[:len(whole)-1], append(bytes.Clone(whole), 0)} {
		put(file, p)
		if _, found := s.faults(VerifyOptions{}); len(found) != 1 || !strings.Contains(found[0], "reader@9.3-1") {
			t.Errorf("with %d of %d bytes: %v, want one fault of reader@9.3-1", len(p), len(whole), found)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if v, found := s.faults(VerifyOptions{}); v.Missing != 1 || len(found) != 1 {
		t.Errorf("without the file: %+v, %v; want one missing, a fault", v, found)
	}
	if v, found := s.faults(VerifyOptions{Partial: true}); v.Missing != 1 || found != nil {
		t.Errorf("of a mirror without the file: %+v, %v; want one missing, no fault", v, found)
	}
	put(file, whole)

	for _, name := range []string{"1.root.json", timestampFile, fileName("snapshot", c.Versions.Snapshot), fileName("targets", c.Versions.Targets)} {
		good, at := s.read(name), filepath.Join(s.dir, "metadata", name)
		if missed := flips(good, func(p []byte) bool { put(at, p); _, found := s.faults(VerifyOptions{}); return len(found) == 0 }); missed != nil {
			t.Errorf("%s is right with changed bytes %v", name, missed)
		}
		put(at, good)
	}
}

// A catalog that the online key has not signed yet is whole; one that has lost
// its snapshot is not.
func TestVerifyUnsigned(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	if err := os.Remove(filepath.Join(s.dir, "metadata", timestampFile)); err != nil {
		t.Fatal(err)
	}
	if _, found := s.faults(VerifyOptions{}); found != nil {
		t.Errorf("without a timestamp: %v, want no fault", found)
	}
	if _, err := s.repo.Refresh(t.Context(), s.online); err != nil {
		t.Fatal(err)
	}
	if _, found := s.faults(VerifyOptions{}); found != nil {
		t.Errorf("refreshed: %v, want no fault", found)
	}
	if err := os.Remove(filepath.Join(s.dir, "metadata", fileName("snapshot", s.load().Versions.Snapshot))); err != nil {
		t.Fatal(err)
	}
	if _, found := s.faults(VerifyOptions{}); len(found) == 0 {
		t.Error("without its snapshot: no fault")
	}
}

// What was called off is no fault.
func TestVerifyStops(t *testing.T) {
	s := newShop(t, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := s.repo.Verify(ctx, VerifyOptions{}); !errors.Is(err, ctx.Err()) || v.Faults > 0 {
		t.Errorf("Verify = %+v, %v; want %v", v, err, ctx.Err())
	}
}
