package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slipcast/agent/wire"
	"slipcast/catalog/trust"
)

var testDigest = strings.Repeat("ab", 32)

// A room is a server, and a machine with an agent, both without a network.
type room struct {
	mu       sync.Mutex
	welcomes []wire.Welcome // what hello and next answer, in turn
	reply    func(wire.Report) (wire.Reply, error)
	down     bool // nobody answers
	hellos   []wire.Hello
	reports  []wire.Report
	put      []byte // an image

	disks    []wire.Disk
	start    string   // of a disk that is held
	onHold   func()   // is called when a disk is held
	held     int      // disks, now
	unheld   bool     // a disk was used that was not held
	ran      []string // children
	child    func(ctx context.Context, c child) error
	wiped    []string
	restored []string
	handErr  error

	shop  *shop                 // the catalog of the server
	proof func(c *trust.Claims) // changes what is signed
	ghost json.RawMessage       // a proof that is sent instead
	trust []byte                // the root that the agent has, instead
	files map[string][]byte     // of the catalog, instead
	looks int                   // at the disks

	screen bytes.Buffer
	typed  chan string
	saved  session
	named  []string
}

// RoundTrip implements http.RoundTripper: it is the server.
func (r *room) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, errors.New("connection refused")
	}
	status, answer := r.serve(req, body)
	p, raw := answer.([]byte)
	if !raw {
		p, _ = json.Marshal(answer)
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(p))}, nil
}

func (r *room) serve(req *http.Request, body []byte) (int, any) {
	switch path := req.URL.Path; {
	case path == "/api/v1/agent/hello", path == "/api/v1/agent/next":
		if path == "/api/v1/agent/hello" {
			var h wire.Hello
			json.Unmarshal(body, &h)
			r.hellos = append(r.hellos, h)
		}
		var n wire.Next
		json.Unmarshal(body, &n)
		if len(r.welcomes) == 0 {
			return 403, map[string]string{"error": "no more\x1b"}
		}
		w := r.welcomes[0]
		r.welcomes = r.welcomes[1:]
		w.Proof = r.prove(w.Job, n.Nonce)
		return 200, w
	case strings.HasPrefix(path, "/api/v1/agent/catalog/metadata/"):
		p, ok := r.files[strings.TrimPrefix(path, "/api/v1/agent/catalog/metadata/")]
		if !ok || req.Header.Get("Authorization") != "Bearer session" {
			return 404, map[string]string{"error": "there is no such file"}
		}
		return 200, p
	case path == "/api/v1/agent/report":
		if req.Header.Get("Authorization") != "Bearer session" {
			return 401, map[string]string{"error": "who is this?"}
		}
		var report wire.Report
		json.Unmarshal(body, &report)
		r.reports = append(r.reports, report)
		if r.reply == nil {
			return 200, wire.Reply{Schema: 1}
		}
		reply, err := r.reply(report)
		if err != nil {
			return 500, map[string]string{"error": err.Error()}
		}
		return 200, reply
	case strings.HasPrefix(path, "/api/v1/agent/image/"):
		r.put = body
		return 200, map[string]string{"image": strings.TrimPrefix(path, "/api/v1/agent/image/") + "@1"}
	}
	return 404, map[string]string{"error": "what?"}
}

func (r *room) Inventory(context.Context) wire.Inventory { return wire.Inventory{Arch: "x64"} }
func (r *room) Disks() ([]wire.Disk, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks++
	return slices.Clone(r.disks), nil
}

func (r *room) Hold(name string) (held, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.onHold != nil {
		r.onHold()
	}
	r.held++
	return r, nil
}

// ReadAt reads a held disk.
func (r *room) ReadAt(p []byte, off int64) (int, error) {
	return strings.NewReader(r.start).ReadAt(p, off)
}

// Close ends a Hold.
func (r *room) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held--
	return nil
}

