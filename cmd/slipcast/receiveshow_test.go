package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"slipcast/internal/progress"
	"slipcast/multicast"
)

// watching runs f with a view of that mode where time costs nothing, and
// returns what it wrote.
func watching(t *testing.T, e *env, mode progress.Mode, f func(v *receiveView)) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		e.stderr = &out
		v := newReceiveView(e)
		v.mode = mode
		f(v)
		v.close(nil)
	})
	return out.String()
}

func waitingFor3() multicast.Progress {
	return multicast.Progress{State: multicast.Ready, Waiting: "3 more receivers"}
}

// In a log a line comes every thirty seconds, and the meter takes over with
// the first frame.
func TestReceiveLog(t *testing.T) {
	got := watching(t, &env{}, progress.Log, func(v *receiveView) {
		for range 40 {
			v.watch(waitingFor3(), false)
			time.Sleep(time.Second)
		}
		v.receive(100 << 20)
		v.watch(multicast.Progress{State: multicast.Receiving}, false)
		v.add(50 << 20)
		time.Sleep(30*time.Second + time.Millisecond)
		v.watch(multicast.Progress{State: multicast.Lost, Waiting: "the sender"}, false)
		time.Sleep(30 * time.Second)
	})
	want := `slipcast: waiting for 3 more receivers
slipcast: waiting for 3 more receivers
slipcast: receiving: 50.0 MiB of 100 MiB (50 %), 1.7 MiB/s, 30s left
slipcast: waiting for the sender: 50.0 MiB of 100 MiB (50 %), 0 B/s
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// On a terminal the line stays in its place, and is gone before anything else
// is said; what the sender says steers nothing.
func TestReceiveLine(t *testing.T) {
	got := watching(t, &env{}, progress.Terminal, func(v *receiveView) {
		v.watch(waitingFor3(), false)
		v.watch(multicast.Progress{State: multicast.Joining, Waiting: "\x1b[2J\u202e"}, false)
		v.say("something")
		v.watch(multicast.Progress{State: multicast.Ready}, false)
	})
	want := "\x1b[?7l\rwaiting for 3 more receivers\x1b[K\x1b[?7h" + "\x1b[?7l\rwaiting for ?[2J?\x1b[K\x1b[?7h" + "\r\x1b[K" + "slipcast: something\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReceiveQuiet(t *testing.T) {
	got := watching(t, &env{quiet: true}, progress.Quiet, func(v *receiveView) {
		v.watch(waitingFor3(), false)
		v.receive(1)
		v.add(1)
		time.Sleep(time.Minute)
	})
	if got != "" {
		t.Errorf("quiet wrote %q", got)
	}
}

// Objects come when what is being waited for changes, and are as documented.
func TestReceiveObjects(t *testing.T) {
	got := watching(t, &env{json: true}, progress.JSON, func(v *receiveView) {
		v.watch(waitingFor3(), false)
		v.watch(waitingFor3(), false)
		v.stage("compare", 10)
		v.watch(waitingFor3(), false) // comparing is no waiting
		v.receive(10)
		v.watch(multicast.Progress{State: multicast.Ready, Waiting: "the sender to start"}, false)
		v.watch(multicast.Progress{State: multicast.Fetching}, false)
		v.watch(multicast.Progress{State: multicast.Fetching}, false)
	})
	var kinds []string
	for line := range strings.Lines(got) {
		kind, err := checkObject(line)
		if err != nil {
			t.Errorf("%v: %s", err, line)
		}
		kinds = append(kinds, kind)
	}
	if want := "waiting progress waiting note progress"; strings.Join(kinds, " ") != want {
		t.Errorf("got %q, want %s", kinds, want)
	}
}

// What people should know of their network is said once.
func TestReceiveNotes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		p      multicast.Progress
		chosen bool
		want   string // the beginning; empty for nothing
	}{
		{
			"no multicast", multicast.Progress{State: multicast.Fetching, Waiting: "no multicast arrives on eth0"}, false,
			"slipcast: note: multicast: what is lacking comes by HTTPS, which takes longer: no multicast arrives on eth0\n",
		},
		{"told to", multicast.Progress{State: multicast.Fetching, Waiting: "it does without multicast"}, true, ""},
		{"no reason", multicast.Progress{State: multicast.Fetching}, false, "slipcast: note: multicast: what is lacking comes by HTTPS, which takes longer: none arrives\n"},
		{"buffer", multicast.Progress{State: multicast.Ready, Buffer: 212992}, false, "slipcast: note: socket buffer: the kernel gives no more than 208 KiB"},
		{"large buffer", multicast.Progress{State: multicast.Ready, Buffer: 8 << 20}, false, ""},
	} {
		got := watching(t, &env{}, progress.Log, func(v *receiveView) {
			v.watch(tt.p, tt.chosen)
			v.watch(tt.p, tt.chosen)
		})
		if !strings.HasPrefix(got, tt.want) || (tt.want == "") != (got == "") || strings.Count(got, "\n") > 1 {
			t.Errorf("%s: %q, want %q, once", tt.name, got, tt.want)
		}
	}
}

// While a person is asked, the session goes on.
func TestReceiveAside(t *testing.T) {
	got := watching(t, &env{}, progress.Terminal, func(v *receiveView) {
		v.aside(func() { v.watch(waitingFor3(), false) })
	})
	if got != "" {
		t.Errorf("shown while somebody is asked: %q", got)
	}
}

func TestDescribeOffer(t *testing.T) {
	o := multicast.Offer{
		Name: hostile, Host: "server", From: netip.MustParseAddrPort("10.83.0.1:7780"), Title: "room-12.img.zst",
		Digest: []byte{0xab, 0xcd}, Frames: 1000, Bytes: 1 << 30, Session: 7,
	}
	r := &receiving{offer: plainOffer(o)}
	var out bytes.Buffer
	r.describeOffer(&out)
	want := `slipcast: session pc?[2J?]0;owned?  ?<script>alert(1)</script> of server: room-12.img.zst, 1.0 GiB in 1000 frames
  digest    abcd
  sender    10.83.0.1:7780, not checked; its fingerprint is ` + strings.Repeat("0", 64) + "\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	for want, r := range map[string]*receiving{
		"which knows the key":                      {offer: multicast.Offer{Keyed: true}},
		"which has the fingerprint that was given": {how: receiveOptions{fingerprint: make(fingerprint, 32)}},
	} {
		if got := r.trust(); got != want {
			t.Errorf("trust = %q, want %q", got, want)
		}
	}
	var object bytes.Buffer
	(&env{stderr: &object}).object(&object, offerObject(r.offer))
	if kind, err := checkObject(object.String()); kind != "offer" || err != nil {
		t.Errorf("type %q, %v: %s", kind, err, &object)
	}
}

func TestJourney(t *testing.T) {
	for want, p := range map[string]multicast.Progress{
		"1 datagram, 0 missed, 0 repaired": {Datagrams: 1},
		"10 datagrams, 2 missed, 1 repaired, 3 forged or damaged and dropped, 1.0 MiB by HTTPS": {Datagrams: 10, Missed: 2, Repaired: 1, Dropped: 3, Fetched: 1 << 20},
	} {
		if got := journey(p); got != want {
			t.Errorf("journey = %q, want %q", got, want)
		}
	}
}

// Two targets of one machine are two receivers, and a target is the same one
// however it is named.
func TestMachineID(t *testing.T) {
	a, again, b := machineID("", "pc", "/dev/sda"), machineID("", "pc", "/dev/../dev/sda"), machineID("", "pc", "/dev/sdb")
	if a != again || a == b {
		t.Errorf("got %q, %q, %q; want the first two equal", a, again, b)
	}
	if got := machineID("nowhere0", "pc", "/dev/sda"); got != "pc /dev/sda" {
		t.Errorf("without an address: %q", got)
	}
}

func TestActivity(t *testing.T) {
	for want, p := range map[string]multicast.Progress{
		"":                                  {State: multicast.Joining},
		"receiving":                         {State: multicast.Receiving},
		"receiving by HTTPS":                {State: multicast.Fetching, Waiting: "it does without multicast"},
		"waiting for the disk":              {State: multicast.Receiving, Waiting: "the disk"},
		"waiting for the others to be done": {State: multicast.Behind, Waiting: "the others to be done"},
	} {
		if got := activity(p); got != want {
			t.Errorf("activity(%+v) = %q, want %q", p, got, want)
		}
	}
}
