package pxe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	testMAC  = "52:54:00:12:34:56"
	testUUID = "12345678-9abc-def0-1234-56789abcdef0"
	testOwn  = "/machine/" + testMAC + "/" + testUUID + "/"
	testFrom = "10.83.0.7:1024"
)

// A fixedDirector decides the same for all machines, and counts.
type fixedDirector struct {
	decision Decision
	err      error
	files    []File

	mu      sync.Mutex
	asked   []Client
	offered []Client
}

func (d *fixedDirector) Direct(_ context.Context, c Client) (Decision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, c)
	return d.decision, d.err
}

func (d *fixedDirector) Offer(_ context.Context, c Client) ([]File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.offered = append(d.offered, c)
	return d.files, d.err
}

// newTestServer returns a server on 10.83.0.1/24 whose boot folder has one
// file of each kind, which says its own name.
func newTestServer(t testing.TB, d *fixedDirector) *Server {
	t.Helper()
	s := &Server{Interface: "net0", Address: netip.MustParsePrefix("10.83.0.1/24"), Folder: t.TempDir(), Director: d}
	for _, name := range []string{
		"boot.json", "bios/undionly.kpxe", "x64/shim.efi", "x64/grub.efi", "x64/mm.efi", "x64/ipxe.efi", "x64/linux",
		"x64/initrd", "x64/boot.img", "arm64/shim.efi", "arm64/grub.efi", "arm64/ipxe.efi", "arm64/linux", "arm64/initrd",
	} {
		file := filepath.Join(s.Folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(`"`+name+`"`), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// ask asks s from an address.
func ask(s *Server, method, target, from string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://10.83.0.1/", nil)
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery, r.RemoteAddr = path, query, from
	w := httptest.NewRecorder()
	s.HTTPHandler().ServeHTTP(w, r)
	return w
}

func TestHTTPFiles(t *testing.T) {
	s := newTestServer(t, &fixedDirector{})
	for _, tt := range []struct{ path, want string }{
		{"/bios/undionly.kpxe", `"bios/undionly.kpxe"`},
		{"/x64/shim.efi", `"x64/shim.efi"`},
		{"//x64//grubx64.efi", `"x64/grub.efi"`}, // as shim asks
		{"/arm64/grubaa64.efi", `"arm64/grub.efi"`},
		{"/x64/mmx64.efi", `"x64/mm.efi"`},
		{"/x64/\x01\xff\x02", `"x64/grub.efi"`}, // rhboot/shim#696
		{"/x64/Onboard", ""},
		{"/x64/revocations_sbat.efi", ""},
		{"/x64", ""},
		{"/x64/", ""},
		{"/x64/../boot.json", ""},
		{"/x64/../../etc/passwd", ""},
		{"/boot.json", ""},
		{"/etc/passwd", ""},
		{"/", ""},
		{"/grub/x86_64-efi/command.lst", ""},
	} {
		w := ask(s, "GET", tt.path, testFrom)
		if want := map[bool]int{true: 404, false: 200}[tt.want == ""]; w.Code != want {
			t.Errorf("GET %q = %d, want %d", tt.path, w.Code, want)
			continue
		}
		if tt.want != "" && w.Body.String() != tt.want {
			t.Errorf("GET %q = %s, want %s", tt.path, w.Body, tt.want)
		}
	}
}

// TestHTTPFolder shows that a link out of the boot folder is not followed, and
// that a folder which is put in its place is seen at once.
func TestHTTPFolder(t *testing.T) {
	s := newTestServer(t, &fixedDirector{})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(s.Folder, "x64", "link.efi")); err != nil {
		t.Fatal(err)
	}
	if w := ask(s, "GET", "/x64/link.efi", testFrom); w.Code == 200 {
		t.Errorf("GET of a link that leads out = %d %s, want a refusal", w.Code, w.Body)
	}
	newer := newTestServer(t, &fixedDirector{}).Folder
	if err := os.WriteFile(filepath.Join(newer, "x64", "linux"), []byte("newer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.Folder, s.Folder+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(newer, s.Folder); err != nil {
		t.Fatal(err)
	}
	if got := ask(s, "GET", "/x64/linux", testFrom).Body.String(); got != "newer" {
		t.Errorf("GET of a file in the new folder = %q, want newer", got)
	}
}

// TestHTTPWire shows what firmware needs on a real connection: HEAD with a
// length, ranges, and a connection that stays open after a 404.
func TestHTTPWire(t *testing.T) {
	s := newTestServer(t, &fixedDirector{})
	server := httptest.NewServer(s.HTTPHandler())
	defer server.Close()
	conns := 0
	client := &http.Client{Transport: &http.Transport{}}
	do := func(method, path, ranges string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		r = r.WithContext(traceConns(t.Context(), &conns))
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return resp
	}
	if resp := do("HEAD", "/x64/shim.efi", ""); resp.StatusCode != 200 || resp.ContentLength != 14 || resp.Header.Get("Content-Type") != "application/efi" {
		t.Errorf("HEAD = %d, %d bytes, %s, want 200, 14, application/efi", resp.StatusCode, resp.ContentLength, resp.Header.Get("Content-Type"))
	}
	if resp := do("GET", "/x64/nothing.efi", ""); resp.StatusCode != 404 || resp.ContentLength < 0 || resp.Close {
		t.Errorf("GET of nothing = %d, %d bytes, close %v, want 404 with a length, open", resp.StatusCode, resp.ContentLength, resp.Close)
	}
	resp := do("GET", "/x64/shim.efi", "bytes=5-8")
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 206 || string(body) != "shim" {
		t.Errorf("GET of a range = %d %q, want 206 shim", resp.StatusCode, body)
	}
	if resp := do("POST", "/x64/shim.efi", ""); resp.StatusCode != 405 {
		t.Errorf("POST = %d, want 405", resp.StatusCode)
	}
	if conns != 1 {
		t.Errorf("%d connections were made, want 1 that stays open", conns)
	}
}

func TestScripts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		verdict Verdict
		path    string
		want    []string // in this order; none is not found
	}{
		{"grub agent", Agent, testOwn + "grub.cfg", []string{
			"set base=(http,10.83.0.1)", "linux $base/$arch/linux panic=30 quiet loglevel=3 console=ttyS0; then", "initrd $base/$arch/initrd $base" + testOwn + "archive", "boot"}},
		{"grub local", Local, testOwn + "grub.cfg", []string{"exit 1"}},
		{"grub ignored", Ignore, testOwn + "grub.cfg", nil},
		{"grub without uuid", Agent, "/machine/" + testMAC + "/-/grub.cfg", []string{"/machine/" + testMAC + "/-/archive"}},
		{"ipxe agent", Agent, testOwn + "boot.ipxe", []string{
			"#!ipxe\n", "imgargs linux initrd=initrd initrd=archive panic=30 quiet loglevel=3 console=ttyS0\n", "initrd --name archive ${base}" + testOwn + "archive", "boot linux"}},
		{"ipxe local", Local, testOwn + "boot.ipxe", []string{"#!ipxe\n", "iseq ${platform} efi && exit 1 ||", "sanboot --no-describe --drive 0x80 || sanboot --no-describe --drive 0x81 || exit 1"}},
		{"ipxe first", Local, "/machine/" + testMAC + "/boot.ipxe", []string{"#!ipxe\n", "chain --replace --autofree http://10.83.0.1/machine/" + testMAC + "/${id}/boot.ipxe"}},
		{"common grub", Local, "/grub/grub.cfg", []string{"smbios --type 1 --get-uuid 8 --set uuid", "source (http,10.83.0.1)/machine/$net_default_mac/$uuid/grub.cfg", "exit 1"}},
		{"autoexec", Local, "/autoexec.ipxe", []string{"#!ipxe\nifconf -c dhcp", "http://10.83.0.1/machine/${netX/mac}/${id}/boot.ipxe"}},
		{"autoexec beside the loader", Local, "/x64/autoexec.ipxe", []string{"#!ipxe\nifconf -c dhcp"}},
		{"autoexec elsewhere", Local, "/machine/autoexec.ipxe", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTestServer(t, &fixedDirector{decision: Decision{Verdict: tt.verdict, Args: []string{"console=ttyS0"}}})
			s.Args = []string{"loglevel=3"}
			w := ask(s, "GET", tt.path, testFrom)
			if tt.want == nil && w.Code != 404 {
				t.Fatalf("GET = %d %s, want 404", w.Code, w.Body)
			}
			rest := w.Body.String()
			for _, want := range tt.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("GET = %d\n%s\nwant %q in it, in this order", w.Code, w.Body, want)
				}
				rest = after
			}
		})
	}
}

