package probe

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // registers the driver; pure Go
)

// Bounds of the database of rpm. A system with 5,000 packages has 300 MB.
const (
	maxRPMDB  = 1 << 30  // bytes of the database, and of what is not merged into it yet
	maxRPM    = 100_000  // packages
	maxHeader = 64 << 20 // bytes of the header of one package
)

// ErrRPMFormat is wrapped where the database of rpm is of a kind that is not
// read: Berkeley DB until RHEL 8, and ndb of SUSE.
var ErrRPMFormat = errors.New("a database of rpm that is not in SQLite")

// rpms returns the packages that rpm has installed. Its database lies in one of
// two places.
func (p *Probes) rpms(ctx context.Context) ([]installed, error) {
	for _, folder := range []string{"usr/lib/sysimage/rpm", "var/lib/rpm"} {
		_, found, err := p.stat(folder + "/rpmdb.sqlite")
		if err != nil {
			return nil, err
		}
		if found {
			return p.rpmDatabase(ctx, folder)
		}
		for _, other := range []string{"/Packages", "/Packages.db"} {
			if _, found, err := p.stat(folder + other); found || err != nil {
				return nil, errors.Join(err, fmt.Errorf("%s%s: %w", folder, other, ErrRPMFormat))
			}
		}
	}
	return nil, nil
}

// rpmDatabase reads a copy of the database: SQLite opens files by their names,
// and writes beside them what a program that was cut off has left to be merged.
func (p *Probes) rpmDatabase(ctx context.Context, folder string) ([]installed, error) {
	scratch, err := os.MkdirTemp("", "slipcast-rpm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	for _, name := range []string{"rpmdb.sqlite", "rpmdb.sqlite-wal", "rpmdb.sqlite-journal"} {
		if err := p.copyOut(folder+"/"+name, filepath.Join(scratch, name)); err != nil {
			return nil, err
		}
	}
	all, err := readRPMs(ctx, filepath.Join(scratch, "rpmdb.sqlite"))
	if err != nil {
		return nil, fmt.Errorf("%s/rpmdb.sqlite: %w", folder, err)
	}
	return all, nil
}

// copyOut copies a file of the root, if it is there, to a place outside.
func (p *Probes) copyOut(name, to string) error {
	from, err := p.open(name)
	if from == nil {
		return err
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(from, maxRPMDB+1))
	if n > maxRPMDB {
		err = fmt.Errorf("%s: more than %d bytes", name, int64(maxRPMDB))
	}
	return errors.Join(err, f.Close())
}

// readRPMs reads the table Packages, which has a header for each package.
func readRPMs(ctx context.Context, file string) ([]installed, error) {
	address := url.URL{Scheme: "file", Path: file, RawQuery: "_pragma=trusted_schema(off)&_pragma=query_only(on)"}
	db, err := sql.Open("sqlite", address.String())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := checkTable(ctx, db); err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `SELECT CASE WHEN length(blob) <= ? THEN blob END FROM Packages LIMIT ?`, maxHeader, maxRPM+1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []installed
	for rows.Next() {
		var blob sql.RawBytes
		if err := rows.Scan(&blob); err != nil {
			return nil, err
		}
		if blob == nil {
			return nil, fmt.Errorf("%w: more than %d bytes, or none", errHeader, maxHeader)
		}
		one, err := parseHeader(blob)
		if err != nil {
			return nil, err
		}
		if all = append(all, one); len(all) > maxRPM {
			return nil, fmt.Errorf("more than %d packages", maxRPM)
		}
	}
	return all, rows.Err()
}

// checkTable refuses what is no table with a column of stored bytes: a view or
// a virtual table could compute anything, and for ever.
func checkTable(ctx context.Context, db *sql.DB) error {
	const question = `SELECT count(*) FROM pragma_table_list AS t, pragma_table_xinfo('Packages') AS c
		WHERE t.schema = 'main' AND t.name = 'Packages' AND t.type = 'table' AND c.name = 'blob' AND c.hidden = 0`
	var n int
	if err := db.QueryRowContext(ctx, question).Scan(&n); err != nil {
		return err
	}
	if n != 1 {
		return errors.New("there is no table Packages with a column blob")
	}
	return nil
}
