package plan

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"slipcast/catalog/bundle"
)

// today is the day of all matrices here.
func today() time.Time { return time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC) }

func daysAgo(n int) time.Time { return today().AddDate(0, 0, -n) }

func TestComply(t *testing.T) {
	tests := []struct {
		name, bundles string
		there         []string
		receipt       Receipt
		state         State
		reason        string // a part of it
	}{
		{"there", "x@2-1", []string{"x 2"}, Receipt{}, OK, "2 is there"},
		{"there and newer", "x@2-1", []string{"x 3"}, Receipt{}, OK, "newer than 2"},
		{"lacking", "x@2-1", nil, Receipt{}, Missing, "it is not there, and 2 comes with step 1"},
		{"old", "x@2-1", []string{"x 1"}, Receipt{}, Missing, "1 is there, and 2 comes with step 1"},
		{"old by receipt", "x@1-1\nx@2-1", []string{"x 1"}, Receipt{Bundle: "x@1-1", Applied: 1}, Missing, "1 is there, and 2 comes"},
		{"old, found as it is written elsewhere", "x@1-1\nx@2-1", []string{"x 1.0.0"}, Receipt{Bundle: "x@1-1", Scheme: "dotted", Applied: 1}, Missing, "1.0.0 is there, and 2 comes"},
		{"likewise, applied twice", "x@1-1\nx@2-1", []string{"x 1.0.0"}, Receipt{Bundle: "x@1-1", Scheme: "dotted", Applied: 2}, Missing, "1.0.0 is there, and 2 comes"},
		{"waits for a reboot", "x@2-1", []string{"x 2"}, Receipt{Bundle: "x@2-1", Applied: 1, Reboot: true}, PendingReboot, "when the system is started anew"},
		{"failed", "x@2-1", nil, Receipt{Bundle: "x@2-1", Failed: "post: exit code 7"}, Failed, "x@2-1 failed: post: exit code 7; it is not there"},
		{"failed once, but there", "x@2-1", []string{"x 2"}, Receipt{Bundle: "x@2-1", Failed: "post: exit code 7"}, OK, "2 is there"},
		{"taken away", "x@2-1", nil, Receipt{Bundle: "x@2-1", Applied: 1}, Drifted, "the receipt says that x@2-1 was applied, and detection does not find it"},
		{"set back", "x@2-1", []string{"x 1"}, Receipt{Bundle: "x@2-1", Applied: 1}, Drifted, "1 is there"},
		{"detection that is wrong", "x@2-1", nil, Receipt{Bundle: "x@2-1", Applied: 2}, DetectBroken, "applied 2 times with success"},
		{"recalled", "x@1-1\nx@2-1 recalled", []string{"x 2"}, Receipt{}, Recalled, "it breaks printing"},
		{"recalled and away", "x@2-1 recalled", nil, Receipt{}, NotApplicable, "it is recalled"},
		{"superseded", "x@1-1\nnew@1-1 over:x", []string{"x 1", "new 1"}, Receipt{}, Superseded, "new 1 takes its place"},
		{"does not apply", `x@1-1 if:arch()=="arm64"`, nil, Receipt{}, NotApplicable, `arch() = "x64"`},
		{"unknown", "x@1-1", []string{"x !"}, Receipt{}, Unknown, "the disk cannot be read"},
		{"doubtful", `x@1-1` + "\n" + `x@2-1 if:dmi("vendor")=="x"`, []string{"x 1"}, Receipt{}, Unknown, "no machine to ask"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.receipt.Product = "x"
			p := resolve(t, some(tt.bundles), have(tt.there...), Options{})
			m := Comply([]Report{{Root: "pc-1", Plan: p, Receipts: []Receipt{tt.receipt}}}, ComplyOptions{Now: today()})
			i := slices.IndexFunc(m.Standings, func(s Standing) bool { return s.Product == "x" })
			s := m.Standings[i]
			if s.State != tt.state || !strings.Contains(s.Reason, tt.reason) {
				t.Errorf("%s: %s, want %s: ... %s ...", s.State, s.Reason, tt.state, tt.reason)
			}
			if s.Reason == "" || s.State.Compliant() != s.Since.IsZero() {
				t.Errorf("%+v: a cell without a reason, or whose since does not fit", s)
			}
		})
	}
}

