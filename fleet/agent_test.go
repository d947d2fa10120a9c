package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"slipcast/agent/wire"
	"slipcast/catalog/trust"
	"slipcast/pxe"
)

// fakeImages is a store with one image.
type fakeImages struct{ put bytes.Buffer }

func (s *fakeImages) Resolve(_ context.Context, ref string) (Image, error) {
	if ref != "lab" && ref != "lab@3" {
		return Image{}, fmt.Errorf("image %s: %w", ref, ErrNotFound)
	}
	return lab3, nil
}

func (s *fakeImages) Put(_ context.Context, name string, r io.Reader) (Image, error) {
	_, err := io.Copy(&s.put, r)
	return Image{Ref: name + "@1", Digest: "bb22", Need: 1}, err
}

func (s *fakeImages) List(context.Context) ([]Image, error) { return []Image{lab3}, nil }

// fakeSessions writes down what it is asked for.
type fakeSessions struct {
	mu  sync.Mutex
	log []string
}

func (s *fakeSessions) Session(_ context.Context, batch string, cargo Cargo, room Room) (wire.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	about := fmt.Sprintf("%s for %d", cargo.Image.Ref, room.Booting+room.AtWork)
	if len(cargo.Apply) > 0 {
		about += fmt.Sprintf(" with %s, %d bytes of memory", strings.Join(cargo.Apply, ", "), cargo.Memory)
	}
	s.log = append(s.log, about)
	return wire.Session{Name: "batch-" + batch, Key: "k"}, nil
}

func (s *fakeSessions) Over(string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, "over")
}

func (s *fakeSessions) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, "; ")
}

// fakeCatalog is a catalog that has all images but those that it keeps from
// machines.
type fakeCatalog struct {
	mu     sync.Mutex
	root   []byte
	keeps  string // why
	broken error
	signed []trust.Claims
}

func (c *fakeCatalog) Root(context.Context) ([]byte, error) { return c.root, c.broken }

func (c *fakeCatalog) Allows(_ context.Context, im Image, apply []string) error {
	switch {
	case c.broken != nil:
		return c.broken
	case c.keeps != "":
		return fmt.Errorf("%w: %s: %s", ErrNotReleased, im.Ref, c.keeps)
	case len(apply) > 0 && apply[0] == "nothing":
		return fmt.Errorf("%w: bundle nothing", ErrNotReleased)
	}
	return nil
}

func (c *fakeCatalog) Ticket(_ context.Context, claims trust.Claims) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signed = append(c.signed, claims)
	return fmt.Appendf(nil, `{"ticket":%d}`, len(c.signed)), nil
}

// testNonce is the nonce of all hellos.
var testNonce = strings.Repeat("5a", 32)

// An agentLab is a server as agents see it.
type agentLab struct {
	t        testing.TB
	fleet    *Fleet
	director *Director
	api      *AgentAPI
	images   *fakeImages
	sessions *fakeSessions
	catalog  *fakeCatalog
}

func newAgentLab(t testing.TB) *agentLab {
	l := &agentLab{t: t, fleet: newFleet(t), images: &fakeImages{}, sessions: &fakeSessions{}}
	l.director = &Director{Fleet: l.fleet, Servers: []string{"https://192.0.2.1:8443"}, Pin: "ab"}
	l.catalog = &fakeCatalog{}
	l.director.Catalog = l.catalog
	l.api = &AgentAPI{Fleet: l.fleet, Images: l.images, Sessions: l.sessions, Catalog: l.catalog}
	return l
}

// send sends a request and reads the answer into v; it returns the status.
func (l *agentLab) send(method, path, token string, body, v any) int {
	l.t.Helper()
	text, ok := body.(string)
	if !ok {
		text = mustJSON(body)
	}
	r := httptest.NewRequest(method, path, strings.NewReader(text))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	l.api.Handler().ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil && w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
		l.t.Errorf("%s %s answers %d %q: %v", method, path, w.Code, w.Body, err)
	}
	return w.Code
}

