package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"slipcast/catalog/bundle"
	"slipcast/catalog/trust"
)

// A remoteShop is a catalog with one bundle on a server that wants a token.
type remoteShop struct {
	*testShop
	files  *serveCatalog
	server *httptest.Server
	root   string   // file
	goals  []string // what is applied; empty: all
}

func newRemoteShop(t *testing.T) *remoteShop {
	t.Helper()
	files, dir := newServeCatalog(t)
	s := &remoteShop{testShop: newTestShop(t, dir, files.online), files: files}
	path := filepath.Join(t.TempDir(), "reader.slb")
	buildTestBundle(t, path, "reader", "9.3.0", "")
	s.sign(trust.ReleaseOptions{Bundles: []string{path}}, true)
	s.server = httptest.NewServer(http.StripPrefix("/catalog", files))
	t.Cleanup(s.server.Close)
	root, err := files.Root(t.Context())
	s.root = filepath.Join(t.TempDir(), "root.json")
	if err = errors.Join(err, os.WriteFile(s.root, root, 0o600)); err != nil {
		t.Fatal(err)
	}
	return s
}

// buildTestBundle builds a bundle with one file of a megabyte that does not
// compress. more is the end of its bundle.yaml.
func buildTestBundle(t testing.TB, path, name, version, more string) {
	t.Helper()
	dir := t.TempDir()
	if !strings.Contains(more, "severity:") {
		more += "severity: low\n"
	}
	yaml := "schema: 1\nname: " + name + "\nversion: " + version + "\nscheme: dotted\ntitle: A reader\nkind: app\npayload:\n  - overlay: {from: files}\n" + more
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "files/opt"), 0o755), os.WriteFile(filepath.Join(dir, "files/opt/"+name), noise(), 0o644),
		os.WriteFile(filepath.Join(dir, "bundle.yaml"), []byte(yaml), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = bundle.Build(t.Context(), dir, out, bundle.BuildOptions{})
	if err = errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

// open opens the catalog as an agent has its child do it.
func (s *remoteShop) open(ctx context.Context, ticket []byte, nonce trust.Nonce) (*openCatalog, error) {
	f := catalogFlag{dir: s.server.URL + "/catalog", root: s.root, nonce: nonce.String(), machine: "00:00:5e:00:53:01"}
	f.settle = func() error { return nil }
	if ticket != nil {
		f.ticket = filepath.Join(s.t.TempDir(), "ticket.json")
		if err := os.WriteFile(f.ticket, ticket, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return f.open(ctx, &env{stdout: io.Discard, stderr: io.Discard, quiet: true})
}

// A catalog on a server is verified like one in a folder, and a bundle is read
// there without being fetched as a whole first.
func TestCatalogServer(t *testing.T) {
	s := newRemoteShop(t)
	nonce := trust.NewNonce()
	ticket, err := s.files.Ticket(t.Context(), trust.Claims{Nonce: nonce, Machine: "00:00:5e:00:53:01", Job: "7"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.open(t.Context(), ticket, nonce)
	if err != nil || !c.Fresh || len(c.Bundles) != 1 {
		t.Fatalf("open = %+v, %v; want a fresh catalog with one bundle", c, err)
	}
	b, err := c.bundle("reader@9.3.0-1")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Verify(t.Context(), nil); err != nil {
		t.Errorf("Verify = %v", err)
	}
	if _, err := s.open(t.Context(), ticket, trust.NewNonce()); !errors.Is(err, trust.ErrTicket) {
		t.Errorf("with another nonce: %v, want ErrTicket", err)
	}
	f := catalogFlag{dir: s.server.URL + "/catalog"}
	f.settle = func() error { return nil }
	if _, err := f.open(t.Context(), &env{stdout: io.Discard, stderr: io.Discard}); exitCode(t.Context(), err) != exitUsage {
		t.Errorf("without a root: %v, want a wrong use", err)
	}
}

// What a server, or somebody in its place, gives instead of a bundle is found
// out before any of it is used.
func TestCatalogServerTampers(t *testing.T) {
	s := newRemoteShop(t)
	c, err := s.open(t.Context(), nil, trust.Nonce{})
	if err != nil {
		t.Fatal(err)
	}
	path := s.repo.BundlePath(c.Bundles[0].File)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.slb")
	buildTestBundle(t, other, "reader", "9.3.1", "")
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 1
	for name, p := range map[string][]byte{"another bundle": foreign, "a flipped bit": flipped, "half of it": whole[:len(whole)/2], "nothing": {}} {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, p, 0o644); err != nil {
			t.Fatal(err)
		}
		b, err := c.bundle("reader@9.3.0-1")
		if err == nil {
			err = b.Verify(t.Context(), nil)
			b.Close()
		}
		if err == nil {
			t.Errorf("%s is taken for the bundle", name)
		}
	}
}

// A server that is lost has an exit code of its own, by which an agent knows
// that another try may help.
func TestCatalogServerLost(t *testing.T) {
	s := newRemoteShop(t)
	s.server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := s.open(ctx, nil, trust.Nonce{})
	if exitCode(ctx, err) != exitNobody {
		t.Errorf("exit code %d for %v, want %d", exitCode(ctx, err), err, exitNobody)
	}
}

// pinOf returns the pin of a test server.
func pinOf(s *httptest.Server) []byte {
	sum := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	return sum[:]
}

// Every request has the token, by https alone.
func TestCatalogServerToken(t *testing.T) {
	t.Setenv("SLIPCAST_TOKEN", "secret")
	var got atomic.Value
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Get("Authorization"))
		http.NotFound(w, r)
	})
	plainServer, tlsServer := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0) // of the client that does not like its key
	tlsServer.StartTLS()
	defer plainServer.Close()
	defer tlsServer.Close()
	for _, tt := range []struct {
		url  string
		pin  []byte
		want string
	}{
		{plainServer.URL, nil, ""}, {tlsServer.URL, pinOf(tlsServer), "Bearer secret"},
	} {
		c, err := newCatalogServer(t.Context(), tt.url, tt.pin)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Source().Metadata(t.Context(), "timestamp.json", 100); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want that it is not there", tt.url, err)
		}
		if got.Load() != tt.want {
			t.Errorf("%s: sent %q, want %q", tt.url, got.Load(), tt.want)
		}
		got.Store("none")
		if _, err := c.Open(trust.File{SHA256: strings.Repeat("0a", 32)}); err == nil || got.Load() != tt.want {
			t.Errorf("%s: a bundle that is not there: %v, sent %q; want %q", tt.url, err, got.Load(), tt.want)
		}
	}
	c, err := newCatalogServer(t.Context(), tlsServer.URL, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	var wrong *pinError
	if _, err := c.Source().Metadata(t.Context(), "timestamp.json", 100); !errors.As(err, &wrong) || exitCode(t.Context(), err) == exitNobody {
		t.Errorf("another server than that of the pin: %v, want a pinError", err)
	}
}

