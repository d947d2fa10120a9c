package main

import (
	"strings"
	"testing"
	"time"

	"slipcast/agent/wire"
	"slipcast/fleet"
)

// What a machine lacks is told with the reason; what is well is counted.
func TestComplianceFacts(t *testing.T) {
	m := &fleet.Machine{}
	if facts := complianceFacts(m); facts != nil {
		t.Errorf("facts %v of a machine that nobody has looked at, want none", facts)
	}
	at := time.Date(2026, 11, 22, 18, 0, 0, 0, time.Local)
	m.Compliance = &fleet.Compliance{Cells: 3, Good: 2, Percent: 66, Looked: at}
	m.Cells = []fleet.Cell{
		{Cell: wire.Cell{Product: "fonts", State: "missing", Severity: "critical", Reason: "no way from 8.1"}, Since: at},
		{Cell: wire.Cell{Product: "reader", Version: "9.3", State: wire.CellOK}, Since: at},
		{Cell: wire.Cell{Product: "zoom", State: wire.CellNotApplicable}, Since: at},
	}
	var lines []string
	for _, f := range complianceFacts(m) {
		lines = append(lines, f.about+": "+f.text)
	}
	want := "catalog: 2 of 3 products as wanted, 66 %, on 2026-11-22 18:00:00\nmissing: fonts, critical, no way from 8.1, since 2026-11-22 18:00:00"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
