package fleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"slipcast/agent/wire"
)

// A Job is what is to happen to one machine.
type Job struct {
	ID        int64     `json:"id"`
	Batch     string    `json:"batch"`        // the same for jobs that were created together
	Machine   string    `json:"machine"`      // id
	Name      string    `json:"machine_name"` //
	Kind      wire.Kind `json:"kind"`
	Image     string    `json:"image,omitempty"`  // NAME@VERSION to restore; NAME to capture to
	Digest    string    `json:"digest,omitempty"` // of the image to restore
	Need      int64     `json:"need_bytes,omitempty"`
	Options   Options   `json:"options"`
	State     State     `json:"state"`
	Offers    int       `json:"offers"`   // since the last hello
	Attempts  int       `json:"attempts"` // how often it was taken
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Offered   time.Time `json:"offered,omitzero"`
	Error     string    `json:"error,omitempty"`
	Created   time.Time `json:"created"`
	By        string    `json:"by"` // who created it
	Started   time.Time `json:"started,omitzero"`
	Reported  time.Time `json:"reported,omitzero"` // the last report
	Ended     time.Time `json:"ended,omitzero"`
	Status    Status    `json:"status"`
	Choice    string    `json:"choice,omitempty"` // of a disk, by somebody

	rev int64
	seq int64
}

// Options are how a job is done, see [wire.Job]. The zero value is the
// default.
type Options struct {
	Multicast bool      `json:"multicast,omitempty"` // the machines of the batch share a session
	Delta     bool      `json:"delta,omitempty"`
	Grow      bool      `json:"grow,omitempty"`
	Verify    bool      `json:"verify,omitempty"`
	Level     string    `json:"level,omitempty"`
	Disk      wire.Rule `json:"disk"` // the zero Rule leaves it to the machine's settings
	Hostname  string    `json:"hostname,omitempty"`
	AsIs      bool      `json:"as_is,omitempty"` // nothing is made fresh, the name is left as it is
	Apply     []string  `json:"apply,omitempty"` // bundles, after a restore
	End       wire.End  `json:"end,omitempty"`
	Wake      bool      `json:"wake,omitempty"` // by Wake-on-LAN when the window opens
}

// A Status is what the agent said last.
type Status struct {
	Step       string      `json:"step,omitempty"`
	Done       int64       `json:"done_bytes,omitempty"`
	Total      int64       `json:"total_bytes,omitempty"`
	Rate       int64       `json:"bytes_per_second,omitempty"`
	Disk       string      `json:"disk,omitempty"`
	Asking     bool        `json:"asking,omitempty"`   // which of Candidates is the disk
	Question   string      `json:"question,omitempty"` // why it asks
	Candidates []wire.Disk `json:"candidates,omitempty"`
	Result     string      `json:"result,omitempty"`
	Notes      []string    `json:"notes,omitempty"`
}

const jobColumns = `jobs.id, rev, batch, machine, name, kind, image, digest, need, options, state, offers, attempts, not_before, not_after,
	offered, error, created, created_by, started, reported, ended, status, choice, seq`

func scanJob(row scanner) (j Job, err error) {
	var options, status string
	var before, after, offered, created, started, reported, ended int64
	err = row.Scan(&j.ID, &j.rev, &j.Batch, &j.Machine, &j.Name, &j.Kind, &j.Image, &j.Digest, &j.Need, &options, &j.State, &j.Offers,
		&j.Attempts, &before, &after, &offered, &j.Error, &created, &j.By, &started, &reported, &ended, &status, &j.Choice, &j.seq)
	if err != nil {
		return j, err
	}
	j.NotBefore, j.NotAfter, j.Offered = moment(before), moment(after), moment(offered)
	j.Created, j.Started, j.Reported, j.Ended = moment(created), moment(started), moment(reported), moment(ended)
	if err := json.Unmarshal([]byte(options), &j.Options); err != nil {
		return j, err
	}
	return j, json.Unmarshal([]byte(status), &j.Status)
}

// course returns what the job's states depend on.
func (j *Job) course() course {
	return course{j.State, j.Offers, j.Attempts, j.NotBefore, j.NotAfter, j.Offered, j.Reported, j.Ended, j.Error}
}

// take gives the job the course c.
func (j *Job) take(c course) {
	j.State, j.Offers, j.Attempts, j.NotBefore, j.NotAfter, j.Offered, j.Reported, j.Ended, j.Error =
		c.State, c.Offers, c.Attempts, c.NotBefore, c.NotAfter, c.Offered, c.Heard, c.Ended, c.Error
}