// sample is a matrix of three machines with something of everything.
func sample(t testing.TB) *Matrix {
	t.Helper()
	bundles := some(`
		browser@130-1 critical
		browser/esr@128-1 important
		reader@9.0-1 fresh
		reader@9.2-1 onto:>=9.0,<9.2
		reader@9.3-1 onto:>=9.2,<9.3 needs:vcredist>=14 critical
		scanner@2-1 moderate
		scanner@3-1 recalled
		vcredist@14-1
		wallpaper@5-1 low
		winonly@1-1 windows`)
	var reports []Report
	for name, there := range map[string][]string{
		"pc-01": {"browser 130", "browser/esr 128", "reader 9.3", "scanner 2", "vcredist 14", "wallpaper 5"},
		"pc-02": {"browser 120", "browser/esr 115", "reader 9.0", "scanner 3", "vcredist 14"},
		"pc-03": {"browser 130", "browser/esr !", "reader 8.1", "scanner 2", "wallpaper 5"},
	} {
		c, err := Compile(bundles)
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.Look(t.Context(), have(there...), LookOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Resolve(f, Options{})
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, Report{Root: name, Plan: p, Receipts: []Receipt{
			{Product: "wallpaper", Bundle: "wallpaper@5-1", Applied: 1}, {Product: "vcredist", Bundle: "vcredist@14-1", Applied: 1, Reboot: name == "pc-02"},
			{Product: "browser", Bundle: "browser@130-1", Failed: "post: exit code 7"},
		}})
	}
	return Comply(reports, ComplyOptions{
		Now:     today(),
		Seen:    []Sighting{{"pc-02", "reader", daysAgo(8)}, {"pc-02", "browser/esr", daysAgo(8)}, {"pc-01", "reader", daysAgo(90)}},
		Waivers: []Waiver{{Root: "pc-03", Product: "reader", Until: today().AddDate(0, 0, 10), By: "Ann", Reason: "=1+1 until the exam"}},
	})
}

func TestMatrix(t *testing.T) {
	m := sample(t)
	var got []string
	for _, s := range m.Standings {
		got = append(got, fmt.Sprintf("%s %s %s", s.Root, s.Product, s.State))
	}
	want := strings.Split(`pc-01 browser ok
pc-01 browser/esr ok
pc-01 reader ok
pc-01 scanner ok
pc-01 vcredist ok
pc-01 wallpaper ok
pc-01 winonly not-applicable
pc-02 browser failed
pc-02 browser/esr missing
pc-02 reader missing
pc-02 scanner recalled
pc-02 vcredist pending-reboot
pc-02 wallpaper drifted
pc-02 winonly not-applicable
pc-03 browser ok
pc-03 browser/esr unknown
pc-03 reader waived
pc-03 scanner ok
pc-03 vcredist drifted
pc-03 wallpaper ok
pc-03 winonly not-applicable`, "\n")
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if m.Percent() != 55.5 { // 10 of 18, rounded down
		t.Errorf("%v %%, want 55.5", m.Percent())
	}
	if m.Overdue() != 1 { // a critical one after eight days, not an important one
		t.Errorf("%d overdue, want 1", m.Overdue())
	}
}

