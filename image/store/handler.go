package store

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"slipcast/image"
)

const (
	// servedImages is how many images a Handler keeps open at most, but for
	// those that are being read.
	servedImages = 8

	// servedIdle is how long it keeps one open that nobody reads: who gets an image
	// in pieces comes back within that time.
	servedIdle = 30 * time.Second
)

// A Handler serves the images of a store over HTTP: GET and HEAD of
// /NAME@VERSION.img.zst, and of /NAME for the newest version, with ranges (RFC
// 9110 section 14) and a strong ETag, so that who was cut off goes on. It lists
// nothing, and knows nothing of who may read: that is up to who serves it. It is safe
// for concurrent use. An image that is being read, or was within the last half minute,
// cannot be removed from the store.
type Handler struct {
	s *Store

	mu   sync.Mutex
	open map[Ref]*served
	shut bool
}

// A served image is one that is open. It is closed when nobody has used it for a
// while.
type served struct {
	*Image
	users int
	idle  *time.Timer // runs while there are no users
}

// Handler returns a handler for the store. Close ends what it holds.
func (s *Store) Handler() *Handler { return &Handler{s: s, open: map[Ref]*served{}} }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "images are only read here", http.StatusMethodNotAllowed)
		return
	}
	ref, err := ParseRef(strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), ".img.zst"))
	if err != nil {
		http.Error(w, "there is no such image", http.StatusNotFound)
		return
	}
	im, err := h.take(ref)
	if err != nil {
		text, code := httpError(err)
		http.Error(w, text, code)
		return
	}
	defer h.release(im)
	w.Header().Set("ETag", im.ETag)
	w.Header().Set("Content-Type", "application/zstd") // RFC 8878 section 7.1
	w.Header().Set("Content-Disposition", `attachment; filename="`+im.Ref.String()+`.img.zst"`)
	http.ServeContent(w, r, "", im.Added, io.NewSectionReader(im, 0, im.Size()))
}

// httpError says what a client is told. Where things lie on the server is not
// its business.
func httpError(err error) (string, int) {
	switch {
	case errors.Is(err, ErrNotFound):
		return "there is no such image", http.StatusNotFound
	case errors.Is(err, image.ErrDamaged):
		return "the image is damaged", http.StatusInternalServerError
	}
	return "the image cannot be read", http.StatusInternalServerError
}

// take returns an open image, which must be released.
func (h *Handler) take(r Ref) (*served, error) {
	e, err := h.s.Resolve(r)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.open[e.Ref]; ok {
		s.idle.Stop()
		s.users++
		return s, nil
	}
	im, err := h.s.OpenImage(e.Ref)
	if err != nil {
		return nil, err
	}
	s := &served{Image: im, users: 1}
	s.idle = time.AfterFunc(servedIdle, func() { h.expire(s) })
	s.idle.Stop()
	h.open[e.Ref] = s
	return s, nil
}

func (h *Handler) release(s *served) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	if h.shut || len(h.open) > servedImages {
		h.forget(s)
		return
	}
	s.idle.Reset(servedIdle)
}

// expire closes an image that nobody has used for a while.
func (h *Handler) expire(s *served) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.users == 0 && h.open[s.Ref] == s {
		h.forget(s)
	}
}

// forget closes an image without users.
func (h *Handler) forget(s *served) {
	s.idle.Stop()
	delete(h.open, s.Ref)
	s.Close()
}

// Close closes all images that nobody reads, and the others when they have been
// read. It always returns nil.
func (h *Handler) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shut = true
	for _, s := range h.open {
		if s.users == 0 {
			h.forget(s)
		}
	}
	return nil
}
