package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"slipcast/agent/wire"
)

const testToken = "a token of the operator"

// newDesk returns a server as people see it, with the machine of pc 1.
func newDesk(t testing.TB) (*OperatorAPI, Machine) {
	f := newFleet(t)
	return &OperatorAPI{Fleet: f, Images: &fakeImages{}, Catalog: &fakeCatalog{}, Token: testToken}, newPC(1).register(t, f)
}

// do sends a request and returns the answer and its body.
func do(t testing.TB, h http.Handler, method, path, body string, header ...string) (*http.Response, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	o := map[string]any{}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil {
			t.Errorf("%s %s answers %q: %v", method, path, w.Body, err)
		}
	}
	return w.Result(), o
}

func TestOperatorMayWhat(t *testing.T) {
	desk, m := newDesk(t)
	private := &OperatorAPI{Fleet: desk.Fleet, Images: desk.Images, Token: testToken, ReadToken: "a token to read"}
	signIn, _ := do(t, desk.Handler(), "POST", "/api/v1/signin", `{"token":"`+testToken+`"}`, "X-Slipcast", "1")
	if len(signIn.Cookies()) != 1 {
		t.Fatalf("sign-in answers %d and sets %d cookies, want 200 and one", signIn.StatusCode, len(signIn.Cookies()))
	}
	c := signIn.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || strings.Contains(c.Value, testToken) {
		t.Errorf("cookie = %+v, want HttpOnly, SameSite=Strict, and no token in it", c)
	}
	cookie := c.Name + "=" + c.Value
	wake, note := "/api/v1/machines/"+m.ID+"/wake", "/api/v1/machines/"+m.ID
	tests := []struct {
		name, method, path string
		api                *OperatorAPI
		header             []string
		want               int
	}{
		{"read", "GET", "/api/v1/machines", desk, nil, 200},
		{"change", "PATCH", note, desk, nil, 401},
		{"with the token", "PATCH", note, desk, []string{"Authorization", "Bearer " + testToken}, 200},
		{"with a wrong token", "PATCH", note, desk, []string{"Authorization", "Bearer wrong"}, 403},
		{"with the cookie", "PATCH", note, desk, []string{"Cookie", cookie, "X-Slipcast", "1"}, 200},
		{"with the cookie, from another page", "PATCH", note, desk, []string{"Cookie", cookie}, 403},
		{"with a forged cookie", "PATCH", note, desk, []string{"Cookie", c.Name + "=9999999999." + strings.Repeat("0", 64), "X-Slipcast", "1"}, 401},
		{"with a cookie of another time", "PATCH", note, desk, []string{"Cookie", c.Name + "=1" + c.Value, "X-Slipcast", "1"}, 401},
		{"nobody wakes here", "POST", wake, desk, []string{"Authorization", "Bearer " + testToken}, 409},
		{"private", "GET", "/api/v1/machines", private, nil, 401},
		{"private events", "GET", "/api/v1/events", private, nil, 401},
		{"private, with the token to read", "GET", "/api/v1/machines", private, []string{"Authorization", "Bearer a token to read"}, 200},
		{"the token to read changes nothing", "PATCH", note, private, []string{"Authorization", "Bearer a token to read"}, 401},
		{"nobody has no token", "PATCH", note, &OperatorAPI{Fleet: desk.Fleet}, []string{"Authorization", "Bearer "}, 403},
		{"not there", "GET", "/api/v1/machines/nobody", desk, nil, 404},
		{"no job", "GET", "/api/v1/jobs/x", desk, nil, 404},
		{"no method", "PUT", "/api/v1/machines", desk, nil, 405},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer, o := do(t, tt.api.Handler(), tt.method, tt.path, `{"note":"by the window"}`, tt.header...)
			if answer.StatusCode != tt.want {
				t.Errorf("%s %s answers %d %v, want %d", tt.method, tt.path, answer.StatusCode, o, tt.want)
			}
		})
	}
}

