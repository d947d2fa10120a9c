package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"slipcast/multicast"
)

// hostile is a name as an attacker would choose it.
const hostile = "pc\x1b[2J\x1b]0;owned\x07\r\n\u202e<script>alert(1)</script>"

// room returns a session of five receivers as the network tells it.
func room(state multicast.State) multicast.Status {
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	addr := netip.MustParseAddr("10.83.0.11")
	return multicast.Status{
		Session: 0x1122334455667788, Name: "room-12", Title: "room-12.img.zst", Digest: []byte{0xab, 0xcd}, State: state,
		Now: now, Starting: now.Add(9 * time.Minute), Frames: 1000, Bytes: 1000 << 20, Lacking: 500, Rate: 100e6, Cap: 980e6,
		Sent: 5000, Repairs: 100, Wire: 525 << 20, Needed: 6,
		Receivers: []multicast.ReceiverStatus{
			{ID: "a", Name: "pc-01", Target: "/dev/sda", Address: addr, State: multicast.Receiving, Lacked: 1000, Done: 427, Loss: 0.012, Rate: 93.5e6},
			{ID: "b", Name: "pc-02", Target: "/dev/nvme0n1", Address: addr, State: multicast.Done, Lacked: 1000, Done: 1000},
			{ID: "c", Name: "pc-03", Target: "/dev/sda", Address: addr, State: multicast.Failed, Lacked: 1000, Done: 3, Reason: "no space left on device"},
			{ID: "d", Name: "pc-04", Target: "/dev/sda", Address: addr, State: multicast.Receiving, Lacked: 1000, Done: 11, Full: true, Rate: 5e6},
			{ID: "e", Name: hostile, Target: hostile, Address: addr, State: multicast.Ready, Loss: math.NaN(), Reason: hostile},
		},
	}
}