func (r *room) KernelLog(int) []string { return []string{"[1] I/O error"} }
func (r *room) Run(ctx context.Context, c child) error {
	r.mu.Lock()
	r.ran = append(r.ran, strings.Join(append(slices.Clone(c.Env), c.Args...), " "))
	r.unheld = r.unheld || r.held != 1
	run := r.child
	r.mu.Unlock()
	if run != nil {
		return run(ctx, c)
	}
	c.Object(object{Type: "restored", Digest: testDigest})
	return nil
}
func (r *room) Wipe(_ context.Context, d wire.Disk, progress func(done, total int64)) error {
	r.wiped = append(r.wiped, d.Name)
	r.unheld = r.unheld || r.held != 1
	progress(1, 2)
	return r.handErr
}
func (r *room) Restored(_ context.Context, _ *wire.Job, d wire.Disk) ([]string, error) {
	r.restored = append(r.restored, d.Name)
	r.unheld = r.unheld || r.held != 1
	return []string{"p2 is LUKS"}, r.handErr
}

// run runs an agent in the room.
func (r *room) run(t *testing.T) fate {
	t.Helper()
	serial := &console{name: "ttyS0", out: &r.screen}
	s := newScreen("test", serial)
	stop := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() { s.run(stop) })
	ticket := wire.Ticket{Schema: 1, Servers: []string{"https://192.0.2.1:8443"}, Pin: strings.Repeat("00", 32), Token: "ticket", MAC: "00:00:5e:00:53:01"}
	c, err := newClient(ticket)
	if err != nil {
		t.Fatal(err)
	}
	c.http = &http.Client{Transport: r}
	a := &agent{
		version: "test", ticket: ticket, root: r.trust, folder: t.TempDir(), client: c, screen: s, machine: r, children: r, handover: r, iface: "eth0",
		input:   func() <-chan string { return r.typed },
		shell:   func(context.Context) wire.End { return wire.PowerOff },
		session: func(s session) { r.saved = s },
		name:    func(name string) error { r.named = append(r.named, name); return nil },
	}
	f := a.run(context.Background())
	time.Sleep(time.Second)
	close(stop)
	shown.Wait()
	if r.unheld || r.held != 0 {
		t.Errorf("a disk was used that was not held: %v; %d are still held", r.unheld, r.held)
	}
	return f
}

// last returns the last report.
func (r *room) last() wire.Report {
	if len(r.reports) == 0 {
		return wire.Report{}
	}
	return r.reports[len(r.reports)-1]
}

func ssd() wire.Disk {
	return wire.Disk{Name: "sda", Serial: "S1", Path: "p1", Transport: "sata", Size: 1 << 40}
}

// newRoom returns a room with a disk and a server that has this job.
func newRoom(job *wire.Job) *room {
	s := testShop()
	return &room{
		shop: s, trust: s.root, files: s.files,
		disks:    []wire.Disk{ssd()},
		welcomes: []wire.Welcome{{Schema: 1, Machine: "pc-1", Token: "session", Job: job}},
	}
}

func restoreJob() *wire.Job {
	return &wire.Job{ID: "7", Kind: wire.Restore, Attempt: 1, Image: "lab@3", Digest: testDigest}
}

func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(restoreJob())
		f := r.run(t)
		if f != (fate{wire.Reboot, true}) {
			t.Errorf("ends with %+v, want to reboot to the disk", f)
		}
		want := "SLIPCAST_TOKEN=session restore --json --yes --digest=" + testDigest + " --pin=" + strings.Repeat("00", 32) +
			" https://192.0.2.1:8443/api/v1/images/lab@3.img.zst --serial=S1 /dev/sda"
		if len(r.ran) != 1 || r.ran[0] != want {
			t.Errorf("ran %q\nwant %q", r.ran, want)
		}
		last := r.last()
		if last.State != wire.Done || last.Result != testDigest || !slices.Equal(last.Notes, []string{"p2 is LUKS"}) {
			t.Errorf("last report %+v", last)
		}
		if !slices.Equal(r.named, []string{"pc-1"}) {
			t.Errorf("the machine is called %q, want pc-1", r.named)
		}
		if !slices.Equal(r.restored, []string{"sda"}) || r.saved.Job != "" {
			t.Errorf("handed over %s, left behind %+v", r.restored, r.saved)
		}
		for _, line := range []string{"contact pc-1", "job 7 restore begins", "job 7 disk sda, S1, p1, 1099.5 GB", "job 7 restore done"} {
			if !strings.Contains(r.screen.String(), "slipcast agent: "+line+"\r\n") {
				t.Errorf("the console lacks %q:\n%s", line, r.screen.String())
			}
		}
		if h := r.hellos[0]; h.Token != "ticket" || h.Inventory.MAC != "00:00:5e:00:53:01" || h.Inventory.Version != "test" {
			t.Errorf("hello %+v", h)
		}
	})
}

