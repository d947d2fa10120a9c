package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/catalog/depot"
	"slipcast/catalog/trust"
	"slipcast/image/store"
)

// newOriginStore makes a store with an image that is released, and returns its folder
// and the file of its root.
func newOriginStore(t *testing.T) (dir, root string) {
	t.Helper()
	dir = t.TempDir()
	if _, err := store.Init(dir); err != nil {
		t.Fatal(err)
	}
	disk, im := filepath.Join(dir, "..", "disk.raw"), filepath.Join(dir, "..", "disk.img.zst")
	if err := os.WriteFile(disk, []byte(strings.Repeat("A small disk. ", 100000)), 0o666); err != nil {
		t.Fatal(err)
	}
	runOK(t, "capture", disk, im)
	runOK(t, "store", "add", "--store", dir, im, "room")
	key, err := trust.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	keys := []*trust.SecretKey{key}
	online, err := trust.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	repo, err := trust.Init(t.Context(), filepath.Join(dir, "catalog"), trust.InitOptions{Release: []trust.PublicKey{key.Public()}, Keys: keys, Online: online})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Resolve(store.Ref{Name: "room"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = repo.Release(t.Context(), trust.ReleaseOptions{Keys: keys, Online: online, Images: []trust.ImageTarget{
		{Name: e.Name, Version: e.Version, Digest: e.Digest.String(), Size: e.DiskSize},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, "catalog", "metadata", "1.root.json")
}

// runOK runs slipcast, which must succeed.
func runOK(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	code, stdout, stderr := runSlipcast(args...)
	if code != exitDone {
		t.Fatalf("slipcast %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// runSlipcast runs slipcast in this process.
func runSlipcast(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = run(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// TestStoreMirror mirrors over TLS, with the server's key pinned and a token, and
// shows by which exit codes a mirror fails.
func TestStoreMirror(t *testing.T) {
	t.Setenv("SLIPCAST_TOKEN", "secret")
	dir, root := newOriginStore(t)
	h := depot.Handler(dir)
	asked := 0
	server := httptest.NewUnstartedServer(http.StripPrefix("/store", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of those who do not like its certificate
	server.StartTLS()
	defer server.Close()
	sum := sha256.Sum256(server.Certificate().RawSubjectPublicKeyInfo)
	pin, url := hex.EncodeToString(sum[:]), server.URL+"/store/"
	mirror := t.TempDir()
	runOK(t, "store", "init", "--store", mirror)
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{url, "--trust", root}, exitFailed, "--pin takes a server by its key"},
		{[]string{url, "--trust", root, "--pin", strings.Repeat("00", 32)}, exitFailed, "not the one of --pin"},
		{[]string{url, "--pin", pin}, exitUsage, "--trust FILE has the root"},
		{[]string{url, "--pin", pin, "--trust", root, "--rate", "1kbit"}, exitUsage, "want at least 64.0 kbit/s"},
		{[]string{url, "--pin", pin, "--trust", root, "--payload", "some"}, exitUsage, "want all, critical or none"},
		{[]string{"ftp://x/"}, exitUsage, "no URL of a web server"},
		{[]string{url + "elsewhere/", "--pin", pin, "--trust", root}, exitFailed, "the origin has none"},
		{[]string{url, "--pin", pin, "--trust", root, "--json"}, exitDone, ""},
		{[]string{url, "--pin", pin}, exitDone, "0 images"},
	} {
		code, stdout, stderr := runSlipcast(append([]string{"store", "mirror", "--store", mirror}, tt.args...)...)
		if code != tt.code || !strings.Contains(stderr, tt.says) {
			t.Errorf("%q: exit code %d, want %d, and %q in:\n%s", tt.args, code, tt.code, tt.says, stderr)
		}
		if tt.args[len(tt.args)-1] == "--json" && !strings.Contains(stdout, `"images":1`) {
			t.Errorf("--json: %s", stdout)
		}
	}
	runOK(t, "verify", "--store", mirror, "room@1")
	t.Setenv("SLIPCAST_TOKEN", "other")
	if code, _, stderr := runSlipcast("store", "mirror", "--store", mirror, url, "--pin", pin); code != exitFailed || !strings.Contains(stderr, "SLIPCAST_TOKEN") {
		t.Errorf("with another token: exit code %d\n%s", code, stderr)
	}
}
