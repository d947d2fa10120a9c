package fleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"slipcast/agent/wire"
)

// ErrToken reports a token that is wrong, used, or too old.
var ErrToken = errors.New("the token is wrong, used, or too old")

// A greeting is a hello on its way through the database.
type greeting struct {
	tokenless bool     // jobs are given without a token
	shared    []string // UUIDs that tell nothing

	hello   wire.Hello
	ticket  ticket
	machine Machine
	job     *Job          // that was taken, nil if there is none
	silent  time.Duration // how long nothing had been heard of it, if it was taken before
	token   string
	reason  string // why there is no job, for people
}

// A ticket is what the database knows of a token.
type ticket struct {
	hash    []byte // empty: there is none
	machine string // empty: of a stranger
	repeats bool   // the answer to the hello before may have been lost
}

// trusted tells whether the agent may be given a job.
func (g *greeting) trusted() bool { return len(g.ticket.hash) > 0 || g.tokenless }

// greet registers the machine and takes its job.
func (f *Fleet) greet(ctx context.Context, g *greeting) error {
	return f.change(ctx, func(tx *sql.Tx) error {
		if err := g.useTicket(ctx, tx); err != nil {
			return err
		}
		if err := g.register(ctx, tx); err != nil {
			return err
		}
		if err := g.takeJob(ctx, tx); err != nil {
			return err
		}
		if err := g.forgetStranger(ctx, tx); err != nil {
			return err
		}
		return g.beginSession(ctx, tx)
	})
}

// forgetStranger ends the count of a stranger's boots, unless it is still one
// to the [Director]: what it boots with, a USB adapter, does not tell it, and
// neither does its firmware. Without the count it would boot the agent for ever.
func (g *greeting) forgetStranger(ctx context.Context, tx *sql.Tx) error {
	inv := &g.hello.Inventory
	id := identify(inv, g.shared)
	if len(g.ticket.hash) == 0 || id.uuid == "" && !slices.Contains(id.macs, inv.MAC) {
		return nil
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM strangers WHERE mac = ?", inv.MAC)
	return err
}

// useTicket finds the ticket of a hello, and uses it up. It is good once more
// while nothing has come by the session that came of it: then the agent has
// not got our answer.
func (g *greeting) useTicket(ctx context.Context, tx *sql.Tx) error {
	if g.hello.Token == "" {
		return nil
	}
	hash := hashToken(g.hello.Token)
	var mac string
	var used bool
	err := tx.QueryRowContext(ctx, `SELECT mac, machine, used, EXISTS (SELECT 1 FROM sessions WHERE ticket = ?1 AND used = 0)
		FROM tickets WHERE hash = ?1 AND expires > ?2`, hash, millis(now())).Scan(&mac, &g.ticket.machine, &used, &g.ticket.repeats)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrToken
	}
	if err != nil {
		return err
	}
	if mac != g.hello.Inventory.MAC || used && !g.ticket.repeats {
		return ErrToken
	}
	g.ticket.hash = hash
	_, err = tx.ExecContext(ctx, "UPDATE tickets SET used = 1 WHERE hash = ?", hash)
	return err
}

// register finds the machine of a hello, or makes it, and writes down what it
// is made of now.
func (g *greeting) register(ctx context.Context, tx *sql.Tx) error {
	inv := &g.hello.Inventory
	id := identify(inv, g.shared)
	if id.uuid == "" && id.serial == "" && len(id.macs) == 0 {
		return fmt.Errorf("%w: the machine has no UUID, no serial number and no MAC address of its own", ErrMalformed)
	}
	fit, err := id.find(ctx, tx)
	if err != nil {
		return err
	}
	if len(fit) == 0 {
		if err = g.newMachine(ctx, tx); err != nil {
			return err
		}
		return g.know(ctx, tx, id, "")
	}
	if g.machine, err = machine(ctx, tx, fit[0]); err != nil {
		return err
	}
	if j := g.machine.Job; !g.trusted() && j != nil && j.State.Open() {
		return nil // anybody may have sent it: it changes nothing while there is a job
	}
	if len(fit) == 1 && id.otherThan(&g.machine) {
		if !g.trusted() { // anybody could keep any machine from its jobs so
			return fmt.Errorf("the UUID %s is that of %s; boot this machine from the network: %w", id.uuid, g.machine.Name, ErrState)
		}
		return g.twin(ctx, tx, id)
	}
	why := ""
	if len(fit) > 1 {
		if g.machine, why, err = g.amongst(ctx, tx, id, fit); err != nil {
			return err
		}
	}
	return g.know(ctx, tx, id, why)
}

