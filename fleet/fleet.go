package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // registers the driver; pure Go
)

// File is the name of the database in the state folder.
const File = "fleet.db"

var (
	// ErrNotFound reports a machine or job that there is not.
	ErrNotFound = errors.New("not found")

	// ErrNewer reports a database that a later slipcast has written.
	ErrNewer = errors.New("written by a later version of slipcast")

	// ErrConflict reports a change that somebody else's came before.
	ErrConflict = errors.New("changed by somebody else at the same time")
)

// A Fleet is the database of machines and jobs. It is safe for concurrent use,
// also by several processes.
type Fleet struct {
	read  *sql.DB // never waits for writers
	write *sql.DB // one connection: writers of this process stand in line
	hasty *sql.DB // as write, but the last seconds may be lost with the power
}

// Open opens the database at path, and makes it if there is none. The caller
// closes it.
func Open(ctx context.Context, path string) (*Fleet, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // it has secrets; SQLite's own files take the mode over
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if err := f.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), f.Close())
	}
	return f, nil
}

// open makes the pools of connections; the first use connects.
func open(path string) (*Fleet, error) {
	var f Fleet
	for _, pool := range []struct {
		db          **sql.DB
		begin       string
		synchronous string
		connections int
	}{{&f.read, "deferred", "FULL", 8}, {&f.write, "immediate", "FULL", 1}, {&f.hasty, "immediate", "NORMAL", 1}} {
		query := url.Values{
			"_txlock": {pool.begin},
			"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "foreign_keys(ON)", "synchronous(" + pool.synchronous + ")"},
		}
		db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(pool.connections)
		db.SetMaxIdleConns(pool.connections)
		*pool.db = db
	}
	return &f, nil
}

// Close closes the database.
func (f *Fleet) Close() error {
	return errors.Join(f.read.Close(), f.hasty.Close(), f.write.Close())
}

// migrate brings the database to the version of this program.
func (f *Fleet) migrate(ctx context.Context) error {
	return f.change(ctx, func(tx *sql.Tx) error {
		var have int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
			return err
		}
		if have > len(migrations) {
			return fmt.Errorf("version %d: %w", have, ErrNewer)
		}
		for i, statements := range migrations[have:] {
			if _, err := tx.ExecContext(ctx, statements); err != nil {
				return fmt.Errorf("version %d: %w", have+i+1, err)
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(migrations)))
		return err
	})
}

// change runs a transaction that writes. What it changed is on the disk when
// change returns nil, and none of it if it returns an error.
func (f *Fleet) change(ctx context.Context, do func(tx *sql.Tx) error) error {
	return transact(ctx, f.write, do)
}

// hurry is change for what may be lost with the power.
func (f *Fleet) hurry(ctx context.Context, do func(tx *sql.Tx) error) error {
	return transact(ctx, f.hasty, do)
}

func transact(ctx context.Context, db *sql.DB, do func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback() // err tells more
		return err
	}
	return tx.Commit()
}

// A querier is the database, or a transaction in it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// A scanner is a row.
type scanner interface{ Scan(dest ...any) error }

// collect returns what scan makes of each row of a query.
func collect[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []T{}
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, rows.Err()
}

// millis returns t as the database has it.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment returns the time that the database has.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// now is the time as the database can hold it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
