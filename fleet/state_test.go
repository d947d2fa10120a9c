package fleet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// after returns the time so many minutes after noon.
func after(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

// The arrows of docs/boot.md, section 7. All windows are from noon for an hour.
func TestCourse(t *testing.T) {
	offer := func(at int) step { return step{"offer", at} }
	hello := func(at int) step { return step{"hello", at} }
	done, failed := func(at int) step { return step{"done", at} }, func(at int) step { return step{"failed", at} }
	cancel, retry := func(at int) step { return step{"cancel", at} }, func(at int) step { return step{"retry", at} }
	look := func(at int) step { return step{"sweep", at} }
	tests := []struct {
		name  string
		steps []step
		want  string // state, offers, attempts, whether the machine boots the agent, error of the last step
	}{
		{"new", []step{look(1)}, "pending 0 0 agent"},
		{"too early", []step{look(-1)}, "pending 0 0 local"},
		{"offer too early", []step{offer(-1)}, "pending 0 0 local: its time has not come"},
		{"hello too early", []step{hello(-1)}, "pending 0 0 local: its time has not come"},
		{"window passed", []step{look(60)}, "cancelled 0 0 local"},
		{"hello after the window", []step{hello(60)}, "pending 0 0 local: taking a job that is cancelled"},
		{"offered", []step{offer(1)}, "offered 1 0 agent"},
		{"offered, then the window passes", []step{offer(59), look(60)}, "cancelled 1 0 local"},
		{"ten minutes, no hello", []step{offer(1), look(11)}, "pending 1 0 agent"},
		{"just before", []step{offer(1), step{"sweep", 10}}, "offered 1 0 agent"},
		{"three offers", []step{offer(1), offer(2), offer(3)}, "offered 3 0 agent"},
		{"three offers, a minute later", []step{offer(1), offer(2), offer(3), look(4)}, "offered 3 0 local"},
		{"a fourth", []step{offer(1), offer(2), offer(3), offer(5)}, "failed 3 0 local"},
		{"three offers, ten minutes", []step{offer(1), offer(2), offer(3), look(13)}, "failed 3 0 local"},
		{"hello after the third", []step{offer(1), offer(2), offer(3), hello(9)}, "working 0 1 agent"},
		{"taken", []step{offer(1), hello(2)}, "working 0 1 agent"},
		{"taken without an offer", []step{hello(2)}, "working 0 1 agent"},
		{"goes on after the window", []step{hello(2), look(600)}, "working 0 1 agent"},
		{"asked for while it works", []step{offer(1), hello(2), offer(2)}, "working 0 1 agent: the machine's agent is at work"},
		{"not heard of for a week", []step{hello(2), look(2 + 7*24*60)}, "failed 0 1 local"},
		{"just before a week", []step{hello(2), look(1 + 7*24*60)}, "working 0 1 agent"},
		{"the clock goes back", []step{hello(2), offer(-500), hello(-499)}, "working 0 2 agent"},
		{"taken again after the window", []step{hello(2), offer(599), hello(600)}, "working 0 2 agent"},
		{"cut short three times", []step{hello(1), hello(2), hello(3), hello(4)}, "failed 0 3 local"},
		{"switched off and never up again", []step{hello(1), offer(2), offer(3), offer(4), offer(6)}, "failed 3 1 local"},
		{"the same, without a fourth", []step{hello(1), offer(2), offer(3), offer(4), look(14)}, "failed 3 1 local"},
		{"one offer while it works", []step{hello(1), offer(2), look(30)}, "working 1 1 agent"},
		{"done", []step{hello(1), done(5)}, "done 0 1 local"},
		{"done twice", []step{hello(1), done(5), done(6)}, "done 0 1 local: a job that is done is reported done"},
		{"offered when done", []step{hello(1), done(5), offer(6)}, "done 0 1 local: offering a job that is done"},
		{"taken when done", []step{hello(1), done(5), hello(6)}, "done 0 1 local: taking a job that is done"},
		{"failed", []step{hello(1), failed(5)}, "failed 0 1 local"},
		{"done before it was taken", []step{offer(1), done(2)}, "offered 1 0 agent: a job that is offered is reported done"},
		{"cancelled", []step{cancel(1)}, "cancelled 0 0 local"},
		{"cancelled at work", []step{hello(1), cancel(2)}, "cancelled 0 1 local"},
		{"done, though cancelled", []step{hello(1), cancel(2), done(3)}, "cancelled 0 1 local: a job that is cancelled is reported done"},
		{"cancelled when done", []step{hello(1), done(2), cancel(3)}, "done 0 1 local: cancelling a job that is done"},
		{"tried again", []step{hello(1), failed(2), retry(90)}, "pending 0 0 agent"},
		{"tried again, the new window passes", []step{cancel(1), retry(90), look(150)}, "cancelled 0 0 local"},
		{"tried again when done", []step{hello(1), done(2), retry(3)}, "done 0 1 local: trying again a job that is done"},
		{"tried again when pending", []step{retry(3)}, "pending 0 0 agent: trying again a job that is pending"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := course{State: Pending, NotBefore: noon, NotAfter: after(60)}
			var err error
			var at time.Time
			for _, s := range tt.steps {
				at = after(s.minute)
				c, err = s.do(c, at)
			}
			if got := show(c, at, err); got != tt.want && got != tt.want+": "+ErrState.Error() {
				t.Errorf("%v = %q, want %q", tt.steps, got, tt.want)
			}
		})
	}
}

