package multicast

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// losing returns a network that loses a part of what is sent to a machine.
func losing(part float64) func() bool {
	rng := rand.New(rand.NewPCG(7, 7))
	return func() bool { return rng.Float64() < part }
}

// watchStates returns the states that the sender saw of a receiver, when it is
// called again.
func (p *play) watchStates(id string) (seen func() []State) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	var states []State
	go func() {
		defer close(stopped)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, r := range p.sender.Status().Receivers {
				if r.ID == id && (len(states) == 0 || states[len(states)-1] != r.State) {
					states = append(states, r.State)
				}
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() []State { close(stop); <-stopped; return states }
}

// Each policy deals with a receiver that loses much more than the others, and
// these do not wait for it.
func TestStragglers(t *testing.T) {
	tests := []struct {
		policy Straggler
		state  State
		want   error // of the receiver
	}{
		{CatchUp, Behind, nil}, {Park, Behind, nil}, {Unicast, Fetching, nil}, {Drop, Failed, ErrDropped},
	}
	for _, tt := range tests {
		t.Run(string(tt.policy), func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, newTestSource(1, equalFrames(60, 1<<18)...))
				p.serve(func(s *Sender) { s.Wait, s.Straggler = 4, tt.policy })
				for range 3 {
					p.join(nil)
				}
				slow := p.join(func(r *Receiver, _ *testSink) { r.ports = p.net.ports(losing(0.4)) })
				states := p.watchStates("3")
				for _, r := range p.players[:3] {
					r.done(t)
					if r.took > 2500*time.Millisecond {
						t.Errorf("receiver %s took %v, want 2.5 s at most", r.ID, r.took)
					}
				}
				err := slow.wait(t)
				if !errors.Is(err, tt.want) {
					t.Errorf("Run of the slow one = %v, want %v", err, tt.want)
				}
				served := p.end()
				if tt.want == nil {
					slow.sink.check(t)
					if served != nil {
						t.Errorf("Serve = %v, want nil", served)
					}
				} else {
					checkFailed(t, served, "3")
				}
				if got := states(); !slices.Contains(got, tt.state) {
					t.Errorf("its states were %v, want %s among them", got, tt.state)
				}
				if n := len(p.sender.running.Load().lanes); n > maxLanes {
					t.Errorf("%d lanes, want %d at most", n, maxLanes)
				}
			})
		})
	}
}

// A receiver that falls behind while it still compares its disk, or before it
// has the preface, has its turn like any other.
func TestBehindTooSoon(t *testing.T) {
	for _, policy := range []Straggler{CatchUp, Park} {
		t.Run(string(policy), func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				source := newTestSource(1, equalFrames(30, 1<<18)...)
				source.preface = append(source.preface, make([]byte, 40*pieceSize)...)
				p := newPlay(t, source)
				p.serve(func(s *Sender) { s.Wait, s.Straggler = 3, policy })
				for range 2 {
					p.join(nil)
				}
				p.join(func(r *Receiver, _ *testSink) { r.ports = p.net.ports(losing(0.5)) })
				states := p.watchStates("2")
				if err := p.done(); err != nil {
					t.Errorf("Serve = %v, want nil", err)
				}
				got := states()
				if i, j := slices.Index(got, Behind), slices.Index(got, Ready); i < 0 || j >= 0 && j < i {
					t.Errorf("its states were %v, want behind before it is ready", got)
				}
			})
		})
	}
}

// Where multicast does not arrive, receivers fetch within 6 s; where it arrives
// after all, they take it.
func TestNoMulticast(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, newTestSource(1, equalFrames(100, 1<<18)...))
		p.serve(func(s *Sender) { s.Wait, s.Rate, s.MinRate = 2, 20e6, 5e6 })
		var deaf atomic.Bool
		deaf.Store(true)
		for range 2 {
			p.join(func(r *Receiver, _ *testSink) { r.ports = p.net.ports(deaf.Load) })
		}
		states := p.watchStates("1")
		time.Sleep(6 * time.Second)
		for _, r := range p.sender.Status().Receivers {
			if r.State != Fetching || !strings.Contains(r.Reason, "virtual0") {
				t.Errorf("receiver is %+v, want that it fetches since nothing arrives on virtual0", r)
			}
		}
		time.Sleep(3 * time.Second)
		deaf.Store(false)
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		for _, r := range p.players {
			if r.progress.Fetched == 0 {
				t.Errorf("receiver %s has fetched nothing", r.ID)
			}
		}
		if s := p.sender.Status(); s.Fetched == 0 {
			t.Error("the sender has given nothing")
		}
		t.Log(states())
	})
}

// One that is deaf among others fetches, and takes multicast when it comes.
func TestDeafAmongOthers(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, newTestSource(1, equalFrames(80, 1<<18)...))
		p.serve(func(s *Sender) { s.Wait, s.Rate = 2, 10e6 })
		var deaf atomic.Bool
		p.join(nil)
		p.join(func(r *Receiver, _ *testSink) { r.ports = p.net.ports(deaf.Load) })
		states := p.watchStates("1")
		time.Sleep(2 * time.Second)
		deaf.Store(true)
		time.Sleep(12 * time.Second)
		deaf.Store(false)
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		got := states()
		i := slices.Index(got, Fetching)
		if i < 0 || !slices.Contains(got[i:], Receiving) {
			t.Errorf("its states were %v, want that it fetches and then receives", got)
		}
		if r := p.players[1].progress; r.Fetched == 0 || r.Missed < 0 || r.Datagrams == 0 {
			t.Errorf("progress is %+v", r)
		}
	})
}

// A receiver that does without multicast is shown so.
func TestUnicastOnly(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serve(func(s *Sender) { s.Wait = 2 })
		p.join(nil)
		p.join(func(r *Receiver, _ *testSink) { r.Unicast = true })
		states := p.watchStates("1")
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		if got := states(); !slices.Contains(got, Fetching) || slices.Contains(got, Receiving) {
			t.Errorf("its states were %v, want that it fetches and never receives", got)
		}
	})
}

// A receiver that falls behind again and again, and has no frame more, is given
// up; one that has, is not.
func TestFallsAgain(t *testing.T) {
	m := &member{}
	for i := range maxFalls {
		if m.fallsAgain() {
			t.Errorf("given up after %d falls, want %d", i+1, maxFalls+1)
		}
	}
	m.done++
	if m.fallsAgain() {
		t.Error("given up although it had a frame more")
	}
	for range maxFalls - 1 {
		m.fallsAgain()
	}
	if !m.fallsAgain() {
		t.Errorf("not given up after %d falls", maxFalls+1)
	}
}

func TestWhyBehind(t *testing.T) {
	tests := []struct {
		loss float64
		want string
	}{
		{0.74, "it loses 74 % of what is sent"},
		{0.02, "it asks for far more repairs than the others"},
	}
	for _, tt := range tests {
		if got := (&lanePeer{loss: tt.loss}).whyBehind(); got != tt.want {
			t.Errorf("whyBehind at a loss of %g = %q, want %q", tt.loss, got, tt.want)
		}
	}
}
