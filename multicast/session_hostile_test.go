package multicast

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Keys and fingerprints keep strangers out.
func TestKeys(t *testing.T) {
	const right, wrong = "correct horse battery", "incorrect horse battery"
	tests := []struct {
		name             string
		sender, receiver string
		want             error
	}{
		{"right", right, right, nil},
		{"wrong", right, wrong, ErrDropped},
		{"missing at the receiver", right, "", ErrDropped},
		{"missing at the sender", "", right, ErrDropped},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serve(func(s *Sender) { s.Key, s.StartAfter = tt.sender, time.Minute })
				r := p.join(func(r *Receiver, _ *testSink) { r.Key = tt.receiver })
				if err := r.wait(t); !errors.Is(err, tt.want) {
					t.Errorf("Run = %v, want %v", err, tt.want)
				}
				wanted := ErrNobody
				if tt.want == nil {
					wanted = nil
				}
				if err := p.end(); !errors.Is(err, wanted) {
					t.Errorf("Serve = %v, want %v", err, wanted)
				}
			})
		})
	}
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serve(func(s *Sender) { s.StartAfter = time.Minute })
		r := p.join(func(r *Receiver, _ *testSink) { r.Fingerprint = make([]byte, 32) })
		if err := r.wait(t); !errors.Is(err, ErrRefused) {
			t.Errorf("Run with another fingerprint = %v, want ErrRefused", err)
		}
		p.end()
	})
}

// An impostor is a receiver that says what it likes.
type impostor struct {
	*control
	ended chan error
	offer offer
}

// newImpostor connects, says HELLO, and waits for the offer. Then it tells each
// message to hear, which may be nil.
func newImpostor(t *testing.T, p *play, id string, hear func(message)) *impostor {
	t.Helper()
	conn, err := dialControl(t.Context(), p.net.connect, netip.AddrPort{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	i := &impostor{control: newControl(conn, fromSender), ended: make(chan error, 1)}
	offered := make(chan offer, 1)
	go func() {
		i.ended <- i.run(context.Background(), func(m message) error {
			if o, ok := m.(offer); ok {
				offered <- o
			}
			if hear != nil {
				hear(m)
			}
			return nil
		})
	}()
	i.send(hello{id: id, name: id})
	select {
	case i.offer = <-offered:
	case err := <-i.ended:
		t.Fatalf("impostor: %v", err)
	}
	return i
}

// left waits until the sender has closed the connection.
func (i *impostor) left(t *testing.T) {
	t.Helper()
	select {
	case <-i.ended:
	case <-time.After(time.Minute):
		t.Error("the connection was not closed within a minute")
		i.abandon(errors.New("the test is over"))
		<-i.ended
	}
}

// A receiver that says what is wrong is cut off, and the others do not notice.
func TestWrongMessages(t *testing.T) {
	tests := []struct {
		name string
		say  func(i *impostor)
	}{
		{"NEED of another session", func(i *impostor) { i.send(need{frames: 7}) }},
		{"NEED with a wrong count", func(i *impostor) { i.send(need{frames: 41, lacking: 2, runs: []byte{1, 1, 1}}) }},
		{"NEED of the preface", func(i *impostor) { i.send(need{frames: 41, lacking: 1, runs: []byte{1, 0, 1}}) }},
		{"NEED beyond the end", func(i *impostor) { i.send(need{frames: 41, lacking: 1, runs: []byte{1, 41, 1}}) }},
		{"NEED twice", func(i *impostor) {
			i.send(need{frames: 41, lacking: 1, runs: []byte{1, 1, 1}})
			i.send(need{frames: 41, lacking: 1, runs: []byte{1, 1, 1}})
		}},
		{"HELLO twice", func(i *impostor) { i.send(hello{id: "x"}) }},
		{"DONE with other content", func(i *impostor) { i.send(done{name: []byte("other")}) }},
		{"REPORT of no frame", func(i *impostor) { i.send(&report{done: []uint32{99}}) }},
		{"REPORT of a block that is not", func(i *impostor) {
			i.send(&report{open: []openFrame{{frame: 1, deficits: []byte{1}}}})
		}},
		{"what a sender says", func(i *impostor) { i.send(closing{}) }},
		{"talk after the end", func(i *impostor) { i.send(failed{"tired"}); i.send(mode{}) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serve(nil)
				i := newImpostor(t, p, "impostor", nil)
				tt.say(i)
				i.left(t)
				p.join(nil).done(t)
				checkFailed(t, p.end(), "impostor")
			})
		})
	}
}

