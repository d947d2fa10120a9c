package depot

import (
	"net/http"
	"testing"

	"slipcast/catalog/trust"
	"slipcast/image/store"
)

// twins returns a shop with two images of one digest, one of which is recalled, and
// another one.
func twins(t *testing.T) *shop {
	t.Helper()
	s := newShop(t)
	s.image("lab@1", 21, 22)
	s.image("room@1", 21, 22)
	s.image("other@1", 23)
	s.publish(trust.ReleaseOptions{Recall: map[string]string{"lab@1": "no"}})
	return s
}

// wantRecalled fails unless a store has the shop's catalog, and of its images other@1
// alone.
func (s *shop) wantRecalled(t *testing.T, have *store.Store) {
	t.Helper()
	if got, want := catalogOf(t, have, s.root).Versions, catalogOf(t, s.store, s.root).Versions; got != want {
		t.Errorf("versions %+v, want %+v", got, want)
	}
	if _, err := have.Resolve(store.Ref{Name: "other", Version: "1"}); err != nil {
		t.Errorf("other@1: %v", err)
	}
	for _, name := range []string{"lab", "room"} {
		if _, err := have.Resolve(store.Ref{Name: name, Version: "1"}); err == nil {
			t.Errorf("%s@1 came, and its digest is recalled", name)
		}
	}
	wantGood(t, have)
	for _, name := range waitingIn(t, have) {
		t.Errorf("still waits: %s", name)
	}
}

// TestRecalledTwin shows that of two images with one digest a recall of one concerns
// both: from our handler, from a plain web server, and by stick.
func TestRecalledTwin(t *testing.T) {
	s := twins(t)
	for about, origin := range map[string]http.Handler{"handler": Handler(s.dir()), "plain": http.FileServer(http.Dir(s.dir()))} {
		have := newStore(t)
		done, err := Mirror(t.Context(), have, mirrorOf(t, origin, s.root))
		if err != nil || done.Images != 1 {
			t.Errorf("%s: Mirror = %+v, %v, want 1 image", about, done, err)
			continue
		}
		s.wantRecalled(t, have)
	}
	_, done, paths := s.export(ExportOptions{})
	if done.Images != 1 || done.Frames != 1 {
		t.Errorf("Export = %+v, want 1 image and 1 frame", done)
	}
	have := newStore(t)
	if got := take(t, have, s.root, paths...); got.Catalog == nil || got.Images != 1 {
		t.Fatalf("Import = %+v, want 1 image", got)
	}
	s.wantRecalled(t, have)
}

// TestRecalledTwinBrought shows that an image is neither taken from a part that
// has it nor waited for if its digest is recalled.
func TestRecalledTwinBrought(t *testing.T) {
	s, have := newShop(t), newStore(t)
	s.image("lab@1", 21, 22)
	s.image("room@1", 21, 22)
	s.image("other@1", 23)
	_, _, old := s.export(ExportOptions{MaxPart: 100 * kiB})
	before := catalogOf(t, s.store, s.root).Versions.Snapshot
	s.publish(trust.ReleaseOptions{Recall: map[string]string{"lab@1": "no"}})
	_, _, late := s.export(ExportOptions{Since: before})
	if got := take(t, have, s.root, append(old, late...)...); got.Catalog == nil || got.Images != 1 || len(got.Missing) > 0 {
		t.Fatalf("Import = %+v, want 1 image", got)
	}
	if _, err := have.Resolve(store.Ref{Name: "room", Version: "1"}); err == nil {
		t.Error("room@1 came, and its digest is recalled")
	}
}

// TestRecalledTwinSince shows that an export since a snapshot in which a digest was
// recalled already has the frames that nobody was given then.
func TestRecalledTwinSince(t *testing.T) {
	s := twins(t)
	have := newStore(t)
	since := catalogOf(t, s.store, s.root).Versions.Snapshot
	_, _, first := s.export(ExportOptions{})
	take(t, have, s.root, first...)
	s.image("room@2", 21, 24)
	_, done, second := s.export(ExportOptions{Since: since})
	if done.Images != 1 || done.Frames != 2 {
		t.Errorf("Export since %d = %+v, want 1 image and 2 frames", since, done)
	}
	if got := take(t, have, nil, second...); got.Catalog == nil || len(got.Missing) > 0 {
		t.Errorf("Import = %+v, want that nothing is missing", got)
	}
}
