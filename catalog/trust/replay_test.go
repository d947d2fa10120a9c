package trust

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// ask gets a ticket of the catalog as it is now, signed by key, for the machine
// pc-1, and the options of a load that uses it.
func (s *shop) ask(key *SecretKey, change func(*Claims)) LoadOptions {
	s.t.Helper()
	c, err := s.repo.Catalog(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	nonce := NewNonce()
	claims := Claims{Nonce: nonce, Machine: "pc-1", Time: time.Now(), Versions: c.Versions, Job: "7"}
	if change != nil {
		change(&claims)
	}
	p, err := SignTicket(claims, key)
	if err != nil {
		s.t.Fatal(err)
	}
	return LoadOptions{Ticket: p, Nonce: nonce, Machine: "pc-1"}
}

// The switch of the replay tests: the same attack with and without the ticket. A
// machine without memory whose clock is right, or dead, takes a complete old
// catalog for a new one; the ticket is what refuses it.
func TestReplayOfWholeCatalog(t *testing.T) {
	for name, clock := range clocks() {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, 1, 1)
			s.offer("room@1")
			old := s.snap()
			s.offer("room@2")
			opt := s.ask(s.online, nil)

			c, err := s.loadDir(old, LoadOptions{Time: clock})
			switch {
			case name == "2036":
				if !errors.Is(err, ErrExpired) {
					t.Errorf("without a ticket, a clock that is ahead: %v, want ErrExpired", err)
				}
			case err != nil || ids(c) != "room@1" || c.Fresh:
				t.Errorf("without a ticket: %v, %v; want that the old catalog is taken, and that it is not called fresh", c, err)
			}

			opt.Time = clock
			if c, err := s.loadDir(old, opt); !errors.Is(err, ErrRollback) {
				t.Errorf("with a ticket the old catalog gives %v, %v; want ErrRollback", c, err)
			}
			c, err = s.loadDir(s.dir, opt)
			if err != nil || ids(c) != "room@1 room@2" || !c.Fresh {
				t.Errorf("with a ticket the new catalog gives %v, %v", c, err)
			}
		})
	}
}

// A part of an old catalog shown with the rest of a new one is refused by TUF,
// but for the timestamp, which brings all of the old one along.
func TestReplayOfOneFile(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	old := files(t, s.dir)
	s.offer("room@2")
	now := files(t, s.dir)
	opt := s.ask(s.online, nil)
	opt.Root = s.root
	for name, src := range map[string]mapSource{
		"timestamp":            now.with(timestampFile, old[timestampFile]),
		"snapshot":             now.with("3.snapshot.json", old["2.snapshot.json"]),
		"targets":              now.with("3.targets.json", old["2.targets.json"]),
		"targets and snapshot": now.with("3.targets.json", old["2.targets.json"]).with("3.snapshot.json", old["2.snapshot.json"]),
	} {
		c, err := Load(t.Context(), src, opt)
		if !errors.Is(err, ErrRollback) && !errors.Is(err, ErrMismatch) {
			t.Errorf("an old %s gives %v, %v; want ErrRollback or ErrMismatch", name, c, err)
		}
	}
}

// A mirror that stands still: its catalog expires where the clock is right, and is
// refused at once where there is a ticket.
func TestFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, 1, 1)
		s.offer("room@1")
		frozen := s.snap()
		time.Sleep(13 * day)
		if _, err := s.repo.Refresh(t.Context(), s.online); err != nil {
			t.Fatal(err)
		}
		if _, err := s.loadDir(frozen, LoadOptions{}); err != nil {
			t.Errorf("after 13 days: %v, want that TUF alone takes it", err)
		}
		if _, err := s.loadDir(frozen, s.ask(s.online, nil)); !errors.Is(err, ErrRollback) {
			t.Errorf("after 13 days with a ticket: %v, want ErrRollback", err)
		}
		time.Sleep(2 * day)
		if _, err := s.loadDir(frozen, LoadOptions{}); !errors.Is(err, ErrExpired) {
			t.Errorf("after 15 days: %v, want ErrExpired", err)
		}
		dead := LoadOptions{Time: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)} // before the time of synctest
		if _, err := s.loadDir(frozen, dead); err != nil {
			t.Errorf("after 15 days with a dead clock: %v, want that TUF alone takes it", err)
		}
		opt := s.ask(s.online, func(c *Claims) { c.Versions.Timestamp, c.Versions.Snapshot = 2, 2 })
		opt.Time = dead.Time
		if _, err := s.loadDir(frozen, opt); !errors.Is(err, ErrExpired) {
			t.Errorf("after 15 days with a dead clock and a ticket that asks for no more: %v, want ErrExpired", err)
		}
	})
}

