package fleet

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"slipcast/agent/wire"
)

// A Machine is a computer that boots from us.
type Machine struct {
	ID        string          `json:"id"`             // 8 hexadecimal digits, never changes
	Name      string          `json:"name"`           // a host name, unique
	UUID      string          `json:"uuid,omitempty"` // of SMBIOS
	Serial    string          `json:"serial,omitempty"`
	Vendor    string          `json:"vendor,omitempty"`
	Product   string          `json:"product,omitempty"`
	MAC       string          `json:"mac"` // that it was booted from last
	Settings  Settings        `json:"settings"`
	Ambiguous string          `json:"ambiguous,omitempty"` // why it cannot be told from another and gets no job
	FirstSeen time.Time       `json:"first_seen"`
	LastSeen  time.Time       `json:"last_seen"`           // said hello or reported
	Inventory *wire.Inventory `json:"inventory,omitempty"` // nil in lists
	MACs      []string        `json:"macs,omitempty"`      // that tell it; nil in lists
	Job       *Job            `json:"job,omitempty"`       // the open one, or else the last; nil if there is none

	Compliance *Compliance `json:"compliance,omitempty"` // nil: nobody has looked
	Cells      []Cell      `json:"cells,omitempty"`      // that it is made of; nil in lists
}

// Settings are what people have set for a machine.
type Settings struct {
	Loader   string    `json:"loader,omitempty"`   // shim, ipxe or image; empty is the server's
	Args     []string  `json:"args,omitempty"`     // for the kernel's command line
	Disk     wire.Rule `json:"disk"`               // for jobs that have no rule of their own
	Hostname string    `json:"hostname,omitempty"` // of clones; empty is the machine's name
	Note     string    `json:"note,omitempty"`
}

var argForm = regexp.MustCompile(`^[A-Za-z0-9._,:=/@%+-]{1,128}$`)

// check refuses settings that cannot be.
func (s *Settings) check() error {
	switch s.Loader {
	case "", "shim", "ipxe", "image":
	default:
		return fmt.Errorf("%w: the loader is shim, ipxe or image, not %q", ErrMalformed, wire.Plain(s.Loader, 20))
	}
	if len(s.Args) > 16 {
		return fmt.Errorf("%w: %d words for the kernel, at most 16", ErrMalformed, len(s.Args))
	}
	for _, arg := range s.Args {
		if !argForm.MatchString(arg) {
			return fmt.Errorf("%w: %q is no word for the kernel's command line", ErrMalformed, wire.Plain(arg, 130))
		}
	}
	if s.Hostname != "" {
		if err := checkName(s.Hostname); err != nil {
			return err
		}
	}
	s.Note = wire.Plain(s.Note, wire.MaxText)
	return CheckRule(s.Disk)
}

const machineColumns = "machines.id, name, uuid, serial, vendor, product, mac, settings, ambiguous, first_seen, last_seen, cells, good, looked"

func scanMachine(row scanner, more ...any) (m Machine, err error) {
	var settings string
	var first, last, looked int64
	var c Compliance
	err = row.Scan(append([]any{&m.ID, &m.Name, &m.UUID, &m.Serial, &m.Vendor, &m.Product, &m.MAC, &settings,
		&m.Ambiguous, &first, &last, &c.Cells, &c.Good, &looked}, more...)...)
	if err != nil {
		return m, err
	}
	m.FirstSeen, m.LastSeen, m.Compliance = moment(first), moment(last), c.at(moment(looked))
	return m, json.Unmarshal([]byte(settings), &m.Settings)
}

// Machines returns all machines by name, each with its job.
func (f *Fleet) Machines(ctx context.Context) ([]Machine, error) {
	var list []Machine
	err := transact(ctx, f.read, func(tx *sql.Tx) (err error) { // both queries see the same moment
		list, err = machines(ctx, tx)
		return err
	})
	return list, err
}

func machines(ctx context.Context, tx *sql.Tx) ([]Machine, error) {
	list, err := collect(ctx, tx, func(row scanner) (Machine, error) { return scanMachine(row) },
		"SELECT "+machineColumns+" FROM machines ORDER BY name COLLATE NOCASE")
	if err != nil {
		return nil, err
	}
	jobs, err := collect(ctx, tx, scanJob, "SELECT "+jobColumns+` FROM jobs JOIN machines ON machines.id = machine
		WHERE jobs.id IN (SELECT max(id) FROM jobs GROUP BY machine)
		OR state IN ('pending', 'offered', 'working') ORDER BY jobs.id`)
	if err != nil {
		return nil, err
	}
	latest := map[string]*Job{}
	for i, j := range jobs {
		if old := latest[j.Machine]; old == nil || !old.State.Open() {
			latest[j.Machine] = &jobs[i]
		}
	}
	for i := range list {
		list[i].Job = latest[list[i].ID]
	}
	return list, nil
}

// Machine returns the machine with the id, name, MAC address or UUID, with all
// that is known of it. The error wraps [ErrNotFound] if there is none, or tells
// that several fit.
func (f *Fleet) Machine(ctx context.Context, which string) (Machine, error) {
	var m Machine
	err := transact(ctx, f.read, func(tx *sql.Tx) error {
		id, err := findMachine(ctx, tx, which)
		if err != nil {
			return err
		}
		m, err = machine(ctx, tx, id)
		return err
	})
	return m, err
}

