package fleet

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"slipcast/agent/wire"
	"slipcast/catalog/trust"
)

// Every request that gets a job gets a ticket of its own, for just this job.
func TestProof(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	o := order(p.register(t, l.fleet))
	o.Options.Apply = []string{"reader", "fonts@2-1"}
	j := create(t, l.fleet, o)[0]
	w := l.boot(p)
	if w.Job == nil || string(w.Proof) != `{"ticket":1}` {
		t.Fatalf("welcome %+v with the proof %s; want a job and its ticket", w, w.Proof)
	}
	nonce, err := trust.ParseNonce(testNonce)
	if err != nil {
		t.Fatal(err)
	}
	want := trust.Claims{Nonce: nonce, Machine: p.MAC, Job: j.text(), Image: "aa11", Plan: w.Job.PlanDigest()}
	if got := l.catalog.signed[0]; got != want || want.Plan == "" {
		t.Errorf("signed %+v\nwant %+v", got, want)
	}
	if w := l.hello(p, "", http.StatusOK); w.Job != nil || w.Proof != nil {
		t.Errorf("without a token: %+v, %s; want neither job nor proof", w.Job, w.Proof)
	}
}

// A job of another kind needs no catalog, not even one that is there.
func TestNoProof(t *testing.T) {
	l := newAgentLab(t)
	l.api.Catalog = nil
	p := newPC(1)
	create(t, l.fleet, Order{Kind: wire.Survey, Machines: []string{p.register(t, l.fleet).ID}, By: "test"})
	if w := l.boot(p); w.Job == nil || w.Proof != nil {
		t.Errorf("welcome %+v with the proof %s; want a job without one", w, w.Proof)
	}
}

// What the catalog keeps from machines fails at hello, and with it the job.
func TestWithheld(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(l *agentLab)
		want  string
	}{
		{"recalled since", func(l *agentLab) { l.catalog.keeps = "recalled: boots into the wrong domain" }, "not released: lab@3: recalled: boots into the wrong domain"},
		{"no catalog any more", func(l *agentLab) { l.api.Catalog = nil }, "not released: the server has no catalog"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newAgentLab(t)
			p := newPC(1)
			j := create(t, l.fleet, order(p.register(t, l.fleet)))[0]
			tt.spoil(l)
			if w := l.boot(p); w.Job != nil || w.Proof != nil || !strings.HasSuffix(w.Reason, tt.want) {
				t.Errorf("welcome %+v; want no job, because %s", w, tt.want)
			}
			if got, err := l.fleet.Job(t.Context(), j.ID); err != nil || got.State != Failed || got.Error != tt.want {
				t.Errorf("job is %s: %s, %v; want failed: %s", got.State, got.Error, err, tt.want)
			}
		})
	}
}

// An agent from before there was a catalog would restore whatever it is told.
func TestOldAgent(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	j := create(t, l.fleet, order(p.register(t, l.fleet)))[0]
	var w wire.Welcome
	hello := wire.Hello{Schema: 1, Token: offer(t, l.director, p).Token, Inventory: p.Inventory}
	if got := l.send("POST", "/api/v1/agent/hello", "", hello, &w); got != http.StatusOK || w.Job != nil || !strings.Contains(w.Reason, "slipcast boot build makes it anew") {
		t.Errorf("hello without a nonce: %d, %+v; want no job, and why", got, w)
	}
	wantState(t, l.fleet, j.ID, Failed)
	hello.Nonce = "5a5a"
	if got := l.send("POST", "/api/v1/agent/hello", "", hello, &struct{}{}); got != http.StatusBadRequest {
		t.Errorf("hello with half a nonce: %d, want 400", got)
	}
}

// A catalog that cannot be read now may be read in a moment: the agent asks
// again, and the job is not lost.
func TestBrokenCatalog(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	j := create(t, l.fleet, order(p.register(t, l.fleet)))[0]
	token := offer(t, l.director, p).Token
	l.catalog.broken = errors.New("I/O error")
	l.hello(p, token, http.StatusInternalServerError)
	wantState(t, l.fleet, j.ID, Working)
	l.catalog.broken = nil
	if w := l.hello(p, token, http.StatusOK); w.Job == nil || w.Job.Attempt != 1 {
		t.Errorf("welcome %+v, want the first attempt of the job", w)
	}
}

// The archive of a machine has the root that it is to trust.
func TestOfferHasRoot(t *testing.T) {
	l := newAgentLab(t)
	for _, root := range []string{"", `{"signed":{}}`} {
		l.catalog.root = nil
		if root != "" {
			l.catalog.root = []byte(root)
		}
		files, err := l.director.Offer(t.Context(), newPC(1).client())
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range files {
			if f.Name == wire.RootPath {
				got = string(f.Data)
			}
		}
		if got != root {
			t.Errorf("the archive has the root %q, want %q", got, root)
		}
	}
	l.catalog.root = make([]byte, wire.MaxRoot+1)
	if _, err := l.director.Offer(t.Context(), newPC(2).client()); err == nil {
		t.Error("a root of more than 64 KiB is offered")
	}
}

// The files of the catalog are for agents that restore.
func TestCatalogFiles(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	nobody := l.boot(p)
	create(t, l.fleet, order(mustMachine(t, l.fleet, p)))
	w := l.boot(p)
	get := func(token string) string {
		r := httptest.NewRequest("GET", "/api/v1/agent/catalog/metadata/timestamp.json", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		l.api.Handler().ServeHTTP(rec, r)
		return fmt.Sprint(rec.Code, " ", strings.TrimSpace(rec.Body.String()))
	}
	want := func(why, got, want string) {
		t.Helper()
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", why, got, want)
		}
	}
	want("a server without files", get(w.Token), "404 ")
	l.api.CatalogFiles = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	want("an agent that restores", get(w.Token), "200 /metadata/timestamp.json")
	want("nobody", get(""), "403 ")
	want("a session that has ended", get(nobody.Token), "403 ")
	l.report(w, wire.Report{Seq: 1, State: wire.Done})
	want("when the job is done", get(w.Token), "409 ")
}
