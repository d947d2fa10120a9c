package plan

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed page.html
var pageHTML string

// maxGrid is how many columns the overview of many roots has at most: nobody
// reads a wider one.
const maxGrid = 60

// WritePage writes one page of HTML that needs nothing else: no server, no
// font, no picture. It lists every cell, those first that need somebody, and
// for several roots gives an overview. Its policy lets nothing run but its own
// filter.
func (m *Matrix) WritePage(w io.Writer, title string) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return err // a test shows that there is none
	}
	return t.Execute(w, m.page(title))
}

// A page is what the template shows.
type page struct {
	Title, Time, Headline string
	Percent               string
	Policy                string
	Tallies               []Tally
	Overdue               int
	Rows                  []row
	Products              []string // of the overview; none if it makes no sense
	Grid                  []line
}

type row struct {
	Standing
	Good bool
	Day  string
}

type line struct {
	Root  string
	Cells []*row // nil: the root has no such product
}

func (m *Matrix) page(title string) *page {
	p := &page{
		Title: title, Time: m.Time.UTC().Format("2006-01-02 15:04 UTC"), Headline: m.headline(),
		Percent: fmt.Sprintf("%.1f", m.Percent()), Tallies: m.Tallies(), Overdue: m.Overdue(), Policy: contentPolicy(pageHTML),
	}
	for _, s := range m.Standings {
		p.Rows = append(p.Rows, row{Standing: s, Good: s.State.Compliant(), Day: since(s)})
	}
	p.grid()
	slices.SortStableFunc(p.Rows, func(a, b row) int { return urgency(&a) - urgency(&b) })
	return p
}

// urgency orders rows: what is overdue, what is not compliant by severity, the
// rest.
func urgency(r *row) int {
	switch {
	case r.Overdue:
		return severityRank(r.Severity)
	case !r.Good:
		return 10 + severityRank(r.Severity)
	}
	return 20
}

// grid makes the overview of several roots.
func (p *page) grid() {
	place := map[string]int{}
	roots := map[string]int{}
	for _, r := range p.Rows {
		if _, ok := roots[r.Root]; !ok {
			roots[r.Root] = len(roots)
		}
		if _, ok := place[r.Product]; !ok && r.State != NotApplicable {
			place[r.Product] = 0
			p.Products = append(p.Products, r.Product)
		}
	}
	if len(roots) < 2 || len(p.Products) > maxGrid {
		p.Products = nil
		return
	}
	slices.Sort(p.Products)
	for i, name := range p.Products {
		place[name] = i
	}
	p.Grid = make([]line, len(roots))
	for name, i := range roots {
		p.Grid[i] = line{Root: name, Cells: make([]*row, len(p.Products))}
	}
	for _, r := range p.Rows {
		if i, ok := place[r.Product]; ok {
			p.Grid[roots[r.Root]].Cells[i] = &r
		}
	}
}

// contentPolicy returns the policy of a page that may use its own style and
// script elements, one of each and without attributes, and nothing else:
// Content Security Policy Level 3.
func contentPolicy(page string) string {
	return fmt.Sprintf("default-src 'none'; img-src data:; style-src %s; script-src %s; base-uri 'none'; form-action 'none'",
		inlineHash(page, "style"), inlineHash(page, "script"))
}

// inlineHash returns the source expression of an element's contents.
func inlineHash(page, element string) string {
	_, rest, _ := strings.Cut(page, "<"+element+">")
	contents, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(contents))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
