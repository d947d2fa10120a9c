package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipcast/catalog/trust"
	"slipcast/fleet"
)

// newBundleServer returns a catalog with two versions of reader, one of fonts,
// and the image lab, in which the lower reader is baked. Its bundles
// have a megabyte each.
func newBundleServer(t *testing.T, log io.Writer) (c *serveCatalog, image fleet.Image) {
	t.Helper()
	c, dir := newServeCatalog(t)
	c.log = slog.New(slog.NewTextHandler(log, nil))
	shop := newTestShop(t, dir, c.online)
	lab, image := testTarget("lab", "2", "b")
	base, _ := testTarget("lab", "1", "a")
	lab.Parent, base.Bundles = base.Digest, []string{"reader@9.3.0-1"}
	var paths []string
	for _, id := range []string{"reader 9.3.0", "reader 9.4.0", "fonts 2"} {
		name, version, _ := strings.Cut(id, " ")
		paths = append(paths, filepath.Join(t.TempDir(), name+version+".slb"))
		buildTestBundle(t, paths[len(paths)-1], name, version, "")
	}
	shop.sign(trust.ReleaseOptions{Bundles: paths, Images: []trust.ImageTarget{base, lab}}, true)
	return c, image
}

// Behind an image comes what its machines may want: no more than there is room
// for, and what is left out is logged.
func TestServeCatalogAnnex(t *testing.T) {
	var log bytes.Buffer
	c, image := newBundleServer(t, &log)
	for _, tt := range []struct {
		apply  string
		memory int64
		want   string // bundles
		logged int    // lines
	}{
		{"*", 0, "fonts@2-1 reader@9.4.0-1", 0},
		{"reader@9.3.0", 0, "", 0},
		{"reader fonts", 0, "reader@9.4.0-1 fonts@2-1", 0},
		{"reader fonts", 3 << 20, "reader@9.4.0-1", 1},
		{"*", 1 << 20, "", 2},
		{"writer", 0, "", 0},
	} {
		log.Reset()
		a, err := c.annex(t.Context(), fleet.Cargo{Image: image, Apply: strings.Fields(tt.apply), Memory: tt.memory})
		if err != nil {
			t.Fatal(err)
		}
		var want []trust.File
		catalog, err := c.current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range strings.Fields(tt.want) {
			b, err := catalog.Bundle(id)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, b.File)
		}
		var got []trust.File
		if a != nil {
			got = a.files
		}
		if !slices.Equal(got, want) || strings.Count(log.String(), "does not come with the image") != tt.logged {
			t.Errorf("apply %s, memory %d: files %v, logged %q; want %s, %d lines", tt.apply, tt.memory, got, &log, tt.want, tt.logged)
		}
		a.Close()
	}
}

// A session has something behind its image only if that helps, and what is wrong
// with it does not stop the session.
func TestServeSessionAnnexed(t *testing.T) {
	c, image := newBundleServer(t, io.Discard)
	broken := func(context.Context, fleet.Cargo) (*imageAnnex, error) { return nil, errors.New("no catalog") }
	for _, tt := range []struct {
		name  string
		annex func(context.Context, fleet.Cargo) (*imageAnnex, error)
		apply []string
		room  fleet.Room
		want  bool
	}{
		{"two machines", c.annex, []string{"*"}, fleet.Room{Booting: 1, AtWork: 1}, true},
		{"one machine", c.annex, []string{"*"}, fleet.Room{Booting: 1}, false},
		{"nothing to apply", c.annex, nil, fleet.Room{Booting: 2}, false},
		{"a catalog that cannot be read", broken, []string{"*"}, fleet.Room{Booting: 2}, false},
	} {
		s := &serveSessions{annex: tt.annex, log: slog.New(slog.DiscardHandler)}
		a := s.annexed(t.Context(), fleet.Cargo{Image: image, Apply: tt.apply}, tt.room)
		if (a != nil) != tt.want {
			t.Errorf("%s: annex %+v, want one: %v", tt.name, a, tt.want)
		}
		a.Close()
	}
}