// hello says hello with a ticket's token, and wants the status.
func (l *agentLab) hello(p *pc, token string, want int) wire.Welcome {
	l.t.Helper()
	var w wire.Welcome
	if got := l.send("POST", "/api/v1/agent/hello", "", wire.Hello{Schema: 1, Token: token, Nonce: testNonce, Inventory: p.Inventory}, &w); got != want {
		l.t.Fatalf("hello answers %d, want %d", got, want)
	}
	return w
}

// boot fetches the archive of a machine and says hello.
func (l *agentLab) boot(p *pc) wire.Welcome {
	l.t.Helper()
	return l.hello(p, offer(l.t, l.director, p).Token, http.StatusOK)
}

// pass lets two minutes pass for a column of times.
func (l *agentLab) pass(table, column string) {
	l.t.Helper()
	if _, err := l.fleet.write.ExecContext(l.t.Context(), "UPDATE "+table+" SET "+column+" = "+column+" - 120000"); err != nil {
		l.t.Fatal(err)
	}
}

func (l *agentLab) report(w wire.Welcome, r wire.Report) wire.Reply {
	l.t.Helper()
	r.Schema, r.Job = 1, w.Job.ID
	var reply wire.Reply
	if got := l.send("POST", "/api/v1/agent/report", w.Token, r, &reply); got != http.StatusOK {
		l.t.Fatalf("report %d answers %d, want 200", r.Seq, got)
	}
	return reply
}

