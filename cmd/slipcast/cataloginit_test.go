package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"slipcast/catalog/trust"
	"slipcast/image/store"
)

// Ctrl-C while a catalog is made leaves no catalog without its keys.
func TestCatalogInitInterrupted(t *testing.T) {
	s, err := store.Init(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	opt := &catalogInitOptions{dir: t.TempDir(), threshold: 1}
	opt.where.dir, opt.where.settle, opt.passphrase.none = s.Dir(), func() error { return nil }, true
	if err := runCatalogInit(ctx, &env{stdout: &stdout, stderr: &stderr}, opt); err != nil {
		t.Errorf("init: %v", err)
	}
	r, err := trust.OpenRepository(filepath.Join(s.Dir(), "catalog"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(filepath.Join(opt.dir, "online.key"))
	if err != nil {
		t.Fatalf("%v, and the catalog is there", err)
	}
	online, err := trust.ParseSecretKey(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Refresh(t.Context(), online); err != nil {
		t.Error(err)
	}
}

// Keys of an init that failed go, unless its catalog has its place.
func TestCatalogInitFailed(t *testing.T) {
	full := errors.New("the disk is full")
	for name, tt := range map[string]struct {
		there bool
		err   error
		keys  bool
	}{
		"before the catalog was there": {false, full, false},
		"after that":                   {true, full, true},
		"since it is another one's":    {true, &fs.PathError{Op: "create", Path: "catalog", Err: fs.ErrExist}, false},
		"since a file is in its place": {false, &fs.PathError{Op: "mkdir", Path: "catalog", Err: fs.ErrExist}, false},
	} {
		k, err := newKeyFiles(filepath.Join(t.TempDir(), "online"), "")
		if err == nil {
			err = k.write()
		}
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if tt.there {
			opt := trust.InitOptions{Online: k.key}
			release, err := trust.GenerateKey()
			if err != nil {
				t.Fatal(err)
			}
			opt.Release, opt.Keys = []trust.PublicKey{release.Public()}, []*trust.SecretKey{release}
			if _, err := trust.Init(t.Context(), dir, opt); err != nil {
				t.Fatal(err)
			}
		}
		if err := removeUnused(dir, []*newKey{k}, tt.err); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, ending := range []string{secretEnding, publicEnding} {
			if _, err := os.Stat(k.base + ending); errors.Is(err, fs.ErrNotExist) == tt.keys {
				t.Errorf("%s: online%s: %v, want that it is there: %v", name, ending, err, tt.keys)
			}
		}
	}
}
