package main

import (
	"path/filepath"
	"testing"
	"time"

	"slipcast/agent/wire"
	"slipcast/catalog/plan"
	"slipcast/fleet"
)

// A machine that has never told is unknown, and so keeps a room from being
// compliant; one that has is judged by what it told.
func TestMachineStandings(t *testing.T) {
	long := time.Now().AddDate(-1, 0, 0)
	told := fleet.MachineCompliance{Name: "pc-1", Compliance: &fleet.Compliance{Cells: 2, Good: 1}, Cells: []fleet.Cell{
		{Cell: wire.Cell{Product: "reader", State: "failed", Severity: "critical", Reason: "post.sh: exit code 1"}, Since: long},
		{Cell: wire.Cell{Product: "fonts", Version: "2", State: wire.CellOK}, Since: long},
	}}
	m := plan.Matrix{Time: time.Now(), Standings: machineStandings(&told)}
	if got := m.Percent(); got != 50 || m.Overdue() != 1 {
		t.Errorf("%v %%, %d overdue; want 50 %%, 1", got, m.Overdue())
	}
	if s := m.Standings[0]; s.Root != "pc-1" || s.State != plan.Failed || s.Reason != "post.sh: exit code 1" || !s.Since.Equal(long) {
		t.Errorf("%+v, want what the machine told", s)
	}
	m.Standings = append(m.Standings, machineStandings(&fleet.MachineCompliance{Name: "pc-2"})...)
	if s := m.Standings[2]; s.State != plan.Unknown || s.Reason == "" || m.Percent() >= 50 {
		t.Errorf("%+v, %v %%; want a machine that is unknown to count", s, m.Percent())
	}
}

// What is asked of machines says what is missing.
func TestCatalogMachineRefused(t *testing.T) {
	state := t.TempDir()
	t.Setenv("SLIPCAST_STATE", state)
	t.Setenv("SLIPCAST_STORE", filepath.Join(state, "store"))
	registerMachine(t, state, "00:00:5e:00:53:01")
	slipcast(t, "store", "init")
	slipcast(t, "catalog", "init", "--keys", state, "--no-passphrase")
	for _, tt := range []struct {
		code int
		want string
		args []string
	}{
		{exitFailed, "pc-005301 was never restored, so nobody knows what is on its disk", []string{"plan", "--machine", "pc-005301"}},
		{exitFailed, "not found", []string{"plan", "--machine", "pc-9"}},
		{exitUsage, "exclude each other", []string{"impact", "--machine", "pc-005301", "--image", "x"}},
		{exitUsage, "exclude each other", []string{"compliance", "--machines", "--root", "/"}},
		{exitPart, "0.0 % of what applies", []string{"compliance", "--machines", "--require", "100"}},
		{exitDone, "pc-005301", []string{"compliance", "--machine", "pc-005301"}},
	} {
		startOnTerminal(t, state, nil, nil, append([]string{"catalog"}, tt.args...)...).want(tt.code, tt.want)
	}
}