// What is reported counts up, and each line of the log comes once, in order,
// although the server is away for a while.
func TestReportsWhileServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(restoreJob())
		r.child = func(ctx context.Context, c child) error {
			for i := range 120 {
				r.mu.Lock()
				r.down = i > 20 && i < 80
				r.mu.Unlock()
				c.Object(object{Type: "note", Text: fmt.Sprintf("line %d", i)})
				c.Object(object{Type: "progress", Stage: "restore", Done: int64(i), Total: 120, Rate: 1})
				time.Sleep(time.Second)
			}
			c.Object(object{Type: "restored", Digest: testDigest})
			return nil
		}
		r.run(t)
		var lines []string
		for i, report := range r.reports {
			if i > 0 && report.Seq <= r.reports[i-1].Seq {
				t.Errorf("report %d comes after %d", report.Seq, r.reports[i-1].Seq)
			}
			for _, l := range report.Lines {
				if text, ok := strings.CutPrefix(l.Text, "note: line "); ok {
					lines = append(lines, text)
				}
			}
		}
		var want []string
		for i := range 120 {
			want = append(want, fmt.Sprint(i))
		}
		if !slices.Equal(lines, want) {
			t.Errorf("lines %s\nwant %s", lines, want)
		}
		if r.last().State != wire.Done {
			t.Errorf("last report %+v, want done", r.last())
		}
		if n := len(r.reports); n > 40 {
			t.Errorf("%d reports in two minutes", n)
		}
	})
}

// A job that fails says why, with the kernel's last words, and the machine
// does not boot the disk as if it were whole.
func TestFailure(t *testing.T) {
	tests := []struct {
		name  string
		job   func(*wire.Job)
		child func(context.Context, child) error
		disks []wire.Disk
		want  string
	}{
		{name: "child", child: func(context.Context, child) error { return &childError{4, "chunk 3: digest mismatch"} }, want: "chunk 3: digest mismatch"},
		{name: "other image", child: func(_ context.Context, c child) error { c.Object(object{Type: "restored", Digest: "00"}); return nil }, want: `the digest of what was restored is "00", the job wants ` + testDigest},
		{name: "fault", child: func(context.Context, child) error { panic("boom") }, want: "slipcast has a fault: boom"},
		{name: "no disk", disks: []wire.Disk{}, want: "no disk fits: the machine has none that the boot environment can see"},
		{name: "kind", job: func(j *wire.Job) { j.Kind = "erase" }, want: `job: this agent does not know the kind "erase"`},
		{name: "image", job: func(j *wire.Job) { j.Image = "../etc" }, want: `job: "../etc" names no image`},
		{name: "flag as image", job: func(j *wire.Job) { j.Image = "--grow" }, want: `job: "--grow" names no image`},
		{name: "digest", job: func(j *wire.Job) { j.Digest = "" }, want: "job: the digest is no SHA-256 in hexadecimal"},
		{name: "long host name", job: func(j *wire.Job) { j.Hostname = strings.Repeat("a", 65) }, want: `job: "` + strings.Repeat("a", 65) + `" is no host name`},
		{name: "answer file without a name", job: func(j *wire.Job) { j.Answer = "<x>%HOSTNAME%</x>" }, want: "job: the answer file has %HOSTNAME%, and there is no host name for it"},
		{name: "host name", job: func(j *wire.Job) { j.Hostname = "a\nb" }, want: `job: "a\nb" is no host name`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				job := restoreJob()
				if tt.job != nil {
					tt.job(job)
				}
				r := newRoom(job)
				r.child = tt.child
				if tt.disks != nil {
					r.disks = tt.disks
				}
				began := time.Now()
				if f := r.run(t); f != (fate{wire.Reboot, false}) {
					t.Errorf("ends with %+v, want to reboot, and not to the disk", f)
				}
				if took := time.Since(began); took < failedTime {
					t.Errorf("the failure is shown for %s, want a minute", took)
				}
				last := r.last()
				if last.State != wire.Failed || last.Error != tt.want {
					t.Errorf("last report: %s, %q\nwant %q", last.State, last.Error, tt.want)
				}
				if n := len(last.Lines); n == 0 || last.Lines[n-1].Text != "kernel: [1] I/O error" {
					t.Errorf("lines %v, want the kernel's at the end", last.Lines)
				}
				if len(r.restored) > 0 {
					t.Errorf("handed over %s", r.restored)
				}
			})
		})
	}
}

