package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipcast/internal/lab"
)

// A cable or an interface that is dead for two seconds costs two seconds. All
// cases are tried at the same time, in networks of their own.
func TestRootNetInterfaceDown(t *testing.T) {
	t.Parallel()
	x := newLabNoise(t, 12)
	cases := []struct {
		name, where string
		set         func(n *labNet, where, state string)
	}{
		{"cable of a receiver", "1", func(n *labNet, where, state string) { n.do("link", where, state) }},
		{"cable of the sender", "s", func(n *labNet, where, state string) { n.do("link", where, state) }},
		{"interface of a receiver", "1", (*labNet).set},
		{"interface of the sender", "s", (*labNet).set},
	}
	var rooms []*labRoom
	for range cases {
		rooms = append(rooms, &labRoom{labNet: newLabNet(t, "--receivers", "2")})
	}
	for i, r := range rooms {
		rooms[i] = r.room(x, 2, "--rate", "30mbit")
	}
	for i, tt := range cases {
		rooms[i].all[0].awaitWritten(x.size / 4)
		tt.set(rooms[i].labNet, tt.where, "down")
	}
	<-time.After(2 * time.Second)
	for i, tt := range cases {
		tt.set(rooms[i].labNet, tt.where, "up")
	}
	for i, tt := range cases {
		sent, _ := rooms[i].end(exitDone)
		t.Logf("%s: over after %.1f s, of which 3.5 s were sent", tt.name, sent["seconds"])
		if sent["seconds"].(float64) < 5 {
			t.Errorf("%s: over after %.1f s, want two more than without", tt.name, sent["seconds"])
		}
	}
}

// set makes an interface of a machine go up or down.
func (n *labNet) set(where, state string) {
	n.t.Helper()
	n.exec(where, "ip", "link", "set", "eth0", state)
	if state == "up" { // what went with it
		n.exec(where, "ip", "route", "replace", "224.0.0.0/4", "dev", "eth0")
	}
}

// A receiver whose disk is full fails and says why; the others do not notice.
func TestRootNetFullDisk(t *testing.T) {
	t.Parallel()
	n, x, targets := newLabNet(t, "--receivers", "3"), newLabNoise(t, 12), labNew(t, 3)
	dir := lab.Mount(t, "none", "-t", "tmpfs", "-o", "size=8M")
	targets[2] = filepath.Join(dir, "sparse.raw")
	if err := os.WriteFile(targets[2], nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(targets[2], x.size); err != nil {
		t.Fatal(err)
	}
	s := n.send(x.image, "--wait", "3", "--rate", labSlow)
	var all []*labProcess
	for i, target := range targets {
		all = append(all, n.receive(i+1, target))
	}
	all[2].wantError(exitFailed, targets[2], "no space left on device")
	for i, r := range all[:2] {
		r.result("received")
		x.want(t, targets[i])
	}
	s.wantError(exitPart, "1 of 3 receivers failed: pc3 (", "no space left on device")
	if ratio := s.find("sent", nil)["wire_ratio"].(float64); ratio > 1.3 {
		t.Errorf("wire / image %.3f, want no more than if the disk were not full", ratio)
	}
}

// Where the switch drops multicast, that is noticed and said within seconds,
// and the image comes by HTTPS.
func TestRootNetBlocked(t *testing.T) {
	t.Parallel()
	n, x, targets := newLabNet(t, "--receivers", "2"), newLabNoise(t, 12), labNew(t, 2)
	n.do("block-multicast")
	s := n.send(x.image, "--wait", "2")
	all := []*labProcess{n.receive(1, targets[0]), n.receive(2, targets[1])}
	for i, r := range all {
		offered := r.await("offer", nil)
		note := r.awaitText("note", "comes by HTTPS")
		took := note["at"].(time.Time).Sub(offered["at"].(time.Time))
		t.Logf("said after %v: %v", took.Round(time.Millisecond), note["text"])
		if took > 8*time.Second {
			t.Errorf("%s said after %v that no multicast arrives, want 8 s", r.what, took)
		}
		o := r.result("received")
		x.want(t, targets[i])
		if fetched := labNumber(t, o, "fetched_bytes"); fetched < x.size || labNumber(t, o, "datagrams") > 0 {
			t.Errorf("%d bytes came by HTTPS, want at least %d: %v", fetched, x.size, o)
		}
	}
	s.result("sent")
}

// One receiver without multicast, and one that is told to do without, do not
// hold up the others.
func TestRootNetMixed(t *testing.T) {
	t.Parallel()
	n, x, targets := newLabNet(t, "--receivers", "4"), newLabNoise(t, 8), labNew(t, 4)
	n.exec("4", "nft", "add table netdev deaf; add chain netdev deaf in { type filter hook ingress device eth0 priority 0; }; "+
		"add rule netdev deaf in ip daddr 239.0.0.0/8 udp dport != 7780 drop")
	all := []*labProcess{
		n.receive(1, targets[0]), n.receive(2, targets[1]), n.receive(3, targets[2], "--unicast"), n.receive(4, targets[3]),
	}
	s := n.send(x.image, "--wait", "3")
	all[3].awaitText("note", "comes by HTTPS")
	for i, r := range all {
		o := r.result("received")
		x.want(t, targets[i])
		if fetched := labNumber(t, o, "fetched_bytes"); (i < 2) != (fetched == 0) {
			t.Errorf("%s took %d bytes by HTTPS", r.what, fetched)
		}
		if took := o["seconds"].(float64); i < 2 && took > 4 {
			t.Errorf("%s took %.1f s, want it not to wait for those without multicast", r.what, took)
		}
	}
	s.result("sent")
}

// A switch forgets who wanted multicast if nobody asks for reports. The
// receivers remind it.
func TestRootNetNoQuerier(t *testing.T) {
	t.Parallel()
	n, x, targets := newLabNet(t, "--receivers", "2"), newLabNoise(t, 16), labNew(t, 2)
	// It believes that there is a querier, itself, but asks no more.
	n.exec("sw", "ip", "link", "set", "br0", "type", "bridge", "mcast_query_interval", "100000", "mcast_membership_interval", "300")
	s := n.send(x.image, "--wait", "2", "--rate", "25mbit")
	group, _, _ := strings.Cut(fmt.Sprint(s.await("session", nil)["group"]), ":")
	all := []*labProcess{n.receive(1, targets[0]), n.receive(2, targets[1])}
	joined := func() bool { return strings.Contains(n.exec("sw", "bridge", "mdb", "show"), "grp "+group+" ") }
	inNet().until(t, "the switch learns the group", joined)
	inNet().until(t, "the switch forgets the group", func() bool { return !joined() })
	for i, r := range all {
		o := r.result("received")
		x.want(t, targets[i])
		if labNumber(t, o, "fetched_bytes") > 0 {
			t.Errorf("%s took %v bytes by HTTPS, want none", r.what, o["fetched_bytes"])
		}
	}
	t.Logf("over after %.1f s, of which 5.7 s were sent", s.result("sent")["seconds"])
}