// move brings a job to another course, unless it has changed since j was read:
// then the error is [ErrConflict].
func move(ctx context.Context, tx *sql.Tx, j *Job, c course, actor string) error {
	old := j.State
	done, err := tx.ExecContext(ctx, `UPDATE jobs SET rev = rev + 1, state = ?, offers = ?, attempts = ?, not_before = ?, not_after = ?,
		offered = ?, reported = ?, ended = ?, error = ? WHERE id = ? AND rev = ?`,
		c.State, c.Offers, c.Attempts, millis(c.NotBefore), millis(c.NotAfter), millis(c.Offered), millis(c.Heard), millis(c.Ended), c.Error,
		j.ID, j.rev)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, fmt.Errorf("job %d: %w", j.ID, ErrConflict))
	}
	j.take(c)
	j.rev++
	text := string(c.State)
	switch {
	case c.State == old && c.State.Open():
		text = fmt.Sprintf("%s, %d times fetched, %d times taken", c.State, c.Offers, c.Attempts)
	case c.Error != "":
		text += ": " + c.Error
	}
	return note(ctx, tx, Event{Machine: j.Machine, Job: j.ID, Actor: actor, Text: text})
}

// job returns a job by its number.
func job(ctx context.Context, q querier, id int64) (Job, error) {
	j, err := scanJob(q.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM jobs JOIN machines ON machines.id = machine WHERE jobs.id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return j, fmt.Errorf("job %d: %w", id, ErrNotFound)
	}
	return j, err
}

// openJob returns the open job of a machine, nil if there is none.
func openJob(ctx context.Context, q querier, machine string) (*Job, error) {
	jobs, err := collect(ctx, q, scanJob, "SELECT "+jobColumns+` FROM jobs JOIN machines ON machines.id = machine
		WHERE machine = ? AND state IN ('pending', 'offered', 'working')`, machine)
	if err != nil || len(jobs) == 0 {
		return nil, err
	}
	return &jobs[0], nil
}

// Job returns a job by its number. The error wraps [ErrNotFound] if there is
// none.
func (f *Fleet) Job(ctx context.Context, id int64) (Job, error) { return job(ctx, f.read, id) }

// Jobs returns all jobs, the newest first: at most limit, of all machines or of
// the one with this id, and only the open ones if open is true.
func (f *Fleet) Jobs(ctx context.Context, machine string, open bool, limit int) ([]Job, error) {
	return collect(ctx, f.read, scanJob, "SELECT "+jobColumns+` FROM jobs JOIN machines ON machines.id = machine
		WHERE (?1 = '' OR machine = ?1) AND (NOT ?2 OR state IN ('pending', 'offered', 'working'))
		ORDER BY jobs.id DESC LIMIT ?3`, machine, open, limit)
}

// Lines returns the last lines of a job's log, at most limit, the oldest first.
func (f *Fleet) Lines(ctx context.Context, id int64, limit int) ([]wire.Line, error) {
	list, err := collect(ctx, f.read, func(row scanner) (l wire.Line, err error) {
		var at int64
		err = row.Scan(&at, &l.Text)
		l.Time = moment(at)
		return l, err
	}, "SELECT time, text FROM lines WHERE job = ? ORDER BY id DESC LIMIT ?", id, limit)
	slices.Reverse(list)
	return list, err
}

// An Order is what somebody wants to happen to machines.
type Order struct {
	Kind      wire.Kind
	Machines  []string // ids
	Image     Image    // to restore; of an image to capture only the Ref, its name
	Options   Options
	Answer    string    // Windows answer file
	NotBefore time.Time // zero: now
	NotAfter  time.Time // zero: Window after NotBefore
	By        string    // who orders it
}

// check refuses orders that cannot be carried out, and fills in the window.
func (o *Order) check() error {
	if o.NotBefore.IsZero() {
		o.NotBefore = now()
	}
	if o.NotAfter.IsZero() {
		o.NotAfter = o.NotBefore.Add(Window)
	}
	switch {
	case len(o.Machines) == 0:
		return fmt.Errorf("%w: a job needs a machine", ErrMalformed)
	case !o.NotAfter.After(o.NotBefore), !o.NotAfter.After(now()):
		return fmt.Errorf("%w: the window ends before it opens, or has passed", ErrMalformed)
	case o.NotAfter.After(now().AddDate(1, 0, 0)):
		return fmt.Errorf("%w: the window ends in more than a year", ErrMalformed)
	case len(o.Answer) > maxAnswer:
		return fmt.Errorf("%w: an answer file of %d bytes, at most %d", ErrMalformed, len(o.Answer), maxAnswer)
	}
	if err := o.checkKind(); err != nil {
		return err
	}
	return o.checkOptions()
}

