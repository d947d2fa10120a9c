package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"slipcast/image"
)

// ask sends one request to a handler.
func ask(h http.Handler, method, path string, header map[string]string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) []byte {
	t.Helper()
	p, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHandler(t *testing.T) {
	s := newStore(t)
	old, want := capture(t, image.LevelFast, 1, 2), capture(t, image.LevelFast, 2, -1, 3)
	mustAdd(t, s, old, "lab")
	mustAdd(t, s, want, "lab")
	h := s.Handler()
	defer h.Close()
	for path, p := range map[string][]byte{"/lab": want, "/lab.img.zst": want, "/lab@2.img.zst": want, "/lab@1.img.zst": old, "/lab@1": old} {
		r := ask(h, "GET", path, nil)
		if got := body(t, r); r.StatusCode != 200 || !bytes.Equal(got, p) || r.ContentLength != int64(len(p)) {
			t.Errorf("GET %s: %s, %d bytes, want %d", path, r.Status, len(got), len(p))
		}
	}
	r := ask(h, "HEAD", "/lab", nil)
	tag := r.Header.Get("ETag")
	if len(body(t, r)) > 0 || r.ContentLength != int64(len(want)) || r.Header.Get("Accept-Ranges") != "bytes" ||
		len(tag) < 64 || tag[1:65] != openBytes(t, want).Digest.String() {
		t.Errorf("HEAD: %v, ETag %s, want the length, ranges and the digest", r.Header, tag)
	}
	if other := ask(h, "HEAD", "/lab@1", nil).Header.Get("ETag"); other == tag {
		t.Error("two images have one ETag")
	}
	for header, p := range map[string][]byte{"bytes=10-19": want[10:20], "bytes=-9": want[len(want)-9:], "bytes=5000-": want[5000:]} {
		r := ask(h, "GET", "/lab", map[string]string{"Range": header, "If-Range": tag})
		if got := body(t, r); r.StatusCode != 206 || !bytes.Equal(got, p) {
			t.Errorf("GET %s: %s, %d bytes, want %d", header, r.Status, len(got), len(p))
		}
	}
	changed := ask(h, "GET", "/lab", map[string]string{"Range": "bytes=1-2", "If-Range": `"other"`})
	if got := body(t, changed); changed.StatusCode != 200 || !bytes.Equal(got, want) {
		t.Errorf("a range of another image: %s, %d bytes, want all", changed.Status, len(got))
	}
}

func TestHandlerRefuses(t *testing.T) {
	s := newStore(t)
	mustAdd(t, s, capture(t, image.LevelFast, 1), "lab")
	h := s.Handler()
	defer h.Close()
	tests := []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 404}, {"GET", "/none", 404}, {"GET", "/lab@7", 404}, {"GET", "/lab/1", 404},
		{"GET", "/../images/lab/1", 404}, {"GET", "/..", 404}, {"GET", "/%2e%2e%2fslipcast-store", 404},
		{"GET", "/lab@", 404}, {"GET", "/lab@1.img.zst.img.zst", 404}, {"GET", "//lab", 404},
		{"PUT", "/lab", 405}, {"POST", "/lab", 405}, {"DELETE", "/lab@1", 405},
	}
	for _, tt := range tests {
		if r := ask(h, tt.method, tt.path, nil); r.StatusCode != tt.want {
			t.Errorf("%s %s: %s, want %d", tt.method, tt.path, r.Status, tt.want)
		}
	}
	if r := ask(h, "GET", "/lab", map[string]string{"Range": "bytes=99999999-"}); r.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range behind the end: %s, want 416", r.Status)
	}
}

// openCount returns how many images h keeps open.
func openCount(h *Handler) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// An image stays open for a while after it was read, and no longer.
func TestHandlerCloses(t *testing.T) {
	s := newStore(t)
	for i := range servedImages + 3 {
		mustAdd(t, s, capture(t, image.LevelFast, i), fmt.Sprintf("i%d", i))
	}
	synctest.Test(t, func(t *testing.T) {
		h := s.Handler()
		for i := range servedImages + 3 {
			body(t, ask(h, "GET", fmt.Sprintf("/i%d", i), nil))
		}
		if n := openCount(h); n > servedImages {
			t.Errorf("%d images are open, want at most %d", n, servedImages)
		}
		if err := s.Remove(t.Context(), Ref{"i0", "1"}); !errors.Is(err, ErrInUse) {
			t.Errorf("removing an image that was read just now: %v, want ErrInUse", err)
		}
		time.Sleep(servedIdle + time.Second)
		synctest.Wait()
		if n := openCount(h); n > 0 {
			t.Errorf("%d images are open after a while, want none", n)
		}
		if err := s.Remove(t.Context(), Ref{"i0", "1"}); err != nil {
			t.Errorf("removing it later: %v", err)
		}
		body(t, ask(h, "GET", "/i1", nil))
		h.Close()
		if n := openCount(h); n > 0 {
			t.Errorf("%d images are open after Close, want none", n)
		}
	})
}