func TestSendTable(t *testing.T) {
	got := strings.Join(tableLines(plainStatus(room(multicast.Sending)), 130, 24), "\n") + "\n"
	want := `room-12.img.zst: sending: 1 of 5 receivers done, 1 failed or lost, 100.0 Mbit/s, 42s left
name                  target                state       done  Mbit/s   loss
pc-01                 /dev/sda              receiving   42 %    93.5  1.2 %
pc-02                 /dev/nvme0n1          done       100 %     0.0  0.0 %
pc-03                 /dev/sda              failed       0 %     0.0  0.0 %  no space left on device
pc-04                 /dev/sda              receiving    1 %     5.0  0.0 %  its disk is slow
pc?[2J?]0;owned?  ?~  pc?[2J?]0;owned?  ?~  ready      100 %     0.0  0.0 %  pc?[2J?]0;owned?  ?<script>alert(1)</script>
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Where the screen is too small, those come first who want attention, and no
// line is wider than it.
func TestSendTableSmall(t *testing.T) {
	lines := tableLines(plainStatus(room(multicast.Sending)), 50, 6)
	if len(lines) != 6 {
		t.Fatalf("got %d lines, want 6: %q", len(lines), lines)
	}
	for i, want := range []string{"room-12", "name", "pc-03", "pc-04", "pc-01", "and 2 more"} {
		if !strings.HasPrefix(lines[i], want) || utf8.RuneCountInString(lines[i]) > 50 {
			t.Errorf("line %d is %q, want %q first and at most 50 columns", i, lines[i], want)
		}
	}
	if lines := tableLines(plainStatus(room(multicast.Sending)), 80, 0); len(lines) != 4 {
		t.Errorf("without any room: %q, want two heads, one receiver, and how many more", lines)
	}
}

func TestHeadline(t *testing.T) {
	now := time.Now()
	tests := []struct {
		s    multicast.Status
		want string
	}{
		{room(multicast.Waiting), "room-12.img.zst: waiting for receivers, 1 of 6 ready, starts in 9m00s at the latest"},
		{multicast.Status{Title: "a", State: multicast.Waiting}, "a: waiting for receivers, 0 ready"},
		{multicast.Status{Title: "a", State: multicast.Waiting, Now: now, Starting: now.Add(-time.Second)}, "a: waiting for receivers, 0 ready, starts in 0s at the latest"},
		{room(multicast.Idle), "room-12.img.zst: idle: 1 of 5 receivers done, 1 failed or lost"},
		{multicast.Status{Title: "a", State: multicast.Sending}, "a: sending: 0 of 0 receivers done, 0.0 kbit/s"},
	}
	for _, tt := range tests {
		if got := headline(tt.s); got != tt.want {
			t.Errorf("headline = %q, want %q", got, tt.want)
		}
	}
}

// What is drawn replaces what was drawn, with the lines that Enter made.
func TestSendTableDraw(t *testing.T) {
	var out bytes.Buffer
	table := &sendTable{sending: &sending{env: &env{stderr: &out}}}
	table.draw([]string{"one", "two"})
	table.lines++
	table.draw([]string{"three"})
	want := "\x1b[?7l\rone\x1b[K\ntwo\x1b[K\n\x1b[J\x1b[?7h" + "\x1b[?7l\r\x1b[3Athree\x1b[K\n\x1b[J\x1b[?7h"
	if out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}
}

// Off a terminal, lines tell what happens to receivers, once, and thirty
// seconds apart how far the session is.
func TestSendLog(t *testing.T) {
	var out bytes.Buffer
	log := &sendLog{sending: &sending{env: &env{stderr: &out}}, states: map[string]multicast.State{}}
	s := plainStatus(room(multicast.Sending))
	s.Receivers = s.Receivers[:3]
	s.Receivers[2].State, s.Receivers[1].State = multicast.Ready, multicast.Receiving
	log.show(s)
	s.Now = s.Now.Add(time.Second)
	s.Receivers[1].State = multicast.Done
	s.Receivers[2].State = multicast.Failed
	log.show(s)
	s.Now = s.Now.Add(29 * time.Second)
	log.show(s)
	log.end(s)
	want := `slipcast: pc-01 is there, for /dev/sda, from 10.83.0.11
slipcast: pc-02 is there, for /dev/nvme0n1, from 10.83.0.11
slipcast: pc-03 is there, for /dev/sda, from 10.83.0.11
slipcast: room-12.img.zst: sending: 0 of 3 receivers done, 100.0 Mbit/s, 42s left
slipcast: pc-02: done
slipcast: pc-03: failed: no space left on device
slipcast: room-12.img.zst: sending: 1 of 3 receivers done, 1 failed or lost, 100.0 Mbit/s, 42s left
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

// newTestSending returns a session of a tiny image.
func newTestSending(t *testing.T, e *env) *sending {
	t.Helper()
	im, err := openImageFile(t.Context(), tinyImage(t)+"/disk.img.zst", &imageFlags{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { im.Close() })
	return &sending{env: e, path: "disk.img.zst", opt: sendOptions{name: "room-12"}, im: im, began: time.Now()}
}

// Every object is as documented, and a hostile name does no harm in it.
func TestSendObjects(t *testing.T) {
	var stdout, stderr bytes.Buffer
	e := &env{stdout: &stdout, stderr: &stderr, json: true}
	s := newTestSending(t, e)
	view := s.newView()
	s.invite(multicast.Address{Session: 7, Cap: 98e6, Interface: "eth0"})
	for _, state := range []multicast.State{multicast.Waiting, multicast.Sending} {
		view.show(plainStatus(room(state)))
	}
	st := plainStatus(room(multicast.Over))
	view.end(st)
	s.sum(st)
	var got []string
	for line := range strings.Lines(stdout.String() + stderr.String()) {
		kind, err := checkObject(line)
		if err != nil {
			t.Errorf("%v: %s", err, line)
		}
		got = append(got, kind)
		if strings.ContainsAny(line, "\x1b\x07\u202e") {
			t.Errorf("control characters in %q", line)
		}
	}
	if want := "session sent receivers receivers receivers"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

func TestSendSummary(t *testing.T) {
	var out bytes.Buffer
	s := newTestSending(t, &env{stderr: &out})
	st := plainStatus(room(multicast.Over))
	st.Fetched, st.Dropped, st.Wire = 3<<20, 1, 2*s.im.Size()
	s.sum(st)
	for _, want := range []string{
		"slipcast: sent disk.img.zst to 1 of 5 receivers in ", ", 2.000 of the image's ",
		"  repairs   100 of 5000 datagrams\n", "  HTTPS     3.0 MiB\n", "  forged    1 datagram that",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", &out, want)
		}
	}
	out.Reset()
	if s.sum(multicast.Status{}); out.Len() > 0 {
		t.Errorf("without receivers: %q, want nothing", &out)
	}
}

func TestExplainSent(t *testing.T) {
	failed := room(multicast.Over).Receivers[2:5:5]
	err := explainSent(&multicast.IncompleteError{Failed: failed, Of: 5})
	want := "3 of 5 receivers failed: pc-03 (no space left on device), pc-04 (receiving), pc?[2J?]0;owned?"
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("got %v, want %s...", err, want)
	}
	if code := exitCode(t.Context(), err); code != exitPart {
		t.Errorf("exit code %d, want %d", code, exitPart)
	}
	if err := explainSent(multicast.ErrNobody); !errors.Is(err, multicast.ErrNobody) {
		t.Errorf("got %v, want ErrNobody", err)
	}
}

// The numbers of the object are those of the status.
func TestStatusObject(t *testing.T) {
	text, err := json.Marshal(statusObject(plainStatus(room(multicast.Sending))))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Session     string
		LeftSeconds int `json:"left_seconds"`
		Ready, Wait int
		Receivers   []struct {
			Percent int
			Loss    float64
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Session != "1122334455667788" || got.LeftSeconds != 42 || got.Ready != 1 || got.Wait != 6 ||
		got.Receivers[0].Percent != 42 || got.Receivers[0].Loss != 0.012 || got.Receivers[4].Loss != 0 {
		t.Errorf("got %+v of %s", got, text)
	}
}