// A step is what happens to a job, so many minutes after noon.
type step struct {
	what   string
	minute int
}

func (s step) do(c course, at time.Time) (course, error) {
	switch s.what {
	case "offer":
		return keepOld(c)(c.offer(at))
	case "hello":
		return keepOld(c)(c.hello(at))
	case "done":
		return keepOld(c)(c.finish(Done, "", at))
	case "failed":
		return keepOld(c)(c.finish(Failed, "it broke", at))
	case "cancel":
		return keepOld(c)(c.cancel("cancelled", at))
	case "retry":
		return keepOld(c)(c.retry(at))
	}
	return c.sweep(at), nil
}

// keepOld is what the database does: nothing is written if there is an error.
func keepOld(old course) func(course, error) (course, error) {
	return func(c course, err error) (course, error) {
		if err != nil {
			return old, err
		}
		return c, nil
	}
}

func show(c course, at time.Time, err error) string {
	boots := "local"
	if c.wantsAgent(at) {
		boots = "agent"
	}
	text := fmt.Sprintf("%s %d %d %s", c.State, c.Offers, c.Attempts, boots)
	if err != nil {
		text += ": " + err.Error()
	}
	return text
}

// Whatever happens in whatever order, the promises of docs/boot.md, section 7,
// are kept.
func TestCourseKeepsItsPromises(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 7))
	words := []string{"offer", "offer", "offer", "hello", "hello", "done", "failed", "cancel", "sweep", "sweep", "retry"}
	seen := map[State]int{}
	for range 20000 {
		runCourse(t, rng, words, seen)
		if t.Failed() {
			return
		}
	}
	for _, s := range []State{Pending, Offered, Working, Done, Failed, Cancelled} {
		if seen[s] < 1000 {
			t.Errorf("the model was %s %d times, want at least 1000: it shows little", s, seen[s])
		}
	}
}

func runCourse(t *testing.T, rng *rand.Rand, words []string, seen map[State]int) {
	c := course{State: Pending, NotBefore: noon, NotAfter: noon.Add(30 * time.Minute)}
	at := noon.Add(-5 * time.Minute)
	takes, offers, doneOnce := 0, 0, false // since the last retry; since the last hello
	var history []string
	for range 25 {
		at = at.Add(time.Duration(rng.IntN(600)) * time.Second / time.Duration(1+rng.IntN(5)))
		before := c
		s := step{what: words[rng.IntN(len(words))]}
		next, err := s.do(c, at)
		history = append(history, fmt.Sprintf("%s@%s=%s", s.what, at.Sub(noon), next.State))
		c = next
		seen[c.State]++
		switch {
		case err != nil && !errors.Is(err, ErrState) && !errors.Is(err, ErrWindow):
			t.Errorf("%v: %v", history, err)
		case err != nil:
		case s.what == "retry":
			takes, offers = 0, 0
		case s.what == "hello" && c.State == Working:
			takes, offers = takes+1, 0
			if before.State != Working && (at.Before(before.NotBefore) || !at.Before(before.NotAfter)) {
				t.Errorf("%v: first taken outside of its window", history)
			}
		case s.what == "offer" && c.State.Open():
			offers++
		}
		if doneOnce && c.State != Done {
			t.Errorf("%v: done, and now %s", history, c.State)
		}
		doneOnce = doneOnce || c.State == Done
		if takes > MaxAttempts || offers > MaxOffers {
			t.Errorf("%v: taken %d times, offered %d times", history, takes, offers)
		}
		if !c.State.Open() && c.wantsAgent(at) {
			t.Errorf("%v: %s, and the machine boots the agent", history, c.State)
		}
		if c.State == Pending && c.wantsAgent(at) && (at.Before(c.NotBefore) || !at.Before(c.NotAfter)) {
			t.Errorf("%v: pending outside of its window, and the machine boots the agent", history)
		}
		if c.sweep(at) != c.sweep(at).sweep(at) {
			t.Errorf("%v: a second sweep does something", history)
		}
	}
}