// Files of bundles that came before are taken from their folder, and the server
// is asked for the others. They are verified all the same.
func TestCatalogHeldFiles(t *testing.T) {
	s := newRemoteShop(t)
	var asked atomic.Int32
	files := s.server.Config.Handler
	s.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".slb") {
			asked.Add(1)
		}
		files.ServeHTTP(w, r)
	})
	f := catalogFlag{dir: s.server.URL + "/catalog", root: s.root, held: t.TempDir()}
	f.settle = func() error { return nil }
	c, err := f.open(t.Context(), &env{stdout: io.Discard, stderr: io.Discard, quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	held := heldPath(f.held, c.Bundles[0].File)
	whole, err := os.ReadFile(s.repo.BundlePath(c.Bundles[0].File))
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 1
	for _, tt := range []struct {
		name        string
		held        []byte
		good, asked bool
	}{
		{"none", nil, true, true}, {"the file", whole, true, false}, {"half of it", whole[:len(whole)/2], true, true}, {"a flipped bit", flipped, false, false},
	} {
		if tt.held != nil {
			if err := os.WriteFile(held, tt.held, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		asked.Store(0)
		b, err := c.bundle("reader@9.3.0-1")
		if err == nil {
			err = errors.Join(b.Verify(t.Context(), nil), b.Close())
		}
		if (err == nil) != tt.good || (asked.Load() > 0) != tt.asked {
			t.Errorf("%s: %v, the server was asked %d times; want good %v, asked %v", tt.name, err, asked.Load(), tt.good, tt.asked)
		}
	}
}