// Without its session the image comes by HTTPS, and what the session brought
// is kept.
func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := restoreJob()
		job.Session = &wire.Session{Name: "room", From: "192.0.2.1:7780", Key: "secret"}
		job.Grow = true
		r := newRoom(job)
		r.child = func(_ context.Context, c child) error {
			if c.Args[0] == "receive" {
				return &childError{6, "no session"}
			}
			c.Object(object{Type: "restored", Digest: testDigest})
			return &childError{3, "partition 2 was not grown"}
		}
		r.run(t)
		if len(r.ran) != 2 {
			t.Fatalf("ran %q, want receive and restore", r.ran)
		}
		want := "SLIPCAST_KEY=secret receive --json --yes --digest=" + testDigest +
			" --grow --session=room --search=2m --from=192.0.2.1:7780 --interface=eth0 --id=00:00:5e:00:53:01 --serial=S1 /dev/sda"
		if r.ran[0] != want {
			t.Errorf("ran %q\nwant %q", r.ran[0], want)
		}
		if !strings.Contains(r.ran[1], " --delta ") {
			t.Errorf("ran %q, want --delta", r.ran[1])
		}
		if last := r.last(); last.State != wire.Done || len(last.Notes) != 3 {
			t.Errorf("last report %+v, want done with three notes", last)
		}
	})
}

// What was on the disk when the power was cut is kept, by a session and without.
func TestSecondAttempt(t *testing.T) {
	for _, session := range []*wire.Session{nil, {Name: "room", Key: "secret"}} {
		synctest.Test(t, func(t *testing.T) {
			job := restoreJob()
			job.Session, job.Attempt = session, 2
			r := newRoom(job)
			r.child = func(_ context.Context, c child) error {
				c.Object(object{Type: "restored", Digest: testDigest})
				return nil
			}
			r.run(t)
			if len(r.ran) != 1 || !strings.Contains(r.ran[0], " --delta ") {
				t.Errorf("session %v: ran %q, want one child with --delta", session, r.ran)
			}
		})
	}
}

// A job that goes on after a long silence writes only where a restore was cut
// short: it may have been done, without the server hearing of it.
func TestLongSilence(t *testing.T) {
	zeros, old := strings.Repeat("\x00", 16384), strings.Repeat("old ", 4096)
	for _, tt := range []struct {
		name    string
		attempt int
		silent  time.Duration
		start   string
		want    wire.State
	}{
		{"first attempt", 1, 0, old, wire.Done},
		{"soon", 2, time.Minute, old, wire.Done},
		{"late, cut short", 2, time.Hour, zeros, wire.Done},
		{"late, whole", 2, time.Hour, old, wire.Failed},
		{"late, unreadable", 2, time.Hour, "", wire.Failed},
	} {
		synctest.Test(t, func(t *testing.T) {
			job := restoreJob()
			job.Attempt, job.Silent = tt.attempt, int64(tt.silent.Seconds())
			r := newRoom(job)
			r.start = tt.start
			r.child = func(_ context.Context, c child) error {
				c.Object(object{Type: "restored", Digest: testDigest})
				return nil
			}
			r.run(t)
			if got := r.last().State; got != tt.want || (len(r.ran) == 1) != (tt.want == wire.Done) {
				t.Errorf("%s: %s after %q, want %s", tt.name, got, r.ran, tt.want)
			}
		})
	}
}