// findMachine returns the id of the machine that somebody means.
func findMachine(ctx context.Context, q querier, which string) (string, error) {
	ids, err := collect(ctx, q, scanText, `SELECT id FROM machines WHERE id = ?1 OR name = ?1 COLLATE NOCASE
		OR (?2 <> '' AND uuid = ?2) OR (?3 <> '' AND mac = ?3)
		OR (?3 <> '' AND id IN (SELECT machine FROM macs WHERE mac = ?3)) LIMIT 3`,
		which, canonicalUUID(which), wire.MAC(which))
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", fmt.Errorf("machine %q: %w", wire.Plain(which, 80), ErrNotFound)
	case len(ids) > 1:
		return "", fmt.Errorf("%w: machine %q: several fit; give one by its id", ErrMalformed, wire.Plain(which, 80))
	}
	return ids[0], nil
}

func scanText(row scanner) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}

// machine returns a machine with all that is known of it.
func machine(ctx context.Context, q querier, id string) (Machine, error) {
	var inventory string
	m, err := scanMachine(q.QueryRowContext(ctx, "SELECT "+machineColumns+", inventory FROM machines WHERE id = ?", id), &inventory)
	if errors.Is(err, sql.ErrNoRows) {
		return m, fmt.Errorf("machine %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal([]byte(inventory), &m.Inventory); err != nil {
		return m, err
	}
	if m.MACs, err = collect(ctx, q, scanText, "SELECT mac FROM macs WHERE machine = ? ORDER BY mac", id); err != nil {
		return m, err
	}
	jobs, err := collect(ctx, q, scanJob, "SELECT "+jobColumns+` FROM jobs JOIN machines ON machines.id = machine
		WHERE machine = ? ORDER BY state IN ('pending', 'offered', 'working') DESC, jobs.id DESC LIMIT 1`, id)
	if err != nil {
		return m, err
	}
	if len(jobs) > 0 {
		m.Job = &jobs[0]
	}
	m.Cells, err = cells(ctx, q, id)
	return m, err
}

// A Change is what somebody sets of a machine; nil leaves it as it is.
type Change struct {
	Name     *string    `json:"name"`
	Loader   *string    `json:"loader"`
	Args     *[]string  `json:"args"`
	Disk     *wire.Rule `json:"disk"`
	Hostname *string    `json:"hostname"`
	Note     *string    `json:"note"`
}

// apply returns the settings after the change.
func (c Change) apply(s Settings) Settings {
	set(&s.Loader, c.Loader)
	set(&s.Args, c.Args)
	set(&s.Disk, c.Disk)
	set(&s.Hostname, c.Hostname)
	set(&s.Note, c.Note)
	return s
}

func set[T any](place *T, value *T) {
	if value != nil {
		*place = *value
	}
}

// SetMachine changes what people set of the machine id, and returns it. by is
// who does it.
func (f *Fleet) SetMachine(ctx context.Context, id string, c Change, by string) (Machine, error) {
	var m Machine
	err := f.change(ctx, func(tx *sql.Tx) (err error) {
		if m, err = machine(ctx, tx, id); err != nil {
			return err
		}
		set(&m.Name, c.Name)
		m.Settings = c.apply(m.Settings)
		if err := errors.Join(checkName(m.Name), m.Settings.check()); err != nil {
			return err
		}
		other, err := findMachine(ctx, tx, m.Name)
		if err == nil && other != id {
			return fmt.Errorf("%w: there is a machine %q already", ErrConflict, m.Name)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE machines SET name = ?, settings = ? WHERE id = ?", m.Name, mustJSON(m.Settings), id)
		if err != nil {
			return err
		}
		return note(ctx, tx, Event{Machine: id, Actor: by, Text: "settings changed"})
	})
	return m, err
}

// ForgetMachine removes the machine id, its jobs and its history. One that has
// an open job is not forgotten: [ErrState].
func (f *Fleet) ForgetMachine(ctx context.Context, id string) error {
	return f.change(ctx, func(tx *sql.Tx) error {
		m, err := machine(ctx, tx, id)
		if err != nil {
			return err
		}
		if m.Job != nil && m.Job.State.Open() {
			return fmt.Errorf("forgetting %s, which has job %d: %w", m.Name, m.Job.ID, ErrState)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM tickets WHERE machine = ?", id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM machines WHERE id = ?", id); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE machines SET ambiguous = ''") // the next hello tells whether they still are
		return err
	})
}

// freeName returns a name for a new machine that no other has.
func freeName(ctx context.Context, q querier, mac, id string) (string, error) {
	name := "pc-" + id
	if digits := strings.ReplaceAll(mac, ":", ""); len(digits) == 12 {
		name = "pc-" + digits[6:]
	}
	var taken bool
	err := q.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM machines WHERE name = ?)", name).Scan(&taken)
	if taken {
		name = "pc-" + id
	}
	return name, err
}

// newID returns n random bytes in hexadecimal.
func newID(n int) string {
	p := make([]byte, n)
	_, _ = rand.Read(p) // never fails
	return hex.EncodeToString(p)
}

// mustJSON returns v as JSON. It is for values that have one.
func mustJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts, numbers, and lists of them
	}
	return string(text)
}