// A room of two from unknown machines to done, as docs/boot.md tells it.
func TestRoom(t *testing.T) {
	l := newAgentLab(t)
	a, b := newPC(1), newPC(2)
	a.Memory, b.Memory = 4<<30, 8<<30
	for _, p := range []*pc{a, b} {
		wantVerdict(t, l.director, p, pxe.Agent, "unknown")
		w := l.boot(p)
		if w.Job != nil || w.End != wire.Reboot || w.Reason == "" {
			t.Errorf("welcome of an unknown machine = %+v, want no job, reboot, and why", w)
		}
		wantVerdict(t, l.director, p, pxe.Local, "registered")
	}
	o := Order{Kind: wire.Restore, Image: lab3, By: "test", Options: Options{Multicast: true, Grow: true, Apply: []string{"reader", "fonts"}}}
	for _, name := range []string{"pc-000001", "pc-000002"} {
		m, err := l.fleet.Machine(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		o.Machines = append(o.Machines, m.ID)
	}
	jobs := create(t, l.fleet, o)
	ticket := offer(t, l.director, a)
	if ticket.Machine != "pc-000001" || ticket.Job != jobs[0].text() || ticket.Pin != "ab" || ticket.MAC != a.MAC {
		t.Errorf("ticket = %+v", ticket)
	}
	wa := l.hello(a, ticket.Token, http.StatusOK)
	wb := l.boot(b)
	if j := wa.Job; j == nil || j.Kind != wire.Restore || j.Image != "lab@3" || j.Digest != "aa11" || j.Need != 64e9 || !j.Grow || !j.Fresh ||
		j.Hostname != "pc-000001" || j.Attempt != 1 || j.Session == nil {
		t.Fatalf("job = %+v", j)
	}
	wantVerdict(t, l.director, a, pxe.Agent, "working")

	l.report(wa, wire.Report{Seq: 1, State: wire.Working, Step: "restore", Done: 1 << 30, Total: 4 << 30, Rate: 1e8,
		Lines: []wire.Line{{Time: time.Now(), Text: "one\x1b[2J"}}})
	l.report(wa, wire.Report{Seq: 1, State: wire.Failed, Error: "old news"}) // not above the last
	wantState(t, l.fleet, jobs[0].ID, Working)
	l.report(wa, wire.Report{Seq: 2, State: wire.Done, Result: "aa11", Notes: []string{"sdb1 was not grown"}})
	l.report(wa, wire.Report{Seq: 2, State: wire.Done, Result: "aa11"}) // the reply was lost
	wantState(t, l.fleet, jobs[0].ID, Done)
	wantVerdict(t, l.director, a, pxe.Local, "done")
	l.report(wb, wire.Report{Seq: 1, State: wire.Failed, Error: "the disk is too small"})
	wantState(t, l.fleet, jobs[1].ID, Failed)
	wantVerdict(t, l.director, b, pxe.Local, "failed")
	if got, want := l.sessions.told(), strings.Repeat("lab@3 for 2 with reader, fonts, 8589934592 bytes of memory; ", 2)+"over"; got != want {
		t.Errorf("sessions: %s, want %s", got, want)
	}
	lines, err := l.fleet.Lines(t.Context(), jobs[0].ID, 10)
	if err != nil || len(lines) != 1 || lines[0].Text != "one?[2J" {
		t.Errorf("Lines = %v, %v; want one, without the escape", lines, err)
	}
}

func TestHelloTokens(t *testing.T) {
	l := newAgentLab(t)
	p, other := newPC(1), newPC(2)
	m := p.register(t, l.fleet)
	other.register(t, l.fleet)
	j := create(t, l.fleet, order(m))[0]
	token := offer(t, l.director, p).Token

	l.hello(p, "00112233445566778899aabbccddeeff", http.StatusForbidden)
	l.hello(other, token, http.StatusForbidden) // another MAC address
	if w := l.hello(p, "", http.StatusOK); w.Job != nil {
		t.Errorf("a hello without a token gets job %s", w.Job.ID)
	}
	first := l.hello(p, token, http.StatusOK)
	again := l.hello(p, token, http.StatusOK) // our answer was lost
	if first.Job == nil || again.Job == nil || again.Job.Attempt != 1 {
		t.Fatalf("jobs = %+v, %+v; want the same attempt twice", first.Job, again.Job)
	}
	var reply wire.Reply
	if got := l.send("POST", "/api/v1/agent/report", first.Token, wire.Report{Job: j.text(), Seq: 1, State: wire.Working}, &reply); got != http.StatusForbidden {
		t.Errorf("a report with the first session answers %d, want 403", got)
	}
	l.report(again, wire.Report{Seq: 1, State: wire.Working})
	l.hello(p, token, http.StatusForbidden) // used

	tokens, err := collect(t.Context(), l.fleet.read, scanText, "SELECT hex(hash) FROM tickets UNION SELECT hex(hash) FROM sessions")
	if err != nil || strings.Contains(strings.ToLower(strings.Join(tokens, " ")), again.Token) {
		t.Errorf("tokens stand in the database: %v, %v", tokens, err)
	}
}

// A machine that is switched off again and again gets its job three times.
func TestCutShort(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	j := create(t, l.fleet, order(p.register(t, l.fleet)))[0]
	for attempt := 1; attempt <= MaxAttempts; attempt++ {
		w := l.boot(p)
		if w.Job == nil || w.Job.Attempt != attempt {
			t.Fatalf("attempt %d: %+v", attempt, w)
		}
		if late := w.Job.Silent >= 120; late != (attempt > 1) {
			t.Errorf("attempt %d: the job was silent for %d s", attempt, w.Job.Silent)
		}
		l.report(w, wire.Report{Seq: uint64(10 - attempt), State: wire.Working, Done: 5}) // the agent counts anew
		if _, err := l.director.Offer(t.Context(), p.client()); !errors.Is(err, ErrState) {
			t.Errorf("Offer while the agent is at work = %v, want ErrState", err)
		}
		l.pass("jobs", "reported")
	}
	if w := l.boot(p); w.Job != nil {
		t.Errorf("taken a fourth time: %+v", w.Job)
	}
	wantState(t, l.fleet, j.ID, Failed)
	wantVerdict(t, l.director, p, pxe.Local, "failed")
	if _, err := l.director.Offer(t.Context(), p.client()); !errors.Is(err, ErrState) {
		t.Errorf("Offer = %v, want ErrState", err)
	}
}

// A fourth archive in a row fails the job: the machine never came up.
func TestNeverCameUp(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	j := create(t, l.fleet, order(p.register(t, l.fleet)))[0]
	for range MaxOffers {
		offer(t, l.director, p)
	}
	l.pass("jobs", "offered")
	wantVerdict(t, l.director, p, pxe.Local, "after three offers")
	if _, err := l.director.Offer(t.Context(), p.client()); !errors.Is(err, ErrState) {
		t.Errorf("the fourth Offer = %v, want ErrState", err)
	}
	wantState(t, l.fleet, j.ID, Failed)

	stranger := newPC(9)
	for range MaxOffers {
		offer(t, l.director, stranger)
	}
	if _, err := l.director.Offer(t.Context(), stranger.client()); !errors.Is(err, ErrState) {
		t.Errorf("the fourth Offer to a stranger = %v, want ErrState: it boots in circles, and fast", err)
	}
	l.pass("strangers", "last_seen")
	wantVerdict(t, l.director, stranger, pxe.Local, "a stranger that never came up")
	l.director.IgnoreUnknown = true
	wantVerdict(t, l.director, stranger, pxe.Ignore, "a stranger that is ignored")
}

func TestAsking(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	j := create(t, l.fleet, order(p.register(t, l.fleet)))[0]
	w := l.boot(p)
	if _, err := l.fleet.Answer(t.Context(), j.ID, "D1", "test"); !errors.Is(err, ErrState) {
		t.Errorf("Answer before the question = %v, want ErrState", err)
	}
	disks := []wire.Disk{{Name: "sda", Serial: "D1", Size: 1}, {Name: "sdb", Serial: "TWIN", Path: "pci-1"}, {Name: "sdc", Serial: "TWIN", Path: "pci-2"}}
	ask := wire.Report{Seq: 1, State: wire.Asking, Error: "three disks fit", Candidates: disks}
	if reply := l.report(w, ask); reply.Disk != "" {
		t.Errorf("nobody chose %q", reply.Disk)
	}
	for _, disk := range []string{"", "TWIN", "sda", "D2"} {
		if _, err := l.fleet.Answer(t.Context(), j.ID, disk, "test"); !errors.Is(err, ErrMalformed) {
			t.Errorf("Answer(%q) = %v, want ErrMalformed", disk, err)
		}
	}
	if _, err := l.fleet.Answer(t.Context(), j.ID, "pci-2", "test"); err != nil {
		t.Fatal(err)
	}
	ask.Seq = 2
	if reply := l.report(w, ask); reply.Disk != "pci-2" {
		t.Errorf("Disk = %q, want pci-2", reply.Disk)
	}
	if reply := l.report(w, wire.Report{Seq: 3, State: wire.Working}); reply.Disk != "" {
		t.Errorf("Disk = %q after the question", reply.Disk)
	}

	l.pass("jobs", "reported")
	w, ask.Seq = l.boot(p), 1
	if reply := l.report(w, ask); w.Job.Attempt != 2 || reply.Disk != "pci-2" {
		t.Errorf("attempt %d: Disk = %q, want what was chosen before the power went", w.Job.Attempt, reply.Disk)
	}
	l.report(w, wire.Report{Seq: 2, State: wire.Failed, Error: "no"})
	if _, err := l.fleet.Retry(t.Context(), j.ID, "test"); err != nil {
		t.Fatal(err)
	}
	w = l.boot(p)
	if reply := l.report(w, ask); reply.Disk != "" {
		t.Errorf("Disk = %q for a job that is tried anew, want none", reply.Disk)
	}
}

func TestCancelAtWork(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	j := create(t, l.fleet, order(p.register(t, l.fleet)))[0]
	w := l.boot(p)
	if _, err := l.fleet.Cancel(t.Context(), j.ID, "test"); err != nil {
		t.Fatal(err)
	}
	if reply := l.report(w, wire.Report{Seq: 1, State: wire.Working}); !reply.Cancel {
		t.Error("the agent is not told that its job is cancelled")
	}
	l.report(w, wire.Report{Seq: 2, State: wire.Failed, Error: "cancelled"})
	wantState(t, l.fleet, j.ID, Cancelled)
	wantVerdict(t, l.director, p, pxe.Local, "cancelled")
}

func TestCaptureAndNext(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	m := p.register(t, l.fleet)
	j := create(t, l.fleet, Order{Kind: wire.Capture, Machines: []string{m.ID}, Image: Image{Ref: "lab"}, Options: Options{End: wire.Stay}, By: "test"})[0]
	w := l.boot(p)
	var im Image
	if got := l.send("PUT", "/api/v1/agent/image/other", w.Token, "bytes", &im); got != http.StatusConflict {
		t.Errorf("an image of another name answers %d, want 409", got)
	}
	if got := l.send("PUT", "/api/v1/agent/image/lab", w.Token, "bytes", &im); got != http.StatusOK || im.Ref != "lab@1" || l.images.put.String() != "bytes" {
		t.Errorf("PUT = %d, %+v, %q", got, im, l.images.put.String())
	}
	var next wire.Welcome
	if got := l.send("POST", "/api/v1/agent/next", w.Token, wire.Next{Schema: 1, Nonce: testNonce}, &next); got != http.StatusConflict {
		t.Errorf("next at work answers %d, want 409", got)
	}
	l.report(w, wire.Report{Seq: 1, State: wire.Done, Result: "lab@1"})
	if got := l.send("PUT", "/api/v1/agent/image/lab", w.Token, "more", &im); got != http.StatusConflict {
		t.Errorf("an image after the end answers %d, want 409", got)
	}
	if got := l.send("POST", "/api/v1/agent/next", w.Token, wire.Next{Schema: 1, Nonce: testNonce}, &next); got != http.StatusOK || next.Job != nil || next.End != wire.Stay {
		t.Errorf("next = %d, %+v; want 200, no job, stay", got, next)
	}
	second := create(t, l.fleet, Order{Kind: wire.Survey, Machines: []string{m.ID}, By: "test"})[0]
	if got := l.send("POST", "/api/v1/agent/next", w.Token, wire.Next{Schema: 1, Nonce: testNonce}, &next); got != http.StatusOK || next.Job == nil || next.Job.ID != second.text() {
		t.Errorf("next = %d, %+v; want job %d", got, next.Job, second.ID)
	}
	next.Token = w.Token
	l.report(next, wire.Report{Seq: 1, State: wire.Done})
	wantState(t, l.fleet, second.ID, Done)
	wantState(t, l.fleet, j.ID, Done)
}

// What agents may not send is refused, and nothing of it is written down.
func TestAgentRefuses(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	create(t, l.fleet, order(p.register(t, l.fleet)))
	w := l.boot(p)
	report := func(change string) string {
		return `{"schema":1,"job":"` + w.Job.ID + `","seq":1,"state":"working"` + change + `}`
	}
	tests := []struct {
		name, path, token, body string
		want                    int
	}{
		{"no token", "report", "", report(""), http.StatusForbidden},
		{"wrong token", "report", strings.Repeat("0", 32), report(""), http.StatusForbidden},
		{"no JSON", "report", w.Token, "{", http.StatusBadRequest},
		{"more than JSON", "report", w.Token, report("") + "{}", http.StatusBadRequest},
		{"wrong type", "report", w.Token, report(`,"done_bytes":"many"`), http.StatusBadRequest},
		{"negative", "report", w.Token, report(`,"done_bytes":-1`), http.StatusBadRequest},
		{"unknown state", "report", w.Token, strings.Replace(report(""), "working", "pending", 1), http.StatusBadRequest},
		{"no seq", "report", w.Token, strings.Replace(report(""), `"seq":1`, `"seq":0`, 1), http.StatusBadRequest},
		{"too many lines", "report", w.Token, report(`,"lines":[` + strings.Repeat(`{},`, wire.MaxLines) + `{}]`), http.StatusBadRequest},
		{"too long", "report", w.Token, report(`,"step":"` + strings.Repeat("x", wire.MaxBody) + `"`), http.StatusRequestEntityTooLarge},
		{"job of another", "report", w.Token, strings.Replace(report(""), `"job":"`, `"job":"9`, 1), http.StatusConflict},
		{"unknown schema", "hello", "", `{"schema":2}`, http.StatusBadRequest},
		{"machine without a property", "hello", "", `{"schema":1,"inventory":{"uuid":"ffffffff-ffff-ffff-ffff-ffffffffffff"}}`, http.StatusBadRequest},
		{"too many disks", "hello", "", `{"schema":1,"inventory":{"disks":[` + strings.Repeat(`{},`, maxDisks) + `{}]}}`, http.StatusBadRequest},
		{"nothing there", "nothing", w.Token, "{}", http.StatusNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var answer map[string]any
			if got := l.send("POST", "/api/v1/agent/"+tt.path, tt.token, tt.body, &answer); got != tt.want {
				t.Errorf("%s answers %d, want %d", tt.path, got, tt.want)
			}
		})
	}
	if m, err := l.fleet.Machine(t.Context(), p.MAC); err != nil || m.Job.Status.Step != "" || m.Job.State != Working {
		t.Errorf("job = %+v, %v; want it untouched", m.Job, err)
	}
}