func TestPercent(t *testing.T) {
	for _, tt := range []struct {
		good, bad, away int
		want            float64
	}{{0, 0, 0, 100}, {0, 0, 5, 100}, {1, 1, 5, 50}, {9999, 1, 0, 99.9}, {0, 3, 0, 0}, {2, 1, 0, 66.6}} {
		m := &Matrix{}
		for state, n := range map[State]int{OK: tt.good, Missing: tt.bad, NotApplicable: tt.away} {
			m.Standings = append(m.Standings, slices.Repeat([]Standing{{State: state}}, n)...)
		}
		if got := m.Percent(); got != tt.want {
			t.Errorf("%d good, %d bad, %d not applicable: %v %%, want %v", tt.good, tt.bad, tt.away, got, tt.want)
		}
	}
}

// The age of what is lacking counts on while it is lacking, in whatever way.
func TestAge(t *testing.T) {
	p := resolve(t, some("x@1-1 critical"), have(), Options{})
	report := func(r Receipt) []Report { return []Report{{Root: "pc", Plan: p, Receipts: []Receipt{r}}} }
	first := Comply(report(Receipt{}), ComplyOptions{Now: daysAgo(9)})
	later := Comply(report(Receipt{Product: "x", Bundle: "x@1-1", Failed: "exit code 1"}), ComplyOptions{Now: daysAgo(1), Seen: first.Sightings()})
	s := later.Standings[0]
	if s.State != Failed || !s.Since.Equal(daysAgo(9)) || !s.Overdue {
		t.Errorf("%+v, want it failed and overdue since %v", s, daysAgo(9))
	}
	limits := map[bundle.Severity]time.Duration{bundle.Critical: 30 * 24 * time.Hour}
	if s := Comply(report(Receipt{}), ComplyOptions{Now: today(), Seen: later.Sightings(), Limits: limits}).Standings[0]; s.Overdue {
		t.Errorf("%+v, want it in time", s)
	}
	future := []Sighting{{"pc", "x", today().AddDate(1, 0, 0)}} // a clock went wrong
	if s := Comply(report(Receipt{}), ComplyOptions{Now: today(), Seen: future}).Standings[0]; !s.Since.Equal(today()) {
		t.Errorf("since %v, want %v", s.Since, today())
	}
}

func TestWaivers(t *testing.T) {
	p := resolve(t, some("x@1-1"), have(), Options{})
	tests := []struct {
		name   string
		waiver Waiver
		state  State
		reason string
	}{
		{"of this", Waiver{Root: "pc", Product: "x", Until: daysAgo(-1)}, Waived, "waived by Ann until 2026-11-23: exam; missing: it is not there"},
		{"of everything", Waiver{Until: daysAgo(-1)}, Waived, "waived by Ann"},
		{"of another root", Waiver{Root: "other", Until: daysAgo(-1)}, Missing, ""},
		{"of another product", Waiver{Product: "y", Until: daysAgo(-1)}, Missing, ""},
		{"over", Waiver{Until: daysAgo(1)}, Missing, "the waiver by Ann ended on 2026-11-21"},
		{"over just now", Waiver{Until: today()}, Missing, "ended on 2026-11-22"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.waiver.By, tt.waiver.Reason = "Ann", "exam"
			s := Comply([]Report{{Root: "pc", Plan: p}}, ComplyOptions{Now: today(), Waivers: []Waiver{tt.waiver}}).Standings[0]
			if s.State != tt.state || !strings.Contains(s.Reason, tt.reason) {
				t.Errorf("%s: %s, want %s: ... %s ...", s.State, s.Reason, tt.state, tt.reason)
			}
		})
	}
}

func TestWriteTable(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t).WriteTable(&b, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"root   product      state           severity   since                reason\n",
		"pc-02  reader       missing         critical   2026-11-14, overdue  9.0 is there, and 9.3 comes with step ",
		"55.5 % compliant, 1 recalled, 1 failed, 2 drifted, 2 missing, 1 pending-reboot, 1 unknown, 1 waived, 9 ok, 3 not-applicable, 1 overdue\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "pc-01") {
		t.Errorf("the table has cells that are compliant:\n%s", b.String())
	}
	b.Reset()
	m := &Matrix{Standings: []Standing{{Root: "pc\x1b[31m", Product: "x", State: OK, Reason: "a\nb"}}}
	if err := m.WriteTable(&b, true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "pc?[31m") || !strings.Contains(b.String(), "a b") {
		t.Errorf("a name reaches the terminal as it is: %q", b.String())
	}
}

func TestWriteJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 22 {
		t.Fatalf("%d lines, want 21 cells and the sum", len(lines))
	}
	var cell jsonCell
	if err := json.Unmarshal([]byte(lines[9]), &cell); err != nil {
		t.Fatal(err)
	}
	if cell.Root != "pc-02" || cell.Product != "reader" || cell.State != Missing || cell.Good || !cell.Overdue || !cell.Since.Equal(daysAgo(8)) {
		t.Errorf("%+v, want reader of pc-02, missing and overdue", cell)
	}
	var sum jsonSum
	if err := json.Unmarshal([]byte(lines[21]), &sum); err != nil {
		t.Fatal(err)
	}
	if sum.Type != "compliance" || sum.Percent != 55.5 || sum.States[OK] != 9 || sum.Overdue != 1 {
		t.Errorf("%+v, want the sum", sum)
	}
}

// A spreadsheet computes nothing from what is in a cell.
func TestWriteCSV(t *testing.T) {
	m := &Matrix{Standings: []Standing{
		{Root: `=cmd|' /C calc'!A0`, Product: "+x", State: Missing, Version: "-1", Goal: "@SUM(A1)", Reason: "\t=1+1", Since: today()},
		{Root: `a "b", c`, Product: "x", State: OK, Reason: "first\r\n=2"},
	}}
	var b bytes.Buffer
	if err := m.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\r\n"); n != 3 || strings.Count(b.String(), "\n") != 3 {
		t.Errorf("%d lines that end with CR LF, want 3: %q", n, b.String())
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("cell %q is a formula", cell)
			}
		}
	}
	if rows[1][0] != `'=cmd|' /C calc'!A0` || rows[1][7] != "2026-11-22T17:00:00Z" || rows[2][0] != `a "b", c` || rows[2][9] != "first  =2" {
		t.Errorf("rows %q", rows)
	}
}

// The page runs nothing but its own filter, and asks nobody for anything.
func TestWritePage(t *testing.T) {
	m := sample(t)
	m.Standings[0].Root = `<img src=x onerror=alert(1)>`
	var b bytes.Buffer
	if err := m.WritePage(&b, "Room 12 </title><script>alert(1)</script>"); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<img", "alert(1)</script>", "http://", "https://", "//cdn", "@import", "url("} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if n := strings.Count(page, "<script>"); n != 1 {
		t.Errorf("%d scripts, want 1", n)
	}
	for _, element := range []string{"style", "script"} {
		hash := strings.ReplaceAll(inlineHash(page, element), "'", "&#39;")
		if !strings.Contains(page, strings.ReplaceAll(hash, "+", "&#43;")) {
			t.Errorf("the policy of the page does not have the hash of its %s", element)
		}
	}
	if n := strings.Count(page, "<tr class="); n != 21 {
		t.Errorf("%d rows, want 21", n)
	}
	_, cells, _ := strings.Cut(page, `id="cells"`)
	if before, _, _ := strings.Cut(cells, "post: exit code 7"); strings.Count(before, `class="reason"`) != 2 {
		t.Errorf("what is failed and critical does not come right after what is overdue")
	}
}

// One root needs no overview.
func TestPageGrid(t *testing.T) {
	if g := sample(t).page("x"); len(g.Grid) != 3 || len(g.Products) != 6 {
		t.Errorf("%d roots, products %v, want 3 and 6: winonly applies nowhere", len(g.Grid), g.Products)
	}
	p := resolve(t, some("x@1-1"), have(), Options{})
	if g := Comply([]Report{{Root: "pc", Plan: p}}, ComplyOptions{Now: today()}).page("x"); len(g.Grid) != 0 {
		t.Errorf("an overview of one root")
	}
}
