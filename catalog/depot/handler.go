package depot

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Handler shows the store in the folder dir to mirrors: the catalog's metadata
// and bundles, the version files of images that the catalog names and that are not
// recalled, and their frames, at the paths of section 12.1 of docs/bundles.md. It
// answers GET and HEAD, with ranges (RFC 9110, section 14), lists no folder, follows
// no link out of the store, and knows nothing of who may read: that is up to who
// serves it. It holds nothing open, follows what others do to the store, and is safe for
// concurrent use. It takes 8 bytes of memory for each chunk of each image.
func Handler(dir string) http.Handler { return &handler{dir: dir, released: &released{dir: dir}} }

type handler struct {
	dir      string
	released *released
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, "a store is only read here", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if !h.shows(r, name) {
		refuse(w, "the store has no such file", http.StatusNotFound)
		return
	}
	f, err := h.open(name)
	if err != nil {
		refuse(w, "the store has no such file", http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		refuse(w, "the file cannot be read", http.StatusInternalServerError)
		return
	}
	if err := describe(w.Header(), name, f); err != nil {
		refuse(w, "the file cannot be read", http.StatusInternalServerError)
		return
	}
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// refuse answers with an error, which nobody keeps: the next root is not there
// until it is.
func refuse(w http.ResponseWriter, text string, code int) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, code)
}

// shows tells whether the file at a path is one of section 12.1.
func (h *handler) shows(r *http.Request, name string) bool {
	if metadataForm.MatchString(name) || bundleForm.MatchString(name) {
		return true
	}
	if d, chunkSize, ok := parseFramePath(name); ok {
		return h.released.frame(r.Context(), d, chunkSize)
	}
	ref, ok := parseImagePath(name)
	return ok && h.released.image(r.Context(), ref)
}

// open opens a file of the store, and no pipe.
func (h *handler) open(name string) (*os.File, error) {
	root, err := os.OpenRoot(h.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// describe says what a file is and for how long. All but the timestamp are for
// ever; a frame may come once more in another compression, which is as good, but not
// the rest of it.
func describe(h http.Header, name string, f *os.File) error {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "max-age=31536000, immutable") // RFC 8246
	switch {
	case bundleForm.MatchString(name):
		h.Set("ETag", `"`+strings.TrimSuffix(path.Base(name), ".slb")+`"`)
	case metadataForm.MatchString(name):
		h.Set("Content-Type", "application/json")
		if path.Base(name) != timestampFile {
			return nil
		}
		h.Set("Cache-Control", "no-cache") // each time one asks whether it is the same
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(f, 0, maxRoot)); err != nil {
			return err
		}
		h.Set("ETag", `"`+hex.EncodeToString(sum.Sum(nil))+`"`)
	}
	return nil
}
