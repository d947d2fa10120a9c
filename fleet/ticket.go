package fleet

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"slipcast/agent/wire"
	"slipcast/pxe"
)

const (
	ticketLife  = 15 * time.Minute // of a token that was not used
	sessionLife = 24 * time.Hour
	strangerDay = 24 * time.Hour // after which a machine that never came up is tried again
	maxTickets  = 20_000         // in the database; strangers can have them made
	maxStranger = 20_000         // likewise
)

// A Director decides which machines boot the agent, and makes their tickets.
// It implements [pxe.Director] and is safe for concurrent use.
type Director struct {
	Fleet   *Fleet
	Servers []string // https://ADDRESS:PORT, for the tickets
	Pin     string   // SHA-256 of the server's SubjectPublicKeyInfo, hexadecimal

	// IgnoreUnknown gives machines that are not known no answer. Otherwise they
	// boot the agent, which registers them.
	IgnoreUnknown bool

	// SharedUUIDs are UUIDs, in lower case, that several machines of the site
	// have, besides those that are known for it.
	SharedUUIDs []string

	// Catalog, if it is not nil, gives the root that the machines trust.
	Catalog Catalog
}

// How long a machine waits for the database. Offers stand in line: each is on
// the disk before its archive is given, and a room asks at once.
const (
	directPatience = 900 * time.Millisecond
	offerPatience  = 4500 * time.Millisecond
)

var _ pxe.Director = (*Director)(nil)

// Direct implements [pxe.Director].
func (d *Director) Direct(ctx context.Context, c pxe.Client) (pxe.Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, directPatience)
	defer cancel()
	var decision pxe.Decision
	err := transact(ctx, d.Fleet.read, func(tx *sql.Tx) (err error) {
		decision, err = d.decide(ctx, tx, c)
		return err
	})
	return decision, err
}

func (d *Director) decide(ctx context.Context, q querier, c pxe.Client) (pxe.Decision, error) {
	ids, err := d.identity(c).find(ctx, q)
	switch {
	case err != nil:
		return pxe.Decision{}, err
	case len(ids) == 0:
		return d.decideStranger(ctx, q, c)
	case len(ids) > 1:
		return pxe.Decision{Verdict: pxe.Local}, nil
	}
	m, err := machine(ctx, q, ids[0])
	if err != nil {
		return pxe.Decision{}, err
	}
	decision := pxe.Decision{Verdict: pxe.Local, Loader: pxe.Loader(m.Settings.Loader), Args: m.Settings.Args}
	unclear := m.Ambiguous != "" && !slices.Contains(d.SharedUUIDs, m.UUID)
	if m.Job != nil && !unclear && m.Job.course().wantsAgent(now()) {
		decision.Verdict = pxe.Agent
	}
	return decision, nil
}

// decideStranger decides about a machine that is not known. One that fetched
// its archive three times and never came up is left to its disk for a day.
func (d *Director) decideStranger(ctx context.Context, q querier, c pxe.Client) (pxe.Decision, error) {
	if d.IgnoreUnknown {
		return pxe.Decision{Verdict: pxe.Ignore}, nil
	}
	var tired bool
	err := q.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM strangers WHERE mac = ? AND offers >= ? AND last_seen > ? AND last_seen <= ?)",
		c.MAC.String(), MaxOffers, millis(now().Add(-strangerDay)), millis(now().Add(-sameBoot))).Scan(&tired)
	if tired {
		return pxe.Decision{Verdict: pxe.Local}, err
	}
	return pxe.Decision{Verdict: pxe.Agent}, err
}

// identity returns by what a client that asks to boot is known.
func (d *Director) identity(c pxe.Client) identity {
	id := identity{uuid: tellingUUID(canonicalUUID(c.UUID), d.SharedUUIDs), serial: tellingSerial(wire.Plain(c.Serial, wire.MaxField))}
	if mac := wire.MAC(c.MAC.String()); mac != "" {
		id.macs = []string{mac}
	}
	return id
}

