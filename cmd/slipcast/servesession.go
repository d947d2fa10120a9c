package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"slipcast/agent/wire"
	"slipcast/fleet"
	"slipcast/image"
	"slipcast/multicast"
)

// serveSessions are the sessions that serve runs: one for each batch of jobs
// whose machines are under way. It is safe for concurrent use.
type serveSessions struct {
	open    func(ref string) (im *image.Image, closer func() error, err error) // an image of the store
	annex   func(ctx context.Context, cargo fleet.Cargo) (*imageAnnex, error)  // what comes behind an image
	key     *serverKey
	address netip.Addr // ours, where receivers find the sender
	iface   string
	rate    int64         // cap in bits per second, 0 for the link's
	gather  time.Duration // how long a session waits for its machines
	log     *slog.Logger

	mu      sync.Mutex
	running map[string]*serveSession // by batch
	closed  bool
	wait    sync.WaitGroup
}

// A serveSession is one session under way.
type serveSession struct {
	sender *multicast.Sender
	cancel context.CancelFunc
}

// Session returns where a batch gets its cargo from. It starts a session if
// there is none, which waits for the machines of room.
func (s *serveSessions) Session(ctx context.Context, batch string, cargo fleet.Cargo, room fleet.Room) (wire.Session, error) {
	name := "batch-" + batch
	told := wire.Session{Name: name, From: s.address.String(), Key: s.key.session(name)}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return wire.Session{}, errors.New("the server is going down")
	case s.running[batch] != nil:
		return told, nil
	}
	im, closer, err := s.open(cargo.Image.Ref)
	if err != nil {
		return wire.Session{}, err
	}
	source, err := newImageSource(im)
	if err != nil {
		return wire.Session{}, errors.Join(err, closer())
	}
	source.annex = s.annexed(ctx, cargo, room)
	closeAll := func() error { return errors.Join(closer(), source.annex.Close()) }
	s.start(ctx, batch, closeAll, &multicast.Sender{
		Source: source, Name: name, Title: shorten(plain(cargo.Image.Ref, longestName), longestSession), Digest: im.Digest[:], Annex: source.annex.about(),
		Host: hostName(), Key: told.Key, Interface: s.iface,
		Rate: s.rate, Wait: max(room.Booting+room.AtWork, 1), StartAfter: s.patience(room), Log: s.log.With("session", name),
	})
	return told, nil
}

// annexed returns what comes behind the image: nothing if only one machine wants
// it, which fetches just what it lacks. Without it the session is no worse than
// any, so an error is logged.
func (s *serveSessions) annexed(ctx context.Context, cargo fleet.Cargo, room fleet.Room) *imageAnnex {
	if s.annex == nil || len(cargo.Apply) == 0 || room.Booting+room.AtWork < 2 {
		return nil
	}
	annex, err := s.annex(ctx, cargo)
	if err != nil {
		s.log.Warn("no bundle comes with the image, but by HTTPS", "image", cargo.Image.Ref, "err", err)
		return nil
	}
	if annex != nil {
		s.log.Info("bundles come with the image", "image", cargo.Image.Ref, "files", len(annex.files), "frames", annex.frames())
	}
	return annex
}

// patience returns how long a session waits for its machines. Where all of them
// are at work already, as after a restart of the server, some may have got all
// and never come.
func (s *serveSessions) patience(room fleet.Room) time.Duration {
	gather := cmp.Or(s.gather, defaultGather)
	if room.Booting == 0 {
		return min(gather, reunion)
	}
	return gather
}

// reunion is how long a session waits for machines that are all there: they
// look for a sender that they have lost every few seconds.
const reunion = 45 * time.Second

// defaultGather is how long a session waits for machines that are still
// booting.
const defaultGather = 3 * time.Minute

// start runs a session in the background until it is over. A machine that
// comes later starts the next one.
func (s *serveSessions) start(ctx context.Context, batch string, closer func() error, sender *multicast.Sender) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // of a request, which ends before the session
	running := &serveSession{sender, cancel}
	s.running[batch] = running
	s.wait.Add(1)
	go func() { // awaited by Close
		defer s.wait.Done()
		defer cancel()
		s.log.Info("session starts", "session", sender.Name, "image", sender.Title, "machines", sender.Wait)
		err := errors.Join(sender.Serve(ctx), closer())
		s.mu.Lock()
		if s.running[batch] == running {
			delete(s.running, batch)
		}
		s.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			s.log.Warn("session ended", "session", sender.Name, "err", err)
			return
		}
		s.log.Info("session is over", "session", sender.Name)
	}()
}

// Over ends the session of a batch that has no job under way any more.
func (s *serveSessions) Over(batch string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if running := s.running[batch]; running != nil {
		running.cancel()
	}
}

// Status returns what the session of a batch is doing, and whether there is
// one.
func (s *serveSessions) Status(batch string) (multicast.Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	running := s.running[batch]
	if running == nil {
		return multicast.Status{}, false
	}
	return plainStatus(running.sender.Status()), true
}

// Close ends all sessions, and returns when they have ended.
func (s *serveSessions) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, running := range s.running {
		running.cancel()
	}
	s.mu.Unlock()
	s.wait.Wait()
	return nil
}

// newServeSessions returns the sessions of a server.
func newServeSessions(key *serverKey, log *slog.Logger) *serveSessions {
	return &serveSessions{key: key, log: log, running: map[string]*serveSession{}}
}
