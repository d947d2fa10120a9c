package fleet

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipcast/agent/wire"
)

// restored lets a machine be restored and report cells.
func (l *agentLab) restored(p *pc, m Machine, state wire.State, cells ...wire.Cell) {
	l.t.Helper()
	create(l.t, l.fleet, order(m))
	w := l.boot(p)
	l.report(w, wire.Report{Seq: 1, State: state, Error: "because", Cells: cells})
}

// stands tells how a machine stands.
func (l *agentLab) stands(m Machine) string {
	l.t.Helper()
	m, err := l.fleet.Machine(l.t.Context(), m.ID)
	if err != nil {
		l.t.Fatal(err)
	}
	if m.Compliance == nil {
		return fmt.Sprintf("unknown, %d cells", len(m.Cells))
	}
	text := fmt.Sprintf("%d of %d, %d %%:", m.Compliance.Good, m.Compliance.Cells, m.Compliance.Percent)
	for _, c := range m.Cells {
		text += fmt.Sprintf(" %s=%s", c.Product, c.State)
	}
	return text
}

func TestCompliance(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	m := p.register(t, l.fleet)
	want := func(why, want string) {
		t.Helper()
		if got := l.stands(m); got != want {
			t.Errorf("%s: %s, want %s", why, got, want)
		}
	}
	ok := wire.Cell{Product: "reader", Version: "9.3", State: wire.CellOK}
	missing := wire.Cell{Product: "fonts", State: "missing", Severity: "critical", Reason: "no way from \x1b8.1"}
	want("at first", "unknown, 0 cells")
	l.restored(p, m, wire.Done, ok, missing, wire.Cell{Product: "zoom", State: wire.CellNotApplicable})
	want("restored", "2 of 3, 66 %: fonts=missing reader=ok zoom=not-applicable")
	before, _ := l.fleet.Machine(t.Context(), m.ID)
	if c := before.Cells[0]; c.Reason != "no way from ?8.1" || c.Severity != "critical" || c.Since.IsZero() {
		t.Errorf("cell %+v", c)
	}

	if _, err := l.fleet.write.ExecContext(t.Context(), "UPDATE cells SET since = since - 3600000"); err != nil {
		t.Fatal(err)
	}
	ok.State, ok.Reason = wire.CellFailed, "exit code 1"
	l.restored(p, m, wire.Done, ok, missing)
	want("restored again", "0 of 2, 0 %: fonts=missing reader=failed")
	after, _ := l.fleet.Machine(t.Context(), m.ID)
	for _, c := range after.Cells {
		if old := time.Since(c.Since) > time.Hour-time.Minute; old != (c.Product == "fonts") {
			t.Errorf("%s is %s since %v; want that only the state that is the same is old", c.Product, c.State, c.Since)
		}
	}
	all, err := l.fleet.Compliance(t.Context(), "")
	if err != nil || len(all) != 1 || len(all[0].Cells) != 2 || all[0].Name != "pc-000001" {
		t.Errorf("Compliance = %+v, %v; want one machine that lacks two", all, err)
	}

	l.restored(p, m, wire.Failed)
	want("restored by half", "unknown, 0 cells")
	l.restored(p, m, wire.Done, ok)
	l.restored(p, m, wire.Done)
	want("restored without a look", "unknown, 0 cells")
}

// A machine that says too much, or nonsense, is not believed.
func TestCellsAreChecked(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	create(t, l.fleet, order(p.register(t, l.fleet)))
	w := l.boot(p)
	many := make([]wire.Cell, wire.MaxCells+1)
	for i := range many {
		many[i] = wire.Cell{Product: fmt.Sprint("p", i), State: wire.CellOK}
	}
	for name, cells := range map[string][]wire.Cell{
		"too many": many, "no product": {{State: wire.CellOK}}, "no state": {{Product: "a"}}, "an odd state": {{Product: "a", State: "<b>"}},
	} {
		r := wire.Report{Schema: 1, Job: w.Job.ID, Seq: 1, State: wire.Done, Cells: cells}
		if got := l.send("POST", "/api/v1/agent/report", w.Token, r, &struct{}{}); got != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", name, got)
		}
	}
	l.report(w, wire.Report{Seq: 2, State: wire.Done, Cells: many[1:]})
	m, err := l.fleet.Machine(t.Context(), "pc-000001")
	if err != nil || m.Compliance == nil || m.Compliance.Cells != wire.MaxCells || m.Compliance.Percent != 100 {
		t.Errorf("Compliance = %+v, %v; want all %d", m.Compliance, err, wire.MaxCells)
	}
}

func TestComplianceAPI(t *testing.T) {
	l := newAgentLab(t)
	p := newPC(1)
	l.restored(p, p.register(t, l.fleet), wire.Done, wire.Cell{Product: "reader", State: wire.CellOK}, wire.Cell{Product: "fonts", State: "drifted", Reason: "x"})
	desk := &OperatorAPI{Fleet: l.fleet, Images: l.images, Notices: func() []string { return []string{"the catalog expires"} }}
	for path, want := range map[string]string{
		"compliance":                   `"cells":[{"product":"fonts","state":"drifted","reason":"x","since":`,
		"compliance?machine=pc-000001": `"product":"reader"`,
		"machines":                     `"compliance":{"cells":2,"good":1,"percent":50,`,
		"notices":                      `{"notices":["the catalog expires"],"schema":1}`,
	} {
		w := httptest.NewRecorder()
		desk.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/"+path, nil))
		if got := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(got, want) {
			t.Errorf("%s: %d %s\nwant %s", path, w.Code, got, want)
		}
	}
	if answer, _ := do(t, desk.Handler(), "GET", "/api/v1/compliance?machine=nobody", ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("compliance of nobody: %d, want 404", answer.StatusCode)
	}
}

// A database of the version before gets what is new, and keeps what it has.
func TestMigrateCells(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		migrations[0], "PRAGMA user_version = 1",
		"INSERT INTO machines VALUES ('0a', 'pc-old', '', 'S1', '', '', '', '{}', '{}', '', 1, 1)",
	} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if m, err := f.Machine(t.Context(), "pc-old"); err != nil || m.Serial != "S1" || m.Compliance != nil {
		t.Errorf("Machine = %+v, %v; want the one of before, of which nothing is known", m, err)
	}
}
