package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"slipcast/agent/wire"
)

// Times of reports, docs/boot.md, section 6.3.
const (
	reportEvery = 5 * time.Second
	reportPause = 250 * time.Millisecond // between two, however much changes
	reportLast  = 10 * time.Minute       // for what a job came to
)

// Bounds of what waits for a server that does not answer.
const (
	maxWaitingLines = 2000
	maxNotes        = 32
)

// errCancelled is why a job ends that is not wanted any more.
var errCancelled = errors.New("cancelled on the server")

// A reporter tells the server how far a job is, and hears what it replies. Its
// methods are safe for concurrent use.
type reporter struct {
	send   func(context.Context, wire.Report) (wire.Reply, error)
	cancel context.CancelCauseFunc // of the job
	disk   chan string             // what was chosen of the candidates

	mu      sync.Mutex
	now     wire.Report // without lines
	lines   []wire.Line // that were not brought yet
	brought int         // lines before them, brought or dropped
	dropped int         // lines, since the last that told so
	changed chan struct{}
}

func newReporter(job string, cancel context.CancelCauseFunc, send func(context.Context, wire.Report) (wire.Reply, error)) *reporter {
	return &reporter{
		send: send, cancel: cancel, disk: make(chan string, 1), changed: make(chan struct{}, 1),
		now: wire.Report{Schema: wire.Schema, Job: job, State: wire.Working},
	}
}

// update changes what is reported. It is brought at once if the state or the
// step is another one afterwards.
func (r *reporter) update(change func(*wire.Report)) {
	r.mu.Lock()
	state, step := r.now.State, r.now.Step
	change(&r.now)
	urgent := r.now.State != state || r.now.Step != step
	r.mu.Unlock()
	if urgent {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
}

// line adds a line of the log.
func (r *reporter) line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) == maxWaitingLines {
		r.lines = r.lines[1:]
		r.brought++
		r.dropped++
	}
	r.lines = append(r.lines, wire.Line{Time: time.Now().UTC(), Text: wire.Plain(text, wire.MaxText)})
}

// note adds what was not done though the job is.
func (r *reporter) note(text string) {
	r.update(func(now *wire.Report) {
		if len(now.Notes) < maxNotes {
			now.Notes = append(now.Notes, wire.Plain(text, wire.MaxText))
		}
	})
}

// run reports until ctx is done.
func (r *reporter) run(ctx context.Context) {
	for {
		r.bring(ctx) // what is not brought now comes with the next one
		select {
		case <-ctx.Done():
			return
		case <-time.After(reportPause):
		}
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
		case <-time.After(reportEvery - reportPause):
		}
	}
}

// bring sends one report. Lines stay until a report with them was answered.
func (r *reporter) bring(ctx context.Context) error {
	report, end := r.take()
	reply, err := r.send(ctx, report)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if n := end - r.brought; n > 0 {
		r.lines, r.brought = r.lines[n:], end
	}
	r.mu.Unlock()
	if reply.Cancel {
		r.cancel(errCancelled)
	}
	if reply.Disk != "" {
		select {
		case r.disk <- reply.Disk:
		default:
		}
	}
	return nil
}

// take returns the report that is due, and how many lines are brought if it is.
func (r *reporter) take() (report wire.Report, end int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dropped > 0 && len(r.lines) > 0 {
		r.lines[0].Text = fmt.Sprintf("(%d lines are lost)", r.dropped+1)
		r.dropped = 0
	}
	r.now.Seq++
	report = r.now
	report.Lines = slices.Clone(r.lines[:min(len(r.lines), wire.MaxLines)])
	report.Notes = slices.Clone(r.now.Notes)
	report.Error = wire.Plain(report.Error, wire.MaxText)
	return report, r.brought + len(report.Lines)
}

// finish tells what the job came to; run must have ended. It tries for ten
// minutes.
func (r *reporter) finish(ctx context.Context, change func(*wire.Report)) error {
	r.update(change)
	return again(ctx, reportLast, func(ctx context.Context) error {
		for {
			err := r.bring(ctx)
			if err != nil || r.waiting() == 0 {
				return err
			}
		}
	}, nil)
}

// waiting returns how many lines were not brought.
func (r *reporter) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.lines)
}
