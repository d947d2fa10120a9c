package multicast

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Contents of all shapes arrive.
func TestContents(t *testing.T) {
	tests := []struct {
		name   string
		source *testSource
		empty  bool // the preface is
	}{
		{"nothing at all", newTestSource(1), false},
		{"a preface alone", &testSource{preface: bytes.Repeat([]byte{1}, 3*pieceSize)}, false},
		{"frames without a preface", newTestSource(1, equalFrames(5, 1000)...), true},
		{"one byte each", newTestSource(1, equalFrames(300, 1)...), false},
		{"the longest frames", newTestSource(1, maxFrame, 1, maxFrame), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, tt.source)
				if tt.empty {
					tt.source.preface = nil
				}
				p.serve(func(s *Sender) { s.Rate = 1e9 })
				for range 2 {
					p.join(func(_ *Receiver, sink *testSink) { sink.blind = tt.name != "one byte each" })
				}
				if err := p.done(); err != nil {
					t.Errorf("Serve = %v, want nil", err)
				}
			})
		})
	}
}

// A session with very many frames reports them all.
func TestManyFrames(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, newTestSource(1, equalFrames(70000, 3)...))
		p.serve(func(s *Sender) { s.Rate = 1e9 })
		p.join(nil)
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		if d := p.players[0].took; d > 5*time.Second {
			t.Errorf("it took %v, want 5 s at most", d)
		}
	})
}

// Long names are cut, or refused where they mean something.
func TestLongNames(t *testing.T) {
	virtually(t, func(t *testing.T) {
		long := strings.Repeat("ä", 2000)
		p := newPlay(t, virtualSource())
		p.serve(func(s *Sender) { s.Title, s.Host = long, long })
		p.join(func(r *Receiver, _ *testSink) { r.ID, r.Name, r.Target = long, long, long })
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
	long := strings.Repeat("n", 200)
	if err := (&Sender{Name: long, Source: newTestSource(1)}).Serve(t.Context()); err == nil {
		t.Error("Serve of a session with a name of 200 bytes = nil")
	}
	for _, r := range []*Receiver{{ID: "a", Session: long}, {ID: ""}, {ID: "\xff"}, {ID: "a", Key: "short"}} {
		if _, err := r.Run(t.Context()); err == nil {
			t.Errorf("Run of %+v = nil", r)
		}
	}
}

// Disks and people take their time.
func TestSlow(t *testing.T) {
	slow := func(ctx context.Context) error {
		select {
		case <-time.After(10 * time.Minute):
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	tests := []struct {
		name string
		set  func(r *Receiver, sink *testSink)
	}{
		{"Confirm", func(r *Receiver, _ *testSink) {
			r.Confirm = func(ctx context.Context, _ Offer) error { return slow(ctx) }
		}},
		{"Prepare", func(_ *Receiver, sink *testSink) { sink.prepare = slow }},
		{"Finish", func(_ *Receiver, sink *testSink) { sink.finish = slow }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serve(nil)
				p.join(tt.set)
				for range 30 { // while it goes on, it is never lost
					time.Sleep(19 * time.Second)
					if s := p.sender.Status().Receivers; len(s) != 1 || s[0].State == Lost || s[0].State == Failed {
						t.Fatalf("receivers are %+v, want one", s)
					}
				}
				if err := p.done(); err != nil {
					t.Errorf("Serve = %v, want nil", err)
				}
			})
		})
		t.Run(tt.name+", cut off meanwhile", func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serve(nil)
				p.join(tt.set)
				time.Sleep(5 * time.Minute)
				p.net.cut()
				if err := p.done(); err != nil {
					t.Errorf("Serve = %v, want nil", err)
				}
			})
		})
	}
}

