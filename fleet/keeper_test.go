package fleet

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"slipcast/agent/wire"
)

// A server that starts anew brings back the session of machines at work, wakes
// those whose window opens, once, and ends sessions that nobody needs.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := Open(t.Context(), filepath.Join(t.TempDir(), File))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		working, asleep := newPC(1).register(t, f), newPC(2).register(t, f)
		o := order(working)
		o.Options.Multicast = true
		j := create(t, f, o)[0]
		g := greeting{tokenless: true, hello: wire.Hello{Inventory: newPC(1).Inventory}}
		if err := f.greet(t.Context(), &g); err != nil || g.job == nil {
			t.Fatalf("greet = %v, job %v", err, g.job)
		}
		o = order(asleep)
		o.Options.Wake, o.NotBefore = true, time.Now().Add(time.Hour)
		create(t, f, o)

		woken, sessions := make(chan string, 9), &fakeSessions{}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		k := &Keeper{Fleet: f, Sessions: sessions, Wake: func(_ context.Context, mac net.HardwareAddr) error {
			woken <- mac.String()
			return nil
		}}
		go func() { ended <- k.Serve(ctx) }() // awaited below
		time.Sleep(59 * time.Minute)
		if len(woken) != 0 || sessions.told() != "lab@3 for 1" {
			t.Errorf("before the window: %d woken, sessions: %s", len(woken), sessions.told())
		}
		time.Sleep(10 * time.Minute)
		if len(woken) != 1 || <-woken != asleep.MAC {
			t.Errorf("in the window pc 2 was not woken once")
		}
		if _, err := f.Cancel(t.Context(), j.ID, "test"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := sessions.told(); got != "lab@3 for 1; over" {
			t.Errorf("sessions: %s; want the one to be over", got)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}