// Machines that cannot be told apart get no jobs, and people learn why.
func TestTwins(t *testing.T) {
	l := newAgentLab(t)
	a, b := newPC(1), newPC(2)
	ma := a.register(t, l.fleet)
	b.UUID = a.UUID
	j := create(t, l.fleet, order(ma))[0]
	if w := l.hello(b, "", http.StatusOK); w.Job != nil || w.Token != "" {
		t.Errorf("a hello without a token gets %+v of a machine with a job", w)
	}
	wantVerdict(t, l.director, a, pxe.Agent, "after a hello that anybody may have sent")
	if w := l.boot(b); w.Machine == ma.Name || w.Job != nil {
		t.Fatalf("pc 2 is taken for pc 1: %+v", w)
	}
	for _, p := range []*pc{a, b} {
		wantVerdict(t, l.director, p, pxe.Local, "a twin")
	}
	got, err := l.fleet.Machine(t.Context(), ma.ID)
	if err != nil || !strings.Contains(got.Ambiguous, a.UUID) {
		t.Errorf("Ambiguous = %q, %v; want the UUID in it", got.Ambiguous, err)
	}
	wantState(t, l.fleet, j.ID, Offered)

	l.director.SharedUUIDs, l.api.SharedUUIDs = []string{a.UUID}, []string{a.UUID} // the way out
	wantVerdict(t, l.director, a, pxe.Agent, "told by its MAC address")
	if w := l.boot(a); w.Job == nil || w.Job.ID != j.text() {
		t.Errorf("welcome = %+v, want job %d", w, j.ID)
	}
}

