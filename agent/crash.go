package agent

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"slipcast/agent/wire"
)

// crashSeq is above the number of every report that an agent brings itself.
const crashSeq = 1 << 40

// A session is what an agent leaves behind for the case that it crashes.
type session struct {
	Job   string `json:"job"`
	Token string `json:"token"`
}

// save writes down the job that is under way; none removes it. What cannot be
// written is not there after a crash, which is told on the screen then.
func (s session) save(path string) {
	os.Remove(path)
	if s.Job == "" {
		return
	}
	if p, err := json.Marshal(s); err == nil {
		os.WriteFile(path, p, 0o600)
	}
}

// crashReport returns the report about an agent that crashed.
func crashReport(job, trace string) wire.Report {
	r := wire.Report{Schema: wire.Schema, Job: job, Seq: crashSeq, State: wire.Failed, Error: "slipcast crashed"}
	lines := strings.Split(strings.TrimSpace(trace), "\n")
	for _, line := range lines[:min(len(lines), wire.MaxLines)] {
		r.Lines = append(r.Lines, wire.Line{Time: time.Now().UTC(), Text: wire.Plain(line, wire.MaxText)})
	}
	for _, line := range lines {
		if crashed(line) {
			r.Error = wire.Plain("slipcast crashed: "+line, wire.MaxText)
			break
		}
	}
	return r
}

// reportCrash tells the server that the job of an agent that crashed has
// failed, for at most ten minutes. The network is still up.
func reportCrash(ctx context.Context, c *client, s session, trace string) error {
	c.setToken(s.Token)
	report := crashReport(s.Job, trace)
	return again(ctx, reportLast, func(ctx context.Context) error {
		_, err := c.report(ctx, report)
		return err
	}, nil)
}
