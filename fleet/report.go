package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"slipcast/agent/wire"
)

// report writes down what an agent says of its job, and returns what it is to
// be told. over is true when the job has ended with this report.
func (f *Fleet) report(ctx context.Context, s agentSession, r *wire.Report) (reply wire.Reply, over bool, err error) {
	reply.Schema = wire.Schema
	if s.job == 0 || r.Job != strconv.FormatInt(s.job, 10) {
		return reply, false, fmt.Errorf("job %q is not that of this agent: %w", wire.Plain(r.Job, 20), ErrState)
	}
	save := f.hurry // the next report tells the same and more
	if r.State == wire.Done || r.State == wire.Failed || r.State == wire.Asking {
		save = f.change
	}
	err = save(ctx, func(tx *sql.Tx) error {
		j, err := job(ctx, tx, s.job)
		if err != nil {
			return err
		}
		if err := s.heard(ctx, tx); err != nil {
			return err
		}
		if int64(r.Seq) > j.seq {
			if over, err = takeReport(ctx, tx, &j, r); err != nil {
				return err
			}
		}
		ended := r.State == wire.Done || r.State == wire.Failed
		reply.Cancel = !ended && j.State != Working // one that is pending was cancelled, and is to be tried again
		if r.State == wire.Asking {
			reply.Disk = j.Choice
		}
		return nil
	})
	return reply, over, err
}

// takeReport writes a report down that is newer than the last one.
func takeReport(ctx context.Context, tx *sql.Tx, j *Job, r *wire.Report) (over bool, err error) {
	j.seq = int64(r.Seq)
	status := Status{
		Step: r.Step, Done: r.Done, Total: r.Total, Rate: r.Rate, Disk: r.Disk, Result: r.Result, Notes: r.Notes,
	}
	if r.State == wire.Asking {
		status.Asking, status.Question, status.Candidates = true, r.Error, r.Candidates
	}
	asks := status.Asking && !j.Status.Asking
	j.Status, j.Reported = status, later(j.Reported, now())
	_, err = tx.ExecContext(ctx, "UPDATE jobs SET seq = ?, status = ?, reported = ? WHERE id = ?",
		j.seq, mustJSON(status), millis(j.Reported), j.ID)
	if err != nil {
		return false, err
	}
	if err := keepLines(ctx, tx, j.ID, r.Lines); err != nil {
		return false, err
	}
	if asks {
		err := note(ctx, tx, Event{Machine: j.Machine, Job: j.ID, Actor: actorAgent, Text: "asks which disk is meant: " + r.Error})
		if err != nil {
			return false, err
		}
	}
	if r.State != wire.Done && r.State != wire.Failed {
		return false, nil
	}
	return finish(ctx, tx, j, r)
}

// finish ends a job as its agent reports. One that has ended otherwise stays as
// it is, and the history tells.
func finish(ctx context.Context, tx *sql.Tx, j *Job, r *wire.Report) (over bool, err error) {
	state, why := Done, ""
	if r.State == wire.Failed {
		state, why = Failed, r.Error
		if why == "" {
			why = "the agent did not say why"
		}
	}
	c, err := j.course().finish(state, why, now())
	if errors.Is(err, ErrState) {
		return false, note(ctx, tx, Event{
			Machine: j.Machine, Job: j.ID, Actor: actorAgent,
			Text: fmt.Sprintf("reported %s %s, but the job is %s", state, why, j.State),
		})
	}
	if err != nil {
		return false, err
	}
	if err := j.keepCells(ctx, tx, r); err != nil {
		return false, err
	}
	return true, move(ctx, tx, j, c, actorAgent)
}

// keepLines appends to the log of a job, and drops its oldest lines.
func keepLines(ctx context.Context, tx *sql.Tx, id int64, lines []wire.Line) error {
	for _, l := range lines {
		at := l.Time
		if year := at.Year(); year < 2000 || year > 9999 {
			at = now() // its clock is not set
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO lines (job, time, text) VALUES (?, ?, ?)", id, millis(at), l.Text); err != nil {
			return err
		}
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM lines WHERE job = ?1 AND id <=
		(SELECT id FROM lines WHERE job = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`, id, maxLines)
	return err
}

// room returns how many machines of a batch its session is still for.
func (f *Fleet) room(ctx context.Context, batch string) (r Room, err error) {
	err = f.read.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE state IN ('pending', 'offered')), count(*) FILTER (WHERE state = 'working')
		FROM jobs WHERE batch = ?`, batch).Scan(&r.Booting, &r.AtWork)
	return r, err
}

// memory returns how much memory the largest machine of a batch has, in bytes, as
// far as is known.
func (f *Fleet) memory(ctx context.Context, batch string) (most int64, err error) {
	err = f.read.QueryRowContext(ctx, `SELECT coalesce(max(CAST(json_extract(inventory, '$.memory_bytes') AS INTEGER)), 0)
		FROM machines WHERE id IN (SELECT machine FROM jobs WHERE batch = ?)`, batch).Scan(&most)
	return most, err
}