func TestIdentity(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	m := p.register(t, l.fleet)
	dongle := newPC(1)
	dongle.MAC = "02:ff:00:00:00:01"
	dongle.NICs = append(dongle.NICs, wire.NIC{Name: "eth1", MAC: dongle.MAC, Bus: "usb"})
	board := newPC(1) // a new main board with the same network card
	board.UUID, board.Serial = "", ""
	bad := newPC(1)
	bad.UUID = "03000200-0400-0500-0006-000700080009"
	tests := []struct {
		name string
		pc   *pc
		same bool
	}{
		{"through a USB adapter", dongle, true},
		{"by its MAC address", board, true},
		{"by its serial number", bad, true},
		{"another", newPC(2), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := l.hello(tt.pc, "", http.StatusOK)
			if same := w.Machine == m.Name; same != tt.same {
				t.Errorf("machine = %s; want that of pc 1: %v", w.Machine, tt.same)
			}
		})
	}
	other := newPC(3) // has the adapter now
	other.MAC, other.NICs = dongle.MAC, append(other.NICs, wire.NIC{Name: "eth1", MAC: dongle.MAC, Bus: "usb"})
	if w := l.hello(other, "", http.StatusOK); w.Machine == m.Name {
		t.Error("the adapter makes another machine pc 1")
	}
}

