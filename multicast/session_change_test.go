package multicast

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A moment is when so many frames were put.
type moment struct {
	frames atomic.Int64
	at     int64
	come   chan struct{}
	once   sync.Once
}

func newMoment(at int) *moment { return &moment{at: int64(at), come: make(chan struct{})} }

// put is for testSink.
func (m *moment) put(int) error {
	if m.frames.Add(1) >= m.at {
		m.once.Do(func() { close(m.come) })
	}
	return nil
}

// virtualSource has 40 frames, which take 0.85 s at 100 Mbit/s.
func virtualSource() *testSource { return newTestSource(1, equalFrames(40, 1<<18)...) }

// A sender that ends in the middle and starts again has the same receivers,
// which get each frame once.
func TestSenderStartsAgain(t *testing.T) {
	tests := []struct {
		name string
		mtu  int
		cut  func(p *play)
	}{
		{"stopped", 1500, func(p *play) { p.stop(); <-p.served; p.serve(func(s *Sender) { s.Wait = 2 }) }},
		{"stopped, another symbol size", 1200, func(p *play) {
			p.stop()
			<-p.served
			p.net.mtu = 1200
			p.serve(func(s *Sender) { s.Wait = 2 })
		}},
		{"cut off", 1500, func(p *play) { p.net.cut() }},
		{"away for a minute", 1500, func(p *play) {
			p.stop()
			<-p.served
			time.Sleep(time.Minute)
			p.serve(func(s *Sender) { s.Wait = 2 })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serve(func(s *Sender) { s.Wait = 2 })
				half := newMoment(20)
				for range 2 {
					p.join(func(_ *Receiver, sink *testSink) { sink.put = half.put })
				}
				<-half.come
				tt.cut(p)
				if err := p.done(); err != nil {
					t.Errorf("Serve = %v, want nil", err)
				}
				if n := half.frames.Load(); n != 80 {
					t.Errorf("%d frames were put, want 80", n)
				}
			})
		})
	}
}

// Receivers do not go on with a sender that starts again with other content,
// nor wait for one for ever.
func TestSenderDoesNotStartAgain(t *testing.T) {
	tests := []struct {
		name string
		then func(p *play)
		want error
		most time.Duration
	}{
		{"other content", func(p *play) { p.source = newTestSource(2, equalFrames(41, 1<<18)...); p.serve(nil) }, ErrRefused, 10 * time.Second},
		{"never", func(*play) {}, ErrNoSession, 2*time.Minute + 10*time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serve(nil)
				half := newMoment(20)
				r := p.join(func(_ *Receiver, sink *testSink) { sink.put = half.put })
				<-half.come
				p.stop()
				if err := <-p.served; !errors.Is(err, context.Canceled) {
					t.Errorf("Serve = %v, want that it was cancelled", err)
				}
				stopped := time.Now()
				tt.then(p)
				if err := r.wait(t); !errors.Is(err, tt.want) || time.Since(stopped) > tt.most {
					t.Errorf("Run = %v after %v, want %v after %v at most", err, time.Since(stopped), tt.want, tt.most)
				}
				p.stop()
			})
		})
	}
}

// A receiver that has all needs no sender any more.
func TestSenderEndsBeforeFinish(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serve(nil)
		flushing, flushed := make(chan struct{}), make(chan struct{})
		r := p.join(func(_ *Receiver, sink *testSink) {
			sink.finish = func(ctx context.Context) error {
				close(flushing)
				select {
				case <-flushed:
				case <-ctx.Done():
				}
				return ctx.Err()
			}
		})
		<-flushing
		p.stop()
		<-p.served
		time.Sleep(time.Hour) // far longer than any sender is looked for
		close(flushed)
		r.done(t)
	})
}

// A receiver that is killed does not disturb the others; the sender waits for
// it for a while, and says who failed.
func TestReceiverKilled(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serve(func(s *Sender) { s.Wait = 3 })
		half := newMoment(60)
		for range 3 {
			p.join(func(_ *Receiver, sink *testSink) { sink.put = half.put })
		}
		<-half.come
		p.players[1].kill()
		if err := p.players[1].wait(t); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want that it was cancelled", err)
		}
		killed := time.Now()
		p.players[0].done(t)
		p.players[2].done(t)
		if d := time.Since(killed); d > time.Second {
			t.Errorf("the others were done after %v, want 1 s at most", d)
		}
		err := p.end()
		if d := time.Since(killed); d < giveUp || d > giveUp+time.Second {
			t.Errorf("Serve ended after %v, want %v", d, giveUp)
		}
		checkFailed(t, err, "1")
	})
}

