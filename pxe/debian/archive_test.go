package debian

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ulikunitz/xz"
)

// entryOf returns what a release file says of body.
func entryOf(body []byte) releaseEntry {
	return releaseEntry{digest: sha256.Sum256(body), size: int64(len(body))}
}

// newKey makes an OpenPGP key that is as old as that and lives as long.
func newKey(t testing.TB, age, life time.Duration) *openpgp.Entity {
	t.Helper()
	made := time.Now().Add(-age)
	key, err := openpgp.NewEntity("archive", "", "a@example.org", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made }, KeyLifetimeSecs: uint32(life.Seconds()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// clearSign signs text by some keys.
func clearSign(t testing.TB, text string, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var private []*packet.PrivateKey
	for _, key := range keys {
		private = append(private, key.PrivateKey)
	}
	var out bytes.Buffer
	w, err := clearsign.EncodeMulti(&out, private, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A fakeMirror serves files from memory, at their paths.
type fakeMirror struct {
	t     *testing.T
	key   *openpgp.Entity
	url   string
	files map[string][]byte
	asked atomic.Int64
	src   Source
}

// newMirror starts a mirror with an empty cache and a keyring with its key.
func newMirror(t *testing.T) *fakeMirror {
	m := &fakeMirror{t: t, key: newKey(t, time.Hour, 0), files: map[string][]byte{}}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	m.url = server.URL
	ring := filepath.Join(t.TempDir(), "keyring.gpg")
	var keys bytes.Buffer
	if err := errors.Join(m.key.Serialize(&keys), os.WriteFile(ring, keys.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	m.src = Source{
		Mirror: m.url + "/debian", Security: m.url + "/security/", Keyring: ring, Cache: filepath.Join(t.TempDir(), "cache"),
		Suites: []string{"trixie", "trixie-security"}, Components: []string{"main"},
	}
	return m
}

func (m *fakeMirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.asked.Add(1)
	body, ok := m.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Write(body)
}

// put adds a suite with a list of packages; fields go into its release file.
func (m *fakeMirror) put(base, suite, fields, list, ending string) {
	m.t.Helper()
	packed := pack(m.t, list, ending)
	name, e := "main/binary-amd64/Packages"+ending, entryOf(packed)
	release := fmt.Sprintf("Codename: %s\n%sSHA256:\n %x %d %s\n", suite, fields, e.digest, e.size, name)
	m.files[base+"/dists/"+suite+"/InRelease"] = clearSign(m.t, release, m.key)
	m.files[base+"/dists/"+suite+"/"+name] = packed
	m.files[fmt.Sprintf("%s/dists/%s/main/binary-amd64/by-hash/SHA256/%x", base, suite, e.digest)] = packed
}

// pack compresses text as the ending of its file name says.
func pack(t *testing.T, text, ending string) []byte {
	t.Helper()
	var packed bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&packed)
	if ending == ".xz" {
		var err error
		if w, err = xz.NewWriter(&packed); err != nil {
			t.Fatal(err)
		}
	}
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// dated returns the fields Date and Valid-Until, from now.
func dated(date, until time.Duration) string {
	const layout = "Mon, 02 Jan 2006 15:04:05"
	now := time.Now().UTC()
	return "Date: " + now.Add(date).Format(layout) + " UTC\nValid-Until: " + now.Add(until).Format(layout) + " UTC\n"
}

// fill puts a kernel into both suites, the newer one into trixie-security.
func (m *fakeMirror) fill() {
	m.t.Helper()
	meta := func(v string) string { return listed("linux-image-amd64", v, "linux-image-"+v+"-amd64 (= "+v+")", nil) }
	for _, v := range []string{"6.9", "6.12"} {
		base := map[string]string{"6.9": "/debian", "6.12": "/security"}[v]
		body := []byte("kernel " + v)
		list := meta(v) + listed("linux-image-"+v+"-amd64", v, "kmod", body)
		m.files[base+"/pool/linux-image-"+v+"-amd64_"+v+".deb"] = body
		if v == "6.9" {
			m.put(base, "trixie", dated(-time.Hour, time.Hour), list, ".gz")
		} else {
			m.put(base, "trixie-security", dated(-time.Hour, time.Hour)+"Acquire-By-Hash: yes\n", list, ".xz")
		}
	}
}

// kernel opens the mirror and fetches the newest kernel.
func (m *fakeMirror) kernel() (string, *Archive, error) {
	a, err := Open(m.t.Context(), m.src)
	if err != nil {
		return "", a, err
	}
	p, err := a.Resolve("linux-image-amd64", "linux-image-")
	if err != nil {
		return "", a, err
	}
	file, err := a.Fetch(m.t.Context(), p)
	if err != nil {
		return "", a, err
	}
	body, err := os.ReadFile(file)
	return string(body), a, err
}

func TestOpenAndFetch(t *testing.T) {
	m := newMirror(t)
	m.fill()
	var told int64
	m.src.Progress = func(n int64) { told += n }
	got, a, err := m.kernel()
	if err != nil || got != "kernel 6.12" {
		t.Fatalf("kernel = %q, %v, want that of trixie-security", got, err)
	}
	if rs := a.Releases(); len(rs) != 2 || rs[1].Suite != "trixie-security" || rs[1].Offline != nil || rs[1].Expired(time.Now()) {
		t.Errorf("releases = %+v, want two that are fresh", rs)
	}
	if told == 0 {
		t.Error("nobody was told of progress")
	}
	if _, err := a.Package("nothing"); !errors.Is(err, ErrNoPackage) {
		t.Errorf("Package of nothing = %v, want ErrNoPackage", err)
	}
	if _, err := a.Resolve("linux-image-amd64", "shim"); !errors.Is(err, ErrNoPackage) {
		t.Errorf("Resolve to a shim = %v, want ErrNoPackage", err)
	}
	before := m.asked.Load()
	if _, _, err := m.kernel(); err != nil || m.asked.Load() != before+2 {
		t.Errorf("the second time %d requests, %v, want one for each suite", m.asked.Load()-before, err)
	}
	if left, _ := filepath.Glob(filepath.Join(m.src.Cache, "*", "*.partial")); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
}

func TestOpenRefuses(t *testing.T) {
	const release = "/debian/dists/trixie/InRelease"
	tests := []struct {
		name   string
		change func(m *fakeMirror)
		want   error
	}{
		{"no keyring", func(m *fakeMirror) { m.src.Keyring += "x" }, ErrNoKeyring},
		{"another key", func(m *fakeMirror) {
			m.files[release] = clearSign(m.t, "Codename: trixie\n", newKey(m.t, time.Hour, 0))
		}, ErrUntrusted},
		{"not signed", func(m *fakeMirror) { m.files[release] = []byte("Codename: trixie\n") }, ErrUntrusted},
		{"changed text", func(m *fakeMirror) {
			m.files[release] = bytes.Replace(m.files[release], []byte("Packages.gz"), []byte("Packages.xz"), 1)
		}, ErrUntrusted},
		{"another suite", func(m *fakeMirror) {
			m.put("/debian", "sid", "", "", ".gz")
			m.files[release] = m.files["/debian/dists/sid/InRelease"]
		}, ErrUntrusted},
		{"expired", func(m *fakeMirror) { m.put("/debian", "trixie", dated(-2*time.Hour, -time.Hour), "", ".gz") }, ErrExpired},
		{"no such architecture", func(m *fakeMirror) { m.src.Arch = "s390x" }, ErrNoPackage},
		{"changed list", func(m *fakeMirror) {
			m.files["/debian/dists/trixie/main/binary-amd64/Packages.gz"][20] ^= 1
		}, ErrDigest},
		{"changed package", func(m *fakeMirror) { m.files["/security/pool/linux-image-6.12-amd64_6.12.deb"][0] ^= 1 }, ErrDigest},
		{"longer package", func(m *fakeMirror) {
			m.files["/security/pool/linux-image-6.12-amd64_6.12.deb"] = []byte("kernel 6.12 and more")
		}, ErrDigest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMirror(t)
			m.fill()
			tt.change(m)
			if got, _, err := m.kernel(); !errors.Is(err, tt.want) {
				t.Errorf("kernel = %q, %v, want %v", got, err, tt.want)
			}
			if left, _ := filepath.Glob(filepath.Join(m.src.Cache, "*", "*.partial")); len(left) > 0 {
				t.Errorf("left in the cache: %q", left)
			}
		})
	}
}

// TestOffline shows that what has been fetched once can be had again without
// the mirror, and that this is told.
func TestOffline(t *testing.T) {
	m := newMirror(t)
	m.fill()
	if _, _, err := m.kernel(); err != nil {
		t.Fatal(err)
	}
	clear(m.files) // the mirror answers 404 from now on
	got, a, err := m.kernel()
	if err != nil || got != "kernel 6.12" {
		t.Fatalf("kernel = %q, %v, want it from the cache", got, err)
	}
	r := a.Releases()[1]
	if r.Offline == nil || !strings.Contains(r.Offline.Error(), "404") {
		t.Errorf("offline = %v, want the answer of the mirror", r.Offline)
	}
	if now := time.Now(); r.Expired(now) || !r.Expired(now.Add(2*time.Hour)) {
		t.Errorf("release %+v, want it to expire in an hour", r)
	}
	m.src.Cache = filepath.Join(t.TempDir(), "empty")
	if _, _, err := m.kernel(); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("with an empty cache: %v, want the answer of the mirror", err)
	}
}

// TestExpiredOffline shows that without the mirror a release file is used
// although it has expired, which is told.
func TestExpiredOffline(t *testing.T) {
	m := newMirror(t)
	m.fill()
	m.src.Suites = []string{"trixie"}
	if _, _, err := m.kernel(); err != nil {
		t.Fatal(err)
	}
	old := m.files["/debian/dists/trixie/main/binary-amd64/Packages.gz"]
	list, err := gzip.NewReader(bytes.NewReader(old))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(list)
	if err != nil {
		t.Fatal(err)
	}
	m.put("/debian", "trixie", dated(-2*time.Hour, -time.Hour), string(text), ".gz")
	cached, _ := filepath.Glob(filepath.Join(m.src.Cache, "lists", "*InRelease"))
	if len(cached) != 1 {
		t.Fatalf("cache = %q, want one release file", cached)
	}
	if err := os.WriteFile(cached[0], m.files["/debian/dists/trixie/InRelease"], 0o644); err != nil {
		t.Fatal(err)
	}
	clear(m.files)
	got, a, err := m.kernel()
	if err != nil || got != "kernel 6.9" {
		t.Fatalf("kernel = %q, %v, want it from the cache", got, err)
	}
	if r := a.Releases()[0]; r.Offline == nil || !r.Expired(time.Now()) {
		t.Errorf("release %+v, want it to be told that it is from the cache and expired", r)
	}
}

// TestDamagedCache shows that a damaged file is fetched again.
func TestDamagedCache(t *testing.T) {
	m := newMirror(t)
	m.fill()
	if _, _, err := m.kernel(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(m.src.Cache, "*", "*"))
	if len(files) != 5 { // two release files, two lists, one package
		t.Fatalf("cache = %q, want five files", files)
	}
	for _, file := range files {
		if err := os.WriteFile(file, []byte("damaged"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, _, err := m.kernel(); err != nil || got != "kernel 6.12" {
		t.Errorf("kernel = %q, %v, want it fetched again", got, err)
	}
}

// TestLaggingMirror shows that an older release file does not replace a newer
// one, which is how packages with known holes would come back.
func TestLaggingMirror(t *testing.T) {
	m := newMirror(t)
	m.fill()
	if _, _, err := m.kernel(); err != nil {
		t.Fatal(err)
	}
	m.put("/security", "trixie-security", dated(-48*time.Hour, time.Hour), "", ".gz")
	if got, _, err := m.kernel(); err != nil || got != "kernel 6.12" {
		t.Errorf("kernel = %q, %v, want that of the newer list", got, err)
	}
}

func TestOpenEnds(t *testing.T) {
	m := newMirror(t)
	m.fill()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, m.src); !errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v, want context.Canceled", err)
	}
}

func TestSourceRejects(t *testing.T) {
	for _, src := range []Source{
		{},
		{Cache: "c", Suites: []string{"../x"}},
		{Cache: "c", Suites: []string{".."}},
		{Cache: "c", Components: []string{"a/b"}},
		{Cache: "c", Arch: "x y"},
	} {
		if _, err := src.withDefaults(); err == nil {
			t.Errorf("%+v was taken", src)
		}
	}
}
