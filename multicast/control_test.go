package multicast

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var groupForTest = netip.MustParseAddrPort("239.255.1.2:5000")

// A talk is a control that runs.
type talk struct {
	*control
	got  []message
	done chan error
}

// start runs a control. It keeps what it is sent, and hands it to handle, too,
// if that is not nil.
func start(ctx context.Context, c *control, handle func(message) error) *talk {
	k := &talk{control: c, done: make(chan error, 1)}
	go func() {
		k.done <- c.run(ctx, func(m message) error {
			k.got = append(k.got, m)
			if handle == nil {
				return nil
			}
			return handle(m)
		})
	}()
	return k
}

func sendAll(t testing.TB, c *control, messages ...message) {
	t.Helper()
	for _, m := range messages {
		if err := c.send(m); err != nil {
			t.Fatalf("sending %T: %v", m, err)
		}
	}
}

// names returns the types of messages.
func names(messages []message) string {
	var out []string
	for _, m := range messages {
		out = append(out, strings.TrimPrefix(fmt.Sprintf("%T", m), "multicast."))
	}
	return strings.Join(out, " ")
}

var helloForTest = hello{id: "52:54:00:00:00:01", name: "pc-1"}

// TestControl has a whole conversation. The receiver's last word is DONE, the
// sender's CLOSE; both arrive, and both ends end.
func TestControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newTestControls(t)
		errOver := errors.New("over")
		sender := start(t.Context(), s, func(m message) error {
			switch m.(type) {
			case hello:
				sendAll(t, s, join{group: groupForTest})
			case done:
				sendAll(t, s, closing{})
				return errOver
			}
			return nil
		})
		receiver := start(t.Context(), r, func(m message) error {
			if _, ok := m.(join); ok {
				sendAll(t, r, mode{}, done{})
			}
			if _, ok := m.(closing); ok {
				return errOver
			}
			return nil
		})
		sendAll(t, r, helloForTest)
		began := time.Now()
		if err := <-receiver.done; !errors.Is(err, errOver) {
			t.Errorf("receiver: %v, want %v", err, errOver)
		}
		if err := <-sender.done; !errors.Is(err, errOver) {
			t.Errorf("sender: %v, want %v", err, errOver)
		}
		if got, want := names(sender.got)+", "+names(receiver.got), "hello mode done, join closing"; got != want {
			t.Errorf("messages %s, want %s", got, want)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("ending took %v, want no waiting", took)
		}
		if err := s.send(closing{}); err == nil {
			t.Error("sending after the end works")
		}
	})
}

// TestControlCancel ends one end's context with messages in the queue.
func TestControlCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newTestControls(t)
		reason := errors.New("the session is over")
		ctx, cancel := context.WithCancelCause(t.Context())
		receiver := start(t.Context(), r, nil)
		for range 200 {
			sendAll(t, s, pulse{interval: time.Second})
		}
		sendAll(t, s, dropped{why: "too slow"})
		cancel(reason)
		if err := <-start(ctx, s, nil).done; err != reason {
			t.Errorf("sender: %v, want %v", err, reason)
		}
		if err := <-receiver.done; err != io.EOF {
			t.Errorf("receiver: %v, want EOF", err)
		}
		if n := len(receiver.got); n != 201 || receiver.got[200] != (dropped{why: "too slow"}) {
			t.Errorf("receiver got %d messages, want 201 and DROPPED the last", n)
		}
	})
}

func TestControlSilence(t *testing.T) {
	tests := []struct {
		name   string
		sender bool // it is the sender who is silent
		says   func(c *control) error
		want   time.Duration
	}{
		{"sender", true, func(*control) error { return nil }, senderTime},
		{"receiver without HELLO", false, func(*control) error { return nil }, helloTime},
		{"receiver after HELLO", false, func(c *control) error {
			_, err := c.conn.Write(appendMessage(nil, helloForTest))
			return err
		}, peerTime},
		{"receiver in the middle of HELLO", false, func(c *control) error {
			p := appendMessage(nil, helloForTest)
			for i := range p[:len(p)-1] { // a byte a second
				if _, err := c.conn.Write(p[i : i+1]); err != nil {
					return nil // it was not listened to any longer
				}
				time.Sleep(time.Second)
			}
			return nil
		}, helloTime},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				silent, listening := newTestControls(t)
				if !tt.sender {
					silent, listening = listening, silent
				}
				began := time.Now()
				listener := start(t.Context(), listening, nil)
				said := make(chan error, 1)
				go func() { said <- tt.says(silent) }()
				err := <-listener.done
				if took := time.Since(began); !errors.Is(err, errSilent) || took != tt.want {
					t.Errorf("run = %v after %v, want errSilent after %v", err, took, tt.want)
				}
				if err := <-said; err != nil {
					t.Errorf("saying: %v", err)
				}
				silent.conn.NetConn().Close()
			})
		})
	}
}

// TestControlLongNeed sends a long message over a slow line: what moves is not
// silent.
func TestControlLongNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newTestControls(t)
		long := need{frames: 4 << 20, runs: make([]byte, 2<<20)}
		p := appendMessage(appendMessage(nil, helloForTest), long)
		if len(p) < 2<<20 {
			t.Fatalf("NEED of %d bytes, want 2 MiB", len(p))
		}
		errOver := errors.New("over")
		sender := start(t.Context(), s, func(m message) error {
			if _, ok := m.(need); ok {
				return errOver
			}
			return nil
		})
		go io.Copy(io.Discard, r.conn)
		for piece := range slices.Chunk(p, 16<<10) {
			if _, err := r.conn.Write(piece); err != nil {
				t.Errorf("writing: %v", err)
				break
			}
			time.Sleep(5 * time.Second)
		}
		r.conn.NetConn().Close()
		if err := <-sender.done; err != errOver {
			t.Errorf("run = %v, want that NEED came", err)
		}
	})
}

