package trust

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// web serves h, and returns a Source for what is below /catalog.
func web(t *testing.T, h http.Handler) Source {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL + "/catalog")
	if err != nil {
		t.Fatal(err)
	}
	return HTTPSource(base, nil)
}

// A catalog is the same from a folder and from a web server.
func TestHTTPSource(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	s.rotateOnline()
	src := web(t, http.StripPrefix("/catalog", http.FileServerFS(os.DirFS(s.dir))))
	c, err := Load(t.Context(), src, LoadOptions{Root: s.root})
	if err != nil || ids(c) != "room@1" || c.Versions.Root != 2 {
		t.Errorf("got %+v, %v", c, err)
	}
}

// A web server that is not what it should be.
func TestHTTPSourceRefuses(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		p := []byte(strings.Repeat("{", 64<<10))
		for r.Context().Err() == nil {
			if _, err := w.Write(p); err != nil {
				return
			}
		}
	}
	for name, tt := range map[string]struct {
		h    http.HandlerFunc
		want error // nil is any
	}{
		"endless":   {endless, ErrMalformed},
		"not there": {http.NotFound, fs.ErrNotExist},
		"gone":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }, fs.ErrNotExist},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, nil},
		"broken":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, nil},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		}, io.ErrUnexpectedEOF},
	} {
		p, err := web(t, tt.h).Metadata(t.Context(), timestampFile, maxTimestamp)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %d bytes, %v; want the error %v", name, len(p), err, tt.want)
		}
	}
}

// A web server that says nothing more is given up; in a bubble, where time is
// virtual, and on a connection in memory.
func TestHTTPSourceStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: stall{}}
		src := HTTPSource(&url.URL{Scheme: "http", Host: "slow"}, client)
		began := time.Now()
		_, err := src.Metadata(t.Context(), "1.targets.json", maxTargets)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want context.DeadlineExceeded", err)
		}
		if took, want := time.Since(began), patience+512*time.Second; took != want {
			t.Errorf("gave up after %v, want %v", took, want)
		}
	})
}

// A stall is a web server that sends half an answer.
type stall struct{}

func (stall) RoundTrip(r *http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(`{"signatures":[`), stalledBody{r.Context()})
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body), Request: r}, nil
}

type stalledBody struct{ ctx context.Context }

func (b stalledBody) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

// A file that is longer than metadata may be is refused, and so is what is no file.
func TestDirSourceRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "metadata"), 0o777); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, "metadata", timestampFile)
	if err := os.WriteFile(long, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(long, 1<<40); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "metadata", "1.snapshot.json"), 0o777); err != nil {
		t.Fatal(err)
	}
	src := DirSource(os.DirFS(dir))
	for name, want := range map[string]error{timestampFile: ErrMalformed, "1.snapshot.json": ErrMalformed, "1.root.json": fs.ErrNotExist} {
		if p, err := src.Metadata(t.Context(), name, maxTimestamp); !errors.Is(err, want) {
			t.Errorf("%s: %d bytes, %v; want %v", name, len(p), err, want)
		}
	}
	exact := DirSource(fstest.MapFS{"metadata/x": {Data: make([]byte, 10)}})
	if p, err := exact.Metadata(t.Context(), "x", 10); err != nil || len(p) != 10 {
		t.Errorf("10 bytes of 10: %d, %v", len(p), err)
	}
	if _, err := exact.Metadata(t.Context(), "x", 9); !errors.Is(err, ErrMalformed) {
		t.Errorf("10 bytes of 9: %v, want ErrMalformed", err)
	}
}

// A pipe in place of a file does not keep a reader for ever.
func TestDirSourcePipe(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "metadata"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "metadata", timestampFile), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := DirSource(os.DirFS(dir)).Metadata(t.Context(), timestampFile, 10); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
}
