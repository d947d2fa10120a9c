package depot

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipcast/catalog/trust"
)

// TestImportForeign brings parts of another catalog, and made up ones, with snapshots
// that are higher than the store's. They are refused, and keep no good part from coming,
// before them, with them or after them.
func TestImportForeign(t *testing.T) {
	s, other := stocked(t), newShop(t)
	for _, id := range []string{"a@1", "a@2", "a@3", "a@4", "a@5", "a@6", "a@7"} {
		other.image(id, 40)
	}
	_, _, good := s.export(ExportOptions{MaxPart: 500 * kiB})
	_, _, foreign := other.export(ExportOptions{})
	forged := filepath.Join(t.TempDir(), "forged.slx")
	l := list{Schema: 1, Snapshot: 1<<31 - 1, Payload: "all", Parts: []listPart{{Name: partName(1<<31-1, 1), First: metadataPath("1.root.json")}}}
	write(t, forged, writeMembers(testMember{listName, string(l.encode())}, testMember{metadataPath(timestampFile), "{}"}))
	bare := filepath.Join(t.TempDir(), "bare.slx")
	l.Snapshot--
	l.Parts[0].Name = partName(l.Snapshot, 1)
	write(t, bare, writeMembers(testMember{listName, string(l.encode())}))
	for about, c := range map[string]struct {
		parts []string
		want  error // nil: none, and the catalog is missing
	}{
		"another catalog": {foreign, trust.ErrSignature}, "made up": {[]string{forged}, trust.ErrMalformed}, "a list alone": {[]string{bare}, nil},
		"all": {append([]string{forged, bare}, foreign...), trust.ErrSignature},
	} {
		have := newStore(t)
		got, err := Import(t.Context(), have, c.parts, ImportOptions{Root: s.root})
		if !errors.Is(err, c.want) || c.want == nil && (err != nil || len(got.Missing) != 1) {
			t.Errorf("%s: Import = %+v, %v, want %v", about, got, err, c.want)
		}
		if got := take(t, have, s.root, good[1:]...); got.Catalog != nil || !slices.ContainsFunc(got.Missing, func(m Missing) bool {
			return m.ID == theCatalog && slices.Equal(m.Parts, []string{filepath.Base(good[0])})
		}) {
			t.Errorf("%s, and then all but the first part: Import = %+v", about, got)
		}
		if got := take(t, have, s.root, good[0]); got.Catalog == nil {
			t.Errorf("%s, and then the first part: Import = %+v", about, got)
		}
		if err := os.RemoveAll(filepath.Join(have.Dir(), "mirror", editionFolder)); err != nil { // the list alone waits on
			t.Fatal(err)
		}
		if c.want != nil { // what it has otherwise is not damaged, and may come from a catalog yet
			if got, err = Import(t.Context(), have, append(slices.Clone(good), c.parts...), ImportOptions{}); got.Catalog == nil || !errors.Is(err, c.want) {
				t.Errorf("%s together with good parts: Import = %+v, %v, want the catalog, and %v", about, got, err, c.want)
			}
		}
		if v := catalogOf(t, have, s.root).Versions; v != catalogOf(t, s.store, s.root).Versions {
			t.Errorf("%s: versions %+v", about, v)
		}
		wantGood(t, have)
	}
}

// TestImportFlippedMetadata flips a bit in the metadata of a part that came before: the
// part is named, and what came before is not lost. So it is where the import fails.
func TestImportFlippedMetadata(t *testing.T) {
	s, have := stocked(t), newStore(t)
	_, _, paths := s.export(ExportOptions{MaxPart: 500 * kiB})
	p, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(p, []byte(`"_type":"timestamp"`))
	if at < 0 {
		t.Fatal("the first part has no timestamp")
	}
	p[at+3] ^= 1
	bad := filepath.Join(t.TempDir(), filepath.Base(paths[0]))
	write(t, bad, p)
	named := func(done *Imported) bool {
		return done != nil && len(done.Faults) == 1 && done.Faults[0].Part == bad && slices.Contains(done.Faults[0].Lost, metadataPath(timestampFile))
	}
	if done := take(t, newStore(t), s.root, append([]string{bad}, paths[1:]...)...); !named(done) || done.Catalog != nil || len(done.Missing) == 0 {
		t.Errorf("Import = %+v, want that the part is named, and the catalog missing", done)
	}
	take(t, have, s.root, paths[0])
	if done := take(t, have, s.root, bad); !named(done) || done.Catalog != nil {
		t.Errorf("the part again, damaged: Import = %+v, want that it is named", done)
	}
	if done := take(t, have, s.root, paths[1:]...); done.Catalog == nil {
		t.Errorf("the others: Import = %+v", done)
	}
	s.wantSame(have)
	other := newShop(t)
	_, _, foreign := other.export(ExportOptions{})
	done, err := Import(t.Context(), newStore(t), append([]string{bad}, foreign...), ImportOptions{Root: s.root})
	if !errors.Is(err, trust.ErrSignature) || !named(done) {
		t.Errorf("with another catalog: Import = %+v, %v, want ErrSignature, and that the part is named", done, err)
	}
	if err != nil && !strings.Contains(err.Error(), "snapshot 1:") {
		t.Errorf("the error %v does not say which snapshot", err)
	}
}
