package multicast

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Of a test source of 40 frames the last 10 are the annex.
const (
	annexFrames = 10
	annexBase   = 30
)

// serveAnnex starts a sender of a source with an annex.
func (p *play) serveAnnex(about string, set func(s *Sender)) {
	p.serve(func(s *Sender) {
		s.Annex = Annex{annexFrames, []byte(about)}
		if set != nil {
			set(s)
		}
	})
}

// takes makes a sink take the annex, but for its last frames.
func takes(sink *testSink, frames int) {
	sink.annex = true
	sink.has = func(n int) bool { return n >= annexBase+frames }
}

// lossy makes a receiver lose a part of all datagrams.
func (p *play) lossy(r *Receiver, part float64, seed uint64) {
	loss := newRandomLoss(part, seed)
	r.ports = p.net.ports(func() bool { return !loss.arrives(time.Now()) })
}

// without makes a sink do without the annex.
func without(sink *testSink) { takes(sink, 0); sink.annex = false }

// Receivers that want all of the annex, a part and nothing are served in one
// session, with loss and late, and each frame goes over the wire for all of them.
func TestAnnex(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serveAnnex("two files", func(s *Sender) { s.Wait = 3 })
		half := newMoment(20)
		var told Annex
		p.join(func(r *Receiver, sink *testSink) {
			takes(sink, annexFrames)
			sink.put = half.put
			r.Confirm = func(_ context.Context, o Offer) error { told = o.Annex; return nil }
		})
		p.join(func(r *Receiver, sink *testSink) { takes(sink, 4); p.lossy(r, 0.03, 7) })
		p.join(func(_ *Receiver, sink *testSink) { without(sink) })
		<-half.come
		p.join(func(_ *Receiver, sink *testSink) { takes(sink, annexFrames) })
		p.join(func(_ *Receiver, sink *testSink) { without(sink) })
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		if told.Frames != annexFrames || string(told.About) != "two files" {
			t.Errorf("the annex is %+v, want %d frames of two files", told, annexFrames)
		}
		for i, want := range []int{40, 34, 30, 40, 30} {
			if got := p.players[i].progress; got.Lacked != want || got.Got != want {
				t.Errorf("receiver %d got %d of %d frames, want %d", i, got.Got, got.Lacked, want)
			}
		}
		if s := p.sender.Status(); s.Frames != 40 || s.Bytes != 40<<18 {
			t.Errorf("the session has %d frames of %d bytes, want 40 of 10 MiB", s.Frames, s.Bytes)
		}
	})
}

// Receivers of one annex cost as much as one: what is sent is a transfer of all
// frames, and what was lost.
func TestAnnexOneTransfer(t *testing.T) {
	sent := map[int]int64{}
	for _, receivers := range []int{1, 8} {
		virtually(t, func(t *testing.T) {
			p := newPlay(t, virtualSource())
			p.serveAnnex("", func(s *Sender) { s.Wait = receivers })
			for range receivers {
				p.join(func(_ *Receiver, sink *testSink) { takes(sink, annexFrames) })
			}
			if err := p.done(); err != nil {
				t.Errorf("Serve = %v, want nil", err)
			}
			sent[receivers] = p.sender.Status().Wire
		})
	}
	if float64(sent[8]) > 1.02*float64(sent[1]) || sent[1] < 40<<18 {
		t.Errorf("8 receivers cost %d bytes, one %d; want the same, and 10 MiB at least", sent[8], sent[1])
	}
}