// TestControlOverflow sends to a peer that does not read: it is given up when
// the queue is full, and send never blocks.
func TestControlOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newTestControls(t)
		sender := start(t.Context(), s, nil)
		began, n := time.Now(), 0
		var err error
		for ; err == nil && n < 10000; n++ {
			err = s.send(pulse{interval: time.Second})
		}
		if !errors.Is(err, errOverflow) || n < queueMessages || n > 2*queueMessages+2 || time.Since(began) != 0 {
			t.Errorf("send = %v after %d messages and %v, want errOverflow after %d or so, at once", err, n, time.Since(began), queueMessages)
		}
		if err := <-sender.done; !errors.Is(err, errOverflow) {
			t.Errorf("run = %v, want errOverflow", err)
		}
		r.conn.NetConn().Close()
	})
}

// TestControlOverflowBytes fills the queue with few long messages.
func TestControlOverflowBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newTestControls(t)
		var err error
		n := 0
		for ; err == nil && n < 10000; n++ {
			err = s.send(rawReport(make([]byte, maxBody)))
		}
		if want := queueBytes/maxBody + 1; !errors.Is(err, errOverflow) || n > want {
			t.Errorf("send = %v after %d messages, want errOverflow after at most %d", err, n, want)
		}
		r.conn.NetConn().Close()
	})
}

// TestControlNotRead writes one message to a peer that talks, but does not
// read.
func TestControlNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newTestControls(t)
		sender := start(t.Context(), s, nil)
		sendAll(t, s, closing{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p := appendMessage(nil, helloForTest)
			for {
				if _, err := r.conn.Write(p); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		began := time.Now()
		if err := <-sender.done; !errors.Is(err, errOverflow) || time.Since(began) != peerTime {
			t.Errorf("run = %v after %v, want errOverflow after %v", err, time.Since(began), peerTime)
		}
		<-ended
	})
}

// TestControlFarewellBound ends a control whose peer neither reads nor hangs
// up.
func TestControlFarewellBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newTestControls(t)
		ctx, cancel := context.WithCancel(t.Context())
		sender := start(ctx, s, nil)
		sendAll(t, s, closing{})
		synctest.Wait()
		cancel()
		began := time.Now()
		if err := <-sender.done; !errors.Is(err, context.Canceled) || time.Since(began) > 2*flushTime {
			t.Errorf("run = %v after %v, want that it was cancelled, within %v", err, time.Since(began), 2*flushTime)
		}
		r.conn.NetConn().Close()
	})
}

// TestControlHostile gives a sender what no receiver says.
func TestControlHostile(t *testing.T) {
	long := binary.LittleEndian.AppendUint32(nil, 1<<32-1)
	bigNeed := append(binary.LittleEndian.AppendUint32(nil, maxNeed), byte(typeNeed), 0, 0, 0)
	greeted := appendMessage(nil, helloForTest)
	tests := []struct {
		name string
		p    []byte
		want error
	}{
		{"length of 4 GiB", append(long, byte(typeHello), 0, 0, 0), errMalformed},
		{"length of 4 GiB after HELLO", slices.Concat(greeted, long, []byte{byte(typeNeed), 0, 0, 0}), errMalformed},
		{"NEED before HELLO", append(bigNeed, make([]byte, 1<<20)...), errMalformed},
		{"garbage", bytes.Repeat([]byte{0xa5}, 100), errMalformed},
		{"message of a sender", appendMessage(nil, closing{}), errMalformed},
		{"end within a message", greeted[:20], io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := newTestControls(t)
				sender := start(t.Context(), s, nil)
				go func() {
					r.conn.Write(tt.p)
					r.conn.CloseWrite()
					r.conn.NetConn().Close()
				}()
				if err := <-sender.done; !errors.Is(err, tt.want) {
					t.Errorf("run = %v, want %v", err, tt.want)
				}
				r.conn.NetConn().Close()
			})
		})
	}
}

// TestControlTCP ends a conversation over real TCP, where a connection that is
// closed too early is reset and loses what was on its way.
func TestControlTCP(t *testing.T) {
	checkLeaks(t)
	cert, fingerprint := newTestIdentity(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	sc, rc, err := shakeHands(t, cert, clientTLS(fingerprint, alpnControl), near, far)
	if err != nil {
		t.Fatal(err)
	}
	s, r := newControl(sc, fromReceiver), newControl(rc, fromSender)
	for range 100 {
		sendAll(t, r, helloForTest) // more than the sender will read
		sendAll(t, s, pulse{interval: time.Second})
	}
	sendAll(t, s, dropped{why: "too slow"})
	errOver := errors.New("over")
	ctx := withTimeout(t)
	sender := start(ctx, s, func(message) error { return errOver })
	receiver := start(ctx, r, nil)
	if err := <-sender.done; err != errOver {
		t.Errorf("sender: %v, want %v", err, errOver)
	}
	if err := <-receiver.done; err != io.EOF {
		t.Errorf("receiver: %v, want EOF", err)
	}
	if n := len(receiver.got); n != 101 {
		t.Errorf("receiver got %d messages, want 101", n)
	}
}
