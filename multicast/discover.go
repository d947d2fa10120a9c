package multicast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// Where announcements and queries go, section 9.
const discoveryPort = 7780

// A heard is a datagram on the discovery port.
type heard struct {
	p    []byte
	from netip.Addr
}

// An air carries announcements and queries to all who listen. It is a [beacon]
// but in tests.
type air interface {
	// send sends a datagram to all, the sender's own machine included.
	send(p []byte) error

	// hear returns where datagrams come out. What nobody takes in time is lost.
	hear() <-chan heard
}

// An announcer tells of a session.
type announcer struct {
	air air
	key []byte
	log *slog.Logger

	mu sync.Mutex
	a  announcement
}

// newAnnouncer returns an announcer of the session in a. key is nil or that of
// the session.
func newAnnouncer(air air, a announcement, key []byte, log *slog.Logger) *announcer {
	return &announcer{air: air, a: a, key: key, log: log}
}

// update changes what the next announcements say. It is safe for concurrent
// use.
func (a *announcer) update(sending bool, receivers int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.a.sending, a.a.receivers = sending, uint32(receivers)
}

// run announces until ctx ends. A network that does not work is logged when
// that begins: receivers may have been told the address.
func (a *announcer) run(ctx context.Context) {
	times := newCadence(time.Now())
	mute := false
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-a.air.hear():
			if a.isAsked(h.p) {
				times.hurry(time.Now())
			}
		case <-time.After(time.Until(times.next)):
			err := a.air.send(a.datagram())
			times.tick(time.Now())
			if err != nil && !mute {
				a.log.Warn("session cannot be announced", "err", err)
			}
			mute = err != nil
		}
	}
}

// isAsked returns whether p is a query that the session answers.
func (a *announcer) isAsked(p []byte) bool {
	q, err := parseAnnouncement(p, nil)
	return err == nil && q.query && (q.name == "" || q.name == a.a.name) // the name never changes
}

func (a *announcer) datagram() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.a.append(nil, a.key)
}

// findSession looks for the session with a name, or the only one if that is
// empty, until it is found, two fit, or ctx ends. key is nil or what the
// session must have. Errors wrap [ErrAmbiguous] or, when the deadline of ctx
// has passed, [ErrNoSession].
func findSession(ctx context.Context, air air, name string, key []byte) (*sighting, error) {
	seen := &sightings{began: time.Now(), name: name, keyed: key != nil}
	query := announcement{query: true, name: name}.append(nil, nil)
	times := newCadence(time.Now())
	var mute error
	for {
		select {
		case <-ctx.Done():
			return nil, notFound(ctx, seen, mute)
		case h := <-air.hear():
			seen.take(h, key, time.Now())
		case <-time.After(time.Until(times.next)):
			mute = air.send(query)
			times.tick(time.Now())
		case <-after(seen.settles()):
		}
		if s, err := seen.choose(time.Now()); s != nil || err != nil {
			return s, err
		}
	}
}

// take takes what was heard into account, if it is an announcement.
func (s *sightings) take(h heard, key []byte, now time.Time) {
	a, err := parseAnnouncement(h.p, key)
	switch {
	case errors.Is(err, errProof):
		s.strange++
	case err == nil && !a.query:
		s.hear(a, h.from, now)
	}
}

// after is [time.After] for a time; never for one that is zero or has passed.
func after(t time.Time) <-chan time.Time {
	if d := time.Until(t); d > 0 {
		return time.After(d)
	}
	return nil
}

// notFound returns why no session was found. mute is why the last query could not
// be sent.
func notFound(ctx context.Context, seen *sightings, mute error) error {
	switch {
	case !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ctx.Err()
	case mute != nil && len(seen.others) == 0 && seen.strange == 0:
		return fmt.Errorf("%w: %w", seen.none(), mute)
	}
	return seen.none()
}