// Offer implements [pxe.Director]. The error wraps [ErrState] if the machine
// is not wanted any more.
func (d *Director) Offer(ctx context.Context, c pxe.Client) ([]pxe.File, error) {
	ctx, cancel := context.WithTimeout(ctx, offerPatience)
	defer cancel()
	root, err := d.root(ctx)
	if err != nil {
		return nil, err
	}
	t := wire.Ticket{Schema: wire.Schema, Servers: d.Servers, Pin: d.Pin, Token: newID(16), MAC: wire.MAC(c.MAC.String())}
	refused := error(nil)
	err = d.Fleet.change(ctx, func(tx *sql.Tx) (err error) {
		decision, err := d.decide(ctx, tx, c)
		if err != nil {
			return err
		}
		id := ""
		if decision.Verdict == pxe.Agent {
			id, err = d.offer(ctx, tx, c, &t)
		} else {
			refused, err = ErrState, d.tire(ctx, tx, c)
		}
		if err != nil || refused != nil {
			return err
		}
		return keepTicket(ctx, tx, &t, id)
	})
	if err != nil || refused != nil {
		return nil, cmp.Or(err, refused)
	}
	seed := make([]byte, wire.SeedSize)
	_, _ = rand.Read(seed) // never fails
	files := []pxe.File{{Name: wire.TicketPath, Data: []byte(mustJSON(t))}, {Name: wire.SeedPath, Data: seed}}
	if root != nil {
		files = append(files, pxe.File{Name: wire.RootPath, Data: root})
	}
	return files, nil
}

// root returns the root of the catalog, nil if there is none.
func (d *Director) root(ctx context.Context) ([]byte, error) {
	if d.Catalog == nil {
		return nil, nil
	}
	root, err := d.Catalog.Root(ctx)
	if err == nil && len(root) > wire.MaxRoot {
		err = fmt.Errorf("the root of the catalog has %d bytes, at most %d", len(root), wire.MaxRoot)
	}
	return root, err
}

// offer counts an offer, and returns the machine's id, empty for a stranger.
func (d *Director) offer(ctx context.Context, tx *sql.Tx, c pxe.Client, t *wire.Ticket) (string, error) {
	ids, err := d.identity(c).find(ctx, tx)
	if err != nil {
		return "", err
	}
	if len(ids) == 0 {
		return "", countStranger(ctx, tx, c.MAC.String())
	}
	j, err := openJob(ctx, tx, ids[0])
	if err != nil {
		return "", err
	}
	next, err := j.course().offer(now())
	if err != nil {
		return "", err
	}
	t.Machine, t.Job = j.Name, j.text()
	return ids[0], move(ctx, tx, j, next, actorServer)
}

// tire fails the job of a machine that asks for its archive once too often.
func (d *Director) tire(ctx context.Context, tx *sql.Tx, c pxe.Client) error {
	ids, err := d.identity(c).find(ctx, tx)
	if err != nil || len(ids) != 1 {
		return err
	}
	j, err := openJob(ctx, tx, ids[0])
	if err != nil || j == nil || j.Offers < MaxOffers {
		return err
	}
	next, err := j.course().offer(now())
	if err != nil {
		return err
	}
	return move(ctx, tx, j, next, actorServer)
}

// countStranger counts an offer to a machine that is not known. After the
// third the error is [ErrState], however fast they came.
func countStranger(ctx context.Context, tx *sql.Tx, mac string) error {
	yesterday := millis(now().Add(-strangerDay))
	done, err := tx.ExecContext(ctx, `INSERT INTO strangers (mac, offers, last_seen) VALUES (?1, 1, ?2)
		ON CONFLICT (mac) DO UPDATE SET offers = CASE WHEN last_seen > ?3 THEN offers + 1 ELSE 1 END, last_seen = ?2
		WHERE offers < ?4 OR last_seen <= ?3`, mac, millis(now()), yesterday, MaxOffers)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("%s was offered %d archives: %w", mac, MaxOffers, ErrState))
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM strangers WHERE last_seen < ? OR rowid <= (SELECT max(rowid) FROM strangers) - ?", yesterday, maxStranger)
	return err
}

// keepTicket writes a ticket's token down, as a hash.
func keepTicket(ctx context.Context, tx *sql.Tx, t *wire.Ticket, machine string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO tickets (hash, mac, machine, expires) VALUES (?, ?, ?, ?)",
		hashToken(t.Token), t.MAC, machine, millis(now().Add(ticketLife)))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM tickets WHERE rowid <= (SELECT rowid FROM tickets ORDER BY rowid DESC LIMIT 1 OFFSET ?)`, maxTickets)
	return err
}

// hashToken returns what the database knows of a token.
func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