// A machine whose hardware has changed has it in its history.
func TestHardwareChange(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	m := p.register(t, l.fleet)
	p.Memory = 8 << 30
	p.Disks[0].Serial = "NEW"
	l.hello(p, "", http.StatusOK)
	events, err := l.fleet.Events(t.Context(), m.ID, 10)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(events)
	for _, want := range []string{"memory in bytes: 8589934592, it was 17179869184", "disk gone: PM981, 256000000000 bytes, serial number D00001", "new disk: PM981"} {
		if !strings.Contains(text, want) {
			t.Errorf("history = %s, want %q in it", text, want)
		}
	}
	l.hello(p, "", http.StatusOK)
	if again, err := l.fleet.Events(t.Context(), m.ID, 10); err != nil || len(again) != len(events) {
		t.Errorf("%d events after the same hello, %v; want %d", len(again), err, len(events))
	}
}

// Events and lines are bounded.
func TestBounds(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	m := p.register(t, l.fleet)
	create(t, l.fleet, order(m))
	w := l.boot(p)
	for i := range 12 {
		lines := make([]wire.Line, wire.MaxLines)
		for k := range lines {
			lines[k].Text = fmt.Sprint(i*wire.MaxLines + k)
		}
		l.report(w, wire.Report{Seq: uint64(i + 1), State: wire.Working, Lines: lines})
	}
	id, _ := l.fleet.Machine(t.Context(), m.ID)
	lines, err := l.fleet.Lines(t.Context(), id.Job.ID, 10000)
	if err != nil || len(lines) != maxLines || lines[0].Text != "400" || lines[maxLines-1].Text != "2399" {
		t.Errorf("%d lines, %v; want the last %d of 2400", len(lines), err, maxLines)
	}
}