// Every role expires on its own.
func TestExpiry(t *testing.T) {
	s := newShop(t, 1, 1)
	now := time.Now().Truncate(time.Second)
	for role, change := range map[string]func(f *forgery){
		"root":      func(f *forgery) { f.root.Signed.Expires = now },
		"targets":   func(f *forgery) { f.targets.Signed.Expires = now },
		"snapshot":  func(f *forgery) { f.snapshot.Signed.Expires = now },
		"timestamp": func(f *forgery) { f.timestamp.Signed.Expires = now },
	} {
		src := s.forge(change)
		opt := LoadOptions{Root: src["1.root.json"], Time: now}
		if _, err := Load(t.Context(), src, opt); err != nil {
			t.Errorf("%s: in its last second: %v", role, err)
		}
		opt.Time = now.Add(time.Second)
		if _, err := Load(t.Context(), src, opt); !errors.Is(err, ErrExpired) {
			t.Errorf("%s: a second later: %v, want ErrExpired", role, err)
		}
		c, err := Load(t.Context(), src, LoadOptions{Root: opt.Root, Time: opt.Time, Known: Versions{1, 1, 1, 1}})
		if err != nil || !c.Expired {
			t.Errorf("%s: a second later, known: %v, %v; want that it is taken, and called expired", role, c, err)
		}
		if _, err := Load(t.Context(), src, LoadOptions{Root: opt.Root, Time: opt.Time, Known: Versions{1, 1, 1, 2}}); !errors.Is(err, ErrExpired) {
			t.Errorf("%s: a second later, where another one is known: %v, want ErrExpired", role, err)
		}
	}
}

// Where there is no server, a dead clock does not make an old catalog young: it is
// at least as late as the program, and as the timestamp.
func TestNoServer(t *testing.T) {
	s := newShop(t, 1, 1)
	now := time.Now().Truncate(time.Second)
	dead := time.Date(2009, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		change func(f *forgery)
		opt    LoadOptions
		want   error
	}{
		"fine": {func(*forgery) {}, LoadOptions{NoServer: true, Time: dead}, nil},
		"targets were over when the timestamp was signed": {
			func(f *forgery) { f.targets.Signed.Expires = now.Add(-day) }, LoadOptions{NoServer: true, Time: dead}, ErrExpired,
		},
		"the same, and nobody says that there is no server": {
			func(f *forgery) { f.targets.Signed.Expires = now.Add(-day) }, LoadOptions{Time: dead}, nil,
		},
		"the timestamp was over when the program was built": {
			func(*forgery) {}, LoadOptions{NoServer: true, Time: dead, Built: now.Add(timestampLife + day)}, ErrExpired,
		},
		"the clock is later than both": {
			func(*forgery) {}, LoadOptions{NoServer: true, Time: now.Add(timestampLife + day)}, ErrExpired,
		},
	} {
		src := s.forge(tt.change)
		tt.opt.Root = src["1.root.json"]
		c, err := Load(t.Context(), src, tt.opt)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if err == nil && c.Fresh {
			t.Errorf("%s: it is called fresh", name)
		}
	}
}

func mustRefresh(t *testing.T, s *shop) Refreshed {
	t.Helper()
	done, err := s.repo.Refresh(t.Context(), s.online)
	if err != nil {
		t.Fatal(err)
	}
	return done
}