// checkKind refuses what the kind of job does not have.
func (o *Order) checkKind() error {
	images := 0
	switch o.Kind {
	case wire.Restore:
		if images = 1; o.Image.Digest == "" {
			return fmt.Errorf("%w: a restore needs the digest of its image", ErrMalformed)
		}
	case wire.Capture:
		if images = 1; len(o.Machines) > 1 {
			return fmt.Errorf("%w: one machine at a time is captured to %s", ErrMalformed, o.Image.Ref)
		}
	case wire.Survey, wire.Wipe, wire.Shell:
	default:
		return fmt.Errorf("%w: there is no kind of job %q", ErrMalformed, wire.Plain(string(o.Kind), 20))
	}
	if (o.Image.Ref != "") != (images > 0) {
		return fmt.Errorf("%w: %s takes %d images", ErrMalformed, o.Kind, images)
	}
	if o.Kind != wire.Restore && (o.Answer != "" || o.Options.Hostname != "" || o.Options.Multicast || len(o.Options.Apply) > 0) {
		return fmt.Errorf("%w: only a restore has a session, a host name, an answer file or bundles", ErrMalformed)
	}
	return nil
}

func (o *Order) checkOptions() error {
	switch o.Options.End {
	case "", wire.Reboot, wire.PowerOff, wire.OpenShell, wire.Stay:
	default:
		return fmt.Errorf("%w: a job ends by reboot, poweroff, shell or stay, not %q", ErrMalformed, wire.Plain(string(o.Options.End), 20))
	}
	if err := wire.CheckApply(o.Options.Apply); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if o.Options.Level != wire.Plain(o.Options.Level, 20) {
		return fmt.Errorf("%w: level %q", ErrMalformed, wire.Plain(o.Options.Level, 20))
	}
	if o.Options.Hostname != "" {
		if len(o.Machines) > 1 {
			return fmt.Errorf("%w: %d machines cannot all be called %s", ErrMalformed, len(o.Machines), o.Options.Hostname)
		}
		if err := checkName(o.Options.Hostname); err != nil {
			return err
		}
	}
	return CheckRule(o.Options.Disk)
}

