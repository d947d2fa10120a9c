package main

import "testing"

// When multicast begins to work, it is used.
func TestRootNetUnblocked(t *testing.T) {
	t.Parallel()
	n, x := newLabNet(t, "--receivers", "2"), newLabNoise(t, 24)
	n.do("block-multicast")
	r := n.room(x, 2, "--rate", labSlow)
	r.sender.await("receivers", func(o map[string]any) bool { return labInState(o, "fetching") == 2 })
	n.do("unblock")
	_, received := r.end(exitDone)
	for i, o := range received {
		fetched, datagrams := labNumber(t, o, "fetched_bytes"), labNumber(t, o, "datagrams")
		t.Logf("%d bytes by HTTPS, %d datagrams", fetched, datagrams)
		if fetched == 0 || fetched > x.size/2 || datagrams*1500 < x.size/2 {
			t.Errorf("receiver %d: %d bytes came by HTTPS and %d datagrams, want less than half by HTTPS", i+1, fetched, datagrams)
		}
	}
}

// labInState returns how many receivers are in a state, as an object of the
// sender tells.
func labInState(o map[string]any, state string) int {
	n := 0
	for _, r := range o["receivers"].([]any) {
		if r.(map[string]any)["state"] == state {
			n++
		}
	}
	return n
}
