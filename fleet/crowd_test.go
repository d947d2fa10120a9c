package fleet

import (
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipcast/pxe"
)

// A machine that boots is told at once, whoever writes meanwhile.
func TestDirectDoesNotWaitForWriters(t *testing.T) {
	f := newFleet(t)
	p := newPC(1)
	create(t, f, order(p.register(t, f)))
	err := f.change(t.Context(), func(tx *sql.Tx) error { // holds the lock
		if _, err := tx.ExecContext(t.Context(), "UPDATE machines SET last_seen = 1"); err != nil {
			return err
		}
		start := time.Now()
		wantVerdict(t, &Director{Fleet: f}, p, pxe.Agent, "while somebody writes")
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %s, want less than a second", took)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Of many who order something for one machine at once, in two processes, one
// is served.
func TestCreateAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	var fleets []*Fleet
	for range 2 {
		f, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fleets = append(fleets, f)
	}
	m := newPC(1).register(t, fleets[0])
	errs := make(chan error, 20)
	var wait sync.WaitGroup
	for i := range cap(errs) {
		wait.Go(func() {
			_, err := fleets[i%2].Create(t.Context(), order(m))
			errs <- err
		})
	}
	wait.Wait()
	close(errs)
	made := 0
	for err := range errs {
		if err == nil {
			made++
		} else if !errors.Is(err, ErrState) {
			t.Errorf("Create = %v, want ErrState", err)
		}
	}
	if made != 1 {
		t.Errorf("%d jobs were made, want 1", made)
	}
}
