package main

import (
	"testing"
	"time"
)

// A receiver at a fifth of the speed does not hold up the others, whatever
// becomes of it. All policies are tried at the same time, in networks of their
// own.
func TestRootNetStraggler(t *testing.T) {
	x := newLabNoise(t, 12)
	r := newSlowRoom(t, x, "catchup", 3)
	r.end(exitDone)
	alone := r.took(r.all...)
	rooms := map[string]*labRoom{}
	for _, policy := range stragglers() {
		rooms[policy] = newSlowRoom(t, x, policy, 4)
	}
	for policy, r := range rooms {
		code := exitDone
		if policy == "drop" {
			r.all[3].wantError(exitFailed, "given up by the sender", "it loses ")
			r.sender.wantError(exitPart, "1 of 4 receivers failed: pc4 (it loses ")
			r.all, code = r.all[:3], exitPart
		}
		r.end(code)
		others, all := r.took(r.all[:3]...), r.took(r.sender)
		t.Logf("%s: the others took %v, %.2f of what they take alone; the sender %v",
			policy, others.Round(time.Millisecond), others.Seconds()/alone.Seconds(), all.Round(time.Millisecond))
		if others > alone*5/4 {
			t.Errorf("%s: the others took %v, want at most 1.25 of %v", policy, others, alone)
		}
	}
}

// newSlowRoom starts a session with three receivers at 50 Mbit/s and perhaps
// one at 10.
func newSlowRoom(t *testing.T, x labNoise, policy string, count int) *labRoom {
	t.Helper()
	n := newLabNet(t, "--receivers", "4", "--rate", "50mbit")
	n.do("rate", "4", "10mbit")
	return n.room(x, count, "--rate", "49mbit", "--straggler", policy)
}

// took returns the time from the start of the sender to the last word of some
// receivers.
func (r *labRoom) took(some ...*labProcess) (last time.Duration) {
	for _, p := range some {
		p.mu.Lock()
		last = max(last, p.objects[len(p.objects)-1]["at"].(time.Time).Sub(r.sender.began))
		p.mu.Unlock()
	}
	return last
}