// Create makes a job for each machine of an order, or none if there is an
// error: one of them has an open job ([ErrState]), or is not known
// ([ErrNotFound]).
func (f *Fleet) Create(ctx context.Context, o Order) ([]Job, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	var jobs []Job
	err := f.change(ctx, func(tx *sql.Tx) error {
		batch := newID(8)
		for _, id := range o.Machines {
			j, err := o.create(ctx, tx, batch, id)
			if err != nil {
				return err
			}
			jobs = append(jobs, j)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return jobs, nil
}

func (o *Order) create(ctx context.Context, tx *sql.Tx, batch, id string) (Job, error) {
	m, err := machine(ctx, tx, id)
	if err != nil {
		return Job{}, err
	}
	if m.Job != nil && m.Job.State.Open() {
		swept := m.Job.course().sweep(now())
		if swept.State.Open() {
			return Job{}, fmt.Errorf("%s has job %d already, which is %s: %w", m.Name, m.Job.ID, m.Job.State, ErrState)
		}
		if err := move(ctx, tx, m.Job, swept, actorServer); err != nil {
			return Job{}, err
		}
	}
	done, err := tx.ExecContext(ctx, `INSERT INTO jobs (batch, machine, kind, image, digest, need, options, answer, created, created_by,
		state, not_before, not_after) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, batch, id, o.Kind, o.Image.Ref, o.Image.Digest,
		o.Image.Need, mustJSON(o.Options), o.Answer, millis(now()), o.By, Pending, millis(o.NotBefore), millis(o.NotAfter))
	if err != nil {
		return Job{}, err
	}
	number, err := done.LastInsertId()
	if err != nil {
		return Job{}, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM jobs WHERE machine = ?1 AND id <=
		(SELECT id FROM jobs WHERE machine = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`, id, maxJobs)
	if err != nil {
		return Job{}, err
	}
	text := string(o.Kind) + " created"
	if o.Image.Ref != "" {
		text = string(o.Kind) + " of " + o.Image.Ref + " created"
	}
	if err := note(ctx, tx, Event{Machine: id, Job: number, Actor: o.By, Text: text}); err != nil {
		return Job{}, err
	}
	return job(ctx, tx, number)
}

// Cancel cancels a job. One that is over is left as it is: [ErrState].
func (f *Fleet) Cancel(ctx context.Context, id int64, by string) (Job, error) {
	return f.moveJob(ctx, id, by, func(c course) (course, error) { return c.cancel("cancelled by "+by, now()) })
}

// Retry makes a job that failed or was cancelled pending again, with a window
// of the same length that opens now. The error wraps [ErrState] if it did
// neither, or if its machine has another open job.
func (f *Fleet) Retry(ctx context.Context, id int64, by string) (Job, error) {
	return f.moveJob(ctx, id, by, func(c course) (course, error) { return c.retry(now()) })
}

// moveJob brings a job to the course that next returns.
func (f *Fleet) moveJob(ctx context.Context, id int64, by string, next func(course) (course, error)) (Job, error) {
	var j Job
	err := f.change(ctx, func(tx *sql.Tx) (err error) {
		if j, err = job(ctx, tx, id); err != nil {
			return err
		}
		c, err := next(j.course())
		if err != nil {
			return fmt.Errorf("job %d: %w", id, err)
		}
		if c.State.Open() {
			if other, err := openJob(ctx, tx, j.Machine); err != nil || other != nil && other.ID != id {
				return errors.Join(err, fmt.Errorf("%s has another open job: %w", j.Name, ErrState))
			}
			if err := forgetReports(ctx, tx, &j); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE jobs SET choice = '' WHERE id = ?", j.ID); err != nil {
				return err
			}
			j.Choice = ""
		}
		return move(ctx, tx, &j, c, by)
	})
	return j, err
}

// forgetReports makes a job ready for the reports of another attempt. Which
// disk somebody chose is kept: the machine was switched off, not changed.
func forgetReports(ctx context.Context, tx *sql.Tx, j *Job) error {
	j.seq, j.Status = 0, Status{}
	_, err := tx.ExecContext(ctx, "UPDATE jobs SET seq = 0, status = '{}', woken = 0 WHERE id = ?", j.ID)
	return err
}

// Answer tells the agent of a job that asks which disk is meant: by the serial
// number or the path of one of its candidates. The error wraps [ErrState] if
// it does not ask, and [ErrMalformed] if that names none or two of them.
func (f *Fleet) Answer(ctx context.Context, id int64, disk, by string) (Job, error) {
	var j Job
	err := f.change(ctx, func(tx *sql.Tx) (err error) {
		if j, err = job(ctx, tx, id); err != nil {
			return err
		}
		if j.State != Working || !j.Status.Asking {
			return fmt.Errorf("job %d asks for no disk: %w", id, ErrState)
		}
		fit := 0
		for _, c := range j.Status.Candidates {
			if disk != "" && (c.Serial == disk || c.Path == disk) {
				fit++
			}
		}
		if fit != 1 {
			return fmt.Errorf("%w: %d of the disks that job %d asks about are %q", ErrMalformed, fit, id, wire.Plain(disk, wire.MaxField))
		}
		j.Choice = disk
		if _, err := tx.ExecContext(ctx, "UPDATE jobs SET choice = ? WHERE id = ?", disk, id); err != nil {
			return err
		}
		return note(ctx, tx, Event{Machine: j.Machine, Job: id, Actor: by, Text: "the disk is " + disk})
	})
	return j, err
}

// Sweep writes down what time has made of the jobs, and forgets tickets and
// sessions that nobody can use any more.
func (f *Fleet) Sweep(ctx context.Context) error {
	at := now()
	due, err := collect(ctx, f.read, scanJob, "SELECT "+jobColumns+` FROM jobs JOIN machines ON machines.id = machine
		WHERE state IN ('pending', 'offered', 'working')`)
	if err != nil {
		return err
	}
	for _, j := range due {
		if c := j.course(); c.sweep(at) == c {
			continue
		}
		_, err := f.moveJob(ctx, j.ID, actorServer, func(c course) (course, error) {
			if c.sweep(at) == c {
				return c, errSwept
			}
			return c.sweep(at), nil
		})
		if err != nil && !errors.Is(err, errSwept) {
			return err
		}
	}
	return f.hurry(ctx, func(tx *sql.Tx) error {
		for _, statement := range []string{"DELETE FROM tickets WHERE expires <= ?", "DELETE FROM sessions WHERE expires <= ?"} {
			if _, err := tx.ExecContext(ctx, statement, millis(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

// errSwept ends the transaction of a job that somebody else has swept.
var errSwept = errors.New("swept already")

// text returns the number of a job as the agent knows it.
func (j *Job) text() string { return strconv.FormatInt(j.ID, 10) }