// TestScriptClient shows what the Director hears of a machine.
func TestScriptClient(t *testing.T) {
	d := &fixedDirector{decision: Decision{Verdict: Local}}
	s := newTestServer(t, d)
	ask(s, "GET", testOwn+"boot.ipxe?serial=%20ABC-12%20", testFrom)
	ask(s, "GET", testOwn+"boot.ipxe?serial="+strings.Repeat("x", 65), testFrom)
	ask(s, "GET", testOwn+"boot.ipxe?serial=a%0ab", testFrom)
	want := Client{UUID: testUUID, Serial: "ABC-12", Address: netip.MustParseAddr("10.83.0.7")}
	for i, c := range d.asked {
		if i > 0 {
			want.Serial = ""
		}
		if c.MAC.String() != testMAC || c.UUID != want.UUID || c.Serial != want.Serial || c.Address != want.Address {
			t.Errorf("request %d: the director is asked for %+v, want %+v", i, c, want)
		}
	}
	if len(d.asked) != 3 {
		t.Errorf("the director was asked %d times, want 3", len(d.asked))
	}
}

// TestMachinePaths shows that nothing but a MAC address and a UUID gets into a
// script.
func TestMachinePaths(t *testing.T) {
	s := newTestServer(t, &fixedDirector{decision: Decision{Verdict: Agent}})
	for _, path := range []string{
		"/machine/52:54:00:12:34:5/-/grub.cfg",
		"/machine/52-54-00-12-34-56/-/grub.cfg",
		"/machine/52:54:00:12:34:56:78:90/-/grub.cfg",
		"/machine/53:54:00:12:34:56/-/grub.cfg",
		"/machine/00:00:00:00:00:00/-/grub.cfg",
		"/machine/52:54:00:AB:34:56/-/grub.cfg",
		"/machine/" + testMAC + "/12345678-9ABC-def0-1234-56789abcdef0/grub.cfg",
		"/machine/" + testMAC + "/12345678-9abc-def0-1234-56789abcdef/grub.cfg",
		"/machine/" + testMAC + "/-; reboot/grub.cfg",
		"/machine/" + testMAC + "/-\n/grub.cfg",
		"/machine/" + testMAC + "/" + testUUID + "/grub.cfg\n",
		"/machine/" + testMAC + "/" + testUUID + "/ticket",
		"/machine/" + testMAC + "/" + testUUID,
		"/machine/" + testMAC + "/grub.cfg",
		"/machine/" + testMAC,
		"/machine/",
		"/machine/a/b/c/d/e",
	} {
		if w := ask(s, "GET", path, testFrom); w.Code != 404 {
			t.Errorf("GET %q = %d, want 404", path, w.Code)
		}
	}
	if w := ask(s, "GET", testOwn+"grub.cfg", "192.0.2.7:1024"); w.Code != 403 {
		t.Errorf("GET from another network = %d, want 403", w.Code)
	}
	r := httptest.NewRequest("GET", testOwn+"grub.cfg", nil)
	r.RemoteAddr = testFrom
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	w := httptest.NewRecorder()
	s.HTTPHandler().ServeHTTP(w, r)
	if w.Code != 403 {
		t.Errorf("GET by a browser = %d, want 403: any page could have a machine's boots counted", w.Code)
	}
}