// A server that is started anew in the middle of an image goes on with it; one
// that stays away fails the job.
func TestServerLostInTheMiddle(t *testing.T) {
	for lost, want := range map[int]wire.State{0: wire.Done, 1: wire.Done, 20: wire.Done, 1000: wire.Failed} {
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(restoreJob())
			r.child = func(_ context.Context, c child) error {
				if len(r.ran) <= lost {
					return &childError{6, "nobody answers"}
				}
				c.Object(object{Type: "restored", Digest: testDigest})
				return nil
			}
			r.run(t)
			if got := r.last().State; got != want || len(r.ran) != min(lost+1, fetchTries) {
				t.Errorf("lost %d times: %s after %d attempts, want %s", lost, got, len(r.ran), want)
			}
			for i, ran := range r.ran {
				if strings.Contains(ran, " --delta ") != (i > 0) {
					t.Errorf("lost %d times: attempt %d is %q, want --delta but in the first", lost, i+1, ran)
				}
			}
		})
	}
}

// Of two disks none is chosen without an answer.
func TestAsk(t *testing.T) {
	other := ssd()
	other.Name, other.Serial, other.Path = "sdb", "S2", "p2"
	tests := []struct {
		name   string
		answer func(r *room)
		want   string // disk
	}{
		{"on the console", func(r *room) { r.typed <- "9"; r.typed <- "x"; r.typed <- " 2 " }, "sdb"},
		{"on the server", func(r *room) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reply = func(wire.Report) (wire.Reply, error) { return wire.Reply{Disk: "S2"}, nil }
		}, "sdb"},
		{"of something else", func(r *room) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reply = func(wire.Report) (wire.Reply, error) { return wire.Reply{Disk: "S9"}, nil }
		}, ""},
		{"never", func(*room) {}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRoom(restoreJob())
				r.disks = append(r.disks, other)
				r.typed = make(chan string)
				var answered sync.WaitGroup
				answered.Go(func() { time.Sleep(time.Minute); tt.answer(r) })
				r.run(t)
				answered.Wait()
				if got := strings.Join(r.restored, " "); got != tt.want {
					t.Errorf("restored %q, want %q", got, tt.want)
				}
				asked := slices.ContainsFunc(r.reports, func(p wire.Report) bool { return p.State == wire.Asking && len(p.Candidates) == 2 })
				if !asked {
					t.Error("the server was not asked")
				}
				if tt.want == "" && (r.last().State != wire.Failed || len(r.ran) > 0) {
					t.Errorf("last report %+v, ran %s", r.last(), r.ran)
				}
			})
		})
	}
}

// A disk that shows up late is waited for; a second one that shows up right
// after the first is not overlooked; one that is swapped is not written.
func TestDisksThatMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(restoreJob())
		r.disks = nil
		time.AfterFunc(20*time.Second, func() { r.mu.Lock(); r.disks = []wire.Disk{ssd()}; r.mu.Unlock() })
		r.run(t)
		if !slices.Equal(r.restored, []string{"sda"}) {
			t.Errorf("restored %s, want sda", r.restored)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(restoreJob())
		other := ssd()
		other.Serial = "S2"
		time.AfterFunc(500*time.Millisecond, func() { r.mu.Lock(); r.disks = append(r.disks, other); r.mu.Unlock() })
		r.run(t)
		if len(r.ran) > 0 || !strings.Contains(r.last().Error, "nobody said which disk") {
			t.Errorf("ran %s, error %q; want a question", r.ran, r.last().Error)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		job := restoreJob()
		job.Session = &wire.Session{Name: "room"}
		r := newRoom(job)
		r.child = func(_ context.Context, c child) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.disks[0].Serial = "S2"
			return &childError{6, "no session"}
		}
		r.run(t)
		if len(r.ran) != 1 || !strings.Contains(r.last().Error, "now 0 disks are like it") {
			t.Errorf("ran %s, error %q; want that it is another disk", r.ran, r.last().Error)
		}
	})
}

// A disk without a serial number is not written when its name becomes another
// disk's between the look and the opening.
func TestNameThatMoves(t *testing.T) {
	for name, job := range map[string]*wire.Job{
		"restore": restoreJob(), "wipe": {ID: "7", Kind: wire.Wipe}, "capture": {ID: "7", Kind: wire.Capture, Image: "lab"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(job)
			r.disks = []wire.Disk{{Name: "vda", Path: "p1", Size: 1 << 40}}
			r.onHold = func() {
				r.disks = []wire.Disk{{Name: "vdb", Path: "p1", Size: 1 << 40}, {Name: "vda", Path: "p2", Size: 1 << 40}}
			}
			r.run(t)
			if len(r.ran)+len(r.wiped)+len(r.restored) > 0 || !strings.Contains(r.last().Error, "vda became another disk") {
				t.Errorf("%s: ran %s, wiped %s, restored %s; last report %+v", name, r.ran, r.wiped, r.restored, r.last())
			}
		})
	}
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(restoreJob())
		r.child = func(ctx context.Context, _ child) error { <-ctx.Done(); return ctx.Err() }
		r.reply = func(p wire.Report) (wire.Reply, error) { return wire.Reply{Cancel: p.Seq > 3}, nil }
		if f := r.run(t); f.disk {
			t.Errorf("ends with %+v; the disk is not whole", f)
		}
		if last := r.last(); last.State != wire.Failed || last.Error != "cancelled on the server" {
			t.Errorf("last report %+v, want that it was cancelled", last)
		}
	})
}