// What nobody has proved to be changes nothing of other machines, and fills no
// database.
func TestStrangersAreBounded(t *testing.T) {
	l := newAgentLab(t)
	victim, twin := newPC(1), newPC(2)
	victim.register(t, l.fleet)
	twin.UUID = victim.UUID
	l.hello(twin, "", http.StatusConflict)
	if m, err := l.fleet.Machine(t.Context(), "pc-000001"); err != nil || m.Ambiguous != "" {
		t.Errorf("Ambiguous = %q, %v; want nothing: anybody may have said it", m.Ambiguous, err)
	}
	if _, err := l.fleet.write.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
		INSERT INTO machines (id, name, uuid, serial, vendor, product, mac, inventory, settings, ambiguous, first_seen, last_seen)
		SELECT i, 'made-up-' || i, '', '', '', '', '', '{}', '{}', '', ?2, ?2 FROM n`, maxNew, millis(now())); err != nil {
		t.Fatal(err)
	}
	l.hello(newPC(5000), "", http.StatusConflict)
	huge := newPC(1)
	for range maxModaliases {
		huge.Modaliases = append(huge.Modaliases, strings.Repeat("x", wire.MaxField))
	}
	l.hello(huge, "", http.StatusBadRequest)

	if _, err := l.fleet.write.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= ?1)
		INSERT INTO strangers SELECT i, 1, ?2 FROM n`, maxStranger, millis(now())); err != nil {
		t.Fatal(err)
	}
	offer(t, l.director, newPC(6000))
	var rows int
	if err := l.fleet.read.QueryRowContext(t.Context(), "SELECT count(*) FROM strangers").Scan(&rows); err != nil || rows > maxStranger {
		t.Errorf("%d strangers are remembered, %v; want at most %d", rows, err, maxStranger)
	}
}

// A machine that is a stranger each time it boots, since only its USB adapter
// speaks for it, does not boot the agent for ever.
func TestNamelessBootsEnd(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	p.UUID, p.NICs = "", []wire.NIC{{Name: "eth0", MAC: p.MAC, Bus: "usb"}}
	for range MaxOffers {
		l.boot(p)
	}
	l.pass("strangers", "last_seen")
	wantVerdict(t, l.director, p, pxe.Local, "registered three times over")
}