// checkFailed checks that a session has ended without one receiver.
func checkFailed(t *testing.T, err error, id string) {
	t.Helper()
	var incomplete *IncompleteError
	if !errors.As(err, &incomplete) || len(incomplete.Failed) != 1 || incomplete.Failed[0].ID != id || incomplete.Failed[0].Reason == "" {
		t.Errorf("Serve = %+v, want that receiver %s failed", err, id)
	}
}

// A receiver that starts again lacks the rest only.
func TestReceiverStartsAgain(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serve(nil)
		half := newMoment(20)
		first := p.join(func(_ *Receiver, sink *testSink) { sink.put = half.put })
		<-half.come
		first.kill()
		first.wait(t)
		got := first.sink.got
		p.players = nil
		p.join(func(r *Receiver, sink *testSink) {
			sink.has = func(n int) bool { return got[n] > 0 }
		})
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		if s := p.sender.Status().Receivers; len(s) != 1 || s[0].Lacked != 40-len(got) || s[0].Rate < 0 {
			t.Errorf("receivers are %+v, want one that lacked %d", s, 40-len(got))
		}
	})
}

// Receivers with different disks, one of which lacks nothing and one of which
// comes late, cost what they lack together.
func TestUnion(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serve(func(s *Sender) { s.Wait = 3 })
		quarter := newMoment(5)
		for i := range 3 {
			p.join(func(_ *Receiver, sink *testSink) {
				sink.put = quarter.put
				sink.has = func(n int) bool { return i == 0 || n%4 != i }
			})
		}
		p.players[0].done(t)
		<-quarter.come
		p.join(func(_ *Receiver, sink *testSink) { sink.has = func(n int) bool { return n != 1 && n != 3 } })
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		union := (21 + 1) * ((1 << 18) + 1400) / 1440 // frames 1 mod 4 and 2 mod 4, 3, and perhaps 1 again
		if s := p.sender.Status(); s.Sent > int64(union)*12/10 {
			t.Errorf("%d datagrams were sent, want %d", s.Sent, union)
		}
	})
}

// Sessions begin and end by their rules.
func TestSessionRules(t *testing.T) {
	tests := []struct {
		name      string
		set       func(s *Sender)
		receivers int
		then      func(p *play)
		want      error
		least     time.Duration
		most      time.Duration
	}{
		{"nobody", func(s *Sender) { s.StartAfter = time.Minute }, 0, nil, ErrNobody, time.Minute, time.Minute + time.Second},
		{"nobody, by default", nil, 0, nil, ErrNobody, 10 * time.Minute, 10*time.Minute + time.Second},
		{"too few", func(s *Sender) { s.Wait, s.StartAfter = 3, time.Minute }, 2, nil, nil, time.Minute, time.Minute + 3*time.Second},
		{"asked to start", func(s *Sender) { s.Wait = 3 }, 2, func(p *play) { synctest.Wait(); p.sender.Start() }, nil, 0, 3 * time.Second},
		{"settling", func(s *Sender) { s.Settle = 7 * time.Second }, 1, nil, nil, 7 * time.Second, 10 * time.Second},
		{"lingering", func(s *Sender) { s.Linger = 20 * time.Second }, 1, nil, nil, 20 * time.Second, 23 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serve(tt.set)
				began := time.Now()
				for range tt.receivers {
					p.join(nil)
				}
				if tt.then != nil {
					tt.then(p)
				}
				err := p.done()
				if d := time.Since(began); !errors.Is(err, tt.want) || d < tt.least || d > tt.most {
					t.Errorf("Serve = %v after %v, want %v after %v to %v", err, d, tt.want, tt.least, tt.most)
				}
			})
		})
	}
}

// A first receiver that lacks nothing does not end the session before the
// others of its room have come.
func TestFirstLacksNothing(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serve(func(s *Sender) { s.Settle = 5 * time.Second })
		p.join(func(_ *Receiver, sink *testSink) { sink.has = func(int) bool { return true } })
		p.players[0].done(t)
		time.Sleep(3 * time.Second)
		p.join(nil)
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}