// A receiver that knows nothing of an annex hears nothing of one but a message
// to skip, and its NEED is of the source alone.
func TestAnnexUnknown(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serveAnnex("x", func(s *Sender) { s.Wait = 2 })
		p.join(func(_ *Receiver, sink *testSink) { takes(sink, annexFrames) })
		i := newImpostor(t, p, "old", nil)
		if i.offer.frames != annexBase || i.offer.bytes != annexBase<<18 {
			t.Errorf("OFFER has %d frames of %d bytes, want %d of %d", i.offer.frames, i.offer.bytes, annexBase, annexBase<<18)
		}
		nothing := newNeed(newFrameSet(1 + annexBase))
		i.send(nothing)
		i.send(done{name: []byte("digest")})
		i.left(t)
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

// By HTTPS the annex comes like everything else.
func TestAnnexUnicast(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serveAnnex("x", nil)
		p.join(func(r *Receiver, sink *testSink) { takes(sink, 3); r.Unicast = true })
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

// A sender that starts again with the same annex goes on with it; with another
// one, or none, its receivers do without what they lack.
func TestAnnexChanges(t *testing.T) {
	tests := []struct {
		name string
		next func(s *Sender)
		all  bool // of the annex comes
	}{
		{"the same", func(s *Sender) {}, true},
		{"another", func(s *Sender) { s.Annex.About = []byte("others") }, false},
		{"shorter", func(s *Sender) { s.Source, s.Annex.Frames = shortened{s.Source, 1}, 9 }, false},
		{"none", func(s *Sender) { s.Source, s.Annex = shortened{s.Source, annexFrames}, Annex{} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serveAnnex("x", func(s *Sender) { s.Wait = 2 })
				some, known := newMoment(12), make(chan struct{})
				for range 2 {
					p.join(func(_ *Receiver, sink *testSink) {
						sink.annex = true
						sink.has = func(n int) bool { return n < annexBase-4 }
						sink.put = damages(annexBase-1, delays(annexBase, known, some.put))
					})
				}
				<-some.come // most of the annex has not
				p.stop()
				<-p.served
				p.serveAnnex("x", func(s *Sender) { s.Wait = 3; tt.next(s) })
				time.Sleep(2 * time.Second) // it has heard of both what they lack
				close(known)
				p.sender.Start()
				for _, r := range p.players {
					if err := r.wait(t); err != nil {
						t.Errorf("receiver %s: %v", r.ID, err)
					}
					r.sink.checkAnnex(t, tt.all)
				}
				if err := p.end(); err != nil {
					t.Errorf("Serve = %v, want nil", err)
				}
			})
		})
	}
}

// damages lets a frame come wrong the first time, so that it comes last.
func damages(frame int, put func(int) error) func(n int) error {
	var once atomic.Bool
	return func(n int) error {
		if n == frame && once.CompareAndSwap(false, true) {
			return ErrBadFrame
		}
		return put(n)
	}
}

// delays lets a frame be put no sooner than that.
func delays(frame int, then chan struct{}, put func(int) error) func(n int) error {
	return func(n int) error {
		if n == frame {
			<-then
		}
		return put(n)
	}
}

// checkAnnex checks that all of the source came once, and all of the annex or
// not.
func (s *testSink) checkAnnex(t *testing.T, all bool) {
	t.Helper()
	got := 0
	for n := range s.want.frames {
		switch {
		case s.got[n] > 1, s.got[n] == 0 && n < annexBase && (s.has == nil || !s.has(n)):
			t.Errorf("frame %d came %d times, want once if it was lacking", n, s.got[n])
		case n >= annexBase:
			got += s.got[n]
		}
	}
	if s.finished != 1 || all != (got == annexFrames) {
		t.Errorf("finished %d times with %d frames of the annex; want once, and all: %v", s.finished, got, all)
	}
}

// A shortened source lacks the last frames of another one; the preface is the
// same.
type shortened struct {
	Source
	by int
}

func (s shortened) Frames() int { return s.Source.Frames() - s.by }

// A receiver that lacks nothing but the annex does not wait for a sender that it
// has lost.
func TestAnnexSenderLost(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serveAnnex("x", nil)
		some := newMoment(annexBase + 3)
		r := p.join(func(_ *Receiver, sink *testSink) { takes(sink, annexFrames); sink.put = some.put })
		<-some.come
		lost := time.Now()
		p.stop()
		<-p.served
		if err := r.wait(t); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		r.sink.checkAnnex(t, false)
		if took := time.Since(lost); took > 15*time.Second {
			t.Errorf("it took %v to do without, want 15 s at most", took)
		}
		if r.progress.State != Done {
			t.Errorf("it ends in state %s, want done", r.progress.State)
		}
	})
}

// What no annex can be is refused before anything is sent.
func TestAnnexRefused(t *testing.T) {
	for _, a := range []Annex{{Frames: -1}, {Frames: 41}, {1, bytes.Repeat([]byte{1}, maxAbout+1)}} {
		s := &Sender{Source: virtualSource(), Interface: "lo", Annex: a}
		if err := s.Serve(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "an annex of ") {
			t.Errorf("Serve with an annex of %d frames: %v, want that it cannot be", a.Frames, err)
		}
	}
}