// TestArgs shows that only plain words get onto the kernel's command line.
func TestArgs(t *testing.T) {
	for _, bad := range []string{"", "a b", "a;b", "$x", "${x}", "a\nb", "a\"b", "a'b", "a\\b", "{", "|", "&", "a||b", "é", strings.Repeat("a", 2000)} {
		for _, file := range []string{"grub.cfg", "boot.ipxe"} {
			s := newTestServer(t, &fixedDirector{decision: Decision{Verdict: Agent, Args: []string{bad}}})
			if w := ask(s, "GET", testOwn+file, testFrom); w.Code != 503 {
				t.Errorf("%s with argument %.20q = %d %s, want 503", file, bad, w.Code, w.Body)
			}
		}
	}
}

func TestDirectorTrouble(t *testing.T) {
	d := &fixedDirector{decision: Decision{Verdict: Agent}}
	s := newTestServer(t, d)
	ask(s, "GET", testOwn+"grub.cfg", testFrom)
	d.err = errors.New("secret")
	for _, file := range []string{"grub.cfg", "boot.ipxe", "archive"} {
		if w := ask(s, "GET", testOwn+file, testFrom); w.Code != 503 || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s with a director in trouble = %d %s, want 503 without its words", file, w.Code, w.Body)
		}
	}
}

