package fleet

import (
	"context"
	"database/sql"
	"log/slog"
	"net"
	"time"
)

// keepEvery is how often a [Keeper] looks what is due. The states of jobs do
// not depend on it.
const keepEvery = 5 * time.Second

// A Keeper does what is due when nobody asks: it sweeps the jobs, wakes
// machines when their windows open, starts the sessions of jobs that were at
// work when the server stopped, and ends those that nobody needs any more.
type Keeper struct {
	Fleet    *Fleet
	Sessions Sessions     // nil: no multicast
	Wake     Waker        // nil: nothing is woken
	Log      *slog.Logger // nil: silence

	batches map[string]bool // that have open jobs with a session
}

// Serve keeps the fleet until ctx is done, and returns nil then. What goes
// wrong goes into the log, and is tried again.
func (k *Keeper) Serve(ctx context.Context) error {
	k.batches = map[string]bool{}
	k.startSessions(ctx)
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		k.keep(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (k *Keeper) warn(ctx context.Context, text string, err error) {
	if err != nil && ctx.Err() == nil {
		logOr(k.Log).Warn(text, "err", err)
	}
}

func (k *Keeper) keep(ctx context.Context) {
	k.warn(ctx, "jobs not swept", k.Fleet.Sweep(ctx))
	jobs, err := k.Fleet.Jobs(ctx, "", true, maxMachines)
	if err != nil {
		k.warn(ctx, "jobs not read", err)
		return
	}
	for i := range jobs {
		if j := &jobs[i]; k.Wake != nil && j.Options.Wake && j.State == Pending && j.course().open(now()) {
			k.warn(ctx, "machine not woken", k.wake(ctx, j))
		}
	}
	if k.Sessions != nil {
		k.endSessions(jobs)
	}
}

// startSessions starts the sessions of jobs at work: their machines may be in
// the middle of them.
func (k *Keeper) startSessions(ctx context.Context) {
	if k.Sessions == nil {
		return
	}
	jobs, err := k.Fleet.Jobs(ctx, "", true, maxMachines)
	k.warn(ctx, "jobs not read", err)
	for i := range jobs {
		if j := &jobs[i]; j.State == Working && j.Options.Multicast && !k.batches[j.Batch] {
			k.batches[j.Batch] = true
			_, err := startSession(ctx, k.Fleet, k.Sessions, j)
			k.warn(ctx, "no session for jobs that are at work", err)
		}
	}
}

// endSessions ends the sessions of batches that had open jobs and have none.
func (k *Keeper) endSessions(open []Job) {
	before := k.batches
	k.batches = map[string]bool{}
	for _, j := range open {
		if j.Options.Multicast {
			k.batches[j.Batch] = true
		}
	}
	for batch := range before {
		if !k.batches[batch] {
			k.Sessions.Over(batch)
		}
	}
}

// wake wakes the machine of a job, once.
func (k *Keeper) wake(ctx context.Context, j *Job) error {
	first := false
	err := k.Fleet.change(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "UPDATE jobs SET woken = ? WHERE id = ? AND woken = 0", millis(now()), j.ID)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		if first = n == 1; err != nil || !first {
			return err
		}
		return note(ctx, tx, Event{Machine: j.Machine, Job: j.ID, Actor: actorServer, Text: "woken by Wake-on-LAN"})
	})
	if err != nil || !first {
		return err
	}
	m, err := k.Fleet.Machine(ctx, j.Machine)
	if err != nil {
		return err
	}
	return wakeMachine(ctx, k.Wake, &m)
}

// wakeMachine wakes a machine by all its addresses: which of them listens,
// its firmware knows.
func wakeMachine(ctx context.Context, wake Waker, m *Machine) error {
	macs := m.MACs
	if len(macs) == 0 {
		macs = []string{m.MAC}
	}
	for _, text := range macs {
		mac, err := net.ParseMAC(text)
		if err != nil {
			return err
		}
		if err := wake(ctx, mac); err != nil {
			return err
		}
	}
	return nil
}
