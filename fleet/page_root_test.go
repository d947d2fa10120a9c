package fleet

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"slipcast/agent/wire"
	"slipcast/internal/lab"
)

// tileSays is a script that tells whether the tile of a machine has a text.
func tileSays(name, text string) string {
	return fmt.Sprintf(`return [...document.querySelectorAll("#tiles li")].some(li => li.querySelector("b").textContent === %q && li.textContent.includes(%q))`, name, text)
}

// The status page in a browser on a phone: it is live, it comes back after the
// server has, and who has signed in makes jobs and answers questions.
func TestRootPage(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "chromium", "chromedriver")
	l := newAgentLab(t)
	desk := &OperatorAPI{Fleet: l.fleet, Images: l.images, Catalog: l.catalog, Token: testToken, Notices: func() []string { return []string{"the catalog expires in three days"} }}
	server := httptest.NewServer(desk.Handler())
	defer func() { server.CloseClientConnections(); server.Close() }()
	b := newBrowser(t)
	b.open(server.URL)
	b.until(`return !document.getElementById("empty").hidden`)

	room := furnish(t, l)
	b.until(tileSays("pc-000001", "no job")) // without loading the page again
	b.until(tileSays("pc-000002", "43 %"))
	b.until(tileSays("pc-000004", "the disk is too small"))
	b.until(tileSays("pc-000005", "two disks fit"))
	b.until(tileSays("pc-000003", "catalog: 1 of 2, 50 %"))
	b.until(`return document.getElementById("notices").textContent.includes("in three days")`)
	var buttons int
	b.run(`return [...document.querySelectorAll("#tiles button")].filter(x => !x.hidden && x.offsetParent).length`, &buttons)
	if buttons != 0 {
		t.Errorf("%d buttons without having signed in, want none", buttons)
	}
	b.picture("guest")

	signIn(b)
	b.click("#new")
	b.until(`return document.querySelectorAll("#choose input").length > 1 && document.getElementById("image").value === "lab@3"`)
	b.click(fmt.Sprintf(`#choose input[value="%s"]`, room[0].ID))
	b.until(`return document.getElementById("go").textContent === "Overwrite 1 disk"`)
	b.picture("job")
	b.click("#go")
	b.until(tileSays("pc-000001", "waiting"))
	jobs, err := l.fleet.Jobs(t.Context(), room[0].ID, true, 10)
	if err != nil || len(jobs) != 1 || jobs[0].Kind != wire.Restore || jobs[0].Image != "lab@3" {
		t.Errorf("Jobs = %+v, %v; want the one that was clicked", jobs, err)
	}
	b.picture("operator")

	b.click(fmt.Sprintf(`#tiles li[data-id="%s"] .question button`, room[4].ID))
	b.click("#yes")
	b.until(tileSays("pc-000005", "chosen: "))
	if m, err := l.fleet.Machine(t.Context(), room[4].ID); err != nil || m.Job.Choice != "D1" {
		t.Errorf("Choice = %q, %v; want D1", m.Job.Choice, err)
	}
	comeBack(t, b, l, server, desk, room[0])
	var wide bool
	if b.run(`return document.documentElement.scrollWidth > document.documentElement.clientWidth`, &wide); wide {
		t.Error("the page is wider than the phone")
	}
	for _, c := range b.complaints() {
		if !slices.ContainsFunc(expectedComplaints, func(word string) bool { return strings.Contains(c, word) }) {
			t.Errorf("the browser says: %s", c)
		}
	}
}

// expectedComplaints are of the server that is stopped, and of the wrong
// token. Whatever the policy of the page forbids is none of them.
var expectedComplaints = []string{"ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING", "/signin - Failed to load resource"}

func signIn(b *browser) {
	b.click("#sign")
	b.write("#token", "wrong")
	b.click("#signform button[type=submit]")
	b.until(`return document.getElementById("signerror").textContent.includes("token is wrong")`)
	b.run(`document.getElementById("token").value = ""`, nil)
	b.write("#token", testToken)
	b.picture("signin")
	b.click("#signform button[type=submit]")
	b.until(`return !document.getElementById("new").hidden && !document.getElementById("signin").open`)
}

// furnish makes five machines: one without a job, one at work, one done, one
// that failed, and one that asks.
func furnish(t *testing.T, l *agentLab) []Machine {
	var room []Machine
	for n := 1; n <= 5; n++ {
		p := newPC(n)
		m := p.register(t, l.fleet)
		room = append(room, m)
		if n == 1 {
			continue
		}
		create(t, l.fleet, order(m))
		w := l.boot(p)
		l.report(w, wire.Report{Seq: 1, State: wire.Working, Step: "restore", Done: 43 << 28, Total: 100 << 28, Rate: 98 << 20, Disk: "PM981 D00002"})
		switch n {
		case 3:
			l.report(w, wire.Report{Seq: 2, State: wire.Done, Disk: "PM981 D00003", Cells: []wire.Cell{
				{Product: "reader", State: wire.CellOK}, {Product: "fonts", State: "missing", Reason: "no way from 8.1"},
			}})
		case 4:
			l.report(w, wire.Report{Seq: 2, State: wire.Failed, Error: "restoring to nvme0n1: the disk is too small: 120 GB do not hold 238 GiB"})
		case 5:
			l.report(w, wire.Report{Seq: 2, State: wire.Asking, Error: "two disks fit", Candidates: []wire.Disk{
				{Name: "sda", Model: "Samsung SSD 870", Serial: "D1", Size: 500e9},
				{Name: "sdb", Model: "WDC WD10EZEX", Serial: "D2", Size: 1000e9},
			}})
		}
	}
	return room
}

// comeBack stops the server and starts it again at the same address: the page
// says so, and goes on.
func comeBack(t *testing.T, b *browser, l *agentLab, server *httptest.Server, desk *OperatorAPI, m Machine) {
	address := server.Listener.Addr().String()
	server.CloseClientConnections()
	server.Close()
	b.until(`return !document.getElementById("lost").hidden`)
	name := "room12-01"
	if _, err := l.fleet.SetMachine(t.Context(), m.ID, Change{Name: &name}, "test"); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	again := &http.Server{Handler: desk.Handler()}
	ended := make(chan error, 1)
	go func() { ended <- again.Serve(listener) }() // awaited by the cleanup
	t.Cleanup(func() {
		again.Close()
		<-ended
	})
	b.until(tileSays(name, "waiting"))
	b.until(`return document.getElementById("lost").hidden`)
}