func TestCapture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(&wire.Job{ID: "8", Kind: wire.Capture, Image: "lab", Level: "fast", End: wire.PowerOff})
		r.child = func(_ context.Context, c child) error {
			c.Object(object{Type: "progress", Stage: "capture", Done: 1})
			_, err := io.WriteString(c.Stdout, "an image")
			return err
		}
		if f := r.run(t); f != (fate{wire.PowerOff, false}) {
			t.Errorf("ends with %+v, want power off", f)
		}
		if len(r.ran) != 1 || r.ran[0] != "capture --json --level=fast /dev/sda -" {
			t.Errorf("ran %q", r.ran)
		}
		if last := r.last(); last.State != wire.Done || last.Result != "lab@1" || string(r.put) != "an image" {
			t.Errorf("last report %+v, image %q", last, r.put)
		}
	})
}

// An image that was cut short is not brought to the store as if it were whole.
func TestCaptureFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(&wire.Job{ID: "8", Kind: wire.Capture, Image: "lab"})
		r.child = func(_ context.Context, c child) error {
			io.WriteString(c.Stdout, "half an im")
			return &childError{1, "reading /dev/sda: input/output error"}
		}
		r.run(t)
		if last := r.last(); last.State != wire.Failed || last.Error != "reading /dev/sda: input/output error" {
			t.Errorf("last report %+v", last)
		}
	})
}

func TestWipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(&wire.Job{ID: "9", Kind: wire.Wipe})
		if f := r.run(t); f.disk || len(r.ran) > 0 || !slices.Equal(r.wiped, []string{"sda"}) || r.last().State != wire.Done {
			t.Errorf("ends with %+v, ran %s, wiped %s, %+v", f, r.ran, r.wiped, r.last())
		}
	})
}

func TestEnds(t *testing.T) {
	tests := []struct {
		name     string
		welcomes []wire.Welcome
		want     fate
	}{
		{"nothing to do", []wire.Welcome{{Schema: 1, Machine: "a", Reason: "unknown"}}, fate{wire.Reboot, false}},
		{"power off", []wire.Welcome{{Schema: 1, End: wire.PowerOff}}, fate{wire.PowerOff, false}},
		{"shell", []wire.Welcome{{Schema: 1, End: wire.OpenShell}}, fate{wire.PowerOff, false}},
		{"shell job", []wire.Welcome{{Schema: 1, Token: "session", Job: &wire.Job{ID: "1", Kind: wire.Shell}}}, fate{wire.PowerOff, false}},
		{"stay", []wire.Welcome{{Schema: 1, End: wire.Stay}, {Schema: 1, End: wire.Stay}, {Schema: 1, End: wire.PowerOff}}, fate{wire.PowerOff, false}},
		{"stay and be refused", []wire.Welcome{{Schema: 1, End: wire.Stay}}, fate{wire.Reboot, false}},
		{"refused", nil, fate{wire.Reboot, false}},
		{"a server of the future", []wire.Welcome{{Schema: 2, End: wire.PowerOff}}, fate{wire.Reboot, false}},
		{"end of the future", []wire.Welcome{{Schema: 1, End: "dance"}}, fate{wire.Reboot, false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &room{welcomes: tt.welcomes}
				if f := r.run(t); f != tt.want {
					t.Errorf("ends with %+v, want %+v", f, tt.want)
				}
			})
		})
	}
}

