package trust

import (
	"fmt"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// crowded returns a catalog with n bundles.
func crowded(t testing.TB, n int) *shop {
	t.Helper()
	s := newShop(t, 1, 1)
	st, err := s.repo.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]*metadata.TargetFiles{}
	for i := range n {
		h := testHeader(fmt.Sprintf("product-%d", i), "9.3.0")
		b := &BundleTarget{Header: h, Digest: testDigest(h.ID()), File: File{testDigest(h.Name), 1 << 20}}
		if _, err := addBundle(list, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.repo.publishTargets(st, list, ReleaseOptions{Keys: s.release, Online: s.online}, &Released{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// Goal: 2,000 targets in half a second. The bound here is generous, so that the
// test holds on a machine that does other things as well, and with the race
// detector.
func TestLoadIsFast(t *testing.T) {
	s := crowded(t, 2000)
	began := time.Now()
	if got := len(s.load().Bundles); got != 2000 {
		t.Fatalf("%d bundles, want 2000", got)
	}
	if took, most := time.Since(began), 10*time.Second; took > most {
		t.Errorf("took %v, want less than %v", took, most)
	}
}

func BenchmarkLoad2000(b *testing.B) {
	s := crowded(b, 2000)
	src := files(b, s.dir)
	b.SetBytes(int64(len(src["2.targets.json"])))
	for b.Loop() {
		if _, err := Load(b.Context(), src, LoadOptions{Root: s.root}); err != nil {
			b.Fatal(err)
		}
	}
}
