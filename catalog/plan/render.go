package plan

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"slipcast/catalog/bundle"
)

// WriteTable writes a table for people: the cells that are not compliant, or
// all, and how many there are of each kind.
func (m *Matrix) WriteTable(w io.Writer, all bool) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	rows := 0
	for _, s := range m.Standings {
		if s.State.Compliant() && !all {
			continue
		}
		if rows++; rows == 1 {
			fmt.Fprintln(t, "root\tproduct\tstate\tseverity\tsince\treason")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", plain(s.Root), s.Product, s.State, or(string(s.Severity), "-"), since(s), plain(s.Reason))
	}
	if rows > 0 {
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, m.headline())
	return err
}

// headline returns the matrix in one line.
func (m *Matrix) headline() string {
	words := []string{fmt.Sprintf("%.1f %% compliant", m.Percent())}
	for _, t := range m.Tallies() {
		words = append(words, fmt.Sprintf("%d %s", t.Count, t.State))
	}
	if n := m.Overdue(); n > 0 {
		words = append(words, fmt.Sprintf("%d overdue", n))
	}
	return strings.Join(words, ", ")
}

// since returns the day since when a cell is as it is.
func since(s Standing) string {
	switch {
	case s.Since.IsZero():
		return "-"
	case s.Overdue:
		return day(s.Since) + ", overdue"
	}
	return day(s.Since)
}

// WriteJSON writes an object a line: each cell, then the sum.
func (m *Matrix) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	for _, s := range m.Standings {
		if err := e.Encode(newJSONCell(s)); err != nil {
			return err
		}
	}
	sum := jsonSum{Type: "compliance", Schema: schema, Time: m.Time.UTC(), Percent: m.Percent(), Overdue: m.Overdue(), States: map[State]int{}}
	for _, t := range m.Tallies() {
		sum.States[t.State] = t.Count
	}
	return e.Encode(sum)
}

type jsonCell struct {
	Type     string          `json:"type"`
	Schema   int             `json:"schema"`
	Root     string          `json:"root"`
	Product  string          `json:"product"`
	State    State           `json:"state"`
	Good     bool            `json:"compliant"`
	Version  string          `json:"version,omitempty"`
	Goal     string          `json:"goal,omitempty"`
	Severity bundle.Severity `json:"severity,omitempty"`
	Since    *time.Time      `json:"since,omitempty"`
	Overdue  bool            `json:"overdue"`
	Reason   string          `json:"reason"`
}

func newJSONCell(s Standing) jsonCell {
	c := jsonCell{
		Type: "compliance_cell", Schema: schema, Root: s.Root, Product: s.Product, State: s.State, Good: s.State.Compliant(),
		Version: s.Version, Goal: s.Goal, Severity: s.Severity, Overdue: s.Overdue, Reason: s.Reason,
	}
	if !s.Since.IsZero() {
		moment := s.Since.UTC()
		c.Since = &moment
	}
	return c
}

type jsonSum struct {
	Type    string        `json:"type"`
	Schema  int           `json:"schema"`
	Time    time.Time     `json:"time"`
	Percent float64       `json:"percent"`
	Overdue int           `json:"overdue"`
	States  map[State]int `json:"states"`
}

// WriteCSV writes a header and a row for each cell: RFC 4180. What a
// spreadsheet would take for a formula gets a ' before it.
func (m *Matrix) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true // RFC 4180, section 2
	rows := [][]string{{"root", "product", "state", "compliant", "version", "goal", "severity", "since", "overdue", "reason"}}
	for _, s := range m.Standings {
		moment := ""
		if !s.Since.IsZero() {
			moment = s.Since.UTC().Format(time.RFC3339)
		}
		rows = append(rows, []string{
			s.Root, s.Product, string(s.State), yesNo(s.State.Compliant()), s.Version, s.Goal, string(s.Severity), moment, yesNo(s.Overdue), s.Reason,
		})
	}
	for _, row := range rows {
		for i := range row {
			row[i] = defused(row[i])
		}
	}
	return c.WriteAll(rows)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// defused returns a cell that no spreadsheet takes for a formula: OWASP, CSV
// Injection. Lines of one cell become one line, since some programs split them.
func defused(text string) string {
	text = plain(text)
	if text != "" && strings.ContainsRune("=+-@", rune(text[0])) {
		return "'" + text
	}
	return text
}

// plain returns text as one line without anything that a terminal obeys.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, valid(text))
}