// A receiver whose disk or user never answers is given up at last.
func TestStalled(t *testing.T) {
	tests := []struct {
		name string
		set  func(r *Receiver, sink *testSink)
		most time.Duration
	}{
		{"Confirm", func(r *Receiver, _ *testSink) {
			r.Confirm = func(ctx context.Context, _ Offer) error { <-ctx.Done(); return ctx.Err() }
		}, prepareTime},
		{"PutFrame", func(_ *Receiver, sink *testSink) { sink.stuck = true }, stallTime},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, newTestSource(1, equalFrames(4, 1<<16)...))
				p.serve(nil)
				began := time.Now()
				r := p.join(tt.set)
				p.join(nil).done(t)
				if err := r.wait(t); !errors.Is(err, ErrDropped) {
					t.Errorf("Run = %v, want that it was given up", err)
				}
				checkFailed(t, p.end(), "0")
				if d := time.Since(began); d > tt.most+time.Minute {
					t.Errorf("that took %v, want %v", d, tt.most)
				}
			})
		})
	}
}

// What goes wrong at a receiver ends it, and its sender hears why.
func TestReceiverFails(t *testing.T) {
	full := errors.New("no space left on device")
	tests := []struct {
		name string
		set  func(r *Receiver, sink *testSink)
		want error
	}{
		{"Confirm", func(r *Receiver, _ *testSink) { r.Confirm = func(context.Context, Offer) error { return full } }, full},
		{"Prepare", func(_ *Receiver, sink *testSink) { sink.prepare = func(context.Context) error { return full } }, full},
		{"PutFrame", func(_ *Receiver, sink *testSink) { sink.put = func(n int) error { return full } }, full},
		{"PutFrame by HTTPS", func(r *Receiver, sink *testSink) {
			r.Unicast, sink.put = true, func(n int) error { return full }
		}, full},
		{"always bad", func(_ *Receiver, sink *testSink) {
			sink.put = func(n int) error { return badIf(n == 7) }
		}, ErrBadFrame},
		{"Finish", func(_ *Receiver, sink *testSink) { sink.finish = func(context.Context) error { return full } }, full},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serve(func(s *Sender) { s.Wait = 2 })
				bad := p.join(tt.set)
				p.join(nil)
				if err := bad.wait(t); !errors.Is(err, tt.want) {
					t.Errorf("Run = %v, want %v", err, tt.want)
				}
				if tt.name == "Confirm" || tt.name == "Prepare" {
					time.Sleep(time.Second) // until the other one is ready
					p.sender.Start()
				}
				p.players[1].done(t)
				err := p.end()
				checkFailed(t, err, "0")
				var incomplete *IncompleteError
				if errors.As(err, &incomplete) && !strings.Contains(incomplete.Failed[0].Reason, tt.want.Error()) {
					t.Errorf("reason is %q, want %q", incomplete.Failed[0].Reason, tt.want)
				}
			})
		})
	}
}

func badIf(bad bool) error {
	if bad {
		return fmt.Errorf("digest: %w", ErrBadFrame)
	}
	return nil
}

// Frames that come wrong come again: by multicast, and then by HTTPS.
func TestBadFrames(t *testing.T) {
	for _, times := range []int64{1, 2} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serve(nil)
				var count atomic.Int64
				r := p.join(func(_ *Receiver, sink *testSink) {
					sink.put = func(n int) error { return badIf(n == 7 && count.Add(1) <= times) }
				})
				if err := p.done(); err != nil {
					t.Errorf("Serve = %v, want nil", err)
				}
				if fetched := r.progress.Fetched > 0; fetched != (times == mistrust) {
					t.Errorf("%d bytes were fetched after %d bad frames", r.progress.Fetched, times)
				}
			})
		})
	}
}

// A source that cannot be read ends the session, and receivers hear why.
func TestUnreadable(t *testing.T) {
	virtually(t, func(t *testing.T) {
		source := virtualSource()
		source.unreadable = map[int]error{5: errors.New("input/output error")}
		p := newPlay(t, source)
		p.serve(nil)
		r := p.join(nil)
		if err := r.wait(t); !errors.Is(err, ErrDropped) || !strings.Contains(err.Error(), "input/output error") {
			t.Errorf("Run = %v, want that it was dropped because of an input/output error", err)
		}
		if err := p.end(); !errors.Is(err, source.unreadable[5]) {
			t.Errorf("Serve = %v, want %v", err, source.unreadable[5])
		}
	})
}
