package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"slipcast/image"
)

// runHere runs the program in this process and returns its exit code and what it printed.
func runHere(args ...string) (code int, output string) {
	var b bytes.Buffer
	code = run(args, strings.NewReader(""), &b, &b)
	return code, b.String()
}

// mustSlipcast runs the program, which must end well.
func mustSlipcast(t *testing.T, args ...string) string {
	t.Helper()
	code, output := runHere(args...)
	if code != exitDone {
		t.Fatalf("slipcast %s: exit code %d:\n%s", strings.Join(args, " "), code, output)
	}
	return output
}

// A webImage is an image on a web server, and the disk in it.
type webImage struct {
	dir, url string
	disk     []byte
	im       *image.Image
	asked    atomic.Int64 // requests
	sent     atomic.Int64 // bytes of answers
}

// newWebImage captures a disk of 24 chunks that do not compress.
func newWebImage(t *testing.T, spoil func(w http.ResponseWriter, r *http.Request) bool) *webImage {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	w := &webImage{dir: t.TempDir(), disk: someBytes(24 << 20)}
	path := filepath.Join(w.dir, "disk.raw")
	if err := os.WriteFile(path, w.disk, 0o666); err != nil {
		t.Fatal(err)
	}
	mustSlipcast(t, "capture", path, filepath.Join(w.dir, "disk.img.zst"))
	p, err := os.ReadFile(filepath.Join(w.dir, "disk.img.zst"))
	if err != nil {
		t.Fatal(err)
	}
	if w.im, err = image.Open(bytes.NewReader(p), int64(len(p))); err != nil {
		t.Fatal(err)
	}
	h := files(p, spoil)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		h.ServeHTTP(&countingWriter{rw, &w.sent}, r)
	}))
	t.Cleanup(s.Close)
	w.url = s.URL + "/disk.img.zst"
	return w
}

// A countingWriter counts the bytes of an answer.
type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

// Write implements io.Writer.
func (c *countingWriter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

var _ io.Writer = (*countingWriter)(nil)

// checkDisk compares a restored file with the disk.
func (w *webImage) checkDisk(t *testing.T, path string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, w.disk) {
		t.Errorf("the target holds another disk than the image (%d bytes, %v)", len(got), err)
	}
}

// All commands that read an image read it from a web server.
func TestRemoteCommands(t *testing.T) {
	w := newWebImage(t, nil)
	target := filepath.Join(w.dir, "copy.raw")
	mustSlipcast(t, "restore", "--yes", w.url, target)
	w.checkDisk(t, target)
	if most := w.im.Size() * 3 / 2; w.sent.Load() > most {
		t.Errorf("%d bytes came for an image of %d", w.sent.Load(), w.im.Size())
	}
	if out := mustSlipcast(t, "inspect", w.url); !strings.Contains(out, w.im.Digest.String()) {
		t.Errorf("inspect prints no digest:\n%s", out)
	}
	mustSlipcast(t, "verify", w.url)
	mustSlipcast(t, "verify", w.url, target)
}

// A delta brings only what the target lacks.
func TestRemoteDelta(t *testing.T) {
	w := newWebImage(t, nil)
	target := filepath.Join(w.dir, "copy.raw")
	old := bytes.Clone(w.disk)
	for _, n := range []int{5, 6, 17} {
		old[n<<20+1000] ^= 1
	}
	if err := os.WriteFile(target, old, 0o666); err != nil {
		t.Fatal(err)
	}
	out := mustSlipcast(t, "restore", "--yes", "--delta", w.url, target)
	w.checkDisk(t, target)
	// Three chunks, the first and the last, whose bytes are written at the end; head,
	// tail and seek table.
	if sent := w.sent.Load(); sent > 5<<20+64<<10 || sent < 5<<20 {
		t.Errorf("%d bytes came for three chunks of 1 MiB and two that are always brought:\n%s", sent, out)
	}
}

// What a web server does to an image ends in the exit code that says it.
func TestRemoteFaults(t *testing.T) {
	nothing := func(http.ResponseWriter, *http.Request) bool { return false }
	tests := []struct {
		name, want string
		code       int
		spoil      func(asked int64, w http.ResponseWriter, r *http.Request) bool
	}{
		{"changed", "has changed since it was opened", exitFailed, func(asked int64, w http.ResponseWriter, _ *http.Request) bool {
			if asked > 12 {
				w.Header().Set("ETag", `"two"`)
			}
			return false
		}},
		{"forbidden", "hint: put the server's token into SLIPCAST_TOKEN", exitFailed, func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}},
		{"lies", "chunk ", exitDamaged, func(asked int64, w http.ResponseWriter, r *http.Request) bool {
			if first, last, err := testRange(r); err == nil && last-first > 100<<10 {
				p := bytes.Repeat([]byte("lie "), (last-first+4)/4)
				w.Header().Set("ETag", `"one"`)
				w.Header().Set("Content-Range", strings.Replace(r.Header.Get("Range"), "=", " ", 1)+"/"+r.Header.Get("X-Size"))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(p[:last-first+1])
				return true
			}
			return false
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			spoil := nothing
			w := newWebImage(t, func(rw http.ResponseWriter, r *http.Request) bool { return spoil(rw, r) })
			spoil = func(rw http.ResponseWriter, r *http.Request) bool {
				r.Header.Set("X-Size", formatSize(w.im.Size()))
				return tt.spoil(asked.Add(1), rw, r)
			}
			target := filepath.Join(w.dir, "copy.raw")
			code, out := runHere("restore", "--yes", w.url, target)
			if code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, tt.code, tt.want, out)
			}
			if _, err := os.Stat(target); err == nil && tt.code == exitFailed && tt.name == "forbidden" {
				t.Error("a target was made for an image that nobody may read")
			}
		})
	}
}

func formatSize(n int64) string { return strconv.FormatInt(n, 10) }
