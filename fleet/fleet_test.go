package fleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"slipcast/agent/wire"
	"slipcast/pxe"
)

// newFleet returns an empty database that is closed with the test.
func newFleet(t testing.TB) *Fleet {
	t.Helper()
	f, err := Open(t.Context(), filepath.Join(t.TempDir(), File))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// A pc is a machine of the tests.
type pc struct{ wire.Inventory }

// newPC returns the nth machine of a room.
func newPC(n int) *pc {
	mac := fmt.Sprintf("02:00:00:00:%02x:%02x", n/256, n%256)
	return &pc{wire.Inventory{
		UUID: fmt.Sprintf("4c4c4544-0000-4000-8000-%012x", n), Serial: fmt.Sprintf("S%05d", n), Vendor: "Dell Inc.", Product: "OptiPlex 7010",
		CPU: "Intel i5", Threads: 4, Memory: 16 << 30, Arch: "x64", Firmware: "uefi", MAC: mac,
		Disks: []wire.Disk{{Name: "nvme0n1", Model: "PM981", Serial: fmt.Sprintf("D%05d", n), Transport: "nvme", Size: 256e9}},
		NICs:  []wire.NIC{{Name: "eth0", MAC: mac, Driver: "e1000e", Bus: "pci", Link: true, Speed: 1000}},
	}}
}

func (p *pc) client() pxe.Client {
	mac, _ := net.ParseMAC(p.MAC) // nil for none
	return pxe.Client{MAC: mac, UUID: p.UUID}
}

// register makes the machine known, and returns it.
func (p *pc) register(t testing.TB, f *Fleet) Machine {
	t.Helper()
	g := greeting{hello: wire.Hello{Schema: wire.Schema, Inventory: p.Inventory}}
	if err := f.greet(t.Context(), &g); err != nil {
		t.Fatal(err)
	}
	return g.machine
}

var lab3 = Image{Ref: "lab@3", Digest: "aa11", Need: 64e9}

// order returns an order to restore lab@3 to machines.
func order(machines ...Machine) Order {
	o := Order{Kind: wire.Restore, Image: lab3, By: "test"}
	for _, m := range machines {
		o.Machines = append(o.Machines, m.ID)
	}
	return o
}

func create(t testing.TB, f *Fleet, o Order) []Job {
	t.Helper()
	jobs, err := f.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return jobs
}

// state returns the state of a job as it stands in the database.
func state(t testing.TB, f *Fleet, id int64) State {
	t.Helper()
	j, err := f.Job(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return j.State
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", File)
	f, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	m := newPC(1).register(t, f)
	again, err := Open(t.Context(), path) // a command, while serve runs
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	got, err := again.Machine(t.Context(), "pc-000001")
	if err != nil || got.ID != m.ID {
		t.Errorf("Machine = %v, %v; want %s", got.ID, err, m.ID)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v; want 0600: there are secrets in it", info.Mode(), err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	if err := os.WriteFile(path, []byte("certainly not a database, but long enough to be looked at as if it were one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := Open(t.Context(), path); err == nil {
		f.Close()
		t.Error("Open takes a file that is no database")
	}
	f := newFleet(t)
	if _, err := f.write.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := f.migrate(t.Context()); !errors.Is(err, ErrNewer) {
		t.Errorf("migrate = %v, want ErrNewer", err)
	}
}

// What a job's course says is what the database lets happen, in virtual time.
func TestWindowAndSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := Open(t.Context(), filepath.Join(t.TempDir(), File))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		keeper := &Keeper{Fleet: f}
		go func() { ended <- keeper.Serve(ctx) }() // awaited below
		p := newPC(1)
		m := p.register(t, f)
		o := order(m)
		o.NotBefore, o.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		j := create(t, f, o)[0]
		d := &Director{Fleet: f}

		wantVerdict(t, d, p, pxe.Local, "before the window")
		time.Sleep(61 * time.Minute)
		wantVerdict(t, d, p, pxe.Agent, "in the window")
		wantVerdict(t, d, p, pxe.Agent, "again: asking changes nothing")
		offer(t, d, p)
		wantState(t, f, j.ID, Offered)
		time.Sleep(OfferLife + keepEvery)
		wantState(t, f, j.ID, Pending)
		time.Sleep(time.Hour)
		wantState(t, f, j.ID, Cancelled)
		wantVerdict(t, d, p, pxe.Local, "after the window")
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

func wantState(t testing.TB, f *Fleet, id int64, want State) {
	t.Helper()
	if got := state(t, f, id); got != want {
		t.Errorf("job %d is %s, want %s", id, got, want)
	}
}

func wantVerdict(t testing.TB, d *Director, p *pc, want pxe.Verdict, when string) {
	t.Helper()
	got, err := d.Direct(t.Context(), p.client())
	if err != nil || got.Verdict != want {
		t.Errorf("%s: Direct = %d, %v; want %d", when, got.Verdict, err, want)
	}
}

// offer fetches the archive of a machine, and returns its ticket.
func offer(t testing.TB, d *Director, p *pc) wire.Ticket {
	t.Helper()
	files, err := d.Offer(t.Context(), p.client())
	if err != nil {
		t.Fatal(err)
	}
	var ticket wire.Ticket
	if err := json.Unmarshal(files[0].Data, &ticket); err != nil {
		t.Fatal(err)
	}
	return ticket
}

// At most one open job of a machine, and all jobs of an order or none.
func TestCreateAllOrNone(t *testing.T) {
	f := newFleet(t)
	a, b := newPC(1).register(t, f), newPC(2).register(t, f)
	first := create(t, f, order(b))[0]
	if _, err := f.Create(t.Context(), order(a, b)); !errors.Is(err, ErrState) {
		t.Errorf("Create = %v, want ErrState: pc 2 has job %d", err, first.ID)
	}
	if jobs, err := f.Jobs(t.Context(), a.ID, false, 10); err != nil || len(jobs) != 0 {
		t.Errorf("Jobs of pc 1 = %v, %v; want none", jobs, err)
	}
	if _, err := f.Create(t.Context(), order(a, a)); !errors.Is(err, ErrState) {
		t.Errorf("Create for the same machine twice = %v, want ErrState", err)
	}
	if err := f.ForgetMachine(t.Context(), b.ID); !errors.Is(err, ErrState) {
		t.Errorf("ForgetMachine with an open job = %v, want ErrState", err)
	}
	if _, err := f.Cancel(t.Context(), first.ID, "test"); err != nil {
		t.Fatal(err)
	}
	second := create(t, f, order(b))[0]
	if _, err := f.Retry(t.Context(), first.ID, "test"); !errors.Is(err, ErrState) {
		t.Errorf("Retry beside job %d = %v, want ErrState", second.ID, err)
	}
}

// A change that is based on what has changed since is refused by the database.
func TestCompareAndSet(t *testing.T) {
	f := newFleet(t)
	j := create(t, f, order(newPC(1).register(t, f)))[0]
	stale := j
	if _, err := f.Cancel(t.Context(), j.ID, "test"); err != nil {
		t.Fatal(err)
	}
	err := f.change(t.Context(), func(tx *sql.Tx) error {
		c, err := stale.course().hello(now())
		if err != nil {
			return err
		}
		return move(t.Context(), tx, &stale, c, "test")
	})
	if !errors.Is(err, ErrConflict) {
		t.Errorf("move of a stale job = %v, want ErrConflict", err)
	}
	wantState(t, f, j.ID, Cancelled)
}
