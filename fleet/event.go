package fleet

import (
	"context"
	"database/sql"
	"time"
)

const (
	maxEvents = 500  // that are kept of a machine
	maxLines  = 2000 // that are kept of a job's log
	maxJobs   = 100  // that are kept of a machine, besides an open one
)

// An Event is something that happened to a machine.
type Event struct {
	Time    time.Time `json:"time"`
	Machine string    `json:"machine"`       // id
	Job     int64     `json:"job,omitempty"` // zero if it is about none
	Actor   string    `json:"actor"`         // who did it: agent, server, or a person
	Text    string    `json:"text"`
}

// Who did something, besides people.
const (
	actorAgent  = "agent"
	actorServer = "server"
)

// note writes an event down and drops the oldest ones of its machine.
func note(ctx context.Context, tx *sql.Tx, e Event) error {
	if e.Time.IsZero() {
		e.Time = now()
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO events (time, machine, job, actor, text) VALUES (?, ?, ?, ?, ?)",
		millis(e.Time), e.Machine, e.Job, e.Actor, e.Text)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM events WHERE machine = ?1 AND id <=
		(SELECT id FROM events WHERE machine = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`, e.Machine, maxEvents)
	return err
}

// Events returns what happened to a machine, the newest first, at most limit.
func (f *Fleet) Events(ctx context.Context, machine string, limit int) ([]Event, error) {
	return collect(ctx, f.read, func(row scanner) (e Event, err error) {
		var at int64
		err = row.Scan(&at, &e.Machine, &e.Job, &e.Actor, &e.Text)
		e.Time = moment(at)
		return e, err
	}, "SELECT time, machine, job, actor, text FROM events WHERE machine = ? ORDER BY id DESC LIMIT ?", machine, limit)
}
