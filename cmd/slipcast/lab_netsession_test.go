package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Of two senders of one name a receiver takes neither and names both, unless
// it is told which one.
func TestRootNetSameName(t *testing.T) {
	t.Parallel()
	n, x, targets := newLabNet(t, "--receivers", "3"), newLabNoise(t, 8), labNew(t, 2)
	one := n.send(x.image, "--wait", "1")
	two := n.sendFrom("3", x.image, "--wait", "1")
	one.await("session", nil)
	two.await("session", nil)
	n.receive(1, targets[0]).wantError(exitFailed, "more than one session fits", "10.83.0.1:7780", "10.83.0.13:7780")
	if _, err := os.Stat(targets[0]); err == nil {
		t.Errorf("%s was made", targets[0])
	}
	n.receive(2, targets[1], "--from", "10.83.0.13").result("received")
	x.want(t, targets[1])
	two.result("sent")
	one.signal(syscall.SIGINT)
	one.want(exitInterrupted)
}

// Two sessions at once do not disturb each other, and a receiver that names
// none does not choose.
func TestRootNetTwoSessions(t *testing.T) {
	t.Parallel()
	n, targets := newLabNet(t, "--receivers", "5"), labNew(t, 4)
	images := []labNoise{newLabNoise(t, 8), newLabNoise(t, 8)}
	senders := []*labProcess{
		n.send(images[0].image, "--wait", "2", "--rate", "40mbit"),
		n.sendFrom("5", images[1].image, "--wait", "2", "--rate", "40mbit", "--name", "other room"),
	}
	senders[0].await("session", nil)
	senders[1].await("session", nil)
	n.receive(1, targets[0], "--session", "").wantError(exitFailed, "more than one session fits", "room", "other room")
	var all []*labProcess
	for i, target := range targets {
		all = append(all, n.receive(i+1, target, "--session", []string{"room", "other room"}[i%2]))
	}
	for i, r := range all {
		r.result("received")
		images[i%2].want(t, targets[i])
	}
	for _, s := range senders {
		if got := labNumber(t, s.result("sent"), "done"); got != 2 {
			t.Errorf("%s: %d receivers are done, want 2", s.what, got)
		}
	}
}

// Who does not know the key, or finds another fingerprint, gets and writes
// nothing.
func TestRootNetTrust(t *testing.T) {
	t.Parallel()
	const key, other = "correct horse battery", "incorrect horse battery"
	n, x, targets := newLabNet(t, "--receivers", "4"), newLabNoise(t, 8), labNew(t, 6)
	s := n.send(x.image, "--wait", "2", "--key", key)
	print := fmt.Sprint(s.await("session", nil)["fingerprint"])
	wrong := strings.Repeat("00", 32)
	t.Run("refused", func(t *testing.T) {
		n := n.in(t)
		for i, tt := range []struct {
			code  int
			says  string
			flags []string
		}{
			{exitNobody, "no session found", []string{"--key", other, "--search", "1500ms"}},
			{exitFailed, "does not know the key", []string{"--key", other, "--from", "10.83.0.1"}},
			{exitFailed, "", []string{"--from", "10.83.0.1"}},
			{exitFailed, "fingerprint", []string{"--key", key, "--fingerprint", wrong, "--from", "10.83.0.1"}},
		} {
			n.receive(i%4+1, targets[i], tt.flags...).wantError(tt.code, tt.says)
			if _, err := os.Stat(targets[i]); err == nil {
				t.Errorf("%v: %s was made", tt.flags, targets[i])
			}
		}
	})
	all := []*labProcess{
		n.receive(1, targets[4], "--key", key),
		n.receive(2, targets[5], "--key", key, "--fingerprint", print),
	}
	for i, r := range all {
		if keyed := r.await("offer", nil)["keyed"]; keyed != true {
			t.Errorf("%s: keyed is %v", r.what, keyed)
		}
		r.result("received")
		x.want(t, targets[4+i])
	}
	sent := s.result("sent")
	if got := len(sent["receivers"].([]any)); got != 2 {
		t.Errorf("the sender knows of %d receivers, want the 2 that were let in", got)
	}
}