// An agent fetches the image of its job, while it is at work, and no other.
func TestGuard(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	nobody := l.boot(p)
	j := create(t, l.fleet, order(mustMachine(t, l.fleet, p)))[0]
	w := l.boot(p)
	guard := l.api.Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "image") }))
	get := func(token, name string) int {
		r := httptest.NewRequest("GET", "/api/v1/images/"+name, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		guard.ServeHTTP(rec, r)
		return rec.Code
	}
	want := func(why string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", why, got, want)
		}
	}
	want("the image of the job", get(w.Token, "lab@3.img.zst"), http.StatusOK)
	want("another image", get(w.Token, "lab@2.img.zst"), http.StatusConflict)
	want("a way around", get(w.Token, "x/../lab@3.img.zst"), http.StatusConflict)
	want("no token", get("", "lab@3.img.zst"), http.StatusForbidden)
	want("a session that has ended", get(nobody.Token, "lab@3.img.zst"), http.StatusForbidden)
	l.report(w, wire.Report{Seq: 1, State: wire.Done})
	want("when the job is done", get(w.Token, "lab@3.img.zst"), http.StatusConflict)
	want("a session without a job", get(l.hello(p, "", http.StatusOK).Token, "lab@3.img.zst"), http.StatusForbidden)
	wantState(t, l.fleet, j.ID, Done)
}

// A job that is cancelled and tried again at once does not go on with the
// agent of before; and one that is to wait for its image fails.
func TestRetryAtWork(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	o := order(p.register(t, l.fleet))
	o.Options.End = wire.Stay
	j := create(t, l.fleet, o)[0]
	w := l.boot(p)
	for _, do := range []func(context.Context, int64, string) (Job, error){l.fleet.Cancel, l.fleet.Retry} {
		if _, err := do(t.Context(), j.ID, "test"); err != nil {
			t.Fatal(err)
		}
	}
	if reply := l.report(w, wire.Report{Seq: 2, State: wire.Working}); !reply.Cancel {
		t.Error("the agent of before is told to go on")
	}
	l.report(w, wire.Report{Seq: 3, State: wire.Failed, Error: "cancelled"})
	wantState(t, l.fleet, j.ID, Pending)
	var next wire.Welcome
	if got := l.send("POST", "/api/v1/agent/next", w.Token, wire.Next{Schema: 1, Nonce: testNonce}, &next); got != http.StatusOK || next.Job == nil || next.Job.ID != j.text() {
		t.Errorf("next = %d, %+v; want job %d again", got, next, j.ID)
	}
	l.report(w, wire.Report{Seq: 1, State: wire.Done})

	o.Image.Ref = "gone@1"
	gone := create(t, l.fleet, o)[0]
	if w := l.boot(p); w.Job != nil || !strings.Contains(w.Reason, "gone@1 is not in the store any more") {
		t.Errorf("welcome = %+v, want no job since the image is gone", w)
	}
	wantState(t, l.fleet, gone.ID, Failed)
}

// A job may take longer than a session lives, as long as its agent reports.
func TestSessionLivesOn(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	j := create(t, l.fleet, order(p.register(t, l.fleet)))[0]
	w := l.boot(p)
	for seq := range uint64(3) {
		l.report(w, wire.Report{Seq: seq + 1, State: wire.Working})
		if _, err := l.fleet.write.ExecContext(t.Context(), "UPDATE sessions SET expires = expires - ?", sessionLife.Milliseconds()-60_000); err != nil {
			t.Fatal(err)
		}
	}
	l.report(w, wire.Report{Seq: 9, State: wire.Done})
	wantState(t, l.fleet, j.ID, Done)
}

func mustMachine(t testing.TB, f *Fleet, p *pc) Machine {
	t.Helper()
	m, err := f.Machine(t.Context(), p.UUID)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