// twin registers a machine that has the UUID of another one. Both get no job
// from now on.
func (g *greeting) twin(ctx context.Context, tx *sql.Tx, id identity) error {
	other := g.machine
	if err := g.newMachine(ctx, tx); err != nil {
		return err
	}
	why := fmt.Sprintf("the UUID %s is that of %s and %s", id.uuid, other.Name, g.machine.Name)
	if _, err := tx.ExecContext(ctx, "UPDATE machines SET ambiguous = ? WHERE id = ?", why, other.ID); err != nil {
		return err
	}
	if err := note(ctx, tx, Event{Machine: other.ID, Actor: actorServer, Text: why}); err != nil {
		return err
	}
	return g.know(ctx, tx, id, why)
}

// amongst returns which of several machines that fit says hello, as far as its
// MAC addresses tell, and why it cannot be told for sure.
func (g *greeting) amongst(ctx context.Context, tx *sql.Tx, id identity, fit []string) (Machine, string, error) {
	var first Machine
	names := ""
	for i, candidate := range fit {
		m, err := machine(ctx, tx, candidate)
		if err != nil {
			return m, "", err
		}
		if i == 0 || !id.otherThan(&m) && id.otherThan(&first) {
			first = m
		}
		names += ", " + m.Name
	}
	return first, "it cannot be told from another machine: " + names[2:], nil
}