// Wrong tokens are not tried for ever, and cost the others nothing.
func TestWrongTokens(t *testing.T) {
	desk, _ := newDesk(t)
	h := desk.Handler()
	for range maxFailures {
		if answer, _ := do(t, h, "POST", "/api/v1/signin", `{"token":"wrong"}`, "X-Slipcast", "1"); answer.StatusCode != http.StatusForbidden {
			t.Fatalf("a wrong token answers %d, want 403", answer.StatusCode)
		}
	}
	if answer, _ := do(t, h, "POST", "/api/v1/signin", `{"token":"`+testToken+`"}`, "X-Slipcast", "1"); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the next one answers %d, want 429", answer.StatusCode)
	}
	r := httptest.NewRequest("GET", "/api/v1/machines", nil)
	r.RemoteAddr = "[2001:db8::1]:7"
	r.Header.Set("Authorization", "Bearer "+testToken)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Errorf("another address is answered %d, want 200", w.Code)
	}
	for i := range 2 * maxAddresses {
		r.RemoteAddr = net.JoinHostPort(net.IPv4(10, 1, byte(i>>8), byte(i)).String(), "7")
		desk.door.failed(remote(r))
	}
	if n := len(desk.door.failures); n > maxAddresses {
		t.Errorf("%d addresses are remembered, want at most %d", n, maxAddresses)
	}
}

func TestOperatorJobs(t *testing.T) {
	desk, m := newDesk(t)
	h := desk.Handler()
	send := func(method, path, body string, want int) map[string]any {
		t.Helper()
		answer, o := do(t, h, method, "/api/v1/"+path, body, "Authorization", "Bearer "+testToken)
		if answer.StatusCode != want {
			t.Errorf("%s %s answers %d %v, want %d", method, path, answer.StatusCode, o, want)
		}
		return o
	}
	for _, body := range []string{
		`{`, `{"kind":"format","machines":["pc-000001"]}`, `{"kind":"restore","machines":["pc-000001"]}`, `{"kind":"restore","image":"lab"}`,
		`{"kind":"wipe","image":"lab","machines":["pc-000001"]}`, `{"kind":"wipe","machines":["pc-000001"],"disk":{"path":"/dev/sda"}}`,
		`{"kind":"wipe","machines":["pc-000001"],"end":"explode"}`, `{"kind":"wipe","machines":["pc-000001"],"not_after":"2001-01-01T00:00:00Z"}`,
	} {
		send("POST", "jobs", body, 400)
	}
	send("POST", "jobs", `{"kind":"restore","image":"nothing","machines":["pc-000001"]}`, 404)
	send("POST", "jobs", `{"kind":"restore","image":"lab","machines":["pc-000002"]}`, 404)
	send("POST", "jobs", `{"kind":"restore","image":"lab","machines":["`+m.UUID+`"],"grow":true}`, 200)
	jobs, err := desk.Fleet.Jobs(t.Context(), m.ID, true, 10)
	if err != nil || len(jobs) != 1 || jobs[0].Image != "lab@3" || jobs[0].Digest != "aa11" || !jobs[0].Options.Grow {
		t.Fatalf("Jobs = %+v, %v; want one of lab@3", jobs, err)
	}
	desk.Catalog.(*fakeCatalog).keeps = "nobody has released it"
	if o := send("POST", "jobs", `{"kind":"restore","image":"lab","machines":["pc-000001"]}`, 409); o["error"] != "not released: lab@3: nobody has released it" {
		t.Errorf("an image that is not released: %v", o)
	}
	desk.Catalog.(*fakeCatalog).keeps = ""
	send("POST", "jobs", `{"kind":"restore","image":"lab","machines":["pc-000001"],"apply":["nothing"]}`, 409)
	send("POST", "jobs", `{"kind":"restore","image":"lab","machines":["pc-000001"],"apply":["--root=/"]}`, 400)
	send("POST", "jobs", `{"kind":"wipe","machines":["pc-000001"],"apply":["*"]}`, 400)
	send("POST", "jobs", `{"kind":"wipe","machines":["pc-000001"]}`, 409)
	send("DELETE", "machines/pc-000001", "", 409)
	number := jobs[0].text()
	send("POST", "jobs/"+number+"/disk", `{"disk":"D"}`, 409)
	send("POST", "jobs/"+number+"/cancel", "", 200)
	send("POST", "jobs/"+number+"/cancel", "", 409)
	send("POST", "jobs/"+number+"/retry", "", 200)
	if o := send("GET", "jobs/"+number, "", 200); o["job"].(map[string]any)["state"] != "pending" {
		t.Errorf("job = %v, want it pending", o["job"])
	}
	send("POST", "jobs/"+number+"/cancel", "", 200)
	send("PATCH", "machines/pc-000001", `{"name":"not a name"}`, 400)
	send("PATCH", "machines/pc-000001", `{"args":["two words"]}`, 400)
	send("PATCH", "machines/pc-000001", `{"name":"room12-01","disk":{"transport":"nvme"}}`, 200)
	if o := send("GET", "machines/room12-01", "", 200); len(o["events"].([]any)) < 5 {
		t.Errorf("events = %v, want all that happened", o["events"])
	}
	send("DELETE", "machines/room12-01", "", 200)
	send("GET", "machines/room12-01", "", 404)
}

