package multicast

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An ether connects the airs of a test. What one sends all others hear.
type ether struct {
	mu   sync.Mutex
	airs []*etherAir
	sent []time.Time // announcements
	drop func(p []byte) bool
}

type etherAir struct {
	ether *ether
	addr  netip.Addr
	queue chan heard
}

func (e *ether) air(addr string) *etherAir {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := &etherAir{e, netip.MustParseAddr(addr), make(chan heard, heardQueue)}
	e.airs = append(e.airs, a)
	return a
}

func (a *etherAir) hear() <-chan heard { return a.queue }

func (a *etherAir) send(p []byte) error {
	e := a.ether
	e.mu.Lock()
	defer e.mu.Unlock()
	if q, err := parseAnnouncement(p, nil); err == nil && !q.query {
		e.sent = append(e.sent, time.Now())
	}
	if e.drop != nil && e.drop(p) {
		return nil
	}
	for _, o := range e.airs {
		select {
		case o.queue <- heard{slices.Clone(p), a.addr}:
		default:
		}
	}
	return nil
}

// announce announces a session until the function that it returns is called.
func (e *ether) announce(t *testing.T, addr string, a announcement, key []byte) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		newAnnouncer(e.air(addr), a, key, slog.New(slog.DiscardHandler)).run(ctx)
	}()
	return func() { cancel(); <-done }
}

// find looks for a session for so long.
func (e *ether) find(t *testing.T, limit time.Duration, name string, key []byte) (*sighting, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return findSession(ctx, e.air("10.0.0.99"), name, key)
}

func TestFindSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ether{}
		defer e.announce(t, "10.0.0.1", announcement{session: 7, port: 7000, name: "room", fingerprint: [32]byte{1}}, nil)()
		time.Sleep(1500 * time.Millisecond) // the next announcement by itself is at 2.3 s
		start := time.Now()
		s, err := e.find(t, time.Minute, "room", nil)
		if err != nil {
			t.Fatal(err)
		}
		if took, want := time.Since(start), settleTime; took != want {
			t.Errorf("found in %v, want %v: the query is answered at once", took, want)
		}
		if want := netip.MustParseAddrPort("10.0.0.1:7000"); s.session != 7 || s.addrs[0] != want || s.fingerprint != [32]byte{1} {
			t.Errorf("found session %d at %v with fingerprint %x, want 7 at %v with 01", s.session, s.addrs, s.fingerprint, want)
		}
	})
}

// TestFindSessionLoss loses four of five datagrams.
func TestFindSessionLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		e := &ether{drop: func([]byte) bool { return rng.IntN(5) > 0 }}
		defer e.announce(t, "10.0.0.1", announcement{session: 7, port: 7000}, nil)()
		if s, err := e.find(t, time.Minute, "", nil); err != nil || s.session != 7 {
			t.Errorf("findSession = %v, %v, want session 7", s, err)
		}
	})
}

func TestFindSessionAmbiguous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ether{}
		defer e.announce(t, "10.0.0.1", announcement{session: 7, port: 7000, name: "room"}, nil)()
		defer e.announce(t, "10.0.0.2", announcement{session: 8, port: 7000, name: "room"}, nil)()
		time.Sleep(5 * time.Second)
		if s, err := e.find(t, time.Minute, "room", nil); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("findSession = %v, %v, want ErrAmbiguous", s, err)
		}
	})
}

// TestFindSessionRestart starts a sender again while a receiver is choosing.
func TestFindSessionRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ether{}
		stop := e.announce(t, "10.0.0.1", announcement{session: 7, port: 7000, name: "room"}, nil)
		found := make(chan *sighting)
		go func() {
			s, err := e.find(t, time.Minute, "room", nil)
			if err != nil {
				t.Error(err)
			}
			found <- s
		}()
		time.Sleep(30 * time.Millisecond)
		stop()
		defer e.announce(t, "10.0.0.1", announcement{session: 8, port: 7000, name: "room"}, nil)()
		if s := <-found; s == nil || s.session != 8 {
			t.Errorf("findSession = %v, want session 8", s)
		}
	})
}

func TestFindSessionKey(t *testing.T) {
	key, other := keyOf("correct horse battery"), keyOf("incorrect horse battery")
	tests := []struct {
		name         string
		theirs, mine []byte
		want         bool
	}{
		{"same key", key, key, true},
		{"another key", other, key, false},
		{"sender without key", nil, key, false},
		{"receiver without key", key, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &ether{}
				defer e.announce(t, "10.0.0.1", announcement{session: 7, port: 7000, keyed: tt.theirs != nil}, tt.theirs)()
				s, err := e.find(t, 10*time.Second, "", tt.mine)
				if found := s != nil; found != tt.want || !found && !errors.Is(err, ErrNoSession) {
					t.Errorf("findSession = %v, %v, want found %v", s, err, tt.want)
				}
			})
		})
	}
}

func TestFindSessionNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ether{}
		start := time.Now()
		if _, err := e.find(t, 10*time.Minute, "room", nil); !errors.Is(err, ErrNoSession) || time.Since(start) != 10*time.Minute {
			t.Errorf("findSession = %v after %v, want ErrNoSession after 10m", err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := findSession(ctx, e.air("10.0.0.99"), "", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("findSession = %v, want that it was cancelled", err)
		}
	})
}

// TestAnnouncerFlood asks a thousand times a second and sends rubbish.
func TestAnnouncerFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ether{}
		defer e.announce(t, "10.0.0.1", announcement{session: 7, port: 7000}, nil)()
		air := e.air("10.0.0.66")
		query := announcement{query: true}.append(nil, nil)
		for range 3000 {
			air.send(query)
			air.send([]byte("rubbish"))
			time.Sleep(time.Millisecond)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if n := len(e.sent); n < 30 || n > 60 {
			t.Errorf("%d announcements in 3 s, want 30 to 60", n)
		}
	})
}

// TestAnnouncerUpdate shows that announcements tell the present state.
func TestAnnouncerUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ether{}
		ctx, cancel := context.WithCancel(t.Context())
		a := newAnnouncer(e.air("10.0.0.1"), announcement{session: 7, port: 7000}, nil, slog.New(slog.DiscardHandler))
		a.update(true, 40)
		go a.run(ctx)
		got, err := parseAnnouncement((<-e.air("10.0.0.2").hear()).p, nil)
		if err != nil || !got.sending || got.receivers != 40 {
			t.Errorf("heard %+v, %v, want that it is sending to 40", got, err)
		}
		cancel()
		synctest.Wait()
	})
}