// A receiver that lies all the time, or does not read, neither stops the others
// nor makes the sender send much more.
func TestLiars(t *testing.T) {
	full := func() (d []byte) {
		for range 182 { // the blocks of a frame of 2^18 bytes have 182 or 183 symbols
			d = append(d, 182)
		}
		return d[:1]
	}()
	tests := []struct {
		name string
		lie  func(i *impostor, n uint64)
	}{
		{"heads in the future", func(i *impostor, n uint64) { i.send(&report{head: math.MaxUint64 - n, received: math.MaxUint64}) }},
		{"nothing ever comes", func(i *impostor, n uint64) { i.send(&report{head: 40 * n}) }},
		{"all is open", func(i *impostor, n uint64) {
			r := &report{head: 40 * n, received: 40 * n}
			for f := range uint32(40) {
				r.open = append(r.open, openFrame{f + 1, full})
			}
			i.send(r)
		}},
		{"multicast comes and goes", func(i *impostor, n uint64) { i.send(mode{fetches: n%2 == 0}) }},
		{"all is written", func(i *impostor, n uint64) { i.send(&report{written: math.MaxUint64}) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.serve(func(s *Sender) { s.Wait, s.giveUp = 4, time.Second })
				i := newImpostor(t, p, "impostor", nil)
				all := newFrameSet(41)
				all.addRange(1, 41)
				i.send(newNeed(all))
				for range 3 {
					p.join(nil)
				}
				stop := make(chan struct{})
				var lying sync.WaitGroup
				lying.Go(func() {
					tick := time.NewTicker(5 * time.Millisecond)
					defer tick.Stop()
					for n := uint64(0); ; n++ {
						select {
						case <-tick.C:
							tt.lie(i, n)
						case <-stop:
							return
						}
					}
				})
				for _, r := range p.players {
					r.done(t)
					if r.took > 5*time.Second {
						t.Errorf("receiver %s took %v, want 5 s at most", r.ID, r.took)
					}
				}
				sent := p.sender.Status().Sent
				close(stop)
				lying.Wait()
				i.abandon(errors.New("enough"))
				<-i.ended
				checkFailed(t, p.end(), "impostor")
				honest := int64(40 * (1 << 18) / 1440)
				t.Logf("%d datagrams, %.2f of what an honest room takes", sent, float64(sent)/float64(honest))
				if sent > 2*honest {
					t.Errorf("%d datagrams were sent, want twice %d at most", sent, honest)
				}
			})
		})
	}
}

// A receiver that talks without a pause is heard at the pace that is allowed.
func TestTalker(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serve(func(s *Sender) { s.Wait, s.giveUp = 2, time.Second })
		i := newImpostor(t, p, "talker", nil)
		began, count := time.Now(), 0
		for time.Since(began) < 3*time.Second {
			if i.send(&report{}) != nil {
				break
			}
			if count++; count%100 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		i.abandon(errors.New("enough"))
		<-i.ended
		if most := talkBurst + int(3*time.Second/talkTime) + 2*queueMessages + 3000; count > most {
			t.Errorf("%d reports were taken in 3 s, want %d at most", count, most)
		}
		p.sender.Start()
		p.join(nil).done(t)
		checkFailed(t, p.end(), "talker")
	})
}

// Datagrams that are replayed, changed, cut, or made up do no harm, and are
// counted.
func TestForgedDatagrams(t *testing.T) {
	tests := []struct {
		name  string
		forge func(p []byte) []byte
	}{
		{"replayed", func(p []byte) []byte { return p }},
		{"cut", func(p []byte) []byte { return p[:len(p)-1] }},
		{"short", func(p []byte) []byte { return p[:10] }},
		{"empty", func([]byte) []byte { return []byte{} }},
		{"long", func(p []byte) []byte { return append(p, 0) }},
		{"changed", func(p []byte) []byte { p[100] ^= 1; return p }},
		{"far ahead", func(p []byte) []byte { p[7] = 0xff; return p }},
		{"another epoch", func(p []byte) []byte { p[15]++; return p }},
		{"another lane", func(p []byte) []byte { p[14]++; return p }},
		{"another tag", func(p []byte) []byte { p[12]++; return p }},
		{"another version", func(p []byte) []byte { p[0] += 16; return p }},
		{"another frame", func(p []byte) []byte { p[8] ^= 1; return p }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				p := newPlay(t, virtualSource())
				p.net.forge = tt.forge
				p.serve(nil)
				r := p.join(nil)
				if err := p.done(); err != nil {
					t.Errorf("Serve = %v, want nil", err)
				}
				least := int64(40*(1<<18)/1440) * 9 / 10 // the last ones come when all is done
				if s := p.sender.Status(); r.progress.Dropped < least || s.Dropped < least {
					t.Errorf("%d datagrams were dropped, the sender knows of %d, want %d at least", r.progress.Dropped, s.Dropped, least)
				}
			})
		})
	}
}

// Datagrams that come in another order, or twice, do no harm.
func TestReordered(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		var held [][]byte
		p.net.forge = func(q []byte) []byte {
			if held = append(held, q); len(held) < 100 {
				return nil
			}
			q, held = held[0], held[1:]
			return q
		}
		p.serve(nil)
		p.join(func(r *Receiver, _ *testSink) { r.ports = p.net.ports(losing(0.3)) })
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

// There is a bound on the receivers of a session, and on how often one may
// join it anew.
func TestTooMany(t *testing.T) {
	x := &session{opt: Sender{}, log: newTestSession(t).log}
	for i := range maxReceivers {
		if x.enter(nil, hello{id: fmt.Sprint(i)}, netip.Addr{}) == nil {
			t.Fatalf("receiver %d is one too many, want %d", i, maxReceivers)
		}
	}
	if m := x.enter(nil, hello{id: "one more"}, netip.Addr{}); m != nil {
		t.Errorf("%d receivers, want %d at most", len(x.members), maxReceivers)
	}
	if m := x.enter(nil, hello{id: "0"}, netip.Addr{}); m == nil {
		t.Error("a receiver may not come again")
	}
}

func newTestSession(t *testing.T) *session {
	t.Helper()
	x, err := newSession(&Sender{Source: newTestSource(1)})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A receiver that joins anew again and again is to fetch, and still ends well.
func TestJoinsTooOften(t *testing.T) {
	virtually(t, func(t *testing.T) {
		p := newPlay(t, virtualSource())
		p.serve(func(s *Sender) { s.giveUp = time.Second })
		for range maxJoins {
			i := newImpostor(t, p, "0", nil)
			i.abandon(errors.New("enough"))
			<-i.ended
		}
		r := p.join(nil)
		if err := p.done(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		if r.progress.Fetched == 0 {
			t.Error("it has fetched nothing, want all")
		}
	})
}