func TestWakeFromPage(t *testing.T) {
	desk, m := newDesk(t)
	var woken []string
	desk.Wake = func(_ context.Context, mac net.HardwareAddr) error { woken = append(woken, mac.String()); return nil }
	do(t, desk.Handler(), "POST", "/api/v1/machines/"+m.ID+"/wake", "", "Authorization", "Bearer "+testToken)
	if !slices.Equal(woken, []string{m.MAC}) {
		t.Errorf("woken = %v, want %s", woken, m.MAC)
	}
}

// The page uses nothing that its policy forbids, and nothing from elsewhere.
func TestPageKeepsToItself(t *testing.T) {
	desk, _ := newDesk(t)
	answer, _ := do(t, desk.Handler(), "GET", "/", "")
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy = %s", policy)
	}
	for _, word := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://", " style=", "onclick=\""} {
		if strings.Contains(string(body), word) {
			t.Errorf("the page has %q in it", word)
		}
	}
}

// nextEvent returns the data of the next event.
func nextEvent(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return data
		}
	}
}

// Who watches gets the machines at once and whenever they have changed, by
// whatever process.
func TestEvents(t *testing.T) {
	desk, m := newDesk(t)
	server := httptest.NewServer(desk.Handler())
	defer server.Close()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	r := bufio.NewReader(answer.Body)
	if first := nextEvent(t, r); !strings.Contains(first, m.Name) || strings.Contains(first, "inventory") {
		t.Errorf("first event = %s, want %s without its inventory", first, m.Name)
	}
	create(t, desk.Fleet, Order{Kind: wire.Survey, Machines: []string{m.ID}, By: "test"})
	if second := nextEvent(t, r); !strings.Contains(second, `"state":"pending"`) {
		t.Errorf("second event = %s, want the job in it", second)
	}
	stop()
}

// There is room for so many who watch, and what they do not take is dropped.
func TestWatchers(t *testing.T) {
	desk, _ := newDesk(t)
	desk.Handler()
	var all []chan []byte
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i / maxPerAddr)}) }
	for i := range maxWatchers {
		ch := desk.live.watch(at(i))
		if ch == nil {
			t.Fatal("no room")
		}
		all = append(all, ch)
	}
	if desk.live.watch(at(maxWatchers)) != nil {
		t.Errorf("room for more than %d", maxWatchers)
	}
	for i := range 3 {
		desk.live.tell([]byte{byte(i)})
	}
	if got := <-all[0]; len(got) == 1 && got[0] != 2 {
		t.Errorf("got %v, want the newest", got)
	}
	for _, ch := range all {
		desk.live.leave(ch)
	}
	for range maxPerAddr {
		ch := desk.live.watch(at(0))
		if ch == nil {
			t.Fatal("no room after all have left")
		}
		defer desk.live.leave(ch)
	}
	if desk.live.watch(at(0)) != nil {
		t.Errorf("room for more than %d from one address", maxPerAddr)
	}
	ch := desk.live.watch(at(maxPerAddr))
	if ch == nil {
		t.Error("one address takes the room of others")
	}
	desk.live.leave(ch)
}

func TestOperatorToken(t *testing.T) {
	dir := t.TempDir()
	first, err := OperatorToken(dir)
	if err != nil || len(first) != 32 {
		t.Fatalf("OperatorToken = %q, %v; want 32 digits", first, err)
	}
	if again, err := OperatorToken(dir); err != nil || again != first {
		t.Errorf("OperatorToken = %q, %v; want %q again", again, err, first)
	}
	if mirror, err := MirrorToken(dir); err != nil || len(mirror) != 32 || mirror == first {
		t.Errorf("MirrorToken = %q, %v; want 32 other digits", mirror, err)
	}
}

func TestBearer(t *testing.T) {
	h := Bearer("secret", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "frames") }))
	for header, want := range map[string]int{"Bearer secret": 200, "": 401, "Bearer ": 401, "Bearer secrets": 401, "secret": 401, "Basic secret": 401} {
		r := httptest.NewRequest("GET", "/store/catalog/metadata/timestamp.json", nil)
		r.Header.Set("Authorization", header)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || (want == 200) != (w.Body.String() == "frames") {
			t.Errorf("%q is answered %d, %q; want %d", header, w.Code, w.Body, want)
		}
	}
}
