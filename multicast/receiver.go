package multicast

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// A Receiver takes part in one session. Set its fields, then call Run, once.
type Receiver struct {
	Sink Sink

	Session     string // name; empty takes the only one there is
	From        string // address, or address and port, of the sender; empty finds it by announcements
	Key         string // of the session; empty for none
	Fingerprint []byte // SHA-256 of the sender's certificate; nil takes any
	Interface   string // name; empty chooses one
	Unicast     bool   // does without multicast

	ID     string // stable name of this machine, such as a MAC address; one receiver for each
	Name   string // of this machine, for people
	Target string // for people

	Memory  int64         // for frames on their way, in bytes; 0 is 128 MiB
	Workers int           // that put frames, 0 is one for each processor
	Wait    time.Duration // how long to look for a session; 0 is ten minutes
	Retry   time.Duration // how long to look for a sender that was lost; 0 is two minutes
	Log     *slog.Logger  // nil for silence

	// Confirm is called once with what the sender offers, before the Sink is
	// touched. An error ends the receiver. nil takes all.
	Confirm func(ctx context.Context, o Offer) error

	// Watch is called when something changes that people wait for, and once a
	// second, from one goroutine. nil is allowed.
	Watch func(Progress)

	ports *ports // nil for that of the kernel
}

// An Offer is what a sender has.
type Offer struct {
	Session     uint64
	Name        string
	Host        string // name of the sender
	From        netip.AddrPort
	Title       string // of the content
	Digest      []byte // that names the content
	Frames      int
	Bytes       int64 // of all frames
	Annex       Annex // what else there is, its About as the sender has it
	Fingerprint [32]byte
	Keyed       bool // both ends have proved that they know the key
}

// Progress is what a receiver is doing.
type Progress struct {
	State     State  // Joining, Ready, Receiving, Behind, Fetching, Done, Lost
	Waiting   string // what it is waiting for, for people; empty if for nothing
	Lacked    int    // frames that were lacking when it joined
	Got       int    // of these, how many are on the disk
	Written   int64  // bytes of frames
	Datagrams int64  // taken
	Missed    int64  // that were sent and never came
	Dropped   int64  // because of their form or seal, or because they came again
	Repaired  int64  // symbols that were computed from parity
	Fetched   int64  // bytes by HTTPS
	Receivers int    // of the session
	Buffer    int    // bytes of socket buffer that the kernel gave
	Offload   string // gro, batch or single
}

// Errors that Run returns, wrapped.
var (
	ErrNoSession = errors.New("no session found")           // or no sender any more
	ErrDropped   = errors.New("given up by the sender")     // the reason follows
	ErrRefused   = errors.New("the sender is not the one")  // key, fingerprint
	ErrAmbiguous = errors.New("more than one session fits") // names follow
)

// Run finds the session and takes part in it until all that the Sink lacks is
// in its place. It returns the last progress in any case.
func (r *Receiver) Run(ctx context.Context) (Progress, error) {
	x, err := newReception(ctx, r)
	if err != nil {
		return Progress{}, err
	}
	defer x.hangUp()
	wctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { x.work(wctx) })
	running.Go(func() { x.watch(wctx) })
	err = x.settle(ctx, x.visits(ctx))
	cancel()
	running.Wait()
	return x.snapshot(), err
}

// visits visits the sender, again if it was lost, until the reception ends or
// no sender has been of any use for too long. It returns why there will be no
// further visit.
func (x *reception) visits(ctx context.Context) error {
	patience, since, wait := x.wait(), time.Now(), fetchPause
	for {
		conn, from, err := x.connect(x.calling, patience-time.Since(since))
		if err != nil {
			return err
		}
		began, got := time.Now(), x.snapshot().Got
		err = x.visit(ctx, conn, from)
		switch {
		case x.hasEnded():
			return x.final
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrDropped), errors.Is(err, ErrRefused):
			return err
		}
		x.lose(err)
		if time.Since(began) > retryMax || x.snapshot().Got > got {
			patience, since, wait = x.retry(), time.Now(), fetchPause
		}
		pause(x.calling, wait/2+rand.N(wait/2))
		wait = min(2*wait, retryMax)
		if time.Since(since) >= patience {
			return fmt.Errorf("%w: %w", ErrNoSession, err)
		}
	}
}

// retryMax is the longest pause before a lost sender is called again.
const retryMax = 5 * time.Second

func (x *reception) hasEnded() bool {
	select {
	case <-x.finished:
		return true
	default:
		return false
	}
}

// lose notes that the sender is lost.
func (x *reception) lose(err error) {
	x.log.Warn("sender lost", "err", err)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.byHTTPS = false
	x.forgoLost()
	if x.stage == filling && x.busy {
		return // it is not needed any more
	}
	x.change(Lost, "the sender, which was lost: "+reasonOf(err))
}

// connect finds the session and connects to its sender, for so long at most.
func (x *reception) connect(ctx context.Context, patience time.Duration) (*tls.Conn, netip.AddrPort, error) {
	fctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wait := fetchPause
	var last error
	for {
		conn, from, err := x.tryConnect(fctx)
		switch {
		case err == nil:
			return conn, from, nil
		case ctx.Err() != nil:
			return nil, from, ctx.Err()
		case errors.Is(err, ErrRefused), errors.Is(err, ErrAmbiguous), errors.Is(err, ErrNoSession), errors.Is(err, errAddress):
			return nil, from, err
		case fctx.Err() != nil:
			if last == nil {
				last = err
			}
			return nil, from, fmt.Errorf("%w: %w", ErrNoSession, last)
		}
		last = err
		pause(fctx, wait)
		wait = min(2*wait, retryMax)
	}
}

// errAddress reports an address of a sender that is none.
var errAddress = errors.New("not an address")

// tryConnect tries once, where the sender is said to be or where its
// announcements come from.
func (x *reception) tryConnect(ctx context.Context) (*tls.Conn, netip.AddrPort, error) {
	if x.r.From != "" {
		from, err := parseFrom(x.r.From)
		if err != nil {
			return nil, from, err
		}
		return dialFirst(ctx, x.ports.connect, []netip.AddrPort{from}, x.r.Fingerprint)
	}
	b, err := x.ports.beacon(x.r.Interface, netip.Addr{})
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	defer b.close()
	s, err := findSession(ctx, b, x.name(), x.key)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	print := x.r.Fingerprint
	if print == nil {
		print = s.fingerprint[:]
	}
	return dialFirst(ctx, x.ports.connect, s.addrs, print)
}

// name returns that of the session to look for: once it was found, no other
// will do.
func (x *reception) name() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.offer != nil {
		return x.offer.name
	}
	return x.r.Session
}

// parseFrom reads the address of a sender, with or without a port.
func parseFrom(text string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a, nil
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %q; an IP address is needed, with or without a port", errAddress, text)
	}
	return netip.AddrPortFrom(a, discoveryPort), nil
}

// snapshot returns the progress.
func (x *reception) snapshot() Progress {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.progress
}

// watch calls Watch when something has changed, and once a second.
func (x *reception) watch(ctx context.Context) {
	if x.r.Watch == nil {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-x.changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		x.r.Watch(x.snapshot())
	}
}
