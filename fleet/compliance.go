package fleet

import (
	"context"
	"database/sql"
	"time"

	"slipcast/agent/wire"
)

// A Compliance is how a machine stood to the catalog when its last restore was
// done: docs/bundles.md, section 11.
type Compliance struct {
	Cells   int       `json:"cells"`
	Good    int       `json:"good"`    // of them
	Percent int       `json:"percent"` // that are good, rounded down; 100 if there are none
	Looked  time.Time `json:"looked"`  // when
}

// at returns c with what follows of it, nil if nobody has ever looked.
func (c Compliance) at(looked time.Time) *Compliance {
	if looked.IsZero() {
		return nil
	}
	c.Percent, c.Looked = 100, looked
	if c.Cells > 0 {
		c.Percent = 100 * c.Good / c.Cells
	}
	return &c
}

// A Cell is how one product stands.
type Cell struct {
	wire.Cell
	Since time.Time `json:"since"` // in this state, over all restores of the machine in which it was
}

// A MachineCompliance is how a machine stands, and what it lacks.
type MachineCompliance struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	Compliance *Compliance `json:"compliance,omitempty"` // nil: nobody has looked
	Cells      []Cell      `json:"cells"`                // that are not good; of a machine that was asked for all
}

// Compliance returns how all machines stand, by name, or the one that which
// means, as that of [Fleet.Machine].
func (f *Fleet) Compliance(ctx context.Context, which string) ([]MachineCompliance, error) {
	if which != "" {
		m, err := f.Machine(ctx, which)
		if err != nil {
			return nil, err
		}
		return []MachineCompliance{{m.ID, m.Name, m.Compliance, m.Cells}}, nil
	}
	out := []MachineCompliance{}
	err := transact(ctx, f.read, func(tx *sql.Tx) error {
		list, err := machines(ctx, tx)
		if err != nil {
			return err
		}
		lacking, err := collect(ctx, tx, scanCell, "SELECT "+cellColumns+" FROM cells WHERE good = 0 ORDER BY machine, product")
		if err != nil {
			return err
		}
		byMachine := map[string][]Cell{}
		for _, c := range lacking {
			byMachine[c.machine] = append(byMachine[c.machine], c.Cell)
		}
		for _, m := range list {
			out = append(out, MachineCompliance{m.ID, m.Name, m.Compliance, append([]Cell{}, byMachine[m.ID]...)})
		}
		return nil
	})
	return out, err
}

const cellColumns = "machine, product, version, state, severity, reason, since"

// A cellRow is a cell in the database.
type cellRow struct {
	Cell
	machine string
}

func scanCell(row scanner) (c cellRow, err error) {
	var since int64
	err = row.Scan(&c.machine, &c.Product, &c.Version, &c.State, &c.Severity, &c.Reason, &since)
	c.Since = moment(since)
	return c, err
}

// cells returns the cells of a machine, those first that are not good.
func cells(ctx context.Context, q querier, machine string) ([]Cell, error) {
	rows, err := collect(ctx, q, scanCell, "SELECT "+cellColumns+" FROM cells WHERE machine = ? ORDER BY good, product", machine)
	var list []Cell
	for _, c := range rows {
		list = append(list, c.Cell)
	}
	return list, err
}

// keepCells writes down how the machine of a job stands that is over now. What
// is on a disk that was wiped, or half restored, nobody knows.
func (j *Job) keepCells(ctx context.Context, tx *sql.Tx, r *wire.Report) error {
	if j.Kind != wire.Restore && j.Kind != wire.Wipe {
		return nil
	}
	old, err := collect(ctx, tx, scanCell, "SELECT "+cellColumns+" FROM cells WHERE machine = ?", j.Machine)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM cells WHERE machine = ?", j.Machine); err != nil {
		return err
	}
	if j.Kind != wire.Restore || r.State != wire.Done || len(r.Cells) == 0 {
		_, err := tx.ExecContext(ctx, "UPDATE machines SET cells = 0, good = 0, looked = 0 WHERE id = ?", j.Machine)
		return err
	}
	since := map[string]time.Time{}
	for _, c := range old {
		since[c.Product+" "+string(c.State)] = c.Since
	}
	at := now()
	for _, c := range r.Cells {
		began, ok := since[c.Product+" "+string(c.State)]
		if !ok {
			began = at
		}
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO cells (machine, product, version, state, severity, reason, good, since)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, j.Machine, c.Product, c.Version, c.State, c.Severity, c.Reason, c.Good(), millis(began))
		if err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `UPDATE machines SET looked = ?2, cells = (SELECT count(*) FROM cells WHERE machine = ?1),
		good = (SELECT count(*) FROM cells WHERE machine = ?1 AND good) WHERE id = ?1`, j.Machine, millis(at))
	return err
}