// newMachine makes a machine of the hello.
func (g *greeting) newMachine(ctx context.Context, tx *sql.Tx) error {
	var count int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM machines").Scan(&count); err != nil {
		return err
	}
	if count >= maxMachines {
		return fmt.Errorf("there are %d machines, and no room for more: %w", count, ErrState)
	}
	since := millis(now().Add(-newSpan))
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM machines WHERE first_seen > ?", since).Scan(&count); err != nil {
		return err
	}
	if count >= maxNew {
		return fmt.Errorf("%d machines have registered within an hour, which is all that are taken: %w", count, ErrState)
	}
	m := Machine{ID: newID(4), FirstSeen: now(), Inventory: &g.hello.Inventory}
	var err error
	if m.Name, err = freeName(ctx, tx, g.hello.Inventory.MAC, m.ID); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO machines (id, name, uuid, serial, vendor, product, mac, inventory, settings, ambiguous,
		first_seen, last_seen) VALUES (?, ?, '', '', '', '', '', '{}', '{}', '', ?, ?)`, m.ID, m.Name, millis(m.FirstSeen), millis(m.FirstSeen))
	if err != nil {
		return err
	}
	g.machine = m
	return note(ctx, tx, Event{Machine: m.ID, Actor: actorAgent, Text: "registered"})
}

// How many machines are registered by their own hello, in all and within a
// time: anybody on the network can make some up.
const (
	maxMachines = 100_000
	maxNew      = 1000
	newSpan     = time.Hour
)

// know writes down what the machine is made of, tells what has changed, and
// whether it can be told from others.
func (g *greeting) know(ctx context.Context, tx *sql.Tx, id identity, ambiguous string) error {
	inv, m := &g.hello.Inventory, &g.machine
	for _, text := range changes(m.Inventory, inv) {
		if err := note(ctx, tx, Event{Machine: m.ID, Actor: actorAgent, Text: text}); err != nil {
			return err
		}
	}
	if ambiguous != "" && ambiguous != m.Ambiguous {
		if err := note(ctx, tx, Event{Machine: m.ID, Actor: actorServer, Text: ambiguous}); err != nil {
			return err
		}
	}
	m.UUID, m.Serial, m.Vendor, m.Product, m.MAC = inv.UUID, inv.Serial, inv.Vendor, inv.Product, inv.MAC
	m.Ambiguous, m.LastSeen, m.Inventory, m.MACs = ambiguous, now(), inv, id.macs
	_, err := tx.ExecContext(ctx, `UPDATE machines SET uuid = ?, serial = ?, vendor = ?, product = ?, mac = ?, inventory = ?, ambiguous = ?,
		last_seen = ? WHERE id = ?`, m.UUID, m.Serial, m.Vendor, m.Product, m.MAC, mustJSON(inv), ambiguous, millis(m.LastSeen), m.ID)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM macs WHERE machine = ?", m.ID); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO macs (mac, machine) SELECT value, ? FROM json_each(?)", m.ID, mustJSON(append([]string{}, id.macs...)))
	return err
}

// takeJob takes the machine's job, or says why not.
func (g *greeting) takeJob(ctx context.Context, tx *sql.Tx) error {
	j, err := openJob(ctx, tx, g.machine.ID)
	switch {
	case err != nil:
		return err
	case j == nil:
		g.reason = "there is no job for this machine"
		return nil
	case g.machine.Ambiguous != "":
		g.reason = g.machine.Ambiguous
		return nil
	case !g.trusted():
		g.reason = "jobs are given to machines that have booted from the network, with a ticket"
		return nil
	case g.ticket.machine != "" && g.ticket.machine != g.machine.ID:
		g.reason = "its ticket was made for another machine"
		return note(ctx, tx, Event{Machine: g.machine.ID, Job: j.ID, Actor: actorServer, Text: g.reason})
	}
	return g.take(ctx, tx, j)
}

func (g *greeting) take(ctx context.Context, tx *sql.Tx, j *Job) error {
	if g.ticket.repeats && j.State == Working {
		g.job = j // taken by the hello that was not answered
		return forgetReports(ctx, tx, j)
	}
	if j.State == Working {
		g.silent = now().Sub(j.Reported)
	}
	c, err := j.course().hello(now())
	if errors.Is(err, ErrWindow) {
		g.reason = fmt.Sprintf("job %d may begin at %s", j.ID, j.NotBefore.Format(time.RFC3339))
		return nil
	}
	if errors.Is(err, ErrState) {
		g.reason = fmt.Sprintf("job %d is over", j.ID)
		return move(ctx, tx, j, j.course().sweep(now()), actorServer)
	}
	if err != nil {
		return err
	}
	if err := move(ctx, tx, j, c, actorAgent); err != nil {
		return err
	}
	if c.State != Working {
		g.reason = fmt.Sprintf("job %d has failed: %s", j.ID, c.Error)
		return nil
	}
	if err := forgetReports(ctx, tx, j); err != nil {
		return err
	}
	if j.Started.IsZero() {
		j.Started = now()
	}
	_, err = tx.ExecContext(ctx, "UPDATE jobs SET started = ? WHERE id = ?", millis(j.Started), j.ID)
	g.job = j
	return err
}

// beginSession makes the token for the agent's further requests. Those of
// former boots of the machine end, but not because of a hello that anybody may
// have sent.
func (g *greeting) beginSession(ctx context.Context, tx *sql.Tx) error {
	if j := g.machine.Job; !g.trusted() && j != nil && j.State.Open() {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE machine = ?", g.machine.ID); err != nil {
		return err
	}
	var number int64
	if g.job != nil {
		number = g.job.ID
	}
	hash := g.ticket.hash
	if hash == nil {
		hash = []byte{}
	}
	g.token = newID(16)
	_, err := tx.ExecContext(ctx, "INSERT INTO sessions (hash, machine, job, ticket, trusted, expires) VALUES (?, ?, ?, ?, ?, ?)",
		hashToken(g.token), g.machine.ID, number, hash, g.trusted() && g.machine.Ambiguous == "", millis(now().Add(sessionLife)))
	return err
}

// An agentSession is what a session token stands for.
type agentSession struct {
	hash    []byte
	machine string
	job     int64 // zero: none
	trusted bool
}

// session returns what a token stands for. Any other error than that of the
// database is [ErrToken].
func (f *Fleet) session(ctx context.Context, token string) (s agentSession, err error) {
	s.hash = hashToken(token)
	var used bool
	err = f.read.QueryRowContext(ctx, "SELECT machine, job, trusted, used FROM sessions WHERE hash = ? AND expires > ?",
		s.hash, millis(now())).Scan(&s.machine, &s.job, &s.trusted, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return s, ErrToken
	}
	if err != nil || used {
		return s, err
	}
	return s, f.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE sessions SET used = 1 WHERE hash = ?", s.hash)
		return err
	})
}

// next takes the next job of a machine whose agent stays. The error wraps
// [ErrState] if its last one is still at work.
func (f *Fleet) next(ctx context.Context, s agentSession) (g greeting, err error) {
	err = f.change(ctx, func(tx *sql.Tx) error {
		if g.machine, err = machine(ctx, tx, s.machine); err != nil {
			return err
		}
		if m := g.machine; m.Job != nil && m.Job.ID == s.job && m.Job.State == Working {
			return fmt.Errorf("job %d is not over: %w", s.job, ErrState)
		}
		g.ticket.hash, g.tokenless = s.hash, s.trusted
		if !s.trusted {
			g.ticket.hash = nil
		}
		if err := g.takeJob(ctx, tx); err != nil {
			return err
		}
		if err := s.heard(ctx, tx); err != nil || g.job == nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE sessions SET job = ? WHERE hash = ?", g.job.ID, s.hash)
		return err
	})
	return g, err
}

// heard writes down that the agent of a session is there, which lengthens the
// session's life; a clock that is set back does not shorten it.
func (s *agentSession) heard(ctx context.Context, tx *sql.Tx) error {
	at := now()
	if _, err := tx.ExecContext(ctx, "UPDATE machines SET last_seen = ? WHERE id = ?", millis(at), s.machine); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE sessions SET expires = max(expires, ?) WHERE hash = ?", millis(at.Add(sessionLife)), s.hash)
	return err
}

// wireJob returns a job as its agent gets it. m is its machine.
func (f *Fleet) wireJob(ctx context.Context, j *Job, m *Machine) (*wire.Job, error) {
	var answer string
	if err := f.read.QueryRowContext(ctx, "SELECT answer FROM jobs WHERE id = ?", j.ID).Scan(&answer); err != nil {
		return nil, err
	}
	o := j.Options
	w := &wire.Job{
		ID: j.text(), Kind: j.Kind, Attempt: j.Attempts, Image: j.Image, Digest: j.Digest, Need: j.Need,
		Delta: o.Delta, Grow: o.Grow, Verify: o.Verify, Level: o.Level, Disk: o.Disk, Hostname: o.Hostname,
		Fresh: j.Kind == wire.Restore && !o.AsIs, Answer: answer, Apply: o.Apply, End: o.End,
	}
	if w.Disk == (wire.Rule{}) {
		w.Disk = m.Settings.Disk
	}
	if w.Fresh && w.Hostname == "" {
		if w.Hostname = m.Settings.Hostname; w.Hostname == "" {
			w.Hostname = m.Name
		}
	}
	return w, nil
}

// decode reads one JSON value of outside and refuses what follows it.
func decode(p []byte, v any) error {
	if err := json.Unmarshal(p, v); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return nil
}
