package fleet

import (
	"errors"
	"fmt"
	"time"
)

// A State is how far a job is, docs/boot.md, section 7.
type State string

// The states of a job. The first three are open: a machine has at most one
// job in one of them.
const (
	Pending   State = "pending"   // waits for its machine
	Offered   State = "offered"   // the machine has fetched its archive
	Working   State = "working"   // the agent has taken it
	Done      State = "done"      //
	Failed    State = "failed"    //
	Cancelled State = "cancelled" // by somebody, or because its window has passed
)

// Open tells whether something may still happen to a job in this state.
func (s State) Open() bool { return s == Pending || s == Offered || s == Working }

const (
	// MaxOffers is how often a machine may fetch its archive in a row without
	// a hello.
	MaxOffers = 3

	// MaxAttempts is how often a job may be taken: once, and again each time
	// that it was cut short.
	MaxAttempts = 3

	// OfferLife is how long a job waits for a hello after its archive was
	// fetched.
	OfferLife = 10 * time.Minute

	// Window is how long a job waits for its machine, unless it says otherwise.
	Window = 8 * time.Hour

	// Unheard is how long a job is at work without a word of its agent before
	// it is given up. A server that was off over a weekend, or a holiday, goes
	// on with what is half done; the agent sees to it that no whole disk is written.
	Unheard = 7 * 24 * time.Hour

	// alive is how long after its agent's last word a machine is taken to be
	// up: that long nobody else gets its archive.
	alive = 10 * time.Second

	// sameBoot is how long after an offer a machine that asks is taken to be in
	// the same boot: that long it gets the same archive, docs/boot.md, section 4.
	sameBoot = time.Minute
)

var (
	// ErrState reports what cannot be done to a job in its state.
	ErrState = errors.New("not possible in this state")

	// ErrWindow reports a job whose time has not come.
	ErrWindow = errors.New("its time has not come")
)

// Why a job ended that nobody reported on.
const (
	neverCameUp  = "the machine fetched the boot environment three times and never came up"
	windowPassed = "the machine did not come in time"
	notHeardOf   = "nothing was heard of the machine for a week"
)

// A course is what the states of a job depend on. Its methods change nothing:
// they return what comes after. They take the time that has passed into
// account themselves, so that a late sweep does no harm.
type course struct {
	State     State
	Offers    int // since the last hello
	Attempts  int
	NotBefore time.Time
	NotAfter  time.Time // of the first hello, exclusive
	Offered   time.Time // the last one, zero if there is none since the last hello
	Heard     time.Time // the last hello or report, zero if there is none
	Ended     time.Time
	Error     string
}

// sweep returns what time has made of c.
func (c course) sweep(now time.Time) course {
	stale := c.Offers > 0 && !now.Before(c.Offered.Add(OfferLife))
	switch {
	case c.State == Offered && stale && c.Offers >= MaxOffers, c.State == Working && stale && c.Offers >= MaxOffers:
		return c.end(Failed, neverCameUp, c.Offered.Add(OfferLife))
	case c.State == Working && !now.Before(c.Heard.Add(Unheard)):
		return c.end(Failed, notHeardOf, c.Heard.Add(Unheard))
	case c.State != Pending && c.State != Offered:
		return c
	case !now.Before(c.NotAfter):
		return c.end(Cancelled, windowPassed, c.NotAfter)
	case c.State == Offered && stale:
		c.State = Pending
	}
	return c
}

// later returns the later of two times. A clock that is set back, as that of a
// server without a battery, makes nobody seem silent.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// end returns c in a final state.
func (c course) end(s State, why string, at time.Time) course {
	c.State, c.Error, c.Ended = s, why, at
	return c
}

// open tells whether the job may be started now, or has been.
func (c course) open(now time.Time) bool {
	c = c.sweep(now)
	return c.State == Offered || c.State == Working || c.State == Pending && !now.Before(c.NotBefore)
}

// wantsAgent tells whether the machine boots the agent rather than its disk.
func (c course) wantsAgent(now time.Time) bool {
	return c.open(now) && (c.Offers < MaxOffers || now.Before(c.Offered.Add(sameBoot)))
}

// offer returns c after the machine has fetched its archive.
func (c course) offer(now time.Time) (course, error) {
	c = c.sweep(now)
	switch {
	case !c.State.Open():
		return c, fmt.Errorf("offering a job that is %s: %w", c.State, ErrState)
	case !c.open(now):
		return c, ErrWindow
	case c.State == Working && !now.Before(c.Heard) && now.Before(c.Heard.Add(alive)):
		return c, fmt.Errorf("the machine's agent is at work: %w", ErrState)
	case c.Offers >= MaxOffers:
		return c.end(Failed, neverCameUp, now), nil
	}
	c.Offers, c.Offered = c.Offers+1, now
	if c.State == Pending {
		c.State = Offered
	}
	return c, nil
}

// hello returns c after the agent has asked for the job. It was given to it
// only if the state then is Working.
func (c course) hello(now time.Time) (course, error) {
	c = c.sweep(now)
	switch {
	case !c.State.Open():
		return c, fmt.Errorf("taking a job that is %s: %w", c.State, ErrState)
	case !c.open(now):
		return c, ErrWindow
	case c.Attempts >= MaxAttempts:
		return c.end(Failed, fmt.Sprintf("cut short %d times", c.Attempts), now), nil
	}
	c.State, c.Attempts, c.Offers, c.Offered, c.Heard = Working, c.Attempts+1, 0, time.Time{}, later(c.Heard, now)
	return c, nil
}

// finish returns c after the agent has reported the end; why is empty unless
// it failed.
func (c course) finish(s State, why string, now time.Time) (course, error) {
	c = c.sweep(now)
	if c.State != Working || s != Done && s != Failed {
		return c, fmt.Errorf("a job that is %s is reported %s: %w", c.State, s, ErrState)
	}
	return c.end(s, why, now), nil
}

// cancel returns c after somebody has cancelled the job.
func (c course) cancel(why string, now time.Time) (course, error) {
	c = c.sweep(now)
	if !c.State.Open() {
		return c, fmt.Errorf("cancelling a job that is %s: %w", c.State, ErrState)
	}
	return c.end(Cancelled, why, now), nil
}

// retry returns c as if it were new, with a window of the same length that
// opens now. A job that is done is not done again.
func (c course) retry(now time.Time) (course, error) {
	c = c.sweep(now)
	if c.State != Failed && c.State != Cancelled {
		return c, fmt.Errorf("trying again a job that is %s: %w", c.State, ErrState)
	}
	return course{State: Pending, NotBefore: now, NotAfter: now.Add(c.NotAfter.Sub(c.NotBefore))}, nil
}
