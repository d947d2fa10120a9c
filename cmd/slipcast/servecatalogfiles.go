package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Paths of what a catalog hands out, docs/bundles.md, section 7.1. Nothing else
// in the folder is shown, and no folder is listed.
var (
	metadataPath = regexp.MustCompile(`^/metadata/(timestamp|[0-9]{1,9}\.(root|targets|snapshot))\.json$`)
	bundlePath   = regexp.MustCompile(`^/bundles/[0-9a-f]{64}\.slb$`)
)

// ServeHTTP hands out the files of the catalog, with ranges.
func (c *serveCatalog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path
	switch {
	case bundlePath.MatchString(name):
		w.Header().Set("Content-Type", "application/zstd")
		w.Header().Set("ETag", `"`+strings.TrimSuffix(filepath.Base(name), ".slb")+`"`)
	case metadataPath.MatchString(name):
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store") // the timestamp changes
	default:
		http.Error(w, "the catalog has no such file", http.StatusNotFound)
		return
	}
	f, err := os.Open(filepath.Join(c.dir, filepath.FromSlash(name)))
	if err != nil {
		http.Error(w, "the catalog has no such file", http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.Error(w, "the file cannot be read", http.StatusInternalServerError)
		return
	}
	http.ServeContent(w, r, "", info.ModTime(), f)
}
