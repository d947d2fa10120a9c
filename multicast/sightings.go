package multicast

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Bounds of looking for a session.
const (
	settleTime   = 150 * time.Millisecond  // for a second session to be heard of
	gatherTime   = 10 * time.Millisecond   // for the other addresses of a session
	longTime     = 350 * time.Millisecond  // in which every session has answered the first queries
	forgetTime   = 2500 * time.Millisecond // of silence of one
	maxSightings = 64                      // sessions
	maxAddresses = 8                       // of a session
	maxOthers    = 8                       // sessions that do not fit, to tell of
)

// A sighting is a session that was heard of.
type sighting struct {
	announcement
	addrs       []netip.AddrPort // of the control channel, the best first
	first, last time.Time        // when it was heard
}

func (s *sighting) String() string {
	return fmt.Sprintf("%q (%q) at %v", s.name, s.title, s.addrs[0])
}

// Sightings are the sessions that a receiver has heard of. They decide which
// one it takes.
type sightings struct {
	began time.Time // when the receiver began to listen
	name  string    // that is wanted, or empty
	keyed bool      // the receiver has a key

	fit     []*sighting // in the order in which they were heard first
	others  []string    // why others do not fit
	strange int         // announcements without the right proof
}

// hear takes an announcement into account, which came from an address.
func (s *sightings) hear(a announcement, from netip.Addr, now time.Time) {
	if why := s.unfit(a); why != "" {
		if len(s.others) < maxOthers && !slices.Contains(s.others, why) {
			s.others = append(s.others, why)
		}
		return
	}
	i := slices.IndexFunc(s.fit, func(o *sighting) bool {
		return o.session == a.session && o.fingerprint == a.fingerprint
	})
	if i < 0 {
		if len(s.fit) == maxSightings {
			return
		}
		i = len(s.fit)
		s.fit = append(s.fit, &sighting{first: now})
	}
	s.fit[i].announcement, s.fit[i].last = a, now
	s.fit[i].reach(netip.AddrPortFrom(from, a.port))
}

// unfit returns why a session is not the one that is wanted.
func (s *sightings) unfit(a announcement) string {
	switch {
	case s.name != "" && a.name != s.name:
		return fmt.Sprintf("%q", a.name)
	case a.keyed && !s.keyed:
		return fmt.Sprintf("%q, which needs a key", a.name)
	}
	return ""
}

// reach adds an address by which a session can be reached: those of IPv4 first,
// then those of IPv6 that every machine on the wire can use.
func (s *sighting) reach(addr netip.AddrPort) {
	if len(s.addrs) == maxAddresses || slices.Contains(s.addrs, addr) {
		return
	}
	s.addrs = append(s.addrs, addr)
	slices.SortStableFunc(s.addrs, func(a, b netip.AddrPort) int { return rank(a.Addr()) - rank(b.Addr()) })
}

func rank(a netip.Addr) int {
	switch {
	case a.Is4():
		return 0
	case a.IsLinkLocalUnicast():
		return 1
	}
	return 2
}

// settles returns when a choice can be made first, or zero if nothing fits. A
// receiver that has listened for long would have heard of a second one.
func (s *sightings) settles() time.Time {
	if len(s.fit) == 0 {
		return time.Time{}
	}
	first := s.fit[0].first
	if first.Sub(s.began) >= longTime {
		return first.Add(gatherTime)
	}
	return first.Add(settleTime)
}

// choose returns the session to take, or nil if that is not known yet. Two that
// were both heard after the newer one began are an error that wraps
// [ErrAmbiguous]. Otherwise the older one may be what the newer one was before
// its sender was started again, so its silence is waited for.
func (s *sightings) choose(now time.Time) (*sighting, error) {
	s.fit = slices.DeleteFunc(s.fit, func(o *sighting) bool { return now.Sub(o.last) > forgetTime })
	if len(s.fit) == 0 || now.Before(s.settles()) {
		return nil, nil
	}
	newest := s.fit[len(s.fit)-1]
	for _, o := range s.fit[:len(s.fit)-1] {
		if !o.last.After(newest.first) {
			return nil, nil
		}
	}
	if len(s.fit) > 1 {
		return nil, s.ambiguous()
	}
	return newest, nil
}

func (s *sightings) ambiguous() error {
	var names []string
	for _, o := range s.fit[:min(len(s.fit), maxOthers)] {
		names = append(names, o.String())
	}
	return fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(names, ", "))
}

// none returns an error that wraps [ErrNoSession] and tells what was heard.
func (s *sightings) none() error {
	var heard []string
	if len(s.others) > 0 {
		heard = append(heard, "there is "+strings.Join(s.others, ", "))
	}
	if s.strange > 0 {
		heard = append(heard, fmt.Sprintf("%d announcements with another key or none", s.strange))
	}
	if s.name != "" {
		heard = append([]string{fmt.Sprintf("wanted %q", s.name)}, heard...)
	}
	if len(heard) == 0 {
		return ErrNoSession
	}
	return fmt.Errorf("%w: %s", ErrNoSession, strings.Join(heard, "; "))
}