// A session begins with --wait receivers, or after --start-after with those
// that are there.
func TestRootNetStart(t *testing.T) {
	t.Parallel()
	n, x := newLabNet(t, "--receivers", "2"), newLabNoise(t, 8)
	for _, tt := range []struct {
		name        string
		flags       []string
		least, most time.Duration // from the moment that both are there
	}{
		{"wait", []string{"--wait", "2", "--start-after", "1m"}, 0, 15 * time.Second},
		{"start-after", []string{"--wait", "3", "--start-after", "2s"}, time.Second, time.Minute},
		{"settle", []string{"--settle", "1500ms", "--start-after", "1m"}, time.Second, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, targets := n.in(t), labNew(t, 2)
			s := n.send(x.image, tt.flags...)
			all := []*labProcess{n.receive(1, targets[0]), n.receive(2, targets[1])}
			there := time.Now()
			for i, r := range all {
				r.awaitText("waiting", "the sender to start")
				r.await("progress", func(o map[string]any) bool { return o["done"].(float64) > 0 })
				if took := time.Since(there); took < tt.least || took > tt.most {
					t.Errorf("it began after %v, want %v to %v", took, tt.least, tt.most)
				}
				r.result("received")
				x.want(t, targets[i])
			}
			s.result("sent")
		})
	}
}

// Where nobody answers, both ends say so.
func TestRootNetNobody(t *testing.T) {
	t.Parallel()
	n, x, target := newLabNet(t, "--receivers", "1"), newLabNoise(t, 1), labNew(t, 1)[0]
	n.send(x.image, "--start-after", "1s").wantError(exitNobody, "no receiver came")
	n.receive(1, target, "--search", "1s").wantError(exitNobody, "no session found")
	if _, err := os.Stat(target); err == nil {
		t.Errorf("%s was made", target)
	}
	// One that is there, and one that goes away and does not come again.
	s := n.send(x.image, "--wait", "2", "--start-after", "1m")
	r := n.receive(1, target)
	r.awaitText("waiting", "the sender to start")
	s.kill()
	r.awaitText("note", "sender lost")
	r.signal(syscall.SIGINT)
	r.want(exitInterrupted)
}

// The status page shows the session while it lasts.
func TestRootNetStatusPage(t *testing.T) {
	t.Parallel()
	n, x, targets := newLabNet(t, "--receivers", "2"), newLabNoise(t, 12), labNew(t, 2)
	s := n.send(x.image, "--wait", "2", "--rate", labSlow, "--status", "10.83.0.1:8080")
	if got, want := s.await("session", nil)["status"], "http://10.83.0.1:8080/"; got != want {
		t.Errorf("the page is at %v, want %v", got, want)
	}
	all := []*labProcess{n.receive(1, targets[0]), n.receive(2, targets[1])}
	all[0].awaitWritten(x.size / 2)
	page, kind := n.get("s", "10.83.0.1:8080", "/")
	if !strings.HasPrefix(kind, "text/html") || !strings.Contains(page, "</html>") {
		t.Errorf("the page is %s: %.200q", kind, page)
	}
	text, kind := n.get("1", "10.83.0.1:8080", "/status")
	status := map[string]any{}
	if err := json.Unmarshal([]byte(text), &status); err != nil || kind != "application/json" {
		t.Fatalf("/status is %s, %v: %q", kind, err, text)
	}
	list := status["receivers"].([]any)
	if status["state"] != "sending" || status["name"] != "room" || len(list) != 2 {
		t.Errorf("/status says %v, %v, %d receivers; want sending, room, 2", status["state"], status["name"], len(list))
	}
	for _, r := range list {
		r := r.(map[string]any)
		if percent := labNumber(t, r, "percent"); r["state"] != "receiving" || percent < 20 || percent > 95 {
			t.Errorf("/status says %v of %v at %d %%, want receiving at about half", r["state"], r["name"], percent)
		}
	}
	for i, r := range all {
		r.result("received")
		x.want(t, targets[i])
	}
	s.result("sent")
}

// get fetches what is at an address, seen from a machine.
func (n *labNet) get(where, address, path string) (body, kind string) {
	n.t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
			n.inside(where, func() { conn, err = new(net.Dialer).DialContext(ctx, network, address) })
			return conn, err
		},
	}}
	answer, err := client.Get("http://" + address + path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		n.t.Fatalf("GET %s: %v, %v", path, answer.Status, err)
	}
	return string(text), answer.Header.Get("Content-Type")
}
