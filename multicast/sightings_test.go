package multicast

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A sound is an announcement at a time.
type sound struct {
	at      int // milliseconds
	session uint64
	name    string
	keyed   bool
}

func TestSightingsChoose(t *testing.T) {
	tests := []struct {
		name     string
		wanted   string
		keyed    bool
		sounds   []sound
		at       int
		want     uint64 // session, 0 for none
		listened int    // before, in ms
		err      error
	}{
		{name: "nothing", at: 5000},
		{name: "too early", sounds: []sound{{0, 1, "room", false}}, at: 149},
		{name: "listened for a second", sounds: []sound{{0, 1, "room", false}}, at: 149, listened: 349},
		{name: "listened for long", sounds: []sound{{0, 1, "room", false}}, at: 10, listened: 350, want: 1},
		{name: "one", sounds: []sound{{0, 1, "room", false}}, at: 150, want: 1},
		{name: "one by name", wanted: "room", sounds: []sound{{0, 1, "lab", false}, {0, 2, "room", false}}, at: 150, want: 2},
		{name: "another name", wanted: "room", sounds: []sound{{0, 1, "lab", false}}, at: 150},
		{name: "needs a key", sounds: []sound{{0, 1, "room", true}}, at: 150},
		{name: "has the key", keyed: true, sounds: []sound{{0, 1, "room", true}}, at: 150, want: 1},
		{name: "two names", sounds: []sound{{0, 1, "lab", false}, {10, 2, "room", false}, {60, 1, "lab", false}}, at: 150, err: ErrAmbiguous},
		{name: "one name twice", wanted: "room", sounds: []sound{{0, 1, "room", false}, {10, 2, "room", false}, {60, 1, "room", false}}, at: 150, err: ErrAmbiguous},
		{name: "the older one not yet heard again", sounds: []sound{{0, 1, "room", false}, {10, 2, "room", false}}, at: 150},
		{name: "the older one silent for long", sounds: []sound{{0, 1, "room", false}, {10, 2, "room", false}, {2000, 2, "room", false}}, at: 2501, want: 2},
		{name: "forgotten", sounds: []sound{{0, 1, "room", false}}, at: 2501},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			s := &sightings{began: start.Add(-time.Duration(tt.listened) * time.Millisecond), name: tt.wanted, keyed: tt.keyed}
			for _, o := range tt.sounds {
				a := announcement{session: o.session, name: o.name, keyed: o.keyed, port: 7780}
				s.hear(a, netip.MustParseAddr("10.0.0.1"), start.Add(time.Duration(o.at)*time.Millisecond))
			}
			got, err := s.choose(start.Add(time.Duration(tt.at) * time.Millisecond))
			var session uint64
			if got != nil {
				session = got.session
			}
			if session != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("choose = session %d, %v, want %d, %v", session, err, tt.want, tt.err)
			}
		})
	}
}

func TestSightingsAmbiguousNames(t *testing.T) {
	start := time.Unix(1000, 0)
	s := &sightings{}
	for range 2 {
		s.hear(announcement{session: 1, name: "lab", title: "Debian", port: 7780}, netip.MustParseAddr("10.0.0.1"), start)
		start = start.Add(time.Millisecond)
		s.hear(announcement{session: 2, name: "room\n", title: "", port: 7781}, netip.MustParseAddr("fe80::1%eth0"), start)
		start = start.Add(time.Millisecond)
	}
	_, err := s.choose(start.Add(settleTime))
	want := `more than one session fits: "lab" ("Debian") at 10.0.0.1:7780, "room\n" ("") at [fe80::1%eth0]:7781`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestSightingsAddresses(t *testing.T) {
	s := &sightings{}
	for _, from := range []string{"fd00::1", "fe80::1%eth0", "10.0.0.1", "fe80::1%eth0", "10.0.0.2"} {
		s.hear(announcement{session: 1, port: 9}, netip.MustParseAddr(from), time.Unix(1000, 0))
	}
	var got []string
	for _, a := range s.fit[0].addrs {
		got = append(got, a.String())
	}
	if want := "10.0.0.1:9 10.0.0.2:9 [fe80::1%eth0]:9 [fd00::1]:9"; strings.Join(got, " ") != want {
		t.Errorf("addresses %v, want %s", got, want)
	}
}

// TestSightingsBound shows that strangers cannot fill the memory.
func TestSightingsBound(t *testing.T) {
	s := &sightings{name: "room"}
	addr := netip.MustParseAddr("10.0.0.1")
	for i := range uint64(1000) {
		s.hear(announcement{session: i + 1, name: "room", port: 1}, addr, time.Unix(1000, 0))
		s.hear(announcement{session: 1, name: "room", port: uint16(i + 1)}, addr, time.Unix(1000, 0))
		s.hear(announcement{session: 1, name: strings.Repeat("x", int(i%63)), port: 1}, addr, time.Unix(1000, 0))
	}
	if len(s.fit) > maxSightings || len(s.fit[0].addrs) > maxAddresses || len(s.others) > maxOthers {
		t.Errorf("%d sessions, %d addresses, %d others, want at most %d, %d, %d",
			len(s.fit), len(s.fit[0].addrs), len(s.others), maxSightings, maxAddresses, maxOthers)
	}
}

func TestSightingsNone(t *testing.T) {
	s := &sightings{name: "room"}
	addr := netip.MustParseAddr("10.0.0.1")
	s.hear(announcement{session: 1, name: "lab", port: 1}, addr, time.Unix(1000, 0))
	s.hear(announcement{session: 2, name: "room", keyed: true, port: 1}, addr, time.Unix(1000, 0))
	s.strange = 3
	want := `no session found: wanted "room"; there is "lab", "room", which needs a key; 3 announcements with another key or none`
	if err := s.none(); !errors.Is(err, ErrNoSession) || err.Error() != want {
		t.Errorf("none = %v, want %s", err, want)
	}
}