// TestArchive shows when an archive is made, and who gets it.
func TestArchive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fixedDirector{decision: Decision{Verdict: Agent}, files: []File{{"etc/slipcast/ticket.json", []byte("{}")}}}
		s := newTestServer(t, d)
		want := func(method, path, from string, code, offers int) {
			t.Helper()
			if w := ask(s, method, path, from); w.Code != code {
				t.Errorf("%s %s from %s = %d, want %d", method, path, from, w.Code, code)
			}
			if len(d.offered) != offers {
				t.Errorf("%s %s from %s: %d offers so far, want %d", method, path, from, len(d.offered), offers)
			}
		}
		const other = "10.83.0.8:99"
		want("GET", testOwn+"archive", testFrom, 403, 0) // no script yet
		want("GET", testOwn+"grub.cfg", testFrom, 200, 0)
		want("GET", testOwn+"archive", other, 403, 0)
		want("GET", "/machine/"+testMAC+"/-/archive", testFrom, 403, 0)
		want("HEAD", testOwn+"archive", testFrom, 200, 1)
		want("GET", testOwn+"archive", "10.83.0.7:2000", 200, 1)
		time.Sleep(stale - time.Second)
		want("GET", testOwn+"archive", testFrom, 200, 1) // a loader that reads twice
		want("GET", testOwn+"grub.cfg", testFrom, 200, 1)
		want("GET", testOwn+"archive", testFrom, 200, 2) // the next boot
		want("GET", testOwn+"grub.cfg", other, 200, 2)
		want("GET", testOwn+"archive", testFrom, 403, 2) // it is somewhere else now
		want("GET", testOwn+"archive", other, 200, 3)
		time.Sleep(stale)
		want("GET", testOwn+"archive", other, 200, 4)
		time.Sleep(scriptLife)
		want("GET", testOwn+"archive", other, 403, 4)
		if c := d.offered[0]; c.MAC.String() != testMAC || c.UUID != testUUID || c.Address != netip.MustParseAddr("10.83.0.7") {
			t.Errorf("offered to %+v, want the machine of the script", c)
		}
	})
}

// TestArchiveOnce shows that requests at the same time are one offer.
func TestArchiveOnce(t *testing.T) {
	d := &fixedDirector{decision: Decision{Verdict: Agent}}
	s := newTestServer(t, d)
	ask(s, "GET", testOwn+"grub.cfg", testFrom)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if w := ask(s, "GET", testOwn+"archive", testFrom); w.Code != 200 {
				t.Errorf("archive = %d, want 200", w.Code)
			}
		})
	}
	wg.Wait()
	if len(d.offered) != 1 {
		t.Errorf("%d offers, want 1", len(d.offered))
	}
}

// TestBootsBound shows that scripts for many machines do not fill the memory.
func TestBootsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b boots
		for i := range maxBoots + 10 {
			b.scripted(Client{MAC: []byte{2, 0, 0, 0, byte(i >> 8), byte(i)}})
			time.Sleep(time.Millisecond)
		}
		if n := len(b.byMAC); n != maxBoots {
			t.Errorf("%d machines are remembered, want %d", n, maxBoots)
		}
		if b.find(Client{MAC: []byte{2, 0, 0, 0, 0, 0}}) != nil {
			t.Error("the oldest machine is remembered, want the newest ones")
		}
		honest := Client{MAC: []byte{2, 0, 0, 0, 99, 0}, Address: netip.MustParseAddr("10.83.0.7")}
		b.scripted(honest)
		for i := range 2 * maxBoots {
			time.Sleep(time.Millisecond)
			b.scripted(Client{MAC: []byte{2, 0, 0, 1, byte(i >> 8), byte(i)}, Address: netip.MustParseAddr("10.83.0.66")})
		}
		if b.find(honest) == nil || len(b.byMAC) != maxBoots {
			t.Errorf("%d machines, the honest one among them: %v; want %d that one address did not drive out", len(b.byMAC), b.find(honest) != nil, maxBoots)
		}
	})
}

// traceConns counts the connections that a request makes.
func traceConns(ctx context.Context, conns *int) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if !i.Reused {
			*conns++
		}
	}})
}