// An agent that stays says why it has no job when that is news, and not
// whenever it has asked.
func TestStaySaysOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle, other := wire.Welcome{Schema: 1, End: wire.Stay, Reason: "there  is none"}, wire.Welcome{Schema: 1, End: wire.Stay, Reason: "it is ambiguous"}
		survey := wire.Welcome{Schema: 1, Token: "session", Job: &wire.Job{ID: "1", Kind: wire.Survey, End: wire.Stay}}
		r := &room{welcomes: []wire.Welcome{idle, idle, idle, other, other, idle, idle, survey, idle, idle, {Schema: 1, End: wire.PowerOff}}}
		r.run(t)
		var got []string
		for line := range strings.Lines(r.screen.String()) {
			if _, why, ok := strings.Cut(strings.TrimSpace(line), "no job: "); ok {
				got = append(got, why)
			}
		}
		if want := []string{"there is none", "it is ambiguous", "there is none", "there is none"}; !slices.Equal(got, want) {
			t.Errorf("it says %q, want %q:\n%s", got, want, r.screen.String())
		}
	})
}

// Nobody waits for a server for ever.
func TestNoServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &room{down: true}
		began := time.Now()
		f := r.run(t)
		if took := time.Since(began); f.disk || took > helloLimit+2*failedTime {
			t.Errorf("ends with %+v after %s", f, took)
		}
		if !strings.Contains(r.screen.String(), "hello: https://192.0.2.1:8443: ") {
			t.Errorf("the console does not say that nobody answers:\n%s", r.screen.String())
		}
	})
}

// A server that comes back brings the end of a job, and a job whose end nobody
// hears of ends the agent all the same.
func TestServerGoneAtTheEnd(t *testing.T) {
	for _, away := range []time.Duration{5 * time.Minute, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(restoreJob())
			r.child = func(_ context.Context, c child) error {
				r.mu.Lock()
				r.down = true
				r.mu.Unlock()
				c.Object(object{Type: "restored", Digest: testDigest})
				return nil
			}
			back := time.AfterFunc(away, func() { r.mu.Lock(); r.down = false; r.mu.Unlock() })
			defer back.Stop()
			if f := r.run(t); !f.disk {
				t.Errorf("ends with %+v, want to boot the disk", f)
			}
			if told := r.last().State == wire.Done; told != (away < reportLast) {
				t.Errorf("away for %s: the server knows %v", away, told)
			}
		})
	}
}

// The client takes the server with the key of its ticket and no other, goes on
// to the next server, and keeps an answer bounded.
func TestClientPin(t *testing.T) {
	answer := `{"schema":1,"machine":"pc-1","token":"t2"}`
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/agent/report" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		io.WriteString(w, answer)
	}))
	defer s.Close()
	pin := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	c, err := newClient(wire.Ticket{Servers: []string{"https://127.0.0.1:1", s.URL}, Pin: fmt.Sprintf("%x", pin)})
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.hello(t.Context(), wire.Hello{})
	if err != nil || w.Machine != "pc-1" {
		t.Fatalf("hello = %+v, %v", w, err)
	}
	if servers, token := c.order(); servers[0] != s.URL || token != "t2" {
		t.Errorf("goes on with %s and token %q", servers, token)
	}
	var status *StatusError
	if _, err := c.report(t.Context(), wire.Report{}); !errors.As(err, &status) || status.Status != 307 {
		t.Errorf("report = %v, want that a redirection is not followed", err)
	}
	answer = strings.Repeat(" ", wire.MaxBody) + answer
	if _, err := c.hello(t.Context(), wire.Hello{}); err == nil {
		t.Error("an answer without bounds is taken")
	}
	pin[0]++
	other, err := newClient(wire.Ticket{Servers: []string{s.URL}, Pin: fmt.Sprintf("%x", pin)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.hello(t.Context(), wire.Hello{Token: "secret"}); !errors.Is(err, ErrPin) {
		t.Errorf("hello to another server = %v, want ErrPin", err)
	}
}

func TestCrashReport(t *testing.T) {
	r := crashReport("7", "goroutine noise\npanic: runtime error: index out of range\n\ngoroutine 1 [running]:\n")
	if r.Job != "7" || r.State != wire.Failed || r.Error != "slipcast crashed: panic: runtime error: index out of range" || len(r.Lines) != 4 {
		t.Errorf("crashReport = %+v", r)
	}
}
